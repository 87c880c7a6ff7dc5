//! Which part of a page is SVG or MathML, where `style` or `title` are elements like any other.
//!
//! A tree of the page would tell for sure. Without one, the tags that begin and end such parts are followed (WHATWG
//! HTML, section 13.2.6.5), which is right for all but markup that closes what it has not opened.

use crate::markup::Name;

/// How deep parts within parts are followed.
const MAX_DEPTH: usize = 512;

/// What vocabulary an element is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vocabulary {
    Html,
    Svg,
    MathMl,
}

/// The attributes of a tag that matter here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signs {
    /// It is closed at once: `<svg/>`.
    pub(crate) is_empty: bool,
    /// `font` with an attribute that it has in HTML only.
    pub(crate) is_html_font: bool,
    /// `annotation-xml` whose content is HTML.
    pub(crate) holds_html: bool,
}

/// The parts that are open, the innermost last; HTML stands before them all.
#[derive(Default)]
pub(crate) struct Foreign {
    open: Vec<Vocabulary>,
}

impl Foreign {
    /// Whether what comes next is HTML.
    pub(crate) fn is_html(&self) -> bool {
        self.current() == Vocabulary::Html
    }

    fn current(&self) -> Vocabulary {
        self.open.last().copied().unwrap_or(Vocabulary::Html)
    }

    /// Takes note of a start tag; returns whether its element is HTML.
    pub(crate) fn start(&mut self, name: &Name, signs: Signs) -> bool {
        let current = self.current();
        let begins = match (current, name.as_bytes()) {
            (Vocabulary::Html | Vocabulary::Svg, b"svg") => Some(Vocabulary::Svg),
            (Vocabulary::Html | Vocabulary::MathMl, b"math") => Some(Vocabulary::MathMl),
            (Vocabulary::Html, _) => return true,
            _ if ends_foreign(name) || (name.as_bytes() == b"font" && signs.is_html_font) => {
                self.leave();
                return true;
            }
            _ if holds_html(current, name) || (name.as_bytes() == b"annotation-xml" && signs.holds_html) => {
                Some(Vocabulary::Html)
            }
            _ => None,
        };
        if let Some(vocabulary) = begins.filter(|_| !signs.is_empty && self.open.len() < MAX_DEPTH) {
            self.open.push(vocabulary);
        }
        false
    }

    /// Takes note of an end tag.
    pub(crate) fn end(&mut self, name: &Name) {
        match (self.current(), name.as_bytes()) {
            (Vocabulary::Svg, b"svg") | (Vocabulary::MathMl, b"math") => {
                self.open.pop();
            }
            (Vocabulary::Svg | Vocabulary::MathMl, b"p" | b"br") => self.leave(),
            (Vocabulary::Html, _) => {
                let around = self.open.len().checked_sub(2).map(|place| self.open[place]);
                let ends = |around| {
                    holds_html(around, name)
                        || (around == Vocabulary::MathMl && name.as_bytes() == b"annotation-xml")
                };
                if around.is_some_and(ends) {
                    self.open.pop();
                }
            }
            _ => {}
        }
    }

    /// Leaves SVG and MathML for the HTML around them.
    fn leave(&mut self) {
        while !self.is_html() {
            self.open.pop();
        }
    }
}

/// Whether the content of such an element is HTML: an integration point.
fn holds_html(vocabulary: Vocabulary, name: &Name) -> bool {
    match vocabulary {
        Vocabulary::Html => false,
        Vocabulary::Svg => matches!(name.as_bytes(), b"foreignobject" | b"desc" | b"title"),
        Vocabulary::MathMl => matches!(name.as_bytes(), b"mi" | b"mo" | b"mn" | b"ms" | b"mtext"),
    }
}

/// Whether an element stands in HTML only, so that its tag ends whatever is open.
fn ends_foreign(name: &Name) -> bool {
    matches!(
        name.as_bytes(),
        b"b" | b"big"
            | b"blockquote"
            | b"body"
            | b"br"
            | b"center"
            | b"code"
            | b"dd"
            | b"div"
            | b"dl"
            | b"dt"
            | b"em"
            | b"embed"
            | b"h1"
            | b"h2"
            | b"h3"
            | b"h4"
            | b"h5"
            | b"h6"
            | b"head"
            | b"hr"
            | b"i"
            | b"img"
            | b"li"
            | b"listing"
            | b"menu"
            | b"meta"
            | b"nobr"
            | b"ol"
            | b"p"
            | b"pre"
            | b"ruby"
            | b"s"
            | b"small"
            | b"span"
            | b"strong"
            | b"strike"
            | b"sub"
            | b"sup"
            | b"table"
            | b"tt"
            | b"u"
            | b"ul"
            | b"var"
    )
}
