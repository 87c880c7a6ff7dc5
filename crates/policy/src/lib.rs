//! Policy files to a compiled [`Policy`]: the only thing that decides.
//!
//! [`load`] reads a directory into memory (`directory`), parses each file into raw structures (`source`, `raw`) and
//! resolves them (`resolve`) to types in which every name is known and every number is in bounds (`policy`, `rule`,
//! `hosts`). `decide` answers the proxy's questions. `walk` takes a request past the stages and the policy as the
//! proxy would; [`check_expectations`] and [`explain()`] go that way.

mod decide;
mod directory;
mod embedded;
mod expect;
mod explain;
#[cfg(test)]
mod fixture;
mod hosts;
mod policy;
mod raw;
mod resolve;
mod rule;
mod source;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wardgate_core::{CategoryName, Diagnostic, Position};

pub use self::embedded::{embedded, write_embedded};
pub use self::expect::{Expectation, check_expectations};
pub use self::explain::{
    Trace, TraceConcern, TraceDecision, TraceFinding, TracePlace, TraceRule, TraceStep, explain,
};
pub use self::policy::{Policy, UnreadHost};
pub use self::walk::Inquiry;

/// Loads the policy of a directory. Fails with everything that is wrong, each with its place; warnings are among it.
pub fn load(directory: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let directory = directory::Directory::read(directory).map_err(|problem| vec![problem])?;
    resolve::compile(&directory)
}

/// Loads a policy whose files are in memory, by their paths relative to its directory. Otherwise like [`load`].
pub fn load_files(files: BTreeMap<String, Vec<u8>>) -> Result<Loaded, Vec<Diagnostic>> {
    resolve::compile(&directory::Directory::of(files))
}

/// A policy, and what the stages and `wardgate check` need of its directory.
pub struct Loaded {
    /// The compiled policy.
    pub policy: Arc<Policy>,
    /// The lists that `lists.toml` names.
    pub lists: Vec<ListSource>,
    /// The files in `phrases/`.
    pub phrase_files: Vec<PhraseFile>,
    /// What must hold, from `tests/`.
    pub expectations: Vec<Expectation>,
    /// What somebody should look at; the policy can be used.
    pub warnings: Vec<Diagnostic>,
}

/// One list, to be compiled by the `lists` stage.
#[derive(Clone, Debug)]
pub struct ListSource {
    /// The list's name: what findings and rules call it.
    pub name: Arc<str>,
    /// What its entries are about; a category that the policy defines.
    pub category: CategoryName,
    /// The file of the entries.
    pub path: PathBuf,
    /// The entries, one domain or URL prefix a line, `#` begins a comment.
    pub text: Arc<str>,
    /// Where `lists.toml` names the list.
    pub position: Position,
}

/// One file of phrases, to be compiled by the `phrases` stage. Which category it speaks of stands in it.
#[derive(Clone, Debug)]
pub struct PhraseFile {
    /// The file.
    pub path: PathBuf,
    /// Its contents.
    pub text: Arc<str>,
}
