//! Reads one text as it streams past: folds it, tells its words apart, and hands the phrases that end in or with them
//! to the tally.

use std::cmp::Reverse;
use std::sync::Arc;

use wardgate_core::{Finding, Inspector, TextKind};

use crate::compile::Compiled;
use crate::finder::{REACH, Site};
use crate::folded::FRONT;
use crate::past::{GROUP, Past};
use crate::recent::{BLOCK, Recent};
use crate::tally::{Occurrence, Tally};

/// How much folded text there may be before most of it is forgotten.
const MUCH_FOLDED: usize = 2 * BLOCK;

/// The reader of one text.
pub(crate) struct PhraseInspector {
    compiled: Arc<Compiled>,
    reader: Reader,
    pub(crate) tally: Tally,
    recent: Recent,
}

impl PhraseInspector {
    pub(crate) fn new(compiled: Arc<Compiled>, kind: TextKind) -> Self {
        let tally = Tally::new(kind, compiled.categories.len());
        Self { compiled, reader: Reader::new(), tally, recent: Recent::default() }
    }

    fn block(&mut self, block: &str) {
        let Self { compiled, reader, tally, recent } = self;
        reader.forget();
        reader.past.folded.push(block);
        Walk { compiled, reader, tally }.read();
        recent.push(block);
        tally.show(recent);
    }
}

impl Inspector for PhraseInspector {
    fn text(&mut self, piece: &str) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            let (block, after) = rest.split_at(rest.floor_char_boundary(BLOCK));
            self.block(block);
            rest = after;
        }
        self.tally.take_changed()
    }

    fn end(&mut self) -> bool {
        let Self { compiled, reader, tally, recent } = self;
        reader.past.folded.end_word();
        Walk { compiled, reader, tally }.read();
        tally.end(compiled, reader.past.folded.offset());
        tally.show(recent);
        tally.take_changed()
    }

    fn findings(&self, into: &mut Vec<Finding>) {
        self.tally.findings(&self.compiled, into);
    }
}

/// Where the reader stands, and all that it carries from one piece of the text to the next.
struct Reader {
    past: Past,
    /// How much of the folded text was read.
    position: usize,
    /// The number of the word being read or to be read next.
    word: u64,
    /// Where the word being read begins, if one is.
    open: Option<usize>,
    /// How many of its letters are forgotten.
    missing: usize,
    /// Behind how many of its letters phrases were looked for already.
    looked: usize,
    /// The hash of the word before: see `finder::Letters`.
    previous: u64,
    /// The last word that is known to matter whatever it is.
    led: Option<u64>,
    /// The word that the tally was told of last.
    told: u64,
    /// What was found in the word that is looked at.
    found: Vec<Found>,
}

impl Reader {
    fn new() -> Self {
        Self {
            past: Past::new(),
            position: FRONT,
            word: 0,
            open: None,
            missing: 0,
            looked: 0,
            previous: 0,
            led: None,
            told: 0,
            found: Vec::new(),
        }
    }

    /// Forgets what no phrase reaches back to, once there is much of it.
    fn forget(&mut self) {
        if self.past.folded.len() <= MUCH_FOLDED {
            return;
        }
        match self.open {
            None => self.past.forget(false),
            Some(start) => {
                self.past.push_open(start);
                self.past.forget(true);
                let place = self.past.pop_open();
                self.missing += self.position - start - place.len();
                self.open = Some(place.start);
            }
        }
        self.position = self.past.folded.len();
    }
}

/// Folded text on its way past the phrases.
struct Walk<'w> {
    compiled: &'w Compiled,
    reader: &'w mut Reader,
    tally: &'w mut Tally,
}

/// A bit for each of some words: whether there may be something to look for.
struct Marks {
    /// Patterns that end with the word.
    ends: u64,
    /// Patterns that end within it.
    within: u64,
}

/// A pattern that was found.
struct Found {
    pattern: usize,
    /// Where it ends in the folded text.
    end: usize,
    length: usize,
}

impl Walk<'_> {
    /// Reads what was folded, group by group.
    fn read(&mut self) {
        let length = self.reader.past.folded.len();
        self.reader.past.folded.pad(GROUP + REACH);
        while self.reader.position < length {
            let size = GROUP.min(length - self.reader.position);
            self.group(size);
            self.reader.position += size;
        }
        self.reader.past.folded.unpad(GROUP + REACH);
        if let Some(start) = self.reader.open {
            self.word_goes_on(start);
        }
    }

    fn group(&mut self, size: usize) {
        let Reader { past, position, open, .. } = &mut *self.reader;
        let count = past.tell_apart(*position, size, open);
        if count == 0 {
            return;
        }
        let marks = self.mark(count);
        self.look_at(count, marks);
        self.reader.word += count as u64;
        (self.reader.missing, self.reader.looked) = (0, 0);
    }

    /// Marks the words that ended last. Most of the time goes here.
    fn mark(&mut self, count: usize) -> Marks {
        let finder = &self.compiled.finder;
        let mut previous = self.reader.previous;
        let (mut ends, mut within) = (0, 0);
        for word in self.reader.past.look_at_last(count) {
            // In at the top, so that the bits are in the order of the words.
            ends = ends >> 1 | u64::from(finder.may_end_with(word.hash, previous)) << 63;
            within = within >> 1 | u64::from(finder.may_end_within(word.few)) << 63;
            previous = word.hash;
        }
        self.reader.previous = previous;
        let surplus = u64::BITS as usize - count;
        let mut marks = Marks { ends: ends >> surplus, within: within >> surplus };
        if finder.begins_within() {
            for (number, letters) in self.reader.past.last_letters(count).enumerate() {
                marks.ends |= u64::from(finder.may_be_ending(letters)) << number;
                marks.within |= u64::from(finder.may_hold_part(letters)) << number;
            }
        }
        if finder.looks_everywhere() {
            marks.within = u64::MAX >> surplus;
        }
        marks
    }

    /// Looks for phrases in the marked ones of the words that ended last, and in each that follows one that leads.
    fn look_at(&mut self, count: usize, mut marks: Marks) {
        let first = self.reader.word;
        marks.within |= u64::from(self.reader.led == Some(first));
        loop {
            let number = (marks.ends | marks.within).trailing_zeros();
            if number as usize >= count {
                break;
            }
            if number > 0 {
                (self.reader.missing, self.reader.looked) = (0, 0);
            }
            let (bit, word) = (1 << number, first + u64::from(number));
            self.tell(word);
            if marks.within & bit != 0 {
                self.look_within(word);
            }
            if marks.ends & bit != 0 && self.look_behind(word) {
                marks.within |= bit << 1;
            }
            if !self.reader.found.is_empty() {
                self.tell_found(word);
            }
            marks = Marks { ends: marks.ends & !bit, within: marks.within & !bit };
        }
        self.tell(first + count as u64);
    }

    /// Tells the tally that the reader comes to this word, and of the words before it that it waits for.
    fn tell(&mut self, word: u64) {
        while self.tally.is_due(word) {
            let due = self.tally.deadline().max(self.reader.told) + 1;
            if due > word {
                break;
            }
            let past = &self.reader.past;
            self.tally.at_word(self.compiled, due, past.folded.start_of(past.place(due - 1).end));
            self.reader.told = due;
        }
        self.reader.told = word;
    }

    /// Looks for phrases that end with a word; returns whether the next one matters, whatever it is.
    fn look_behind(&mut self, word: u64) -> bool {
        let Reader { past, found, led, .. } = &mut *self.reader;
        let finder = &self.compiled.finder;
        let place = past.place(word);
        let end = place.end + 1;
        finder.ending_with(&past.folded.bytes()[place], past.hashes(word), |pattern| {
            if past.ends_with(word, end, pattern.text) {
                found.push(Found { pattern: pattern.id, end, length: pattern.text.len() });
            }
        });
        let leads = finder.leads(past.hash(word));
        if leads {
            *led = Some(word + 1);
        }
        leads
    }

    /// Looks for phrases that end in the word being read, of which no more is at hand.
    #[inline(never)]
    fn word_goes_on(&mut self, start: usize) {
        self.reader.past.push_open(start);
        self.look_within(self.reader.word);
        if !self.reader.found.is_empty() {
            self.tell_found(self.reader.word);
        }
        let place = self.reader.past.pop_open();
        self.reader.looked = self.reader.missing + place.len();
    }

    /// Looks for phrases that end within a word.
    fn look_within(&mut self, word: u64) {
        let Reader { past, missing, looked, found, .. } = &mut *self.reader;
        let (finder, place) = (&self.compiled.finder, past.place(word));
        let letters = &past.folded.bytes()[place.clone()];
        let site = Site { letters, missing: *missing, looked: *looked };
        let previous = past.hashes(word).nth(1).unwrap_or_default();
        finder.ending_in(&site, previous, |pattern, letters| {
            let end = place.start + letters - *missing;
            if past.ends_with(word, end, pattern.text) {
                found.push(Found { pattern: pattern.id, end, length: pattern.text.len() });
            }
        });
    }

    /// Tells the tally of the phrases that were found in or with a word: by their ends, the longest first.
    fn tell_found(&mut self, word: u64) {
        let Self { compiled, reader, tally } = self;
        let Reader { past, found, .. } = &mut **reader;
        found.sort_unstable_by_key(|found| (found.end, Reverse(found.length)));
        for Found { pattern, end, .. } in found.drain(..) {
            let pattern = &compiled.patterns[pattern];
            let first_word = (word + 1).saturating_sub(pattern.words);
            let at = Occurrence { first_word, last_word: word, begin: past.begin(first_word) };
            tally.pattern(compiled, pattern, at, past.folded.start_of(end - 1));
        }
    }
}
