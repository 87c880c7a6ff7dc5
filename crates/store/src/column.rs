//! Values as the database keeps them: times in milliseconds since 1970 (UTC), names of choices as text, lists as
//! JSON.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{Deserialize, DeserializeOwned, IntoDeserializer};
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Row};

use crate::StoreError;

/// The present, as precise as the database keeps it, so that what is written is what is read back.
pub(crate) fn now() -> Timestamp {
    to_millisecond(Timestamp::now())
}

/// A time as precise as the database keeps it.
pub(crate) fn to_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Reads a time.
pub(crate) fn time<C>(row: &SqliteRow, column: C) -> Result<Timestamp, sqlx::Error>
where
    C: ColumnIndex<SqliteRow>,
{
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Reads a choice by its name, as serde spells it (`immediate`, `block`).
pub(crate) fn choice<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error> {
    parse_choice(row.try_get(column)?)
}

/// Reads a choice that may be missing.
pub(crate) fn optional_choice<T: DeserializeOwned>(
    row: &SqliteRow,
    column: &str,
) -> Result<Option<T>, sqlx::Error> {
    row.try_get::<Option<&str>, _>(column)?.map(parse_choice).transpose()
}

fn parse_choice<T: DeserializeOwned>(name: &str) -> Result<T, sqlx::Error> {
    let name: StrDeserializer<'_, NameError> = name.into_deserializer();
    T::deserialize(name).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Reads a list from its JSON.
pub(crate) fn list<T: for<'de> Deserialize<'de>>(
    row: &SqliteRow,
    column: &str,
) -> Result<Vec<T>, sqlx::Error> {
    serde_json::from_str(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Reads something that parses from text, such as an address.
pub(crate) fn parsed<T>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.try_get::<&str, _>(column)?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// A list as JSON.
pub(crate) fn json<T: Serialize>(list: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(StoreError::Unwritten)
}
