//! Other borders for the same bytes: what arrives in pieces must mean what it means as a whole.

use std::hash::{DefaultHasher, Hasher as _};

/// Longest piece at a random cut, in bytes.
const LONGEST_PIECE: usize = 40;

/// Most bytes that are also shown one by one: more of them take long, and hold little that fewer do not.
const FEW_BYTES: usize = 512;

/// The bytes cut in two ways: at random, and one by one where they are few; the same bytes are always cut alike.
pub(crate) fn of_bytes(whole: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut ways = vec![cut_at_random(whole)];
    if whole.len() <= FEW_BYTES {
        ways.push(whole.chunks(1).collect());
    }
    ways
}

/// The text cut in two ways: at random, and character by character where it is short.
pub(crate) fn of_text(whole: &str) -> Vec<Vec<&str>> {
    let mut random = Random::of(whole.as_bytes());
    let mut pieces = Vec::new();
    let mut rest = whole;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + random.below(LONGEST_PIECE)));
        pieces.push(piece);
        rest = after;
    }
    let mut ways = vec![pieces];
    if whole.len() <= FEW_BYTES {
        ways.push(whole.char_indices().map(|(at, c)| &whole[at..at + c.len_utf8()]).collect());
    }
    ways
}

pub(crate) fn cut_at_random(whole: &[u8]) -> Vec<&[u8]> {
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
