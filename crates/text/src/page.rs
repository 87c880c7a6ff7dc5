//! What of a page is read: the text that stands on it, its title, and the attributes that are shown or read aloud.

use crate::entities::Entities;
use crate::foreign::{Foreign, Signs};
use crate::json::Json;
use crate::markup::Name;
use crate::prose::Prose;

/// What stands between two tags, and how it is told where it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Content {
    /// Text, with tags and references.
    #[default]
    Markup,
    /// Text with references, up to its own end tag: titles and text areas.
    Escapable,
    /// Anything up to its own end tag, shown as it stands.
    Example,
    /// Anything up to its own end tag, not for people: styles, fallbacks.
    Hidden,
    /// A script; what looks like its end tag may be part of it.
    Script,
    /// A script that holds JSON-LD, which describes the page in words.
    LinkedData,
    /// A data section of XML.
    Data,
    /// Text up to the end of the page.
    Plain,
}

/// What a tag does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TagKind {
    #[default]
    Start,
    End,
}

/// How a tag ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    Plain,
    /// With `/>`: in SVG and MathML, the element has no content.
    SelfClosing,
}

/// What is known of a page, and of the tag that is being read.
#[derive(Default)]
pub(crate) struct Page {
    entities: Entities,
    json: Json,
    foreign: Foreign,
    tag: Tag,
    /// The first `value` or `content` of the tag.
    content: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Tag {
    element: Element,
    kind: TagKind,
    name: Name,
    signs: Signs,
    /// The first `type` of an input or script.
    input: Option<Kind>,
    /// Whether a `meta` describes the page.
    is_prose: bool,
}

/// Elements whose attributes mean something special.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Element {
    #[default]
    Other,
    Meta,
    Input,
    Script,
    /// One whose attributes are not read.
    Raw,
    Font,
    Annotation,
}

/// Types of inputs and scripts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hidden,
    Json,
    Other,
}

impl Page {
    /// Takes the next text, which goes on in the next piece unless [`Page::end_text`] comes before.
    pub(crate) fn text(&mut self, content: Content, text: &str, out: &mut Prose) {
        match content {
            Content::Markup | Content::Escapable => self.entities.push(text, out),
            Content::Example | Content::Data | Content::Plain => out.push(text),
            Content::LinkedData => self.json.read(text, out),
            Content::Hidden | Content::Script => {}
        }
    }

    /// Says that something other than text comes next.
    pub(crate) fn end_text(&mut self, out: &mut Prose) {
        self.entities.finish(out);
    }

    /// Whether data sections are understood here.
    pub(crate) fn has_data_sections(&self) -> bool {
        !self.foreign.is_html()
    }

    /// A tag begins.
    pub(crate) fn begin_tag(&mut self, kind: TagKind, name: Name, out: &mut Prose) {
        self.entities.finish(out);
        if !name.is_inline() {
            out.gap();
        }
        let element = match name.as_bytes() {
            b"meta" => Element::Meta,
            b"input" => Element::Input,
            b"script" => Element::Script,
            b"style" | b"iframe" | b"noembed" | b"noframes" | b"noscript" | b"xmp" => Element::Raw,
            b"font" => Element::Font,
            b"annotation-xml" => Element::Annotation,
            _ => Element::Other,
        };
        self.tag = Tag { element, kind, name, ..Tag::default() };
        self.content = None;
    }

    /// Whether [`Page::wants`] may be interested in an attribute whose name begins with this byte.
    pub(crate) fn may_want(&self, first: u8) -> bool {
        let is_special = !matches!(self.tag.element, Element::Other | Element::Raw);
        is_special || matches!(first, b'a' | b'l' | b'p' | b't' | b'A' | b'L' | b'P' | b'T')
    }

    /// Takes note of an attribute's name; returns whether its value matters.
    pub(crate) fn wants(&mut self, attribute: &Name) -> bool {
        let tag = &mut self.tag;
        let name = attribute.as_bytes();
        if tag.element == Element::Font {
            tag.signs.is_html_font |= matches!(name, b"color" | b"size" | b"face");
        }
        tag.kind == TagKind::Start
            && match tag.element {
                Element::Meta => matches!(name, b"content" | b"name" | b"property"),
                Element::Input => matches!(name, b"value" | b"type") || is_spoken(name),
                Element::Script => name == b"type",
                Element::Raw => false,
                Element::Annotation => name == b"encoding" || is_spoken(name),
                Element::Font | Element::Other => is_spoken(name),
            }
    }

    /// Takes the value of an attribute that [`Page::wants`]; character references are as they are written.
    pub(crate) fn attribute(&mut self, attribute: &Name, value: &str, out: &mut Prose) {
        let tag = &mut self.tag;
        match (tag.element, attribute.as_bytes()) {
            (Element::Meta, b"content") | (Element::Input, b"value") => {
                self.content.get_or_insert_with(|| value.to_owned());
            }
            (Element::Meta, _) => {
                tag.is_prose |= PROSE_METAS.iter().any(|meta| value.eq_ignore_ascii_case(meta));
            }
            (Element::Input | Element::Script, b"type") => {
                tag.input.get_or_insert(kind(value));
            }
            (Element::Annotation, b"encoding") => {
                tag.signs.holds_html |= value.eq_ignore_ascii_case("text/html")
                    || value.eq_ignore_ascii_case("application/xhtml+xml");
            }
            _ => speak(value, out),
        }
    }

    /// The tag ends; returns what its content is.
    pub(crate) fn end_tag(&mut self, closing: Closing, out: &mut Prose) -> Content {
        let Tag { element, kind, name, mut signs, input, is_prose } = self.tag;
        if kind == TagKind::End {
            self.foreign.end(&name);
            return Content::Markup;
        }
        let is_shown = match element {
            Element::Meta => is_prose,
            _ => input != Some(Kind::Hidden),
        };
        if let Some(content) = self.content.take().filter(|_| is_shown) {
            speak(&content, out);
        }
        signs.is_empty = closing == Closing::SelfClosing;
        if !self.foreign.start(&name, signs) {
            return Content::Markup;
        }
        match name.as_bytes() {
            b"title" | b"textarea" => Content::Escapable,
            b"script" if input == Some(Kind::Json) => {
                self.json.reset();
                out.gap();
                Content::LinkedData
            }
            b"script" => Content::Script,
            b"style" | b"iframe" | b"noembed" | b"noframes" | b"noscript" => Content::Hidden,
            b"xmp" => Content::Example,
            b"plaintext" => Content::Plain,
            _ => Content::Markup,
        }
    }

    /// The page ends.
    pub(crate) fn finish(&mut self, out: &mut Prose) {
        self.entities.finish(out);
        out.gap();
    }
}

fn kind(value: &str) -> Kind {
    match value.trim_ascii() {
        value if value.eq_ignore_ascii_case("hidden") || value.eq_ignore_ascii_case("password") => {
            Kind::Hidden
        }
        value if value.eq_ignore_ascii_case("application/ld+json") => Kind::Json,
        _ => Kind::Other,
    }
}

fn speak(value: &str, out: &mut Prose) {
    if !value.is_empty() {
        out.aside(&htmlize::unescape_attribute(value));
    }
}

/// Whether an attribute's value is shown or read aloud, on any element.
fn is_spoken(attribute: &[u8]) -> bool {
    matches!(attribute, b"alt" | b"aria-description" | b"aria-label" | b"label" | b"placeholder" | b"title")
}

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
