//! The end of the queue: lines are gathered into batches and written out, and written again until the disk takes
//! them. Runs on tracing-appender's worker thread, which flushes whenever its queue is empty.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

/// How much is gathered before it is written out, in bytes. One longer line is a batch by itself.
const BATCH_BYTES: usize = 64 * 1024;

/// How long lines are gathered before they are written out. A write for every line, and the readers that it wakes, would
/// cost more than the exchange itself.
const GATHER: Duration = Duration::from_millis(20);

/// How long to wait before trying again to write.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Where batches go.
pub(crate) trait Sink: Send + 'static {
    /// Makes ready for a new line: the place to begin a new file.
    fn begin_line(&mut self) -> io::Result<()>;

    /// Writes some of the bytes; says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// What the log's two ends know in common.
pub(crate) struct Shared {
    /// Room for exchanges: a permit for each that is neither under way nor waiting to be written.
    pub(crate) room: Semaphore,
    /// Why lines cannot be written just now.
    pub(crate) unwritable: watch::Sender<Option<Arc<str>>>,
    /// Nobody waits any longer: what cannot be written is given up.
    pub(crate) abandoned: AtomicBool,
    /// Rung whenever lines were written.
    pub(crate) bells: Mutex<Vec<Arc<Notify>>>,
}

impl Shared {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            room: Semaphore::new(capacity),
            unwritable: watch::Sender::new(None),
            abandoned: AtomicBool::new(false),
            bells: Mutex::default(),
        }
    }
}

/// Gathers lines, writes them out, gives their room back. Each `write` must be one whole line. Never fails:
/// tracing-appender drops the line when a writer fails, so the waiting and trying again happen in here.
pub(crate) struct BatchWriter<S> {
    sink: S,
    batch: Vec<u8>,
    lines: usize,
    shared: Arc<Shared>,
}

impl<S: Sink> BatchWriter<S> {
    pub(crate) fn new(sink: S, shared: Arc<Shared>) -> Self {
        Self { sink, batch: Vec::with_capacity(BATCH_BYTES), lines: 0, shared }
    }

    fn write_out(&mut self) {
        let mut written = 0;
        while written < self.batch.len() {
            match self.attempt(written) {
                Ok(count) => {
                    written += count;
                    self.note_writable();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.note_unwritable(&error);
                    if self.shared.abandoned.load(Ordering::Acquire) {
                        return self.discard();
                    }
                    thread::sleep(RETRY_EVERY);
                }
            }
        }
        self.give_back();
    }

    /// Writes on from where the last attempt ended, which may be in the middle of a line.
    fn attempt(&mut self, written: usize) -> io::Result<usize> {
        if written == 0 || self.batch[written - 1] == b'\n' {
            self.sink.begin_line()?;
        }
        match self.sink.write(&self.batch[written..])? {
            0 => Err(ErrorKind::WriteZero.into()),
            count => Ok(count),
        }
    }

    fn note_unwritable(&self, error: &io::Error) {
        if self.shared.unwritable.borrow().is_some() {
            return;
        }
        tracing::error!(
            %error,
            "the access log cannot be written; new exchanges are refused rather than passed unrecorded"
        );
        metrics::gauge!("wardgate_access_log_unwritable").set(1.0);
        self.shared.unwritable.send_replace(Some(error.to_string().into()));
    }

    fn note_writable(&self) {
        if self.shared.unwritable.borrow().is_none() {
            return;
        }
        tracing::info!("the access log can be written again; nothing was lost");
        metrics::gauge!("wardgate_access_log_unwritable").set(0.0);
        self.shared.unwritable.send_replace(None);
    }

    fn give_back(&mut self) {
        if self.lines == 0 {
            return;
        }
        metrics::counter!("wardgate_access_log_lines_total").increment(self.lines as u64);
        metrics::counter!("wardgate_access_log_bytes_total").increment(self.batch.len() as u64);
        for bell in self.shared.bells.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            bell.notify_one();
        }
        self.shared.room.add_permits(self.lines);
        self.discard();
    }

    fn discard(&mut self) {
        self.lines = 0;
        self.batch.clear();
        self.batch.shrink_to(BATCH_BYTES);
    }
}

impl<S: Sink> Write for BatchWriter<S> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.batch.is_empty() && self.batch.len() + line.len() > BATCH_BYTES {
            self.write_out();
        }
        self.batch.extend_from_slice(line);
        self.lines += 1;
        Ok(line.len())
    }

    /// Called whenever the queue is empty. What comes while this waits is in the next batch.
    fn flush(&mut self) -> io::Result<()> {
        if self.lines > 0 && !self.shared.abandoned.load(Ordering::Acquire) {
            thread::sleep(GATHER);
        }
        self.write_out();
        Ok(())
    }
}
