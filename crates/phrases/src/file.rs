//! Reads phrase files: strict TOML into checked entries, and everything that is wrong with a file into diagnostics.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use wardgate_core::{CategoryName, Diagnostic, Position, TextKind};

use crate::fold::fold_phrase;

/// A phrase file as it was read from the policy directory.
#[derive(Clone, Copy, Debug)]
pub struct PhraseFile<'a> {
    /// Where it stands; for diagnostics.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
}

/// Fewest characters of a whole word.
const MIN_WORD_CHARS: usize = 2;
/// Fewest bytes of a phrase with a `*`: shorter ones occur inside everything.
pub(crate) const MIN_OPEN_BYTES: usize = 4;
/// Most bytes of a folded phrase.
pub(crate) const MAX_PHRASE_BYTES: usize = 200;
/// Most words of a phrase; the reader remembers where this many words began.
pub(crate) const MAX_PHRASE_WORDS: usize = 16;
/// Most parts of a combination.
const MAX_PARTS: usize = 8;
/// Heaviest phrase, in points.
const MAX_WEIGHT: i64 = 200;
/// Furthest that `within` reaches, in words.
const MAX_WITHIN: i64 = 200;
/// Most often that one phrase counts.
const MAX_COUNT: i64 = 100;
/// How far an exclusion reaches where the file does not say, in words.
const DEFAULT_EXCLUSION_WITHIN: i64 = 12;
/// In how many words a combination must stand where the file does not say.
const DEFAULT_COMBINATION_WITHIN: i64 = 20;

/// A set of kinds of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    const ALL: Self = Self(0b1111);

    /// Whether the set holds this kind; addresses are in no set.
    pub(crate) fn contains(self, kind: TextKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// Whether the sets have a kind in common.
    pub(crate) fn overlap(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn bit(kind: TextKind) -> u8 {
        match kind {
            TextKind::Address => 0,
            TextKind::Search => 1,
            TextKind::Prompt => 2,
            TextKind::Page => 4,
            TextKind::Post => 8,
        }
    }
}

/// One spelling of a phrase.
#[derive(Clone, Debug)]
pub(crate) struct Spelling {
    /// As the file writes it.
    pub(crate) shown: String,
    /// Folded, with a space at each end where a word must begin or end: what is looked for in folded text.
    pub(crate) pattern: String,
    /// Where it begins in the file, in bytes.
    pub(crate) offset: usize,
}

/// What voids a phrase.
#[derive(Clone, Debug)]
pub(crate) struct Exclusion {
    pub(crate) spellings: Vec<Spelling>,
    /// How near it must stand, in words.
    pub(crate) within: u32,
}

/// One `[[phrase]]` or `[[context]]` of a file, checked.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// One part for a phrase, several for a combination; any spelling of a part will do.
    pub(crate) parts: Vec<Vec<Spelling>>,
    pub(crate) weight: i32,
    pub(crate) kinds: Kinds,
    pub(crate) count: u32,
    /// A combination's parts must stand within this many words.
    pub(crate) span: u32,
    pub(crate) unless: Option<Exclusion>,
}

/// A phrase file, checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) category: CategoryName,
    pub(crate) language: Box<str>,
    pub(crate) entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    category: Spanned<String>,
    language: Spanned<String>,
    source: Spanned<String>,
    #[serde(default)]
    phrase: Vec<Spanned<RawPhrase>>,
    #[serde(default)]
    context: Vec<RawContext>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPhrase {
    text: Option<Spanned<String>>,
    all: Option<Spanned<Vec<Spanned<String>>>>,
    weight: Spanned<i64>,
    kinds: Option<Spanned<Vec<RawKind>>>,
    count: Option<Spanned<i64>>,
    unless: Option<Spanned<Vec<Spanned<String>>>>,
    within: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContext {
    text: Spanned<String>,
    weight: Spanned<i64>,
    kinds: Option<Spanned<Vec<RawKind>>>,
    count: Option<Spanned<i64>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawKind {
    Search,
    Prompt,
    Page,
    Post,
}

/// Reads and checks one file. Returns what is sound in it; `diagnostics` gets the rest.
pub(crate) fn check(
    file: &PhraseFile<'_>,
    categories: &[CategoryName],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Checked> {
    let raw: RawFile = match toml::from_str(file.text) {
        Ok(raw) => raw,
        Err(error) => {
            diagnostics.push(explain(file, &error));
            return None;
        }
    };
    Checker { file, diagnostics }.file(raw, categories)
}

/// Turns a TOML error into a diagnostic, with a suggestion where a name looks like a slip.
fn explain(file: &PhraseFile<'_>, error: &toml::de::Error) -> Diagnostic {
    let position = error.span().map(|span| Position::of(file.text, span.start));
    let diagnostic = Diagnostic::error(file.path, position, error.message());
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let wrong = quoted.next().filter(|_| error.message().starts_with("unknown"));
    match wrong.and_then(|wrong| nearest(wrong, quoted)) {
        Some(name) => diagnostic.help(format!("did you mean `{name}`?")),
        None => diagnostic,
    }
}

/// The name that somebody who wrote `wrong` most likely meant.
fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Checks one file; each method reports what it finds wrong and returns what can be used.
struct Checker<'c, 'f> {
    file: &'c PhraseFile<'f>,
    diagnostics: &'c mut Vec<Diagnostic>,
}

impl Checker<'_, '_> {
    fn file(&mut self, raw: RawFile, categories: &[CategoryName]) -> Option<Checked> {
        let category = self.category(&raw.category, categories);
        self.language(&raw.language);
        if raw.source.get_ref().trim().is_empty() {
            self.error(raw.source.span().start, "`source` is empty")
                .help("say where the knowledge comes from, so that others can judge it");
        }
        if raw.phrase.is_empty() {
            self.error(0, "the file has no phrase").help("add a [[phrase]], or remove the file");
        }
        let mut entries: Vec<Entry> =
            raw.phrase.into_iter().filter_map(|phrase| self.phrase(phrase)).collect();
        entries.extend(raw.context.into_iter().filter_map(|context| self.context(context)));
        Some(Checked { category: category?, language: raw.language.into_inner().into(), entries })
    }

    fn category(&mut self, name: &Spanned<String>, known: &[CategoryName]) -> Option<CategoryName> {
        if let Some(category) = known.iter().find(|known| known.as_str() == name.get_ref()) {
            return Some(category.clone());
        }
        let help = match nearest(name.get_ref(), known.iter().map(CategoryName::as_str)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                let names: Vec<&str> = known.iter().map(CategoryName::as_str).collect();
                format!("known categories: {}", names.join(", "))
            }
        };
        self.error(name.span().start, format!("unknown category `{}`", name.get_ref())).help(help);
        None
    }

    fn language(&mut self, language: &Spanned<String>) {
        let tag = language.get_ref();
        let sound =
            (2..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !sound {
            self.error(language.span().start, format!("`{tag}` is no language tag"))
                .help("write a tag such as `en`, `cy` or `pt-BR`");
        }
    }

    fn phrase(&mut self, raw: Spanned<RawPhrase>) -> Option<Entry> {
        let start = raw.span().start;
        let raw = raw.into_inner();
        let weight = self.number(&raw.weight, 1, MAX_WEIGHT, "weight", "in points");
        let kinds = self.kinds(raw.kinds.as_ref());
        let count = self.count(raw.count.as_ref());
        let within = raw.within.as_ref();
        let (parts, span, reach) = match (raw.text, raw.all) {
            (Some(text), None) => {
                if let (Some(within), None) = (within, &raw.unless) {
                    self.error(within.span().start, "`within` has nothing to act on").help(
                        "it says how near `unless` must stand, or how close together the parts of `all`",
                    );
                }
                let reach = self.within(within, DEFAULT_EXCLUSION_WITHIN);
                (self.spellings(&text).map(|spellings| vec![spellings]), Some(1), reach)
            }
            (None, Some(all)) => {
                let span = self.within(within, DEFAULT_COMBINATION_WITHIN);
                (self.parts(&all), span, Some(DEFAULT_EXCLUSION_WITHIN as u32))
            }
            _ => {
                self.error(start, "a phrase has either `text` or `all`")
                    .help("`text` is one phrase, `all` a combination of phrases");
                (None, None, None)
            }
        };
        let unless = match raw.unless {
            Some(unless) => Some(self.exclusion(&unless, reach?)?),
            None => None,
        };
        Some(Entry { parts: parts?, weight: weight?, kinds: kinds?, count: count?, span: span?, unless })
    }

    fn context(&mut self, raw: RawContext) -> Option<Entry> {
        let weight = self.number(&raw.weight, -MAX_WEIGHT, -1, "the weight of context", "in points");
        let kinds = self.kinds(raw.kinds.as_ref());
        let count = self.count(raw.count.as_ref());
        let parts = vec![self.spellings(&raw.text)?];
        Some(Entry { parts, weight: weight?, kinds: kinds?, count: count?, span: 1, unless: None })
    }

    fn kinds(&mut self, kinds: Option<&Spanned<Vec<RawKind>>>) -> Option<Kinds> {
        let Some(kinds) = kinds else { return Some(Kinds::ALL) };
        if kinds.get_ref().is_empty() {
            self.error(kinds.span().start, "`kinds` is empty, so the phrase is never looked for")
                .help("leave `kinds` out for every kind of text");
            return None;
        }
        let bits = kinds.get_ref().iter().map(|kind| match kind {
            RawKind::Search => Kinds::bit(TextKind::Search),
            RawKind::Prompt => Kinds::bit(TextKind::Prompt),
            RawKind::Page => Kinds::bit(TextKind::Page),
            RawKind::Post => Kinds::bit(TextKind::Post),
        });
        Some(Kinds(bits.fold(0, |all, bit| all | bit)))
    }

    fn count(&mut self, count: Option<&Spanned<i64>>) -> Option<u32> {
        match count {
            Some(count) => self.number(count, 1, MAX_COUNT, "count", "times").map(|count| count as u32),
            None => Some(1),
        }
    }

    fn within(&mut self, within: Option<&Spanned<i64>>, default: i64) -> Option<u32> {
        match within {
            Some(within) => self.number(within, 1, MAX_WITHIN, "within", "words").map(|within| within as u32),
            None => Some(default as u32),
        }
    }

    fn number(
        &mut self,
        number: &Spanned<i64>,
        least: i64,
        most: i64,
        name: &str,
        unit: &str,
    ) -> Option<i32> {
        let value = *number.get_ref();
        if (least..=most).contains(&value) {
            return Some(value as i32);
        }
        self.error(number.span().start, format!("{name} is {value}, outside {least} to {most} {unit}"));
        None
    }

    fn parts(&mut self, all: &Spanned<Vec<Spanned<String>>>) -> Option<Vec<Vec<Spelling>>> {
        if !(2..=MAX_PARTS).contains(&all.get_ref().len()) {
            self.error(all.span().start, format!("`all` takes 2 to {MAX_PARTS} phrases"))
                .help("for a single phrase write `text`");
            return None;
        }
        all.get_ref().iter().map(|part| self.spellings(part)).collect()
    }

    fn exclusion(&mut self, unless: &Spanned<Vec<Spanned<String>>>, within: u32) -> Option<Exclusion> {
        if unless.get_ref().is_empty() {
            self.error(unless.span().start, "`unless` is empty").help("leave it out");
            return None;
        }
        let spellings: Option<Vec<_>> = unless.get_ref().iter().map(|text| self.spellings(text)).collect();
        Some(Exclusion { spellings: spellings?.into_iter().flatten().collect(), within })
    }

    /// Takes `a | b | c` apart; it may stand on several lines.
    fn spellings(&mut self, text: &Spanned<String>) -> Option<Vec<Spelling>> {
        let places = self.places(text);
        let spellings: Option<Vec<Spelling>> = text
            .get_ref()
            .split('|')
            .zip(places)
            .map(|(spelling, place)| {
                let words: Vec<&str> = spelling.split_whitespace().collect();
                self.spelling(&words.join(" "), place)
            })
            .collect();
        let spellings = spellings?;
        for (index, spelling) in spellings.iter().enumerate() {
            let covering = spellings
                .iter()
                .enumerate()
                .find(|(other, cover)| *other != index && spelling.pattern.contains(&cover.pattern));
            if let Some((_, cover)) = covering {
                self.needless(spelling, cover);
            }
        }
        Some(spellings)
    }

    /// Where each spelling begins in the file; where escapes hide that, where the text begins.
    fn places(&self, text: &Spanned<String>) -> Vec<usize> {
        let start = text.span().start;
        let count = text.get_ref().split('|').count();
        let written = self.file.text.get(text.span()).unwrap_or_default();
        let mut offset = start;
        let mut places = Vec::with_capacity(count);
        for spelling in written.split('|') {
            let unquoted =
                spelling.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
            places.push(offset + (spelling.len() - unquoted.len()));
            offset += spelling.len() + 1;
        }
        if places.len() == count { places } else { vec![start; count] }
    }

    fn needless(&mut self, spelling: &Spelling, cover: &Spelling) {
        let message = format!("`{}` is already found by `{}`", spelling.shown, cover.shown);
        let position = Position::of(self.file.text, spelling.offset);
        let warning = Diagnostic::warning(self.file.path, Some(position), message);
        self.diagnostics.push(warning.help("leave it out"));
    }

    fn spelling(&mut self, shown: &str, offset: usize) -> Option<Spelling> {
        let (open_start, rest) = shown.strip_prefix('*').map_or((false, shown), |rest| (true, rest));
        let (open_end, core) = rest.strip_suffix('*').map_or((false, rest), |core| (true, core));
        let folded = fold_phrase(core);
        let problem = if core.contains('*') {
            Some("has a `*` in its middle; it may stand at the beginning or the end".to_owned())
        } else if folded.is_empty() {
            Some("is empty once signs are left out".to_owned())
        } else if (open_start || open_end) && folded.len() < MIN_OPEN_BYTES {
            Some(format!("is too short for a `*`: {MIN_OPEN_BYTES} letters at least"))
        } else if folded.chars().count() < MIN_WORD_CHARS {
            Some(format!("is too short: {MIN_WORD_CHARS} letters at least"))
        } else if folded.len() > MAX_PHRASE_BYTES || folded.split(' ').count() > MAX_PHRASE_WORDS {
            Some(format!("is too long: {MAX_PHRASE_WORDS} words and {MAX_PHRASE_BYTES} bytes at most"))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.error(offset, format!("the phrase `{shown}` {problem}"));
            return None;
        }
        let (before, after) = (if open_start { "" } else { " " }, if open_end { "" } else { " " });
        Some(Spelling { shown: shown.to_owned(), pattern: format!("{before}{folded}{after}"), offset })
    }

    /// Reports an error and hands it back for its help text.
    fn error(&mut self, offset: usize, message: impl Into<String>) -> ErrorHelp<'_> {
        let position = Some(Position::of(self.file.text, offset));
        self.diagnostics.push(Diagnostic::error(self.file.path, position, message));
        ErrorHelp(self.diagnostics)
    }
}

/// The error reported last, to be given a help text.
struct ErrorHelp<'d>(&'d mut [Diagnostic]);

impl ErrorHelp<'_> {
    fn help(self, help: impl Into<String>) {
        if let Some(last) = self.0.last_mut() {
            last.help = Some(help.into());
        }
    }
}
