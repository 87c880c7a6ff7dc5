//! Records: what Wardgate must still know after a restart, in a database (SQLite; the statements keep to what
//! PostgreSQL understands as well). [`Store::open`] brings the schema up to date; [`Store::accounts`] and
//! [`Store::alerts`] are the two kinds of record. Every change is on the disk when its method returns.

pub mod accounts;
mod error;
mod open;
mod time;

use sqlx::{Sqlite, SqlitePool, Transaction};

pub use accounts::{Account, Accounts};
pub use error::StoreError;

/// The records. Cheap to clone: clones share their connections.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// The local accounts.
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts::of(self)
    }

    /// Waits until all work is done and the files are closed. What is not closed loses nothing.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction that writes. SQLite has one writer at a time: asking for its place at the beginning
    /// waits for it, where asking half way would fail.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}
