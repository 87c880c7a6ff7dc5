//! The access log as the proxy knows it: reserve room, record, close.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, TryAcquireError};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use wardgate_core::{BoxFuture, Event, Journal, Unrecordable};

use crate::daily::{self, DailyFile};
use crate::writer::{BatchWriter, Shared, Sink};
use crate::{JournalError, Record};

/// How many exchanges may be under way or waiting to be written, unless configured.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// What a thread keeps for the next line, in bytes.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    /// The line being made; kept, so that the next one needs no memory.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where the access log is and how much of it is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The directory; made where it is missing, for its owner only.
    pub dir: PathBuf,
    /// How many days a day's file is kept after that day.
    pub retention_days: u32,
    /// How many exchanges may be under way or waiting to be written.
    pub capacity: usize,
}

/// The log was closed before everything was written: so many exchanges were still under way or waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} exchanges are missing from the access log")]
pub struct LinesLost(pub usize);

/// The access log, open for writing.
///
/// Each exchange holds room for its line from beginning to end, and the line holds it until it is on disk. The
/// queue is as long as there is room, so recording never waits. While the disk takes nothing, no room is given:
/// new exchanges are refused, and those under way keep their lines in memory until it does.
pub struct AccessLog {
    shared: Arc<Shared>,
    capacity: u32,
    queue: NonBlocking,
    worker: Mutex<Option<WorkerGuard>>,
    closing: AtomicBool,
    dir: PathBuf,
    path: Arc<Mutex<PathBuf>>,
}

impl AccessLog {
    /// Opens the file of the day and starts the thread that writes it; removes files past their retention.
    pub fn open(config: LogConfig) -> Result<Self, JournalError> {
        let capacity = sound_capacity(config.capacity)?;
        let file = DailyFile::open(&config.dir, config.retention_days, daily::today)?;
        let path = file.path();
        Ok(Self::over(file, capacity, config.dir, path))
    }

    fn over(sink: impl Sink, capacity: u32, dir: PathBuf, path: Arc<Mutex<PathBuf>>) -> Self {
        metrics::gauge!("wardgate_access_log_unwritable").set(0.0);
        let shared = Arc::new(Shared::new(capacity as usize));
        let (queue, worker) = NonBlockingBuilder::default()
            .lossy(false)
            // One more than there is room: the message that ends the worker.
            .buffered_lines_limit(capacity as usize + 1)
            .thread_name("access-log")
            .finish(BatchWriter::new(sink, Arc::clone(&shared)));
        let (worker, closing) = (Mutex::new(Some(worker)), AtomicBool::new(false));
        Self { shared, capacity, queue, worker, closing, dir, path }
    }

    /// Whether lines can be written just now.
    pub fn is_writable(&self) -> bool {
        self.shared.unwritable.borrow().is_none()
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that is written now.
    pub fn current_file(&self) -> PathBuf {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A bell for this caller alone, rung whenever lines were written: read to the end, then wait for it. Ask once:
    /// bells hang for as long as the log is open.
    pub fn written(&self) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.shared.bells.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&bell));
        bell
    }

    /// Takes no new exchanges, waits until all are recorded and on disk, and ends the thread. Past the deadline it
    /// gives up and says how many lines are missing.
    pub async fn close(&self, deadline: Duration) -> Result<(), LinesLost> {
        self.closing.store(true, Ordering::Release);
        let all_room = self.shared.room.acquire_many(self.capacity);
        // Bound before it is looked at: an acquisition under way keeps permits that `lost` must see.
        let waited = tokio::time::timeout(deadline, all_room).await;
        let outcome = match waited {
            Ok(Ok(permits)) => {
                permits.forget();
                Ok(())
            }
            // The semaphore is never closed but here, by an earlier call.
            Ok(Err(_)) => return Ok(()),
            Err(_) => Err(LinesLost(self.capacity as usize - self.shared.room.available_permits())),
        };
        self.shared.room.close();
        self.shared.abandoned.store(true, Ordering::Release);
        drop(self.worker.lock().unwrap_or_else(PoisonError::into_inner).take());
        outcome
    }

    async fn wait_for_room(&self) -> Result<(), Unrecordable> {
        let mut unwritable = self.shared.unwritable.subscribe();
        tokio::select! {
            permit = self.shared.room.acquire() => permit.map(|permit| permit.forget()).map_err(|_| closed()),
            reason = unwritable.wait_for(Option::is_some) => {
                Err(Unrecordable(reason.ok().and_then(|reason| reason.clone()).unwrap_or_else(|| "closed".into())))
            }
        }
    }
}

impl Journal for AccessLog {
    fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>> {
        Box::pin(async move {
            if self.closing.load(Ordering::Acquire) {
                return Err(closed());
            }
            if let Some(reason) = &*self.shared.unwritable.borrow() {
                return Err(Unrecordable(Arc::clone(reason)));
            }
            match self.shared.room.try_acquire() {
                Ok(permit) => {
                    permit.forget();
                    Ok(())
                }
                Err(TryAcquireError::NoPermits) => self.wait_for_room().await,
                Err(TryAcquireError::Closed) => Err(closed()),
            }
        })
    }

    fn record(&self, event: Event) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            Record::from(&event).encode(line);
            // There is room in the queue: see `reserve`. It fails only when the worker has ended.
            if self.queue.clone().write_all(line).is_err() {
                tracing::error!(event.id = %event.id, "an exchange ended after the access log was closed");
            }
            line.shrink_to(KEPT_BYTES);
        });
    }
}

fn sound_capacity(given: usize) -> Result<u32, JournalError> {
    let max = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
    match u32::try_from(given) {
        Ok(capacity) if (1..=max).contains(&given) => Ok(capacity),
        _ => Err(JournalError::Capacity { given, max }),
    }
}

fn closed() -> Unrecordable {
    Unrecordable("Wardgate is shutting down".into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{self, ErrorKind};
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicI8;
    use std::time::Instant;

    use jiff::civil::date;
    use wardgate_core::EventGuard;

    use super::*;
    use crate::Follower;

    /// A disk with so much room left, that takes so much at once.
    #[derive(Default)]
    struct Disk {
        taken: Vec<u8>,
        free: usize,
        at_once: usize,
    }

    #[derive(Clone, Default)]
    struct SharedDisk(Arc<Mutex<Disk>>);

    impl SharedDisk {
        fn with(free: usize, at_once: usize) -> Self {
            Self(Arc::new(Mutex::new(Disk { taken: Vec::new(), free, at_once })))
        }

        fn free(&self, bytes: usize) {
            self.0.lock().unwrap().free = bytes;
        }

        fn ids(&self) -> Vec<String> {
            let disk = self.0.lock().unwrap();
            disk.taken.split_inclusive(|b| *b == b'\n').map(id_of).collect()
        }
    }

    impl Sink for SharedDisk {
        fn begin_line(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let count = bytes.len().min(disk.at_once).min(disk.free);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            disk.free -= count;
            disk.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    fn id_of(line: &[u8]) -> String {
        Record::parse(line).unwrap().id.into_owned()
    }

    fn event() -> Event {
        Event::new(Ipv4Addr::LOCALHOST.into(), "hash".into())
    }

    fn log_on(disk: &SharedDisk, capacity: u32) -> AccessLog {
        AccessLog::over(disk.clone(), capacity, PathBuf::new(), Arc::default())
    }

    fn log_in(dir: &Path) -> AccessLog {
        let config = LogConfig { dir: dir.to_owned(), retention_days: 30, capacity: 100 };
        AccessLog::open(config).unwrap()
    }

    /// Reserves, records and says which.
    async fn pass(log: &AccessLog) -> Result<String, Unrecordable> {
        log.reserve().await?;
        let event = event();
        let id = event.id.to_string();
        log.record(event);
        Ok(id)
    }

    async fn until(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_exchange_has_its_line_under_load_and_at_shutdown() {
        const TASKS: usize = 50;
        const EXCHANGES: usize = 40;
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(log_in(dir.path()));
        let journal: Arc<dyn Journal> = log.clone();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let journal = Arc::clone(&journal);
                tokio::spawn(async move {
                    for _ in 0..EXCHANGES {
                        let address = Ipv4Addr::LOCALHOST.into();
                        drop(EventGuard::begin(&journal, address, "hash".into()).await.unwrap());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        log.close(LONG).await.unwrap();
        let lines = Follower::open(dir.path(), None).unwrap().next_batch(usize::MAX).unwrap();
        let ids: HashSet<_> = lines.iter().map(|line| id_of(&line.bytes)).collect();
        assert_eq!((lines.len(), ids.len()), (TASKS * EXCHANGES, TASKS * EXCHANGES));
    }

    #[tokio::test]
    async fn a_full_disk_refuses_keeps_and_recovers_without_loss_or_double() {
        for (name, at_once) in [("whole batches", usize::MAX), ("seven bytes at once", 7)] {
            let disk = SharedDisk::with(1000, at_once);
            let log = log_on(&disk, 20);
            let mut expected = Vec::new();
            for _ in 0..20 {
                log.reserve().await.unwrap();
            }
            for _ in 0..20 {
                let event = event();
                expected.push(event.id.to_string());
                log.record(event);
            }
            until("the full disk is noticed", || !log.is_writable()).await;
            assert!(pass(&log).await.is_err(), "{name}: refused while the disk is full");

            disk.free(usize::MAX);
            until("the free disk is noticed", || log.is_writable()).await;
            expected.push(pass(&log).await.unwrap());
            log.close(LONG).await.unwrap();
            assert_eq!(disk.ids(), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn who_waits_for_room_is_refused_when_the_disk_is_full() {
        let disk = SharedDisk::with(0, usize::MAX);
        let log = Arc::new(log_on(&disk, 1));
        log.reserve().await.unwrap();
        let waiting = tokio::spawn({
            let log = Arc::clone(&log);
            async move { log.reserve().await }
        });
        tokio::task::yield_now().await;
        log.record(event());
        assert!(waiting.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn room_is_given_back_once_written() {
        let log = log_on(&SharedDisk::with(usize::MAX, usize::MAX), 1);
        for _ in 0..100 {
            pass(&log).await.unwrap();
        }
        log.close(LONG).await.unwrap();
    }

    #[tokio::test]
    async fn closing_waits_for_exchanges_under_way() {
        let disk = SharedDisk::with(usize::MAX, usize::MAX);
        let log = Arc::new(log_on(&disk, 10));
        log.reserve().await.unwrap();
        let closing = tokio::spawn({
            let log = Arc::clone(&log);
            async move { log.close(LONG).await }
        });
        until("no new exchanges", || log.closing.load(Ordering::Acquire)).await;
        assert!(pass(&log).await.is_err());
        log.record(event());
        closing.await.unwrap().unwrap();
        assert_eq!(disk.ids().len(), 1);
        assert_eq!(log.close(LONG).await, Ok(()), "closed already");
    }

    #[tokio::test]
    async fn closing_says_what_is_missing() {
        let log = log_on(&SharedDisk::with(0, usize::MAX), 10);
        for _ in 0..3 {
            log.reserve().await.unwrap();
        }
        log.record(event());
        assert_eq!(log.close(Duration::from_millis(50)).await, Err(LinesLost(3)));
        assert!(log.reserve().await.is_err());
    }

    #[tokio::test]
    async fn a_new_day_is_a_new_file() {
        static DAY: AtomicI8 = AtomicI8::new(1);
        let today = || date(2026, 11, DAY.load(Ordering::Relaxed));
        let dir = tempfile::tempdir().unwrap();
        let file = DailyFile::open(dir.path(), 30, today).unwrap();
        let path = file.path();
        let log = AccessLog::over(file, 10, dir.path().to_owned(), path);
        let bell = log.written();
        let first = pass(&log).await.unwrap();
        bell.notified().await;
        DAY.store(2, Ordering::Relaxed);
        let second = pass(&log).await.unwrap();
        bell.notified().await;
        assert_eq!(log.current_file(), dir.path().join("access.2026-11-02.jsonl"));
        let lines = Follower::open(log.dir(), None).unwrap().next_batch(10).unwrap();
        let read: Vec<_> = lines.iter().map(|line| (&*line.after.file, id_of(&line.bytes))).collect();
        assert_eq!(read, [("access.2026-11-01.jsonl", first), ("access.2026-11-02.jsonl", second)]);
    }

    #[tokio::test]
    async fn every_follower_has_its_bell() {
        let log = log_on(&SharedDisk::with(usize::MAX, usize::MAX), 10);
        let (one, other) = (log.written(), log.written());
        pass(&log).await.unwrap();
        one.notified().await;
        other.notified().await;
    }

    #[test]
    fn configurations_that_cannot_work() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let of = |dir: &Path, capacity| LogConfig { dir: dir.to_owned(), retention_days: 30, capacity };
        for (name, config, says) in [
            ("no room", of(dir.path(), 0), "capacity"),
            ("more room than can be counted", of(dir.path(), usize::MAX), "capacity"),
            ("a file in the way", of(&file, 10), "directory"),
        ] {
            let error = AccessLog::open(config).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains(says), "{name}: {error}");
        }
    }
}
