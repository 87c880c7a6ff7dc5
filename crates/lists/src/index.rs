//! The compiled index: which hosts and paths are on which lists, as keyed hashes in sorted order.
//!
//! Entries themselves are not kept: what matched can be told from the target. The first bits of a hash choose a short
//! stretch of the table, the next 40 are compared: six bytes and a quarter for an entry, the list included. The key is
//! drawn anew each time, so nobody can prepare two names that collide; by chance one look-up in some 70,000 million
//! does, however long the lists are.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// The place of a list among the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ListId(pub(crate) u16);

/// What is known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Listing {
    /// The lists that hold the host itself.
    pub(crate) lists: Vec<ListId>,
    /// Whether a list holds a path on it.
    pub(crate) has_paths: bool,
}

/// The index of all lists of a policy.
pub(crate) struct Index {
    keys: Keys,
    hosts: Table,
    paths: Table,
}

impl Index {
    /// What is known of a host, if anything.
    pub(crate) fn host(&self, host: &str) -> Option<&Listing> {
        self.hosts.find(self.keys.host(host))
    }

    /// The lists that hold this path on this host, exactly as an entry has it.
    pub(crate) fn path(&self, host: &str, path: &str) -> &[ListId] {
        self.paths.find(self.keys.path(host, path)).map_or(&[], |listing| &listing.lists)
    }

    /// How many different hosts and paths are listed.
    pub(crate) fn len(&self) -> usize {
        self.hosts.listed + self.paths.listed
    }
}

/// Gathers entries for an [`Index`].
#[derive(Default)]
pub(crate) struct IndexBuilder {
    keys: Keys,
    hosts: Vec<(u64, Option<ListId>)>,
    paths: Vec<(u64, Option<ListId>)>,
}

impl IndexBuilder {
    /// The hash by which an entry is known: of a host where the path is empty. Both are canonical, the path without a
    /// slash at its end.
    pub(crate) fn hash(&self, host: &str, path: &str) -> u64 {
        self.keys.path(host, path)
    }

    /// Adds a host, with everything below it.
    pub(crate) fn host(&mut self, list: ListId, hash: u64) {
        self.hosts.push((hash, Some(list)));
    }

    /// Adds a path on a host, with everything below it.
    pub(crate) fn path(&mut self, list: ListId, host: &str, hash: u64) {
        self.hosts.push((self.keys.host(host), None));
        self.paths.push((hash, Some(list)));
    }

    /// Sorts what was gathered.
    pub(crate) fn build(self) -> Index {
        Index { keys: self.keys, hosts: Table::new(self.hosts), paths: Table::new(self.paths) }
    }
}

/// The keyed hashes of hosts and paths.
#[derive(Default)]
struct Keys(RandomState);

impl Keys {
    fn host(&self, host: &str) -> u64 {
        self.path(host, "")
    }

    fn path(&self, host: &str, path: &str) -> u64 {
        let mut hasher = self.0.build_hasher();
        host.hash(&mut hasher);
        path.hash(&mut hasher);
        hasher.finish()
    }
}

/// Hashes in ascending order, each with the number of its listing.
struct Table {
    /// Of each hash the 32 bits behind those that choose its stretch...
    high: Box<[u32]>,
    /// ...and the eight after them.
    low: Box<[u8]>,
    /// For each hash, its place in `listings`.
    kinds: Kinds,
    /// Few: most entries are on one list only.
    listings: Vec<Listing>,
    /// Where the stretch begins for each value of the first bits; one more for the end.
    starts: Box<[u32]>,
    first_bits: u32,
    listed: usize,
}

/// Places of listings, as narrow as their number allows.
enum Kinds {
    Narrow(Box<[u8]>),
    Wide(Box<[u32]>),
}

impl Kinds {
    fn new(kinds: Vec<u32>, count: usize) -> Self {
        if count > usize::from(u8::MAX) + 1 {
            return Self::Wide(kinds.into());
        }
        Self::Narrow(kinds.into_iter().map(|kind| kind as u8).collect())
    }

    fn at(&self, place: usize) -> usize {
        match self {
            Self::Narrow(kinds) => kinds[place].into(),
            Self::Wide(kinds) => kinds[place] as usize,
        }
    }
}

impl Table {
    /// Hashes in a stretch, on average from half of this to this: one cache line of `high`.
    const STRETCH: usize = 16;

    fn new(mut entries: Vec<(u64, Option<ListId>)>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        let first_bits = (entries.len() / Self::STRETCH).checked_ilog2().map_or(0, |bits| bits + 1);
        let (mut high, mut low) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let mut kinds = Vec::with_capacity(entries.len());
        let mut listings = Vec::new();
        let mut numbers = std::collections::HashMap::new();
        let mut starts = Vec::with_capacity((1 << first_bits) + 1);
        let mut listed = 0;
        for same in entries.chunk_by(|a, b| a.0 == b.0) {
            let lists: Vec<ListId> = same.iter().filter_map(|(_, list)| *list).collect();
            let listing = Listing { has_paths: lists.len() < same.len(), lists };
            listed += usize::from(!listing.lists.is_empty());
            let kind = *numbers.entry(listing).or_insert_with_key(|listing| {
                listings.push(listing.clone());
                listings.len() - 1
            });
            let Split { first, rest } = Split::of(same[0].0, first_bits);
            starts.resize(first + 1, count(high.len()));
            high.push(rest.0);
            low.push(rest.1);
            kinds.push(count(kind));
        }
        starts.resize((1 << first_bits) + 1, count(high.len()));
        let kinds = Kinds::new(kinds, listings.len());
        Self {
            high: high.into(),
            low: low.into(),
            kinds,
            listings,
            starts: starts.into(),
            first_bits,
            listed,
        }
    }

    fn find(&self, hash: u64) -> Option<&Listing> {
        let Split { first, rest } = Split::of(hash, self.first_bits);
        let (start, end) = (self.starts[first] as usize, self.starts[first + 1] as usize);
        let stretch = &self.high[start..end];
        let found = stretch.iter().enumerate().filter(|(_, high)| **high == rest.0);
        let place = found.map(|(at, _)| start + at).find(|place| self.low[*place] == rest.1)?;
        Some(&self.listings[self.kinds.at(place)])
    }
}

/// A hash, taken apart.
struct Split {
    first: usize,
    rest: (u32, u8),
}

impl Split {
    fn of(hash: u64, first_bits: u32) -> Self {
        let first = hash.checked_shr(u64::BITS - first_bits).unwrap_or(0) as usize;
        let rest = hash << first_bits;
        Self { first, rest: ((rest >> 32) as u32, (rest >> 24) as u8) }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a policy's files are too small for so many entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in() {
        let mut builder = IndexBuilder::default();
        let mut add = |list: u16, host: &str, path: &str| match (builder.hash(host, path), path) {
            (hash, "") => builder.host(ListId(list), hash),
            (hash, _) => builder.path(ListId(list), host, hash),
        };
        for number in 0..5000u16 {
            add(number % 7, &format!("h{number}.example"), "");
            add(1, &format!("h{}.example", number % 100), &format!("/{number}"));
        }
        let index = builder.build();
        assert_eq!(index.len(), 10_000);
        for number in 0..5000u16 {
            let listing = index.host(&format!("h{number}.example")).unwrap();
            assert_eq!(listing.lists, [ListId(number % 7)]);
            assert_eq!(listing.has_paths, number < 100);
            assert_eq!(index.path(&format!("h{}.example", number % 100), &format!("/{number}")), [ListId(1)]);
            assert!(index.host(&format!("g{number}.example")).is_none());
            assert!(index.path(&format!("h{number}.example"), "/none").is_empty());
        }
    }

    #[test]
    fn few_and_many_kinds() {
        for (name, hosts, lists) in
            [("one host", 1, 1), ("a few", 20, 3), ("more kinds than a byte counts", 2000, 1000)]
        {
            let mut builder = IndexBuilder::default();
            for number in 0..hosts {
                let hash = builder.hash(&format!("h{number}.example"), "");
                builder.host(ListId(number % lists), hash);
            }
            let index = builder.build();
            for number in 0..hosts {
                let listing = index.host(&format!("h{number}.example")).expect(name);
                assert_eq!(listing.lists, [ListId(number % lists)], "{name}");
            }
            assert!(index.host("g.example").is_none(), "{name}");
        }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        let index = IndexBuilder::default().build();
        assert!(index.len() == 0 && index.host("a.example").is_none());
    }
}
