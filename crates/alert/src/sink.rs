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
    /// For nothing to be missed, close the access log first and cancel `shutdown` then: the sink takes in the last
    /// lines before it ends.
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
        for way in ways(&config)? {
            tasks.spawn(Courier::new(desk.clone(), way, listener.clone()).run(shutdown.clone()));
        }
        let watcher = Watcher {
            intake: Intake::new(log.dir, store.clone(), receivers.clone()),
            store,
            receivers,
            config,
            queued,
            next_digest: Timestamp::MIN,
        };
        tasks.spawn(watcher.run(log.written, shutdown.clone()));
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

/// Gives up what waits for receivers that the configuration no longer names.
async fn forget_former(store: &Store, receivers: &[Receiver]) -> Result<(), AlertError> {
    for former in store.deliveries().awaited().await? {
        if receivers.contains(&former) {
            continue;
        }
        let channel = former.channel.as_str();
        let why = "the receiver is no longer configured";
        let deliveries = store.deliveries().bury_all(&former, Timestamp::now(), why).await?;
        courier::count(channel, DeliveryState::Dead, deliveries);
        tracing::error!(channel, deliveries, "deliveries were given up: {why}");
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
            let taken = self.intake.take_in().await?;
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
