//! Times as the database keeps them: milliseconds since 1970 (UTC).

use jiff::Timestamp;

use crate::StoreError;

/// The present, as precise as the database keeps it, so that what is written is what is read back.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// A time read from the database.
pub(crate) fn timestamp(milliseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(milliseconds).map_err(|_| StoreError::Damaged("a time is out of range"))
}
