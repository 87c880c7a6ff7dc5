//! The commands that answer a question and end.

mod ask;
mod authority;
mod check;
mod classify;
mod limits;
mod pinned;
mod records;

pub(crate) use ask::health;
pub(crate) use authority::ca;
pub(crate) use check::{check, explain};
pub(crate) use classify::classify;
pub(crate) use limits::limits;
pub(crate) use pinned::pinned;
pub(crate) use records::{digest, users};

use std::io::{self, Write};

use crate::exit::Failure;

/// Prints to stdout; a reader that has gone away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::system(error)),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::system)?;
    print(&format!("{text}\n"))
}
