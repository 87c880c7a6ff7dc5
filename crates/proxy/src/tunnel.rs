//! Relays bytes between two streams until either side is done, nothing moves any more, or Wardgate stops.
//!
//! A quiet tunnel costs two sockets and no buffer: what is read goes through one buffer of the thread, and only what
//! the other side does not take at once is kept. Where much moves between bare sockets, the kernel moves it
//! ([`splice`](crate::splice)).

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::ReadBuf;
use tokio::task::coop;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wardgate_core::{EventGuard, Outcome};

use crate::splice::Pipe;
use crate::stream::Stream;

/// How much is read at a time, and so the most that is kept for a side that is slow to take it.
const READ_BYTES: usize = 64 * 1024;
/// A read of so much says that more will come, and that moving it through a pipe is cheaper than copying it.
const BULK_BYTES: usize = 16 * 1024;

thread_local! {
    /// What is being read just now.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Relays between client and origin, and records in `event` what passed and how it ended. The client has sent `first`
/// already.
pub(crate) async fn relay<C: Stream, O: Stream>(
    mut client: C,
    first: Bytes,
    mut origin: O,
    mut event: EventGuard,
    idle: Duration,
    ending: &CancellationToken,
) {
    let (mut up, mut down) = (Flow::beginning(first), Flow::beginning(Bytes::new()));
    let mut seen = 0;
    let mut clock = pin!(tokio::time::sleep(idle));
    let mut ending = pin!(ending.cancelled());
    let (outcome, detail) = poll_fn(|cx| {
        match both(up.poll(cx, &mut client, &mut origin), || down.poll(cx, &mut origin, &mut client)) {
            Poll::Ready(Ok(())) => return Poll::Ready((Outcome::Completed, None)),
            Poll::Ready(Err(_)) => return Poll::Ready((Outcome::Completed, Some("the tunnel was reset"))),
            Poll::Pending => {}
        }
        if ending.as_mut().poll(cx).is_ready() {
            return Poll::Ready((Outcome::ShutDown, None));
        }
        while clock.as_mut().poll(cx).is_ready() {
            if std::mem::replace(&mut seen, up.moved + down.moved) == seen {
                return Poll::Ready((Outcome::TimedOut, Some("nothing moved in the tunnel")));
            }
            clock.as_mut().reset(Instant::now() + idle);
        }
        Poll::Pending
    })
    .await;
    event.request_bytes = up.moved;
    event.response_bytes = down.moved;
    event.ended(outcome, detail.map(Into::into));
}

/// Ready when both are, or when one has failed.
fn both(one: Poll<io::Result<()>>, other: impl FnOnce() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    if let Poll::Ready(Err(error)) = one {
        return Poll::Ready(Err(error));
    }
    match other() {
        Poll::Ready(Ok(())) => one,
        unfinished => unfinished,
    }
}

/// One direction.
struct Flow {
    stage: Stage,
    /// Read and not yet written.
    rest: Bytes,
    pipe: Option<Pipe>,
    /// Whether the last read was so large that a pipe is worth it.
    bulk: bool,
    /// Whether something was written that may wait in a buffer.
    unflushed: bool,
    /// Bytes read.
    moved: u64,
}

#[derive(Clone, Copy)]
enum Stage {
    Open,
    /// The source has ended: the sink is told.
    Ending,
    Done,
}

impl Flow {
    fn beginning(first: Bytes) -> Self {
        let moved = first.len() as u64;
        Self { stage: Stage::Open, rest: first, pipe: None, bulk: false, unflushed: false, moved }
    }

    fn poll<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_rest(cx, to))?;
            match self.stage {
                Stage::Done => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.stage = Stage::Done;
                }
                Stage::Open => match self.poll_read(cx, from, to) {
                    Poll::Ready(Ok(0)) => self.stage = Stage::Ending,
                    Poll::Ready(Ok(count)) => self.moved += count as u64,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.rest_now();
                        if self.unflushed {
                            ready!(Pin::new(&mut *to).poll_flush(cx))?;
                            self.unflushed = false;
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Writes what was read before, until there is none of it left.
    fn poll_write_rest<T: Stream>(&mut self, cx: &mut Context<'_>, to: &mut T) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            match ready!(Pin::new(&mut *to).poll_write(cx, &self.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.rest.advance(count),
            }
            self.unflushed = true;
        }
        self.rest = Bytes::new();
        match (&mut self.pipe, to.socket()) {
            (Some(pipe), Some(to)) => pipe.poll_drain(to, cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads some bytes and writes as many of them as are taken at once; 0 at the end.
    fn poll_read<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Poll<io::Result<usize>> {
        if self.bulk
            && let (Some(from), Some(_)) = (from.socket(), to.socket())
        {
            self.pipe = self.pipe.take().or_else(Pipe::borrow);
            if let Some(pipe) = &mut self.pipe {
                let budget = ready!(coop::poll_proceed(cx));
                let count = ready!(pipe.poll_fill(from, cx))?;
                budget.made_progress();
                self.bulk = count >= BULK_BYTES;
                return Poll::Ready(Ok(count));
            }
        }
        READ.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(from).poll_read(cx, &mut read))?;
            let read = read.filled();
            self.bulk = read.len() >= BULK_BYTES;
            let written = match Pin::new(to).poll_write(cx, read) {
                _ if read.is_empty() => 0,
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.unflushed |= written > 0;
            if written < read.len() {
                self.rest = Bytes::copy_from_slice(&read[written..]);
            }
            Poll::Ready(Ok(read.len()))
        })
    }

    /// The source has nothing to give for the moment: neither does a pipe.
    fn rest_now(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            pipe.give_back();
        }
    }
}
