//! What can go wrong with alerts as a whole. That one message could not be sent is no error but a retry.

use std::path::PathBuf;

use wardgate_journal::JournalError;
use wardgate_store::StoreError;

/// A failure of the alert sink. The messages name no person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlertError {
    /// The records cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The access log cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Wardgate is shutting down, or reading the access log panicked.
    #[error("reading the access log was interrupted")]
    Interrupted,
    /// An extra root certificate cannot be used.
    #[error("{path}: {reason}: `ca` must name a file with PEM certificates", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS for alerts cannot be set up: {0}")]
    Tls(String),
    /// A message cannot be written; a fault of Wardgate's own templates.
    #[error("a message cannot be written: {0}")]
    Template(#[from] minijinja::Error),
    /// Something cannot be put into JSON.
    #[error("a message cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}
