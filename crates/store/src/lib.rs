//! Records: what Wardgate must still know after a restart, in a database (SQLite; the statements keep to what
//! PostgreSQL understands as well). [`Store::open`] brings the schema up to date. The kinds of record:
//! [`accounts`] (who may log in), [`alerts`] (what was noticed about whom), [`digests`] (which summaries were made),
//! [`deliveries`] (what is sent to whom). Every change is on the disk when its method returns.

pub mod accounts;
pub mod alerts;
mod column;
pub mod deliveries;
pub mod digests;
mod error;
mod id;
mod open;

use sqlx::{Sqlite, SqlitePool, Transaction};

pub use accounts::{Account, Accounts};
pub use alerts::{
    Alert, AlertBatch, AlertEvent, AlertId, Alerts, Found, FoundPhrase, LogPlace, Person, WrittenWords,
};
pub use deliveries::{Channel, Deliveries, Delivery, DeliveryId, DeliveryState, Receiver, Subject};
pub use digests::{DigestId, DigestRecord, Digests, Span};
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

    /// What was noticed about persons.
    pub fn alerts(&self) -> Alerts<'_> {
        Alerts::of(self)
    }

    /// The digests that were made.
    pub fn digests(&self) -> Digests<'_> {
        Digests::of(self)
    }

    /// What is to be sent, and what became of it.
    pub fn deliveries(&self) -> Deliveries<'_> {
        Deliveries::of(self)
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
