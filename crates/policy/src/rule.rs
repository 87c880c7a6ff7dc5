//! One rule: its conditions, whether they hold, and if not, which of them.

use std::fmt;
use std::sync::Arc;

use wardgate_core::{Carried, Evidence, Finding, Membership, Phase, Question, RuleRef, TextKind, Verdict};

use crate::hosts::HostMap;
use crate::policy::IdSet;
use crate::raw::Carries;

/// A rule of `rules.toml`. All conditions must hold; one that is absent always holds.
pub(crate) struct Rule {
    pub(crate) at: RuleRef,
    /// Groups named, and all that inherit from them.
    pub(crate) groups: Option<IdSet>,
    pub(crate) hosts: Option<HostMap<()>>,
    pub(crate) methods: Option<Box<[Box<str>]>>,
    pub(crate) ports: Option<Box<[u16]>>,
    pub(crate) ports_other_than: Option<Box<[u16]>>,
    /// What a tunnel must have turned out to carry.
    pub(crate) carries: Option<Carries>,
    /// What one and the same finding must be like.
    pub(crate) about: Option<About>,
    pub(crate) action: Verdict,
    /// What the person reads in place of the category's reason.
    pub(crate) reason: Option<Arc<str>>,
}

/// What a finding must be like for a rule to match.
pub(crate) struct About {
    pub(crate) categories: Option<IdSet>,
    pub(crate) lists: Option<Box<[Arc<str>]>>,
    pub(crate) kinds: Option<Box<[TextKind]>>,
    /// Takes the place of the group's limit for texts.
    pub(crate) min_score: Option<f32>,
}

/// A finding as this policy sees it.
pub(crate) struct Fact<'a> {
    pub(crate) finding: &'a Finding,
    /// The number of its category.
    pub(crate) category: usize,
    /// How bad the category is, from 1 to 5.
    pub(crate) severity: u8,
    /// The group's limit for this kind.
    pub(crate) limit: f32,
}

impl Fact<'_> {
    /// Whether the finding counts at all: always for an address, from the group's limit on for a text.
    pub(crate) fn counts(&self) -> bool {
        self.reaches(self.limit)
    }

    fn reaches(&self, limit: f32) -> bool {
        self.finding.kind == TextKind::Address || self.finding.score >= limit
    }

    /// Whether this one says more about an exchange than another.
    pub(crate) fn outweighs(&self, other: &Self) -> bool {
        (self.severity, self.finding.score) > (other.severity, other.finding.score)
    }
}

/// Why a rule does not match.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Miss {
    Group,
    Method,
    Port,
    Host,
    /// The rule is about tunnels that carry something else.
    Carried,
    /// Nothing was found that the rule is about.
    NotFound,
    /// What the rule is about was found, too weakly.
    TooWeak {
        score: f32,
        limit: f32,
    },
    /// A built-in rule was not called for.
    NotNeeded,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group => f.write_str("for other groups"),
            Self::Method => f.write_str("for other methods"),
            Self::Port => f.write_str("for other ports"),
            Self::Host => f.write_str("for other hosts"),
            Self::Carried => f.write_str("for what tunnels carry otherwise"),
            Self::NotFound => f.write_str("nothing found that it is about"),
            Self::TooWeak { score, limit } => write!(f, "found with {score} points, counts from {limit}"),
            Self::NotNeeded => f.write_str("not called for"),
        }
    }
}

impl Rule {
    /// Whether the rule matches; if it is about findings, with the one that weighs most.
    pub(crate) fn judge<'f, 'a>(
        &self,
        question: &Question<'_>,
        facts: &'f [Fact<'a>],
    ) -> Result<Option<&'f Fact<'a>>, Miss> {
        if !self.is_for(question.membership) {
            return Err(Miss::Group);
        }
        if self.methods.as_ref().is_some_and(|methods| !methods.iter().any(|m| **m == *question.method)) {
            return Err(Miss::Method);
        }
        let port = question.target.port();
        if self.ports.as_ref().is_some_and(|ports| !ports.contains(&port))
            || self.ports_other_than.as_ref().is_some_and(|ports| ports.contains(&port))
        {
            return Err(Miss::Port);
        }
        if !self.is_about(question.phase) {
            return Err(Miss::Carried);
        }
        if self.hosts.as_ref().is_some_and(|hosts| hosts.get(question.target.host()).is_none()) {
            return Err(Miss::Host);
        }
        self.about.as_ref().map(|about| about.judge(facts)).transpose()
    }

    /// What is neither TLS nor HTTP passes only where a rule says so in so many words; what blocks a host blocks that
    /// too.
    fn is_about(&self, phase: Phase) -> bool {
        match self.carries {
            Some(Carries::Other) => phase == Phase::Opened(Carried::Other),
            None => phase != Phase::Opened(Carried::Other) || self.action != Verdict::Allow,
        }
    }

    fn is_for(&self, membership: &Membership) -> bool {
        let Some(groups) = &self.groups else { return true };
        membership.groups.iter().any(|id| groups.contains(usize::from(id.0)))
    }
}

impl About {
    fn judge<'f, 'a>(&self, facts: &'f [Fact<'a>]) -> Result<&'f Fact<'a>, Miss> {
        let mut best: Option<&Fact<'_>> = None;
        let mut miss = Miss::NotFound;
        for fact in facts.iter().filter(|fact| self.fits(fact)) {
            let limit = self.min_score.unwrap_or(fact.limit);
            if !fact.reaches(limit) {
                miss = Miss::TooWeak { score: fact.finding.score, limit };
            } else if best.is_none_or(|best| fact.outweighs(best)) {
                best = Some(fact);
            }
        }
        best.ok_or(miss)
    }

    fn fits(&self, fact: &Fact<'_>) -> bool {
        self.categories.as_ref().is_none_or(|categories| categories.contains(fact.category))
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&fact.finding.kind))
            && self.lists.as_ref().is_none_or(|lists| is_entry_of(fact.finding, lists))
    }
}

fn is_entry_of(finding: &Finding, lists: &[Arc<str>]) -> bool {
    match &finding.evidence {
        Evidence::Entry { list, .. } => lists.contains(list),
        Evidence::Phrases(_) => false,
    }
}
