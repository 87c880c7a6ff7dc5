//! Wardgate: a forward HTTP(S) filtering proxy with monitoring logs for schools, colleges and training providers.
//!
//! The binary only wires: it reads arguments ([`cli`]) and configuration ([`config`]), compiles the policy with its
//! stages ([`rules`]), and either serves ([`serve`]) or answers a question ([`commands`]).

mod cli;
mod commands;
mod config;
mod exit;
mod rules;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Arguments, Command};
use crate::config::Config;
use crate::exit::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.code()
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = Config::load(arguments.config.as_deref())?;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config),
        Command::Check { dir } => commands::check(&config, dir),
        Command::Explain(question) => commands::explain(&config, &question),
        Command::Classify { json: _ } => commands::classify(&config),
        Command::Users(users) => commands::users(&config, users),
        Command::Report(cli::Report::Digest(digest)) => commands::digest(&config, &digest),
        Command::Pinned { json } => commands::pinned(&config, json),
        Command::Ca(command) => commands::ca(&config, &command),
        Command::Limits { json } => commands::limits(&config, json),
        Command::Health => commands::health(&config),
    }
}
