//! Takes deliveries from the queue, one at a time for each way, and notes what became of them.

use std::time::Duration;

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

    /// Delivers until shutdown; a message under way is brought to its end.
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
