//! From the access log to the store: reads on from the last place, groups what is of concern, and keeps alerts,
//! deliveries and the new place together.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use memchr::memmem;
use wardgate_core::AlertLevel;
use wardgate_journal::{Checkpoint, Follower, Line};
use wardgate_store::{LogPlace, Receiver, Store};

use crate::AlertError;
use crate::concern::{Concerned, concerns};
use crate::grouping::{LONGEST_LEFT, group};

/// The name of this reader in the records.
const FOLLOWER: &str = "alerts";
/// Most lines that are read before what they led to is kept.
const BATCH_LINES: usize = 256;
/// Most exchanges that are kept with an alert, not counting the one that made it immediate; the access log has all,
/// and the alert counts all.
const EVENTS_PER_ALERT: u32 = 50;
/// A place after lines of no concern is kept only this often: reading such lines again does no harm.
const QUIET_CHECKPOINT: Duration = Duration::from_secs(60);
/// What was noticed longer ago is kept but no message any more, as when a new database reads the whole log.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_hours(3 * 24);
/// The key of a line that somebody should be told of.
const CONCERNS_KEY: &[u8] = b"\"wardgate.concerns\"";

/// What became of some lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether everything written so far was read.
    pub(crate) at_end: bool,
    /// Whether something was queued for delivery.
    pub(crate) queued: bool,
}

/// Takes in the access log.
pub(crate) struct Intake {
    log_dir: PathBuf,
    store: Store,
    receivers: Vec<Receiver>,
    follower: Option<Follower>,
    kept_at: Instant,
}

impl Intake {
    pub(crate) fn new(log_dir: PathBuf, store: Store, receivers: Vec<Receiver>) -> Self {
        Self { log_dir, store, receivers, follower: None, kept_at: Instant::now() }
    }

    /// Takes in the next lines. After an error everything since the last place kept is read again by the next call.
    pub(crate) async fn take_in(&mut self, now: Timestamp) -> Result<Taken, AlertError> {
        let (follower, lines) = self.read().await?;
        let mut queued = false;
        if let Some(last) = lines.last() {
            let concerned: Vec<_> = lines.iter().flat_map(concerns_of).collect();
            if !concerned.is_empty() || self.kept_at.elapsed() >= QUIET_CHECKPOINT {
                queued = self.keep(&concerned, &last.after, now).await?;
                self.kept_at = Instant::now();
            }
        }
        self.follower = Some(follower);
        Ok(Taken { at_end: lines.len() < BATCH_LINES, queued })
    }

    /// Reads the next lines, away from the threads that must not block. The follower is put back by the caller once
    /// the lines are dealt with; one that is lost on the way is opened again at the last place kept.
    async fn read(&mut self) -> Result<(Follower, Vec<Line>), AlertError> {
        let follower = self.follower.take();
        let place = match follower {
            Some(_) => None,
            None => self.store.alerts().place(FOLLOWER).await?,
        };
        let log_dir = self.log_dir.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut follower = match follower {
                Some(follower) => follower,
                None => Follower::open(log_dir, place.map(checkpoint))?,
            };
            let lines = follower.next_batch(BATCH_LINES)?;
            Ok((follower, lines))
        });
        reading.await.map_err(|_| AlertError::Interrupted)?
    }

    async fn keep(
        &self,
        concerned: &[Concerned],
        after: &Checkpoint,
        now: Timestamp,
    ) -> Result<bool, AlertError> {
        let mut batch = self.store.alerts().batch().await?;
        let mut opened = Vec::new();
        let mut queued = false;
        let mut untold = 0;
        for each in concerned {
            if batch.knows(&each.event.event_id, &each.theme).await? {
                continue;
            }
            let ends_by = each.noticed_at.checked_add(LONGEST_LEFT).unwrap_or(Timestamp::MAX);
            let grouped = group(batch.latest(&each.person, &each.theme, ends_by).await?, each);
            batch.save(&grouped.alert).await?;
            if grouped.alert.exchanges <= EVENTS_PER_ALERT || grouped.urgent {
                batch.add_event(&grouped.alert, &each.event).await?;
            }
            if grouped.urgent && now.duration_since(each.noticed_at) <= TOLD_WITHIN {
                batch.send(&grouped.alert, &self.receivers).await?;
                queued = true;
            } else if grouped.urgent {
                untold += 1;
            }
            if grouped.opened {
                opened.push(grouped.alert.level);
            }
        }
        batch.commit(FOLLOWER, &LogPlace { file: after.file.to_string(), offset: after.offset }).await?;
        opened.into_iter().for_each(count);
        if untold > 0 {
            tracing::warn!(
                alerts = untold,
                "immediate alerts of more than three days ago are in the records only"
            );
        }
        Ok(queued)
    }
}

fn count(level: AlertLevel) {
    metrics::counter!("wardgate_alerts_total", "level" => level.as_str()).increment(1);
}

fn concerns_of(line: &Line) -> Vec<Concerned> {
    if memmem::find(&line.bytes, CONCERNS_KEY).is_none() {
        return Vec::new();
    }
    match line.record() {
        Ok(record) => concerns(&record),
        Err(_) => {
            tracing::error!(
                file = %line.after.file,
                offset = line.after.offset,
                "the line before this place of the access log cannot be understood; it raises no alert"
            );
            Vec::new()
        }
    }
}

fn checkpoint(place: LogPlace) -> Checkpoint {
    Checkpoint { file: place.file.into(), offset: place.offset }
}

#[cfg(test)]
mod tests {
    use wardgate_core::AlertLevel::{Daily, Immediate};
    use wardgate_store::{Channel, Subject};

    use super::*;
    use crate::testing::{Log, Seen, store, time, webhook};

    async fn take_in_all(intake: &mut Intake) -> Taken {
        loop {
            let taken = intake.take_in(time(0)).await.unwrap();
            if taken.at_end {
                return taken;
            }
        }
    }

    /// Each alert's theme, count and level, with the number of its deliveries.
    async fn alerts(store: &Store) -> Vec<(String, u32, AlertLevel, usize)> {
        let (from, to) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
        let mut told = Vec::new();
        for alert in store.alerts().between(from, to).await.unwrap() {
            let deliveries = store.deliveries().list(Subject::Alert(alert.id)).await.unwrap().len();
            told.push((alert.theme.to_string(), alert.exchanges, alert.level, deliveries));
        }
        told
    }

    #[tokio::test]
    async fn lines_become_alerts() {
        let (_directory, store) = store().await;
        let log = Log::new();
        log.append(&Seen { themes: &[], ..Seen::default() });
        log.append(&Seen {
            at: 1,
            themes: &[("self-harm", Immediate), ("gaming", Daily)],
            ..Seen::default()
        });
        log.append(&Seen { at: 2, themes: &[("self-harm", Immediate)], ..Seen::default() });
        log.append(&Seen { at: 3, user: Some("bob"), themes: &[("gaming", Daily)] });
        log.append_text("{\"wardgate.concerns\":torn}\n");
        let mut intake = Intake::new(log.dir(), store.clone(), vec![webhook()]);
        assert_eq!(intake.take_in(time(0)).await.unwrap(), Taken { at_end: true, queued: true });
        let expected = [("self-harm", 2, Immediate, 1), ("gaming", 1, Daily, 0), ("gaming", 1, Daily, 0)];
        assert_eq!(
            alerts(&store).await,
            expected.map(|(theme, n, level, sent)| (theme.to_owned(), n, level, sent))
        );

        assert_eq!(intake.take_in(time(0)).await.unwrap(), Taken { at_end: true, queued: false });
        log.append(&Seen { at: 4, themes: &[("self-harm", Immediate)], ..Seen::default() });
        intake.take_in(time(0)).await.unwrap();
        assert_eq!(alerts(&store).await[0], ("self-harm".to_owned(), 3, Immediate, 1));
    }

    #[tokio::test]
    async fn a_crash_at_any_point_loses_and_doubles_nothing() {
        let (directory, mut opened) = store().await;
        let log = Log::new();
        let lines = BATCH_LINES * 2 + 10;
        let mut written = 0;
        // Each turn is a process that dies: before it kept anything, after one batch, or after all of them.
        for (turn, batches) in [1, 0, 2, 1, 0, 9].into_iter().enumerate() {
            while written < lines * (turn + 1) / 6 {
                let at = written as i64 * 60;
                log.append(&Seen { at, themes: &[("self-harm", Immediate)], ..Seen::default() });
                written += 1;
            }
            let mut intake = Intake::new(log.dir(), opened.clone(), vec![webhook()]);
            for _ in 0..batches {
                intake.take_in(time(0)).await.unwrap();
            }
            drop(intake.read().await);
            drop(intake);
            opened = Store::open(&crate::testing::url(&directory)).await.unwrap();
        }
        take_in_all(&mut Intake::new(log.dir(), opened.clone(), vec![webhook()])).await;
        let alerts = alerts(&opened).await;
        assert_eq!(alerts.iter().map(|alert| alert.1 as usize).sum::<usize>(), lines);
        assert_eq!(alerts.len(), lines.div_ceil(10), "one for each window of ten minutes");
        assert!(alerts.iter().all(|alert| alert.3 == 1), "each delivered once");
    }

    #[tokio::test]
    async fn a_clock_that_ran_ahead_silences_nobody() {
        let (_directory, store) = store().await;
        let log = Log::new();
        for at in [86_400, 0, 60] {
            log.append(&Seen { at, themes: &[("self-harm", Immediate)], ..Seen::default() });
        }
        take_in_all(&mut Intake::new(log.dir(), store.clone(), vec![webhook()])).await;
        let expected = [2, 1].map(|exchanges| ("self-harm".to_owned(), exchanges, Immediate, 1));
        assert_eq!(alerts(&store).await, expected);
    }

    #[tokio::test]
    async fn what_is_old_is_kept_without_a_message() {
        let (_directory, store) = store().await;
        let log = Log::new();
        for (at, user) in [(0, "alice"), (1, "bob")] {
            log.append(&Seen { at, user: Some(user), ..Seen::default() });
        }
        let mut intake = Intake::new(log.dir(), store.clone(), vec![webhook()]);
        // An exchange takes two seconds.
        let taken = intake.take_in(time(3) + TOLD_WITHIN).await.unwrap();
        assert_eq!(taken, Taken { at_end: true, queued: true });
        let expected = [0, 1].map(|sent| ("self-harm".to_owned(), 1, Immediate, sent));
        assert_eq!(alerts(&store).await, expected);
    }

    #[tokio::test]
    async fn a_log_that_is_read_again_doubles_nothing() {
        let (_directory, store) = store().await;
        let log = Log::new();
        log.append(&Seen { themes: &[("self-harm", Immediate)], ..Seen::default() });
        take_in_all(&mut Intake::new(log.dir(), store.clone(), vec![webhook()])).await;
        let lost = store.alerts().batch().await.unwrap();
        let beginning = LogPlace { file: log.file_name(), offset: 0 };
        lost.commit(FOLLOWER, &beginning).await.unwrap();
        take_in_all(&mut Intake::new(log.dir(), store.clone(), vec![webhook()])).await;
        assert_eq!(alerts(&store).await, [("self-harm".to_owned(), 1, Immediate, 1)]);
    }

    #[tokio::test]
    async fn an_alert_keeps_a_bounded_number_of_exchanges() {
        let (_directory, store) = store().await;
        let log = Log::new();
        for at in 0..EVENTS_PER_ALERT + 10 {
            log.append(&Seen { at: at.into(), themes: &[("self-harm", Daily)], ..Seen::default() });
        }
        take_in_all(&mut Intake::new(log.dir(), store.clone(), Vec::new())).await;
        let alert =
            &store.alerts().between(jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX).await.unwrap()[0];
        assert_eq!(alert.exchanges, EVENTS_PER_ALERT + 10);
        assert_eq!(store.alerts().events(alert.id, 1_000).await.unwrap().len(), EVENTS_PER_ALERT as usize);
        assert_eq!(store.deliveries().next_turn(Channel::Webhook).await.unwrap(), None);
    }
}
