//! Reads the words of HTML: what stands on the page, its title, and the attributes that are shown or read aloud.
//!
//! lol_html is used as a tokenizer. With handlers for text alone it keeps no tree, so that deep markup costs
//! nothing. It shows text to the text handler, and writes everything (it is a rewriter) to its sink in the order of
//! the document: the sink drops the text it has just been shown, and what is left are whole tags and comments.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lol_html::html_content::{TextChunk, TextType};
use lol_html::{AsciiCompatibleEncoding, DocumentContentHandlers, MemorySettings, OutputSink, Settings};

use crate::entities::Entities;
use crate::json::Json;
use crate::markup::{Markup, Name, Tag};
use crate::prose::Prose;
use crate::reader::Reader;
use crate::strip::Stripper;

/// What the parser's buffer begins with; most tags fit.
const INITIAL_BUFFER_BYTES: usize = 1024;

/// Reads HTML that arrives in pieces. Markup that the parser cannot hold (a tag or comment longer than its memory)
/// ends the parsing, not the reading: from there on tags are stripped.
pub(crate) struct Html {
    /// Nothing once the parser has given up.
    parser: Option<lol_html::send::HtmlRewriter<'static, Sink>>,
    page: Arc<Mutex<Page>>,
}

impl Html {
    /// A reader whose parser may use this many bytes of memory.
    pub(crate) fn new(memory_bytes: usize) -> Self {
        let page = Arc::new(Mutex::new(Page::default()));
        let parser =
            lol_html::send::HtmlRewriter::new(settings(memory_bytes, &page), Sink(Arc::clone(&page)));
        Self { parser: Some(parser), page }
    }

    /// Runs `job` while `out` is where the page's words go.
    fn with_output(&mut self, out: &mut Prose, job: impl FnOnce(&mut Self)) {
        std::mem::swap(&mut lock(&self.page).prose, out);
        job(self);
        std::mem::swap(&mut lock(&self.page).prose, out);
    }
}

impl Reader for Html {
    fn text(&mut self, piece: &str, out: &mut Prose) {
        self.with_output(out, |html| {
            let Some(parser) = &mut html.parser else { return lock(&html.page).strip(piece) };
            // An error means that the parser gave up, and has told the page so.
            if parser.write(piece.as_bytes()).is_err() {
                html.parser = None;
            }
        });
    }

    fn finish(&mut self, out: &mut Prose) {
        self.with_output(out, |html| {
            if let Some(parser) = html.parser.take() {
                // An error means that the parser gave up at the last, and has told the page so.
                let _ = parser.end();
            }
            lock(&html.page).finish();
        });
    }
}

fn settings(memory_bytes: usize, page: &Arc<Mutex<Page>>) -> lol_html::send::Settings<'static, 'static> {
    let (text_page, bail_out_page) = (Arc::clone(page), Arc::clone(page));
    let text = move |chunk: &mut TextChunk<'_>| {
        lock(&text_page).text(chunk);
        Ok(())
    };
    let bail_out = move |_: &lol_html::errors::RewritingError,
                         _: &mut lol_html::html_content::BailOut<'_>| {
        lock(&bail_out_page).give_up();
    };
    Settings::new_send()
        .with_encoding(AsciiCompatibleEncoding::utf_8())
        // Ambiguous markup is read all the same.
        .with_strict(false)
        .with_memory_settings(
            MemorySettings::new()
                .with_preallocated_parsing_buffer_size(INITIAL_BUFFER_BYTES.min(memory_bytes))
                .with_max_allowed_memory_usage(memory_bytes)
                .with_graceful_bail_out_on_memory_limit_exceeded(true),
        )
        .append_document_content_handler(DocumentContentHandlers::default().text(text))
        .append_bail_out_handler(bail_out)
}

/// The state survives a panic in a handler well enough: the exchange is over then.
fn lock(page: &Mutex<Page>) -> MutexGuard<'_, Page> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sink(Arc<Mutex<Page>>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        lock(&self.0).rewritten(chunk);
    }
}

/// What is known of the page so far.
#[derive(Default)]
struct Page {
    prose: Prose,
    entities: Entities,
    /// Bytes of text that the handler has seen and the sink has not.
    shown_bytes: usize,
    /// The element whose content is not markup, and what to do with it.
    raw: Raw,
    json: Json,
    /// Reads in place of the parser, once that has given up.
    stripper: Option<Stripper>,
}

/// What the content of a raw text element is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Raw {
    /// Not for people: scripts, styles, fallbacks.
    #[default]
    Unreadable,
    /// A script that holds JSON-LD.
    Json,
    /// Shown as it stands.
    Shown,
}

impl Page {
    fn text(&mut self, chunk: &TextChunk<'_>) {
        let text = chunk.as_str();
        self.shown_bytes += text.len();
        match (chunk.text_type(), self.raw) {
            (TextType::Data | TextType::RCData, _) => {
                self.entities.push(text, &mut self.prose);
                if chunk.last_in_text_node() {
                    self.entities.finish(&mut self.prose);
                }
            }
            (TextType::PlainText | TextType::CDataSection, _) | (_, Raw::Shown) => self.prose.push(text),
            (TextType::ScriptData, Raw::Json) => self.json.read(text, &mut self.prose),
            (TextType::ScriptData | TextType::RawText, _) => {}
        }
    }

    /// Takes what the parser has written: text that was shown before, or else markup.
    fn rewritten(&mut self, chunk: &[u8]) {
        let shown = self.shown_bytes.min(chunk.len());
        self.shown_bytes -= shown;
        // All input was characters, cut between them, and so is the output.
        let markup = String::from_utf8_lossy(&chunk[shown..]);
        if self.stripper.is_some() {
            self.strip(&markup);
        } else {
            self.markup(&markup);
        }
    }

    fn markup(&mut self, markup: &str) {
        let mut cursor = Markup::new(markup);
        while let Some(tag) = cursor.next_tag() {
            let (Tag::Start(name) | Tag::End(name)) = tag;
            let name = Name::new(name);
            if !name.is_inline() {
                self.prose.gap();
            }
            if let Tag::Start(_) = tag {
                self.start_tag(&name, &mut cursor);
            }
        }
    }

    fn start_tag(&mut self, name: &Name, cursor: &mut Markup<'_>) {
        match name.as_bytes() {
            b"meta" => self.meta(cursor),
            b"input" => self.input(cursor),
            b"script" => self.script(cursor),
            b"style" | b"iframe" | b"noembed" | b"noframes" | b"noscript" => self.raw = Raw::Unreadable,
            b"xmp" => self.raw = Raw::Shown,
            _ => {
                while let Some((name, value)) = cursor.next_attribute() {
                    self.attribute(name, value);
                }
            }
        }
    }

    /// Reads attributes that any element may have.
    fn attribute(&mut self, name: &str, value: &str) {
        if !value.is_empty() && SPOKEN_ATTRIBUTES.iter().any(|spoken| name.eq_ignore_ascii_case(spoken)) {
            self.value(value);
        }
    }

    fn value(&mut self, value: &str) {
        self.prose.aside(&htmlize::unescape_attribute(value));
    }

    fn meta(&mut self, cursor: &mut Markup<'_>) {
        let (mut is_prose, mut content) = (false, None);
        while let Some((name, value)) = cursor.next_attribute() {
            match () {
                _ if name.eq_ignore_ascii_case("content") => content = Some(value),
                _ if name.eq_ignore_ascii_case("name") || name.eq_ignore_ascii_case("property") => {
                    is_prose |= PROSE_METAS.iter().any(|meta| value.eq_ignore_ascii_case(meta));
                }
                _ => {}
            }
        }
        if let Some(content) = content.filter(|_| is_prose) {
            self.value(content);
        }
    }

    fn input(&mut self, cursor: &mut Markup<'_>) {
        let (mut is_shown, mut content) = (true, None);
        while let Some((name, value)) = cursor.next_attribute() {
            match () {
                _ if name.eq_ignore_ascii_case("value") => content = Some(value),
                _ if name.eq_ignore_ascii_case("type") => {
                    is_shown = !["hidden", "password"].iter().any(|kind| value.eq_ignore_ascii_case(kind));
                }
                _ => self.attribute(name, value),
            }
        }
        if let Some(content) = content.filter(|_| is_shown) {
            self.value(content);
        }
    }

    fn script(&mut self, cursor: &mut Markup<'_>) {
        self.raw = Raw::Unreadable;
        while let Some((name, value)) = cursor.next_attribute() {
            if name.eq_ignore_ascii_case("type") && value.trim().eq_ignore_ascii_case("application/ld+json") {
                self.raw = Raw::Json;
                self.json.reset();
                self.prose.gap();
            }
        }
    }

    /// The parser gives up; what it has not yet read comes next.
    fn give_up(&mut self) {
        self.shown_bytes = 0;
        self.entities.finish(&mut self.prose);
        self.stripper = Some(Stripper::html());
    }

    fn strip(&mut self, piece: &str) {
        if let Some(stripper) = &mut self.stripper {
            stripper.text(piece, &mut self.prose);
        }
    }

    fn finish(&mut self) {
        match &mut self.stripper {
            Some(stripper) => stripper.finish(&mut self.prose),
            None => self.entities.finish(&mut self.prose),
        }
        self.prose.gap();
    }
}

/// Attributes whose value is shown or read aloud, on any element.
const SPOKEN_ATTRIBUTES: [&str; 6] =
    ["alt", "aria-description", "aria-label", "label", "placeholder", "title"];

/// The `meta` elements that describe the page in words.
const PROSE_METAS: [&str; 8] = [
    "description",
    "keywords",
    "og:description",
    "og:site_name",
    "og:title",
    "title",
    "twitter:description",
    "twitter:title",
];

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY_BYTES: usize = 64 * 1024;

    fn read(pieces: &[&str]) -> String {
        let (mut html, mut out, mut text) = (Html::new(MEMORY_BYTES), Prose::default(), String::new());
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
    fn the_reading_goes_on_when_the_parser_gives_up() {
        for (name, long) in [
            ("attribute", format!("<p title='{}'>", "x".repeat(1 << 20))),
            ("comment", format!("<!-- {} -->", "x".repeat(1 << 20))),
        ] {
            let html = format!("one<p>two {long}<b>th</b>ree<script>x</script>&amp;<td>four");
            let pieces: Vec<&str> =
                (0..html.len()).step_by(4096).map(|at| &html[at..html.len().min(at + 4096)]).collect();
            assert_eq!(
                read(&pieces).split_whitespace().collect::<Vec<_>>(),
                ["one", "two", "three&", "four"],
                "{name}"
            );
        }
    }
}
