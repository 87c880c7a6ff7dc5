//! A chunked body, followed byte by byte (RFC 9112, section 7.1).

use std::io;

use super::head::is_token;

/// Longest trailer field.
const MAX_TRAILER_LINE: usize = 4096;
/// Longest trailer section.
const MAX_TRAILERS: u32 = 16 * 1024;

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
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
    /// In the name of a trailer field.
    TrailerName { length: u16, total: u32 },
    /// In the value of a trailer field.
    Trailer { length: u16, total: u32 },
    /// At the line feed of a trailer line.
    TrailerLf { total: u32 },
    /// At the last line feed.
    EndLf,
}

/// Follows a chunked body (RFC 9112, section 7.1); returns the bytes taken and whether the body ended.
pub(super) fn take_chunks(chunk: &mut Chunk, bytes: &[u8]) -> io::Result<(usize, bool)> {
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
            Chunk::TrailerName { length: 1, total: total + 1 }
        }
        (Chunk::TrailerName { length, total }, b':') => {
            Chunk::Trailer { length: length + 1, total: total + 1 }
        }
        (Chunk::TrailerName { length, total }, name)
            if is_token(name) && usize::from(length) < MAX_TRAILER_LINE && total < MAX_TRAILERS =>
        {
            Chunk::TrailerName { length: length + 1, total: total + 1 }
        }
        (Chunk::Trailer { total, .. }, b'\r') => Chunk::TrailerLf { total },
        (Chunk::Trailer { length, total }, b' '..=b'~' | b'\t' | 0x80..)
            if usize::from(length) < MAX_TRAILER_LINE && total < MAX_TRAILERS =>
        {
            Chunk::Trailer { length: length + 1, total: total + 1 }
        }
        (Chunk::TrailerLf { total }, b'\n') => Chunk::TrailerStart { total },
        (Chunk::EndLf, b'\n') => return Ok(None),
        _ => return Err(malformed()),
    }))
}
