//! Reads the values of `application/x-www-form-urlencoded` bodies.

use encoding_rs::{Decoder, UTF_8};
use memchr::{memchr2, memchr3};

use crate::json::Json;
use crate::prose::Prose;
use crate::reader::Reader;

/// Reads a form that arrives in pieces. A body that begins like JSON is read as JSON: command-line tools send JSON
/// under this type unless told otherwise.
pub(crate) struct Form {
    state: State,
    escape: Escape,
    /// Unescaped bytes of the current value that are not yet decoded; never more than a piece.
    bytes: Vec<u8>,
    utf8: Decoder,
    json: Json,
}

#[derive(Clone, Copy)]
enum State {
    Start,
    Json,
    Name,
    Value,
}

/// How much of `%41` has been seen.
#[derive(Clone, Copy)]
enum Escape {
    None,
    Percent,
    Digit(u8),
}

impl Default for Form {
    fn default() -> Self {
        Self {
            state: State::Start,
            escape: Escape::None,
            bytes: Vec::new(),
            utf8: UTF_8.new_decoder_without_bom_handling(),
            json: Json::default(),
        }
    }
}

impl Form {
    fn begin(&mut self, piece: &str) {
        self.state = match piece.bytes().next() {
            Some(b'{' | b'[') => State::Json,
            _ => State::Name,
        };
    }

    /// Takes a piece of a pair up to its end, which is an equals sign or ampersand.
    fn pair_piece<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let bytes = piece.as_bytes();
        match self.state {
            State::Name => {
                let Some(end) = memchr2(b'=', b'&', bytes) else { return "" };
                if bytes[end] == b'=' {
                    self.state = State::Value;
                }
                &piece[end + 1..]
            }
            _ => {
                let end = memchr3(b'&', b'%', b'+', bytes).unwrap_or(bytes.len());
                self.value_piece(&bytes[..end]);
                match bytes.get(end) {
                    None => return "",
                    Some(b'%') => {
                        self.break_escape();
                        self.escape = Escape::Percent;
                    }
                    Some(b'+') => self.value_piece(b" "),
                    Some(_) => self.end_value(out),
                }
                &piece[end + 1..]
            }
        }
    }

    fn value_piece(&mut self, mut bytes: &[u8]) {
        while let (false, Some((first, rest))) = (matches!(self.escape, Escape::None), bytes.split_first()) {
            match (self.escape, char::from(*first).to_digit(16)) {
                (Escape::Percent, Some(_)) => self.escape = Escape::Digit(*first),
                (Escape::Digit(high), Some(low)) => {
                    let high = char::from(high).to_digit(16).unwrap_or_default();
                    self.bytes.push((high << 4 | low) as u8);
                    self.escape = Escape::None;
                }
                _ => {
                    self.break_escape();
                    break;
                }
            }
            bytes = rest;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// A percent sign that is followed by something else stands for itself.
    fn break_escape(&mut self) {
        match std::mem::replace(&mut self.escape, Escape::None) {
            Escape::None => {}
            Escape::Percent => self.bytes.push(b'%'),
            Escape::Digit(digit) => self.bytes.extend_from_slice(&[b'%', digit]),
        }
    }

    fn end_value(&mut self, out: &mut Prose) {
        self.break_escape();
        self.decode(true, out);
        self.utf8 = UTF_8.new_decoder_without_bom_handling();
        self.state = State::Name;
        out.gap();
    }

    fn decode(&mut self, last: bool, out: &mut Prose) {
        let mut text = String::new();
        crate::charset::decode_into(&mut self.utf8, &self.bytes, last, &mut text);
        self.bytes.clear();
        out.push(&text);
    }
}

impl Reader for Form {
    fn text(&mut self, mut piece: &str, out: &mut Prose) {
        if matches!(self.state, State::Start) && !piece.is_empty() {
            self.begin(piece);
        }
        if matches!(self.state, State::Json) {
            return self.json.text(piece, out);
        }
        while !piece.is_empty() {
            piece = self.pair_piece(piece, out);
        }
        self.decode(false, out);
    }

    fn finish(&mut self, out: &mut Prose) {
        self.end_value(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pieces: &[&str]) -> String {
        let (mut form, mut out, mut text) = (Form::default(), Prose::default(), String::new());
        for piece in pieces {
            form.text(piece, &mut out);
        }
        form.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    #[test]
    fn values_at_any_cut() {
        for (name, form, expected) in [
            ("pairs", "a=one+two&b=three%21", "one two\nthree!\n"),
            ("UTF-8", "a=caf%C3%A9&b=%F0%9F%98%80", "café\n\u{1f600}\n"),
            ("broken UTF-8", "a=%C3&b=x", "\u{fffd}\nx\n"),
            ("broken escapes", "a=%zz%4&b=100%&c=%%41", "%zz%4\n100%\n%A\n"),
            ("equals in a value", "a=b=c", "b=c\n"),
            ("names only", "a&b", ""),
            ("JSON", "{\"a\":\"b&c=d\"}", "b&c=d\n"),
            ("empty", "", ""),
        ] {
            assert_eq!(values(&[form]), expected, "{name}");
            for cut in 1..form.len() {
                assert_eq!(values(&[&form[..cut], &form[cut..]]), expected, "{name}, cut at {cut}");
            }
        }
    }
}
