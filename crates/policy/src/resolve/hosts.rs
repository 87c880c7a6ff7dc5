//! `help.toml`, `must-work.toml` and `never-intercept.toml`: hosts that stand outside the rules.

use std::sync::Arc;

use toml::Spanned;
use wardgate_core::{Diagnostic, HelpLine, RuleRef, Target};

use super::values::{self, Breadth};
use super::{Names, Resolver, rule_ref};
use crate::hosts::HostMap;
use crate::policy::{HELP, MUST_WORK, NEVER_INTERCEPT, NeverIntercept, UnreadHost};
use crate::raw;
use crate::source::{Entry, Source};

/// Why tunnels to help sites stay closed.
const HELP_STAYS_PRIVATE: &str = "A help site: what is read there is nobody else's business.";

/// Hosts by what is said of them, and those whose tunnels are never opened.
pub(super) struct NamedHosts<T> {
    pub(super) hosts: HostMap<T>,
    pub(super) unread: Vec<UnreadHost>,
}

impl<T> Default for NamedHosts<T> {
    fn default() -> Self {
        Self { hosts: HostMap::default(), unread: Vec::new() }
    }
}

/// The help lines, and who is shown which.
pub(super) struct ResolvedHelp {
    pub(super) hosts: HostMap<RuleRef>,
    pub(super) unread: Vec<UnreadHost>,
    pub(super) default: Arc<[HelpLine]>,
    /// By the number of the theme.
    pub(super) by_theme: Vec<Arc<[HelpLine]>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn never_intercept(&mut self) -> NamedHosts<NeverIntercept> {
        let mut named = NamedHosts::default();
        let Some(document) = self.optional("never-intercept.toml") else { return named };
        let source = document.source;
        let entries: Vec<Entry<raw::NeverIntercept>> = self.only_tables(document, "host");
        let mut names = Names::new("host");
        for Entry { span, value, .. } in entries {
            names.define_title(source, &value.name, &mut self.problems);
            let reason = self.said(source, "reason", &value.reason);
            let rule = rule_ref(source, NEVER_INTERCEPT, span);
            let said = NeverIntercept { rule: rule.clone(), passes: value.carries };
            self.name_hosts(source, &value.hosts, &rule, &reason, &said, &mut named);
        }
        named
    }

    pub(super) fn must_work(&mut self) -> HostMap<RuleRef> {
        let mut named = NamedHosts::default();
        let Some(document) = self.optional("must-work.toml") else { return named.hosts };
        let source = document.source;
        let entries: Vec<Entry<raw::Service>> = self.only_tables(document, "service");
        let mut names = Names::new("service");
        for Entry { span, value, .. } in entries {
            names.define_title(source, &value.name, &mut self.problems);
            let reason = self.said(source, "reason", &value.reason);
            let rule = rule_ref(source, MUST_WORK, span);
            self.name_hosts(source, &value.hosts, &rule, &reason, &rule, &mut named);
        }
        named.hosts
    }

    /// Says the same of all these hosts.
    fn name_hosts<T: Clone>(
        &mut self,
        source: Source<'_>,
        hosts: &Spanned<Vec<raw::Text>>,
        at: &RuleRef,
        reason: &Arc<str>,
        said: &T,
        named: &mut NamedHosts<T>,
    ) {
        if hosts.get_ref().is_empty() {
            self.problems.push(source.error(hosts.span(), "`hosts` is empty"));
        }
        for text in hosts.get_ref() {
            let Some(hosts) = values::hosts(source, text, Breadth::Narrow, &mut self.problems) else {
                continue;
            };
            let host = hosts.to_string().into();
            if named.hosts.insert(hosts, said.clone()).is_none() {
                named.unread.push(UnreadHost { host, reason: Arc::clone(reason), rule: at.clone() });
            }
        }
    }

    /// Help is a promise of Wardgate, so the file cannot be left out.
    pub(super) fn help(&mut self, themes: Option<&Names>) -> Option<ResolvedHelp> {
        let mut document = self.required("help.toml")?;
        let source = document.source;
        let before = self.problems.len();
        let written: Vec<Entry<raw::Line>> = document.tables("line", &mut self.problems);
        let head: raw::Help = document.head(&mut self.problems)?;
        if written.is_empty() {
            self.unless_reported(before, Diagnostic::error(source.file, None, "there is no [[line]]"));
        }
        let mut names = Names::new("help line");
        let mut named = NamedHosts::default();
        let reason: Arc<str> = HELP_STAYS_PRIVATE.into();
        let mut lines = Vec::with_capacity(written.len());
        for Entry { span, value, .. } in written {
            names.define_title(source, &value.name, &mut self.problems);
            let rule = rule_ref(source, HELP, span);
            self.name_hosts(source, &value.hosts, &rule, &reason, &rule, &mut named);
            lines.push(self.line(source, &value, &named.hosts));
        }
        let mut pick = |wanted: &[raw::Text]| -> Arc<[HelpLine]> {
            let found = wanted.iter().filter_map(|name| names.find(source, name, &mut self.problems));
            found.map(|number| lines[number].clone()).collect()
        };
        let default = pick(&head.default);
        let mut by_theme = vec![Arc::clone(&default); themes.map_or(0, Names::len)];
        let picked: Vec<_> = head.themes.iter().map(|(theme, wanted)| (theme, pick(wanted))).collect();
        for (theme, lines) in picked {
            let number = themes.and_then(|themes| themes.find(source, theme, &mut self.problems));
            if let Some(number) = number {
                by_theme[number] = lines;
            }
        }
        Some(ResolvedHelp { hosts: named.hosts, unread: named.unread, default, by_theme })
    }

    fn line(&mut self, source: Source<'_>, line: &raw::Line, hosts: &HostMap<RuleRef>) -> HelpLine {
        let url = line.url.get_ref();
        match Target::parse(url) {
            Ok(target) if hosts.get(target.host()).is_some() => {}
            Ok(target) => {
                let message = format!("`{}` is not among the `hosts` of help lines", target.host());
                let help = "name it there, so that the address is always reachable";
                self.problems.push(source.error(line.url.span(), message).help(help));
            }
            Err(error) => self.problems.push(source.error(line.url.span(), error.to_string())),
        }
        HelpLine {
            name: self.said(source, "name", &line.name),
            detail: self.said(source, "detail", &line.detail),
            url: url.as_str().into(),
        }
    }
}
