//! How the program ends: with a message that says what to do, and a code that scripts can rely on.

use std::process::ExitCode;

use wardgate_core::Diagnostic;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Code 1: the answer is no; everything that needs saying is in these words (none where it was printed already).
    No(String),
    /// Code 1: the policy is wrong, here and here.
    Policy(Vec<Diagnostic>),
    /// Code 2: the command or the configuration is written wrong.
    Usage(String),
    /// Code 3: the system failed.
    System(anyhow::Error),
}

impl Failure {
    /// A failure of the system.
    pub(crate) fn system(error: impl Into<anyhow::Error>) -> Self {
        Self::System(error.into())
    }

    /// Says on stderr what went wrong.
    pub(crate) fn report(&self) {
        match self {
            Self::No(message) if message.is_empty() => {}
            Self::No(message) | Self::Usage(message) => eprintln!("wardgate: {message}"),
            Self::Policy(diagnostics) => print_diagnostics(diagnostics),
            Self::System(error) => eprintln!("wardgate: {error:#}"),
        }
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::No(_) | Self::Policy(_) => 1,
            Self::Usage(_) => 2,
            Self::System(_) => 3,
        })
    }
}

/// Prints diagnostics on stderr, as compilers do.
pub(crate) fn print_diagnostics(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        eprintln!("{diagnostic}");
    }
}
