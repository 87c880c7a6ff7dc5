//! Other borders for the same bytes: what arrives in pieces must mean what it means as a whole.

use std::hash::{DefaultHasher, Hasher as _};

/// Longest piece at a random cut, in bytes.
const LONGEST_PIECE: usize = 40;

/// The bytes cut in two ways: one by one, and at random; the same bytes are always cut alike.
pub(crate) fn of_bytes(whole: &[u8]) -> [Vec<&[u8]>; 2] {
    [whole.chunks(1).collect(), cut_at_random(whole)]
}

/// The text cut in two ways: character by character, and at random.
pub(crate) fn of_text(whole: &str) -> [Vec<&str>; 2] {
    let characters = whole.char_indices().map(|(at, c)| &whole[at..at + c.len_utf8()]).collect();
    let mut random = Random::of(whole.as_bytes());
    let mut pieces = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + random.below(LONGEST_PIECE)));
        pieces.push(piece);
        rest = after;
    }
    [characters, pieces]
}

fn cut_at_random(whole: &[u8]) -> Vec<&[u8]> {
    let mut random = Random::of(whole);
    let mut pieces = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + random.below(LONGEST_PIECE)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Numbers that depend on the input alone (xorshift), so that a finding can be repeated.
struct Random(u64);

impl Random {
    fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self(hasher.finish() | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
