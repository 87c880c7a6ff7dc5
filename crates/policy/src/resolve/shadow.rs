//! Finds rules that cannot come to bear, because an earlier one takes everything that they would match.

use wardgate_core::{RuleRef, TextKind, Verdict};

use crate::hosts::HostMap;
use crate::policy::IdSet;
use crate::rule::{About, Rule};

/// Why a rule does nothing, if it is shadowed by `earlier` or speaks of help sites alone.
pub(super) fn explanation(rule: &Rule, earlier: Option<&Rule>, help: &HostMap<RuleRef>) -> Option<String> {
    if let Some(RuleRef { name, line, .. }) = earlier.map(|earlier| &earlier.at) {
        return Some(format!("the rule `{name}` at line {line} takes everything that this one would match"));
    }
    let only_help = rule.hosts.as_ref().is_some_and(|hosts| help.covers(hosts));
    only_help.then(|| "its hosts are help sites, which are always allowed".to_owned())
}

/// Whether `earlier` matches whenever `later` does.
pub(super) fn covers(earlier: &Rule, later: &Rule) -> bool {
    within(&earlier.groups, &later.groups, IdSet::covers)
        && within(&earlier.hosts, &later.hosts, HostMap::covers)
        && within(&earlier.methods, &later.methods, |a, b| holds_all(a, b))
        && within(&earlier.ports, &later.ports, |a, b| holds_all(a, b))
        && within(&earlier.ports_other_than, &later.ports_other_than, |a, b| holds_all(b, a))
        && covers_carried(earlier, later)
        && within(&earlier.about, &later.about, about_covers)
}

/// Whether the earlier rule looks at the tunnels that the later one is about: one that allows, without a word about
/// what is neither TLS nor HTTP, does not.
fn covers_carried(earlier: &Rule, later: &Rule) -> bool {
    earlier.carries == later.carries || earlier.carries.is_none() && earlier.action != Verdict::Allow
}

fn about_covers(earlier: &About, later: &About) -> bool {
    within(&earlier.categories, &later.categories, IdSet::covers)
        && within(&earlier.lists, &later.lists, |a, b| holds_all(a, b))
        && within(&earlier.kinds, &later.kinds, |a, b| holds_all(a, b))
        && score_covers(earlier, later)
}

/// The limits of groups differ, so a score of a rule's own can only be compared with another rule's own.
fn score_covers(earlier: &About, later: &About) -> bool {
    if later.kinds.as_deref() == Some(&[TextKind::Address]) {
        return true;
    }
    match (earlier.min_score, later.min_score) {
        (None, None) => true,
        (Some(a), Some(b)) => a <= b,
        _ => false,
    }
}

/// Whether a condition holds whenever another does; a condition that is absent always holds.
fn within<T>(earlier: &Option<T>, later: &Option<T>, covers: impl Fn(&T, &T) -> bool) -> bool {
    match (earlier, later) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => covers(earlier, later),
    }
}

fn holds_all<T: PartialEq>(all: &[T], some: &[T]) -> bool {
    some.iter().all(|one| all.contains(one))
}
