//! `groups.toml`: settings by inheritance, and who is in which group.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wardgate_core::{Diagnostic, GroupId, GroupName, GroupSettings, Membership, OnError};

use super::values::{duration, range, score, size};
use super::{Names, Resolver, append, rule_ref};
use crate::policy::{Group, Groups, INTERCEPT, Limits, ON_ERROR, folded};
use crate::raw;
use crate::source::{Entry, Source};

/// Most groups of a policy; their numbers fit into a [`GroupId`].
const MAX_GROUPS: usize = 1_024;

/// What holds where `policy.toml` says nothing.
const HOLD: usize = 64 << 10;
const WARN_FOR: Duration = Duration::from_secs(30 * 60);
const LIMITS: Limits = Limits { page: 100.0, search: 50.0, prompt: 50.0, post: 60.0 };

/// The groups, and what other files need to refer to them.
pub(crate) struct ResolvedGroups {
    pub(crate) compiled: Groups,
    pub(crate) names: GroupNames,
}

/// The groups by name, and who inherits from whom.
pub(crate) struct GroupNames {
    pub(crate) names: Names,
    /// For each group: itself, its parent, its parent's parent, and so on.
    pub(crate) chains: Vec<Vec<usize>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn groups(
        &mut self,
        defaults: Option<(Source<'_>, &raw::Settings)>,
    ) -> Option<ResolvedGroups> {
        let mut document = self.required("groups.toml")?;
        let source = document.source;
        let before = self.problems.len();
        let written: Vec<Entry<raw::Group>> = document.tables("group", &mut self.problems);
        let head: raw::Groups = document.head(&mut self.problems)?;
        if written.is_empty() || written.len() > MAX_GROUPS {
            let message = format!("a policy has at least 1 and at most {MAX_GROUPS} groups");
            self.unless_reported(before, Diagnostic::error(source.file, None, message));
            return None;
        }
        let mut names = Names::new("group");
        for group in &written {
            names.define(source, &group.value.name, &mut self.problems);
        }
        let chains = self.chains(source, &names, &written);
        let unknown = names.find(source, &head.unknown, &mut self.problems).unwrap_or(0);
        let groups = self.settle(source, defaults, &written, &chains);
        let mut compiled = Groups {
            only: (0..groups.len()).map(|n| Membership { groups: Arc::from([id(n)]) }).collect(),
            groups,
            users: HashMap::new(),
            directory_groups: HashMap::new(),
            addresses: Vec::new(),
            unknown: id(unknown),
        };
        for (number, group) in written.iter().enumerate() {
            self.members(source, &group.value, id(number), &mut compiled);
        }
        Some(ResolvedGroups { compiled, names: GroupNames { names, chains } })
    }

    /// Follows each group to its forebears. A group that comes back to itself is reported, once a circle.
    fn chains(
        &mut self,
        source: Source<'_>,
        names: &Names,
        written: &[Entry<raw::Group>],
    ) -> Vec<Vec<usize>> {
        let parents: Vec<Option<usize>> = written
            .iter()
            .map(|group| names.find(source, group.value.inherits.as_ref()?, &mut self.problems))
            .collect();
        let mut chains = Vec::with_capacity(written.len());
        for (start, group) in written.iter().enumerate() {
            let mut chain = vec![start];
            let mut next = parents[start];
            while let Some(parent) = next.filter(|parent| !chain.contains(parent)) {
                chain.push(parent);
                next = parents[parent];
            }
            if next == Some(start) && chain.iter().all(|member| *member >= start) {
                let name = group.value.name.get_ref();
                let message = format!("the group `{name}` inherits from itself");
                let circle: Vec<&str> = chain
                    .iter()
                    .map(|n| written[*n].value.name.get_ref().as_str())
                    .chain([name.as_str()])
                    .collect();
                let help = format!("the circle is {}", circle.join(" -> "));
                self.problems.push(source.error(group.span.clone(), message).help(help));
            }
            chains.push(chain);
        }
        chains
    }

    /// Works out the settings of each group: the defaults, then those of its forebears, its own last.
    fn settle(
        &mut self,
        source: Source<'_>,
        defaults: Option<(Source<'_>, &raw::Settings)>,
        written: &[Entry<raw::Group>],
        chains: &[Vec<usize>],
    ) -> Vec<Group> {
        let defaults = defaults.map(|(file, settings)| self.settings(file, settings)).unwrap_or_default();
        let own: Vec<Settings> =
            written.iter().map(|group| self.settings(source, &group.value.settings)).collect();
        let mut groups = Vec::with_capacity(written.len());
        for (group, chain) in written.iter().zip(chains) {
            let settings = chain.iter().rev().fold(defaults, |settings, number| own[*number].over(settings));
            groups.push(settings.group(source, group));
        }
        groups
    }

    fn settings(&mut self, source: Source<'_>, raw: &raw::Settings) -> Settings {
        let problems = &mut self.problems;
        Settings {
            intercept: raw.intercept,
            scan: raw.scan,
            monitor_only: raw.monitor_only,
            hold: raw.hold.as_ref().and_then(|hold| size(source, hold, problems)),
            on_error: raw.on_error,
            warn_for: raw.warn_for.as_ref().and_then(|time| duration(source, time, problems)),
            page: raw.limits.page.as_ref().and_then(|limit| score(source, limit, problems)),
            search: raw.limits.search.as_ref().and_then(|limit| score(source, limit, problems)),
            prompt: raw.limits.prompt.as_ref().and_then(|limit| score(source, limit, problems)),
            post: raw.limits.post.as_ref().and_then(|limit| score(source, limit, problems)),
        }
    }

    fn members(&mut self, source: Source<'_>, group: &raw::Group, id: GroupId, compiled: &mut Groups) {
        for user in &group.users {
            append(&mut compiled.users, folded(user.get_ref()).into(), id);
        }
        for name in &group.directory_groups {
            append(&mut compiled.directory_groups, folded(name.get_ref()).into(), id);
        }
        for addresses in &group.addresses {
            let range = range(source, addresses, &mut self.problems);
            compiled.addresses.extend(range.map(|range| (range, id)));
        }
    }
}

fn id(number: usize) -> GroupId {
    GroupId(u16::try_from(number).expect("at most MAX_GROUPS groups are read"))
}

/// Settings as far as they are written.
#[derive(Clone, Copy, Default)]
struct Settings {
    intercept: Option<bool>,
    scan: Option<bool>,
    monitor_only: Option<bool>,
    hold: Option<usize>,
    on_error: Option<OnError>,
    warn_for: Option<Duration>,
    page: Option<f32>,
    search: Option<f32>,
    prompt: Option<f32>,
    post: Option<f32>,
}

impl Settings {
    /// These settings, and others where these say nothing.
    fn over(self, other: Self) -> Self {
        Self {
            intercept: self.intercept.or(other.intercept),
            scan: self.scan.or(other.scan),
            monitor_only: self.monitor_only.or(other.monitor_only),
            hold: self.hold.or(other.hold),
            on_error: self.on_error.or(other.on_error),
            warn_for: self.warn_for.or(other.warn_for),
            page: self.page.or(other.page),
            search: self.search.or(other.search),
            prompt: self.prompt.or(other.prompt),
            post: self.post.or(other.post),
        }
    }

    fn group(self, source: Source<'_>, written: &Entry<raw::Group>) -> Group {
        Group {
            settings: GroupSettings {
                name: GroupName::new(written.value.name.get_ref().as_str()),
                intercept: self.intercept.unwrap_or(true),
                scan: self.scan.unwrap_or(true),
                monitor_only: self.monitor_only.unwrap_or(false),
                hold: self.hold.unwrap_or(HOLD),
                on_error: self.on_error.unwrap_or_default(),
                warn_for: self.warn_for.unwrap_or(WARN_FOR),
            },
            limits: Limits {
                page: self.page.unwrap_or(LIMITS.page),
                search: self.search.unwrap_or(LIMITS.search),
                prompt: self.prompt.unwrap_or(LIMITS.prompt),
                post: self.post.unwrap_or(LIMITS.post),
            },
            intercept: rule_ref(source, INTERCEPT, written.span.clone()),
            on_error: rule_ref(source, ON_ERROR, written.span.clone()),
        }
    }
}
