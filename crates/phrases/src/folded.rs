//! The folded text that was read last, and where in the text each of its letters comes from.

use std::ops::Range;

use crate::fold::{self, CHUNK, SEPARATOR, Special, fold_char, fold_chunk, fold_special};

/// Separators before everything else: a text begins like a word, and bytes before a word's end may be read unasked.
pub(crate) const FRONT: usize = 8;

/// Letters and separators. Positions are places in [`Folded::bytes`].
pub(crate) struct Folded {
    bytes: Vec<u8>,
    origins: Vec<Origin>,
    /// Bytes of text that were read.
    offset: u64,
}

/// Where a stretch of folded text comes from.
struct Origin {
    /// Where the stretch begins.
    position: usize,
    /// Where the text that it comes from begins.
    offset: u64,
    /// The length of the character that all of the stretch comes from; nothing where they are equal byte for byte.
    character: Option<u8>,
}

impl Folded {
    /// A text of which nothing was read.
    pub(crate) fn new() -> Self {
        let mut folded = Self { bytes: vec![SEPARATOR; FRONT], origins: Vec::new(), offset: 0 };
        folded.resume_at(0);
        folded
    }

    /// At least [`FRONT`] separators, and the folded text.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts so many separators behind the text, so that it can be read in whole groups.
    pub(crate) fn pad(&mut self, separators: usize) {
        self.bytes.resize(self.bytes.len() + separators, SEPARATOR);
    }

    /// Takes those separators away again.
    pub(crate) fn unpad(&mut self, separators: usize) {
        self.bytes.truncate(self.bytes.len() - separators);
    }

    /// Bytes of text that were read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on.
    pub(crate) fn push(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let plain = self.push_plain(rest.as_bytes());
            let special = self.push_special(&rest[plain..]);
            rest = &rest[plain + special..];
        }
    }

    /// Says that the text has ended, and the word that was being read.
    pub(crate) fn end_word(&mut self) {
        self.align();
        self.bytes.push(SEPARATOR);
    }

    /// Reads ASCII up to the first special character; returns how much that is.
    fn push_plain(&mut self, bytes: &[u8]) -> usize {
        self.align();
        let before = self.bytes.len();
        let (chunks, last) = bytes.as_chunks();
        let special = chunks.iter().find_map(|chunk| self.push_chunk(chunk));
        if special.is_none() {
            let mut chunk = [b'\''; CHUNK];
            chunk[..last.len()].copy_from_slice(last);
            self.push_chunk(&chunk);
        }
        let read = self.bytes.len() - before;
        self.offset += read as u64;
        read
    }

    /// Reads a chunk up to its first special character, and returns the place of that.
    #[inline(always)]
    fn push_chunk(&mut self, chunk: &[u8; CHUNK]) -> Option<usize> {
        let (folded, special) = fold_chunk(chunk);
        self.bytes.extend_from_slice(&folded);
        if let Some(place) = special {
            self.bytes.truncate(self.bytes.len() - (CHUNK - place));
        }
        special
    }

    /// Reads special characters up to the first that is plain; returns how much that is.
    fn push_special(&mut self, text: &str) -> usize {
        let before = self.offset;
        for character in text.chars() {
            if character.is_ascii() && !fold::is_special(character as u8) {
                break;
            }
            let length = character.len_utf8();
            match fold_special(character) {
                Special::Dropped => {}
                Special::Letter(letter) if letter.len_utf8() == length => {
                    self.align();
                    self.push_letter(letter);
                }
                Special::Letter(letter) => {
                    self.begin_stretch(Some(length as u8));
                    self.push_letter(letter);
                }
                Special::Separator => {
                    self.begin_stretch(Some(length as u8));
                    self.bytes.push(SEPARATOR);
                }
                Special::Several => {
                    self.begin_stretch(Some(length as u8));
                    fold_char(character, |part| match part {
                        fold::Folded::Letter(letter) => self.push_letter(letter),
                        fold::Folded::Separator => self.bytes.push(SEPARATOR),
                    });
                }
            }
            self.offset += length as u64;
        }
        (self.offset - before) as usize
    }

    fn push_letter(&mut self, letter: char) {
        self.bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Makes sure that what is read next counts as equal byte for byte to the text from here on.
    fn align(&mut self) {
        let is_aligned = self.origins.last().is_some_and(|last| {
            last.character.is_none()
                && last.offset.wrapping_add((self.bytes.len() - last.position) as u64) == self.offset
        });
        if !is_aligned {
            self.begin_stretch(None);
        }
    }

    fn begin_stretch(&mut self, character: Option<u8>) {
        let position = self.bytes.len();
        // A stretch without a letter is none: so there are never more of them than letters.
        self.origins.pop_if(|last| last.position == position);
        self.origins.push(Origin { position, offset: self.offset, character });
    }

    /// The offset of the character that a letter or separator comes from.
    pub(crate) fn start_of(&self, position: usize) -> u64 {
        let origin = self.origin(position);
        let mut lead = position;
        while lead > origin.position && self.bytes[lead] & 0xC0 == 0x80 {
            lead -= 1;
        }
        match origin.character {
            Some(_) => origin.offset,
            None => origin.offset.wrapping_add((lead - origin.position) as u64),
        }
    }

    /// The offset behind the character that a separator comes from.
    pub(crate) fn end_of(&self, separator: usize) -> u64 {
        let origin = self.origin(separator);
        match origin.character {
            Some(length) => origin.offset + u64::from(length),
            None => origin.offset.wrapping_add((separator - origin.position) as u64 + 1),
        }
    }

    fn origin(&self, position: usize) -> &Origin {
        let after = self.origins.partition_point(|origin| origin.position <= position);
        &self.origins[after.saturating_sub(1)]
    }

    /// Forgets everything but these words, which move to the front with a separator behind each, and their ranges with
    /// them. The last one is still being read if `is_open`.
    pub(crate) fn keep(&mut self, words: &mut [Range<usize>], is_open: bool) {
        let resumed = if is_open { self.offset } else { self.end_of(self.bytes.len() - 1) };
        let mut end = FRONT;
        for word in words {
            let moved = end..end + word.len();
            self.bytes.copy_within(word.clone(), moved.start);
            // There was a separator before the next word, so no letter of it is lost.
            if let Some(behind) = self.bytes.get_mut(moved.end) {
                *behind = SEPARATOR;
            }
            end = moved.end + 1;
            *word = moved;
        }
        self.bytes.truncate(if is_open { end - 1 } else { end });
        self.resume_at(resumed);
    }

    /// Says where in the text what is read next comes from.
    fn resume_at(&mut self, offset: u64) {
        let position = self.bytes.len() - 1;
        self.origins.clear();
        self.origins.push(Origin { position, offset: offset.wrapping_sub(1), character: None });
    }
}
