//! Reads the words of HTML by way of lol_html, which the reader of `html` is held against.
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

/// Memory that no page of the tests comes near.
const MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// Reads HTML that arrives in pieces.
pub(crate) struct Oracle {
    /// Nothing once the page has ended.
    parser: Option<lol_html::send::HtmlRewriter<'static, Sink>>,
    page: Arc<Mutex<Page>>,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        let page = Arc::new(Mutex::new(Page::default()));
        let parser = lol_html::send::HtmlRewriter::new(settings(&page), Sink(Arc::clone(&page)));
        Self { parser: Some(parser), page }
    }

    /// Runs `job` while `out` is where the page's words go.
    fn with_output(&mut self, out: &mut Prose, job: impl FnOnce(&mut Self)) {
        std::mem::swap(&mut lock(&self.page).prose, out);
        job(self);
        std::mem::swap(&mut lock(&self.page).prose, out);
    }
}

impl Reader for Oracle {
    fn text(&mut self, piece: &str, out: &mut Prose) {
        self.with_output(out, |html| html.parser.as_mut().unwrap().write(piece.as_bytes()).unwrap());
    }

    fn finish(&mut self, out: &mut Prose) {
        self.with_output(out, |html| {
            html.parser.take().unwrap().end().unwrap();
            lock(&html.page).finish();
        });
    }
}

fn settings(page: &Arc<Mutex<Page>>) -> lol_html::send::Settings<'static, 'static> {
    let text_page = Arc::clone(page);
    let text = move |chunk: &mut TextChunk<'_>| {
        lock(&text_page).text(chunk);
        Ok(())
    };
    Settings::new_send()
        .with_encoding(AsciiCompatibleEncoding::utf_8())
        // Ambiguous markup is read all the same.
        .with_strict(false)
        .with_memory_settings(MemorySettings::new().with_max_allowed_memory_usage(MEMORY_BYTES))
        .append_document_content_handler(DocumentContentHandlers::default().text(text))
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
        self.markup(&markup);
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

    fn finish(&mut self) {
        self.entities.finish(&mut self.prose);
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
