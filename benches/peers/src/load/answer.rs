//! Reads answers of HTTP/1.1 (RFC 9112) with as little work as possible: the load must not be what is measured.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// An answer's head, and how many bytes its body had.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) gzip: bool,
    /// The connection ends with this answer.
    pub(crate) last: bool,
    /// What the floor says of the phrases that it found.
    pub(crate) phrases: usize,
    pub(crate) length: usize,
}

enum Framing {
    Length(usize),
    Chunked(Chunks),
    Close,
}

/// Reads one answer. The body's bytes go to `into` where somebody wants them.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    mut into: Option<&mut Vec<u8>>,
) -> Result<Answer> {
    let (mut start, mut filled) = head(stream, buffer).await?;
    let (mut answer, mut framing) = parse(&buffer[..start])?;
    loop {
        let mut take = |bytes: &[u8]| {
            answer.length += bytes.len();
            if let Some(into) = &mut into {
                into.extend_from_slice(bytes);
            }
        };
        if framing.feed(&buffer[start..filled], &mut take)? {
            return Ok(answer);
        }
        (start, filled) = (0, stream.read(buffer).await?);
        if filled == 0 {
            ensure!(matches!(framing, Framing::Close), "the answer was cut short");
            return Ok(answer);
        }
    }
}

/// Reads up to the end of a head; returns where the head ends, and how much was read.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<(usize, usize)> {
    let mut filled = 0;
    loop {
        ensure!(filled < buffer.len(), "the head does not end");
        let count = stream.read(&mut buffer[filled..]).await?;
        ensure!(count > 0, "the connection was closed in place of an answer");
        let from = filled.saturating_sub(3); // the end may stand across the border
        filled += count;
        if let Some(end) = buffer[from..filled].windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok((from + end + 4, filled));
        }
    }
}

fn parse(head: &[u8]) -> Result<(Answer, Framing)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let mut answer = Answer { status: status.parse()?, ..Answer::default() };
    let mut framing = Framing::Close;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("content-length") {
            framing = Framing::Length(value.parse()?);
        } else if is("transfer-encoding") {
            framing = Framing::Chunked(Chunks::default());
        } else if is("content-encoding") {
            answer.gzip = value.eq_ignore_ascii_case("gzip");
        } else if is("connection") {
            answer.last = value.eq_ignore_ascii_case("close");
        } else if is("x-phrases") {
            answer.phrases = value.parse()?;
        }
    }
    answer.last |= matches!(framing, Framing::Close);
    Ok((answer, framing))
}

impl Framing {
    /// Takes what was read; true at the end of the body.
    fn feed(&mut self, bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Result<bool> {
        match self {
            Self::Length(left) => {
                ensure!(bytes.len() <= *left, "there is more than the length says");
                take(bytes);
                *left -= bytes.len();
                Ok(*left == 0)
            }
            Self::Chunked(chunks) => chunks.feed(bytes, take),
            Self::Close => {
                take(bytes);
                Ok(false)
            }
        }
    }
}

/// Where in a chunked body the reader is (RFC 9112, section 7.1).
#[derive(Clone, Copy, Default)]
enum Chunks {
    #[default]
    Begin,
    Size(usize),
    Extension(usize),
    Data(usize),
    /// The line end behind the data.
    End,
    /// In the trailer, so many bytes into its line.
    Trailer(usize),
}

impl Chunks {
    fn feed(&mut self, mut bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Result<bool> {
        while let [first, rest @ ..] = bytes {
            if let Self::Data(left) = self {
                let (data, rest) = bytes.split_at(bytes.len().min(*left));
                take(data);
                *self = if *left == data.len() { Self::End } else { Self::Data(*left - data.len()) };
                bytes = rest;
                continue;
            }
            bytes = rest;
            *self = match (*self, *first) {
                (Self::Trailer(0), b'\n') => return Ok(true),
                (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer(0),
                (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
                (Self::Size(size), b'\r' | b';') => Self::Extension(size),
                (Self::Begin, digit) => Self::Size(hex(digit)?),
                (Self::Size(size), digit) => Self::Size(size * 16 + hex(digit)?),
                (Self::End, b'\n') => Self::Begin,
                (Self::Trailer(_), b'\n') => Self::Trailer(0),
                (Self::Trailer(length), b'\r') => Self::Trailer(length),
                (Self::Trailer(length), _) => Self::Trailer(length + 1),
                (state, _) => state,
            };
        }
        Ok(false)
    }
}

fn hex(digit: u8) -> Result<usize> {
    match (digit as char).to_digit(16) {
        Some(value) => Ok(value as usize),
        None => bail!("{digit:#x} in the size of a chunk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(raw: &[u8], piece: usize) -> Result<(Answer, Vec<u8>)> {
        let (mut client, mut server) = tokio::io::duplex(piece);
        let raw = raw.to_vec();
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut server, &raw).await });
        let mut body = Vec::new();
        let answer = read(&mut client, &mut [0; 4096], Some(&mut body)).await?;
        Ok((answer, body))
    }

    #[tokio::test]
    async fn bodies_end_where_their_framing_says() {
        let cases: [(&str, &[u8], &[u8], bool); 5] = [
            ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", b"abcd", false),
            ("none", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", false),
            (
                "chunks",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA;x=1\r\n0\r\n\r\n12345\r\n1\r\nz\r\n0\r\nT: 1\r\n\r\n",
                b"0\r\n\r\n12345z",
                false,
            ),
            ("the end", b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc", true),
            ("said", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", b"a", true),
        ];
        for (name, raw, expected, last) in cases {
            for piece in [1, 3, 1000] {
                let (answer, body) = answer(raw, piece).await.unwrap();
                assert_eq!(body, expected, "{name} in pieces of {piece}");
                assert_eq!(
                    (answer.status, answer.last, answer.length),
                    (200, last, expected.len()),
                    "{name}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_breaks_off_is_an_error() {
        let cases: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
            b"HTTP/1.1 200",
        ];
        for raw in cases {
            assert!(answer(raw, 1000).await.is_err(), "{}", String::from_utf8_lossy(raw));
        }
    }
}
