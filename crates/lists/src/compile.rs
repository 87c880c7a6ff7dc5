//! Reads list files into the index, and everything that is wrong with a list into diagnostics.

use std::collections::HashMap;

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
        let entries = read(source, &mut diagnostics);
        report_needless(source, &entries, &mut diagnostics);
        for Entry { host, path, .. } in &entries {
            match path.as_str() {
                "" => builder.host(ListId(number as u16), host),
                path => builder.path(ListId(number as u16), host, path),
            }
        }
    }
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    Ok((builder.build(), diagnostics))
}

/// An entry in canonical form.
struct Entry {
    host: String,
    /// Without a slash at its end; empty for the whole host.
    path: String,
    line: u32,
    column: u32,
}

impl Entry {
    fn position(&self) -> Option<Position> {
        Some(Position { line: self.line, column: self.column })
    }
}

fn read(source: &ListSource<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut is_empty = true;
    for (number, line) in source.text.trim_start_matches('\u{feff}').lines().enumerate() {
        let written = without_comment(line).trim();
        if written.is_empty() {
            continue;
        }
        is_empty = false;
        let line_number = number as u32 + 1;
        let indent = line.chars().take_while(|c| c.is_whitespace()).count() as u32;
        let position = Position { line: line_number, column: indent + 1 };
        match parse(written) {
            Ok((host, path)) => entries.push(Entry { host, path, line: line_number, column: indent + 1 }),
            Err((problem, help)) => diagnostics.push(
                Diagnostic::error(source.path, Some(position), format!("`{written}` {problem}")).help(help),
            ),
        }
    }
    if is_empty {
        diagnostics.push(
            Diagnostic::error(source.path, None, format!("the list `{}` is empty", source.name))
                .help("add an entry, or remove the list from the policy"),
        );
    }
    entries
}

/// A `#` at the beginning of a word begins a comment.
fn without_comment(line: &str) -> &str {
    let is_comment = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    match line.match_indices('#').map(|(at, _)| at).find(is_comment) {
        Some(at) => &line[..at],
        None => line,
    }
}

/// Why an entry cannot be used, and what to write in its place.
type Refusal = (&'static str, String);

/// Canonicalises an entry into host and path.
fn parse(written: &str) -> Result<(String, String), Refusal> {
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
        refuse_registry(name)?;
    }
    let path = target.folded_path();
    let path = path.trim_end_matches('/');
    if path.matches('/').count() > MAX_SEGMENTS {
        return Err(("is too deep a path", format!("at most {MAX_SEGMENTS} segments")));
    }
    Ok((target.host().to_string(), path.to_owned()))
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
fn report_needless(source: &ListSource<'_>, entries: &[Entry], diagnostics: &mut Vec<Diagnostic>) {
    let mut first: HashMap<(&str, &str), u32> = HashMap::with_capacity(entries.len());
    let mut needless = Vec::new();
    for entry in entries {
        match first.get(&(&*entry.host, &*entry.path)) {
            Some(line) => needless.push((entry, format!("it also stands on line {line}"))),
            None => {
                first.insert((&entry.host, &entry.path), entry.line);
            }
        }
    }
    for entry in entries {
        if let Some((cover, line)) = covers(entry).find_map(|cover| Some((cover, first.get(&cover)?))) {
            needless.push((entry, format!("`{}{}` on line {line} covers it", cover.0, cover.1)));
        }
    }
    let rest = needless.len().saturating_sub(MAX_WARNINGS);
    needless.sort_by_key(|(entry, _)| entry.line);
    for (entry, why) in needless.into_iter().take(MAX_WARNINGS) {
        let message = format!("`{}{}` is needless: {why}", entry.host, entry.path);
        diagnostics.push(Diagnostic::warning(source.path, entry.position(), message).help("remove the line"));
    }
    if rest > 0 {
        diagnostics.push(Diagnostic::warning(source.path, None, format!("{rest} more entries are needless")));
    }
}

/// The entries that would cover this one: shorter paths on its host, its host, and its parents.
fn covers(entry: &Entry) -> impl Iterator<Item = (&str, &str)> {
    let shorter = crate::beginnings(&entry.path).skip(1).map(|path| (&*entry.host, path));
    let host = (!entry.path.is_empty()).then_some((&*entry.host, ""));
    let is_name = !entry.host.ends_with(|c: char| c.is_ascii_digit() || c == ']');
    let parents = entry.host.match_indices('.').map(|(dot, _)| (&entry.host[dot + 1..], ""));
    shorter.chain(host).chain(parents.filter(move |_| is_name))
}
