//! The readable text as it is written.

/// Text on its way to the caller. Remembers whether a word is still open at its end, also after the caller has
/// taken what was written so far.
#[derive(Default)]
pub(crate) struct Prose {
    text: String,
    open: bool,
}

impl Prose {
    /// Appends a piece; it continues the word before it.
    pub(crate) fn push(&mut self, piece: &str) {
        if let Some(last) = piece.as_bytes().last() {
            self.text.push_str(piece);
            self.open = !last.is_ascii_whitespace();
        }
    }

    /// Ends the word, so that what follows does not run into it.
    pub(crate) fn gap(&mut self) {
        if self.open {
            self.text.push('\n');
            self.open = false;
        }
    }

    /// Appends a text that stands by itself.
    pub(crate) fn aside(&mut self, piece: &str) {
        self.gap();
        self.push(piece);
        self.gap();
    }

    /// Exchanges what was written so far for another text, which is written on from here.
    pub(crate) fn swap(&mut self, text: &mut String) {
        std::mem::swap(&mut self.text, text);
    }

    /// Appends what was written so far to a text.
    #[cfg(test)]
    pub(crate) fn drain_into(&mut self, text: &mut String) {
        text.push_str(&std::mem::take(&mut self.text));
    }
}
