//! The client's end of a connection, and how bytes are written as text.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::PATIENCE;
use crate::harness::http2;

/// The bytes that a text stands for.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(letter).expect("characters up to U+00FF")).collect()
}

/// The text that stands for bytes, with Wardgate's pseudonym made the same in every run.
pub(super) fn text(bytes: &[u8]) -> String {
    const FRONT: &str = "wardgate-";
    const DIGITS: usize = 8;
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(FRONT) {
        let digits = rest.get(at + FRONT.len()..at + FRONT.len() + DIGITS);
        let end = match digits {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => at + FRONT.len() - 1,
            _ => at + FRONT.len(),
        };
        plain.push_str(&rest[..end]);
        rest = &rest[at + FRONT.len() + if end < at + FRONT.len() { DIGITS } else { 0 }..];
    }
    plain + rest
}

/// Any connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The client's end of a connection.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    pub(super) http2: bool,
    received: Vec<u8>,
    waited: usize,
    closed: bool,
}

impl Wire {
    pub(super) fn over(stream: Box<dyn Stream>, http2: bool) -> Self {
        Self { stream, http2, received: Vec::new(), waited: 0, closed: false }
    }

    pub(super) fn text(&self) -> String {
        if self.http2 { http2::told(&self.received) } else { text(&self.received) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sending = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(PATIENCE, sending).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    pub(super) async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads once; whether anything came.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match timeout(PATIENCE, self.stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {
                self.received.extend(&buffer[..count]);
                true
            }
            Ok(_) => {
                self.closed = true;
                false
            }
            Err(_) => false,
        }
    }

    pub(super) async fn wait_for(&mut self, wanted: &str) -> bool {
        loop {
            let text = self.text();
            if let Some(at) = text[self.waited..].find(wanted) {
                self.waited += at + wanted.len();
                return true;
            }
            if !self.read().await {
                return false;
            }
        }
    }

    /// Reads until this is enough, and where `to_the_end` until the peer has closed; whether both are so.
    pub(super) async fn read_until(&mut self, enough: impl Fn(&str) -> bool, to_the_end: bool) -> bool {
        while to_the_end || !enough(&self.text()) {
            if !self.read().await {
                return self.closed && to_the_end && enough(&self.text());
            }
        }
        true
    }
}
