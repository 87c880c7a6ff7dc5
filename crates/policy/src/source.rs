//! Parses one TOML file so that a mistake is reported with its place and does not hide the next one.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};
use wardgate_core::{Diagnostic, Position};

/// Largest TOML file. Lists are other files.
const MAX_TOML_BYTES: usize = 4 << 20;
/// Farthest spelling that is still taken for a slip of the keyboard, as a share of the word's length: one third.
const SLIP_SHARE: usize = 3;
/// Most names that a help text counts up.
const MAX_NAMED: usize = 20;

/// A file by its path relative to the policy directory, with its text.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// The line and column where a span begins.
    pub(crate) fn position(&self, span: Range<usize>) -> Position {
        Position::of(self.text, span.start)
    }

    /// An error at a span of this file.
    pub(crate) fn error(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, Some(self.position(span)), message)
    }

    /// A warning at a span of this file.
    pub(crate) fn warning(&self, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.file, Some(self.position(span)), message)
    }
}

/// One `[[table]]` of a file, and where it begins.
pub(crate) struct Entry<T> {
    pub(crate) span: Range<usize>,
    pub(crate) value: T,
    /// Whether all of it was understood: no key was left out.
    pub(crate) sound: bool,
}

/// A file on its way from TOML to raw structures: first its lists of tables, then the keys above them.
pub(crate) struct Document<'a> {
    pub(crate) source: Source<'a>,
    table: Spanned<DeTable<'a>>,
    lists: Vec<&'static str>,
}

impl<'a> Document<'a> {
    /// Parses the TOML; every syntax error is reported, and nothing is returned if there is one.
    pub(crate) fn parse(source: Source<'a>, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        if source.text.len() > MAX_TOML_BYTES {
            let message = format!("larger than {} MiB", MAX_TOML_BYTES >> 20);
            problems.push(Diagnostic::error(source.file, None, message));
            return None;
        }
        let (table, errors) = DeTable::parse_recoverable(source.text);
        if errors.is_empty() {
            return Some(Self { source, table, lists: Vec::new() });
        }
        problems.extend(errors.iter().map(|error| diagnostic(source, error, &[])));
        None
    }

    /// Takes the tables written `[[key]]` out of the file, each read by itself.
    pub(crate) fn tables<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Diagnostic>,
    ) -> Vec<Entry<T>> {
        self.lists.push(key);
        let Some(value) = self.table.as_mut().remove(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(tables) = value.into_inner() else {
            problems.push(self.source.error(span, format!("`{key}` is a list of tables: write [[{key}]]")));
            return Vec::new();
        };
        let mut entries = Vec::with_capacity(tables.len());
        for table in tables {
            let span = table.span();
            let DeValue::Table(table) = table.into_inner() else {
                problems
                    .push(self.source.error(span, format!("`{key}` is a list of tables: write [[{key}]]")));
                continue;
            };
            let before = problems.len();
            let read = forgiving(self.source, table, &[], problems, |table| {
                T::deserialize(ValueDeserializer::from(Spanned::new(span.clone(), DeValue::Table(table))))
            });
            let sound = problems.len() == before;
            entries.extend(read.map(|value| Entry { span, value, sound }));
        }
        entries
    }

    /// Reads the keys that are left once all lists of tables have been taken.
    pub(crate) fn head<T: DeserializeOwned>(self, problems: &mut Vec<Diagnostic>) -> Option<T> {
        let span = self.table.span();
        forgiving(self.source, self.table.into_inner(), &self.lists, problems, |table| {
            T::deserialize(Deserializer::from(Spanned::new(span.clone(), table)))
        })
    }
}

/// Reads a table; each unknown key is reported and left out, so that one look shows all of them.
fn forgiving<'a, T>(
    source: Source<'_>,
    mut table: DeTable<'a>,
    also_known: &[&'static str],
    problems: &mut Vec<Diagnostic>,
    read: impl Fn(DeTable<'a>) -> Result<T, toml::de::Error>,
) -> Option<T> {
    loop {
        let error = match read(table.clone()) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        problems.push(diagnostic(source, &error, also_known));
        let unknown = error.message().starts_with("unknown field");
        if !unknown || !remove_key(&mut table, &error.span()?) {
            return None;
        }
    }
}

/// Takes the key at this place out of a table or one of the tables in it.
fn remove_key(table: &mut DeTable<'_>, at: &Range<usize>) -> bool {
    if let Some(key) = table.keys().find(|key| key.span() == *at).cloned() {
        return table.remove(&key).is_some();
    }
    table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(inner) => remove_key(inner, at),
        _ => false,
    })
}

/// Puts an error of the TOML library into the words of a policy file.
fn diagnostic(source: Source<'_>, error: &toml::de::Error, also_known: &[&'static str]) -> Diagnostic {
    let message = error.message();
    let mut words = message.split('`').skip(1).step_by(2);
    let word = words.next().unwrap_or_default();
    let position = error.span().map(|span| source.position(span));
    let at = |message: String| Diagnostic::error(source.file, position, message);
    if message.starts_with("unknown field") {
        return suggesting(
            at(format!("unknown key `{word}`")),
            word,
            words.chain(also_known.iter().copied()),
        );
    }
    if message.starts_with("unknown variant") {
        return suggesting(at(format!("unknown value `{word}`")), word, words);
    }
    if message.starts_with("missing field") {
        return at(format!("the key `{word}` is missing"));
    }
    at(message.lines().collect::<Vec<_>>().join(", "))
}

/// Adds to a diagnostic about a word what its writer may have meant: the nearest known one, or all of them.
pub(crate) fn suggesting<'a>(
    diagnostic: Diagnostic,
    word: &str,
    known: impl Iterator<Item = &'a str>,
) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    let nearest = known.iter().map(|name| (strsim::osa_distance(word, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= (name.len() / SLIP_SHARE).max(1) => {
            diagnostic.help(format!("did you mean `{name}`?"))
        }
        Some(_) if known.len() <= MAX_NAMED => {
            diagnostic.help(format!("known here: `{}`", known.join("`, `")))
        }
        _ => diagnostic,
    }
}
