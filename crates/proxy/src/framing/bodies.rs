//! A body on the wire, followed to its end: by its length, chunk by chunk (RFC 9112, section 7.1), or until the
//! connection closes.

use std::io;

use super::Violation;
use super::head::{bad, is_token};

/// Longest trailer field.
const MAX_TRAILER_LINE: usize = 4096;
/// Longest trailer section.
const MAX_TRAILERS: u32 = 16 * 1024;
/// Longest extension of one chunk. Nobody knows any extension, and every recipient ignores them.
const MAX_EXTENSION: u16 = 256;

/// Where in a body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes are left.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunk),
    /// Everything until the connection closes.
    UntilClose,
}

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// At a digit of a chunk's size.
    Size { value: u64, digits: u8 },
    /// At white space behind a size.
    Padding { value: u64, length: u16 },
    /// In an extension.
    Extension { value: u64, length: u16 },
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
    /// In the name of a trailer field.
    TrailerName { total: u32 },
    /// In the value of a trailer field.
    TrailerValue { length: u16, total: u32 },
    /// At the line feed of a trailer line.
    TrailerLf { total: u32 },
    /// At the last line feed.
    EndLf,
}

impl Body {
    /// A chunked body, at its beginning.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Size { value: 0, digits: 0 })
    }

    /// How many of these bytes belong to the body, and whether it ends with them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<(usize, bool)> {
        match self {
            Self::UntilClose => Ok((bytes.len(), false)),
            Self::Chunked(chunk) => take_chunks(chunk, bytes),
            Self::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok((taken as usize, *left == 0))
            }
        }
    }
}

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

/// One byte of a chunked body outside of chunk data; nothing after the last.
///
/// Extensions are read over, as RFC 9112, section 7.1.1, demands, and go no further: the parser behind this drops
/// them. What made them dangerous is refused: every line ends in CR LF, and no other control character stands in it
/// (Funky Chunks, 2025).
fn chunk_step(chunk: Chunk, byte: u8) -> Result<Option<Chunk>, Violation> {
    Ok(Some(match (chunk, byte) {
        (Chunk::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
            let digit = (byte as char).to_digit(16).ok_or(bad(SIZE))?;
            Chunk::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
        }
        (
            Chunk::Size { value, digits: 1.. }
            | Chunk::Padding { value, .. }
            | Chunk::Extension { value, .. },
            b'\r',
        ) => Chunk::SizeEnd { value },
        (Chunk::Size { value, digits: 1.. }, b' ' | b'\t') => Chunk::Padding { value, length: 1 },
        (Chunk::Padding { value, length }, b' ' | b'\t') if length < MAX_EXTENSION => {
            Chunk::Padding { value, length: length + 1 }
        }
        (Chunk::Size { value, digits: 1.. } | Chunk::Padding { value, .. }, b';') => {
            Chunk::Extension { value, length: 1 }
        }
        (Chunk::Extension { value, length }, b'\t' | b' '..=b'~' | 0x80..) if length < MAX_EXTENSION => {
            Chunk::Extension { value, length: length + 1 }
        }
        (Chunk::SizeEnd { value: 0 }, b'\n') => Chunk::TrailerStart { total: 0 },
        (Chunk::SizeEnd { value }, b'\n') => Chunk::Data { left: value },
        (Chunk::DataCr, b'\r') => Chunk::DataLf,
        (Chunk::DataLf, b'\n') => Chunk::Size { value: 0, digits: 0 },
        (Chunk::TrailerStart { .. }, b'\r') => Chunk::EndLf,
        (Chunk::TrailerStart { total }, first) if is_token(first) => Chunk::TrailerName { total: total + 1 },
        (Chunk::TrailerName { total }, b':') => Chunk::TrailerValue { length: 0, total: total + 1 },
        (Chunk::TrailerName { total }, byte) if is_token(byte) && total < MAX_TRAILERS => {
            Chunk::TrailerName { total: total + 1 }
        }
        (Chunk::TrailerValue { total, .. }, b'\r') => Chunk::TrailerLf { total },
        (Chunk::TrailerValue { length, total }, b' '..=b'~' | b'\t' | 0x80..)
            if usize::from(length) < MAX_TRAILER_LINE && total < MAX_TRAILERS =>
        {
            Chunk::TrailerValue { length: length + 1, total: total + 1 }
        }
        (Chunk::TrailerLf { total }, b'\n') => Chunk::TrailerStart { total },
        (Chunk::EndLf, b'\n') => return Ok(None),
        _ => return Err(bad(what_is_wrong(chunk))),
    }))
}

const SIZE: &str = "the size of a chunk is malformed";

fn what_is_wrong(chunk: Chunk) -> &'static str {
    match chunk {
        Chunk::Size { .. } | Chunk::SizeEnd { .. } | Chunk::Padding { .. } => SIZE,
        Chunk::Extension { .. } => "the extension of a chunk is malformed or too long",
        Chunk::Data { .. } | Chunk::DataCr | Chunk::DataLf => "a chunk does not end where its size says",
        Chunk::TrailerStart { .. } | Chunk::TrailerName { .. } | Chunk::TrailerValue { .. } => {
            "a trailer field is malformed or too long"
        }
        Chunk::TrailerLf { .. } | Chunk::EndLf => "a line of the trailers does not end in CR LF",
    }
}
