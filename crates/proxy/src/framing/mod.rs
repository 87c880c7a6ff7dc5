//! A strict check of HTTP/1 framing on the wire, in front of hyper: what two parsers could read in two ways is refused
//! before either reads it (RFC 9112, sections 2.2, 3, 5.1, 6 and 11.2).
//!
//! [`Framed`] wraps a client's connection. It passes a request's head on only once the whole of it is there and
//! sound; bodies pass as they come, counted or, where chunked, checked chunk by chunk. A head that is not sound is
//! replaced by a small valid request, and the [`Violation`] is kept under that request's number: the connection's
//! service asks for it, so that a malformed request is answered and recorded in its turn like any other. A body that
//! is not sound is a read error, which ends the exchange and the connection.
//!
//! The same place keeps the clock for everything that waits on the client: a head that does not come to its end, an
//! idle connection, a body or a reader that stalls.
//!
//! [`Answers`] does the same for an origin's connection: its answers are as hostile as any request.

mod answers;
mod bodies;
mod calm;
pub mod fuzzing;
mod head;
mod streams;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub(crate) use answers::{Answers, Switch};
use bodies::Body;
pub(crate) use head::MAX_FIELDS;
use head::{Passed, check_request, find_head};
pub(crate) use streams::{StreamCounts, Streams};

/// What hyper reads in place of a head that is not sound. The answer to it closes the connection.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: malformed.invalid\r\n\r\n";

/// Empty lines that may come before a request. Old clients send one behind a body (RFC 9112, section 2.2).
const MAX_EMPTY_LINES: u8 = 8;
const EMPTY_LINES: Violation = Violation { status: 400, reason: "too many empty lines before a request" };

/// Why a message was refused before anything of it was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Violation {
    /// The status that fits a request: 400, 408, 417, 431, 501 or 505.
    pub(crate) status: u16,
    /// What is wrong, for the event and the page.
    pub(crate) reason: &'static str,
}

impl Violation {
    /// The violation that an error of hyper's goes back to, if any.
    pub(crate) fn behind(error: &hyper::Error) -> Option<Self> {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(cause) = source {
            let on_the_wire = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(violation) = on_the_wire.and_then(|inner| inner.downcast_ref()) {
                return Some(*violation);
            }
            if cause.downcast_ref::<h2::Error>().is_some_and(found_here) {
                return Some(HTTP2);
            }
            source = cause.source();
        }
        None
    }
}

const HTTP2: Violation = Violation { status: 400, reason: "the rules of HTTP/2 are broken" };

/// Whether the HTTP/2 library has found a mistake of the peer's, rather than was told of one by the peer.
fn found_here(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR)
}

impl From<Violation> for io::Error {
    fn from(violation: Violation) -> Self {
        Self::new(io::ErrorKind::InvalidData, violation)
    }
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
    /// Whether the connection was given up because its client did not read.
    stalled: AtomicBool,
    violation: Mutex<Option<(u64, Violation)>>,
    /// The number of the request behind which nothing is checked any more, where there is one.
    opaque: OnceLock<u64>,
    /// The number of the newest request about a whole server, plus one.
    server_wide: AtomicU64,
}

impl Framing {
    /// Whether nothing is checked behind the request with this number: a CONNECT, or one that asks for an upgrade.
    /// The connection must end with its answer, unless the answer is the tunnel or the upgrade.
    pub(crate) fn is_opaque_behind(&self, number: u64) -> bool {
        self.opaque.get() == Some(&number)
    }

    /// Whether the request with this number is an OPTIONS about a whole server (RFC 9112, section 3.2.4): hyper tells
    /// an absent path from a slash as little as `http::Uri` does.
    pub(crate) fn is_server_wide(&self, number: u64) -> bool {
        self.server_wide.load(Ordering::Relaxed) == number + 1
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

    /// Whether the connection was given up because its client did not read.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Whether an answer is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.heads.load(Ordering::Relaxed) > self.answered.load(Ordering::Relaxed)
    }

    fn head_passed(&self, passed: &Passed) {
        let number = self.heads.fetch_add(1, Ordering::Relaxed);
        if passed.next == State::Opaque {
            let _ = self.opaque.set(number); // the first is the last: the state never changes again
        }
        if passed.server_wide {
            self.server_wide.store(number + 1, Ordering::Relaxed);
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
    /// In a body.
    Body(Body),
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
    /// Empty lines left out before the head that is awaited.
    empty_lines: u8,
    /// Checked and not yet handed to hyper.
    checked: BytesMut,
    read_clock: Clock,
    write_clock: Clock,
    lingering: Lingering,
}

/// What came of a read into hyper's own buffer.
enum Direct {
    /// Bytes for hyper, or the end.
    Read,
    /// Nothing for hyper yet.
    Collected,
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

    /// Reads what the client still sends, until it stops, or sends too much, or takes too long.
    fn poll(&mut self, inner: &mut (impl AsyncRead + Unpin), cx: &mut Context<'_>) -> Poll<()> {
        let mut away = [0; 4 * 1024];
        while self.bytes < Self::MAX_BYTES {
            let mut away = ReadBuf::new(&mut away);
            match Pin::new(&mut *inner).poll_read(cx, &mut away) {
                Poll::Ready(Ok(())) if !away.filled().is_empty() => self.bytes += away.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => return self.clock.poll_expired(cx, Self::TIME),
            }
        }
        Poll::Ready(())
    }
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
            empty_lines: 0,
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
            if self.empty_lines == MAX_EMPTY_LINES {
                return self.refuse(EMPTY_LINES);
            }
            self.empty_lines += 1;
            self.raw.advance(2); // RFC 9112, section 2.2: an empty line before the request line is ignored
        }
        match find_head(&self.raw, &mut self.searched, self.limits.head_bytes) {
            Ok(None) => false,
            Ok(Some(end)) => match check_request(&self.raw[..end]) {
                Ok(passed) => {
                    self.checked.unsplit(self.raw.split_to(end));
                    self.searched = 0;
                    self.pass(&passed);
                    true
                }
                Err(violation) => self.refuse(violation),
            },
            Err(violation) => self.refuse(violation),
        }
    }

    fn pass(&mut self, passed: &Passed) {
        self.empty_lines = 0;
        self.state = passed.next;
        self.framing.head_passed(passed);
    }

    fn refuse(&mut self, violation: Violation) -> bool {
        self.framing.head_refused(violation);
        self.state = State::Refused;
        self.raw.clear();
        self.checked.extend_from_slice(STAND_IN);
        true
    }

    /// Whether a head has begun. The beginning of an empty line is not one.
    fn in_head(&self) -> bool {
        !matches!(&self.raw[..], b"" | b"\r")
    }

    /// How long the next byte may take in this state, and what follows when it does not come.
    fn patience(&self) -> Option<Duration> {
        match self.state {
            State::Opaque | State::Refused => None,
            State::Head if self.framing.is_busy() => None,
            State::Head if !self.in_head() => Some(self.limits.idle_time),
            State::Head => Some(self.limits.head_time),
            State::Body(_) => Some(self.limits.stall_time),
        }
    }
}

impl<I: AsyncRead + Unpin> Framed<I> {
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        const READ_SIZE: usize = 16 * 1024;
        self.raw.reserve(READ_SIZE);
        tokio_util::io::poll_read_buf(Pin::new(&mut self.inner), cx, &mut self.raw)
    }

    /// Reads straight into hyper's buffer, where no head is being collected. What cannot pass yet is taken out again.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Direct>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            return Poll::Ready(Ok(Direct::Read));
        }
        let taken = self.take_direct(&buf.filled()[before..])?;
        if self.state != State::Refused {
            self.raw.extend_from_slice(&buf.filled()[before + taken..]);
        }
        buf.set_filled(before + taken);
        Poll::Ready(Ok(if taken > 0 { Direct::Read } else { Direct::Collected }))
    }

    /// How many of these bytes can pass as they are: a head that is whole and sound, and of its body what is here.
    fn take_direct(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut head = 0;
        if self.state == State::Head && !bytes.starts_with(b"\r") {
            let passed = find_head(bytes, &mut 0, self.limits.head_bytes).and_then(|end| {
                end.map(|end| check_request(&bytes[..end]).map(|passed| (end, passed))).transpose()
            });
            match passed {
                Ok(None) => return Ok(0),
                Ok(Some((end, passed))) => {
                    self.pass(&passed);
                    head = end;
                }
                Err(violation) => {
                    self.refuse(violation);
                    return Ok(0);
                }
            }
        }
        let state = self.state;
        match take_body(&mut self.state, &bytes[head..]) {
            Ok(taken) => Ok(head + taken),
            Err(error) if head == 0 => Err(error),
            Err(_) => {
                self.state = state; // the head has its turn first, and the error comes again behind it
                Ok(head)
            }
        }
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
                State::Head if !self.raw.is_empty() => {
                    if ready!(self.poll_more(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Refused => return Poll::Pending, // the answer to the stand-in closes the connection
                _ => match ready!(self.poll_direct(cx, buf))? {
                    Direct::Read => return Poll::Ready(Ok(())),
                    Direct::Collected => {}
                },
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
        let began_idle = !self.in_head();
        if let Poll::Ready(result) = self.poll_step(cx, buf) {
            self.read_clock.stop();
            return Poll::Ready(result);
        }
        if began_idle && self.in_head() {
            self.read_clock.stop(); // the first bytes of a head: its own time begins
        }
        let Some(patience) = self.patience() else {
            self.read_clock.stop();
            return Poll::Pending;
        };
        ready!(self.read_clock.poll_expired(cx, patience));
        match self.state {
            State::Head if !self.in_head() => Poll::Ready(Ok(())), // idle for too long: as if the client had left
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
        self.framing.stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
            State::Refused | State::Body(_) => {
                let this = &mut *self;
                this.lingering.poll(&mut this.inner, cx).map(Ok)
            }
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
        State::Body(body) => {
            let (taken, ended) = body.take(bytes)?;
            if ended {
                *state = State::Head;
            }
            Ok(taken)
        }
    }
}

#[cfg(test)]
mod tests;
