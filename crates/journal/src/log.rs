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

    /// A bell for this caller alone, rung whenever lines were written: read to the end, then wait for it.
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
