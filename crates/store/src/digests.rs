//! Which digests were made, so that each is made once, however often Wardgate starts.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::sqlite::SqliteRow;

use crate::id::id;
use crate::{Receiver, Store, StoreError, Subject, column, deliveries};

id! {
    /// The id of a digest.
    DigestId
}

/// How much time a digest sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// One day.
    Day,
    /// Seven days from a Monday.
    Week,
}

impl Span {
    /// The name used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
        }
    }
}

/// A digest that was made. Its contents are drawn from the alerts when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DigestRecord {
    /// The id.
    pub id: DigestId,
    /// How much time.
    pub span: Span,
    /// From which day on.
    pub first_day: Date,
}

/// The digests of a store.
#[derive(Clone, Copy)]
pub struct Digests<'a> {
    store: &'a Store,
}

impl<'a> Digests<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store }
    }

    /// Notes that the digest of this span and day is made and queues it for each receiver, all or nothing. Nothing
    /// happens, and nothing is returned, where it was made before.
    pub async fn make(
        self,
        span: Span,
        first_day: Date,
        receivers: &[Receiver],
    ) -> Result<Option<DigestRecord>, StoreError> {
        let record = DigestRecord { id: DigestId::new(), span, first_day };
        let mut transaction = self.store.begin().await?;
        let made = sqlx::query(
            "INSERT INTO digest (id, span, first_day, made_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (span, first_day) DO NOTHING",
        )
        .bind(record.id.to_string())
        .bind(span.as_str())
        .bind(first_day.to_string())
        .bind(column::now().as_millisecond())
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        if made == 0 {
            return Ok(None);
        }
        deliveries::queue(&mut transaction, Subject::Digest(record.id), receivers).await?;
        transaction.commit().await?;
        Ok(Some(record))
    }

    /// The first day of the latest digest of a span that began on `today` or before. One of a day to come was made by
    /// a clock that ran ahead, and says nothing about the days until then.
    pub async fn latest(self, span: Span, today: Date) -> Result<Option<Date>, StoreError> {
        let record: Option<DigestRecord> = sqlx::query_as(
            "SELECT * FROM digest WHERE span = $1 AND first_day <= $2 ORDER BY first_day DESC LIMIT 1",
        )
        .bind(span.as_str())
        .bind(today.to_string())
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(record.map(|record| record.first_day))
    }

    /// The digest of this id, if there is one.
    pub async fn find(self, id: DigestId) -> Result<Option<DigestRecord>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM digest WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.store.pool)
            .await?)
    }
}

impl FromRow<'_, SqliteRow> for DigestRecord {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: column::parsed(row, "id")?,
            span: column::choice(row, "span")?,
            first_day: column::parsed(row, "first_day")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channel;
    use crate::open::tests::store;

    #[tokio::test]
    async fn a_digest_is_made_once() {
        let (_directory, store) = store().await;
        let receivers = [Receiver { channel: Channel::Webhook, address: String::new() }];
        let day = Date::constant(2026, 11, 20);
        let digests = store.digests();
        assert_eq!(digests.latest(Span::Day, day).await.unwrap(), None);

        let made = digests.make(Span::Day, day, &receivers).await.unwrap().unwrap();
        assert_eq!(digests.make(Span::Day, day, &receivers).await.unwrap(), None);
        assert!(digests.make(Span::Week, day, &[]).await.unwrap().is_some(), "another span");

        assert_eq!(digests.latest(Span::Day, day).await.unwrap(), Some(day));
        let before = day.yesterday().unwrap();
        assert_eq!(digests.latest(Span::Day, before).await.unwrap(), None, "of a day to come");
        assert_eq!(digests.find(made.id).await.unwrap(), Some(made));
        let queued = store.deliveries().list(Subject::Digest(made.id)).await.unwrap();
        assert_eq!(queued.len(), 1);
        assert_eq!(queued[0].subject, Subject::Digest(made.id));
    }
}
