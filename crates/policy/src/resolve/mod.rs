//! From files to a compiled policy: reads what was written, resolves names, and reports every mistake with its place.

mod categories;
mod expectations;
mod groups;
mod hosts;
mod identity;
mod lists;
mod names;
mod rules;
mod shadow;
mod values;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use wardgate_core::{Diagnostic, RuleRef, Severity};

use self::names::Names;
use crate::directory::Directory;
use crate::policy::{BuiltIn, Policy, Words};
use crate::source::{Document, Source, suggesting};
use crate::{Loaded, raw};

/// The files at the top of a policy directory. Anything else that ends in `.toml` there is a slip.
const FILES: [&str; 9] = [
    "policy.toml",
    "groups.toml",
    "identity.toml",
    "categories.toml",
    "lists.toml",
    "rules.toml",
    "never-intercept.toml",
    "must-work.toml",
    "help.toml",
];

/// Compiles the files of a directory. Fails with everything that is wrong, warnings included.
pub(crate) fn compile(directory: &Directory) -> Result<Loaded, Vec<Diagnostic>> {
    let mut resolver = Resolver { directory, problems: Vec::new() };
    let loaded = resolver.compile();
    let mut problems = resolver.problems;
    problems.sort_by(|a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
    for problem in &mut problems {
        problem.file = directory.absolute(&problem.file);
    }
    match loaded {
        Some(loaded) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            Ok(Loaded { warnings: problems, ..loaded })
        }
        _ => Err(problems),
    }
}

/// The work in hand: what is read, and what was found to be wrong with it.
pub(crate) struct Resolver<'a> {
    directory: &'a Directory,
    problems: Vec<Diagnostic>,
}

impl<'a> Resolver<'a> {
    /// Resolves one file after the other, later ones in terms of earlier ones. Nothing comes out only where a file
    /// could not be read at all; smaller mistakes are reported and the rest goes on.
    fn compile(&mut self) -> Option<Loaded> {
        self.unknown_files();
        let school = self.school();
        let groups = self.groups(school.as_ref().map(|(source, school)| (*source, &school.defaults)));
        let categories = self.categories(groups.as_ref().map(|groups| &groups.names));
        let help = self.help(categories.as_ref().map(|categories| &categories.theme_names));
        let never_intercept = self.never_intercept();
        let must_work = self.must_work();
        let identity = self.identity();
        let (Some(groups), Some(mut categories), Some(mut help), Some((source, school))) =
            (groups, categories, help, school)
        else {
            self.surely_wrong();
            return None;
        };
        for (theme, lines) in categories.compiled.themes.iter_mut().zip(help.by_theme) {
            theme.help = lines;
        }
        let lists = self.lists(&categories);
        let rules = self.rules(&rules::Known {
            groups: &groups,
            categories: &categories,
            lists: &lists,
            help: &help.hosts,
        })?;
        let expectations = self.expectations(&groups, &categories);
        let mut unread_hosts = never_intercept.unread;
        unread_hosts.append(&mut help.unread);
        let policy = Policy {
            hash: self.directory.hash(),
            words: Words {
                organisation: self.said(source, "organisation", &school.organisation),
                contact: self.said(source, "contact", &school.contact),
                notice: self.said(source, "notice", &school.notice),
                help: help.default,
            },
            groups: groups.compiled,
            identity,
            categories: categories.compiled,
            rules,
            help: help.hosts,
            must_work: must_work.hosts,
            never_intercept: never_intercept.hosts,
            unread_hosts,
            built_in: BuiltIn::new(),
        };
        Some(Loaded {
            policy: Arc::new(policy),
            lists: lists.sources,
            phrase_files: self.phrase_files(),
            expectations,
            warnings: Vec::new(),
        })
    }

    /// A policy that does not come to be has a reason; this is the net below the resolvers.
    fn surely_wrong(&mut self) {
        if !self.problems.iter().any(|problem| problem.severity == Severity::Error) {
            self.problems.push(Diagnostic::error("policy.toml", None, "the policy is incomplete"));
        }
    }

    fn unknown_files(&mut self) {
        let at_top = self.directory.paths().filter(|path| !path.contains('/') && path.ends_with(".toml"));
        for file in at_top.filter(|file| !FILES.contains(file)) {
            let warning = Diagnostic::warning(file, None, "no such file belongs to a policy; it is not read");
            self.problems.push(suggesting(warning, file, FILES.into_iter()));
        }
    }

    fn school(&mut self) -> Option<(Source<'a>, raw::School)> {
        let document = self.required("policy.toml")?;
        let source = document.source;
        Some((source, document.head(&mut self.problems)?))
    }

    /// The text of a file, where it exists and can be read.
    fn source(&mut self, file: &'a str) -> Option<Source<'a>> {
        match self.directory.text(file)? {
            Ok(text) => Some(Source { file, text }),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// A file that a policy can do without.
    fn optional(&mut self, file: &'a str) -> Option<Document<'a>> {
        let source = self.source(file)?;
        Document::parse(source, &mut self.problems)
    }

    /// A file that a policy cannot do without.
    fn required(&mut self, file: &'a str) -> Option<Document<'a>> {
        if !self.directory.contains(file) {
            self.problems.push(Diagnostic::error(file, None, "the file is missing"));
        }
        self.optional(file)
    }

    /// A file that holds nothing but `[[key]]`.
    fn only_tables<T: DeserializeOwned>(
        &mut self,
        mut document: Document<'a>,
        key: &'static str,
    ) -> Vec<crate::source::Entry<T>> {
        let entries = document.tables(key, &mut self.problems);
        // The answer has no content; what is wrong with the head has been reported.
        let _: Option<raw::Nothing> = document.head(&mut self.problems);
        entries
    }

    /// A text for people, which must say something.
    fn said(&mut self, source: Source<'_>, key: &str, text: &raw::Text) -> Arc<str> {
        let said = text.get_ref().trim();
        if said.is_empty() {
            self.problems.push(source.error(text.span(), format!("`{key}` says nothing")));
        }
        said.into()
    }
}

/// Names a place in a file for decisions and the access log.
fn rule_ref(source: Source<'_>, name: &str, span: Range<usize>) -> RuleRef {
    RuleRef { name: name.into(), file: source.file.into(), line: source.position(span).line }
}

/// Appends an id to what is known under a key.
fn append<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, Vec<V>>, key: K, value: V) {
    map.entry(key).or_default().push(value);
}
