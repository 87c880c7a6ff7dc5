//! Reads list files into the index, and everything that is wrong with a list into diagnostics.

use std::borrow::Cow;

use wardgate_core::{Diagnostic, Host, Position, Severity, Target, TargetError};

use crate::ListSource;
use crate::index::{Index, IndexBuilder, ListId};

/// Deepest path of an entry, in segments; a look-up tries as many beginnings of a path.
pub(crate) const MAX_SEGMENTS: usize = 16;
/// Most lists of a policy.
const MAX_LISTS: usize = 1024;
/// Most warnings shown for a list; the rest are counted.
const MAX_WARNINGS: usize = 20;

/// Second-level names under which a country's registry sells domains: `co.uk` belongs to nobody.
const REGISTRY_LABELS: [&str; 13] =
    ["ac", "co", "com", "edu", "gov", "ltd", "mil", "net", "nhs", "org", "plc", "police", "sch"];

/// Compiles the lists; the second value of both results holds warnings, the error's also errors.
pub(crate) fn compile(sources: &[ListSource<'_>]) -> Result<(Index, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    if let Some(source) = sources.get(MAX_LISTS) {
        let message = format!("a policy has at most {MAX_LISTS} lists");
        return Err(vec![
            Diagnostic::error(source.path, None, message).help("put lists of a category together"),
        ]);
    }
    let mut builder = IndexBuilder::default();
    for (number, source) in sources.iter().enumerate() {
        let entries = read(source, &mut builder, ListId(number as u16), &mut diagnostics);
        report_needless(source, &builder, entries, &mut diagnostics);
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    Ok((builder.build(), diagnostics))
}

/// An entry as it is remembered while its list is read: lists may have millions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    hash: u64,
    line: u32,
}

/// An entry in canonical form.
struct Entry<'a> {
    host: Cow<'a, str>,
    /// Without a slash at its end; empty for the whole host.
    path: Cow<'a, str>,
}

/// A line that holds an entry.
struct Written<'a> {
    text: &'a str,
    position: Position,
}

/// The lines of a list that hold entries.
fn written<'a>(source: &ListSource<'a>) -> impl Iterator<Item = Written<'a>> {
    let lines = source.text.trim_start_matches('\u{feff}').lines().enumerate();
    lines.filter_map(|(number, line)| {
        let text = without_comment(line).trim();
        let indent = line.len() - line.trim_start().len();
        let column = || line[..indent].chars().count() as u32 + 1;
        (!text.is_empty())
            .then(|| Written { text, position: Position { line: number as u32 + 1, column: column() } })
    })
}

/// Puts the entries of a list into the index.
fn read(
    source: &ListSource<'_>,
    builder: &mut IndexBuilder,
    list: ListId,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Known> {
    let mut known = Vec::new();
    let mut is_empty = true;
    for Written { text, position } in written(source) {
        is_empty = false;
        match parse(text) {
            Ok(Entry { host, path }) => {
                let hash = builder.hash(&host, &path);
                known.push(Known { hash, line: position.line });
                if path.is_empty() {
                    builder.host(list, hash);
                } else {
                    builder.path(list, &host, hash);
                }
            }
            Err((problem, help)) => diagnostics.push(
                Diagnostic::error(source.path, Some(position), format!("`{text}` {problem}")).help(help),
            ),
        }
    }
    if is_empty {
        diagnostics.push(
            Diagnostic::error(source.path, None, format!("the list `{}` is empty", source.name))
                .help("add an entry, or remove the list from the policy"),
        );
    }
    known
}

/// A `#` at the beginning of a word begins a comment.
fn without_comment(line: &str) -> &str {
    if !line.contains('#') {
        return line;
    }
    let is_comment = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    match line.match_indices('#').map(|(at, _)| at).find(is_comment) {
        Some(at) => &line[..at],
        None => line,
    }
}

/// Why an entry cannot be used, and what to write in its place.
type Refusal = (&'static str, String);

/// Canonicalises an entry into host and path. Most are host names that are canonical already.
fn parse(written: &str) -> Result<Entry<'_>, Refusal> {
    if Host::is_canonical_name(written) {
        refuse_registry(written)?;
        return Ok(Entry { host: Cow::Borrowed(written), path: Cow::Borrowed("") });
    }
    if let Some((_, rest)) = written.split_once("://") {
        return Err(("has a scheme", format!("write `{rest}`: lists hold for http and https alike")));
    }
    if let Some(rest) = written.strip_prefix("*.").or(written.strip_prefix('.')) {
        return Err(("has a wildcard", format!("write `{rest}`: it covers its subdomains")));
    }
    if written.contains(char::is_whitespace) {
        return Err(("holds a space", "write one entry a line".to_owned()));
    }
    if written.contains(['?', '#']) {
        return Err(("has a query or fragment", "write the host and the path only".to_owned()));
    }
    let authority = written.split('/').next().unwrap_or(written);
    if authority.contains(':') && !authority.ends_with(']') {
        return Err(("has a port", "leave it out: lists hold for every port".to_owned()));
    }
    let target = Target::parse(written).map_err(refuse)?;
    if let Host::Name(name) = target.host() {
        // Asked again of the canonical name: an asterisk may stand in the middle, or be written in full width.
        if name.contains('*') {
            return Err(("has a wildcard", "write the domain: it covers its subdomains".to_owned()));
        }
        refuse_registry(name)?;
    }
    let path = target.folded_path();
    let path = path.trim_end_matches('/');
    if path.matches('/').count() > MAX_SEGMENTS {
        return Err(("is too deep a path", format!("at most {MAX_SEGMENTS} segments")));
    }
    Ok(Entry { host: Cow::Owned(target.host().to_string()), path: Cow::Owned(path.to_owned()) })
}

fn refuse(error: TargetError) -> Refusal {
    match error {
        TargetError::UserInfo => ("has a user name", "write the host and the path only".to_owned()),
        _ => ("is no host", "write a domain such as `example.com`, with a path if need be".to_owned()),
    }
}

/// A whole registry is never meant.
fn refuse_registry(name: &str) -> Result<(), Refusal> {
    let Some((first, rest)) = name.split_once('.') else {
        return Err(("is a whole top-level domain", "write a domain, such as `example.com`".to_owned()));
    };
    if rest.len() == 2 && REGISTRY_LABELS.contains(&first) {
        return Err(("is a whole registry", format!("write a domain, such as `example.{name}`")));
    }
    Ok(())
}

/// Warns of entries that are listed twice, or that a shorter entry of the same list covers.
fn report_needless(
    source: &ListSource<'_>,
    builder: &IndexBuilder,
    mut known: Vec<Known>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    known.sort_unstable();
    let line_of = |host: &str, path: &str| {
        let hash = builder.hash(host, path);
        let place = known.partition_point(|known| known.hash < hash);
        known.get(place).filter(|known| known.hash == hash).map(|known| known.line)
    };
    let mut needless = 0;
    for Written { text, position } in written(source) {
        let Ok(entry) = parse(text) else { continue };
        let twice = line_of(&entry.host, &entry.path).filter(|first| *first < position.line);
        let why = match twice {
            Some(line) => format!("it also stands on line {line}"),
            None => match covers(&entry).find_map(|(host, path)| Some((host, path, line_of(host, path)?))) {
                Some((host, path, line)) => format!("`{host}{path}` on line {line} covers it"),
                None => continue,
            },
        };
        needless += 1;
        if needless <= MAX_WARNINGS {
            let message = format!("`{}{}` is needless: {why}", entry.host, entry.path);
            let warning = Diagnostic::warning(source.path, Some(position), message);
            diagnostics.push(warning.help("remove the line"));
        }
    }
    if let Some(rest) = needless.checked_sub(MAX_WARNINGS).filter(|rest| *rest > 0) {
        diagnostics.push(Diagnostic::warning(source.path, None, format!("{rest} more entries are needless")));
    }
}

/// The entries that would cover this one: shorter paths on its host, its host, and its parents.
fn covers<'a>(entry: &'a Entry<'_>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let shorter = crate::beginnings(&entry.path).skip(1).map(|path| (&*entry.host, path));
    let host = (!entry.path.is_empty()).then_some((&*entry.host, ""));
    let is_name = !entry.host.ends_with(|c: char| c.is_ascii_digit() || c == ']');
    let parents = entry.host.match_indices('.').map(|(dot, _)| (&entry.host[dot + 1..], ""));
    // No list holds a top-level domain.
    let parents = parents.filter(move |(parent, _)| is_name && parent.contains('.'));
    shorter.chain(host).chain(parents)
}
