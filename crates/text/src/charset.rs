//! Bytes to characters: which encoding a body is in, and decoding it as it streams.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

use crate::markup::{Markup, Tag};
use crate::media::Format;

/// How much of a document is searched for its own word on its encoding (WHATWG HTML, section 13.2.3.3).
const PRESCAN_BYTES: usize = 1024;

/// How much text, from the first byte beyond ASCII, a guess is based on.
const GUESS_BYTES: usize = 1024;

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
    Known(Decoder),
}

impl Charset {
    /// A decoder for a body of this format whose `Content-Type` names `label`.
    pub(crate) fn new(format: Format, label: Option<&str>) -> Self {
        let named = label.and_then(|label| Encoding::for_label_no_replacement(label.as_bytes()));
        let state = match (named, format) {
            (Some(encoding), _) => State::Known(encoding.new_decoder()),
            (None, Format::Html | Format::Xml) => State::Prescan(Vec::new()),
            (None, Format::Plain) => State::Ascii,
            // UTF-8 by definition (RFC 8259, section 8.1; WHATWG HTML, section 9.2.6; RFC 7578, section 5.1).
            (None, _) => State::Known(UTF_8.new_decoder()),
        };
        Self { state, at_start: true }
    }

    /// Appends the characters of the next bytes. Malformed ones become U+FFFD.
    pub(crate) fn decode(&mut self, mut bytes: &[u8], text: &mut String) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Known(decoder) => {
                    decode_into(decoder, bytes, false, text);
                    return;
                }
                State::Ascii => self.ascii(bytes, text),
                State::Prescan(head) => {
                    let rest = fill(head, bytes, PRESCAN_BYTES);
                    if head.len() == PRESCAN_BYTES {
                        self.settle(false, text);
                    }
                    rest
                }
                State::Guess(window) => {
                    let rest = fill(window, bytes, GUESS_BYTES);
                    if window.len() == GUESS_BYTES {
                        self.settle(false, text);
                    }
                    rest
                }
            };
        }
    }

    /// Says that the body has ended.
    pub(crate) fn finish(&mut self, text: &mut String) {
        while !matches!(self.state, State::Known(_)) {
            if !self.settle(true, text) {
                return;
            }
        }
        if let State::Known(decoder) = &mut self.state {
            decode_into(decoder, &[], true, text);
        }
    }

    /// Decides on what was collected, and decodes it. Returns whether there was anything to decide.
    fn settle(&mut self, last: bool, text: &mut String) -> bool {
        let (collected, next) = match std::mem::replace(&mut self.state, State::Ascii) {
            State::Prescan(head) => {
                let declared = declared_encoding(&head).map(|encoding| State::Known(encoding.new_decoder()));
                (head, declared.unwrap_or(State::Ascii))
            }
            State::Guess(window) => {
                let encoding = guess(&window, last);
                let decoder = if self.at_start {
                    encoding.new_decoder()
                } else {
                    encoding.new_decoder_without_bom_handling()
                };
                (window, State::Known(decoder))
            }
            state @ (State::Ascii | State::Known(_)) => {
                self.state = state;
                return false;
            }
        };
        self.state = next;
        self.decode(&collected, text);
        true
    }

    fn ascii<'a>(&mut self, bytes: &'a [u8], text: &mut String) -> &'a [u8] {
        let (ascii, rest) = bytes.split_at(Encoding::ascii_valid_up_to(bytes));
        self.at_start &= ascii.is_empty();
        text.push_str(&String::from_utf8_lossy(ascii));
        if !rest.is_empty() {
            self.state = State::Guess(Vec::new());
        }
        rest
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
            charset.decode(piece, &mut text);
        }
        charset.finish(&mut text);
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
