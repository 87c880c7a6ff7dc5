//! Reads the tags of markup that is at hand as a whole: names and attributes, after the HTML tokenizer's rules.

use memchr::{memchr, memmem};

/// A tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag<'a> {
    Start(&'a str),
    End(&'a str),
}

/// A cursor over markup. Text, comments and declarations are stepped over.
pub(crate) struct Markup<'a> {
    rest: &'a str,
    in_tag: bool,
}

impl<'a> Markup<'a> {
    pub(crate) fn new(markup: &'a str) -> Self {
        Self { rest: markup, in_tag: false }
    }

    /// The next tag. Attributes of the tag before it that were not read are stepped over.
    pub(crate) fn next_tag(&mut self) -> Option<Tag<'a>> {
        while self.next_attribute().is_some() {}
        loop {
            let at = memchr(b'<', self.rest.as_bytes())?;
            self.rest = &self.rest[at + 1..];
            match self.rest.as_bytes() {
                [b'!', b'-', b'-', ..] => self.skip_comment(),
                [b'!' | b'?', ..] => self.skip_past(b'>'),
                [b'/', first, ..] if first.is_ascii_alphabetic() => {
                    self.rest = &self.rest[1..];
                    return Some(Tag::End(self.take_name()));
                }
                [b'/', ..] => self.skip_past(b'>'),
                [first, ..] if first.is_ascii_alphabetic() => return Some(Tag::Start(self.take_name())),
                _ => {}
            }
        }
    }

    /// The next attribute of the current tag, its value as written.
    pub(crate) fn next_attribute(&mut self) -> Option<(&'a str, &'a str)> {
        if !self.in_tag {
            return None;
        }
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if self.rest.is_empty() || self.rest.starts_with('>') {
            self.in_tag = false;
            return None;
        }
        let name = self.take_attribute_name();
        self.skip_spaces();
        let Some(value) = self.rest.strip_prefix('=') else { return Some((name, "")) };
        self.rest = value;
        self.skip_spaces();
        Some((name, self.take_value()))
    }

    fn take_name(&mut self) -> &'a str {
        self.in_tag = true;
        self.take_until(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'))
    }

    /// An equals sign may begin a name, but not continue it.
    fn take_attribute_name(&mut self) -> &'a str {
        let mut first = true;
        self.take_until(|byte| {
            let ends = byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>') || (byte == b'=' && !first);
            first = false;
            ends
        })
    }

    fn take_value(&mut self) -> &'a str {
        let Some(quote @ (b'"' | b'\'')) = self.rest.as_bytes().first().copied() else {
            return self.take_until(|byte| byte.is_ascii_whitespace() || byte == b'>');
        };
        let inner = &self.rest[1..];
        let end = memchr(quote, inner.as_bytes()).unwrap_or(inner.len());
        self.rest = inner.get(end + 1..).unwrap_or_default();
        &inner[..end]
    }

    fn take_until(&mut self, mut ends: impl FnMut(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(&mut ends).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    fn skip_past(&mut self, byte: u8) {
        let end = memchr(byte, self.rest.as_bytes()).map_or(self.rest.len(), |at| at + 1);
        self.rest = &self.rest[end..];
    }

    /// Steps over `!-- … -->` or `!-- … --!>`. The hyphens of the beginning count for the former's end, too: `<!-->` is
    /// a whole comment.
    fn skip_comment(&mut self) {
        let body = &self.rest.as_bytes()[1..];
        let plain = memmem::find(body, b"-->").map(|at| at + 4);
        let odd = memmem::find(&body[2..], b"--!>").map(|at| at + 7);
        let end = plain.into_iter().chain(odd).min().unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }
}

/// Most bytes of a name that are looked at: more than any name has that means something.
const MAX_NAME_BYTES: usize = 20;

/// The name of a tag or attribute in lower case, cut to the length of the longest that we know and a little.
#[derive(Clone, Copy, Default)]
pub(crate) struct Name {
    bytes: [u8; MAX_NAME_BYTES],
    len: usize,
}

impl Name {
    pub(crate) fn new(name: &str) -> Self {
        let mut all = Self::default();
        all.push(name);
        all
    }

    /// Adds what follows of the name.
    pub(crate) fn push(&mut self, piece: &str) {
        let (_, room) = self.bytes.split_at_mut(self.len);
        let taken = piece.len().min(room.len());
        room[..taken].copy_from_slice(&piece.as_bytes()[..taken]);
        room[..taken].make_ascii_lowercase();
        self.len += taken;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether the element stands within a line of text, so that `<b>su</b>icide` is one word. All others separate
    /// words, unknown ones included: components are boxes more often than not.
    pub(crate) fn is_inline(&self) -> bool {
        matches!(
            self.as_bytes(),
            b"a" | b"abbr"
                | b"acronym"
                | b"b"
                | b"bdi"
                | b"bdo"
                | b"big"
                | b"cite"
                | b"code"
                | b"data"
                | b"del"
                | b"dfn"
                | b"em"
                | b"font"
                | b"i"
                | b"ins"
                | b"kbd"
                | b"mark"
                | b"nobr"
                | b"q"
                | b"rb"
                | b"rp"
                | b"rt"
                | b"ruby"
                | b"s"
                | b"samp"
                | b"script"
                | b"small"
                | b"span"
                | b"strike"
                | b"strong"
                | b"style"
                | b"sub"
                | b"sup"
                | b"time"
                | b"tt"
                | b"u"
                | b"var"
                | b"wbr"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(markup: &str) -> String {
        let mut cursor = Markup::new(markup);
        let mut out = String::new();
        while let Some(tag) = cursor.next_tag() {
            match tag {
                Tag::Start(name) => out.push_str(&format!("<{name}")),
                Tag::End(name) => out.push_str(&format!("</{name}")),
            }
            while let Some((name, value)) = cursor.next_attribute() {
                out.push_str(&format!(" {name}=[{value}]"));
            }
            out.push('>');
        }
        out
    }

    #[test]
    fn tags_and_attributes() {
        for (name, markup, expected) in [
            ("plain", "<p>a</p>", "<p></p>"),
            ("attributes", "<img src=a alt='b c' x=\"d>e\" y>", "<img src=[a] alt=[b c] x=[d>e] y=[]>"),
            ("spaces", "<a  href = b / c>", "<a href=[b] c=[]>"),
            ("self closing", "<br/><hr />", "<br><hr>"),
            ("slash in an unquoted value", "<a href=/b/c/>", "<a href=[/b/c/]>"),
            ("apostrophe in a name", "<p don't><b>", "<p don't=[]><b>"),
            ("equals first", "<p =a=b>", "<p =a=[b]>"),
            ("comment", "<!-- <p> --><b>", "<b>"),
            ("empty comments", "<!--><i><!---><b>", "<i><b>"),
            ("odd comment end", "<!-- <p> --!><b>", "<b>"),
            ("unclosed comment", "<!-- <p>", ""),
            ("odd comment end in its beginning", "<!--!><p>--><b>", "<b>"),
            ("declarations", "<!DOCTYPE html><?php ?></ <p ><b>", "<b>"),
            ("no tags", "a < b <3 </ >", ""),
            ("unclosed tag", "<p a='b", "<p a=[b]>"),
        ] {
            assert_eq!(tags(markup), expected, "{name}");
        }
    }

    #[test]
    fn inline_names() {
        assert!(Name::new("STRONG").is_inline());
        assert!(!Name::new("td").is_inline());
        assert!(!Name::new("a-very-long-component-name").is_inline());
    }
}
