//! The compiled index: which hosts and paths are on which lists, as keyed hashes in sorted order.
//!
//! Entries themselves are not kept: a 64-bit hash takes a fifth of the room of a name, and what matched can be told
//! from the target. The key is drawn anew each time, so nobody can prepare two names that collide; by
//! chance, with five million entries, one look-up in four million million would.

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
    /// Adds a host, with everything below it. Both are canonical.
    pub(crate) fn host(&mut self, list: ListId, host: &str) {
        self.hosts.push((self.keys.host(host), Some(list)));
    }

    /// Adds a path on a host, with everything below it. Both are canonical, the path without a slash at its end.
    pub(crate) fn path(&mut self, list: ListId, host: &str, path: &str) {
        self.hosts.push((self.keys.host(host), None));
        self.paths.push((self.keys.path(host, path), Some(list)));
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

/// Hashes in ascending order, each with the number of its listing. The first bits of a hash tell where to search, so
/// that a look-up touches one short stretch of memory.
struct Table {
    hashes: Box<[u64]>,
    /// For each of `hashes`, its place in `listings`.
    kinds: Box<[u32]>,
    /// Few: most entries are on one list only.
    listings: Vec<Listing>,
    /// For each value of the first bits, where its hashes begin; one more for the end.
    starts: Box<[u32]>,
    shift: u32,
    listed: usize,
}

impl Table {
    fn new(mut entries: Vec<(u64, Option<ListId>)>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        let mut hashes = Vec::new();
        let mut kinds = Vec::new();
        let mut listings = Vec::new();
        let mut numbers = std::collections::HashMap::new();
        let mut listed = 0;
        for same in entries.chunk_by(|a, b| a.0 == b.0) {
            let lists: Vec<ListId> = same.iter().filter_map(|(_, list)| *list).collect();
            let listing = Listing { has_paths: lists.len() < same.len(), lists };
            listed += usize::from(!listing.lists.is_empty());
            let kind = *numbers.entry(listing).or_insert_with_key(|listing| {
                listings.push(listing.clone());
                listings.len() - 1
            });
            hashes.push(same[0].0);
            kinds.push(
                u32::try_from(kind).expect("no more kinds than entries, which fit in memory by the text"),
            );
        }
        let bits = hashes.len().max(2).ilog2();
        let shift = u64::BITS - bits;
        let starts = (0..=1u64 << bits)
            .map(|first| hashes.partition_point(|hash| hash >> shift < first) as u32)
            .collect();
        Self { hashes: hashes.into(), kinds: kinds.into(), listings, starts, shift, listed }
    }

    fn find(&self, hash: u64) -> Option<&Listing> {
        let bucket = (hash >> self.shift) as usize;
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        let place = range.start + self.hashes[range].binary_search(&hash).ok()?;
        Some(&self.listings[self.kinds[place] as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_put_in() {
        let mut builder = IndexBuilder::default();
        for number in 0..5000u16 {
            builder.host(ListId(number % 7), &format!("h{number}.example"));
            builder.path(ListId(1), &format!("h{}.example", number % 100), &format!("/{number}"));
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
    fn an_empty_index_finds_nothing() {
        let index = IndexBuilder::default().build();
        assert!(index.len() == 0 && index.host("a.example").is_none());
    }
}
