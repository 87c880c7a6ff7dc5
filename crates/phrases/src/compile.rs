//! Compiles checked phrase files into a finder of patterns and the tables that say what each of them means.

use std::collections::HashMap;
use std::sync::Arc;

use wardgate_core::{CategoryName, Diagnostic, Position, Severity};

use crate::file::{self, Checked, Exclusion, Kinds, PhraseFile, Spelling};
use crate::finder::Finder;
use crate::fold;

/// The place of an entry in [`Compiled::entries`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryId(u32);

/// The place of a category in [`Compiled::categories`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CategoryId(pub(crate) usize);

/// What a pattern means to one entry.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It is the phrase, or the part of a combination with this number.
    Part {
        entry: EntryId,
        part: usize,
        /// The spelling as the file writes it.
        shown: Arc<str>,
    },
    /// It voids the phrase.
    Exclusion(EntryId),
}

/// A pattern that the finder looks for.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// How many words it covers.
    pub(crate) words: u64,
    pub(crate) roles: Vec<Role>,
}

/// How far an entry's exclusions reach, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// An exclusion with at most this distance voids the phrase.
    pub(crate) within: u64,
    /// After this many words no exclusion can come that would.
    pub(crate) horizon: u64,
}

/// A phrase, a combination or a context phrase.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) category: CategoryId,
    pub(crate) weight: i32,
    pub(crate) kinds: Kinds,
    pub(crate) count: u32,
    /// 1 for a phrase, more for a combination.
    pub(crate) parts: usize,
    pub(crate) span: u64,
    pub(crate) reach: Option<Reach>,
}

/// Everything that the inspectors share.
pub(crate) struct Compiled {
    pub(crate) finder: Finder,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) categories: Vec<CategoryName>,
    pub(crate) languages: Vec<Box<str>>,
    entries: Vec<Entry>,
}

impl Compiled {
    pub(crate) fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Compiles the files; the second value of both results holds warnings, the error's also errors.
pub(crate) fn compile(
    files: &[PhraseFile<'_>],
    categories: &[CategoryName],
) -> Result<(Compiled, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let mut compiler = Compiler::default();
    for file in files {
        if let Some(checked) = file::check(file, categories, &mut diagnostics) {
            compiler.file(*file, checked, &mut diagnostics);
        }
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    let Compiler { texts, patterns, entries, categories, languages, .. } = compiler;
    let finder = Finder::new(&texts);
    fold::prepare();
    Ok((Compiled { finder, patterns, categories, languages, entries }, diagnostics))
}

/// Where a phrase was first written, to tell about the second time.
struct Written<'f> {
    kinds: Kinds,
    file: PhraseFile<'f>,
    offset: usize,
}

/// Gathers the entries of all files.
#[derive(Default)]
struct Compiler<'f> {
    texts: Vec<String>,
    pattern_ids: HashMap<String, usize>,
    patterns: Vec<Pattern>,
    entries: Vec<Entry>,
    categories: Vec<CategoryName>,
    languages: Vec<Box<str>>,
    written: HashMap<(usize, String), Vec<Written<'f>>>,
}

impl<'f> Compiler<'f> {
    fn file(&mut self, file: PhraseFile<'f>, checked: Checked, diagnostics: &mut Vec<Diagnostic>) {
        let category = CategoryId(place_of(&mut self.categories, checked.category));
        place_of(&mut self.languages, checked.language);
        for entry in checked.entries {
            self.report_duplicates(file, category, &entry, diagnostics);
            self.entry(category, entry);
        }
    }

    fn entry(&mut self, category: CategoryId, entry: file::Entry) {
        let id = EntryId(self.entries.len() as u32);
        self.entries.push(Entry {
            category,
            weight: entry.weight,
            kinds: entry.kinds,
            count: entry.count,
            parts: entry.parts.len(),
            span: entry.span.into(),
            reach: entry.unless.as_ref().map(reach),
        });
        for (part, spellings) in entry.parts.into_iter().enumerate() {
            for Spelling { shown, pattern, .. } in spellings {
                self.role(pattern, Role::Part { entry: id, part, shown: shown.into() });
            }
        }
        for spelling in entry.unless.into_iter().flat_map(|unless| unless.spellings) {
            self.role(spelling.pattern, Role::Exclusion(id));
        }
    }

    fn role(&mut self, pattern: String, role: Role) {
        let id = *self.pattern_ids.entry(pattern).or_insert_with_key(|pattern| {
            self.texts.push(pattern.clone());
            self.patterns.push(Pattern { words: word_count(pattern), roles: Vec::new() });
            self.patterns.len() - 1
        });
        self.patterns[id].roles.push(role);
    }

    fn report_duplicates(
        &mut self,
        file: PhraseFile<'f>,
        category: CategoryId,
        entry: &file::Entry,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let [spellings] = entry.parts.as_slice() else { return };
        for Spelling { shown, pattern, offset } in spellings {
            let written = self.written.entry((category.0, pattern.clone())).or_default();
            if let Some(first) = written.iter().find(|first| first.kinds.overlap(entry.kinds)) {
                let Position { line, column } = Position::of(first.file.text, first.offset);
                let place = format!("{}:{line}:{column}", first.file.path.display());
                let message = format!("the phrase `{shown}` is already in this category");
                diagnostics.push(
                    Diagnostic::error(file.path, Some(Position::of(file.text, *offset)), message)
                        .help(format!("it also stands at {place}; keep one of them")),
                );
            }
            written.push(Written { kinds: entry.kinds, file, offset: *offset });
        }
    }
}

fn place_of<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    all.iter().position(|other| *other == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}

fn reach(exclusion: &Exclusion) -> Reach {
    let longest = exclusion.spellings.iter().map(|spelling| word_count(&spelling.pattern)).max().unwrap_or(0);
    let within = u64::from(exclusion.within);
    Reach { within, horizon: within + longest }
}

fn word_count(pattern: &str) -> u64 {
    pattern.trim().split(' ').count() as u64
}
