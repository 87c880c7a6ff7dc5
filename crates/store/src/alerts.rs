//! Alerts: what was noticed about a person and a theme within a window of time, with the exchanges that led to it;
//! and how far the access log, where all of it comes from, has been read. [`AlertBatch`] keeps both in step.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, Sqlite, Transaction};
use wardgate_core::{AlertLevel, CategoryName, GroupName, TextKind, ThemeName, UserName, Verdict};

use crate::id::id;
use crate::{Receiver, Store, StoreError, Subject, column, deliveries};

/// Most alerts that are read at once.
pub const MAX_ALERTS_READ: u32 = 10_000;

id! {
    /// The id of an alert.
    AlertId
}

/// Whom an alert is about: the user where known, else whoever sits at the address. Personal data; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Person {
    /// The account, where known.
    pub user: Option<UserName>,
    /// The client's address.
    pub client: IpAddr,
}

impl Person {
    /// What alerts are grouped by: the user whatever the device, in any spelling; the address where no user is known.
    pub fn key(&self) -> String {
        match &self.user {
            Some(user) => format!("user:{}", user.as_str().to_lowercase()),
            None => format!("address:{}", self.client),
        }
    }
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Person(..)")
    }
}

/// What was noticed about a person and a theme within a window of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// The id.
    pub id: AlertId,
    /// Whom it is about, as first seen.
    #[serde(flatten)]
    pub person: Person,
    /// The person's group, as first seen.
    pub group: Option<GroupName>,
    /// What the person may be at risk of.
    pub theme: ThemeName,
    /// The gravest level so far.
    pub level: AlertLevel,
    /// When the first exchange was noticed.
    pub first_at: Timestamp,
    /// When the last exchange was noticed.
    pub last_at: Timestamp,
    /// Exchanges noticed before this time belong to this alert, later ones to a new alert.
    pub window_ends_at: Timestamp,
    /// How many exchanges it counts.
    pub exchanges: u32,
}

/// One exchange of an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertEvent {
    /// The decision id, as on the block page and in the access log.
    pub event_id: String,
    /// When the exchange began.
    pub at: Timestamp,
    /// The canonical URL, where it may be recorded.
    pub url: Option<String>,
    /// What was done.
    pub verdict: Verdict,
    /// The verdict that a monitor-only group was spared.
    pub spared: Option<Verdict>,
    /// The category that brought up the theme.
    pub category: CategoryName,
    /// How soon somebody must know.
    pub level: AlertLevel,
    /// What was found about the category.
    pub evidence: Vec<Found>,
    /// What the person wrote.
    pub written: Vec<WrittenWords>,
}

/// What a stage found, as kept with an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where: in the address, a page, a search and so on.
    pub kind: TextKind,
    /// The list, for an entry of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The entry as it matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The phrases, for a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<FoundPhrase>,
}

/// A phrase that occurred in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundPhrase {
    /// The phrase as the policy file writes it.
    pub phrase: String,
    /// The words around its first occurrence.
    pub snippet: String,
    /// How often it occurred.
    pub count: u32,
}

/// Words that the person wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenWords {
    /// Search, prompt or post.
    pub kind: TextKind,
    /// The service, for example `google`.
    pub service: String,
    /// The words.
    pub text: String,
}

/// A place between two lines of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// The name of the file.
    pub file: String,
    /// Bytes of the file before the place.
    pub offset: u64,
}

/// The alerts of a store.
#[derive(Clone, Copy)]
pub struct Alerts<'a> {
    store: &'a Store,
}

impl<'a> Alerts<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store }
    }

    /// How far the follower of this name has read the access log; nothing where it has not begun.
    pub async fn place(self, follower: &str) -> Result<Option<LogPlace>, StoreError> {
        let row = sqlx::query("SELECT file, position FROM follower WHERE name = $1")
            .bind(follower)
            .fetch_optional(&self.store.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let position: i64 = row.try_get("position")?;
        Ok(Some(LogPlace { file: row.try_get("file")?, offset: position.unsigned_abs() }))
    }

    /// Begins to take in what was read. Nothing of it is kept before [`AlertBatch::commit`].
    pub async fn batch(self) -> Result<AlertBatch, StoreError> {
        Ok(AlertBatch { transaction: self.store.begin().await? })
    }

    /// The alert of this id, if there is one.
    pub async fn find(self, id: AlertId) -> Result<Option<Alert>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM alert WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.store.pool)
            .await?)
    }

    /// The exchanges kept with an alert, gravest first and then in the order in which they began, at most `limit`.
    pub async fn events(self, id: AlertId, limit: u32) -> Result<Vec<AlertEvent>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT * FROM alert_event WHERE alert_id = $1
             ORDER BY CASE level WHEN 'immediate' THEN 0 WHEN 'daily' THEN 1 ELSE 2 END, at, event_id LIMIT $2",
        )
            .bind(id.to_string())
            .bind(i64::from(limit))
            .fetch_all(&self.store.pool)
            .await?)
    }

    /// The alerts first noticed from `from` to before `to`, oldest first, at most [`MAX_ALERTS_READ`].
    pub async fn between(self, from: Timestamp, to: Timestamp) -> Result<Vec<Alert>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT * FROM alert WHERE first_at >= $1 AND first_at < $2 ORDER BY first_at, id LIMIT $3",
        )
        .bind(from.as_millisecond())
        .bind(to.as_millisecond())
        .bind(i64::from(MAX_ALERTS_READ))
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// When the first alert at or after a time was noticed, if there is one.
    pub async fn first_since(self, time: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let first: Option<i64> = sqlx::query_scalar("SELECT MIN(first_at) FROM alert WHERE first_at >= $1")
            .bind(time.as_millisecond())
            .fetch_one(&self.store.pool)
            .await?;
        Ok(first.and_then(|first| Timestamp::from_millisecond(first).ok()))
    }
}

/// What was read from the access log and what it led to: alerts, deliveries and the new place in the log, kept
/// together or not at all. A crash before [`AlertBatch::commit`] leaves everything as it was, the place included, so
/// the same lines are read again; after it they are not.
pub struct AlertBatch {
    transaction: Transaction<'static, Sqlite>,
}

impl AlertBatch {
    /// Whether this exchange is part of an alert of this theme already.
    pub async fn knows(&mut self, event_id: &str, theme: &ThemeName) -> Result<bool, StoreError> {
        let known: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM alert_event WHERE event_id = $1 AND theme = $2")
                .bind(event_id)
                .bind(theme.as_str())
                .fetch_one(&mut *self.transaction)
                .await?;
        Ok(known > 0)
    }

    /// The latest alert about a person and a theme of those whose window ends by a time: an alert from a clock that
    /// ran ahead is not to hide the others.
    pub async fn latest(
        &mut self,
        person: &Person,
        theme: &ThemeName,
        ends_by: Timestamp,
    ) -> Result<Option<Alert>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT * FROM alert WHERE person = $1 AND theme = $2 AND window_ends_at <= $3
             ORDER BY first_at DESC, id DESC LIMIT 1",
        )
        .bind(person.key())
        .bind(theme.as_str())
        .bind(ends_by.as_millisecond())
        .fetch_optional(&mut *self.transaction)
        .await?)
    }

    /// Keeps a new alert, or what changed of a known one: level, times and count.
    pub async fn save(&mut self, alert: &Alert) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO alert (id, person, user_name, client, group_name, theme, level, first_at, last_at,
                                window_ends_at, exchanges)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (id) DO UPDATE SET level = excluded.level, first_at = excluded.first_at,
                last_at = excluded.last_at, window_ends_at = excluded.window_ends_at,
                exchanges = excluded.exchanges",
        )
        .bind(alert.id.to_string())
        .bind(alert.person.key())
        .bind(alert.person.user.as_ref().map(UserName::as_str))
        .bind(alert.person.client.to_string())
        .bind(alert.group.as_ref().map(GroupName::as_str))
        .bind(alert.theme.as_str())
        .bind(alert.level.as_str())
        .bind(alert.first_at.as_millisecond())
        .bind(alert.last_at.as_millisecond())
        .bind(alert.window_ends_at.as_millisecond())
        .bind(i64::from(alert.exchanges))
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Keeps an exchange with its alert.
    pub async fn add_event(&mut self, alert: &Alert, event: &AlertEvent) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO alert_event (event_id, theme, alert_id, at, url, verdict, spared, category, level,
                                      evidence, written)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&event.event_id)
        .bind(alert.theme.as_str())
        .bind(alert.id.to_string())
        .bind(event.at.as_millisecond())
        .bind(&event.url)
        .bind(event.verdict.as_str())
        .bind(event.spared.map(Verdict::as_str))
        .bind(event.category.as_str())
        .bind(event.level.as_str())
        .bind(column::json(&event.evidence)?)
        .bind(column::json(&event.written)?)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Queues the alert for each receiver. One that it was queued for before gets nothing new; what was given up is
    /// tried again.
    pub async fn send(&mut self, alert: &Alert, receivers: &[Receiver]) -> Result<(), StoreError> {
        deliveries::queue(&mut self.transaction, Subject::Alert(alert.id), receivers).await
    }

    /// Keeps everything, with the place after the last line read by the follower of this name.
    pub async fn commit(mut self, follower: &str, place: &LogPlace) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO follower (name, file, position) VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET file = excluded.file, position = excluded.position",
        )
        .bind(follower)
        .bind(&place.file)
        .bind(i64::try_from(place.offset).unwrap_or(i64::MAX))
        .execute(&mut *self.transaction)
        .await?;
        Ok(self.transaction.commit().await?)
    }
}

impl FromRow<'_, SqliteRow> for Alert {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let user: Option<String> = row.try_get("user_name")?;
        let group: Option<String> = row.try_get("group_name")?;
        Ok(Self {
            id: column::parsed(row, "id")?,
            person: Person { user: user.map(UserName::new), client: column::parsed(row, "client")? },
            group: group.map(GroupName::new),
            theme: ThemeName::new(row.try_get::<String, _>("theme")?),
            level: column::choice(row, "level")?,
            first_at: column::time(row, "first_at")?,
            last_at: column::time(row, "last_at")?,
            window_ends_at: column::time(row, "window_ends_at")?,
            exchanges: u32::try_from(row.try_get::<i64, _>("exchanges")?).unwrap_or(u32::MAX),
        })
    }
}

impl FromRow<'_, SqliteRow> for AlertEvent {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            event_id: row.try_get("event_id")?,
            at: column::time(row, "at")?,
            url: row.try_get("url")?,
            verdict: column::choice(row, "verdict")?,
            spared: column::optional_choice(row, "spared")?,
            category: CategoryName::new(row.try_get::<String, _>("category")?),
            level: column::choice(row, "level")?,
            evidence: column::list(row, "evidence")?,
            written: column::list(row, "written")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::Channel;
    use crate::open::tests::store;

    fn alert(person: &Person) -> Alert {
        let now = column::now();
        Alert {
            id: AlertId::new(),
            person: person.clone(),
            group: Some(GroupName::from("learners")),
            theme: ThemeName::from("self-harm"),
            level: AlertLevel::Daily,
            first_at: now,
            last_at: now,
            window_ends_at: now + 10.minutes(),
            exchanges: 1,
        }
    }

    fn person(user: Option<&str>, client: &str) -> Person {
        Person { user: user.map(UserName::new), client: client.parse().unwrap() }
    }

    fn event() -> AlertEvent {
        AlertEvent {
            event_id: "0193-event".to_owned(),
            at: column::now(),
            url: Some("https://example.com/".to_owned()),
            verdict: Verdict::Allow,
            spared: Some(Verdict::Block),
            category: CategoryName::from("self-harm"),
            level: AlertLevel::Immediate,
            evidence: vec![Found {
                kind: TextKind::Search,
                list: None,
                entry: None,
                phrases: vec![FoundPhrase { phrase: "a".into(), snippet: "an a".into(), count: 2 }],
            }],
            written: vec![WrittenWords {
                kind: TextKind::Search,
                service: "google".into(),
                text: "a".into(),
            }],
        }
    }

    fn place(offset: u64) -> LogPlace {
        LogPlace { file: "access-2026-11-21.jsonl".to_owned(), offset }
    }

    #[tokio::test]
    async fn what_is_kept_is_read_back() {
        let (_directory, store) = store().await;
        let mut alert = alert(&person(Some("Alice"), "10.0.0.7"));
        let receivers = [Receiver { channel: Channel::Email, address: "dsl@example.org".to_owned() }];
        let mut batch = store.alerts().batch().await.unwrap();
        assert!(!batch.knows("0193-event", &alert.theme).await.unwrap());
        batch.save(&alert).await.unwrap();
        batch.add_event(&alert, &event()).await.unwrap();
        assert!(batch.knows("0193-event", &alert.theme).await.unwrap());
        alert.exchanges = 3;
        alert.level = AlertLevel::Immediate;
        batch.save(&alert).await.unwrap();
        batch.send(&alert, &receivers).await.unwrap();
        batch.send(&alert, &receivers).await.unwrap();
        batch.commit("alerts", &place(77)).await.unwrap();

        let alerts = store.alerts();
        assert_eq!(alerts.place("alerts").await.unwrap(), Some(place(77)));
        assert_eq!(alerts.find(alert.id).await.unwrap(), Some(alert.clone()));
        let events = alerts.events(alert.id, 10).await.unwrap();
        assert_eq!(
            (events.len(), &events[0].evidence, &events[0].written),
            (1, &event().evidence, &event().written)
        );
        assert_eq!(events[0].spared, Some(Verdict::Block));
        let to = alert.first_at + 1.second();
        assert_eq!(alerts.between(alert.first_at, to).await.unwrap(), [alert.clone()]);
        assert_eq!(alerts.between(to, to + 1.hour()).await.unwrap(), []);
        assert_eq!(alerts.first_since(alert.first_at).await.unwrap(), Some(alert.first_at));
        assert_eq!(alerts.first_since(to).await.unwrap(), None);
        assert_eq!(store.deliveries().list(Subject::Alert(alert.id)).await.unwrap().len(), 1, "queued once");
    }

    #[tokio::test]
    async fn the_gravest_exchange_comes_first() {
        let (_directory, store) = store().await;
        let alert = alert(&person(Some("Alice"), "10.0.0.7"));
        let mut batch = store.alerts().batch().await.unwrap();
        batch.save(&alert).await.unwrap();
        let levels = [AlertLevel::Weekly, AlertLevel::Daily, AlertLevel::Immediate, AlertLevel::Daily];
        for (number, level) in levels.into_iter().enumerate() {
            let at = alert.first_at + i64::try_from(number).unwrap().seconds();
            let event = AlertEvent { event_id: number.to_string(), at, level, ..event() };
            batch.add_event(&alert, &event).await.unwrap();
        }
        batch.commit("alerts", &place(1)).await.unwrap();
        let events = store.alerts().events(alert.id, 3).await.unwrap();
        assert_eq!(events.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ["2", "1", "3"]);
    }

    #[tokio::test]
    async fn a_batch_that_is_not_committed_leaves_nothing() {
        let (_directory, store) = store().await;
        store.alerts().batch().await.unwrap().commit("alerts", &place(1)).await.unwrap();
        let alert = alert(&person(None, "10.0.0.7"));
        let mut batch = store.alerts().batch().await.unwrap();
        batch.save(&alert).await.unwrap();
        batch.add_event(&alert, &event()).await.unwrap();
        drop(batch);
        assert_eq!(store.alerts().find(alert.id).await.unwrap(), None);
        assert_eq!(store.alerts().place("alerts").await.unwrap(), Some(place(1)));
        assert_eq!(store.alerts().place("another").await.unwrap(), None);
    }

    #[tokio::test]
    async fn who_counts_as_the_same_person() {
        let (_directory, store) = store().await;
        let known = alert(&person(Some("Alice"), "10.0.0.7"));
        let unknown = alert(&person(None, "10.0.0.9"));
        let mut batch = store.alerts().batch().await.unwrap();
        batch.save(&known).await.unwrap();
        batch.save(&unknown).await.unwrap();
        for (name, person, expected) in [
            ("another device", person(Some("alice"), "10.0.0.8"), Some(known.id)),
            ("another user", person(Some("bob"), "10.0.0.7"), None),
            ("no user", person(None, "10.0.0.7"), None),
            ("the same address", person(None, "10.0.0.9"), Some(unknown.id)),
            ("a user named like an address", person(Some("10.0.0.9"), "10.0.0.9"), None),
        ] {
            let latest = batch.latest(&person, &known.theme, Timestamp::MAX).await.unwrap();
            assert_eq!(latest.map(|alert| alert.id), expected, "{name}");
            let other = batch.latest(&person, &ThemeName::from("bullying"), Timestamp::MAX).await.unwrap();
            assert_eq!(other, None, "{name}");
        }
    }

    #[tokio::test]
    async fn an_alert_of_the_future_hides_no_other() {
        let (_directory, store) = store().await;
        let present = alert(&person(Some("Alice"), "10.0.0.7"));
        let mut future = alert(&present.person);
        future.first_at += 24.hours();
        future.window_ends_at += 24.hours();
        let mut batch = store.alerts().batch().await.unwrap();
        batch.save(&present).await.unwrap();
        batch.save(&future).await.unwrap();
        for (name, ends_by, expected) in [
            ("before both", present.window_ends_at - 1.second(), None),
            ("between them", present.window_ends_at, Some(present.id)),
            ("after both", future.window_ends_at, Some(future.id)),
        ] {
            let latest = batch.latest(&present.person, &present.theme, ends_by).await.unwrap();
            assert_eq!(latest.map(|alert| alert.id), expected, "{name}");
        }
    }
}
