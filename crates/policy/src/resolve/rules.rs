//! `rules.toml`: conditions resolved to numbers, contradictions found.

use std::sync::Arc;

use toml::Spanned;
use wardgate_core::{Diagnostic, RuleRef, TextKind, Verdict};

use super::categories::ResolvedCategories;
use super::groups::ResolvedGroups;
use super::lists::ResolvedLists;
use super::values::{self, Breadth, score};
use super::{Names, Resolver, rule_ref, shadow};
use crate::hosts::HostMap;
use crate::policy::IdSet;
use crate::raw::{self, Text};
use crate::rule::{About, Rule};
use crate::source::{Entry, Source};

/// Most rules of a policy: each is looked at for each request.
const MAX_RULES: usize = 1_000;

/// What rules may speak of.
pub(super) struct Known<'k> {
    pub(super) groups: &'k ResolvedGroups,
    pub(super) categories: &'k ResolvedCategories,
    pub(super) lists: &'k ResolvedLists,
    pub(super) help: &'k HostMap<RuleRef>,
}

impl<'a> Resolver<'a> {
    pub(super) fn rules(&mut self, known: &Known<'_>) -> Option<Vec<Rule>> {
        let document = self.required("rules.toml")?;
        let source = document.source;
        let entries: Vec<Entry<raw::Rule>> = self.only_tables(document, "rule");
        if entries.len() > MAX_RULES {
            let message = format!("more than {MAX_RULES} rules");
            self.problems.push(Diagnostic::error(source.file, None, message));
            return None;
        }
        let mut names = Names::new("rule");
        let mut rules: Vec<Rule> = Vec::with_capacity(entries.len());
        for entry in entries {
            names.define(source, &entry.value.name, &mut self.problems);
            let before = self.problems.len();
            let at = rule_ref(source, entry.value.name.get_ref(), entry.span.clone());
            let rule = self.rule(source, &entry.value, at, known);
            // What a rule means can be judged only where all of it was understood.
            if entry.sound && self.problems.len() == before {
                self.sense(source, &entry, &rule, &rules, known);
                rules.push(rule);
            }
        }
        Some(rules)
    }

    fn rule(&mut self, source: Source<'_>, raw: &raw::Rule, at: RuleRef, known: &Known<'_>) -> Rule {
        Rule {
            at,
            groups: self.group_set(source, raw, known),
            hosts: self.host_set(source, raw),
            methods: self.methods(source, raw),
            ports: self.some(source, "ports", &raw.ports).map(Into::into),
            ports_other_than: self.some(source, "ports_other_than", &raw.ports_other_than).map(Into::into),
            carries: raw.carries,
            about: self.about(source, raw, known),
            action: raw.action,
            reason: raw.reason.as_ref().map(|reason| self.said(source, "reason", reason)),
        }
    }

    /// Finds rules that cannot match, or that would leave a person without a word.
    fn sense(
        &mut self,
        source: Source<'_>,
        entry: &Entry<raw::Rule>,
        rule: &Rule,
        earlier: &[Rule],
        known: &Known<'_>,
    ) {
        if rule.about.is_none() && rule.reason.is_none() && rule.action != Verdict::Allow {
            let message = "a rule that is not about findings needs a `reason`";
            let problem = source.error(entry.value.name.span(), message);
            self.problems
                .push(problem.help("say in plain words why, for the person whose page is not shown"));
        }
        let contradiction = rule.about.as_ref().and_then(contradiction).or_else(|| no_port_left(rule));
        if let Some(why) = contradiction {
            let message = format!("the rule `{}` can never match", rule.at.name);
            self.problems.push(source.error(entry.span.clone(), message).help(why));
            return;
        }
        let shadow = earlier.iter().find(|earlier| shadow::covers(earlier, rule));
        if let Some(why) = shadow::explanation(rule, shadow, known.help) {
            let message = format!("the rule `{}` can never match", rule.at.name);
            self.problems.push(source.warning(entry.span.clone(), message).help(why));
        }
    }

    /// The groups named, and all that inherit from one of them.
    fn group_set(&mut self, source: Source<'_>, raw: &raw::Rule, known: &Known<'_>) -> Option<IdSet> {
        let names = &known.groups.names;
        let named = self.numbers(source, "groups", &raw.groups, &names.names)?;
        Some(IdSet::of(names.chains.len(), |id| names.chains[id].iter().any(|group| named.contains(group))))
    }

    fn host_set(&mut self, source: Source<'_>, raw: &raw::Rule) -> Option<HostMap<()>> {
        let mut hosts = HostMap::default();
        for text in self.some(source, "hosts", &raw.hosts)? {
            if let Some(named) = values::hosts(source, text, Breadth::Any, &mut self.problems) {
                hosts.insert(named, ());
            }
        }
        Some(hosts)
    }

    fn methods(&mut self, source: Source<'_>, raw: &raw::Rule) -> Option<Box<[Box<str>]>> {
        let methods = self.some(source, "methods", &raw.methods)?;
        for method in methods {
            let sound = |b: u8| b.is_ascii_uppercase() || b == b'-';
            if method.get_ref().is_empty() || !method.get_ref().bytes().all(sound) {
                let message = format!("`{}` is not a method", method.get_ref());
                self.problems.push(source.error(method.span(), message).help("write it like `POST`"));
            }
        }
        Some(methods.iter().map(|method| method.get_ref().as_str().into()).collect())
    }

    /// What the rule wants of a finding; nothing where it wants none. A rule about lists is about addresses, and
    /// about the categories of those lists.
    fn about(&mut self, source: Source<'_>, raw: &raw::Rule, known: &Known<'_>) -> Option<About> {
        let categories = self.category_set(source, raw, known.categories);
        let lists = self.numbers(source, "lists", &raw.lists, &known.lists.names);
        let kinds = self.some(source, "kinds", &raw.kinds).map(<[TextKind]>::to_vec);
        let min_score = raw.min_score.as_ref().and_then(|min| score(source, min, &mut self.problems));
        let of_lists = lists.as_ref().map(|lists| {
            let spoken_of: Vec<usize> = lists.iter().filter_map(|n| known.lists.categories[*n]).collect();
            IdSet::of(known.categories.names.len(), |id| spoken_of.contains(&id))
        });
        let of_kinds = match (&lists, kinds) {
            (Some(_), Some(kinds)) => {
                Some(kinds.into_iter().filter(|kind| *kind == TextKind::Address).collect())
            }
            (Some(_), None) => Some(vec![TextKind::Address]),
            (None, kinds) => kinds,
        };
        let both = match (categories, of_lists) {
            (Some(categories), Some(of_lists)) => Some(categories.and(&of_lists)),
            (one, other) => one.or(other),
        };
        let wanted = both.is_some() || of_kinds.is_some() || min_score.is_some();
        wanted.then(|| About {
            categories: both,
            lists: lists.map(|lists| lists.iter().map(|n| Arc::clone(&known.lists.list_names[*n])).collect()),
            kinds: of_kinds.map(Into::into),
            min_score,
        })
    }

    /// The categories named, and those of the themes named.
    fn category_set(
        &mut self,
        source: Source<'_>,
        raw: &raw::Rule,
        known: &ResolvedCategories,
    ) -> Option<IdSet> {
        let named = self.numbers(source, "categories", &raw.categories, &known.names);
        let themes = self.numbers(source, "themes", &raw.themes, &known.theme_names);
        if named.is_none() && themes.is_none() {
            return None;
        }
        let (named, themes) = (named.unwrap_or_default(), themes.unwrap_or_default());
        let of_theme = |id: usize| known.compiled.categories[id].theme.is_some_and(|t| themes.contains(&t));
        Some(IdSet::of(known.names.len(), |id| named.contains(&id) || of_theme(id)))
    }

    fn numbers(
        &mut self,
        source: Source<'_>,
        key: &str,
        written: &Option<Spanned<Vec<Text>>>,
        names: &Names,
    ) -> Option<Vec<usize>> {
        let written = self.some(source, key, written)?;
        Some(written.iter().filter_map(|name| names.find(source, name, &mut self.problems)).collect())
    }

    /// A condition as written, if it is written. One that names nothing can never hold, and is reported.
    fn some<'r, T>(
        &mut self,
        source: Source<'_>,
        key: &str,
        written: &'r Option<Spanned<Vec<T>>>,
    ) -> Option<&'r [T]> {
        let written = written.as_ref()?;
        if written.get_ref().is_empty() {
            let problem = source.error(written.span(), format!("`{key}` is empty: the rule can never match"));
            self.problems.push(problem.help("leave the key out where it does not matter"));
        }
        Some(written.get_ref())
    }
}

/// Why no port can be what a rule wants, if none can.
fn no_port_left(rule: &Rule) -> Option<&'static str> {
    let (wanted, unwanted) = (rule.ports.as_ref()?, rule.ports_other_than.as_ref()?);
    let nothing = wanted.iter().all(|port| unwanted.contains(port));
    nothing.then_some("each of its `ports` stands in `ports_other_than`")
}

/// Why no finding can be what a rule wants, if none can.
fn contradiction(about: &About) -> Option<&'static str> {
    if about.kinds.as_ref().is_some_and(|kinds| kinds.is_empty()) {
        return Some("lists are about addresses: leave `kinds` out");
    }
    let nothing = about.categories.as_ref().is_some_and(IdSet::is_empty);
    match about.lists {
        _ if !nothing => None,
        Some(_) => Some("none of its lists is of its categories"),
        None => Some("no category belongs to its themes"),
    }
}
