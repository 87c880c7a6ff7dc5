//! A policy directory to the rules in force: the policy, and the stages compiled from its lists and phrases.

use std::path::Path;
use std::sync::Arc;

use wardgate_avoidance::Avoidance;
use wardgate_core::{CategoryName, Diagnostic, Pipeline, Ruleset, Stage};
use wardgate_lists::Lists;
use wardgate_phrases::Phrases;
use wardgate_policy::{Loaded, Policy};
use wardgate_search::Search;

/// A policy that may be put in force: it compiled, and what it says must hold does.
pub(crate) struct Compiled {
    pub(crate) policy: Arc<Policy>,
    pub(crate) ruleset: Arc<Ruleset>,
    /// What somebody should look at.
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) counts: Counts,
}

/// How much a policy holds, for messages.
pub(crate) struct Counts {
    pub(crate) listed: usize,
    pub(crate) phrases: usize,
    pub(crate) expectations: usize,
}

/// Compiles a policy directory and checks its expectations. Fails with everything that is wrong.
pub(crate) fn compile(dir: &Path) -> Result<Compiled, Vec<Diagnostic>> {
    let Loaded { policy, lists, phrase_files, expectations, mut warnings } = wardgate_policy::load(dir)?;
    let lists: Vec<_> = lists
        .iter()
        .map(|list| wardgate_lists::ListSource {
            name: &list.name,
            category: &list.category,
            path: &list.path,
            text: &list.text,
        })
        .collect();
    let phrase_files: Vec<_> = phrase_files
        .iter()
        .map(|file| wardgate_phrases::PhraseFile { path: &file.path, text: &file.text })
        .collect();
    let categories: Vec<CategoryName> = policy.categories().cloned().collect();
    let (lists, phrases) = both(Lists::compile(&lists), Phrases::compile(&phrase_files, &categories))?;
    let (lists, mut list_warnings) = lists;
    let (phrases, mut phrase_warnings) = phrases;
    warnings.append(&mut list_warnings);
    warnings.append(&mut phrase_warnings);
    let counts = Counts { listed: lists.len(), phrases: phrases.len(), expectations: expectations.len() };

    // The stage list: a new stage is a new crate and one line here.
    let stages: Vec<Arc<dyn Stage>> =
        vec![Arc::new(lists), Arc::new(Avoidance), Arc::new(Search), Arc::new(phrases)];

    let ruleset = Arc::new(Ruleset { policy: policy.clone(), pipeline: Pipeline::new(stages) });
    let mut broken = wardgate_policy::check_expectations(&expectations, &ruleset);
    if !broken.is_empty() {
        broken.append(&mut warnings);
        return Err(broken);
    }
    Ok(Compiled { policy, ruleset, warnings, counts })
}

/// Both results, or everything that is wrong with either.
fn both<A, B>(
    one: Result<A, Vec<Diagnostic>>,
    other: Result<B, Vec<Diagnostic>>,
) -> Result<(A, B), Vec<Diagnostic>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => {
            let mut wrong = one.err().unwrap_or_default();
            wrong.append(&mut other.err().unwrap_or_default());
            Err(wrong)
        }
    }
}
