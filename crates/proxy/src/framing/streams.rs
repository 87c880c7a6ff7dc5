//! Counts the requests of an HTTP/2 client that never became any. What breaks the rules of HTTP/2 is reset by the
//! library behind this before anybody else hears of it (RFC 9113, section 8.1.1): without a count on the wire it would
//! leave no trace. [`Streams`] only looks on and keeps nothing, until a client floods: then it is told so and closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Lingering;
use super::calm::{Calm, TooMany};

/// What a client sends before its first frame (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The head of a frame (RFC 9113, section 4.1).
const FRAME_HEAD: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;

const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// What was seen of a connection's streams.
#[derive(Debug, Default)]
pub(crate) struct StreamCounts {
    opened: AtomicU64,
    reset: AtomicU64,
}

impl StreamCounts {
    /// How many streams the client has opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How many were ended here for an error of the client's, or might have been with the whole connection.
    pub(crate) fn reset(&self) -> u64 {
        self.reset.load(Ordering::Relaxed)
    }
}

/// An HTTP/2 client's connection.
pub(crate) struct Streams<I> {
    inner: I,
    counts: Arc<StreamCounts>,
    inbound: Follower,
    outbound: Follower,
    newest: u32,
    calm: Calm,
    /// Set once the client has been told that it is too much: what it still sends is read away.
    farewell: Option<Lingering>,
}

impl<I> Streams<I> {
    /// Wraps a connection, before anything was read from it.
    pub(crate) fn new(inner: I, counts: Arc<StreamCounts>) -> Self {
        let (inbound, outbound) = (Follower::behind(PREFACE), Follower::behind(0));
        Self { inner, counts, inbound, outbound, newest: 0, calm: Calm::new(), farewell: None }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), TooMany> {
        let (counts, newest, calm) = (&self.counts, &mut self.newest, &mut self.calm);
        let mut result = Ok(());
        self.inbound.follow(bytes, |frame| {
            if frame.kind == HEADERS && frame.stream > *newest {
                *newest = frame.stream;
                counts.opened.fetch_add(1, Ordering::Relaxed);
            }
            result = result.and_then(|()| calm.received(frame.kind));
        });
        result
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let (counts, calm) = (&self.counts, &mut self.calm);
        self.outbound.follow(bytes, |frame| {
            calm.sent(frame.kind, frame.flags);
            if matches!(frame.error, Some(error) if error != NO_ERROR && error != CANCEL) {
                counts.reset.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

/// The beginning of a frame.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Of RST_STREAM and GOAWAY.
    error: Option<u32>,
}

/// Follows one direction from frame to frame.
struct Follower {
    /// Bytes that belong to nothing of interest.
    skip: usize,
    /// The beginning of the next frame: its head, and of some kinds a part of what follows.
    begun: [u8; FRAME_HEAD + 8],
    have: usize,
}

impl Follower {
    fn behind(skip: usize) -> Self {
        Self { skip, begun: [0; FRAME_HEAD + 8], have: 0 }
    }

    /// Whether the next byte begins a frame.
    fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    fn follow(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (self.wanted() - self.have).min(bytes.len());
            self.begun[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.wanted() && self.have >= FRAME_HEAD {
                self.skip = self.length().saturating_sub(self.have - FRAME_HEAD);
                seen(self.frame());
                self.have = 0;
            }
        }
    }

    /// How much of the next frame is looked at.
    fn wanted(&self) -> usize {
        let more = match self.begun[3] {
            _ if self.have < FRAME_HEAD => 0,
            RST_STREAM => 4,
            GOAWAY => 8,
            _ => 0,
        };
        FRAME_HEAD + self.length().min(more)
    }

    /// The length of what follows the head; 0 where the head is not whole yet.
    fn length(&self) -> usize {
        let [a, b, c, ..] = self.begun;
        if self.have < FRAME_HEAD { 0 } else { u32::from_be_bytes([0, a, b, c]) as usize }
    }

    fn frame(&self) -> Frame {
        let number = |at: usize| {
            u32::from_be_bytes([self.begun[at], self.begun[at + 1], self.begun[at + 2], self.begun[at + 3]])
        };
        let error = match (self.begun[3], self.have - FRAME_HEAD) {
            (RST_STREAM, 4) => Some(number(FRAME_HEAD)),
            (GOAWAY, 8) => Some(number(FRAME_HEAD + 4)),
            _ => None,
        };
        Frame { kind: self.begun[3], flags: self.begun[4], stream: number(5) & 0x7fff_ffff, error }
    }
}

impl<I: AsyncWrite + Unpin> Streams<I> {
    /// Tells the client, if it listens, that it is too much, and reads no more of what it says.
    fn part(&mut self, cx: &mut Context<'_>, too_many: TooMany) {
        counter!("wardgate_http2_floods_total", "frames" => too_many.name()).increment(1);
        if self.outbound.is_between() {
            // As much as the connection takes at once: nobody waits for such a client.
            let _ = Pin::new(&mut self.inner).poll_write(cx, &too_many.last_words(self.newest));
        }
        let _ = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.farewell = Some(Lingering::default());
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Streams<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let Err(too_many) = this.read(&buf.filled()[before..]) else { return Poll::Ready(Ok(())) };
            buf.set_filled(before);
            this.part(cx, too_many);
        }
        ready!(this.farewell.get_or_insert_default().poll(&mut this.inner, cx));
        Poll::Ready(Err(io::Error::other("the client sent too many frames that ask for nothing")))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Streams<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.farewell.is_some() {
            return Poll::Ready(Ok(buf.len())); // the last word has been said
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.wrote(&buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.farewell.is_some() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let part = left.min(buf.len());
            self.wrote(&buf[..part]);
            left -= part;
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[tokio::test]
    async fn streams_are_counted_whatever_the_borders() {
        let inbound = [
            vec![b'P'; PREFACE],
            frame(4, 0, &[]),
            frame(HEADERS, 1, b"a block"),
            frame(0, 1, &[HEADERS; 40]),
            frame(HEADERS, 1, b"trailers"),
            frame(HEADERS, 3, b""),
            frame(RST_STREAM, 3, &8u32.to_be_bytes()),
            frame(HEADERS, 7, b"another"),
        ]
        .concat();
        let outbound = [
            frame(4, 0, &[0; 6]),
            frame(RST_STREAM, 1, &1u32.to_be_bytes()),
            frame(RST_STREAM, 3, &CANCEL.to_be_bytes()),
            frame(GOAWAY, 0, &[0, 0, 0, 7, 0, 0, 0, 0]),
            frame(GOAWAY, 0, &[&[0, 0, 0, 7, 0, 0, 0, 9], &b"why"[..]].concat()),
            frame(RST_STREAM, 7, b"odd"),
        ]
        .concat();
        for step in [1, 2, 5, 13, 1000] {
            let (mut client, server) = tokio::io::duplex(step);
            let counts = Arc::new(StreamCounts::default());
            let mut streams = Streams::new(server, Arc::clone(&counts));
            let (bytes, length) = (inbound.clone(), outbound.len());
            let client = tokio::spawn(async move {
                client.write_all(&bytes).await.unwrap();
                let mut got = vec![0; length];
                client.read_exact(&mut got).await.unwrap();
                got
            });
            let mut got = vec![0; inbound.len()];
            streams.read_exact(&mut got).await.unwrap();
            for piece in outbound.chunks(step) {
                streams.write_all(piece).await.unwrap();
            }
            assert_eq!((got, client.await.unwrap()), (inbound.clone(), outbound.clone()));
            assert_eq!((counts.opened(), counts.reset()), (3, 2), "pieces of {step}");
        }
    }

    #[tokio::test]
    async fn a_client_that_floods_is_told_so() {
        let flood = frame(4, 0, &[]).repeat(10_000);
        let (mut client, server) = tokio::io::duplex(1000);
        let mut streams = Streams::new(server, Arc::default());
        streams.write_all(&frame(0, 1, b"an answer")).await.unwrap();
        let reading = async {
            let mut read = Vec::new();
            streams.read_to_end(&mut read).await.unwrap_err();
            read
        };
        let flooding = async {
            let opened = [&vec![b'P'; PREFACE][..], &frame(HEADERS, 7, b"a block")].concat();
            client.write_all(&opened).await.unwrap();
            let _ = client.write_all(&flood).await;
            let mut told = Vec::new();
            client.read_to_end(&mut told).await.unwrap();
            drop(client);
            told
        };
        let (read, told) = tokio::join!(reading, flooding);
        assert!(read.len() < flood.len());
        let goaway = &told[9 + "an answer".len()..];
        assert_eq!(goaway[3..17], [GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 11]);
        assert_eq!(goaway[17..], *b"too many frames that ask for nothing");
    }
}
