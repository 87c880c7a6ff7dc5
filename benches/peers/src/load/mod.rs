//! The load: clients that ask for one page over and over, as fast as they are answered or at a fixed rate. One
//! generator for all modes, because CONNECT with a new session or a new name each time is not what others offer.

mod answer;
mod client;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub(crate) use client::{Client, Reuse, Route};
use client::{Opened, Worker};

/// Streams under way on an HTTP/2 connection.
const STREAMS: usize = 8;
/// Of so many exchanges one may fail before a measurement is worth nothing.
const FAILURES: u64 = 200;
/// An exchange that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stretch of load did.
pub(crate) struct Done {
    pub(crate) exchanges: u64,
    pub(crate) took: Duration,
    /// Connections that were opened, and those of them that resumed a TLS session.
    pub(crate) opened: u64,
    pub(crate) resumed: u64,
    /// From when a request was due to the end of its answer, sorted.
    pub(crate) latencies: Vec<Duration>,
}

/// Clients with their connections.
pub(crate) struct Load(Vec<Worker>);

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// The next one as soon as the last one is answered.
    Full,
    /// So many a second, whether those before are answered or not.
    Rate(u32),
}

impl Load {
    /// So many clients; those that speak HTTP/2 share connections.
    pub(crate) async fn open(client: &Arc<Client>, clients: usize) -> Result<Self> {
        let mut workers: Vec<Worker> = Vec::with_capacity(clients);
        for number in 0..clients {
            let neighbour = workers.last().filter(|_| number % STREAMS != 0);
            workers.push(match neighbour.and_then(Worker::sharing) {
                Some(worker) => worker,
                None => Worker::open(client).await?,
            });
        }
        Ok(Self(workers))
    }

    /// Keeps everybody busy for so long; what is under way then is waited for.
    pub(crate) async fn run(&mut self, pace: Pace, lasting: Duration) -> Result<Done> {
        let began = Instant::now();
        let (end, count) = (began + lasting, self.0.len() as u32);
        let mut tasks = JoinSet::new();
        for (number, worker) in self.0.drain(..).enumerate() {
            tasks.spawn(match pace {
                Pace::Full => work(worker, began, Duration::ZERO, end),
                Pace::Rate(rate) => {
                    let step = Duration::from_secs(1) / rate;
                    work(worker, began + step * number as u32, step * count, end)
                }
            });
        }
        let mut shifts = Vec::with_capacity(count as usize);
        while let Some(shift) = tasks.join_next().await {
            let (worker, shift) = shift?;
            self.0.push(worker);
            shifts.push(shift);
        }
        Done::of(shifts, began.elapsed())
    }
}

/// What one client did.
#[derive(Default)]
struct Shift {
    exchanges: u64,
    /// Connections, and those of them that resumed a TLS session.
    opened: u64,
    resumed: u64,
    latencies: Vec<Duration>,
    failures: u64,
    last_failure: Option<anyhow::Error>,
}

/// One client at work: at once where `step` is zero, else at its own beat. A beat that passes while an answer is
/// waited for is made up for, and the wait counts.
async fn work(mut worker: Worker, first: Instant, step: Duration, end: Instant) -> (Worker, Shift) {
    let mut shift = Shift::default();
    let mut beat = first;
    loop {
        let mut due = if step.is_zero() { Instant::now() } else { beat };
        if due >= end {
            return (worker, shift);
        }
        if due > Instant::now() {
            sleep_until(due).await;
            due = Instant::now(); // timers are late by up to a millisecond, which is not the proxy's
        }
        let exchanged = tokio::time::timeout(PATIENCE, worker.exchange()).await;
        match exchanged.context("no answer").and_then(|served| served) {
            Ok(opened) => {
                shift.exchanges += 1;
                shift.opened += u64::from(opened.is_some());
                shift.resumed += u64::from(opened == Some(Opened::Resumed));
                if !step.is_zero() {
                    shift.latencies.push(due.elapsed());
                }
            }
            Err(error) => {
                shift.failures += 1;
                shift.last_failure = Some(error);
            }
        }
        beat += step;
    }
}

impl Done {
    fn of(shifts: Vec<Shift>, took: Duration) -> Result<Self> {
        let sum = |field: fn(&Shift) -> u64| shifts.iter().map(field).sum::<u64>();
        let (exchanges, failures) = (sum(|shift| shift.exchanges), sum(|shift| shift.failures));
        let (opened, resumed) = (sum(|shift| shift.opened), sum(|shift| shift.resumed));
        let mut latencies: Vec<Duration> =
            shifts.iter().flat_map(|shift| shift.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        if failures > 0 {
            let error =
                shifts.into_iter().find_map(|shift| shift.last_failure).expect("a failure was counted");
            ensure!(
                failures * FAILURES <= exchanges,
                "{failures} of {exchanges} failed, one with: {error:#}"
            );
            eprintln!("    {failures} of {exchanges} failed, one with: {error:#}");
        }
        ensure!(exchanges > 0, "nothing was answered in {took:?}");
        Ok(Self { exchanges, took, opened, resumed, latencies })
    }

    /// The latency that so many of a hundred do not exceed.
    pub(crate) fn percentile(&self, of_hundred: usize) -> Option<Duration> {
        let rank = (self.latencies.len() * of_hundred).div_ceil(100);
        self.latencies.get(rank.saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let latencies: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let done = Done { exchanges: 200, took: Duration::ZERO, opened: 0, resumed: 0, latencies };
        assert_eq!(done.percentile(50), Some(Duration::from_millis(100)));
        assert_eq!(done.percentile(99), Some(Duration::from_millis(198)));
    }

    #[test]
    fn a_failure_in_two_hundred_is_borne_and_no_more() {
        let shift = |exchanges, failures| Shift {
            exchanges,
            failures,
            last_failure: Some(anyhow::anyhow!("reset")),
            ..Shift::default()
        };
        assert!(Done::of(vec![shift(200, 1)], Duration::ZERO).is_ok());
        assert!(Done::of(vec![shift(199, 1)], Duration::ZERO).is_err());
    }
}
