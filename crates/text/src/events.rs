//! Reads streams of small JSON texts: server-sent events and JSON lines. Chat assistants answer that way, a few
//! letters at a time, so the words of one event go on in the next.

use memchr::memchr2;

use crate::json::{Json, Values};
use crate::prose::Prose;
use crate::reader::Reader;

/// The keys under which services send the next few letters of an answer.
const FRAGMENT_KEYS: [&str; 11] = [
    "answer",
    "completion",
    "content",
    "delta",
    "output_text",
    "parts",
    "response",
    "text",
    "token",
    "v",
    "value",
];

/// Most text of one event that is held until its end.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// Sorts the values of one event: fragments of an answer, which continue those of the event before, and the rest,
/// which is kept apart from them.
#[derive(Default)]
struct Fragments {
    answer: String,
    others: String,
    in_answer: bool,
    /// Whether this stream has been an answer so far.
    has_answered: bool,
    /// Whether the current event is too long to be held.
    spilled: bool,
}

impl Fragments {
    /// Writes out an event that is over. In an answer, other values are written only where they are more than a
    /// word: names of models and message ids would otherwise tear every word of the answer apart.
    fn end_event(&mut self, out: &mut Prose) {
        self.release(out);
        if self.spilled {
            out.gap();
            self.spilled = false;
        }
    }

    fn release(&mut self, out: &mut Prose) {
        self.has_answered |= !self.answer.is_empty();
        out.push(&self.answer);
        for value in self.others.lines().filter(|value| !self.has_answered || value.trim().contains(' ')) {
            out.aside(value);
        }
        self.answer.clear();
        self.others.clear();
    }
}

/// [`Fragments`] with the way out, for when an event is too long to be held.
struct Sorted<'a> {
    fragments: &'a mut Fragments,
    out: &'a mut Prose,
}

impl Values for Sorted<'_> {
    fn begin(&mut self, key: &str) {
        let fragments = &mut *self.fragments;
        fragments.in_answer = FRAGMENT_KEYS.contains(&key);
        if fragments.spilled {
            self.out.gap();
        } else if !fragments.in_answer {
            fragments.others.push('\n');
        } else if !fragments.answer.is_empty() {
            fragments.answer.push('\n');
        }
    }

    fn piece(&mut self, piece: &str) {
        let fragments = &mut *self.fragments;
        let room = MAX_HELD_BYTES.saturating_sub(fragments.answer.len() + fragments.others.len());
        let held = if fragments.spilled { 0 } else { piece.floor_char_boundary(room) };
        let side = if fragments.in_answer { &mut fragments.answer } else { &mut fragments.others };
        side.push_str(&piece[..held]);
        if held < piece.len() {
            fragments.release(self.out);
            fragments.spilled = true;
            self.out.push(&piece[held..]);
        }
    }
}

/// Reads JSON texts, one a line (NDJSON, JSON lines, JSON text sequences).
#[derive(Default)]
pub(crate) struct JsonLines {
    json: Json,
    fragments: Fragments,
}

impl Reader for JsonLines {
    fn text(&mut self, piece: &str, out: &mut Prose) {
        for line in piece.split_inclusive('\n') {
            self.json.read(line, &mut Sorted { fragments: &mut self.fragments, out });
            if line.ends_with('\n') {
                self.json.reset();
                self.fragments.end_event(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Prose) {
        self.fragments.end_event(out);
        out.gap();
    }
}

/// Reads server-sent events (WHATWG HTML, section 9.2.6): the `data` of each.
#[derive(Default)]
pub(crate) struct Events {
    line: Line,
    payload: Payload,
    json: Json,
    fragments: Fragments,
    after_carriage_return: bool,
}

/// Where in a line we are.
#[derive(Default)]
enum Line {
    #[default]
    Start,
    /// In a field's name, having seen this much of `data`.
    Name {
        matched: usize,
    },
    /// After the colon of a `data` field, where one space is not part of the value.
    BeforeValue,
    Value,
    /// In a line that is not read.
    Skipped,
}

/// What the data of the current event looks like.
#[derive(Default)]
enum Payload {
    #[default]
    Unknown,
    Json,
    Plain,
}

const DATA_FIELD: &[u8] = b"data";

impl Events {
    fn line_piece<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let end = memchr2(b'\n', b'\r', piece.as_bytes()).unwrap_or(piece.len());
        let (content, rest) = piece.split_at(end);
        self.field_piece(content, out);
        let Some(line_end) = rest.bytes().next() else { return "" };
        self.end_line(out);
        self.after_carriage_return = line_end == b'\r';
        &rest[1..]
    }

    fn field_piece(&mut self, mut piece: &str, out: &mut Prose) {
        while let Some(first) = piece.bytes().next() {
            match self.line {
                Line::Start => self.line = Line::Name { matched: 0 },
                Line::Name { matched } if DATA_FIELD.get(matched) == Some(&first) => {
                    self.line = Line::Name { matched: matched + 1 };
                    piece = &piece[1..];
                }
                Line::Name { matched } if matched == DATA_FIELD.len() && first == b':' => {
                    self.line = Line::BeforeValue;
                    piece = &piece[1..];
                }
                Line::Name { .. } => self.line = Line::Skipped,
                Line::BeforeValue => {
                    self.line = Line::Value;
                    piece = piece.strip_prefix(' ').unwrap_or(piece);
                }
                Line::Value => return self.value_piece(piece, out),
                Line::Skipped => return,
            }
        }
    }

    fn value_piece(&mut self, mut piece: &str, out: &mut Prose) {
        if matches!(self.payload, Payload::Unknown) {
            // White space says nothing of what follows, and may come in a piece of its own.
            piece = piece.trim_ascii_start();
            self.payload = match piece.as_bytes().first() {
                None => return,
                Some(b'{' | b'[' | b'"') => Payload::Json,
                Some(_) => Payload::Plain,
            };
        }
        match self.payload {
            Payload::Json => self.json.read(piece, &mut Sorted { fragments: &mut self.fragments, out }),
            Payload::Plain | Payload::Unknown => out.push(piece),
        }
    }

    fn end_line(&mut self, out: &mut Prose) {
        match self.line {
            Line::Start => self.end_event(out),
            _ if matches!(self.payload, Payload::Plain) => out.gap(),
            _ => {}
        }
        self.line = Line::Start;
    }

    fn end_event(&mut self, out: &mut Prose) {
        self.json.reset();
        self.payload = Payload::Unknown;
        self.fragments.end_event(out);
    }
}

impl Reader for Events {
    fn text(&mut self, mut piece: &str, out: &mut Prose) {
        while !piece.is_empty() {
            if std::mem::take(&mut self.after_carriage_return)
                && let Some(rest) = piece.strip_prefix('\n')
            {
                piece = rest;
                continue;
            }
            piece = self.line_piece(piece, out);
        }
    }

    fn finish(&mut self, out: &mut Prose) {
        self.end_event(out);
        out.gap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut reader: impl Reader, pieces: &[&str]) -> String {
        let (mut out, mut text) = (Prose::default(), String::new());
        for piece in pieces {
            reader.text(piece, &mut out);
        }
        reader.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    #[test]
    fn events_at_any_cut() {
        for (name, stream, expected) in [
            (
                "plain",
                "event: a\ndata: one\ndata:  two\n\n: note\nid: 1\n\ndata:three\n\n",
                "one\n two\nthree\n",
            ),
            ("white space in front", "data:   one\n\n", "one\n"),
            ("carriage returns", "data: one\r\n\r\ndata: two\r\rdata: three\r\n", "one\ntwo\nthree\n"),
            (
                "a chat answer",
                "data: {\"id\":\"c-1\",\"choices\":[{\"delta\":{\"content\":\"su\"}}]}\n\n\
                 data: {\"id\":\"c-1\",\"choices\":[{\"delta\":{\"content\":\"icide\"}}]}\n\ndata: [DONE]\n\n",
                "suicide\n",
            ),
            (
                "another",
                "event: x\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"he\"}\n\n\
                 event: x\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"llo\"}\n\n",
                "hello\n",
            ),
            (
                "a long value beside",
                "data: {\"v\":\"a\",\"title\":\"my day\"}\n\ndata: {\"v\":\"b\"}\n\n",
                "a\nmy day\nb\n",
            ),
            (
                "a sign of life within a word",
                "data: {\"text\":\"su\"}\n\ndata: {\"type\":\"ping\"}\n\ndata: {\"text\":\"icide\"}\n\n",
                "suicide\n",
            ),
            (
                "a key that is too long for one",
                "data: {\"text\":\"a\"}\n\ndata: {\"text-of-more-than-thirty-two-letters\":\"b c\"}\n\n",
                "a\nb c\n",
            ),
            ("no answer", "data: {\"name\":\"one\",\"x\":\"two\"}\n\n", "one\ntwo\n"),
            ("JSON over lines", "data: {\"name\":\ndata: \"one\"}\n\n", "one\n"),
            ("unfinished", "data: {\"content\":\"on", "on\n"),
            ("no data", "database: x\ndata\n\nretry: 1\n\n", ""),
        ] {
            assert_eq!(read(Events::default(), &[stream]), expected, "{name}");
            for cut in 1..stream.len() {
                let pieces = [&stream[..cut], &stream[cut..]];
                assert_eq!(read(Events::default(), &pieces), expected, "{name}, cut at {cut}");
            }
        }
    }

    #[test]
    fn lines() {
        let lines = "{\"model\":\"m\",\"response\":\"su\"}\n{\"model\":\"m\",\"response\":\"icide\"}\n{broken\n{\"a\":\"b c\"}";
        assert_eq!(read(JsonLines::default(), &[lines]), "suicide\nb c\n");
        for cut in 1..lines.len() {
            assert_eq!(
                read(JsonLines::default(), &[&lines[..cut], &lines[cut..]]),
                "suicide\nb c\n",
                "{cut}"
            );
        }
    }

    #[test]
    fn a_long_event_is_not_held() {
        let long = "ä".repeat(MAX_HELD_BYTES);
        let stream =
            format!("data: {{\"name\":\"x y\",\"content\":\"{long}\"}}\n\ndata: {{\"content\":\"b\"}}\n\n");
        let whole = read(Events::default(), &[&stream]);
        assert!(whole.contains(&long[..MAX_HELD_BYTES - 100]) && whole.ends_with("\nb\n"));
        let middle = stream.len() / 2;
        let cut = stream.floor_char_boundary(middle);
        assert_eq!(read(Events::default(), &[&stream[..cut], &stream[cut..]]), whole);
    }
}
