//! The alert sink, running: one task takes in the access log and makes digests, one for each way delivers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wardgate_store::{DeliveryState, Receiver, Store};

use crate::courier::{self, Courier, Desk, Way};
use crate::digest::{make_due, next_making};
use crate::email::Email;
use crate::intake::Intake;
use crate::webhook::Webhook;
use crate::{AlertConfig, AlertError, Guidance};

/// The log is looked at this often even if nobody rings, and while it (or the records) cannot be used.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a message under way may take once shutdown was asked for. One that is cut off is sent again at the next
/// start, under the same id.
const GRACE: Duration = Duration::from_secs(5);

/// The access log to follow.
#[derive(Clone, Debug)]
pub struct LogSource {
    /// The directory of the log.
    pub dir: PathBuf,
    /// Rung when lines were written, for this sink alone.
    pub written: Arc<Notify>,
}

/// The running sink.
#[derive(Debug)]
pub struct AlertSink {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl AlertSink {
    /// Starts the sink; it runs until `shutdown` is cancelled. Fails where a certificate file or the records cannot
    /// be read. Only one process may run it on a store.
    ///
    /// For nothing to be missed, close the access log first and cancel `shutdown` then: before it ends, the sink
    /// takes in the last lines and tries to deliver what they led to; the rest is delivered at the next start.
    pub async fn start(
        config: AlertConfig,
        store: Store,
        log: LogSource,
        guidance: Guidance,
        shutdown: CancellationToken,
    ) -> Result<Self, AlertError> {
        describe_metrics();
        let receivers = config.receivers();
        if receivers.is_empty() {
            tracing::warn!(
                "nobody receives alerts: they are kept in the records only; configure [alerts.smtp] or [alerts.webhook]"
            );
        }
        forget_former(&store, &receivers).await?;
        let mut tasks = JoinSet::new();
        let (queued, listener) = watch::channel(());
        let desk = Desk { store: store.clone(), guidance, time_zone: config.time_zone.clone() };
        let all_taken_in = CancellationToken::new();
        for way in ways(&config)? {
            tasks.spawn(Courier::new(desk.clone(), way, listener.clone()).run(all_taken_in.clone()));
        }
        let watcher = Watcher {
            intake: Intake::new(log.dir, store.clone(), receivers.clone()),
            store,
            receivers,
            config,
            queued,
            next_digest: Timestamp::MIN,
        };
        let watching = shutdown.clone();
        tasks.spawn(async move {
            // Whatever ends the watching, a panic included, also ends the deliveries.
            let _end = all_taken_in.drop_guard();
            watcher.run(log.written, watching).await;
        });
        Ok(Self { tasks, shutdown })
    }

    /// Waits for the end, which `shutdown` brings about; a message under way is given five seconds.
    pub async fn stopped(mut self) {
        self.shutdown.cancelled().await;
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, all).await.is_err() {
            tracing::warn!("a delivery was cut off by the shutdown; it is sent again at the next start");
            self.tasks.shutdown().await;
        }
    }
}

fn describe_metrics() {
    metrics::describe_counter!("wardgate_alerts_total", "Alerts begun, by level.");
    metrics::describe_counter!(
        "wardgate_deliveries_total",
        "Attempts at delivery by what became of them: delivered, pending (to be tried again), dead (given up)."
    );
}

fn ways(config: &AlertConfig) -> Result<Vec<Way>, AlertError> {
    let mut ways = Vec::new();
    if let Some(smtp) = config.smtp.clone() {
        ways.push(Way::Email(Email::new(smtp)?));
    }
    if let Some(webhook) = config.webhook.clone() {
        ways.push(Way::Webhook(Webhook::new(webhook)?));
    }
    Ok(ways)
}

/// Gives up what waits for receivers that the configuration no longer names; those it names now get it instead.
async fn forget_former(store: &Store, receivers: &[Receiver]) -> Result<(), AlertError> {
    for former in store.deliveries().awaited().await? {
        if receivers.contains(&former) {
            continue;
        }
        let channel = former.channel.as_str();
        let why = "the receiver is no longer configured";
        let deliveries = store.deliveries().hand_over(&former, receivers, Timestamp::now(), why).await?;
        courier::count(channel, DeliveryState::Dead, deliveries);
        if receivers.is_empty() {
            tracing::error!(channel, deliveries, "deliveries were given up: {why}");
        } else {
            tracing::warn!(channel, deliveries, "deliveries go to the receivers configured now: {why}");
        }
    }
    Ok(())
}

/// Takes in the log and makes digests.
struct Watcher {
    intake: Intake,
    store: Store,
    receivers: Vec<Receiver>,
    config: AlertConfig,
    queued: watch::Sender<()>,
    next_digest: Timestamp,
}

impl Watcher {
    async fn run(mut self, written: Arc<Notify>, shutdown: CancellationToken) {
        let mut failing = false;
        loop {
            // Asked before looking: what is written until then is taken in by this last look.
            let last = shutdown.is_cancelled();
            let looked = self.look(Timestamp::now()).await;
            report(&looked, &mut failing);
            if last {
                return;
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = written.notified(), if !failing => {}
            }
        }
    }

    /// Takes in the log first, so that a digest holds everything that was written before its time.
    async fn look(&mut self, now: Timestamp) -> Result<(), AlertError> {
        loop {
            let taken = self.intake.take_in(now).await?;
            self.ring_if(taken.queued);
            if taken.at_end {
                break;
            }
        }
        if now >= self.next_digest {
            let (at, zone) = (self.config.digest.at, &self.config.time_zone);
            let queued = make_due(&self.store, &self.receivers, at, zone, now).await?;
            self.next_digest = next_making(at, zone, now);
            self.ring_if(queued);
        }
        Ok(())
    }

    fn ring_if(&self, queued: bool) {
        if queued {
            self.queued.send_replace(());
        }
    }
}

/// Logs when looking begins to fail and when it works again, not each failure between.
fn report(looked: &Result<(), AlertError>, failing: &mut bool) {
    match looked {
        Err(error) if !*failing => {
            tracing::error!(%error, "alerts wait; the access log keeps everything until then")
        }
        Ok(()) if *failing => tracing::info!("alerts work again"),
        _ => {}
    }
    *failing = looked.is_err();
}

#[cfg(test)]
mod tests {
    use wardgate_core::AlertLevel::{Daily, Immediate};
    use wardgate_store::Subject;

    use super::*;
    use crate::testing::smtp::{Behaviour, SmtpServer};
    use crate::testing::{Log, Seen, eventually, store, url, wording};

    async fn start(config: &str, store: &Store, log: &Log) -> (AlertSink, CancellationToken, Arc<Notify>) {
        let (shutdown, written) = (CancellationToken::new(), Arc::new(Notify::new()));
        let sink = AlertSink::start(
            toml::from_str(config).unwrap(),
            store.clone(),
            LogSource { dir: log.dir(), written: Arc::clone(&written) },
            Guidance::fixed(wording()),
            shutdown.clone(),
        );
        (sink.await.unwrap(), shutdown, written)
    }

    fn smtp(server: &SmtpServer, to: &str) -> String {
        let port = server.port();
        format!(
            "time_zone = 'Europe/London'\n[smtp]\nserver = 'localhost'\nport = {port}\ntls = 'none'\n\
             from = 'wardgate@example.org'\nto = {to}\n"
        )
    }

    #[tokio::test]
    async fn from_the_log_to_the_receivers() {
        let (directory, store) = store().await;
        let log = Log::new();
        let server = SmtpServer::start(Behaviour::default()).await;
        let config = smtp(&server, "['dsl@example.org', 'deputy@example.org']");
        let (sink, shutdown, written) = start(&config, &store, &log).await;
        let at = crate::testing::seconds_until_now();
        log.append(&Seen { at, ..Seen::default() });
        log.append(&Seen { at: at + 1, ..Seen::default() });
        log.append(&Seen { at: at + 2, themes: &[("gaming", Daily)], ..Seen::default() });
        written.notify_one();
        eventually("the first two", async || server.mails().len() == 2).await;

        // The last line is written while the sink shuts down.
        log.append(&Seen { at: at + 3, user: Some("bob"), ..Seen::default() });
        shutdown.cancel();
        sink.stopped().await;
        let store = Store::open(&url(&directory)).await.unwrap();
        let (sink, shutdown, _) = start(&config, &store, &log).await;
        // Two about Alice, two about Bob.
        let immediate = || server.mails().into_iter().filter(|mail| mail.data.contains("immediate concern"));
        eventually("two more", async || immediate().count() == 4).await;
        shutdown.cancel();
        sink.stopped().await;
        let mut ids: Vec<_> = immediate().map(|mail| mail.header("Message-ID").unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4, "nothing came twice");
    }

    #[tokio::test]
    async fn a_missed_digest_is_made_at_the_start() {
        let (_directory, store) = store().await;
        let yesterday = jiff::Zoned::now().yesterday().unwrap().timestamp();
        let alert = crate::testing::alert("alice", "gaming", Daily, &yesterday.to_string(), 3);
        crate::testing::keep(&store, &alert).await;
        let server = SmtpServer::start(Behaviour::default()).await;
        let config = smtp(&server, "['dsl@example.org']") + "[digest]\nat = '00:00'";
        let log = Log::new();
        for _ in 0..2 {
            let (sink, shutdown, _) = start(&config, &store, &log).await;
            eventually("the digest", async || {
                server.mails().iter().any(|mail| mail.data.contains("summary of"))
            })
            .await;
            shutdown.cancel();
            sink.stopped().await;
        }
        let daily =
            |data: &str| data.contains("Subject: Wardgate: summary of") && !data.contains("of the week");
        assert_eq!(server.mails().iter().filter(|mail| daily(&mail.data)).count(), 1);
    }

    #[tokio::test]
    async fn what_waited_for_a_former_receiver_goes_to_the_present_ones() {
        let (_directory, store) = store().await;
        let alert = crate::testing::alert("alice", "self-harm", Immediate, "2026-11-21T10:00Z", 1);
        let former =
            Receiver { channel: wardgate_store::Channel::Email, address: "gone@example.org".to_owned() };
        let mut batch = store.alerts().batch().await.unwrap();
        batch.save(&alert).await.unwrap();
        batch.add_event(&alert, &crate::testing::seen_event()).await.unwrap();
        batch.send(&alert, &[former]).await.unwrap();
        let place = wardgate_store::LogPlace { file: String::new(), offset: 0 };
        batch.commit("tests", &place).await.unwrap();
        let server = SmtpServer::start(Behaviour::default()).await;
        let log = Log::new();
        let (sink, shutdown, _) = start(&smtp(&server, "['dsl@example.org']"), &store, &log).await;
        eventually("the message", async || {
            server.mails().iter().any(|mail| mail.data.contains("immediate concern"))
        })
        .await;
        shutdown.cancel();
        sink.stopped().await;
        let deliveries = store.deliveries().list(Subject::Alert(alert.id)).await.unwrap();
        let [former, present] = &deliveries[..] else { panic!("one for each") };
        assert_eq!(former.state, DeliveryState::Dead);
        assert_eq!(former.last_error.as_deref(), Some("the receiver is no longer configured"));
        assert_eq!(
            (&*present.receiver.address, present.state),
            ("dsl@example.org", DeliveryState::Delivered)
        );
    }

    #[tokio::test]
    async fn without_receivers_alerts_are_kept() {
        let (_directory, store) = store().await;
        let log = Log::new();
        log.append(&Seen::default());
        let (sink, shutdown, _) = start("", &store, &log).await;
        shutdown.cancel();
        sink.stopped().await;
        let first = store.alerts().first_since(Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(first.is_some(), "the last look takes in what was written");
    }
}
