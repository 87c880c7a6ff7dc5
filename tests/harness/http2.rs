//! HTTP/2 in plain frames (RFC 9113), for what no well-behaved library would send. Header blocks are literals without
//! Huffman coding or a table (RFC 7541, section 6.2.2), and no name or value is looked at.

use std::fmt::Write as _;

/// The frame types that the tests speak of.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// The largest frame that every peer takes.
const MAX_FRAME: usize = 16_384;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The bytes before a client's first frame.
pub(crate) const MAGIC: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client sends first.
pub(crate) fn preface() -> Vec<u8> {
    [MAGIC, &settings()].concat()
}

/// Settings, and an acknowledgement of the peer's, which were not read yet.
pub(crate) fn settings() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat()
}

/// Any frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block, in as many frames as it needs; `end` ends the stream with it.
pub(crate) fn headers(stream: u32, fields: &[(Vec<u8>, Vec<u8>)], end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend(text);
        }
    }
    let parts: Vec<&[u8]> = block.chunks(MAX_FRAME).collect();
    let framed = parts.iter().enumerate().map(|(at, part)| {
        let (kind, ends) = if at == 0 { (HEADERS, u8::from(end) * END_STREAM) } else { (CONTINUATION, 0) };
        frame(kind, ends | if at + 1 == parts.len() { END_HEADERS } else { 0 }, stream, part)
    });
    framed.collect::<Vec<_>>().concat()
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// A part of a body; `end` ends the stream with it.
pub(crate) fn data(stream: u32, bytes: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, if end { END_STREAM } else { 0 }, stream, bytes)
}

/// A question whether the peer is still there.
pub(crate) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"are you?")
}

/// What a peer sent, as text: a line for each frame that says something about a request or an answer.
pub(crate) fn told(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags, stream) = (head[3], head[4], u32::from_be_bytes(head[5..9].try_into().unwrap()));
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        bytes = rest;
        let end = if flags & END_STREAM != 0 { " END" } else { "" };
        let error = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            HEADERS => match status(payload) {
                Some(status) => writeln!(text, "{stream} HEADERS {status}{end}"),
                None => writeln!(text, "{stream} FIELDS{end}"),
            },
            DATA if payload.is_empty() && end.is_empty() => Ok(()),
            DATA => {
                let payload: String = payload.iter().map(|byte| char::from(*byte)).collect();
                writeln!(text, "{stream} DATA {payload:?}{end}")
            }
            RST_STREAM => writeln!(text, "{stream} RESET {}", name(error(0))),
            GOAWAY => writeln!(text, "GOAWAY {}", name(error(4))),
            PING if flags & ACK != 0 => writeln!(text, "PONG"),
            _ => Ok(()),
        }
        .unwrap();
    }
    text
}

/// The names of RFC 9113, section 7.
fn name(error: u32) -> &'static str {
    match error {
        0 => "NO_ERROR",
        1 => "PROTOCOL_ERROR",
        2 => "INTERNAL_ERROR",
        5 => "STREAM_CLOSED",
        6 => "FRAME_SIZE_ERROR",
        7 => "REFUSED_STREAM",
        8 => "CANCEL",
        9 => "COMPRESSION_ERROR",
        11 => "ENHANCE_YOUR_CALM",
        _ => "another error",
    }
}

/// The status that a block begins with: from the static table, or in digits, Huffman-coded or not. Nothing where it
/// begins with anything else.
fn status(block: &[u8]) -> Option<u16> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let mut block = block;
    while let [0x20..=0x3f, rest @ ..] = block {
        block = rest; // a new size of the table
    }
    match *block {
        [index @ 0x88..=0x8e, ..] => Some(INDEXED[usize::from(index - 0x88)]),
        // A literal with the name of entry 8, `:status`, to be indexed or not.
        [0x48 | 0x08 | 0x18, length, ref rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            if length & 0x80 == 0 { std::str::from_utf8(text).ok()?.parse().ok() } else { Some(digits(text)) }
        }
        _ => None,
    }
}

/// Three digits in the code of RFC 7541, appendix B: five bits for 0 to 2, six for 3 to 9.
fn digits(text: &[u8]) -> u16 {
    let bits: u32 = text.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (32 - 8 * text.len());
    let (mut bits, mut number) = (bits, 0);
    for _ in 0..3 {
        let (digit, width) = match bits >> 27 {
            five @ 0..=2 => (five, 5),
            _ => ((bits >> 26) - 0b011001 + 3, 6),
        };
        number = number * 10 + digit as u16;
        bits <<= width;
    }
    number
}
