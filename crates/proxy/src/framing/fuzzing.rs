//! A way for the fuzz targets `request_head` and `answer` to the checks of framing. Not part of the proxy's interface.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Answers, Framed, Limits, Switch};

/// Longest head: short, so that the limit is met.
const HEAD_BYTES: usize = 1024;
/// How much the parser behind the check reads at once.
const READ_BYTES: usize = 512;

/// What became of a connection's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// What the parser behind the check gets to read.
    pub passed: Vec<u8>,
    /// How many requests that is.
    pub requests: u64,
    /// The number of the request that was refused, and the status.
    pub refused: Option<(u64, u16)>,
    /// The number of the request behind which nothing is checked.
    pub opaque_behind: Option<u64>,
    /// Whether a body was found not to be sound.
    pub is_broken: bool,
}

/// Receives a connection that brings these pieces, one a read, and ends.
pub fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8], IntoIter: Unpin>) -> Received {
    let time = Duration::from_secs(1);
    let limits = Limits { head_bytes: HEAD_BYTES, head_time: time, idle_time: time, stall_time: time };
    let mut framed = Framed::new(Pieces { rest: &[], pieces: pieces.into_iter() }, limits);
    let Passed { bytes: passed, is_broken } = read(&mut framed);
    let framing = framed.framing();
    let requests = framing.count();
    let last = requests.saturating_sub(1);
    let refused = framing.violation(last).map(|violation| (last, violation.status));
    Received { passed, requests, refused, opaque_behind: framing.opaque.get().copied(), is_broken }
}

/// What an origin was asked, as far as it matters to the framing of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An answer with a body.
    Get,
    /// An answer without its body.
    Head,
    /// Another protocol.
    Upgrade,
}

/// What passed a check.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// What the parser behind the check gets to read.
    pub bytes: Vec<u8>,
    /// Whether the check found something that is not sound.
    pub is_broken: bool,
}

/// Receives the answer to one request, in these pieces, one a read, until the origin closes.
pub fn receive_answer<'a>(
    asked: Asked,
    pieces: impl IntoIterator<Item = &'a [u8], IntoIter: Unpin>,
) -> Passed {
    let (request, switch) = match asked {
        Asked::Get => (b"GET / HTTP/1.1\r\n\r\n".as_slice(), Switch::Unasked),
        Asked::Head => (b"HEAD / HTTP/1.1\r\n\r\n".as_slice(), Switch::Unasked),
        Asked::Upgrade => (b"GET / HTTP/1.1\r\n\r\n".as_slice(), Switch::Asked),
    };
    let mut answers = Answers::new(Pieces { rest: &[], pieces: pieces.into_iter() }, switch);
    let written = Pin::new(&mut answers).poll_write(&mut context(), request);
    assert!(matches!(written, Poll::Ready(Ok(_))), "the pieces take every write");
    read(&mut answers)
}

/// Nothing here waits, so no clock is ever started: pending is what follows a refused head.
fn read(connection: &mut (impl AsyncRead + Unpin)) -> Passed {
    let mut bytes = Vec::new();
    let mut space = [0; READ_BYTES];
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        match Pin::new(&mut *connection).poll_read(&mut context(), &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => bytes.extend(buffer.filled()),
            Poll::Ready(Ok(())) | Poll::Pending => return Passed { bytes, is_broken: false },
            Poll::Ready(Err(_)) => return Passed { bytes, is_broken: true },
        }
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

struct Pieces<'a, P> {
    rest: &'a [u8],
    pieces: P,
}

impl<'a, P: Iterator<Item = &'a [u8]> + Unpin> AsyncRead for Pieces<'a, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            let Some(next) = self.pieces.next() else { return Poll::Ready(Ok(())) };
            self.rest = next;
        }
        let (now, later) = self.rest.split_at(self.rest.len().min(buf.remaining()));
        buf.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

impl<P: Unpin> AsyncWrite for Pieces<'_, P> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
