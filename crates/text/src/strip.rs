//! Strips tags from XML. Needs no memory to speak of, whatever the markup is.

use memchr::{memchr, memchr2};

use crate::entities::Entities;
use crate::markup::Name;
use crate::prose::Prose;
use crate::reader::Reader;

/// How much of what follows `<` is kept to tell what it is. Longer than the longest name that matters.
const MAX_OPENING_BYTES: usize = 16;

/// Strips tags. `<![CDATA[` counts as a tag, so that markup inside it is stripped too.
#[derive(Default)]
pub(crate) struct Stripper {
    state: State,
    opening: String,
    entities: Entities,
}

#[derive(Default)]
enum State {
    #[default]
    Text,
    /// After `<`; what follows is kept in `opening`.
    Opening,
    /// In a tag, outside attribute values.
    Tag,
    /// After an equals sign.
    BeforeValue,
    Value {
        quote: u8,
    },
    /// In a comment; its last bytes.
    Comment {
        last: [u8; 3],
    },
}

impl Stripper {
    /// Takes one step and returns what is left of the piece.
    fn step<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let bytes = piece.as_bytes();
        match &mut self.state {
            State::Text => {
                let end = memchr(b'<', bytes);
                self.entities.push(&piece[..end.unwrap_or(piece.len())], out);
                let Some(end) = end else { return "" };
                self.opening.clear();
                self.state = State::Opening;
                &piece[end + 1..]
            }
            State::Opening => self.open(piece, out),
            State::Tag => match memchr2(b'=', b'>', bytes) {
                None => "",
                Some(at) if bytes[at] == b'=' => {
                    self.state = State::BeforeValue;
                    &piece[at + 1..]
                }
                Some(at) => {
                    self.state = State::Text;
                    &piece[at + 1..]
                }
            },
            State::BeforeValue => {
                let rest = piece.trim_ascii_start();
                match rest.as_bytes().first() {
                    None => "",
                    Some(quote @ (b'"' | b'\'')) => {
                        self.state = State::Value { quote: *quote };
                        &rest[1..]
                    }
                    Some(_) => {
                        self.state = State::Tag;
                        rest
                    }
                }
            }
            State::Value { quote } => {
                let Some(at) = memchr(*quote, bytes) else { return "" };
                self.state = State::Tag;
                &piece[at + 1..]
            }
            State::Comment { last } => {
                let end = memchr(b'>', bytes);
                remember_last(last, &bytes[..end.unwrap_or(bytes.len())]);
                let Some(end) = end else { return "" };
                if last.ends_with(b"--") || last == b"--!" {
                    self.state = State::Text;
                } else {
                    remember_last(last, b">");
                }
                &piece[end + 1..]
            }
        }
    }

    /// Reads on after `<` until it is clear what it is.
    fn open<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        for (at, byte) in piece.bytes().enumerate() {
            let begins = self.opening.is_empty();
            if begins && !(byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?')) {
                self.entities.push("<", out);
                self.state = State::Text;
                return &piece[at..];
            }
            let ends = byte.is_ascii_whitespace() || byte == b'>' || (byte == b'/' && !begins);
            if ends || !byte.is_ascii() || self.opening.len() == MAX_OPENING_BYTES {
                self.begin_tag(out);
                return &piece[at..];
            }
            self.opening.push(byte as char);
            if self.opening == "!--" {
                self.entities.finish(out);
                self.state = State::Comment { last: *b" --" };
                return &piece[at + 1..];
            }
            if self.opening == "![CDATA[" {
                self.entities.finish(out);
                out.gap();
                self.state = State::Text;
                return &piece[at + 1..];
            }
        }
        ""
    }

    fn begin_tag(&mut self, out: &mut Prose) {
        self.entities.finish(out);
        if !Name::new(self.opening.trim_start_matches('/')).is_inline() {
            out.gap();
        }
        self.state = State::Tag;
    }
}

impl Reader for Stripper {
    fn text(&mut self, mut piece: &str, out: &mut Prose) {
        while !piece.is_empty() {
            piece = self.step(piece, out);
        }
    }

    fn finish(&mut self, out: &mut Prose) {
        self.entities.finish(out);
        out.gap();
    }
}

/// Shifts bytes through a window of the last three.
fn remember_last(last: &mut [u8; 3], bytes: &[u8]) {
    for byte in &bytes[bytes.len().saturating_sub(3)..] {
        *last = [last[1], last[2], *byte];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(mut stripper: Stripper, pieces: &[&str]) -> String {
        let (mut out, mut text) = (Prose::default(), String::new());
        for piece in pieces {
            stripper.text(piece, &mut out);
        }
        stripper.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    #[test]
    fn stripped_at_any_cut() {
        for (name, markup, expected) in [
            ("elements", "<a1>one</a1><b2>two</b2>", "one\ntwo\n"),
            ("inline", "<b>su</b>icide", "suicide\n"),
            ("attributes", "<p title='a > b' x=c>d", "d\n"),
            ("comment", "a<!-- > -- b -->c<!-->d<!--->e<!-- x --!>f", "acdef\n"),
            ("data section", "<d><![CDATA[<p>x &amp; y</p>]]></d>", "x & y\n]]>\n"),
            ("declarations", "<?xml version='1.0'?><!DOCTYPE x>y", "y\n"),
            ("not a tag", "1 < 2 <3 &lt; 4", "1 < 2 <3 < 4\n"),
            ("accents", "<é>ä</é>ö", "<é>ä\nö\n"),
        ] {
            assert_eq!(strip(Stripper::default(), &[markup]), expected, "{name}");
            for cut in (1..markup.len()).filter(|cut| markup.is_char_boundary(*cut)) {
                let pieces = [&markup[..cut], &markup[cut..]];
                assert_eq!(strip(Stripper::default(), &pieces), expected, "{name}, cut at {cut}");
            }
        }
    }
}
