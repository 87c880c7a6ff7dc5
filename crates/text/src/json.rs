//! Reads the string values of JSON, unescaped, without recursion and without keeping them.

use memchr::memchr2;

use crate::prose::Prose;
use crate::reader::Reader;

/// How deep it is known whether a string is a key. Deeper strings all count as values.
const MAX_KNOWN_DEPTH: usize = 512;

/// Longest key that a receiver of values is told in full: of longer ones it is told the beginning.
const MAX_KEY_BYTES: usize = 32;

/// Receives string values in pieces.
pub(crate) trait Values {
    /// A value begins; `key` is the nearest key before it.
    fn begin(&mut self, key: &str);

    /// The next piece of the value.
    fn piece(&mut self, piece: &str);
}

impl Values for Prose {
    fn begin(&mut self, _key: &str) {
        self.gap();
    }

    fn piece(&mut self, piece: &str) {
        self.push(piece);
    }
}

/// Reads JSON that arrives in pieces. What is not JSON passes for as long as it has quotes.
#[derive(Default)]
pub(crate) struct Json {
    state: State,
    string_is_key: bool,
    /// The first half of a surrogate pair.
    high_surrogate: Option<u16>,
    containers: Vec<Container>,
    unknown_depth: u64,
    expects_key: bool,
    key: String,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Outside,
    String,
    Escape,
    Unicode {
        digits: u8,
        value: u16,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

impl Json {
    /// Takes the next characters.
    pub(crate) fn read(&mut self, mut piece: &str, values: &mut dyn Values) {
        while !piece.is_empty() {
            piece = match self.state {
                State::Outside => self.outside(piece, values),
                State::String => self.string(piece, values),
                State::Escape => self.escape(piece, values),
                State::Unicode { digits, value } => self.unicode(digits, value, piece, values),
            };
        }
    }

    /// Forgets everything: a new text begins.
    pub(crate) fn reset(&mut self) {
        let mut containers = std::mem::take(&mut self.containers);
        containers.clear();
        *self = Self { containers, ..Self::default() };
    }

    fn outside<'a>(&mut self, piece: &'a str, values: &mut dyn Values) -> &'a str {
        for (at, byte) in piece.bytes().enumerate() {
            match byte {
                b'{' => self.enter(Container::Object),
                b'[' => self.enter(Container::Array),
                b'}' | b']' => self.leave(),
                b',' => self.expects_key = self.is_in_object(),
                b':' => self.expects_key = false,
                b'"' => {
                    self.begin_string(values);
                    return &piece[at + 1..];
                }
                _ => {}
            }
        }
        ""
    }

    fn enter(&mut self, container: Container) {
        if self.containers.len() == MAX_KNOWN_DEPTH {
            self.unknown_depth += 1;
        } else {
            self.containers.push(container);
        }
        self.expects_key = self.is_in_object();
    }

    fn leave(&mut self) {
        if self.unknown_depth > 0 {
            self.unknown_depth -= 1;
        } else {
            self.containers.pop();
        }
        self.expects_key = false;
    }

    fn is_in_object(&self) -> bool {
        self.unknown_depth == 0 && self.containers.last() == Some(&Container::Object)
    }

    fn begin_string(&mut self, values: &mut dyn Values) {
        self.state = State::String;
        self.string_is_key = self.expects_key;
        if self.string_is_key {
            self.key.clear();
        } else {
            values.begin(&self.key);
        }
    }

    fn string<'a>(&mut self, piece: &'a str, values: &mut dyn Values) -> &'a str {
        let bytes = piece.as_bytes();
        let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
        if end > 0 {
            self.flush_surrogate(values);
            self.emit(&piece[..end], values);
        }
        match bytes.get(end) {
            None => return "",
            Some(b'\\') => self.state = State::Escape,
            Some(_) => {
                self.flush_surrogate(values);
                self.state = State::Outside;
            }
        }
        &piece[end + 1..]
    }

    fn escape<'a>(&mut self, piece: &'a str, values: &mut dyn Values) -> &'a str {
        let Some(escaped) = piece.chars().next() else { return "" };
        let rest = &piece[escaped.len_utf8()..];
        if escaped == 'u' {
            self.state = State::Unicode { digits: 0, value: 0 };
            return rest;
        }
        self.state = State::String;
        self.flush_surrogate(values);
        let meant = match escaped {
            'n' | 'r' => '\n',
            't' | 'b' | 'f' => ' ',
            other => other,
        };
        self.emit(meant.encode_utf8(&mut [0; 4]), values);
        rest
    }

    fn unicode<'a>(&mut self, digits: u8, value: u16, piece: &'a str, values: &mut dyn Values) -> &'a str {
        let Some(digit) = piece.as_bytes().first().and_then(|byte| char::from(*byte).to_digit(16)) else {
            // Not an escape after all: nothing that a person could have read.
            self.state = State::String;
            return piece;
        };
        let value = value << 4 | digit as u16;
        if digits < 3 {
            self.state = State::Unicode { digits: digits + 1, value };
        } else {
            self.state = State::String;
            self.code_unit(value, values);
        }
        &piece[1..]
    }

    fn code_unit(&mut self, unit: u16, values: &mut dyn Values) {
        if let (Some(high), 0xDC00..=0xDFFF) = (self.high_surrogate, unit) {
            self.high_surrogate = None;
            let pair = char::decode_utf16([high, unit]).next().and_then(Result::ok);
            return self.emit_char(pair, values);
        }
        self.flush_surrogate(values);
        match unit {
            0xD800..=0xDBFF => self.high_surrogate = Some(unit),
            _ => self.emit_char(char::from_u32(u32::from(unit)), values),
        }
    }

    /// A surrogate without its other half stands for a character that is not there.
    fn flush_surrogate(&mut self, values: &mut dyn Values) {
        if self.high_surrogate.take().is_some() {
            self.emit_char(None, values);
        }
    }

    fn emit_char(&mut self, character: Option<char>, values: &mut dyn Values) {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.emit(character.encode_utf8(&mut [0; 4]), values);
    }

    fn emit(&mut self, piece: &str, values: &mut dyn Values) {
        if !self.string_is_key {
            return values.piece(piece);
        }
        // Character by character, so that it makes no difference how a long key is cut.
        for character in piece.chars() {
            if self.key.len() >= MAX_KEY_BYTES {
                break;
            }
            self.key.push(character);
        }
    }
}

impl Reader for Json {
    fn text(&mut self, piece: &str, out: &mut Prose) {
        self.read(piece, out);
    }

    fn finish(&mut self, out: &mut Prose) {
        out.gap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pieces: &[&str]) -> String {
        let (mut json, mut out, mut text) = (Json::default(), Prose::default(), String::new());
        for piece in pieces {
            json.text(piece, &mut out);
        }
        json.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    #[test]
    fn values_at_any_cut() {
        for (name, json, expected) in [
            ("object", r#"{"key": "value", "n": 1, "b": "c"}"#, "value\nc\n"),
            ("array", r#"["a", "b", {"c": ["d", "e"]}]"#, "a\nb\nd\ne\n"),
            ("lone string", r#""a""#, "a\n"),
            ("escapes", r#"["a\"b\\c\/d\te"]"#, "a\"b\\c/d e\n"),
            ("unicode", r#"["\u0073uicide \u00e9"]"#, "suicide \u{e9}\n"),
            ("surrogate pair", r#"["\ud83d\ude00"]"#, "\u{1f600}\n"),
            (
                "lone surrogates",
                r#"["\ud83dx", "\ude00", "\ud83d", "\ud83d\ud83d\ude00"]"#,
                "\u{fffd}x\n\u{fffd}\n\u{fffd}\n\u{fffd}\u{1f600}\n",
            ),
            ("broken escape", r#"["\u00zz"]"#, "zz\n"),
            ("accents", r#"["ä\ö"]"#, "äö\n"),
            ("guarded", ")]}',\n[\"a\"]", "a\n"),
            ("unclosed", r#"{"a": "b"#, "b\n"),
        ] {
            assert_eq!(values(&[json]), expected, "{name}");
            for cut in (1..json.len()).filter(|cut| json.is_char_boundary(*cut)) {
                assert_eq!(values(&[&json[..cut], &json[cut..]]), expected, "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn a_million_levels() {
        let mut json = "[".repeat(1_000_000);
        json.push_str(r#"{"key": "deep"}"#);
        json.push_str(&"]".repeat(1_000_000));
        assert_eq!(values(&["{\"a\":", &json, ",\"b\":\"end\"}"]), "key\ndeep\nend\n");
    }
}
