//! Decodes character references (`&amp;`, `&#97;`) in text that arrives in pieces.

use memchr::memchr;

use crate::prose::Prose;

/// Longest reference that is put together; the longest name has 33 bytes. Leading zeros do not count.
const MAX_REFERENCE_BYTES: usize = 64;

/// Holds back a reference that may go on in the next piece.
#[derive(Default)]
pub(crate) struct Entities {
    held: String,
}

impl Entities {
    /// Appends a piece of text to `out`, references decoded.
    #[inline]
    pub(crate) fn push(&mut self, piece: &str, out: &mut Prose) {
        let mut rest = if self.held.is_empty() { piece } else { self.go_on(piece, out) };
        while let Some(at) = memchr(b'&', rest.as_bytes()) {
            out.push(&rest[..at]);
            rest = self.reference(&rest[at..], out);
        }
        out.push(rest);
    }

    /// Says that the text has ended.
    #[inline]
    pub(crate) fn finish(&mut self, out: &mut Prose) {
        if !self.held.is_empty() {
            self.release(out);
        }
    }

    /// Reads a reference; returns what follows it.
    fn reference<'a>(&mut self, text: &'a str, out: &mut Prose) -> &'a str {
        let window = &text.as_bytes()[1..text.len().min(MAX_REFERENCE_BYTES)];
        let Some(end) = window.iter().position(|byte| !is_reference_byte(*byte)) else {
            // It may go on in the next piece, or is very long.
            self.held.push('&');
            return self.go_on(&text[1..], out);
        };
        let end = 1 + end + usize::from(window[end] == b';');
        out.push(&htmlize::unescape(&text[..end]));
        &text[end..]
    }

    /// Adds to the reference held back what belongs to it; returns the rest of the piece.
    fn go_on<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        for (at, byte) in piece.bytes().enumerate() {
            if !is_reference_byte(byte) || self.held.len() == MAX_REFERENCE_BYTES {
                let end = at + usize::from(byte == b';');
                self.held.push_str(&piece[at..end]);
                self.release(out);
                return &piece[end..];
            }
            // However many zeros lead it, the number is the same.
            let is_led_by_zero = match self.held.as_str() {
                "&#0" => byte.is_ascii_digit(),
                "&#x0" | "&#X0" => byte.is_ascii_hexdigit(),
                _ => false,
            };
            if is_led_by_zero {
                self.held.pop();
            }
            self.held.push(char::from(byte));
        }
        ""
    }

    fn release(&mut self, out: &mut Prose) {
        out.push(&htmlize::unescape(self.held.as_str()));
        self.held.clear();
    }
}

fn is_reference_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'#'
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
            (
                "many zeros",
                &format!("&#{}115;uicide &#x{}73;", "0".repeat(100), "0".repeat(100)),
                "suicide s",
            ),
            ("nothing but zeros", &format!("&#{};", "0".repeat(100)), "\u{fffd}"),
            ("zeros that end as a name", "&#0am;", "\u{fffd}am;"),
            ("two numbers in one", "&#0&#x0;&#065", "\u{fffd}\u{fffd}A"),
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
