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

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// More header fields than this are refused. hyper is given one more, so that this limit speaks first.
pub(crate) const MAX_FIELDS: usize = 128;
/// The longest body: what still fits into a signed number, as other programs count.
const MAX_LENGTH: u64 = i64::MAX as u64;
/// Longest line of a chunk header or trailer field.
const MAX_CHUNK_LINE: usize = 4096;
/// Longest trailer section.
const MAX_TRAILERS: u32 = 16 * 1024;
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

const fn bad(reason: &'static str) -> Violation {
    Violation { status: 400, reason }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// At the first digit of a chunk's size.
    Size { value: u64, digits: u8 },
    /// At the line feed after a size.
    SizeEnd { value: u64 },
    /// In a chunk's data.
    Data { left: u64 },
    /// At the carriage return after the data.
    DataCr,
    /// At the line feed after the data.
    DataLf,
    /// At the start of a trailer line.
    TrailerStart { total: u32 },
    /// In a trailer line.
    Trailer { length: u16, total: u32 },
    /// At the line feed of a trailer line.
    TrailerLf { total: u32 },
    /// At the last line feed.
    EndLf,
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

/// Finds the end of a head, line by line from `searched` (always the start of a line); a line feed without a
/// carriage return is a violation at once, so that it cannot make anybody wait.
fn find_head(raw: &[u8], searched: &mut usize, limit: usize) -> Result<Option<usize>, Violation> {
    const TOO_LARGE: Violation = Violation { status: 431, reason: "the request's head is too large" };
    while let Some(length) = memchr(b'\n', &raw[*searched..]) {
        let line_end = *searched + length;
        if length == 0 || raw[line_end - 1] != b'\r' {
            return Err(bad("a line of the head does not end in CR LF"));
        }
        if line_end + 1 > limit {
            return Err(TOO_LARGE);
        }
        *searched = line_end + 1;
        if length == 1 {
            return Ok(Some(line_end + 1));
        }
    }
    if raw.len() > limit { Err(TOO_LARGE) } else { Ok(None) }
}

/// Checks a whole head, its empty line included, and says what follows it.
fn check_head(head: &[u8]) -> Result<State, Violation> {
    let text = &head[..head.len() - 2];
    let line_end = memchr(b'\n', text).ok_or(bad("the request line is empty"))?;
    let line = check_request_line(&text[..line_end - 1])?;
    let mut fields = Fields::default();
    let mut rest = &text[line_end + 1..];
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).ok_or(bad("a field line does not end"))?;
        fields.add(&rest[..end - 1])?;
        rest = &rest[end + 1..];
    }
    fields.next_state(&line)
}

struct RequestLine {
    connect: bool,
    get: bool,
    http_1_1: bool,
}

fn check_request_line(line: &[u8]) -> Result<RequestLine, Violation> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the request line is not a method, a target and a version"));
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(bad("the method is not a token"));
    }
    if target.is_empty() || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || *byte == b'#') {
        return Err(bad("the target holds a character that must be encoded"));
    }
    if http::Uri::try_from(target).is_err() {
        return Err(bad("the target cannot be understood"));
    }
    let http_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Violation { status: 505, reason: "only HTTP/1.0 and HTTP/1.1 are spoken here" });
        }
        _ => return Err(bad("the HTTP version is malformed")),
    };
    Ok(RequestLine { connect: method == b"CONNECT", get: method == b"GET", http_1_1 })
}

/// The fields of a head that say where the message ends.
#[derive(Default)]
struct Fields {
    count: usize,
    hosts: u32,
    length: Option<u64>,
    chunked: bool,
    upgrade: Upgrade,
    connection_upgrade: bool,
}

/// What the `Upgrade` fields of a head ask for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Upgrade {
    #[default]
    Nothing,
    /// One protocol that is served.
    One,
    /// HTTP/2 in clear, or several at once: the field is ignored, as RFC 9110, section 7.8, allows.
    Ignored,
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), Violation> {
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(Violation { status: 431, reason: "the request has too many header fields" });
        }
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(bad("a header field is folded over lines"));
        }
        let colon = memchr(b':', line).ok_or(bad("a header field has no colon"))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(bad("a header field's name is malformed"));
        }
        if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(bad("a header field's value holds a control character"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            14 if name.eq_ignore_ascii_case(b"content-length") => self.add_length(value.trim_ascii())?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.add_coding(value.trim_ascii())?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let value = value.trim_ascii();
                let single = !value.is_empty() && value.iter().all(|byte| is_token(*byte) || *byte == b'/');
                let served = single && !value.eq_ignore_ascii_case(b"h2c");
                self.upgrade = match self.upgrade {
                    Upgrade::Nothing if served => Upgrade::One,
                    _ => Upgrade::Ignored,
                };
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.connection_upgrade |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.length.is_some() {
            return Err(bad("the request has more than one Content-Length"));
        }
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
        let length = length.filter(|length| *length <= MAX_LENGTH);
        self.length = Some(length.ok_or(bad("the Content-Length is not a number that can be served"))?);
        Ok(())
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.chunked {
            return Err(bad("the request has more than one Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let names_chunked = value.to_ascii_lowercase().windows(7).any(|window| window == b"chunked");
            return Err(if names_chunked || value.is_empty() || !value.iter().copied().all(is_token) {
                bad("the Transfer-Encoding is not understood")
            } else {
                Violation { status: 501, reason: "the only Transfer-Encoding served is chunked" }
            });
        }
        self.chunked = true;
        Ok(())
    }

    fn next_state(&self, line: &RequestLine) -> Result<State, Violation> {
        if self.hosts > 1 {
            return Err(bad("the request has more than one Host"));
        }
        if self.hosts == 0 && line.http_1_1 {
            return Err(bad("the request has no Host"));
        }
        if self.chunked && self.length.is_some() {
            return Err(bad("the request has both a Transfer-Encoding and a Content-Length"));
        }
        if self.chunked && !line.http_1_1 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        let has_body = self.chunked || self.length.is_some_and(|length| length > 0);
        if line.connect {
            return if has_body { Err(bad("CONNECT has no body")) } else { Ok(State::Opaque) };
        }
        if line.get && line.http_1_1 && self.upgrade == Upgrade::One && self.connection_upgrade && !has_body {
            return Ok(State::Opaque);
        }
        Ok(match self.length {
            _ if self.chunked => State::Chunked(Chunk::Size { value: 0, digits: 0 }),
            Some(length) if length > 0 => State::Length(length),
            _ => State::Head,
        })
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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

/// Follows a chunked body (RFC 9112, section 7.1); returns the bytes taken and whether the body ended.
fn take_chunks(chunk: &mut Chunk, bytes: &[u8]) -> io::Result<(usize, bool)> {
    let mut at = 0;
    while at < bytes.len() {
        if let Chunk::Data { left } = chunk {
            let taken = (*left).min((bytes.len() - at) as u64);
            at += taken as usize;
            *left -= taken;
            if *left == 0 {
                *chunk = Chunk::DataCr;
            }
            continue;
        }
        let Some(next) = chunk_step(*chunk, bytes[at])? else { return Ok((at + 1, true)) };
        *chunk = next;
        at += 1;
    }
    Ok((at, false))
}

/// One byte of a chunked body outside of chunk data; nothing after the last. Chunk extensions mean nothing to anybody
/// and have carried attacks: they are refused.
fn chunk_step(chunk: Chunk, byte: u8) -> io::Result<Option<Chunk>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the request's chunked body is malformed");
    Ok(Some(match (chunk, byte) {
        (Chunk::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
            let digit = (byte as char).to_digit(16).ok_or_else(malformed)?;
            Chunk::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
        }
        (Chunk::Size { value, digits: 1.. }, b'\r') => Chunk::SizeEnd { value },
        (Chunk::SizeEnd { value: 0 }, b'\n') => Chunk::TrailerStart { total: 0 },
        (Chunk::SizeEnd { value }, b'\n') => Chunk::Data { left: value },
        (Chunk::DataCr, b'\r') => Chunk::DataLf,
        (Chunk::DataLf, b'\n') => Chunk::Size { value: 0, digits: 0 },
        (Chunk::TrailerStart { .. }, b'\r') => Chunk::EndLf,
        (Chunk::TrailerStart { total }, first) if is_token(first) => {
            Chunk::Trailer { length: 1, total: total + 1 }
        }
        (Chunk::Trailer { total, .. }, b'\r') => Chunk::TrailerLf { total },
        (Chunk::Trailer { length, total }, b' '..=b'~' | b'\t' | 0x80..)
            if usize::from(length) < MAX_CHUNK_LINE && total < MAX_TRAILERS =>
        {
            Chunk::Trailer { length: length + 1, total: total + 1 }
        }
        (Chunk::TrailerLf { total }, b'\n') => Chunk::TrailerStart { total },
        (Chunk::EndLf, b'\n') => return Ok(None),
        _ => return Err(malformed()),
    }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn limits() -> Limits {
        let second = Duration::from_secs(1);
        Limits { head_bytes: 1024, head_time: second, idle_time: second, stall_time: second }
    }

    /// What hyper would read of these bytes, sent in pieces of `step`, and the violation of the first request.
    async fn read(bytes: &[u8], step: usize) -> (io::Result<Vec<u8>>, Option<Violation>) {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let mut framed = Framed::new(server, limits());
        let framing = framed.framing();
        for piece in bytes.chunks(step) {
            client.write_all(piece).await.unwrap();
        }
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        let mut buffer = [0u8; 64];
        let result = loop {
            let reading = tokio::time::timeout(Duration::from_millis(20), framed.read(&mut buffer));
            match reading.await {
                Ok(Ok(0)) | Err(_) => break Ok(got),
                Ok(Ok(count)) => got.extend_from_slice(&buffer[..count]),
                Ok(Err(error)) => break Err(error),
            }
        };
        (result, framing.violation(0))
    }

    #[tokio::test]
    async fn sound_messages_pass_unchanged() {
        for (name, bytes) in [
            ("plain", "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            ("pipelined", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("HTTP/1.0 without host", "GET http://a.example/ HTTP/1.0\r\n\r\n"),
            ("length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
            (
                "length, then another",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
            (
                "chunked with trailers, then another",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0A\r\n0123456789\r\n\
                 0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
            (
                "tunnel",
                "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03\nanything\r\n\n",
            ),
            (
                "upgrade",
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\n\nframes",
            ),
        ] {
            for step in [1, 3, 7, 1000] {
                let (got, violation) = read(bytes.as_bytes(), step).await;
                assert_eq!(violation, None, "{name}, pieces of {step}");
                assert_eq!(String::from_utf8(got.unwrap()).unwrap(), bytes, "{name}, pieces of {step}");
            }
        }
    }

    #[tokio::test]
    async fn unsound_heads_never_reach_the_parser() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(2000));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(130));
        for (name, status, bytes) in [
            ("bare line feed", 400, "GET / HTTP/1.1\nHost: a\n\n"),
            ("bare line feed in fields", 400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
            ("bare carriage return", 400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
            ("carriage return in the request line", 400, "GET /\rX HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("folded field", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
            ("space before colon", 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
            (
                "a length beyond all use",
                400,
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            ),
            ("NUL", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n"),
            (
                "two lengths",
                400,
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            ),
            ("length list", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
            ("signed length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
            (
                "length and chunked",
                400,
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                "chunked and length",
                400,
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            ),
            ("coding list", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            ("odd coding", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
            ("other coding", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
            ("HTTP/1.0 chunked", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("no host", 400, "GET / HTTP/1.1\r\n\r\n"),
            ("two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            ("HTTP/0.9", 400, "GET /\r\n\r\n"),
            ("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("connect with a body", 400, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc"),
            ("large head", 431, &long),
            ("many fields", 431, &many),
        ] {
            for step in [1, 5, 4096] {
                let (got, violation) = read(bytes.as_bytes(), step).await;
                assert_eq!(
                    violation.map(|violation| violation.status),
                    Some(status),
                    "{name}, pieces of {step}"
                );
                assert_eq!(got.unwrap(), STAND_IN, "{name}, pieces of {step}");
            }
        }
    }

    #[tokio::test]
    async fn unsound_chunks_are_errors() {
        for (name, body) in [
            ("no size", "\r\nabc\r\n"),
            ("size with sign", "+3\r\nabc\r\n"),
            ("size with prefix", "0x3\r\nabc\r\n"),
            ("extension", "3;a=b\r\nabc\r\n"),
            ("bare line feed", "3\nabc\r\n"),
            ("data too long", "3\r\nabcd\r\n"),
            ("huge size", "fffffffffffffffff\r\n"),
            ("bad trailer", "0\r\n: x\r\n\r\n"),
        ] {
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            for step in [1, 4096] {
                let (got, _) = read(request.as_bytes(), step).await;
                assert_eq!(got.unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}, pieces of {step}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_refused_in_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut framed = Framed::new(server, limits());
        let framing = framed.framing();
        client.write_all(b"GET / HT").await.unwrap();
        let mut buffer = [0u8; 256];
        let count = framed.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], STAND_IN);
        assert_eq!(framing.violation(0).map(|violation| violation.status), Some(408));
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends() {
        let (_client, server) = tokio::io::duplex(64);
        let mut framed = Framed::new(server, limits());
        assert_eq!(framed.read(&mut [0u8; 16]).await.unwrap(), 0);
    }
}
