//! The plain way to find phrases, which the quick one is held against: every character folded by itself, every byte
//! walked through an Aho-Corasick automaton.

use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::noncontiguous::NFA;
use wardgate_core::{Finding, Inspector, TextKind};

use crate::Phrases;
use crate::compile::Compiled;
use crate::fold::{Folded, fold_char};
use crate::recent::{BLOCK, Recent};
use crate::tally::{Occurrence, Tally};

/// A reader that takes its time.
pub(crate) struct Oracle {
    compiled: Arc<Compiled>,
    automaton: Arc<NFA>,
    state: StateID,
    in_word: bool,
    word: u64,
    offset: u64,
    begins: Vec<u64>,
    pub(crate) tally: Tally,
    recent: Recent,
}

/// The automaton of these phrases.
pub(crate) fn automaton(phrases: &Phrases) -> Arc<NFA> {
    Arc::new(NFA::new(phrases.compiled.finder.patterns()).unwrap())
}

impl Oracle {
    pub(crate) fn new(phrases: &Phrases, automaton: &Arc<NFA>, kind: TextKind) -> Self {
        let compiled = Arc::clone(&phrases.compiled);
        let start = automaton.start_state(Anchored::No).unwrap();
        Self {
            state: automaton.next_state(Anchored::No, start, b' '),
            automaton: Arc::clone(automaton),
            in_word: false,
            word: 0,
            offset: 0,
            begins: vec![0],
            tally: Tally::new(kind, compiled.categories.len()),
            recent: Recent::default(),
            compiled,
        }
    }

    fn step(&mut self, byte: u8) {
        self.state = self.automaton.next_state(Anchored::No, self.state, byte);
        if !self.automaton.is_match(self.state) {
            return;
        }
        for index in 0..self.automaton.match_len(self.state) {
            let pattern = self.automaton.match_pattern(self.state, index).as_usize();
            let pattern = &self.compiled.patterns[pattern];
            let first_word = (self.word + 1).saturating_sub(pattern.words);
            let begin = self.begins[first_word as usize];
            let at = Occurrence { first_word, last_word: self.word, begin };
            self.tally.pattern(&self.compiled, pattern, at, self.offset);
        }
    }

    fn separator(&mut self) {
        if self.in_word {
            self.step(b' ');
            self.in_word = false;
            self.word += 1;
            self.tally.at_word(&self.compiled, self.word, self.offset);
        }
    }

    fn character(&mut self, character: char) {
        let after = self.offset + character.len_utf8() as u64;
        let mut parts = Vec::new();
        fold_char(character, |part| parts.push(part));
        for part in parts {
            match part {
                Folded::Letter(letter) => {
                    self.in_word = true;
                    letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.step(byte));
                }
                Folded::Separator => {
                    self.separator();
                    self.begins.truncate(self.word as usize);
                    self.begins.push(after);
                }
            }
        }
        self.offset = after;
    }
}

impl Inspector for Oracle {
    fn text(&mut self, piece: &str) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            let (block, after) = rest.split_at(rest.floor_char_boundary(BLOCK));
            block.chars().for_each(|character| self.character(character));
            self.recent.push(block);
            self.tally.show(&self.recent);
            rest = after;
        }
        self.tally.take_changed()
    }

    fn end(&mut self) -> bool {
        self.separator();
        self.tally.end(&self.compiled, self.offset);
        self.tally.show(&self.recent);
        self.tally.take_changed()
    }

    fn findings(&self, into: &mut Vec<Finding>) {
        self.tally.findings(&self.compiled, into);
    }
}
