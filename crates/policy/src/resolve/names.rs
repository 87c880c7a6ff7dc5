//! Names that a file defines and others refer to.

use std::collections::HashMap;

use wardgate_core::Diagnostic;

use crate::raw::Text;
use crate::source::{Source, suggesting};

/// The names of one kind, numbered in the order of their definition.
pub(crate) struct Names {
    /// What the names are of, in the singular: `group`.
    kind: &'static str,
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, usize>,
}

impl Names {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self { kind, names: Vec::new(), numbers: HashMap::new() }
    }

    /// Defines a name. A second definition of the same name is reported, and so is a name that is not plain.
    pub(crate) fn define(&mut self, source: Source<'_>, name: &Text, problems: &mut Vec<Diagnostic>) {
        let text = name.get_ref();
        if !is_plain(text) {
            let message = format!("`{text}` is not a plain name");
            let help = "use lower-case letters, digits and hyphens";
            problems.push(source.error(name.span(), message).help(help));
        }
        self.define_title(source, name, problems);
    }

    /// Defines a name that only people read, such as `Childline`; it may hold capitals and spaces.
    pub(crate) fn define_title(&mut self, source: Source<'_>, name: &Text, problems: &mut Vec<Diagnostic>) {
        let text = name.get_ref();
        if self.numbers.insert(text.as_str().into(), self.names.len()).is_some() {
            problems.push(source.error(name.span(), format!("the {} `{text}` is defined twice", self.kind)));
        }
        self.names.push(text.as_str().into());
    }

    /// The number of a name; a name that is not defined is reported with the nearest one that is.
    pub(crate) fn find(
        &self,
        source: Source<'_>,
        name: &Text,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<usize> {
        let found = self.numbers.get(name.get_ref().as_str()).copied();
        if found.is_none() {
            let message = format!("unknown {} `{}`", self.kind, name.get_ref());
            problems.push(suggesting(source.error(name.span(), message), name.get_ref(), self.iter()));
        }
        found
    }

    /// How many names are defined.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The names in the order of their definition.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }
}

fn is_plain(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && name.bytes().all(fits) && !name.starts_with('-')
}
