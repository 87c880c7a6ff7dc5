//! Deliveries: a durable queue of what is to be sent to whom. A delivery keeps its id through all attempts, so that a
//! receiver can tell a repetition from news.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

use crate::id::id;
use crate::{AlertId, DigestId, Store, StoreError, column};

id! {
    /// The id of a delivery, the same for all its attempts.
    DeliveryId
}

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An alert.
    Alert(AlertId),
    /// A digest.
    Digest(DigestId),
}

/// The way by which a delivery goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// An e-mail.
    Email,
    /// A request to the webhook.
    Webhook,
}

impl Channel {
    /// The name used in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

/// Who receives. `Debug` hides the address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Receiver {
    /// The way.
    pub channel: Channel,
    /// The e-mail address; empty for the webhook.
    pub address: String,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Receiver({}, ..)", self.channel.as_str())
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Waits for its time.
    Pending,
    /// Is being sent. After a crash it is not known whether it arrived.
    Sending,
    /// The receiver has accepted it.
    Delivered,
    /// Given up.
    Dead,
}

impl DeliveryState {
    /// The name used in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// One message to one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The id.
    pub id: DeliveryId,
    /// What is delivered.
    pub subject: Subject,
    /// To whom.
    pub receiver: Receiver,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts begun so far.
    pub attempts: u32,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it may be tried (again).
    pub next_at: Timestamp,
    /// When it was delivered or given up.
    pub settled_at: Option<Timestamp>,
    /// Why the last attempt failed; names no person.
    pub last_error: Option<String>,
}

/// The deliveries of a store.
#[derive(Clone, Copy)]
pub struct Deliveries<'a> {
    store: &'a Store,
}

impl<'a> Deliveries<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store }
    }

    /// Takes the next delivery of a channel that may be tried at `now`, and notes that an attempt begins.
    pub async fn take(self, channel: Channel, now: Timestamp) -> Result<Option<Delivery>, StoreError> {
        Ok(sqlx::query_as(
            "UPDATE delivery SET state = 'sending', attempts = attempts + 1
             WHERE id = (SELECT id FROM delivery WHERE channel = $1 AND state = 'pending' AND next_at <= $2
                         ORDER BY next_at, id LIMIT 1)
             RETURNING *",
        )
        .bind(channel.as_str())
        .bind(now.as_millisecond())
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// When the next delivery of a channel may be tried, if any waits.
    pub async fn next_turn(self, channel: Channel) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> =
            sqlx::query_scalar("SELECT MIN(next_at) FROM delivery WHERE channel = $1 AND state = 'pending'")
                .bind(channel.as_str())
                .fetch_one(&self.store.pool)
                .await?;
        Ok(next.and_then(|next| Timestamp::from_millisecond(next).ok()))
    }

    /// Notes that the receiver has accepted it.
    pub async fn delivered(self, id: DeliveryId, now: Timestamp) -> Result<(), StoreError> {
        self.settle(id, DeliveryState::Delivered, now, None).await
    }

    /// Notes that an attempt failed and when to try again.
    pub async fn retry(self, id: DeliveryId, next_at: Timestamp, error: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE delivery SET state = 'pending', next_at = $2, last_error = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(next_at.as_millisecond())
            .bind(error)
            .execute(&self.store.pool)
            .await?;
        Ok(())
    }

    /// Gives it up.
    pub async fn bury(self, id: DeliveryId, now: Timestamp, error: &str) -> Result<(), StoreError> {
        self.settle(id, DeliveryState::Dead, now, Some(error)).await
    }

    /// Puts what was being sent by a channel when an attempt was broken off (by a crash, say) back into the queue;
    /// returns how many there were. For the only one who sends by this channel, while it sends nothing.
    pub async fn recover(self, channel: Channel) -> Result<u64, StoreError> {
        Ok(sqlx::query("UPDATE delivery SET state = 'pending' WHERE channel = $1 AND state = 'sending'")
            .bind(channel.as_str())
            .execute(&self.store.pool)
            .await?
            .rows_affected())
    }

    /// The receivers for whom something waits or was being sent.
    pub async fn awaited(self) -> Result<Vec<Receiver>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT DISTINCT channel, address FROM delivery WHERE state IN ('pending', 'sending')",
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Gives up what waits for a former receiver, or was being sent when an attempt was broken off, and queues it for
    /// the heirs who have not had it, all or nothing; returns how many there were. For a time at which nothing is sent.
    pub async fn hand_over(
        self,
        former: &Receiver,
        heirs: &[Receiver],
        now: Timestamp,
        error: &str,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.store.begin().await?;
        let mut given_up: Vec<Delivery> = sqlx::query_as(
            "UPDATE delivery SET state = 'dead', settled_at = $3, last_error = $4
             WHERE channel = $1 AND address = $2 AND state IN ('pending', 'sending') RETURNING *",
        )
        .bind(former.channel.as_str())
        .bind(&former.address)
        .bind(now.as_millisecond())
        .bind(error)
        .fetch_all(&mut *transaction)
        .await?;
        given_up.sort_by_key(|delivery| delivery.created_at);
        for delivery in &given_up {
            queue(&mut transaction, delivery.subject, heirs).await?;
        }
        transaction.commit().await?;
        Ok(given_up.len() as u64)
    }

    /// The deliveries of an alert or digest, in the order in which they were queued.
    pub async fn list(self, subject: Subject) -> Result<Vec<Delivery>, StoreError> {
        let (kind, id) = subject_columns(subject);
        Ok(sqlx::query_as("SELECT * FROM delivery WHERE subject = $1 AND subject_id = $2 ORDER BY id")
            .bind(kind)
            .bind(id)
            .fetch_all(&self.store.pool)
            .await?)
    }

    async fn settle(
        self,
        id: DeliveryId,
        state: DeliveryState,
        now: Timestamp,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE delivery SET state = $2, settled_at = $3, last_error = $4 WHERE id = $1")
            .bind(id.to_string())
            .bind(state.as_str())
            .bind(now.as_millisecond())
            .bind(error)
            .execute(&self.store.pool)
            .await?;
        Ok(())
    }
}

/// Queues something for each receiver, to be sent at once. A receiver it was queued for before gets nothing new, but
/// what was given up is tried again, under its id.
pub(crate) async fn queue(
    connection: &mut SqliteConnection,
    subject: Subject,
    receivers: &[Receiver],
) -> Result<(), StoreError> {
    let (kind, subject_id) = subject_columns(subject);
    let now = column::now().as_millisecond();
    for receiver in receivers {
        sqlx::query(
            "INSERT INTO delivery (id, subject, subject_id, channel, address, state, attempts, created_at, next_at)
             VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $6)
             ON CONFLICT (subject, subject_id, channel, address) DO UPDATE SET state = 'pending', attempts = 0,
                created_at = excluded.created_at, next_at = excluded.next_at, settled_at = NULL
                WHERE delivery.state = 'dead'",
        )
        .bind(DeliveryId::new().to_string())
        .bind(kind)
        .bind(&subject_id)
        .bind(receiver.channel.as_str())
        .bind(&receiver.address)
        .bind(now)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn subject_columns(subject: Subject) -> (&'static str, String) {
    match subject {
        Subject::Alert(id) => ("alert", id.to_string()),
        Subject::Digest(id) => ("digest", id.to_string()),
    }
}

impl FromRow<'_, SqliteRow> for Receiver {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self { channel: column::choice(row, "channel")?, address: row.try_get("address")? })
    }
}

impl FromRow<'_, SqliteRow> for Delivery {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let subject = match row.try_get("subject")? {
            "alert" => Subject::Alert(column::parsed(row, "subject_id")?),
            _ => Subject::Digest(column::parsed(row, "subject_id")?),
        };
        let settled_at: Option<i64> = row.try_get("settled_at")?;
        Ok(Self {
            id: column::parsed(row, "id")?,
            subject,
            receiver: Receiver::from_row(row)?,
            state: column::choice(row, "state")?,
            attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
            created_at: column::time(row, "created_at")?,
            next_at: column::time(row, "next_at")?,
            settled_at: settled_at.and_then(|at| Timestamp::from_millisecond(at).ok()),
            last_error: row.try_get("last_error")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::DeliveryState::{Dead, Delivered, Pending};
    use super::*;
    use crate::Span;
    use crate::open::tests::store;

    fn email(address: &str) -> Receiver {
        Receiver { channel: Channel::Email, address: address.to_owned() }
    }

    async fn queued(store: &Store, receivers: &[Receiver]) -> Subject {
        let day = jiff::civil::Date::constant(2026, 11, 20);
        let record = store.digests().make(Span::Day, day, receivers).await.unwrap().unwrap();
        Subject::Digest(record.id)
    }

    #[tokio::test]
    async fn a_delivery_from_queue_to_receiver() {
        let (_directory, store) = store().await;
        let subject = queued(&store, &[email("dsl@example.org")]).await;
        let deliveries = store.deliveries();
        let now = column::now();

        let taken = deliveries.take(Channel::Email, now).await.unwrap().unwrap();
        assert_eq!((taken.subject, taken.attempts, taken.state), (subject, 1, DeliveryState::Sending));
        assert_eq!(deliveries.take(Channel::Email, now).await.unwrap(), None, "taken once");
        assert_eq!(deliveries.take(Channel::Webhook, now).await.unwrap(), None, "another channel");

        let later = now + 8.seconds();
        deliveries.retry(taken.id, later, "timed out").await.unwrap();
        assert_eq!(deliveries.take(Channel::Email, now).await.unwrap(), None, "before its time");
        assert_eq!(deliveries.next_turn(Channel::Email).await.unwrap(), Some(later));

        let again = deliveries.take(Channel::Email, later).await.unwrap().unwrap();
        assert_eq!((again.id, again.attempts), (taken.id, 2), "the same delivery");
        assert_eq!(again.last_error.as_deref(), Some("timed out"));
        deliveries.delivered(again.id, later).await.unwrap();

        let [settled] = &deliveries.list(subject).await.unwrap()[..] else { panic!("one delivery") };
        assert_eq!((settled.state, settled.settled_at), (DeliveryState::Delivered, Some(later)));
        assert_eq!(settled.last_error, None);
        assert_eq!(deliveries.next_turn(Channel::Email).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_was_being_sent_is_recovered() {
        let (_directory, store) = store().await;
        queued(&store, &[email("a@example.org"), email("b@example.org")]).await;
        let deliveries = store.deliveries();
        let now = column::now();
        let first = deliveries.take(Channel::Email, now).await.unwrap().unwrap();
        assert_eq!(deliveries.recover(Channel::Webhook).await.unwrap(), 0);
        assert_eq!(deliveries.recover(Channel::Email).await.unwrap(), 1);
        assert_eq!(deliveries.take(Channel::Email, now).await.unwrap().map(|taken| taken.id), Some(first.id));
    }

    #[tokio::test]
    async fn what_waits_for_a_receiver_can_be_given_up() {
        let (_directory, store) = store().await;
        let gone = email("gone@example.org");
        let subject = queued(&store, &[gone.clone(), email("dsl@example.org")]).await;
        let deliveries = store.deliveries();
        assert_eq!(deliveries.awaited().await.unwrap().len(), 2);
        assert_eq!(deliveries.hand_over(&gone, &[], column::now(), "not configured").await.unwrap(), 1);
        assert_eq!(deliveries.awaited().await.unwrap(), [email("dsl@example.org")]);
        let states: Vec<_> = deliveries.list(subject).await.unwrap().iter().map(|each| each.state).collect();
        assert_eq!(states, [DeliveryState::Dead, DeliveryState::Pending]);
    }

    #[tokio::test]
    async fn the_heirs_of_a_receiver_get_what_they_have_not_had() {
        let (_directory, store) = store().await;
        let [had, gone, new] = ["had@example.org", "gone@example.org", "new@example.org"].map(email);
        let subject = queued(&store, &[had.clone(), gone.clone()]).await;
        let deliveries = store.deliveries();
        let now = column::now();
        let first = deliveries.take(Channel::Email, now).await.unwrap().unwrap();
        assert_eq!(first.receiver, had);
        deliveries.delivered(first.id, now).await.unwrap();
        for (name, former, heirs, expected) in [
            ("a new address", &gone, [&had, &new], [(1, Delivered), (0, Dead), (0, Pending)]),
            ("once more", &gone, [&had, &new], [(1, Delivered), (0, Dead), (0, Pending)]),
            ("and back again", &new, [&had, &gone], [(1, Delivered), (0, Pending), (0, Dead)]),
        ] {
            let heirs = heirs.map(Receiver::clone);
            deliveries.hand_over(former, &heirs, now, "not configured").await.unwrap();
            let list = deliveries.list(subject).await.unwrap();
            let states: Vec<_> = list.iter().map(|each| (each.attempts, each.state)).collect();
            assert_eq!(states, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn what_was_being_sent_to_a_receiver_can_be_given_up() {
        let (_directory, store) = store().await;
        let gone = email("gone@example.org");
        queued(&store, std::slice::from_ref(&gone)).await;
        let deliveries = store.deliveries();
        deliveries.take(Channel::Email, column::now()).await.unwrap().unwrap();
        assert_eq!(deliveries.awaited().await.unwrap(), std::slice::from_ref(&gone));
        assert_eq!(deliveries.hand_over(&gone, &[], column::now(), "not configured").await.unwrap(), 1);
        assert_eq!(deliveries.recover(Channel::Email).await.unwrap(), 0);
        assert_eq!(deliveries.awaited().await.unwrap(), []);
    }
}
