//! Reads one text as it streams past: folds it, walks it through the automaton, and hands occurrences to the tally.

use std::sync::Arc;

use aho_corasick::automaton::Automaton;
use wardgate_core::{Finding, Inspector, TextKind};

use crate::compile::Compiled;
use crate::file::MAX_PHRASE_WORDS;
use crate::fold::{BEYOND_ASCII, DROPPED, FOLD, Folded, SEPARATOR, fold_char, is_letter};
use crate::machine::{self, Machine, StateID};
use crate::recent::{BLOCK, Recent};
use crate::tally::{Occurrence, Tally};

/// How many word beginnings are remembered: more than any phrase has words.
const WORD_RING: usize = 32;
const _: () = assert!(WORD_RING > MAX_PHRASE_WORDS);

/// The reader of one text.
pub(crate) struct PhraseInspector {
    compiled: Arc<Compiled>,
    reader: Reader,
    tally: Tally,
    recent: Recent,
}

impl PhraseInspector {
    pub(crate) fn new(compiled: Arc<Compiled>, kind: TextKind) -> Self {
        let reader = Reader::new(match &compiled.machine {
            Machine::Fast(automaton) => start_of_text(automaton),
            Machine::Compact(automaton) => start_of_text(automaton),
        });
        let tally = Tally::new(kind, compiled.categories.len());
        Self { compiled, reader, tally, recent: Recent::default() }
    }

    fn block(&mut self, block: &str) {
        let Self { compiled, reader, tally, recent } = self;
        match &compiled.machine {
            Machine::Fast(automaton) => Walk { automaton, compiled, reader, tally }.block(block),
            Machine::Compact(automaton) => Walk { automaton, compiled, reader, tally }.block(block),
        }
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
        match &compiled.machine {
            Machine::Fast(automaton) => Walk { automaton, compiled, reader, tally }.separator(),
            Machine::Compact(automaton) => Walk { automaton, compiled, reader, tally }.separator(),
        }
        tally.end(compiled, reader.offset);
        tally.show(recent);
        tally.take_changed()
    }

    fn findings(&self, into: &mut Vec<Finding>) {
        self.tally.findings(&self.compiled, into);
    }
}

/// The state after the space that every text begins with.
fn start_of_text<A: Automaton>(automaton: &A) -> StateID {
    machine::step(automaton, machine::start(automaton), SEPARATOR)
}

/// Where the reader stands. Nothing else is carried from one piece of the text to the next.
struct Reader {
    state: StateID,
    /// Whether the last letter or separator was a letter.
    in_word: bool,
    /// The number of the word being read, from 0.
    word: u64,
    /// Byte offset of the character being read.
    offset: u64,
    /// Where the last words began, by word number modulo [`WORD_RING`].
    begins: [u64; WORD_RING],
}

impl Reader {
    fn new(state: StateID) -> Self {
        Self { state, in_word: false, word: 0, offset: 0, begins: [0; WORD_RING] }
    }

    /// Says that the next word begins at `offset` at the earliest.
    #[inline(always)]
    fn begin_word(&mut self, offset: u64) {
        self.begins[self.word as usize % WORD_RING] = offset;
    }
}

/// One block of text on its way through the automaton.
struct Walk<'w, A> {
    automaton: &'w A,
    compiled: &'w Compiled,
    reader: &'w mut Reader,
    tally: &'w mut Tally,
}

impl<A: Automaton> Walk<'_, A> {
    /// For ASCII one look-up in [`FOLD`] and one step of the automaton a byte.
    fn block(&mut self, block: &str) {
        let mut rest = block;
        while let Some(byte) = rest.bytes().next() {
            let read = match FOLD[byte as usize] {
                SEPARATOR => {
                    self.separator();
                    self.reader.begin_word(self.reader.offset + 1);
                    1
                }
                DROPPED => 1,
                BEYOND_ASCII => self.beyond_ascii(rest.chars().next().unwrap_or_default()),
                _ => self.letters(rest.as_bytes()),
            };
            self.reader.offset += read as u64;
            rest = &rest[read..];
        }
    }

    /// Reads the ASCII letters at the front of `bytes`; returns how many they are. The state stays in a register:
    /// this is where most of the time goes.
    #[inline]
    fn letters(&mut self, bytes: &[u8]) -> usize {
        self.reader.in_word = true;
        let mut state = self.reader.state;
        for (at, byte) in bytes.iter().enumerate() {
            let folded = FOLD[*byte as usize];
            if !is_letter(folded) {
                self.reader.state = state;
                return at;
            }
            state = machine::step(self.automaton, state, folded);
            if self.automaton.is_special(state) {
                self.matched(state, self.reader.offset + at as u64);
            }
        }
        self.reader.state = state;
        bytes.len()
    }

    /// Reads a character beyond ASCII; returns how many bytes it has.
    fn beyond_ascii(&mut self, character: char) -> usize {
        let length = character.len_utf8();
        let after = self.reader.offset + length as u64;
        fold_char(character, |part| match part {
            Folded::Letter(letter) => {
                self.reader.in_word = true;
                letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.step(byte));
            }
            Folded::Separator => {
                self.separator();
                self.reader.begin_word(after);
            }
        });
        length
    }

    /// Ends the word being read, if there is one.
    #[inline(always)]
    fn separator(&mut self) {
        if self.reader.in_word {
            self.step(SEPARATOR);
            self.reader.in_word = false;
            self.reader.word += 1;
            self.tally.at_word(self.compiled, self.reader.word, self.reader.offset);
        }
    }

    #[inline(always)]
    fn step(&mut self, byte: u8) {
        self.reader.state = machine::step(self.automaton, self.reader.state, byte);
        if self.automaton.is_special(self.reader.state) {
            self.matched(self.reader.state, self.reader.offset);
        }
    }

    #[cold]
    fn matched(&mut self, state: StateID, now: u64) {
        if !self.automaton.is_match(state) {
            return;
        }
        let last_word = self.reader.word;
        for pattern in machine::matches(self.automaton, state) {
            let pattern = &self.compiled.patterns[pattern.as_usize()];
            let first_word = (last_word + 1).saturating_sub(pattern.words);
            let begin = self.reader.begins[first_word as usize % WORD_RING];
            self.tally.pattern(self.compiled, pattern, Occurrence { first_word, last_word, begin }, now);
        }
    }
}
