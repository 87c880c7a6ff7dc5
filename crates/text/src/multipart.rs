//! Reads the text parts of `multipart/form-data` (RFC 7578) and other bodies of many parts; files are left out.

use memchr::memmem::{self, Finder};

use crate::media::MediaType;
use crate::prose::Prose;
use crate::reader::Reader;

/// Longest boundary (RFC 2046, section 5.1.1, allows 70).
const MAX_BOUNDARY_BYTES: usize = 200;

/// Longest head of a part. A longer one is cut off, and its part read as text.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Reads parts. Without a usable boundary everything is text.
pub(crate) struct Multipart {
    /// A line feed, two hyphens and the boundary; nothing where there is no boundary.
    delimiter: Option<Finder<'static>>,
    state: State,
    /// What may be the beginning of a delimiter or belongs to a head.
    held: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary, or in a part that is not read.
    Skipped,
    /// In the lines between a boundary and its part.
    Head,
    /// In a part that is read.
    Text,
}

impl Multipart {
    pub(crate) fn new(boundary: Option<&str>) -> Self {
        let boundary = boundary.filter(|text| !text.is_empty() && text.len() <= MAX_BOUNDARY_BYTES);
        Self {
            delimiter: boundary.map(|text| Finder::new(&format!("\n--{text}")).into_owned()),
            state: State::Skipped,
            // The first boundary has no line before it.
            held: String::from("\n"),
        }
    }

    /// Reads what is held as far as its meaning is certain; returns how far that was.
    fn read(&mut self, held: &str, delimiter: &Finder<'_>, out: &mut Prose) -> usize {
        let mut at = 0;
        loop {
            let rest = &held[at..];
            if self.state == State::Head {
                let Some((head, after)) = split_head(rest) else { return at };
                self.state = if is_text_part(head) { State::Text } else { State::Skipped };
                at = held.len() - after.len();
                continue;
            }
            let found = delimiter.find(rest.as_bytes());
            let end = found.unwrap_or_else(|| safe_length(rest, delimiter));
            if self.state == State::Text {
                out.push(&rest[..end]);
            }
            at += end;
            if found.is_none() {
                return at;
            }
            at += delimiter.needle().len();
            out.gap();
            self.state = State::Head;
        }
    }
}

/// Splits a part's head off once it is complete, or too long to wait for. The line feed that ends the head stays
/// with the part: where the part is empty, it opens the next delimiter.
fn split_head(held: &str) -> Option<(&str, &str)> {
    let window = &held.as_bytes()[..held.len().min(MAX_HEAD_BYTES)];
    let end = memmem::find(window, b"\n\r\n")
        .map(|at| at + 2)
        .into_iter()
        .chain(memmem::find(window, b"\n\n").map(|at| at + 1))
        .min();
    match end {
        Some(end) => Some(held.split_at(end)),
        None if held.len() > MAX_HEAD_BYTES => Some(held.split_at(held.floor_char_boundary(MAX_HEAD_BYTES))),
        None => None,
    }
}

/// How much of a text cannot belong to a delimiter that goes on in the next piece.
fn safe_length(text: &str, delimiter: &Finder<'_>) -> usize {
    text.floor_char_boundary(text.len().saturating_sub(delimiter.needle().len() - 1))
}

/// Whether a part with this head is typed text: no file, and no other type than text or JSON.
fn is_text_part(head: &str) -> bool {
    head.lines().filter_map(|line| line.split_once(':')).all(|(name, value)| {
        let (name, value) = (name.trim(), MediaType::parse(value));
        if name.eq_ignore_ascii_case("content-disposition") {
            return value.parameter("filename").is_none() && value.parameter("filename*").is_none();
        }
        !name.eq_ignore_ascii_case("content-type") || value.format().is_some()
    })
}

impl Reader for Multipart {
    fn text(&mut self, piece: &str, out: &mut Prose) {
        let Some(delimiter) = self.delimiter.take() else { return out.push(piece) };
        let mut held = std::mem::take(&mut self.held);
        held.push_str(piece);
        let read = self.read(&held, &delimiter, out);
        held.drain(..read);
        self.held = held;
        self.delimiter = Some(delimiter);
    }

    fn finish(&mut self, out: &mut Prose) {
        if self.state == State::Text {
            out.push(&self.held);
        }
        out.gap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(boundary: Option<&str>, pieces: &[&str]) -> String {
        let (mut parts, mut out, mut text) = (Multipart::new(boundary), Prose::default(), String::new());
        for piece in pieces {
            parts.text(piece, &mut out);
        }
        parts.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    const BODY: &str = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfirst ä\r\n--not\r\n\
        --XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\nfile\r\n\
        --XX\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n\r\n\
        --XX\r\nContent-Disposition: form-data; name=\"b\"\r\nContent-Type: image/png\r\n\r\nbinary\r\n\
        --XX\r\nContent-Disposition: form-data; name=\"c\"\r\nContent-Type: application/json\r\n\r\n{\"x\":1}\r\n--XX--\r\n";

    #[test]
    fn text_parts_at_any_cut() {
        let expected = "\nfirst ä\r\n--not\r\n\r\n{\"x\":1}\r";
        let whole = read(Some("XX"), &[BODY]);
        assert_eq!(
            whole.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
        for cut in (1..BODY.len()).filter(|cut| BODY.is_char_boundary(*cut)) {
            assert_eq!(read(Some("XX"), &[&BODY[..cut], &BODY[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn odd_bodies() {
        for (name, boundary, body, expected) in [
            ("no boundary", None, "a b", "a b"),
            ("empty boundary", Some(""), "a b", "a b"),
            ("no parts", Some("X"), "preamble", ""),
            ("unfinished head", Some("X"), "--X\r\nA: b", ""),
            ("unfinished part", Some("X"), "--X\r\n\r\nwords", "words"),
        ] {
            assert_eq!(read(boundary, &[body]).trim(), expected, "{name}");
        }
    }

    #[test]
    fn a_long_head_ends() {
        let body = format!("--X\r\nA: {}\r\n\r\nwords\r\n--X--", "b".repeat(2 * MAX_HEAD_BYTES));
        assert!(read(Some("X"), &[&body]).contains("words"));
    }
}
