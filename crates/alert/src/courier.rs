//! Takes deliveries from the queue, one at a time for each way, and notes what became of them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wardgate_store::{AlertId, Channel, Delivery, DeliveryState, DigestId, Store, StoreError, Subject};

use crate::digest::digest;
use crate::email::Email;
use crate::letter::{AlertLetter, Letter, MAX_EVENTS_TOLD};
use crate::webhook::Webhook;
use crate::{AlertError, Guidance, Period, backoff};

/// Longest sleep, however far the next turn: clocks are set, and laptops wake up.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How long messages are begun after shutdown was asked for.
const LAST_ROUND: Duration = Duration::from_secs(2);
/// Pause after a failure of the store.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// Why a message could not be sent. Neither names a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The receiving system cannot be reached: other messages would fare no better.
    Unreachable(String),
    /// This message was refused; another may pass.
    Refused(String),
}

/// The way by which a courier goes.
pub(crate) enum Way {
    Email(Email),
    Webhook(Webhook),
}

impl Way {
    fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Webhook(_) => Channel::Webhook,
        }
    }

    async fn send(&self, delivery: &Delivery, letter: &Letter) -> Result<(), SendError> {
        match self {
            Self::Email(email) => email.send(delivery, letter).await,
            Self::Webhook(webhook) => webhook.send(delivery.id, letter).await,
        }
    }
}

/// Writes letters from the records.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) guidance: Guidance,
    pub(crate) time_zone: TimeZone,
}

impl Desk {
    /// The letter about an alert or a digest; nothing where it is no longer on record.
    async fn letter(&self, subject: Subject) -> Result<Option<Letter>, AlertError> {
        match subject {
            Subject::Alert(id) => self.alert(id).await,
            Subject::Digest(id) => self.digest(id).await,
        }
    }

    async fn alert(&self, id: AlertId) -> Result<Option<Letter>, AlertError> {
        let Some(alert) = self.store.alerts().find(id).await? else { return Ok(None) };
        let events = self.store.alerts().events(id, MAX_EVENTS_TOLD).await?;
        let Some(gravest) = events.iter().max_by_key(|event| event.level) else { return Ok(None) };
        let wording = self.guidance.of(&gravest.category, &alert.theme);
        let letter = AlertLetter { alert, events, wording, time_zone: self.time_zone.clone() };
        Ok(Some(Letter::Alert(Box::new(letter))))
    }

    async fn digest(&self, id: DigestId) -> Result<Option<Letter>, AlertError> {
        let Some(record) = self.store.digests().find(id).await? else { return Ok(None) };
        let period = Period::around(record.span, record.first_day, &self.time_zone);
        Ok(Some(Letter::Digest(Box::new(digest(&self.store, &period).await?))))
    }
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The queue holds nothing that may be tried now.
    Idle,
    /// Sent, or refused: go on with the next.
    Settled,
    /// The receiving system cannot be reached: rest a while.
    Unreachable,
}

/// The only one who goes this way.
pub(crate) struct Courier {
    desk: Desk,
    way: Way,
    queued: watch::Receiver<()>,
    /// Attempts in a row at which the receiving system could not be reached.
    unreachable: u32,
}

impl Courier {
    pub(crate) fn new(desk: Desk, way: Way, queued: watch::Receiver<()>) -> Self {
        Self { desk, way, queued, unreachable: 0 }
    }

    /// Delivers until shutdown; a message under way is brought to its end, and what was queued last is tried once.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let rest = self.round(&shutdown).await.unwrap_or_else(|error| {
                tracing::error!(channel = self.way.channel().as_str(), %error, "deliveries wait for the records");
                Rest::Regardless(STORE_PAUSE)
            });
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(rest.at_most()) => {}
                Ok(()) = self.queued.changed(), if matches!(rest, Rest::UntilQueued(_)) => {}
            }
        }
        if let Err(error) = self.last_round().await {
            tracing::error!(channel = self.way.channel().as_str(), %error, "deliveries wait for the next start");
        }
    }

    /// Delivers what the last look at the log has queued, as far as that goes quickly.
    async fn last_round(&mut self) -> Result<(), StoreError> {
        let until = Instant::now() + LAST_ROUND;
        while Instant::now() < until && self.attempt(Timestamp::now()).await? == Attempt::Settled {}
        Ok(())
    }

    /// Delivers what may be tried now; returns how long to rest.
    async fn round(&mut self, shutdown: &CancellationToken) -> Result<Rest, StoreError> {
        // Whatever an earlier round (or process) left half done: this courier has nothing under way now.
        self.deliveries().recover(self.way.channel()).await?;
        while !shutdown.is_cancelled() {
            match self.attempt(Timestamp::now()).await? {
                Attempt::Settled => {}
                Attempt::Idle => break,
                Attempt::Unreachable => {
                    let pause = backoff::delay(self.unreachable).unsigned_abs();
                    return Ok(Rest::Regardless(pause.min(LONGEST_SLEEP)));
                }
            }
        }
        let next = self.deliveries().next_turn(self.way.channel()).await?;
        let wait = next.map_or(LONGEST_SLEEP, |next| {
            next.duration_since(Timestamp::now()).try_into().unwrap_or(Duration::ZERO)
        });
        Ok(Rest::UntilQueued(wait.min(LONGEST_SLEEP)))
    }

    /// Tries the next delivery whose turn it is at `now`.
    pub(crate) async fn attempt(&mut self, now: Timestamp) -> Result<Attempt, StoreError> {
        let Some(delivery) = self.deliveries().take(self.way.channel(), now).await? else {
            return Ok(Attempt::Idle);
        };
        let sent = match self.desk.letter(delivery.subject).await {
            Ok(Some(letter)) => self.way.send(&delivery, &letter).await,
            Ok(None) => return self.give_up(&delivery, now, "it is no longer on record").await,
            Err(error) => Err(SendError::Refused(error.to_string())),
        };
        match sent {
            Ok(()) => {
                self.unreachable = 0;
                self.deliveries().delivered(delivery.id, now).await?;
                self.note(&delivery, DeliveryState::Delivered, None);
                Ok(Attempt::Settled)
            }
            Err(SendError::Refused(why)) => {
                self.unreachable = 0;
                self.try_later(&delivery, now, &why).await?;
                Ok(Attempt::Settled)
            }
            Err(SendError::Unreachable(why)) => {
                self.unreachable = self.unreachable.saturating_add(1);
                self.try_later(&delivery, now, &why).await?;
                Ok(Attempt::Unreachable)
            }
        }
    }

    async fn try_later(&self, delivery: &Delivery, now: Timestamp, why: &str) -> Result<(), StoreError> {
        let Some(next) = backoff::next_attempt(delivery, now) else {
            self.give_up(delivery, now, why).await?;
            return Ok(());
        };
        self.deliveries().retry(delivery.id, next, why).await?;
        self.note(delivery, DeliveryState::Pending, Some(why));
        Ok(())
    }

    async fn give_up(&self, delivery: &Delivery, now: Timestamp, why: &str) -> Result<Attempt, StoreError> {
        self.deliveries().bury(delivery.id, now, why).await?;
        self.note(delivery, DeliveryState::Dead, Some(why));
        Ok(Attempt::Settled)
    }

    fn deliveries(&self) -> wardgate_store::Deliveries<'_> {
        self.desk.store.deliveries()
    }

    /// Says in log and metrics what became of an attempt.
    fn note(&self, delivery: &Delivery, state: DeliveryState, why: Option<&str>) {
        let channel = self.way.channel().as_str();
        let (id, attempts) = (delivery.id, delivery.attempts);
        count(channel, state, 1);
        match state {
            DeliveryState::Dead => tracing::error!(%id, channel, attempts, why, "a delivery was given up"),
            DeliveryState::Delivered => tracing::info!(%id, channel, attempts, "a delivery has arrived"),
            _ => tracing::warn!(%id, channel, attempts, why, "a delivery failed and will be tried again"),
        }
    }
}

/// Counts attempts by what became of them.
pub(crate) fn count(channel: &'static str, state: DeliveryState, deliveries: u64) {
    metrics::counter!("wardgate_deliveries_total", "channel" => channel, "state" => state.as_str())
        .increment(deliveries);
}

/// How long a courier rests.
enum Rest {
    /// Until something is queued, at most so long.
    UntilQueued(Duration),
    /// So long, whatever is queued.
    Regardless(Duration),
}

impl Rest {
    fn at_most(&self) -> Duration {
        match self {
            Self::UntilQueued(wait) | Self::Regardless(wait) => *wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use tempfile::TempDir;
    use tokio::net::TcpListener;
    use wardgate_core::AlertLevel;
    use wardgate_store::{Alert, LogPlace, Receiver};

    use super::*;
    use crate::testing::smtp::{Behaviour, SmtpServer};
    use crate::testing::{self, london, seen_event, wording};

    const HOUR: i64 = 3600;

    fn courier(store: &Store, port: u16) -> Courier {
        let config = format!(
            "server = 'localhost'\nport = {port}\ntls = 'none'\nfrom = 'wardgate@example.org'\nto = ['dsl@example.org']"
        );
        let way = Way::Email(Email::new(toml::from_str(&config).unwrap()).unwrap());
        let desk = Desk { store: store.clone(), guidance: Guidance::fixed(wording()), time_zone: london() };
        Courier::new(desk, way, watch::channel(()).1)
    }

    /// A store with an alert that is queued for one receiver.
    async fn queued() -> (TempDir, Store, Subject) {
        let (directory, store) = testing::store().await;
        let alert = testing::alert("alice", "self-harm", AlertLevel::Immediate, "2026-11-21T10:00Z", 1);
        keep(&store, &alert, &[Receiver { channel: Channel::Email, address: "dsl@example.org".to_owned() }])
            .await;
        (directory, store, Subject::Alert(alert.id))
    }

    async fn keep(store: &Store, alert: &Alert, receivers: &[Receiver]) {
        let mut batch = store.alerts().batch().await.unwrap();
        batch.save(alert).await.unwrap();
        batch.add_event(alert, &seen_event()).await.unwrap();
        batch.send(alert, receivers).await.unwrap();
        batch.commit("tests", &LogPlace { file: String::new(), offset: 0 }).await.unwrap();
    }

    async fn only(store: &Store, subject: Subject) -> Delivery {
        store.deliveries().list(subject).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn delivered_once() {
        let (directory, store, subject) = queued().await;
        let server = SmtpServer::start(Behaviour::default()).await;
        let now = Timestamp::now();
        assert_eq!(courier(&store, server.port()).attempt(now).await.unwrap(), Attempt::Settled);
        assert_eq!(courier(&store, server.port()).attempt(now).await.unwrap(), Attempt::Idle);
        let reopened = Store::open(&testing::url(&directory)).await.unwrap();
        let late = now + (1000 * HOUR).seconds();
        assert_eq!(courier(&reopened, server.port()).attempt(late).await.unwrap(), Attempt::Idle);
        assert_eq!(server.mails().len(), 1);
        let delivery = only(&store, subject).await;
        assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Delivered, 1));
    }

    #[tokio::test]
    async fn a_crash_before_sending_sends_once() {
        let (directory, store, subject) = queued().await;
        store.deliveries().take(Channel::Email, Timestamp::now()).await.unwrap().unwrap();
        drop(store);
        let store = Store::open(&testing::url(&directory)).await.unwrap();
        let server = SmtpServer::start(Behaviour::default()).await;
        courier(&store, server.port()).round(&CancellationToken::new()).await.unwrap();
        assert_eq!(server.mails().len(), 1);
        assert_eq!(only(&store, subject).await.state, DeliveryState::Delivered);
    }

    #[tokio::test]
    async fn a_message_whose_fate_is_unknown_comes_again_under_its_id() {
        let (_directory, store, subject) = queued().await;
        let silent = SmtpServer::start(Behaviour { silent: true, ..Behaviour::default() }).await;
        let now = Timestamp::now();
        assert_eq!(courier(&store, silent.port()).attempt(now).await.unwrap(), Attempt::Unreachable);
        let server = SmtpServer::start(Behaviour::default()).await;
        courier(&store, server.port()).attempt(now + 1.second()).await.unwrap();
        let id = format!("<{}@wardgate>", only(&store, subject).await.id);
        for mails in [silent.mails(), server.mails()] {
            assert_eq!(mails.iter().map(|mail| mail.header("Message-ID")).collect::<Vec<_>>(), [Some(&*id)]);
        }
    }

    #[tokio::test]
    async fn a_server_that_comes_back() {
        let (_directory, store, subject) = queued().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut courier = courier(&store, address.port());
        let mut now = Timestamp::now();
        for attempts in 1..=4 {
            assert_eq!(courier.attempt(now).await.unwrap(), Attempt::Unreachable);
            let delivery = only(&store, subject).await;
            assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Pending, attempts));
            assert!(delivery.last_error.unwrap().starts_with("the mail server cannot be used"));
            assert_eq!(courier.attempt(now).await.unwrap(), Attempt::Idle, "not before its time");
            now = delivery.next_at;
        }
        assert!(matches!(courier.round(&CancellationToken::new()).await.unwrap(), Rest::UntilQueued(_)));
        let server = SmtpServer::on(TcpListener::bind(address).await.unwrap(), Behaviour::default());
        assert_eq!(courier.attempt(now).await.unwrap(), Attempt::Settled);
        assert_eq!(server.mails().len(), 1);
    }

    #[tokio::test]
    async fn while_the_server_is_away_nothing_else_is_tried() {
        let (_directory, store, _) = queued().await;
        let other = testing::alert("bob", "bullying", AlertLevel::Immediate, "2026-11-21T10:00Z", 1);
        keep(&store, &other, &[Receiver { channel: Channel::Email, address: "dsl@example.org".to_owned() }])
            .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut courier = courier(&store, port);
        let Rest::Regardless(pause) = courier.round(&CancellationToken::new()).await.unwrap() else {
            panic!("a pause");
        };
        assert_eq!(pause, Duration::from_secs(1));
        assert_eq!(only(&store, Subject::Alert(other.id)).await.attempts, 0);
    }

    #[tokio::test]
    async fn given_up_after_three_days_and_many_attempts() {
        let (_directory, store, subject) = queued().await;
        let server = SmtpServer::start(Behaviour { recipient: "550 no", ..Behaviour::default() }).await;
        let created = only(&store, subject).await.created_at;
        let mut courier = courier(&store, server.port());
        for _ in 3..backoff::FEWEST_ATTEMPTS {
            let taken = store.deliveries().take(Channel::Email, created).await.unwrap().unwrap();
            store.deliveries().retry(taken.id, created, "refused").await.unwrap();
        }
        for (hours, state) in
            [(71, DeliveryState::Pending), (72, DeliveryState::Pending), (73, DeliveryState::Dead)]
        {
            assert_eq!(courier.attempt(created + hours.hours()).await.unwrap(), Attempt::Settled);
            assert_eq!(only(&store, subject).await.state, state, "after {hours} hours");
        }
        assert_eq!(only(&store, subject).await.last_error.as_deref(), Some("the mail server answered 550"));
    }

    #[tokio::test]
    async fn what_is_no_longer_on_record_is_given_up() {
        let (_directory, store) = testing::store().await;
        let alert = testing::alert("alice", "self-harm", AlertLevel::Immediate, "2026-11-21T10:00Z", 1);
        let receivers = [Receiver { channel: Channel::Email, address: "dsl@example.org".to_owned() }];
        let mut batch = store.alerts().batch().await.unwrap();
        batch.send(&alert, &receivers).await.unwrap();
        batch.commit("tests", &LogPlace { file: String::new(), offset: 0 }).await.unwrap();
        let server = SmtpServer::start(Behaviour::default()).await;
        courier(&store, server.port()).attempt(Timestamp::now()).await.unwrap();
        assert_eq!(only(&store, Subject::Alert(alert.id)).await.state, DeliveryState::Dead);
        assert!(server.mails().is_empty());
    }
}
