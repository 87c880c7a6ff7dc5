//! An origin's connection with checked answers. Where a request's body begins and ends decides what is smuggled past
//! a server, where an answer's ends decides whose answer the next one is: the same rules hold (RFC 9112, sections
//! 6.3 and 11), and what breaks them goes no further.
//!
//! [`Answers`] looks on as requests are written, so that it knows by itself when an answer is due and whether it can
//! have a body. A byte that comes when nothing is due is an error, and ends the connection before another request can
//! be answered with it. Bodies, and heads that arrive in one piece, are read straight into hyper's buffer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Violation;
use super::bodies::Body;
use super::head::{MAX_FIELDS, bad, find_head, for_each_field, holds_control, parse_length, split_head};

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 256 * 1024;
/// Interim answers before the final one. A slow WebDAV server sends a 102 now and then; what sends more is stalling.
const MAX_INTERIM: u32 = 64;

const SURPLUS: Violation = bad("bytes came that belong to no answer");

/// Whether the origin may switch to another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// The request on this connection asks for it.
    Asked,
    /// Nobody asks.
    Unasked,
}

/// Where in the stream of answers the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is due.
    Idle,
    /// An answer is due, or its head has begun.
    Head { to_head: bool },
    /// In the body of an answer.
    Body(Body),
    /// Behind a 101: no longer HTTP/1.
    Opaque,
    /// Something came that was not due: it is not even looked at, and nothing more is read.
    Surplus,
}

/// An origin's connection whose answers are checked.
pub(crate) struct Answers<I> {
    inner: I,
    switch: Switch,
    state: State,
    interim: u32,
    /// A head that has not come to its end.
    partial: BytesMut,
    /// How much of `partial` has been searched for the end.
    searched: usize,
    /// Checked, and not yet handed to hyper.
    checked: BytesMut,
}

impl<I> Answers<I> {
    /// Wraps a connection on which nothing has been asked yet.
    pub(crate) fn new(inner: I, switch: Switch) -> Self {
        Self {
            inner,
            switch,
            state: State::Idle,
            interim: 0,
            partial: BytesMut::new(),
            searched: 0,
            checked: BytesMut::new(),
        }
    }

    /// How many of these bytes can pass: whole heads and what follows them. What cannot is the beginning of a head,
    /// or surplus.
    fn sift(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.state {
                State::Opaque => return Ok(bytes.len()),
                State::Idle | State::Surplus => {
                    self.state = State::Surplus;
                    break;
                }
                State::Head { to_head } => {
                    let to_head = *to_head;
                    let Some(end) = find_head(&bytes[at..], &mut self.searched, MAX_HEAD)? else { break };
                    self.searched = 0;
                    self.state = self.check(&bytes[at..at + end], to_head)?;
                    at += end;
                }
                State::Body(body) => {
                    let (taken, ended) = body.take(&bytes[at..])?;
                    at += taken;
                    if ended {
                        self.state = State::Idle;
                    }
                }
            }
        }
        Ok(at)
    }

    /// Checks a whole head, and says what follows it.
    fn check(&mut self, head: &[u8], to_head: bool) -> Result<State, Violation> {
        let answer = Head::check(head)?;
        if answer.status == 101 {
            return match self.switch {
                Switch::Asked => Ok(State::Opaque),
                Switch::Unasked => Err(bad("a switch of protocols that nobody asked for")),
            };
        }
        if answer.status < 200 {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(bad("there are too many interim answers"));
            }
            if answer.chunked || answer.length.is_some() {
                return Err(bad("an interim answer says that it has a body"));
            }
            return Ok(State::Head { to_head });
        }
        self.interim = 0;
        let bodiless = to_head || matches!(answer.status, 204 | 304);
        Ok(match answer.length {
            _ if bodiless => State::Idle,
            _ if answer.chunked => State::Body(Body::chunked()),
            Some(0) => State::Idle,
            Some(length) => State::Body(Body::Length(length)),
            None => State::Body(Body::UntilClose),
        })
    }

    /// Notes that a request, or a part of one, was written.
    fn wrote(&mut self, beginning: &[u8]) {
        if self.state == State::Idle {
            self.state = State::Head { to_head: beginning.starts_with(b"HEAD ") };
        }
    }
}

/// What the head of an answer says about its framing.
#[derive(Debug, Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    fn check(head: &[u8]) -> Result<Self, Violation> {
        let (line, fields) = split_head(head)?;
        let (status, http_1_1) = check_status_line(line)?;
        let mut answer = Self { status, ..Self::default() };
        let mut count = 0;
        for_each_field(fields, |name, value| {
            count += 1;
            if count > MAX_FIELDS {
                return Err(bad("there are too many header fields"));
            }
            match name.len() {
                14 if name.eq_ignore_ascii_case(b"content-length") => answer.add_length(value),
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => answer.add_coding(value),
                _ => Ok(()),
            }
        })?;
        if answer.chunked && !http_1_1 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        if answer.chunked && answer.length.is_some() {
            return Err(bad("there is both a Transfer-Encoding and a Content-Length"));
        }
        Ok(answer)
    }

    /// The same length said twice is one length (RFC 9110, section 8.6).
    fn add_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        for value in value.split(|byte| *byte == b',') {
            let length = parse_length(value.trim_ascii())?;
            if self.length.replace(length).is_some_and(|before| before != length) {
                return Err(bad("there are two Content-Lengths that differ"));
            }
        }
        Ok(())
    }

    /// No coding but chunked was asked for: a body in another one could be neither read nor passed on.
    fn add_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.chunked {
            return Err(bad("there is more than one Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(bad("the Transfer-Encoding is not understood"));
        }
        self.chunked = true;
        Ok(())
    }
}

/// The status, and whether the version is 1.1. The reason may be missing together with the space before it: many
/// servers forget both.
fn check_status_line(line: &[u8]) -> Result<(u16, bool), Violation> {
    const MALFORMED: Violation = bad("the answer does not begin with a status line");
    let http_1_1 = match line.get(..9) {
        Some(b"HTTP/1.1 ") => true,
        Some(b"HTTP/1.0 ") => false,
        _ => return Err(MALFORMED),
    };
    let status = match &line[9..] {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
            [a, b, c].iter().fold(0, |number, digit| number * 10 + u16::from(**digit - b'0'))
        }
        _ => return Err(MALFORMED),
    };
    if holds_control(&line[9..]) {
        return Err(bad("the reason of the status holds a control character"));
    }
    Ok((status, http_1_1))
}

impl<I: AsyncRead + Unpin> AsyncRead for Answers<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.checked.is_empty() {
                let count = this.checked.len().min(buf.remaining());
                buf.put_slice(&this.checked[..count]);
                this.checked.advance(count);
                return Poll::Ready(Ok(()));
            }
            if this.state == State::Surplus {
                return Poll::Ready(Err(SURPLUS.into()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.partial.is_empty() {
                let passed = this.sift(read)?;
                if this.state != State::Surplus {
                    this.partial.extend_from_slice(&read[passed..]);
                }
                buf.set_filled(before + passed);
                if passed > 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.partial.extend_from_slice(read);
            buf.set_filled(before);
            let mut collected = std::mem::take(&mut this.partial);
            let passed = this.sift(&collected)?;
            this.checked = collected.split_to(passed);
            this.partial = collected;
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Answers<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        if written > 0 {
            self.wrote(buf);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        if let Some(first) = bufs.iter().find(|buf| !buf.is_empty() && written > 0) {
            self.wrote(first);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
