//! Reads the words of HTML. The page is told apart in text, tags and comments as a browser does (WHATWG HTML, section
//! 13.2.5); what of that is for people, `page` says.
//!
//! Nothing is kept of a page but where in it the reader stands, the names of the tag and attribute being read, and the
//! value of an attribute that matters. So no markup, however long or deep, needs memory.

use memchr::{memchr, memchr3};

use crate::markup::Name;
use crate::page::{Closing, Content, Page, TagKind};
use crate::prose::Prose;
use crate::reader::Reader;

/// Most of an attribute's value that is read, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Reads HTML that arrives in pieces.
#[derive(Default)]
pub(crate) struct Html {
    state: State,
    content: Content,
    escape: Escape,
    /// What follows `<` in raw content, or `<!`, until it is clear what it is.
    held: String,
    /// The name of the last start tag, whose end tag ends raw content.
    raw_name: Name,
    kind: TagKind,
    name: Name,
    attribute: Name,
    /// Whether the attribute's value matters.
    is_wanted: bool,
    /// That value as it is written, as far as pieces before held it.
    value: String,
    page: Page,
}

/// Where in the markup we are. The names are those of the WHATWG tokenizer's states, some taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After `<` in markup.
    TagOpen,
    /// After `</` in markup.
    EndTagOpen,
    /// After `<` in raw content; what follows is held.
    RawLessThan,
    /// After `]` in a data section, one or two of them.
    DataBrackets(usize),
    TagName,
    BeforeAttributeName,
    AttributeName,
    AfterAttributeName,
    BeforeAttributeValue,
    AttributeValue(ValueEnd),
    /// After `/` in a tag.
    SelfClosing,
    /// After `<!`; what follows is held.
    Declaration,
    /// In a comment: its last bytes, those of its beginning among them; and how many bytes it has, up to three.
    Comment {
        last: [u8; 3],
        length: usize,
    },
    BogusComment,
}

/// What ends an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueEnd {
    Quote(u8),
    /// White space, or the end of the tag.
    Space,
}

/// How far a script has hidden its end tag: `<!-- <script> </script> -->` is part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After `<!--`, and so many hyphens.
    Once { hyphens: usize },
    /// After `<script` within that.
    Twice { hyphens: usize },
}

impl Html {
    /// Takes one step and returns what is left of the piece.
    fn step<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        match self.state {
            State::Text => self.text_piece(piece, out),
            State::TagOpen => self.tag_open(piece, out),
            State::EndTagOpen => self.end_tag_open(piece, out),
            State::RawLessThan => self.raw_less_than(piece, out),
            State::DataBrackets(count) => self.data_brackets(count, piece, out),
            State::TagName => self.tag_name(piece, out),
            State::BeforeAttributeName => self.before_attribute_name(piece, out),
            State::AttributeName => self.attribute_name(piece, out),
            State::AfterAttributeName => self.after_attribute_name(piece, out),
            State::BeforeAttributeValue => self.before_attribute_value(piece, out),
            State::AttributeValue(end) => self.attribute_value(end, piece, out),
            State::SelfClosing => match piece.strip_prefix('>') {
                Some(rest) => self.end_tag(Closing::SelfClosing, rest, out),
                None => self.go_to(State::BeforeAttributeName, piece),
            },
            State::Declaration => self.declaration(piece),
            State::Comment { last, length } => self.comment(last, length, piece),
            State::BogusComment => match memchr(b'>', piece.as_bytes()) {
                Some(end) => self.go_to(State::Text, &piece[end + 1..]),
                None => "",
            },
        }
    }

    fn go_to<'a>(&mut self, state: State, rest: &'a str) -> &'a str {
        self.state = state;
        rest
    }

    fn text_piece<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let (ends, state) = match self.content {
            Content::Markup => (b'<', State::TagOpen),
            Content::Escapable | Content::Example | Content::Hidden => (b'<', State::RawLessThan),
            Content::Script | Content::LinkedData if self.escape == Escape::None => {
                (b'<', State::RawLessThan)
            }
            Content::Script | Content::LinkedData => return self.escaped_piece(piece, out),
            Content::Data => (b']', State::DataBrackets(1)),
            Content::Plain => {
                self.page.text(Content::Plain, piece, out);
                return "";
            }
        };
        let end = memchr(ends, piece.as_bytes());
        self.page.text(self.content, &piece[..end.unwrap_or(piece.len())], out);
        let Some(end) = end else { return "" };
        self.held.clear();
        self.go_to(state, &piece[end + 1..])
    }

    /// Reads on within `<!-- … -->` in a script.
    fn escaped_piece<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let (Escape::Once { hyphens } | Escape::Twice { hyphens }) = &mut self.escape else { return piece };
        let Some(at) = memchr3(b'-', b'<', b'>', piece.as_bytes()) else {
            *hyphens = 0;
            self.page.text(self.content, piece, out);
            return "";
        };
        if at > 0 {
            *hyphens = 0;
        }
        match piece.as_bytes()[at] {
            b'-' => *hyphens = (*hyphens + 1).min(2),
            b'>' if *hyphens == 2 => self.escape = Escape::None,
            byte => {
                *hyphens = 0;
                if byte == b'<' {
                    self.page.text(self.content, &piece[..at], out);
                    self.held.clear();
                    return self.go_to(State::RawLessThan, &piece[at + 1..]);
                }
            }
        }
        let (read, rest) = piece.split_at(at + 1);
        self.page.text(self.content, read, out);
        rest
    }

    fn tag_open<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        match piece.as_bytes() {
            [first, ..] if first.is_ascii_alphabetic() => self.begin_tag(TagKind::Start, piece),
            [b'/', ..] => self.go_to(State::EndTagOpen, &piece[1..]),
            [b'!', ..] => {
                self.page.end_text(out);
                self.held.clear();
                self.go_to(State::Declaration, &piece[1..])
            }
            [b'?', ..] => {
                self.page.end_text(out);
                self.go_to(State::BogusComment, &piece[1..])
            }
            _ => {
                self.page.text(self.content, "<", out);
                self.go_to(State::Text, piece)
            }
        }
    }

    fn end_tag_open<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        match piece.as_bytes() {
            [first, ..] if first.is_ascii_alphabetic() => self.begin_tag(TagKind::End, piece),
            [b'>', ..] => {
                self.page.end_text(out);
                self.go_to(State::Text, &piece[1..])
            }
            _ => {
                self.page.end_text(out);
                self.go_to(State::BogusComment, piece)
            }
        }
    }

    /// Reads on after `<` in raw content until it is clear what it is: the end tag, or something else.
    fn raw_less_than<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        for (at, byte) in piece.bytes().enumerate() {
            let is_whole = ENDS_TAG_NAME[usize::from(byte)];
            if is_whole && self.holds_end_tag() && !matches!(self.escape, Escape::Twice { .. }) {
                self.name = self.raw_name;
                self.page.begin_tag(TagKind::End, self.name, out);
                return self.within_tag(&piece[at..], out);
            }
            match self.escape {
                Escape::Twice { .. } if is_whole && self.holds_end_tag() => {
                    self.escape = Escape::Once { hyphens: 0 };
                }
                Escape::Once { .. } if is_whole && self.held.eq_ignore_ascii_case("script") => {
                    self.escape = Escape::Twice { hyphens: 0 };
                }
                _ if byte.is_ascii() && self.may_go_on_with(byte) => {
                    self.held.push(char::from(byte));
                    if self.held != "!--" {
                        continue;
                    }
                    self.escape = Escape::Once { hyphens: 2 };
                    self.release_held(out);
                    return &piece[at + 1..];
                }
                _ => {}
            }
            self.release_held(out);
            return &piece[at..];
        }
        ""
    }

    fn holds_end_tag(&self) -> bool {
        let name = self.raw_name.as_bytes();
        matches!(self.held.as_bytes().split_first(), Some((b'/', held)) if held.eq_ignore_ascii_case(name))
    }

    /// Whether what is held and this byte are the beginning of something.
    fn may_go_on_with(&self, byte: u8) -> bool {
        let is_next = |expected: &[u8], held: &[u8]| {
            expected.len() > held.len()
                && expected[..held.len()].eq_ignore_ascii_case(held)
                && expected[held.len()].eq_ignore_ascii_case(&byte)
        };
        let held = self.held.as_bytes();
        let is_script = matches!(self.content, Content::Script | Content::LinkedData);
        match held.split_first() {
            None => {
                byte == b'/'
                    || (is_script && self.escape == Escape::None && byte == b'!')
                    || (matches!(self.escape, Escape::Once { .. }) && is_next(b"script", held))
            }
            Some((b'/', name)) => is_next(self.raw_name.as_bytes(), name),
            Some((b'!', _)) => is_next(b"!--", held),
            Some(_) => is_next(b"script", held),
        }
    }

    /// What was held is text after all.
    fn release_held(&mut self, out: &mut Prose) {
        self.page.text(self.content, "<", out);
        self.page.text(self.content, &self.held, out);
        self.state = State::Text;
    }

    fn data_brackets<'a>(&mut self, count: usize, piece: &'a str, out: &mut Prose) -> &'a str {
        match (piece.as_bytes(), count) {
            ([b'>', ..], 2) => {
                self.content = Content::Markup;
                return self.go_to(State::Text, &piece[1..]);
            }
            ([b']', ..], 1) => return self.go_to(State::DataBrackets(2), &piece[1..]),
            ([b']', ..], _) => {
                self.page.text(self.content, "]", out);
                return &piece[1..];
            }
            _ => self.page.text(self.content, &"]]"[..count], out),
        }
        self.go_to(State::Text, piece)
    }

    fn begin_tag<'a>(&mut self, kind: TagKind, piece: &'a str) -> &'a str {
        (self.kind, self.name) = (kind, Name::default());
        self.go_to(State::TagName, piece)
    }

    fn tag_name<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let end = piece.bytes().position(|byte| ENDS_TAG_NAME[usize::from(byte)]);
        self.name.push(&piece[..end.unwrap_or(piece.len())]);
        let Some(end) = end else { return "" };
        self.page.begin_tag(self.kind, self.name, out);
        self.within_tag(&piece[end..], out)
    }

    /// Reads the byte that ends a name or stands between attributes.
    fn within_tag<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        match piece.as_bytes().first() {
            Some(b'>') => self.end_tag(Closing::Plain, &piece[1..], out),
            Some(b'/') => self.go_to(State::SelfClosing, &piece[1..]),
            _ => self.go_to(State::BeforeAttributeName, piece),
        }
    }

    fn before_attribute_name<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let piece = piece.trim_ascii_start();
        match piece.as_bytes().first() {
            None => "",
            Some(b'>' | b'/') => self.within_tag(piece, out),
            Some(first) => {
                self.attribute = Name::default();
                // An equals sign may begin a name, but not go on with it.
                let begun = usize::from(*first == b'=');
                self.attribute.push(&piece[..begun]);
                self.go_to(State::AttributeName, &piece[begun..])
            }
        }
    }

    fn attribute_name<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let end = piece.bytes().position(|byte| ENDS_ATTRIBUTE_NAME[usize::from(byte)]);
        let name = &piece[..end.unwrap_or(piece.len())];
        if let (true, Some(end), Some(first)) =
            (self.attribute.as_bytes().is_empty(), end, name.as_bytes().first())
            && !self.page.may_want(*first)
        {
            self.is_wanted = false;
            return self.after_attribute_name(&piece[end..], out);
        }
        self.attribute.push(name);
        let Some(end) = end else { return "" };
        self.is_wanted = self.page.wants(&self.attribute);
        self.after_attribute_name(&piece[end..], out)
    }

    fn after_attribute_name<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let piece = piece.trim_ascii_start();
        match piece.as_bytes().first() {
            None => self.go_to(State::AfterAttributeName, ""),
            Some(b'=') => self.go_to(State::BeforeAttributeValue, &piece[1..]),
            Some(_) => self.before_attribute_name(piece, out),
        }
    }

    fn before_attribute_value<'a>(&mut self, piece: &'a str, out: &mut Prose) -> &'a str {
        let piece = piece.trim_ascii_start();
        match piece.as_bytes().first() {
            None => "",
            Some(quote @ (b'"' | b'\'')) => self.attribute_value_begins(ValueEnd::Quote(*quote), &piece[1..]),
            Some(b'>') => self.within_tag(piece, out),
            Some(_) => self.attribute_value_begins(ValueEnd::Space, piece),
        }
    }

    fn attribute_value_begins<'a>(&mut self, end: ValueEnd, piece: &'a str) -> &'a str {
        self.value.clear();
        self.go_to(State::AttributeValue(end), piece)
    }

    fn attribute_value<'a>(&mut self, end: ValueEnd, piece: &'a str, out: &mut Prose) -> &'a str {
        let bytes = piece.as_bytes();
        let (end, behind) = match end {
            ValueEnd::Quote(quote) => (memchr(quote, bytes), 1),
            ValueEnd::Space => (bytes.iter().position(|byte| ENDS_VALUE[usize::from(*byte)]), 0),
        };
        let value = &piece[..end.unwrap_or(piece.len())];
        if self.is_wanted {
            let room = MAX_VALUE_BYTES - self.value.len();
            self.value.push_str(&value[..value.floor_char_boundary(room)]);
        }
        let Some(end) = end else { return "" };
        if self.is_wanted {
            self.page.attribute(&self.attribute, &self.value, out);
        }
        self.state = State::BeforeAttributeName;
        &piece[end + behind..]
    }

    fn end_tag<'a>(&mut self, closing: Closing, rest: &'a str, out: &mut Prose) -> &'a str {
        self.content = self.page.end_tag(closing, out);
        self.raw_name = self.name;
        self.escape = Escape::None;
        self.go_to(State::Text, rest)
    }

    fn declaration<'a>(&mut self, piece: &'a str) -> &'a str {
        for (at, character) in piece.char_indices() {
            self.held.push(character);
            let rest = &piece[at + character.len_utf8()..];
            match self.held.as_str() {
                "--" => return self.go_to(State::Comment { last: *b" --", length: 0 }, rest),
                "[CDATA[" if self.page.has_data_sections() => {
                    self.content = Content::Data;
                    return self.go_to(State::Text, rest);
                }
                held if "[CDATA[".starts_with(held) || "--".starts_with(held) => {}
                _ => return self.go_to(State::BogusComment, &piece[at..]),
            }
        }
        ""
    }

    /// Reads on to `>`, which ends the comment after `--` or `--!`. The hyphens of the beginning count for the former:
    /// `<!-->` is a whole comment.
    fn comment<'a>(&mut self, mut last: [u8; 3], mut length: usize, piece: &'a str) -> &'a str {
        let end = memchr(b'>', piece.as_bytes());
        let read = &piece.as_bytes()[..end.unwrap_or(piece.len())];
        for byte in &read[read.len().saturating_sub(3)..] {
            last = [last[1], last[2], *byte];
        }
        length = (length + read.len()).min(3);
        if end.is_some() && (last.ends_with(b"--") || (last == *b"--!" && length == 3)) {
            self.state = State::Text;
        } else if end.is_some() {
            self.state = State::Comment { last: [last[1], last[2], b'>'], length: (length + 1).min(3) };
        } else {
            self.state = State::Comment { last, length };
        }
        end.map_or("", |end| &piece[end + 1..])
    }
}

/// The bytes that end the name of a tag.
static ENDS_TAG_NAME: [bool; 256] = white_space_and(b"/>");
/// The bytes that end the name of an attribute.
static ENDS_ATTRIBUTE_NAME: [bool; 256] = white_space_and(b"/>=");
/// The bytes that end a value without quotes.
static ENDS_VALUE: [bool; 256] = white_space_and(b">");

const fn white_space_and(signs: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_whitespace();
        byte += 1;
    }
    let mut place = 0;
    while place < signs.len() {
        table[signs[place] as usize] = true;
        place += 1;
    }
    table
}

impl Reader for Html {
    fn text(&mut self, mut piece: &str, out: &mut Prose) {
        while !piece.is_empty() {
            piece = self.step(piece, out);
        }
    }

    fn finish(&mut self, out: &mut Prose) {
        match self.state {
            State::TagOpen => self.page.text(self.content, "<", out),
            State::EndTagOpen => self.page.text(self.content, "</", out),
            State::RawLessThan => self.release_held(out),
            State::DataBrackets(count) => self.page.text(self.content, &"]]"[..count], out),
            State::AttributeValue(_) if self.is_wanted => {
                self.page.attribute(&self.attribute, &self.value, out)
            }
            _ => {}
        }
        // Browsers leave out a tag that is cut short. It is read all the same, as far as it came.
        self.page.end_tag(Closing::Plain, out);
        self.page.finish(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Oracle;

    fn read(pieces: &[&str]) -> String {
        let (mut html, mut out, mut text) = (Html::default(), Prose::default(), String::new());
        for piece in pieces {
            html.text(piece, &mut out);
            out.drain_into(&mut text);
        }
        html.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    #[test]
    fn words_at_any_cut() {
        for (name, html, expected) in [
            ("paragraphs", "<p>one<p>two</p>three", "one\ntwo\nthree\n"),
            ("inline elements", "<b>su</b>ic<span class='x'>i</span>de", "suicide\n"),
            ("a comment within a word", "su<!-- x -->icide", "suicide\n"),
            ("cells", "<tr><td>one</td><td>two</td></tr>", "one\ntwo\n"),
            ("line break", "one<br>two<br/>three", "one\ntwo\nthree\n"),
            ("components", "<x-a>one</x-a><x-a>two</x-a>", "one\ntwo\n"),
            ("entities", "&lt;b&gt; &#115;uicide &amp;amp; &eacute;", "<b> suicide &amp; é\n"),
            ("an entity that a tag ends", "a&am<b>p;</b>", "a&amp;\n"),
            ("title", "<title>a &amp; <b></title>c", "a & <b>\nc\n"),
            ("text area", "<textarea><p>a</textarea>b", "<p>a\nb\n"),
            ("scripts and styles", "a<script>if (x < '<p>') y</script>b<style>p {}</style>c", "abc\n"),
            ("an escaped script", "<script><!-- <script> </script> --></script>a", "a\n"),
            (
                "linked data",
                "<script type='application/ld+json'>{\"name\":\"a \\u00e9\"}</script>b",
                "a éb\n",
            ),
            ("fallbacks", "<noscript><p>a</p></noscript><iframe>b</iframe>c", "c\n"),
            ("examples", "<xmp>a <b></xmp>c", "a <b>\nc\n"),
            (
                "attributes",
                "a<img src=x alt='b &amp; c'>d<i title=e aria-label=\"f\">g</i>",
                "a\nb & c\nd\ne\nf\ng\n",
            ),
            (
                "inputs",
                "<input value=a placeholder=b><input type=hidden value=c><input type=password value=d>",
                "b\na\n",
            ),
            (
                "descriptions",
                "<meta name=description content='a b'><meta property='og:title' content=c><meta name=x content=d>",
                "a b\nc\n",
            ),
            ("quoted ends", "<p data-x=\"<script>\">a<p x='>'>b", "a\nb\n"),
            ("unclosed comment", "a<!-- b <p>c", "a\n"),
            ("unclosed tag", "a<p title='b", "a\nb\n"),
            ("vector title", "<svg><title>a</title><text>b</text></svg>c", "a\nb\nc\n"),
            ("data section", "<svg><![CDATA[a <b>]]></svg>c", "a <b>\nc\n"),
            ("not tags", "1 < 2 <3", "1 < 2 <3\n"),
            ("accents", "<p>Ä</p>ö<b>ü</b>", "Ä\nöü\n"),
            ("white space", "<p>one two\n</p>\n<p> three", "one two\n\n three\n"),
        ] {
            assert_eq!(read(&[html]), expected, "{name}");
            for cut in (1..html.len()).filter(|cut| html.is_char_boundary(*cut)) {
                assert_eq!(read(&[&html[..cut], &html[cut..]]), expected, "{name}, cut at {cut}");
            }
            let pieces: Vec<String> = html.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(read(&pieces), expected, "{name}, letter by letter");
        }
    }

    #[test]
    fn deep_markup() {
        let html = format!("{}deep{}end", "<div>".repeat(100_000), "</div>".repeat(100_000));
        assert_eq!(read(&[&html]), "deep\nend\n");
    }

    #[test]
    fn long_markup_needs_no_memory() {
        let long = "x".repeat(1 << 20);
        for (name, long, read_of_it) in [
            ("shown attribute", format!("<p title='{long}'>"), MAX_VALUE_BYTES),
            ("other attribute", format!("<p data-title={long}>"), 0),
            ("name", format!("<p{long}>"), 0),
            ("attribute name", format!("<p {long}=a>"), 0),
            ("comment", format!("<!-- {long} -->"), 0),
        ] {
            let html = format!("one<p>two {long}<b>th</b>ree<script>x</script>&amp;<td>four");
            let pieces: Vec<&str> =
                (0..html.len()).step_by(4096).map(|at| &html[at..html.len().min(at + 4096)]).collect();
            let text = read(&pieces);
            let (shown, words): (Vec<_>, Vec<_>) =
                text.split_whitespace().partition(|word| word.contains("xx"));
            assert_eq!(words, ["one", "two", "three&", "four"], "{name}");
            assert_eq!(shown.concat().len(), read_of_it, "{name}");
        }
    }

    /// Feeds a reader with pieces of at most so many bytes.
    fn read_in_pieces(mut reader: impl Reader, html: &str, random: &mut Random, longest: usize) -> String {
        let (mut out, mut text, mut rest) = (Prose::default(), String::new(), html);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + random.below(longest)));
            reader.text(piece, &mut out);
            rest = after;
        }
        reader.finish(&mut out);
        out.drain_into(&mut text);
        text
    }

    /// Small pseudo-random numbers: the same in every run.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.0 >> 33) as usize % bound
        }
    }

    /// What nasty pages are made of. Left out is what lol_html reads otherwise than a browser: see
    /// `where_browsers_and_lol_html_differ`.
    const NASTY: [&str; 88] = [
        "<",
        ">",
        "</",
        "/>",
        "/",
        "=",
        "\"",
        "'",
        "!",
        "-",
        "--",
        "-->",
        "--!>",
        "<!--",
        "<!-->",
        "<!--->",
        "<!---!>",
        "<!--!>",
        "<!",
        "<!x",
        "<?",
        "<?php ?>",
        "<![CDATA[",
        "]]>",
        "]",
        "]]]>",
        "<!DOCTYPE html>",
        "&",
        "&amp;",
        "&am",
        "p;",
        "&#115;",
        "&#x73",
        ";",
        "&lt",
        "é",
        " ",
        "\n",
        "\t",
        "a",
        "word",
        "b c",
        "<b>",
        "</b>",
        "<p>",
        "</p>",
        "<P/>",
        "<a href=x>",
        "<a b='",
        "<a b=\"",
        " alt=c",
        " title='d e'",
        " title=\"f>\"",
        " label",
        " x",
        "<img alt=g>",
        "<input value=h>",
        "<input type=hidden value=i>",
        "<meta name=keywords content='j k'>",
        "<title>",
        "</title>",
        "<textarea>",
        "</textarea >",
        "<style>",
        "</style/>",
        "</STYLE",
        "<script>",
        "</script>",
        "<script",
        "</scrip",
        "<script type='application/ld+json'>",
        "{\"l\":\"m n\"}",
        "<xmp>",
        "</xmp>",
        "<iframe>",
        "</iframe>",
        "<noscript>",
        "</noscript>",
        "<noembed>",
        "</noembed>",
        "<svg><desc>o</desc><title>q</title><![CDATA[r <s]]></svg>",
        "<svg><style>t</style></svg>",
        "<math><mi><style></math></style></mi></math>",
        "<x-y>",
        "</x-y>",
        "\u{0}",
        "<\u{e9}>",
        "&copy2",
    ];

    #[test]
    fn nasty_pages_are_read_as_lol_html_reads_them() {
        let mut random = Random(11);
        for round in 0..4000 {
            let html: String = (0..random.below(40)).map(|_| NASTY[random.below(NASTY.len())]).collect();
            let expected = read_in_pieces(Oracle::new(), &html, &mut random, 1000);
            for longest in [1, 5, 1000] {
                let text = read_in_pieces(Html::default(), &html, &mut random, longest);
                assert_eq!(text, expected, "round {round}: {html}");
            }
        }
    }

    #[test]
    fn where_browsers_and_lol_html_differ() {
        for (name, html) in [
            ("an empty drawing", "<svg/><style><!--</style>seen<!-- -->"),
            ("a tag that ends drawings in drawings", "<svg><svg><p><style><!--</style>seen<!-- -->"),
            ("an attribute without a value", "<style x=><!--</style>seen<!-- -->"),
            ("the first of two attributes", "<input type=text type=hidden value=seen>"),
        ] {
            let mut random = Random(1);
            assert_eq!(read(&[html]).trim(), "seen", "{name}");
            assert_eq!(read_in_pieces(Html::default(), html, &mut random, 3).trim(), "seen", "{name}");
            assert_eq!(read_in_pieces(Oracle::new(), html, &mut random, 100).trim(), "", "{name}: no more");
        }
    }

    /// Where pages differ, says how many and shows the beginning of the difference.
    #[test]
    #[ignore = "needs pages: PAGES=directory cargo test -p wardgate-text -- --ignored"]
    fn real_pages_are_read_as_lol_html_reads_them() {
        let mut random = Random(5);
        let (mut pages, mut different) = (0, 0);
        let mut folders = vec![std::path::PathBuf::from(std::env::var("PAGES").unwrap())];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let html = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                let expected = read_in_pieces(Oracle::new(), &html, &mut random, 32 * 1024);
                for longest in [20, 32 * 1024] {
                    let text = read_in_pieces(Html::default(), &html, &mut random, longest);
                    pages += 1;
                    if text != expected {
                        different += 1;
                        let at = text.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
                        let around = |text: &str| {
                            text[text.floor_char_boundary(at.saturating_sub(60))
                                ..text.floor_char_boundary(at + 60)]
                                .to_owned()
                        };
                        println!(
                            "{}:\n  ours   {:?}\n  theirs {:?}",
                            path.display(),
                            around(&text),
                            around(&expected)
                        );
                    }
                }
            }
        }
        assert_eq!(different, 0, "of {pages}");
    }
}
