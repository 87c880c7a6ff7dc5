//! Which patterns may end in a word, or with it.
//!
//! To compare each word of a text with every pattern would take too long. So each pattern has a *key*, a number made of
//! its end: of its words; or of the first letters of its last word, where other letters may follow; or of its last
//! letters, where others may stand before. A word and those before it give a few such numbers, and only patterns with
//! one of these keys are compared. Even before that, a filter says "no" to most words. So what a text costs depends on
//! how much of it looks like phrases, and hardly on how many there are.

use std::ops::Range;

use crate::file::MIN_OPEN_BYTES;
use crate::filter::{Filter, Table, mix};
use crate::fold::SEPARATOR;

/// Fewest letters of a word that make a key by themselves.
const FEW: usize = 4;
const _: () = assert!(
    FEW <= MIN_OPEN_BYTES && FEW == size_of::<u32>(),
    "a pattern that is a part of a word has so many"
);
/// Most letters of a word that make a key; where all letters count, there is no such limit.
const MANY: usize = 6;

/// All patterns.
pub(crate) struct Finder {
    /// A word, a pair of words or first letters of a word that are not among these belong to no key.
    hints: Filter,
    /// Two words or more that patterns end with.
    chains: Filter,
    /// Keys that are made of words, or of a word and letters of the next.
    wholes: Filter,
    /// See [`Finder::leads`].
    leads: Filter,
    /// For each key its patterns, as a range of `listed`.
    keys: Table<u64, Range<u32>>,
    listed: Box<[Entry]>,
    /// The text of all patterns.
    bytes: Box<[u8]>,
    lengths: Lengths,
}

/// A pattern: folded text, with a separator at either end where a word must begin or end.
#[derive(Clone, Copy)]
pub(crate) struct Pattern<'f> {
    /// Its place in the list that was compiled.
    pub(crate) id: usize,
    pub(crate) text: &'f [u8],
    /// How many letters it has of its last word.
    last_letters: usize,
}

/// What a pattern ends in, or with.
pub(crate) struct Site<'t> {
    /// The letters of the word, but for the first ones if those are forgotten.
    pub(crate) letters: &'t [u8],
    /// How many are forgotten.
    pub(crate) missing: usize,
    /// Behind how many letters patterns were looked for before.
    pub(crate) looked: usize,
}

impl Finder {
    /// Takes in the patterns, which must be different from each other.
    pub(crate) fn new(patterns: &[String]) -> Self {
        let mut index = Index::default();
        for (id, pattern) in (0..).zip(patterns) {
            index.add(id, pattern);
        }
        index.finish()
    }

    /// Whether there may be a pattern that ends with a word, told in a hurry; or whether this word leads. `previous` is
    /// the [`Letters::hash`] of the word before.
    #[inline(always)]
    pub(crate) fn may_end_with(&self, hash: u64, previous: u64) -> bool {
        self.hints.may_hold(hash) | self.hints.may_hold(words(previous, hash))
    }

    /// Whether there may be a pattern that ends within a word that begins with these letters, told in a hurry.
    #[inline(always)]
    pub(crate) fn may_end_within(&self, few: u32) -> bool {
        self.hints.may_hold(Key::Beginning.of(few.into()))
    }

    /// Whether some patterns begin within a word, so that all of its letters are to be looked at.
    pub(crate) fn begins_within(&self) -> bool {
        self.lengths.endings | self.lengths.parts != 0
    }

    /// Whether a pattern that begins within a word may end with these letters, told in a hurry.
    pub(crate) fn may_be_ending(&self, letters: &[u8]) -> bool {
        let few = letters.last_chunk::<FEW>();
        few.is_some_and(|few| self.hints.may_hold(Key::Ending.of(u32::from_le_bytes(*few).into())))
    }

    /// Whether a pattern that begins within a word may end between these letters, told in a hurry.
    pub(crate) fn may_hold_part(&self, letters: &[u8]) -> bool {
        self.lengths.parts != 0 && letters.windows(FEW).any(|few| self.may_be_part(few))
    }

    fn may_be_part(&self, letters: &[u8]) -> bool {
        let few = letters.last_chunk::<FEW>();
        few.is_some_and(|few| self.hints.may_hold(Key::Part.of(u32::from_le_bytes(*few).into())))
    }

    /// Whether some patterns give no hint.
    pub(crate) fn looks_everywhere(&self) -> bool {
        self.lengths.give_no_hint
    }

    /// Whether the word behind this one matters, whatever it is.
    pub(crate) fn leads(&self, hash: u64) -> bool {
        self.lengths.led != 0 && self.leads.may_hold(hash)
    }

    /// Finds the patterns that may end with the word that ends here. `hashes` are the [`Letters::hash`]es of this and
    /// those before it.
    pub(crate) fn ending_with(
        &self,
        letters: &[u8],
        mut hashes: impl Iterator<Item = u64>,
        mut found: impl FnMut(Pattern<'_>),
    ) {
        for length in lengths(self.lengths.endings, letters.len()) {
            self.each(Key::Ending.of(number(&letters[letters.len() - length..])), &mut found);
        }
        let Some(mut key) = hashes.next() else { return };
        loop {
            if self.wholes.may_hold(key) {
                self.each(key, &mut found);
            }
            let Some(hash) = hashes.next() else { return };
            key = words(hash, key);
            if !self.chains.may_hold(key) {
                return;
            }
        }
    }

    /// Finds the patterns that may end in this word, and behind how many of its letters.
    pub(crate) fn ending_in(
        &self,
        site: &Site<'_>,
        previous: u64,
        mut found: impl FnMut(Pattern<'_>, usize),
    ) {
        let Site { letters, missing, looked } = *site;
        let all = missing + letters.len();
        let mut begins = |pattern: Pattern<'_>| {
            if (looked + 1..=all).contains(&pattern.last_letters) {
                found(pattern, pattern.last_letters);
            }
        };
        let first = number(&letters[..letters.len().min(MANY)]);
        for length in lengths(self.lengths.beginnings | self.lengths.led, letters.len()) {
            let first = first & u64::MAX >> (u64::BITS as usize - 8 * length);
            let key = Key::Beginning.of(first);
            if self.hints.may_hold(key) {
                self.each(key, &mut begins);
            }
            let key = Key::Led.of(previous ^ first);
            if self.wholes.may_hold(key) {
                self.each(key, &mut begins);
            }
        }
        if self.lengths.parts == 0 {
            return;
        }
        for end in looked + 1 - missing..=letters.len() {
            if !self.may_be_part(&letters[..end]) {
                continue;
            }
            for length in lengths(self.lengths.parts, end) {
                let key = Key::Part.of(number(&letters[end - length..end]));
                self.each(key, &mut |pattern| found(pattern, missing + end));
            }
        }
    }

    /// The patterns as they were given.
    #[cfg(test)]
    pub(crate) fn patterns(&self) -> Vec<String> {
        let mut listed = self.listed.to_vec();
        listed.sort_by_key(|entry| entry.id);
        let text = |entry: &Entry| self.bytes[entry.start as usize..][..usize::from(entry.length)].to_vec();
        listed.iter().map(|entry| String::from_utf8(text(entry)).unwrap()).collect()
    }

    /// Finds the patterns with this key.
    fn each(&self, key: u64, found: &mut impl FnMut(Pattern<'_>)) {
        let Some(range) = self.keys.get(&key) else { return };
        for entry in &self.listed[range.start as usize..range.end as usize] {
            let start = entry.start as usize;
            let text = &self.bytes[start..start + entry.length as usize];
            found(Pattern { id: entry.id as usize, text, last_letters: entry.last_letters as usize });
        }
    }
}

/// See [`Pattern`].
#[derive(Clone, Copy)]
struct Entry {
    id: u32,
    /// The place of its text in [`Finder::bytes`].
    start: u32,
    length: u16,
    last_letters: u16,
}

/// What keys are made of, other than the words that a pattern ends with.
#[derive(Clone, Copy)]
enum Key {
    /// The first letters of a word that may have more.
    Beginning = 1,
    /// A word, and the first letters of the next.
    Led,
    /// The last letters of a word that may have more.
    Ending,
    /// Letters of a word that may have more on both sides.
    Part,
}

impl Key {
    #[inline(always)]
    fn of(self, number: u64) -> u64 {
        mix(number, self as u64)
    }
}

/// How many letters the keys of each kind have: a bit for each number.
#[derive(Default)]
struct Lengths {
    led: u8,
    beginnings: u8,
    endings: u8,
    parts: u8,
    /// Whether there are keys that no hint leads to.
    give_no_hint: bool,
}

/// The lengths in such a set, up to the letters that there are.
fn lengths(set: u8, most: usize) -> impl Iterator<Item = usize> {
    let mut rest = u64::from(set) & u64::MAX >> (u64::BITS as usize - 1 - most.min(MANY));
    std::iter::from_fn(move || {
        let length = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (length < u64::BITS).then_some(length as usize)
    })
}

/// Gathers the patterns.
#[derive(Default)]
struct Index {
    hints: Vec<u64>,
    chains: Vec<u64>,
    wholes: Vec<u64>,
    leads: Vec<u64>,
    keys: Vec<(u64, Entry)>,
    bytes: Vec<u8>,
    lengths: Lengths,
}

impl Index {
    fn add(&mut self, id: u32, pattern: &str) {
        let separator = char::from(SEPARATOR);
        let all: Vec<&[u8]> = pattern.trim_matches(separator).split(separator).map(str::as_bytes).collect();
        let (last, before) = all.split_last().expect("what is split has a part");
        let entry = Entry {
            id,
            start: self.bytes.len() as u32,
            length: pattern.len() as u16,
            last_letters: last.len() as u16,
        };
        self.bytes.extend_from_slice(pattern.as_bytes());
        let begins = pattern.starts_with(separator);
        // The words before the last of which the pattern has all letters.
        let whole = if begins { before } else { before.get(1..).unwrap_or_default() };
        match (begins || !before.is_empty(), pattern.ends_with(separator)) {
            (true, true) => self.add_words(entry, last, whole),
            (true, false) => self.add_beginning(entry, last, whole.last()),
            (false, true) => self.lengths.endings |= self.add_letters(entry, last, Key::Ending),
            (false, false) => self.lengths.parts |= self.add_letters(entry, last, Key::Part),
        }
    }

    fn add_words(&mut self, entry: Entry, last: &[u8], before: &[&[u8]]) {
        let mut key = hash(last);
        let mut hint = key;
        for (place, word) in before.iter().rev().enumerate() {
            key = words(hash(word), key);
            self.chains.push(key);
            if place == 0 {
                hint = key;
            }
        }
        self.hints.push(hint);
        self.wholes.push(key);
        self.keys.push((key, entry));
    }

    /// Adds last letters of a word; returns how many the key has, as a bit.
    fn add_letters(&mut self, entry: Entry, letters: &[u8], key: Key) -> u8 {
        let last = |count| &letters[letters.len().saturating_sub(count)..];
        self.hints.push(key.of(number(last(FEW))));
        self.keys.push((key.of(number(last(MANY))), entry));
        1 << last(MANY).len()
    }

    fn add_beginning(&mut self, entry: Entry, letters: &[u8], before: Option<&&[u8]>) {
        let first = &letters[..letters.len().min(MANY)];
        let few = Key::Beginning.of(number(&first[..first.len().min(FEW)]));
        let before = before.map(|word| hash(word));
        match before {
            _ if first.len() >= FEW => self.hints.push(few),
            Some(before) => {
                self.hints.push(before);
                self.leads.push(before);
            }
            None => {
                self.hints.push(few);
                self.lengths.give_no_hint = true;
            }
        }
        let key = match before {
            Some(before) => {
                self.lengths.led |= 1 << first.len();
                Key::Led.of(before ^ number(first))
            }
            None => {
                self.lengths.beginnings |= 1 << first.len();
                let key = Key::Beginning.of(number(first));
                self.hints.push(key);
                key
            }
        };
        self.wholes.push(key);
        self.keys.push((key, entry));
    }

    fn finish(mut self) -> Finder {
        self.keys.sort_unstable_by_key(|(key, entry)| (*key, entry.id));
        let (mut keys, mut start) = (Table::default(), 0);
        for same in self.keys.chunk_by(|one, other| one.0 == other.0) {
            let end = start + same.len() as u32;
            keys.insert(same[0].0, start..end);
            start = end;
        }
        Finder {
            hints: Filter::new(self.hints),
            chains: Filter::new(self.chains),
            wholes: Filter::new(self.wholes),
            leads: Filter::new(self.leads),
            keys,
            listed: self.keys.into_iter().map(|(_, entry)| entry).collect(),
            bytes: self.bytes.into(),
            lengths: self.lengths,
        }
    }
}

/// The letters of a word, as far as they are looked at in a hurry.
pub(crate) struct Letters {
    /// The first [`FEW`], or as many as there are.
    pub(crate) few: u32,
    /// All of them, as a number that hardly any other word has.
    pub(crate) hash: u64,
}

/// The bytes at which [`Letters::new`] looks.
pub(crate) const REACH: usize = 16;

impl Letters {
    /// Those of the word at this place of a text. It is quicker where [`REACH`] bytes follow its beginning.
    #[inline(always)]
    pub(crate) fn new(text: &[u8], start: usize, end: usize) -> Self {
        let letters = match text[start..].first_chunk() {
            Some(letters) => u128::from_le_bytes(*letters),
            None => near_the_end(&text[start..]),
        };
        let length = end.wrapping_sub(start);
        let [mask, rest_mask] = MASKS[length.min(REACH)];
        let (beginning, rest) = (letters as u64 & mask, (letters >> 64) as u64 & rest_mask);
        let mut hash = mix(beginning, rest);
        if length > REACH {
            hash = mix(hash, long_hash(&text[start + REACH..end]));
        }
        Self { few: beginning as u32, hash }
    }
}

#[cold]
fn near_the_end(text: &[u8]) -> u128 {
    let mut letters = [0; REACH];
    letters[..text.len()].copy_from_slice(text);
    u128::from_le_bytes(letters)
}

/// What of [`REACH`] bytes are the letters of a word, by their number.
static MASKS: [[u64; 2]; REACH + 1] = {
    let mut masks = [[0; 2]; REACH + 1];
    let mut length = 1;
    while length <= REACH {
        let mask = u128::MAX >> (128 - 8 * length);
        masks[length] = [mask as u64, (mask >> 64) as u64];
        length += 1;
    }
    masks
};

#[cold]
fn long_hash(letters: &[u8]) -> u64 {
    letters.chunks(8).fold(0, |hash, letters| mix(hash, number(letters)))
}

/// [`Letters::hash`] of these letters.
fn hash(letters: &[u8]) -> u64 {
    Letters::new(letters, 0, letters.len()).hash
}

/// The key of a word and those behind it, of which `behind` is the key.
#[inline(always)]
fn words(hash: u64, behind: u64) -> u64 {
    mix(hash, behind)
}

/// Up to eight letters as a number.
fn number(letters: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..letters.len()].copy_from_slice(letters);
    u64::from_le_bytes(bytes)
}
