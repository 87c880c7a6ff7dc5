//! Bytes to characters: which encoding a body is in, and decoding it as it streams.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

use crate::markup::{Markup, Tag};
use crate::media::Format;

/// How much of a document is searched for its own word on its encoding (WHATWG HTML, section 13.2.3.3).
const PRESCAN_BYTES: usize = 1024;

/// How much text, from the first byte beyond ASCII, a guess is based on.
const GUESS_BYTES: usize = 1024;

/// Most bytes of a byte order mark.
const MARK_BYTES: usize = 3;

/// Decodes a body. The encoding is that of its byte order mark, else of its `Content-Type`, else what the document
/// says about itself, else a guess from the first bytes that tell encodings apart.
pub(crate) struct Charset {
    state: State,
    at_start: bool,
}

enum State {
    /// Collecting what may hold a declaration.
    Prescan(Vec<u8>),
    /// Nothing but ASCII so far, which means the same in every encoding still possible.
    Ascii,
    /// Collecting what a guess is based on.
    Guess(Vec<u8>),
    /// Collecting what may be a byte order mark, which is right where this encoding is wrong.
    Mark(Vec<u8>, &'static Encoding),
    Utf8(Utf8),
    Other(Decoded),
}

/// Takes decoded characters.
type Sink<'s> = dyn FnMut(&str) + 's;

impl Charset {
    /// A decoder for a body of this format whose `Content-Type` names `label`.
    pub(crate) fn new(format: Format, label: Option<&str>) -> Self {
        let named = label.and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
        let state = match (named, format) {
            (Some(encoding), _) => State::marked(encoding),
            (None, Format::Html | Format::Xml) => State::Prescan(Vec::new()),
            (None, Format::Plain) => State::Ascii,
            // UTF-8 by definition (RFC 8259, section 8.1; WHATWG HTML, section 9.2.6; RFC 7578, section 5.1).
            (None, _) => State::marked(UTF_8),
        };
        Self { state, at_start: true }
    }

    /// Hands on the characters of the next bytes. Malformed ones become U+FFFD.
    pub(crate) fn decode(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) {
        while !bytes.is_empty() {
            let (collected, size) = match &mut self.state {
                State::Utf8(utf8) => return utf8.decode(bytes, sink),
                State::Other(decoded) => return decoded.decode(bytes, false, sink),
                State::Ascii => {
                    bytes = self.ascii(bytes, sink);
                    continue;
                }
                State::Prescan(head) => (head, PRESCAN_BYTES),
                State::Guess(window) => (window, GUESS_BYTES),
                State::Mark(mark, _) => (mark, MARK_BYTES),
            };
            bytes = fill(collected, bytes, size);
            if collected.len() == size {
                self.settle(false, sink);
            }
        }
    }

    /// Says that the body has ended.
    pub(crate) fn finish(&mut self, sink: &mut Sink<'_>) {
        while self.settle(true, sink) {}
        match &mut self.state {
            State::Utf8(utf8) => utf8.finish(sink),
            State::Other(decoded) => decoded.decode(&[], true, sink),
            _ => {}
        }
    }

    /// Decides on what was collected, and decodes it. Returns whether there was anything to decide.
    fn settle(&mut self, last: bool, sink: &mut Sink<'_>) -> bool {
        let (collected, next) = match std::mem::replace(&mut self.state, State::Ascii) {
            State::Prescan(head) => {
                let declared = declared_encoding(&head).map(State::marked);
                (head, declared.unwrap_or(State::Ascii))
            }
            State::Guess(window) => {
                let encoding = guess(&window, last);
                (window, if self.at_start { State::marked(encoding) } else { State::of(encoding) })
            }
            State::Mark(mut mark, encoding) => match Encoding::for_bom(&mark) {
                Some((marked, length)) => (mark.split_off(length), State::of(marked)),
                None => (mark, State::of(encoding)),
            },
            state @ (State::Ascii | State::Utf8(_) | State::Other(_)) => {
                self.state = state;
                return false;
            }
        };
        self.state = next;
        self.decode(&collected, sink);
        true
    }

    fn ascii<'a>(&mut self, bytes: &'a [u8], sink: &mut Sink<'_>) -> &'a [u8] {
        let (ascii, rest) = bytes.split_at(Encoding::ascii_valid_up_to(bytes));
        self.at_start &= ascii.is_empty();
        sink(valid(ascii));
        if !rest.is_empty() {
            self.state = State::Guess(Vec::new());
        }
        rest
    }
}

impl State {
    /// For an encoding that a byte order mark may contradict.
    fn marked(encoding: &'static Encoding) -> Self {
        Self::Mark(Vec::with_capacity(MARK_BYTES), encoding)
    }

    fn of(encoding: &'static Encoding) -> Self {
        if encoding == UTF_8 {
            return Self::Utf8(Utf8::default());
        }
        let decoder = encoding.new_decoder_without_bom_handling();
        Self::Other(Decoded { decoder, characters: String::new() })
    }
}

/// Hands on UTF-8 as it stands.
#[derive(Default)]
struct Utf8 {
    /// A character that is not complete.
    tail: Vec<u8>,
}

impl Utf8 {
    fn decode(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        let mut rest = self.complete_tail(bytes, sink);
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => return sink(text),
                Err(error) => error,
            };
            let (text, malformed) = rest.split_at(error.valid_up_to());
            sink(valid(text));
            let Some(length) = error.error_len() else { return self.tail.extend_from_slice(malformed) };
            sink(REPLACEMENT);
            rest = &malformed[length..];
        }
    }

    /// Adds to the tail what belongs to it; returns the rest.
    fn complete_tail<'a>(&mut self, bytes: &'a [u8], sink: &mut Sink<'_>) -> &'a [u8] {
        let mut rest = bytes;
        while let (false, Some((next, after))) = (self.tail.is_empty(), rest.split_first()) {
            self.tail.push(*next);
            match std::str::from_utf8(&self.tail) {
                Ok(text) => sink(text),
                Err(error) if error.error_len().is_none() => {
                    rest = after;
                    continue;
                }
                Err(_) => {
                    // The byte does not belong to it.
                    sink(REPLACEMENT);
                    self.tail.clear();
                    return rest;
                }
            }
            self.tail.clear();
            rest = after;
        }
        rest
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        if !self.tail.is_empty() {
            sink(REPLACEMENT);
            self.tail.clear();
        }
    }
}

/// What stands for malformed bytes.
const REPLACEMENT: &str = "\u{fffd}";

fn valid(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("only what was found to be UTF-8 comes here")
}

/// Any other encoding.
struct Decoded {
    decoder: Decoder,
    /// Reused from slice to slice.
    characters: String,
}

impl Decoded {
    fn decode(&mut self, bytes: &[u8], last: bool, sink: &mut Sink<'_>) {
        decode_into(&mut self.decoder, bytes, last, &mut self.characters);
        sink(&self.characters);
        self.characters.clear();
    }
}

/// Moves bytes to a buffer until it holds `size`; returns what did not fit.
fn fill<'a>(buffer: &mut Vec<u8>, bytes: &'a [u8], size: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(bytes.len().min(size - buffer.len()));
    buffer.extend_from_slice(taken);
    rest
}

/// Decodes bytes to the end of `text`.
pub(crate) fn decode_into(decoder: &mut Decoder, mut bytes: &[u8], last: bool, text: &mut String) {
    loop {
        text.reserve(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len()));
        let (result, read, _) = decoder.decode_to_string(bytes, text, last);
        bytes = &bytes[read..];
        if result == encoding_rs::CoderResult::InputEmpty {
            return;
        }
    }
}

fn guess(window: &[u8], last: bool) -> &'static Encoding {
    // The detector says so, too, but only after it has asked itself about all other encodings.
    if std::str::from_utf8(window).map_or_else(|error| error.error_len().is_none() && !last, |_| true) {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(window, last);
    detector.guess(None, Utf8Detection::Allow)
}

/// What a document's first bytes say about its encoding: a byte order mark, an XML declaration or a `meta` tag.
fn declared_encoding(head: &[u8]) -> Option<&'static Encoding> {
    match head {
        // The decoders themselves tell the marks apart.
        [0xEF, 0xBB, 0xBF, ..] | [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => return Some(UTF_8),
        [b'<', 0, b'?', 0, b'x', 0, ..] => return Some(UTF_16LE),
        [0, b'<', 0, b'?', 0, b'x', ..] => return Some(UTF_16BE),
        _ => {}
    }
    let head = String::from_utf8_lossy(head);
    let label = xml_declaration(&head).or_else(|| meta_charset(&head))?;
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    // A declaration that could be read is not in UTF-16, whatever it says.
    Some(match encoding {
        _ if encoding == UTF_16LE || encoding == UTF_16BE => UTF_8,
        _ if encoding == X_USER_DEFINED => WINDOWS_1252,
        _ => encoding,
    })
}

fn xml_declaration(head: &str) -> Option<&str> {
    let declaration = head.strip_prefix("<?xml")?.split('>').next()?;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next()
}

fn meta_charset(head: &str) -> Option<&str> {
    let mut markup = Markup::new(head);
    while let Some(tag) = markup.next_tag() {
        let Tag::Start(name) = tag else { continue };
        if !name.eq_ignore_ascii_case("meta") {
            continue;
        }
        let (mut charset, mut content, mut is_pragma) = (None, None, false);
        while let Some((name, value)) = markup.next_attribute() {
            match () {
                _ if name.eq_ignore_ascii_case("charset") => charset = Some(value),
                _ if name.eq_ignore_ascii_case("content") => content = charset_in_content(value),
                _ if name.eq_ignore_ascii_case("http-equiv") => {
                    is_pragma = value.eq_ignore_ascii_case("content-type");
                }
                _ => {}
            }
        }
        if let Some(label) = charset.or(content.filter(|_| is_pragma)) {
            return Some(label);
        }
    }
    None
}

/// The label in `text/html; charset=koi8-r`.
fn charset_in_content(content: &str) -> Option<&str> {
    let at = content.to_ascii_lowercase().find("charset")?;
    let value = content[at + "charset".len()..].trim_start().strip_prefix('=')?.trim_start();
    let value = value.trim_start_matches(['"', '\'']);
    value.split(|c: char| c.is_ascii_whitespace() || matches!(c, ';' | '"' | '\'')).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(format: Format, label: Option<&str>, pieces: &[&[u8]]) -> String {
        let (mut charset, mut text) = (Charset::new(format, label), String::new());
        for piece in pieces {
            charset.decode(piece, &mut |characters| text.push_str(characters));
        }
        charset.finish(&mut |characters| text.push_str(characters));
        text
    }

    #[test]
    fn encodings_at_any_cut() {
        let (cyrillic, ..) = encoding_rs::WINDOWS_1251.encode("Съешь же ещё этих мягких французских булок");
        let koi = [&b"<meta charset=koi8-r>"[..], b"\xD0\xD2\xC9\xD7\xC5\xD4"].concat();
        let pragma = [
            &b"<html><meta http-equiv=Content-Type content='text/html; charset=windows-1251'>"[..],
            b"\xCF\xF0\xE8",
        ]
        .concat();
        let late = [" ".repeat(3000).as_bytes(), "caf\u{e9}".as_bytes()].concat();
        for (name, format, label, bytes, expected) in [
            ("header", Format::Plain, Some("koi8-r"), &b"\xD0\xD2"[..], "пр"),
            ("mark over header", Format::Plain, Some("koi8-r"), b"\xEF\xBB\xBF\xC3\xA9", "é"),
            ("UTF-16 mark, page", Format::Html, None, b"\xFF\xFEh\0i\0", "hi"),
            ("UTF-16 mark, plain", Format::Plain, None, b"\xFE\xFF\0h\0i", "hi"),
            ("UTF-16 header", Format::Plain, Some("utf-16le"), b"h\0i\0", "hi"),
            ("UTF-16 XML", Format::Xml, None, b"<\0?\0x\0?\0>\0", "<?x?>"),
            ("unknown header", Format::Plain, Some("nonsense"), b"caf\xC3\xA9", "café"),
            ("meta", Format::Html, None, &koi, "<meta charset=koi8-r>привет"),
            (
                "pragma",
                Format::Html,
                None,
                &pragma,
                "<html><meta http-equiv=Content-Type content='text/html; charset=windows-1251'>При",
            ),
            (
                "meta says UTF-16",
                Format::Html,
                None,
                b"<meta charset=utf-16>\xC3\xA9",
                "<meta charset=utf-16>é",
            ),
            (
                "XML declaration",
                Format::Xml,
                None,
                b"<?xml version='1.0' encoding='iso-8859-1'?>\xE9",
                "<?xml version='1.0' encoding='iso-8859-1'?>é",
            ),
            ("guessed UTF-8", Format::Html, None, b"caf\xC3\xA9", "café"),
            ("guessed late", Format::Html, None, &late, &format!("{}café", " ".repeat(3000))),
            (
                "guessed Cyrillic",
                Format::Plain,
                None,
                &cyrillic,
                "Съешь же ещё этих мягких французских булок",
            ),
            ("invalid UTF-8", Format::Json, None, b"a\xFFb\xC3", "a\u{fffd}b\u{fffd}"),
            (
                "characters cut short",
                Format::Json,
                None,
                b"\xF0\x9F\x98a\xE2\x82\xE2\x82\xAC\xC3\xC3\xA9\xED\xA0\x80",
                "\u{fffd}a\u{fffd}\u{20ac}\u{fffd}\u{e9}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("half a mark", Format::Json, None, b"\xEF\xBB", "\u{fffd}"),
            ("a mark later on", Format::Json, None, b"a\xEF\xBB\xBF", "a\u{feff}"),
            ("nothing", Format::Html, None, b"", ""),
        ] {
            assert_eq!(decode(format, label, &[bytes]), expected, "{name}");
            for cut in 1..bytes.len() {
                assert_eq!(
                    decode(format, label, &[&bytes[..cut], &bytes[cut..]]),
                    expected,
                    "{name}, cut {cut}"
                );
            }
        }
    }
}
