//! The one place that decides. Read [`Policy::ruling`] first: it is the order in which everything is weighed.

use std::net::IpAddr;
use std::sync::Arc;

use wardgate_core::{
    AlertLevel, Concern, Decide, Decision, GroupSettings, Login, Membership, OnError, Phase, Purpose,
    Question, Route, RuleRef, TextKind, Verdict, Who, Wording,
};

use crate::policy::{ON_ERROR, Policy};
use crate::rule::{Fact, Miss};

/// What a person reads when a page could not be looked at.
const UNREADABLE: &str = "This page could not be checked, so it is not shown.";

/// The rule that applies, before anybody is spared.
pub(crate) struct Ruling<'a> {
    pub(crate) rule: &'a RuleRef,
    pub(crate) verdict: Verdict,
    /// The number of the category that the rule matched.
    category: Option<usize>,
}

impl<'a> Ruling<'a> {
    fn of(rule: &'a RuleRef, verdict: Verdict) -> Self {
        Self { rule, verdict, category: None }
    }
}

impl Decide for Policy {
    fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    fn login(&self, address: IpAddr) -> Login {
        let address = address.to_canonical();
        let range = self.identity.ranges.iter().find(|(range, _)| range.contains(&address));
        range.map_or(self.identity.login, |(_, login)| *login)
    }

    fn membership(&self, who: &Who) -> Membership {
        self.groups.membership(who)
    }

    fn settings(&self, membership: &Membership) -> &GroupSettings {
        &self.groups.first(membership).settings
    }

    fn decide(&self, question: &Question<'_>) -> Decision {
        if question.phase == Phase::Connect && !self.tunnels(question) {
            return self.intercept(question);
        }
        let facts = self.facts(question);
        let ruling = self.ruling(question, &facts, |_, _| {});
        let spares = self.settings(question.membership).monitor_only && ruling.verdict != Verdict::Allow;
        let verdict = if spares { Verdict::Allow } else { ruling.verdict };
        Decision {
            verdict,
            route: (question.phase == Phase::Connect).then(|| unopened(verdict)),
            rule: ruling.rule.clone(),
            category: ruling.category.map(|number| self.categories.categories[number].name.clone()),
            theme: ruling
                .category
                .and_then(|number| self.categories.theme_of(number))
                .map(|t| t.name.clone()),
            spared: spares.then_some(ruling.verdict),
            concerns: self.concerns(question, &facts),
        }
    }

    fn wording(&self, decision: Option<&Decision>) -> Wording {
        let category = decision
            .and_then(|decision| decision.category.as_ref())
            .and_then(|name| self.categories.number(name.as_str()));
        let theme = category.and_then(|number| self.categories.theme_of(number));
        let category = category.map(|number| &self.categories.categories[number]);
        let reason = decision.and_then(|decision| self.reason(&decision.rule));
        Wording {
            organisation: Arc::clone(&self.words.organisation),
            contact: Arc::clone(&self.words.contact),
            notice: Arc::clone(&self.words.notice),
            category: category.map(|category| Arc::clone(&category.title)),
            reason: reason.or_else(|| category.map(|category| Arc::clone(&category.reason))),
            help: Arc::clone(theme.map_or(&self.words.help, |theme| &theme.help)),
        }
    }
}

impl Policy {
    /// Finds the rule that applies. `note` hears of each rule that did not match, in the order in which they are
    /// considered: that is how `wardgate explain` tells what really happened.
    pub(crate) fn ruling<'a>(
        &'a self,
        question: &Question<'_>,
        facts: &[Fact<'_>],
        mut note: impl FnMut(&'a RuleRef, Miss),
    ) -> Ruling<'a> {
        let host = question.target.host();
        let group = self.groups.first(question.membership);

        // 1. Help is never blocked.
        if let Some(rule) = self.help.get(host) {
            return Ruling::of(rule, Verdict::Allow);
        }
        note(&self.built_in.help, Miss::NotNeeded);

        // 2. What could not be looked at is not passed, unless the group's `on_error` says so.
        if question.fault.is_some() && group.settings.on_error == OnError::Block {
            return Ruling::of(&group.on_error, Verdict::Block);
        }
        note(&group.on_error, Miss::NotNeeded);

        // 3. What teaching needs works, whatever lists and phrases say.
        if let Some(rule) = self.must_work.get(host) {
            return Ruling::of(rule, Verdict::Allow);
        }
        note(&self.built_in.must_work, Miss::NotNeeded);

        // 4. The first rule that matches.
        for rule in &self.rules {
            match rule.judge(question, facts) {
                Ok(fact) => {
                    let category = fact.map(|fact| fact.category);
                    return Ruling { rule: &rule.at, verdict: rule.action, category };
                }
                Err(miss) => note(&rule.at, miss),
            }
        }

        // 5. Everything else is allowed; a tunnel that stays closed says why.
        let closed = self.never_intercept.get(host).filter(|_| question.phase == Phase::Connect);
        Ruling::of(closed.unwrap_or(&self.built_in.default), Verdict::Allow)
    }

    /// The findings as this policy sees them. A finding of a category that the policy does not know says nothing.
    pub(crate) fn facts<'a>(&self, question: &Question<'a>) -> Vec<Fact<'a>> {
        let limits = &self.groups.first(question.membership).limits;
        let fact = |finding: &'a wardgate_core::Finding| {
            let category = self.categories.number(finding.category.as_str())?;
            let severity = self.categories.categories[category].severity;
            Some(Fact { finding, category, severity, limit: limits.of(finding.kind) })
        };
        question.findings.iter().filter_map(fact).collect()
    }

    /// Whether the bytes of a CONNECT would pass unread: the group is not intercepted, the host must not be, or it is
    /// a help site. Help sites work without the school's certificate, and nobody keeps a record of what was read there.
    fn tunnels(&self, question: &Question<'_>) -> bool {
        let host = question.target.host();
        !self.settings(question.membership).intercept
            || self.help.get(host).is_some()
            || self.never_intercept.get(host).is_some()
    }

    /// The answer to a CONNECT that will be opened: each request in it is decided by itself, and a blocked host gets
    /// its block page there.
    fn intercept(&self, question: &Question<'_>) -> Decision {
        Decision {
            verdict: Verdict::Allow,
            route: Some(Route::Intercept),
            rule: self.groups.first(question.membership).intercept.clone(),
            category: None,
            theme: None,
            spared: None,
            concerns: Vec::new(),
        }
    }

    /// Whom to tell of what: the gravest finding of each theme, whatever became of the page. Nothing that is read or
    /// sought at a help site is held against anyone.
    fn concerns(&self, question: &Question<'_>, facts: &[Fact<'_>]) -> Vec<Concern> {
        if facts.is_empty() || self.help.get(question.target.host()).is_some() {
            return Vec::new();
        }
        let mut gravest: Vec<(usize, &Fact<'_>)> = Vec::new();
        for fact in facts.iter().filter(|fact| fact.counts() && self.is_own_doing(question, fact)) {
            let Some(theme) = self.categories.categories[fact.category].theme else { continue };
            match gravest.iter_mut().find(|(known, _)| *known == theme) {
                Some((_, known)) if fact.outweighs(known) => *known = fact,
                Some(_) => {}
                None => gravest.push((theme, fact)),
            }
        }
        gravest.sort_by(|(_, a), (_, b)| b.severity.cmp(&a.severity));
        let mut concerns: Vec<Concern> =
            gravest.into_iter().filter_map(|(theme, fact)| self.concern(question, theme, fact)).collect();
        concerns.sort_by(|a, b| b.level.cmp(&a.level));
        concerns
    }

    fn concern(&self, question: &Question<'_>, theme: usize, fact: &Fact<'_>) -> Option<Concern> {
        let theme = &self.categories.themes[theme];
        let level = theme.alert(question.membership);
        (level > AlertLevel::None).then(|| Concern {
            theme: theme.name.clone(),
            category: fact.finding.category.clone(),
            level,
        })
    }

    /// Whether a finding says something about the person. What was written always does. An address or a text does
    /// where the person opened the page; an embedded advertisement or a widget's text is the page's doing. An address
    /// at a service that must work is the school's choice.
    fn is_own_doing(&self, question: &Question<'_>, fact: &Fact<'_>) -> bool {
        let opened = question.purpose == Purpose::Navigation;
        match fact.finding.kind {
            TextKind::Search | TextKind::Prompt | TextKind::Post => true,
            TextKind::Page => opened,
            TextKind::Address => opened && self.must_work.get(question.target.host()).is_none(),
        }
    }

    /// What a rule itself says to the person, if it says anything.
    fn reason(&self, rule: &RuleRef) -> Option<Arc<str>> {
        if &*rule.name == ON_ERROR {
            return Some(UNREADABLE.into());
        }
        self.rules.iter().find(|known| known.at.name == rule.name)?.reason.clone()
    }
}

/// What becomes of a CONNECT that is not opened. A warning cannot be shown there, and nobody can agree to what they
/// were not asked: it refuses.
fn unopened(verdict: Verdict) -> Route {
    match verdict {
        Verdict::Allow => Route::Tunnel,
        Verdict::Warn | Verdict::Block => Route::Refuse,
    }
}
