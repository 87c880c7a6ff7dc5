//! A way for the fuzz target `request_head` to the check of framing. Not part of the proxy's interface.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};

use super::{Framed, Limits};

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
    let mut received = Received::default();
    let mut space = [0; READ_BYTES];
    loop {
        let mut buffer = ReadBuf::new(&mut space);
        // Nothing here waits, so no clock is ever started: pending is what follows a refused head.
        match Pin::new(&mut framed).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => received.passed.extend(buffer.filled()),
            Poll::Ready(Ok(())) | Poll::Pending => break,
            Poll::Ready(Err(_)) => {
                received.is_broken = true;
                break;
            }
        }
    }
    let framing = framed.framing();
    received.requests = framing.count();
    let last = received.requests.saturating_sub(1);
    received.refused = framing.violation(last).map(|violation| (last, violation.status));
    received.opaque_behind = framing.opaque.get().copied();
    received
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
