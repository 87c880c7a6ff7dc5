//! The Aho-Corasick automaton, and the walk of a text through it.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::{contiguous, noncontiguous};
use aho_corasick::{Anchored, BuildError, MatchKind, PatternID, StartKind, dfa};

pub(crate) use aho_corasick::automaton::StateID;

/// Most memory that the fast form of the automaton may take, in bytes. Above it the compact form is used, which
/// needs about a tenth and runs at about a third of the speed.
const DFA_BUDGET: usize = 128 << 20;

/// All patterns in one automaton. States are plain numbers, so a text can stop and go on at any byte.
pub(crate) enum Machine {
    /// One table look-up a byte.
    Fast(dfa::DFA),
    /// Small.
    Compact(contiguous::NFA),
}

impl Machine {
    /// Builds the automaton; pattern ids count from 0 in the order given.
    pub(crate) fn build(patterns: &[String]) -> Result<Self, BuildError> {
        let nfa =
            noncontiguous::Builder::new().match_kind(MatchKind::Standard).prefilter(false).build(patterns)?;
        if dfa_size(patterns) > DFA_BUDGET {
            return contiguous::Builder::new()
                .prefilter(false)
                .build_from_noncontiguous(&nfa)
                .map(Self::Compact);
        }
        dfa::Builder::new()
            .start_kind(StartKind::Unanchored)
            .prefilter(false)
            .build_from_noncontiguous(&nfa)
            .map(Self::Fast)
    }
}

/// Upper bound of the table's size: a state a byte of the patterns, a column a distinct byte.
fn dfa_size(patterns: &[String]) -> usize {
    let mut seen = [false; 256];
    patterns.iter().flat_map(|pattern| pattern.bytes()).for_each(|byte| seen[byte as usize] = true);
    let columns = (seen.iter().filter(|seen| **seen).count() + 1).next_power_of_two();
    patterns.iter().map(String::len).sum::<usize>() * columns * size_of::<u32>()
}

/// The state before any text.
pub(crate) fn start<A: Automaton>(automaton: &A) -> StateID {
    automaton.start_state(Anchored::No).expect("built for unanchored search, the only kind used")
}

/// The state after one more byte.
#[inline(always)]
pub(crate) fn step<A: Automaton>(automaton: &A, state: StateID, byte: u8) -> StateID {
    automaton.next_state(Anchored::No, state, byte)
}

/// The patterns that end in this state, overlapping ones included.
pub(crate) fn matches<A: Automaton>(automaton: &A, state: StateID) -> impl Iterator<Item = PatternID> {
    (0..automaton.match_len(state)).map(move |index| automaton.match_pattern(state, index))
}
