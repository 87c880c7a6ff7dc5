//! `lists.toml`: which list speaks of which category. What stands in the lists is read by the `lists` stage.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use wardgate_core::{CategoryName, Diagnostic};

use super::categories::ResolvedCategories;
use super::{Names, Resolver};
use crate::raw;
use crate::source::{Entry, Source, suggesting};
use crate::{ListSource, PhraseFile};

/// The folder in which lists lie.
const LISTS: &str = "lists";
/// The folder in which phrase files lie.
const PHRASES: &str = "phrases";

/// The lists, and what rules need to refer to them.
pub(crate) struct ResolvedLists {
    pub(crate) sources: Vec<ListSource>,
    pub(crate) names: Names,
    /// The names as findings carry them, by the number of the list.
    pub(crate) list_names: Vec<Arc<str>>,
    /// The number of the category of each list, by the number of the list.
    pub(crate) categories: Vec<Option<usize>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn lists(&mut self, categories: &ResolvedCategories) -> ResolvedLists {
        let mut lists = ResolvedLists {
            sources: Vec::new(),
            names: Names::new("list"),
            list_names: Vec::new(),
            categories: Vec::new(),
        };
        let mut used: HashMap<String, Arc<str>> = HashMap::new();
        if let Some(document) = self.optional("lists.toml") {
            let source = document.source;
            let entries: Vec<Entry<raw::List>> = self.only_tables(document, "list");
            for Entry { span, value, .. } in entries {
                let name: Arc<str> = value.name.get_ref().as_str().into();
                lists.list_names.push(Arc::clone(&name));
                lists.names.define(source, &value.name, &mut self.problems);
                let category = categories.names.find(source, &value.category, &mut self.problems);
                lists.categories.push(category);
                let file = value.file.get_ref();
                if let Some(other) = used.insert(file.clone(), Arc::clone(&name)) {
                    let message = format!("`{file}` is the file of the list `{other}` already");
                    self.problems.push(source.warning(value.file.span(), message));
                }
                let Some(text) = self.list_text(source, &value) else { continue };
                lists.sources.push(ListSource {
                    name,
                    category: CategoryName::new(value.category.get_ref().as_str()),
                    path: self.directory.absolute(Path::new(file)),
                    text: text.into(),
                    position: source.position(span),
                });
            }
        }
        for file in self.directory.within(LISTS, ".txt").filter(|file| !used.contains_key(*file)) {
            let warning = Diagnostic::warning(file, None, "no [[list]] of lists.toml names this file");
            self.problems.push(warning);
        }
        lists
    }

    fn list_text(&mut self, source: Source<'_>, list: &raw::List) -> Option<&'a str> {
        let file = list.file.get_ref();
        let Some(text) = self.directory.text(file) else {
            let problem = source.error(list.file.span(), format!("there is no file `{file}`"));
            self.problems.push(suggesting(problem, file, self.directory.within(LISTS, "")));
            return None;
        };
        let text = text.map_err(|problem| self.problems.push(problem)).ok()?;
        if !text.lines().any(is_entry) {
            let message = format!("the list `{file}` is empty");
            self.problems.push(source.warning(list.file.span(), message));
        }
        Some(text)
    }

    /// The phrase files; each says itself which category it speaks of.
    pub(super) fn phrase_files(&mut self) -> Vec<PhraseFile> {
        let mut files = Vec::new();
        for file in self.directory.within(PHRASES, ".toml") {
            match self.directory.text(file) {
                Some(Ok(text)) => files.push(PhraseFile {
                    path: self.directory.absolute(Path::new(file)),
                    text: Arc::from(text),
                }),
                Some(Err(problem)) => self.problems.push(problem),
                None => {}
            }
        }
        files
    }
}

fn is_entry(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}
