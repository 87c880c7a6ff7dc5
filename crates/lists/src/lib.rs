//! The stage `lists`: URL and domain lists.
//!
//! A list names hosts, or places on a host, that belong to a category. A target is looked up label by label: its host
//! and every parent, and on each the beginnings of its path. Nothing is allocated for a target that is on no list.
//!
//! # List files
//!
//! ```text
//! # A comment, to the end of the line.
//! example.com              example.com, www.example.com and every other subdomain
//! example.org/bad          the path /bad and everything below it, not /badger
//! bücher.example           international names, in either spelling
//! 192.0.2.7                an address, however a browser spells it
//! ```

mod compile;
mod index;

use std::path::Path;
use std::sync::Arc;

use wardgate_core::{
    CERTAIN, CategoryName, Diagnostic, Evidence, Finding, Host, Report, RequestHead, Stage, Target, TextKind,
    domain_above,
};

use compile::MAX_SEGMENTS;
use index::{Index, ListId};

/// The stage's name in findings.
const STAGE: &str = "lists";

/// A list as it was read from the policy directory.
#[derive(Clone, Copy, Debug)]
pub struct ListSource<'a> {
    /// Its name in the policy.
    pub name: &'a str,
    /// What its entries are about.
    pub category: &'a CategoryName,
    /// Where it stands; for diagnostics.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
}

/// A list that holds a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The list's name in the policy.
    pub list: Arc<str>,
    /// The list's category.
    pub category: CategoryName,
    /// The entry, the most specific of this list: `example.com` or `example.com/path`.
    pub entry: Box<str>,
}

/// All lists of a policy, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Lists {
    compiled: Arc<Compiled>,
}

struct Compiled {
    lists: Vec<(Arc<str>, CategoryName)>,
    index: Index,
}

impl Lists {
    /// Compiles lists. Warnings come with the result; an error stands for all lists, and brings the warnings too.
    pub fn compile(sources: &[ListSource<'_>]) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (index, warnings) = compile::compile(sources)?;
        let lists = sources.iter().map(|source| (source.name.into(), source.category.clone())).collect();
        Ok((Self { compiled: Arc::new(Compiled { lists, index }) }, warnings))
    }

    /// How many different hosts and paths are listed.
    pub fn len(&self) -> usize {
        self.compiled.index.len()
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lists that hold this target, each once, the most specific entries first.
    pub fn lookup(&self, target: &Target) -> Vec<Match> {
        let mut matches = Vec::new();
        let mut seen: Vec<ListId> = Vec::new();
        self.walk(target, |id, host, path| {
            if seen.contains(&id) {
                return;
            }
            seen.push(id);
            let (list, category) = &self.compiled.lists[id.0 as usize];
            let entry = format!("{host}{path}").into();
            matches.push(Match { list: Arc::clone(list), category: category.clone(), entry });
        });
        matches
    }

    /// Calls `found` with each list that holds the target, and with the host and path of its entry.
    fn walk(&self, target: &Target, mut found: impl FnMut(ListId, &str, &str)) {
        let index = &self.compiled.index;
        let address;
        let (mut host, is_name) = match target.host() {
            Host::Name(name) => (&**name, true),
            host => {
                address = host.to_string();
                (&*address, false)
            }
        };
        loop {
            if let Some(listing) = index.host(host) {
                if listing.has_paths {
                    for path in beginnings(&target.folded_path()) {
                        index.path(host, path).iter().for_each(|id| found(*id, host, path));
                    }
                }
                listing.lists.iter().for_each(|id| found(*id, host, ""));
            }
            match domain_above(host) {
                Some(parent) if is_name => host = parent,
                _ => return,
            }
        }
    }
}

/// The beginnings of a path at which an entry can end, longest first: `/a/b/c`, `/a/b`, `/a`.
fn beginnings(path: &str) -> impl Iterator<Item = &str> {
    let end = path.match_indices('/').nth(MAX_SEGMENTS).map_or(path.len(), |(slash, _)| slash);
    let mut next = Some(path[..end].trim_end_matches('/'));
    std::iter::from_fn(move || {
        let path = next.filter(|path| !path.is_empty())?;
        next = path.rfind('/').map(|slash| &path[..slash]);
        Some(path)
    })
}

impl Stage for Lists {
    fn name(&self) -> &'static str {
        STAGE
    }

    fn request(&self, head: &RequestHead<'_>, report: &mut Report) {
        report.findings.extend(self.lookup(head.target).into_iter().map(|found| Finding {
            stage: STAGE,
            category: found.category,
            kind: TextKind::Address,
            score: CERTAIN,
            evidence: Evidence::Entry { list: found.list, entry: found.entry },
        }));
    }
}

#[cfg(test)]
mod tests;
