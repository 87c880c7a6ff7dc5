//! Keeps the last of the text that went by, so that evidence can show the words around a phrase.

use std::ops::Range;

/// Text kept behind the reader, in bytes. A snippet that begins further back than this begins later.
pub(crate) const KEPT: u64 = 1024;
/// Longest stretch of text that is read between two looks at what is kept, in bytes.
pub(crate) const BLOCK: usize = 4096;
/// Most text of a snippet, in bytes.
const SNIPPET: u64 = 160;
/// How much of a snippet stands before the phrase, in bytes.
const LEAD: u64 = 48;

/// The last [`KEPT`] bytes of the text or more, never more than [`KEPT`] and two blocks.
#[derive(Default)]
pub(crate) struct Recent {
    text: String,
    end: u64,
}

impl Recent {
    /// Takes the next block, of at most [`BLOCK`] bytes.
    pub(crate) fn push(&mut self, block: &str) {
        let keep = KEPT as usize;
        if self.text.len() > keep + BLOCK {
            let cut = self.text.floor_char_boundary(self.text.len() - keep);
            self.text.drain(..cut);
        }
        self.text.push_str(block);
        self.end += block.len() as u64;
    }

    /// How much text went by, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The words in a window, as far as they have gone by: whole words, one space between them.
    pub(crate) fn snippet(&self, window: &Window) -> Box<str> {
        let start = self.end - self.text.len() as u64;
        let place = |offset: u64| offset.saturating_sub(start).min(self.text.len() as u64) as usize;
        let range = self.text.ceil_char_boundary(place(window.range.start))
            ..self.text.floor_char_boundary(place(window.range.end));
        let mut text = self.text.get(range).unwrap_or_default();
        let lead = window.phrase.saturating_sub(window.range.start) as usize;
        if window.range.start > 0 {
            let cut = text.find(char::is_whitespace).filter(|cut| *cut < lead);
            text = &text[cut.unwrap_or(0)..];
        }
        if window.is_complete(self.end) {
            let cut = text.rfind(char::is_whitespace).filter(|cut| *cut > text.len() / 2);
            text = &text[..cut.unwrap_or(text.len())];
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ").into()
    }
}

/// The stretch of text that a snippet shows.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Where the phrase begins.
    phrase: u64,
    range: Range<u64>,
}

impl Window {
    /// The window around a phrase that begins at byte `phrase`, opened when the reader is at byte `now`.
    pub(crate) fn around(phrase: u64, now: u64) -> Self {
        let start = phrase.saturating_sub(LEAD).max(now.saturating_sub(KEPT));
        Self { phrase, range: start..start + SNIPPET }
    }

    /// Whether the text has reached the end of the window.
    pub(crate) fn is_complete(&self, end: u64) -> bool {
        end >= self.range.end
    }
}
