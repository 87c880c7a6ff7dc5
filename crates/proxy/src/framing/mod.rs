//! A strict check of HTTP/1 request framing on the wire, in front of hyper: what two parsers could read in two ways
//! is refused before either reads it (RFC 9112, sections 2.2, 3, 5.1, 6 and 11.2).
//!
//! [`Framed`] wraps a client's connection. It passes a request's head on only once the whole of it is there and
//! sound; bodies pass as they come, counted or, where chunked, checked chunk by chunk. A head that is not sound is
//! replaced by a small valid request, and the [`Violation`] is kept under that request's number: the connection's
//! service asks for it, so that a malformed request is answered and recorded in its turn like any other. A body that
//! is not sound is a read error, which ends the exchange and the connection.
//!
//! The same place keeps the clock for everything that waits on the client: a head that does not come to its end, an
//! idle connection, a body or a reader that stalls.

mod chunks;
mod head;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use chunks::{Chunk, take_chunks};
pub(crate) use head::MAX_FIELDS;
use head::{check_head, find_head};

/// What hyper reads in place of a head that is not sound. The answer to it closes the connection.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: malformed.invalid\r\n\r\n";

/// Why a request was refused before anything of it was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The status that fits: 400, 408, 431, 501 or 505.
    pub(crate) status: u16,
    /// What is wrong, for the event and the page.
    pub(crate) reason: &'static str,
}

/// Limits on what a client may send and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head_bytes: usize,
    pub(crate) head_time: Duration,
    pub(crate) idle_time: Duration,
    pub(crate) stall_time: Duration,
}

/// What the wire and the service of one connection know of each other.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    heads: AtomicU64,
    answered: AtomicU64,
    violation: Mutex<Option<(u64, Violation)>>,
    /// The number of the request behind which nothing is checked any more, where there is one.
    opaque: OnceLock<u64>,
}

impl Framing {
    /// Whether nothing is checked behind the request with this number: a CONNECT, or one that asks for an upgrade.
    /// The connection must end with its answer, unless the answer is the tunnel or the upgrade.
    pub(crate) fn is_opaque_behind(&self, number: u64) -> bool {
        self.opaque.get() == Some(&number)
    }

    /// Notes that a request has begun, on a connection whose messages are not checked here (HTTP/2).
    pub(crate) fn begun(&self) {
        self.heads.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests have begun.
    pub(crate) fn count(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    /// The violation in the request with this number, counted from 0 on this connection.
    pub(crate) fn violation(&self, number: u64) -> Option<Violation> {
        let violation = self.violation.lock().unwrap_or_else(PoisonError::into_inner);
        violation.filter(|(at, _)| *at == number).map(|(_, violation)| violation)
    }

    /// Notes that an answer has been delivered or given up, so that the connection may count as idle.
    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether an answer is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.heads.load(Ordering::Relaxed) > self.answered.load(Ordering::Relaxed)
    }

    fn head_passed(&self, next: State) {
        let number = self.heads.fetch_add(1, Ordering::Relaxed);
        if next == State::Opaque {
            let _ = self.opaque.set(number); // the first is the last: the state never changes again
        }
    }

    fn head_refused(&self, violation: Violation) {
        let number = self.heads.fetch_add(1, Ordering::Relaxed);
        *self.violation.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, violation));
    }
}

/// An answer that is under way for as long as this lives: a tunnel's.
pub(crate) struct Busy(Arc<Framing>);

impl Busy {
    pub(crate) fn with(framing: &Arc<Framing>) -> Self {
        Self(Arc::clone(framing))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// Where in the stream of messages the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before or in a head.
    Head,
    /// In a body with so many bytes left.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunk),
    /// Behind a CONNECT or an upgrade: no longer HTTP/1 requests.
    Opaque,
    /// A head was refused: nothing further is read.
    Refused,
}

/// A client's connection with checked framing and a clock on every wait.
pub(crate) struct Framed<I> {
    inner: I,
    framing: Arc<Framing>,
    limits: Limits,
    state: State,
    /// Received and not yet looked at.
    raw: BytesMut,
    /// How much of `raw` has been searched for the end of the head.
    searched: usize,
    /// Checked and not yet handed to hyper.
    checked: BytesMut,
    read_clock: Clock,
    write_clock: Clock,
    lingering: Lingering,
}

/// Bytes that a client has sent and nobody read make the system reset the connection, which can take our answer away
/// from the client. So before the end the rest is read, within limits.
#[derive(Default)]
struct Lingering {
    begun: bool,
    bytes: usize,
    clock: Clock,
}

impl Lingering {
    const MAX_BYTES: usize = 1024 * 1024;
    const TIME: Duration = Duration::from_secs(2);
}

impl<I> Framed<I> {
    /// Wraps a connection on which HTTP/1 requests will arrive.
    pub(crate) fn new(inner: I, limits: Limits) -> Self {
        Self {
            inner,
            framing: Arc::default(),
            limits,
            state: State::Head,
            raw: BytesMut::new(),
            searched: 0,
            checked: BytesMut::new(),
            read_clock: Clock::default(),
            write_clock: Clock::default(),
            lingering: Lingering::default(),
        }
    }

    /// What the connection's service must know.
    pub(crate) fn framing(&self) -> Arc<Framing> {
        Arc::clone(&self.framing)
    }

    /// The connection itself, and what was read of it and not handed on: for bytes that are no longer HTTP.
    pub(crate) fn into_parts(mut self) -> (I, Bytes) {
        self.checked.unsplit(self.raw);
        (self.inner, self.checked.freeze())
    }

    /// Moves what can be moved from `raw` to `checked`; returns whether anything was.
    fn advance(&mut self) -> io::Result<bool> {
        match self.state {
            State::Head => Ok(self.advance_head()),
            State::Refused => {
                self.raw.clear();
                Ok(false)
            }
            _ => {
                let taken = take_body(&mut self.state, &self.raw)?;
                self.checked.unsplit(self.raw.split_to(taken));
                Ok(taken > 0)
            }
        }
    }

    fn advance_head(&mut self) -> bool {
        while self.searched == 0 && self.raw.starts_with(b"\r\n") {
            self.raw.advance(2); // RFC 9112, section 2.2: an empty line before the request line is ignored
        }
        match find_head(&self.raw, &mut self.searched, self.limits.head_bytes) {
            Ok(None) => false,
            Ok(Some(end)) => match check_head(&self.raw[..end]) {
                Ok(state) => {
                    self.checked.unsplit(self.raw.split_to(end));
                    self.searched = 0;
                    self.state = state;
                    self.framing.head_passed(state);
                    true
                }
                Err(violation) => self.refuse(violation),
            },
            Err(violation) => self.refuse(violation),
        }
    }

    fn refuse(&mut self, violation: Violation) -> bool {
        self.framing.head_refused(violation);
        self.state = State::Refused;
        self.raw.clear();
        self.checked.extend_from_slice(STAND_IN);
        true
    }

    /// How long the next byte may take in this state, and what follows when it does not come.
    fn patience(&self) -> Option<Duration> {
        match self.state {
            State::Opaque | State::Refused => None,
            State::Head if self.framing.is_busy() => None,
            State::Head if self.raw.is_empty() => Some(self.limits.idle_time),
            State::Head => Some(self.limits.head_time),
            State::Length(_) | State::Chunked(_) => Some(self.limits.stall_time),
        }
    }
}

impl<I: AsyncRead + Unpin> Framed<I> {
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        const READ_SIZE: usize = 16 * 1024;
        self.raw.reserve(READ_SIZE);
        tokio_util::io::poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.raw)
    }

    /// Reads straight into hyper's buffer where no head is being collected; returns whether to go on.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let taken = take_body(&mut self.state, &buf.filled()[before..])?;
        self.raw.extend_from_slice(&buf.filled()[before + taken..]);
        buf.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.checked.is_empty() {
                let count = self.checked.len().min(buf.remaining());
                buf.put_slice(&self.checked[..count]);
                self.checked.advance(count);
                return Poll::Ready(Ok(()));
            }
            if !self.raw.is_empty() && self.advance()? {
                continue;
            }
            match self.state {
                State::Head => match ready!(self.poll_more(cx))? {
                    0 => return Poll::Ready(Ok(())),
                    _ => continue,
                },
                State::Refused => return Poll::Pending, // the answer to the stand-in closes the connection
                _ => return self.poll_direct(cx, buf),
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Framed<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let began_empty = self.raw.is_empty();
        if let Poll::Ready(result) = self.poll_step(cx, buf) {
            self.read_clock.stop();
            return Poll::Ready(result);
        }
        if began_empty && !self.raw.is_empty() {
            self.read_clock.stop(); // the first bytes of a head: its own time begins
        }
        let Some(patience) = self.patience() else {
            self.read_clock.stop();
            return Poll::Pending;
        };
        ready!(self.read_clock.poll_expired(cx, patience));
        match self.state {
            State::Head if self.raw.is_empty() => Poll::Ready(Ok(())), // idle for too long: as if the client had left
            State::Head => {
                self.refuse(Violation { status: 408, reason: "the request's head took too long" });
                self.poll_read(cx, buf)
            }
            _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<I: AsyncWrite + Unpin> Framed<I> {
    fn clocked<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_clock.stop();
            return written;
        }
        if self.state == State::Opaque {
            return Poll::Pending;
        }
        ready!(self.write_clock.poll_expired(cx, self.limits.stall_time));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> Framed<I> {
    /// Reads what the client still sends, until it stops, or sends too much, or takes too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.lingering.bytes < Lingering::MAX_BYTES {
            self.raw.clear();
            match self.poll_more(cx) {
                Poll::Ready(Ok(0) | Err(_)) => break,
                Poll::Ready(Ok(count)) => self.lingering.bytes += count,
                Poll::Pending => return self.lingering.clock.poll_expired(cx, Lingering::TIME).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Framed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.clocked(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.clocked(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.clocked(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.lingering.begun {
            let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.clocked(cx, shut))?;
            self.lingering.begun = true;
        }
        match self.state {
            State::Refused | State::Length(_) | State::Chunked(_) => self.poll_linger(cx),
            State::Head | State::Opaque => Poll::Ready(Ok(())),
        }
    }
}

/// A timer that is only armed while something waits.
#[derive(Default)]
struct Clock {
    sleep: Option<Pin<Box<Sleep>>>,
    running: bool,
}

impl Clock {
    fn stop(&mut self) {
        self.running = false;
    }

    /// Ready once it has been running for `patience`; starts it where it is not running.
    fn poll_expired(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if !self.running {
            sleep.as_mut().reset(Instant::now() + patience);
            self.running = true;
        }
        ready!(sleep.as_mut().poll(cx));
        self.running = false;
        Poll::Ready(())
    }
}

/// How many of these bytes belong to the message under way; the rest begins the next head.
fn take_body(state: &mut State, bytes: &[u8]) -> io::Result<usize> {
    match state {
        State::Opaque => Ok(bytes.len()),
        State::Head | State::Refused => Ok(0),
        State::Length(left) => {
            let taken = (*left).min(bytes.len() as u64);
            *left -= taken;
            if *left == 0 {
                *state = State::Head;
            }
            Ok(taken as usize)
        }
        State::Chunked(chunk) => match take_chunks(chunk, bytes)? {
            (taken, false) => Ok(taken),
            (taken, true) => {
                *state = State::Head;
                Ok(taken)
            }
        },
    }
}

#[cfg(test)]
mod tests;
