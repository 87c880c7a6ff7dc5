//! `wardgate users` and `wardgate report`: the records, from the command line.

use std::io::{self, Read};

use jiff::Timestamp;
use wardgate_alert::{Period, digest as sum_up};
use wardgate_core::UserName;
use wardgate_identity::{UserError, add_user, set_password};
use wardgate_store::{Account, Span, Store, StoreError};

use super::{print, print_json};
use crate::cli::{Digest, Users};
use crate::config::Config;
use crate::exit::Failure;

/// Longest password that is read, in bytes.
const MAX_PASSWORD: u64 = 4096;

/// Manages local accounts. The running proxy follows within a second or two.
pub(crate) fn users(config: &Config, users: Users) -> Result<(), Failure> {
    std::fs::create_dir_all(&config.data.dir).map_err(Failure::system)?;
    let url = config.store_url();
    match users {
        Users::Add { name, groups, password_stdin: _ } => {
            let password = read_password()?;
            in_runtime(async { add_user(&Store::open(&url).await?, &name, &password, &groups).await })
                .map(drop)
        }
        Users::Passwd { name, password_stdin: _ } => {
            let password = read_password()?;
            in_runtime(async { set_password(&Store::open(&url).await?, &name, &password).await })
        }
        Users::Groups { name, groups } => in_runtime(async {
            Store::open(&url).await?.accounts().set_groups(&UserName::new(name), &groups).await
        }),
        Users::Disable { name } => {
            in_runtime(async { Store::open(&url).await?.accounts().disable(&UserName::new(name)).await })
        }
        Users::Enable { name } => {
            in_runtime(async { Store::open(&url).await?.accounts().enable(&UserName::new(name)).await })
        }
        Users::Remove { name } => {
            in_runtime(async { Store::open(&url).await?.accounts().remove(&UserName::new(name)).await })
        }
        Users::List { json } => {
            let accounts = in_runtime(async { Store::open(&url).await?.accounts().list().await })?;
            if json { print_json(&accounts) } else { print(&table(&accounts)) }
        }
    }
}

fn table(accounts: &[Account]) -> String {
    let line = |account: &Account| {
        let state = if account.disabled { "disabled" } else { "active" };
        format!("{}\t{}\t{state}\n", account.name.as_str(), account.groups.join(","))
    };
    accounts.iter().map(line).collect()
}

fn read_password() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().take(MAX_PASSWORD).read_to_string(&mut text).map_err(Failure::system)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Prints the digest of a day or a week.
pub(crate) fn digest(config: &Config, asked: &Digest) -> Result<(), Failure> {
    let zone = &config.alerts.time_zone;
    let span = if asked.week { Span::Week } else { Span::Day };
    let period = match asked.day {
        Some(day) => Period::around(span, day, zone),
        None => Period::containing(span, Timestamp::now(), zone),
    };
    let runtime = runtime()?;
    let summary = runtime.block_on(async {
        let store = Store::open(&config.store_url()).await.map_err(Failure::system)?;
        sum_up(&store, &period).await.map_err(Failure::system)
    })?;
    let text = match (asked.json, asked.html) {
        (true, _) => summary.json(),
        (_, true) => summary.html(),
        _ => summary.text(),
    };
    print(&text.map_err(Failure::system)?)
}

/// Runs something that waits for the records.
pub(crate) fn in_runtime<T, E: Into<UserError>>(
    job: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    runtime()?.block_on(job).map_err(|error| match error.into() {
        error @ (UserError::Name | UserError::Password(_)) => Failure::No(error.to_string()),
        UserError::Store(error @ (StoreError::AccountExists | StoreError::NoSuchAccount)) => {
            Failure::No(error.to_string())
        }
        error => Failure::system(error),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::system)
}
