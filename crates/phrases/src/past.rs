//! The words that were read last, as many as a phrase may have, and where they stand in the text.

use std::ops::Range;

use crate::file::{MAX_PHRASE_BYTES, MAX_PHRASE_WORDS};
use crate::finder::Letters;
use crate::fold::SEPARATOR;
use crate::folded::Folded;

/// How many bytes of folded text are told apart at a time.
pub(crate) const GROUP: usize = 64;
/// How many words are remembered at least: those of a phrase, and one before it.
pub(crate) const KEPT_WORDS: usize = MAX_PHRASE_WORDS + 1;
/// How many words there may be before all but those are forgotten.
const MANY_WORDS: usize = 256;
/// How much folded text is remembered at least: a phrase with separators at both ends, and a byte before it.
const KEPT_BYTES: usize = MAX_PHRASE_BYTES + 3;

/// Folded text, told apart in words. Words have numbers, from 0.
pub(crate) struct Past {
    pub(crate) folded: Folded,
    /// The last words.
    words: Vec<Word>,
    /// The number of the first of them.
    first: u64,
    /// Where the words before `known` begin in the text, by their number modulo [`KEPT_WORDS`].
    begins: [u64; KEPT_WORDS],
    known: u64,
}

/// A word that was read.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    start: u32,
    end: u32,
    /// See [`Letters`].
    pub(crate) few: u32,
    pub(crate) hash: u64,
}

impl Word {
    fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32, few: 0, hash: 0 }
    }

    #[inline(always)]
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Past {
    /// What is known before the first word.
    pub(crate) fn new() -> Self {
        Self { folded: Folded::new(), words: Vec::new(), first: 0, begins: [0; KEPT_WORDS], known: 0 }
    }

    /// Tells words from separators in the next `size` bytes, a [`GROUP`] at most, behind which there are separators
    /// enough to fill it. `open` is the beginning of the word that goes on there, and afterwards of the one that goes
    /// on behind. Returns how many words have ended.
    pub(crate) fn tell_apart(&mut self, position: usize, size: usize, open: &mut Option<usize>) -> usize {
        if self.words.len() > MANY_WORDS {
            self.keep_words(KEPT_WORDS);
        }
        // A bit for each letter; where the bits change, a word begins or ends.
        let letters = letters(self.folded.bytes()[position..].first_chunk().expect("there is padding"));
        let before = letters << 1 | u64::from(open.is_some());
        let mut begins = letters & !before;
        let mut ends = before & !letters & u64::MAX >> (GROUP - size);
        let count = ends.count_ones() as usize;
        let mut next_begin = || {
            let begin = position + begins.trailing_zeros() as usize;
            begins &= begins.wrapping_sub(1);
            begin
        };
        let mut begin = open.unwrap_or_else(&mut next_begin);
        while ends != 0 {
            self.words.push(Word::new(begin, position + ends.trailing_zeros() as usize));
            ends &= ends - 1;
            begin = next_begin();
        }
        *open = (letters >> (size - 1) & 1 != 0).then_some(begin);
        count
    }

    /// Looks at the letters of the words that ended last; returns the words.
    pub(crate) fn look_at_last(&mut self, count: usize) -> &[Word] {
        let start = self.words.len().saturating_sub(count);
        let words = &mut self.words[start..];
        for word in &mut *words {
            let letters = Letters::new(self.folded.bytes(), word.start as usize, word.end as usize);
            (word.few, word.hash) = (letters.few, letters.hash);
        }
        words
    }

    /// The letters of the words that ended last.
    pub(crate) fn last_letters(&self, count: usize) -> impl Iterator<Item = &[u8]> {
        let start = self.words.len().saturating_sub(count);
        self.words[start..].iter().map(|word| &self.folded.bytes()[word.range()])
    }

    /// Adds the word being read to the others, until [`Past::pop_open`].
    pub(crate) fn push_open(&mut self, start: usize) {
        self.words.push(Word::new(start, self.folded.len()));
    }

    /// Takes the word being read away again; returns its place.
    pub(crate) fn pop_open(&mut self) -> Range<usize> {
        self.words.pop().map_or(0..0, Word::range)
    }

    /// The place of a word in the folded text. Of a word that is forgotten, nothing.
    pub(crate) fn place(&self, word: u64) -> Range<usize> {
        let index = word.checked_sub(self.first).and_then(|index| self.words.get(index as usize));
        index.map_or(0..0, |word| word.range())
    }

    /// The [`Letters::hash`] of a word; of a word that is forgotten, nothing.
    pub(crate) fn hash(&self, word: u64) -> u64 {
        self.hashes(word).next().unwrap_or_default()
    }

    /// The [`Letters::hash`]es of a word and those before it.
    pub(crate) fn hashes(&self, word: u64) -> impl Iterator<Item = u64> {
        let end = (word + 1).saturating_sub(self.first) as usize;
        self.words.iter().take(end).rev().map(|word| word.hash)
    }

    /// Where a word begins in the text: behind the separator before it.
    pub(crate) fn begin(&self, word: u64) -> u64 {
        if word < self.known {
            self.begins[slot(word)]
        } else {
            self.folded.end_of(self.place(word).start.saturating_sub(1))
        }
    }

    /// Whether the text that ends at this place, in a word or with the separator behind it, ends with a pattern.
    pub(crate) fn ends_with(&self, mut word: u64, end: usize, pattern: &[u8]) -> bool {
        let bytes = self.folded.bytes();
        let mut letters = &bytes[self.place(word).start..end];
        let mut rest = pattern;
        while rest.len() > letters.len() {
            let before = rest.strip_suffix(letters).and_then(|rest| rest.strip_suffix(&[SEPARATOR]));
            match before {
                None => return false,
                Some([]) => return true,
                Some(_) if word == 0 => return false,
                Some(before) => rest = before,
            }
            word -= 1;
            letters = &bytes[self.place(word)];
        }
        letters.ends_with(rest)
    }

    /// Forgets what no phrase reaches back to. The last word is still being read if it `is_open`.
    pub(crate) fn forget(&mut self, is_open: bool) {
        let mut bytes = 0;
        let is_needed = |word: &&Word| {
            let is_needed = bytes < KEPT_BYTES;
            bytes += word.range().len() + 1;
            is_needed
        };
        self.keep_words(self.words.iter().rev().take(KEPT_WORDS).take_while(is_needed).count());
        let end = self.first + self.words.len() as u64;
        for word in self.first.max(self.known)..end {
            self.begins[slot(word)] = self.begin(word);
        }
        self.known = end;
        let mut places: Vec<_> = self.words.iter().map(|word| last_bytes(word.range())).collect();
        self.folded.keep(&mut places, is_open);
        for (word, place) in self.words.iter_mut().zip(places) {
            (word.start, word.end) = (place.start as u32, place.end as u32);
        }
    }

    fn keep_words(&mut self, count: usize) {
        let surplus = self.words.len() - count;
        self.words.drain(..surplus);
        self.first += surplus as u64;
    }
}

fn slot(word: u64) -> usize {
    (word % KEPT_WORDS as u64) as usize
}

fn last_bytes(word: Range<usize>) -> Range<usize> {
    word.start.max(word.end.saturating_sub(KEPT_BYTES))..word.end
}

/// A bit for each byte of folded text: whether it is a letter.
#[inline(always)]
fn letters(group: &[u8; GROUP]) -> u64 {
    let (eights, _) = group.as_chunks::<8>();
    let mut bits = 0;
    for (place, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        // Letters, digits and bytes beyond ASCII have one of the bits 6, 4 and 7; a separator has none.
        let marks = (eight | eight << 1 | eight << 3) & 0x8080_8080_8080_8080;
        // Gathers the highest bits of the bytes, which then are in the order of the bytes.
        bits |= (marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56 << (8 * place);
    }
    bits
}
