//! The access log: one line of JSON for every exchange, on disk before its room in the journal is given to the next.
//!
//! An exchange reserves room before it begins and is recorded when it ends, so back-pressure is felt where it can
//! be answered, and no line is ever dropped. Read the modules in the order in which an event meets them:
//! [`record`] (what a line says), [`log`] (room, the queue, closing), `writer` (batches, a disk that is full),
//! `json` (how it is written), `daily` (one file a day, who may read it, when it goes), [`follower`] (reading back).

mod daily;
pub mod follower;
mod json;
pub mod log;
pub mod record;
mod writer;

use std::io;
use std::path::PathBuf;

pub use follower::{Checkpoint, Follower, Line};
pub use log::{AccessLog, DEFAULT_CAPACITY, LinesLost, LogConfig};
pub use record::Record;

/// The access log could not be opened or read: a matter of the machine (directory, permissions, disk).
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory cannot be made or listed.
    #[error("the access log's directory {path} cannot be used: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be opened, made or written.
    #[error("the access log {path} cannot be written: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("the access log {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The capacity is zero, or more than a semaphore can count.
    #[error("the access log's capacity must be from 1 to {max}, not {given}")]
    Capacity {
        /// What was asked for.
        given: usize,
        /// The most there can be.
        max: usize,
    },
}
