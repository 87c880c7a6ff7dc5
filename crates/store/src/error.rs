//! What can go wrong with the records, and what to do about it.

use std::path::PathBuf;

use sqlx::migrate::MigrateError;

/// A failure of the store. The messages name files and causes, never persons.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL is not that of an SQLite file.
    #[error("the store URL must look like sqlite:///path/to/wardgate.db: {0}")]
    Url(String),
    /// The file cannot be made or opened.
    #[error("{path}: {source}: make sure that the directory exists and that Wardgate may write to it", path = path.display())]
    Unwritable {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another program held the database for longer than Wardgate waits.
    #[error("the database is locked by another program: end that program (or its transaction) and try again")]
    Locked,
    /// The file is something else, or damaged.
    #[error(
        "the file is not a Wardgate database or is damaged: restore a backup, or move the file away to begin anew"
    )]
    NotADatabase,
    /// The disk is full.
    #[error("the disk is full: free some space; nothing was recorded")]
    Full,
    /// The file or its file system is read-only.
    #[error("the database cannot be written: check the file's owner and permissions, and the file system")]
    ReadOnly,
    /// A newer Wardgate has used this database.
    #[error("the database was last used by a newer Wardgate: run that version, or restore an older backup")]
    Newer,
    /// The schema could not be brought up to date.
    #[error("the database could not be brought up to date: {0}")]
    Migration(MigrateError),
    /// An account of this name (capitals apart) exists.
    #[error("an account of this name exists already")]
    AccountExists,
    /// There is no such account.
    #[error("there is no account of this name")]
    NoSuchAccount,
    /// A record could not be put into the form in which it is kept.
    #[error("a record cannot be written: {0}")]
    Unwritten(serde_json::Error),
    /// Anything else that the database says.
    #[error("the database failed: {0}")]
    Database(sqlx::Error),
}

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>).
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const NOTADB: u32 = 26;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(BUSY | LOCKED) => Self::Locked,
            Some(READONLY) => Self::ReadOnly,
            Some(CORRUPT | NOTADB) => Self::NotADatabase,
            Some(FULL) => Self::Full,
            _ => Self::Database(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(_) => Self::Newer,
            other => Self::Migration(other),
        }
    }
}

fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
