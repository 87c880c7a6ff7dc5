//! Keeps the score: which phrases occurred, which of them an exclusion voids, and what each category comes to.

use std::sync::Arc;

use wardgate_core::{Evidence, Finding, PhraseHit, TextKind};

use crate::STAGE;
use crate::compile::{CategoryId, Compiled, Entry, EntryId, Pattern, Reach, Role};
use crate::filter::Table;
use crate::recent::{Recent, Window};

/// Most hits recorded for a category; what comes later still counts for the score.
const MAX_HITS: usize = 32;
/// Most occurrences that wait to hear whether an exclusion follows; the oldest counts when one more comes.
const MAX_OPEN: usize = 256;
/// Counting of one phrase's occurrences stops here.
const MAX_SEEN: u32 = 1000;

/// A place where a pattern occurred.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence {
    pub(crate) first_word: u64,
    pub(crate) last_word: u64,
    /// Byte offset of the first word.
    pub(crate) begin: u64,
}

impl Occurrence {
    /// How many words lie from one to the other; 0 where they overlap.
    fn distance(&self, other: &Self) -> u64 {
        let after = self.first_word.saturating_sub(other.last_word);
        let before = other.first_word.saturating_sub(self.last_word);
        after.max(before)
    }

    /// The stretch that holds both.
    fn cover(&self, other: &Self) -> Self {
        Self {
            first_word: self.first_word.min(other.first_word),
            last_word: self.last_word.max(other.last_word),
            begin: self.begin.min(other.begin),
        }
    }
}

/// A part of a combination, where it last occurred.
type Part = Option<(Occurrence, Arc<str>)>;

/// What is known of one entry.
#[derive(Default)]
struct Seen {
    /// Where one of its exclusions occurred last.
    excluded: Option<Occurrence>,
    parts: Box<[Part]>,
    occurrences: u32,
    counted: u32,
    /// The first occurrence that counts, or the first of all while none does.
    hit: Option<Hit>,
}

/// An occurrence as the evidence shows it.
struct Hit {
    shown: Arc<str>,
    begin: u64,
    window: Window,
    snippet: Box<str>,
}

/// An occurrence of an entry.
struct Sighting {
    entry: EntryId,
    at: Occurrence,
    shown: Arc<str>,
}

/// An occurrence that an exclusion may still void.
struct Open {
    sighting: Sighting,
    reach: Reach,
}

impl Open {
    fn deadline(&self) -> u64 {
        self.sighting.at.last_word + self.reach.horizon
    }
}

/// What a category comes to.
#[derive(Default)]
struct Sum {
    score: i64,
    hits: Vec<EntryId>,
}

impl Sum {
    fn is_reported(&self) -> bool {
        self.score > 0
    }
}

/// What becomes of an occurrence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Counts,
    /// An exclusion stands near it.
    Voided,
}

/// The score of one text.
pub(crate) struct Tally {
    kind: TextKind,
    seen: Table<EntryId, Seen>,
    sums: Vec<Sum>,
    open: Vec<Open>,
    /// The word behind which the first of `open` is decided; 0 where there are too many of them.
    deadline: u64,
    /// Hits whose snippet is not complete.
    unshown: Vec<(EntryId, CategoryId)>,
    changed: bool,
    /// All that the tally was told.
    #[cfg(test)]
    pub(crate) told: Vec<(usize, u64, u64, u64, u64)>,
}

impl Tally {
    pub(crate) fn new(kind: TextKind, categories: usize) -> Self {
        Self {
            kind,
            seen: Table::default(),
            sums: std::iter::repeat_with(Sum::default).take(categories).collect(),
            open: Vec::new(),
            deadline: u64::MAX,
            unshown: Vec::new(),
            changed: false,
            #[cfg(test)]
            told: Vec::new(),
        }
    }

    /// Takes note of a pattern; `now` is the reader's offset.
    pub(crate) fn pattern(&mut self, compiled: &Compiled, pattern: &Pattern, at: Occurrence, now: u64) {
        #[cfg(test)]
        self.told.push((std::ptr::from_ref(pattern).addr(), at.first_word, at.last_word, at.begin, now));
        for role in &pattern.roles {
            let (Role::Part { entry: id, .. } | Role::Exclusion(id)) = role;
            let entry = compiled.entry(*id);
            if !entry.kinds.contains(self.kind) {
                continue;
            }
            match role {
                Role::Exclusion(_) => self.excluded(entry, *id, at, now),
                Role::Part { shown, .. } if entry.parts == 1 => {
                    self.occurred(entry, Sighting { entry: *id, at, shown: Arc::clone(shown) }, now);
                }
                Role::Part { part, shown, .. } => {
                    if let Some(whole) = self.part(entry, *id, *part, at, shown) {
                        self.occurred(entry, whole, now);
                    }
                }
            }
        }
    }

    /// Takes note of a part; returns the combination where it is now complete and close enough together.
    fn part(
        &mut self,
        entry: &Entry,
        id: EntryId,
        part: usize,
        at: Occurrence,
        shown: &Arc<str>,
    ) -> Option<Sighting> {
        let seen = self.seen.entry(id).or_default();
        if seen.parts.is_empty() {
            seen.parts = vec![None; entry.parts].into();
        }
        seen.parts[part] = Some((at, Arc::clone(shown)));
        let mut whole = at;
        for part in &seen.parts {
            whole = whole.cover(&part.as_ref()?.0);
        }
        if whole.last_word - whole.first_word >= entry.span {
            return None;
        }
        let names: Vec<&str> = seen.parts.iter().flatten().map(|(_, shown)| &**shown).collect();
        let names = names.join(" + ").into();
        seen.parts.fill(None);
        Some(Sighting { entry: id, at: whole, shown: names })
    }

    /// An entry occurred: it counts at once, or waits for an exclusion to follow.
    fn occurred(&mut self, entry: &Entry, sighting: Sighting, now: u64) {
        let Some(reach) = entry.reach else {
            return self.settle(entry, sighting, Standing::Counts, now);
        };
        let excluded = self.seen.get(&sighting.entry).and_then(|seen| seen.excluded);
        if excluded.is_some_and(|exclusion| exclusion.distance(&sighting.at) <= reach.within) {
            return self.settle(entry, sighting, Standing::Voided, now);
        }
        let open = Open { sighting, reach };
        self.deadline = self.deadline.min(open.deadline());
        self.open.push(open);
        if self.open.len() > MAX_OPEN {
            self.deadline = 0;
        }
    }

    /// An exclusion occurred: it voids what it is near to, before and after.
    fn excluded(&mut self, entry: &Entry, id: EntryId, at: Occurrence, now: u64) {
        self.seen.entry(id).or_default().excluded = Some(at);
        let near = |open: &mut Open| {
            open.sighting.entry == id && open.sighting.at.distance(&at) <= open.reach.within
        };
        let voided: Vec<Open> = self.open.extract_if(.., near).collect();
        for open in voided {
            self.settle(entry, open.sighting, Standing::Voided, now);
        }
    }

    /// Whether [`Tally::at_word`] is to be called for this word or one before it.
    pub(crate) fn is_due(&self, word: u64) -> bool {
        word > self.deadline
    }

    /// The last word for which it need not be called yet.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Says that the reader comes to this word; decides what no exclusion can void any more.
    pub(crate) fn at_word(&mut self, compiled: &Compiled, word: u64, now: u64) {
        let excess = self.open.len().saturating_sub(MAX_OPEN);
        let mut index = 0;
        let over = |open: &mut Open| {
            index += 1;
            index <= excess || open.deadline() < word
        };
        let decided: Vec<Open> = self.open.extract_if(.., over).collect();
        for Open { sighting, .. } in decided {
            self.settle(compiled.entry(sighting.entry), sighting, Standing::Counts, now);
        }
        self.deadline = self.open.iter().map(Open::deadline).min().unwrap_or(u64::MAX);
    }

    /// Says that the text has ended: no exclusion can follow.
    pub(crate) fn end(&mut self, compiled: &Compiled, now: u64) {
        self.at_word(compiled, u64::MAX, now);
    }

    /// Decides an occurrence: adds it to the score unless it is voided, and to the evidence.
    fn settle(&mut self, entry: &Entry, sighting: Sighting, standing: Standing, now: u64) {
        let Sighting { entry: id, at, shown } = sighting;
        let seen = self.seen.entry(id).or_default();
        let sum = &mut self.sums[entry.category.0];
        let was_reported = sum.is_reported();
        let counts = standing == Standing::Counts && seen.counted < entry.count;
        let is_first = seen.occurrences == 0;
        let is_shown =
            (is_first && sum.hits.len() < MAX_HITS) || (counts && seen.counted == 0 && seen.hit.is_some());
        let changes = counts || (seen.occurrences < MAX_SEEN && (is_shown || seen.hit.is_some()));
        seen.occurrences = (seen.occurrences + 1).min(MAX_SEEN);
        if counts {
            seen.counted += 1;
            sum.score += i64::from(entry.weight);
        }
        if is_shown {
            if is_first {
                sum.hits.push(id);
            }
            let window = Window::around(at.begin, now);
            seen.hit = Some(Hit { shown, begin: at.begin, window, snippet: Box::default() });
            self.unshown.push((id, entry.category));
        }
        self.changed |= changes && (was_reported || sum.is_reported());
    }

    /// Fills in the snippets for which the text has gone by.
    pub(crate) fn show(&mut self, recent: &Recent) {
        let Self { seen, sums, unshown, changed, .. } = self;
        unshown.retain(|(id, category)| {
            let Some(hit) = seen.get_mut(id).and_then(|seen| seen.hit.as_mut()) else { return false };
            let snippet = recent.snippet(&hit.window);
            *changed |= sums[category.0].is_reported() && snippet != hit.snippet;
            hit.snippet = snippet;
            !hit.window.is_complete(recent.end())
        });
    }

    /// Whether the findings changed since the last question.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Appends a finding for every category whose score is above zero.
    pub(crate) fn findings(&self, compiled: &Compiled, into: &mut Vec<Finding>) {
        for (index, sum) in self.sums.iter().enumerate().filter(|(_, sum)| sum.is_reported()) {
            into.push(Finding {
                stage: STAGE,
                category: compiled.categories[index].clone(),
                kind: self.kind,
                score: sum.score as f32,
                evidence: Evidence::Phrases(self.hits(compiled, sum)),
            });
        }
    }

    fn hits(&self, compiled: &Compiled, sum: &Sum) -> Vec<PhraseHit> {
        let mut hits: Vec<(EntryId, &Seen, &Hit)> = sum
            .hits
            .iter()
            .filter_map(|id| {
                let seen = self.seen.get(id)?;
                Some((*id, seen, seen.hit.as_ref()?))
            })
            .collect();
        hits.sort_by_key(|(id, _, hit)| (hit.begin, *id));
        hits.into_iter()
            .map(|(id, seen, hit)| PhraseHit {
                phrase: Arc::clone(&hit.shown),
                offset: hit.begin,
                weight: compiled.entry(id).weight as f32 * seen.counted as f32,
                count: seen.occurrences,
                snippet: hit.snippet.clone(),
            })
            .collect()
    }
}
