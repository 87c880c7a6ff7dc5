//! Decodes character references (`&amp;`, `&#97;`) in text that arrives in pieces.

use memchr::memrchr;

use crate::prose::Prose;

/// Longest reference that is put together across pieces; the longest name has 33 bytes.
const MAX_REFERENCE_BYTES: usize = 64;

/// Holds back a reference that may go on in the next piece.
#[derive(Default)]
pub(crate) struct Entities {
    tail: String,
}

impl Entities {
    /// Appends a piece of text to `out`, references decoded.
    pub(crate) fn push(&mut self, piece: &str, out: &mut Prose) {
        let piece = self.complete_tail(piece, out);
        let (whole, tail) = piece.split_at(open_reference(piece));
        push_decoded(whole, out);
        self.tail.push_str(tail);
    }

    /// Says that the text has ended.
    pub(crate) fn finish(&mut self, out: &mut Prose) {
        push_decoded(&self.tail, out);
        self.tail.clear();
    }

    /// Adds to the reference held back what belongs to it; returns the rest of the piece.
    fn complete_tail<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        if self.tail.is_empty() {
            return piece;
        }
        let room = MAX_REFERENCE_BYTES.saturating_sub(self.tail.len());
        let more = piece.bytes().take(room).take_while(|byte| is_reference_byte(*byte)).count();
        self.tail.push_str(&piece[..more]);
        let rest = &piece[more..];
        if rest.is_empty() && self.tail.len() < MAX_REFERENCE_BYTES {
            return rest;
        }
        let rest = match rest.strip_prefix(';') {
            Some(after) => {
                self.tail.push(';');
                after
            }
            None => rest,
        };
        self.finish(out);
        rest
    }
}

/// Where a reference begins that the end of the piece may have cut, or the end of the piece.
fn open_reference(piece: &str) -> usize {
    let bytes = piece.as_bytes();
    let start = bytes.len().saturating_sub(MAX_REFERENCE_BYTES - 1);
    match memrchr(b'&', &bytes[start..]) {
        Some(at) if bytes[start + at + 1..].iter().all(|byte| is_reference_byte(*byte)) => start + at,
        _ => bytes.len(),
    }
}

fn is_reference_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'#'
}

fn push_decoded(text: &str, out: &mut Prose) {
    out.push(&htmlize::unescape(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_pieces() {
        for (name, text, expected) in [
            ("none", "plain", "plain"),
            ("named", "a &amp; b", "a & b"),
            ("numbers", "&#115;&#x75;icide", "suicide"),
            ("without semicolon", "fish &amp chips &copy2", "fish & chips \u{a9}2"),
            ("two in a row", "&&amp;&lt;", "&&<"),
            ("unknown", "&zzz; & &;", "&zzz; & &;"),
            ("known beginning", "&nothing;", "\u{ac}hing;"),
            ("longest", "&CounterClockwiseContourIntegral;", "\u{2233}"),
            ("at the end", "a&lt", "a<"),
        ] {
            for cut in 0..=text.len() {
                let (mut entities, mut out, mut got) = (Entities::default(), Prose::default(), String::new());
                entities.push(&text[..cut], &mut out);
                entities.push(&text[cut..], &mut out);
                entities.finish(&mut out);
                out.drain_into(&mut got);
                assert_eq!(got, expected, "{name}, cut at {cut}");
            }
        }
    }
}
