//! The text of a body does not depend on how the body is cut, and reading it stays within its limits.
//!
//! Input: a line with a Content-Type, a line with a Content-Encoding (either may be empty), and the body. Where the
//! second line begins with `+`, the body is encoded first, so that what lies behind the decoders is reached.

use std::io::Write as _;

use wardgate_text::{Extractor, Limits, TextError};

use crate::pieces;

/// Small limits, so that they are met; bursts are limited a push at a time, which pieces would change.
const LIMITS: Limits =
    Limits { decoded_bytes: 1 << 20, ratio: 200, ratio_grace_bytes: 64 << 10, burst_bytes: u64::MAX };
/// Most bytes of text for each decoded byte: an entity, a legacy encoding or an escape may grow, but not without end.
const GROWTH: usize = 8;

/// Checks one body.
pub fn check(data: &[u8]) {
    let Some((kind, coding, body)) = parts(data) else { return };
    match coding.strip_prefix('+') {
        None => reads_alike(kind, coding, body),
        Some(coding) => {
            if let Some(body) = encode(coding, body) {
                reads_alike(kind, coding, &body);
            }
        }
    }
}

fn parts(data: &[u8]) -> Option<(&str, &str, &[u8])> {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let kind = std::str::from_utf8(parts.next()?).ok()?;
    let coding = std::str::from_utf8(parts.next()?).ok()?;
    Some((kind, coding, parts.next()?))
}

fn reads_alike(kind: &str, coding: &str, body: &[u8]) {
    let whole = read(kind, coding, [body]);
    for pieces in pieces::of_bytes(body) {
        let cut = read(kind, coding, pieces);
        match (&whole, &cut) {
            // How much had been read when a body broke depends on how much was decoded at once.
            ((one, Err(_)), (other, Err(_))) => {
                assert!(one.starts_with(other) || other.starts_with(one), "{one:?} and {other:?}");
            }
            // A ratio is reached earlier or later.
            ((_, Err(TextError::Bomb { .. })), _) | (_, (_, Err(TextError::Bomb { .. }))) => {}
            _ => assert_eq!(cut, whole, "{kind:?} {coding:?}"),
        }
    }
}

fn read<'a>(
    kind: &str,
    coding: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (String, Result<(), TextError>) {
    let mut text = String::new();
    let mut extractor = match Extractor::new(given(kind), given(coding), LIMITS) {
        Ok(Some(extractor)) => extractor,
        Ok(None) => return (text, Ok(())),
        Err(error) => return (text, Err(error)),
    };
    let mut bytes = 0;
    let result = pieces.into_iter().try_for_each(|piece| {
        bytes += piece.len();
        extractor.push(piece, &mut text)
    });
    let result = result.and_then(|()| extractor.finish(&mut text));
    let decoded = if coding.is_empty() { bytes } else { LIMITS.decoded_bytes as usize };
    assert!(text.len() <= GROWTH * decoded + 64, "{} bytes of text from {decoded}", text.len());
    (text, result)
}

fn given(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

/// Encodes a body with one coding; nothing where it is none of ours.
fn encode(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    const IN_MEMORY: &str = "writing to memory does not fail";
    let level = flate2::Compression::fast();
    Some(match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect(IN_MEMORY);
            encoder.finish().expect(IN_MEMORY)
        }
        "br" => {
            let mut encoded = Vec::new();
            let parameters = brotli::enc::BrotliEncoderParams { quality: 1, lgwin: 16, ..Default::default() };
            brotli::BrotliCompress(&mut &*body, &mut encoded, &parameters).expect(IN_MEMORY);
            encoded
        }
        "zstd" => zstd::stream::encode_all(body, 1).expect(IN_MEMORY),
        _ => return None,
    })
}
