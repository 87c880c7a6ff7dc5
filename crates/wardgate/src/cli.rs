//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A forward HTTP(S) filtering proxy with monitoring logs for schools, colleges and training providers.
///
/// Exit codes: 0 fine, 1 the answer is no, 2 wrong usage, 3 the system failed.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The configuration file [default: wardgate.toml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the proxy (the default). Creates its data, its certificate authority and its policy where they are missing
    Serve,
    /// Check configuration, policy and expectations; exit 0 or 1
    Check {
        /// The policy directory, in place of the configured one
        dir: Option<PathBuf>,
    },
    /// Tell what would be decided about an address, and why
    Explain(Explain),
    /// Classify texts: JSON lines {"id", "text"[, "kind"]} from stdin, one answer a line to stdout
    Classify {
        /// Answers are JSON lines; there is no other form
        #[arg(long)]
        json: bool,
    },
    /// Local accounts
    #[command(subcommand)]
    Users(Users),
    /// Reports on what was recorded
    #[command(subcommand)]
    Report(Report),
    /// List hosts whose programs turn the school's certificate down, with an entry for never-intercept.toml to consider
    Pinned {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// The certificate authority
    #[command(subcommand)]
    Ca(Ca),
    /// Tell what is not seen, or let pass knowingly, under the present configuration and policy
    Limits {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the running proxy whether it is well; exit 0 or 1
    Health,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The address: a URL, or a host with or without a path
    pub(crate) url: String,
    /// Decide for this user
    #[arg(long, value_name = "NAME", conflicts_with = "group")]
    pub(crate) user: Option<String>,
    /// Decide for this group
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Decide for a client at this address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<std::net::IpAddr>,
    /// Text of the page, to be looked at as well
    #[arg(long, value_name = "FILE")]
    pub(crate) text: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// Add an account
    Add {
        /// The user's name
        name: String,
        /// Groups that the account is in, as policy knows them
        #[arg(long, value_delimiter = ',', value_name = "GROUP,…")]
        groups: Vec<String>,
        /// Read the password from stdin
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Set a new password
    Passwd {
        /// The user's name
        name: String,
        /// Read the password from stdin
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Set the groups of an account
    Groups {
        /// The user's name
        name: String,
        /// All groups that the account is in from now on
        #[arg(long, value_delimiter = ',', required = true, value_name = "GROUP,…")]
        groups: Vec<String>,
    },
    /// List all accounts
    List {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep an account from logging in
    Disable {
        /// The user's name
        name: String,
    },
    /// Let a disabled account log in again
    Enable {
        /// The user's name
        name: String,
    },
    /// Remove an account for good
    Remove {
        /// The user's name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// The concerns of a day or a week, as the digest tells them
    Digest(Digest),
}

#[derive(Args, Debug)]
pub(crate) struct Digest {
    /// The day, or a day of the week [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) day: Option<jiff::civil::Date>,
    /// The whole week around that day
    #[arg(long)]
    pub(crate) week: bool,
    /// Answer in JSON
    #[arg(long, conflicts_with = "html")]
    pub(crate) json: bool,
    /// Answer in HTML
    #[arg(long)]
    pub(crate) html: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Show the certificates, their fingerprints and how long they are valid
    Show {
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the certificates that devices install, in PEM
    Export(Export),
    /// Print a configuration profile for iPhones, iPads and Macs
    Mobileconfig,
    /// Follow the CA by another one: prepare it, and once all devices know it, let it sign
    Rotate(Rotate),
    /// Encrypt the CA's key on the disk with the passphrase in the file that key_passphrase_file names
    EncryptKey,
}

#[derive(Args, Debug)]
pub(crate) struct Export {
    /// This certificate alone
    #[arg(long, value_name = "WHICH")]
    pub(crate) only: Option<Which>,
    /// In DER, one certificate: the one that signs where `--only` names no other
    #[arg(long)]
    pub(crate) der: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Which {
    /// The one that signs
    Signing,
    /// The one that will sign next
    Next,
    /// The one that signed before
    Former,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct Rotate {
    /// Let the prepared CA sign; the present one is kept beside it
    #[arg(long)]
    pub(crate) activate: bool,
    /// Take the activation back
    #[arg(long)]
    pub(crate) undo: bool,
    /// Remove the former CA and its key
    #[arg(long)]
    pub(crate) finish: bool,
}
