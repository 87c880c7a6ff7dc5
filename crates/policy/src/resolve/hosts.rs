//! `help.toml`, `must-work.toml` and `never-intercept.toml`: hosts that stand outside the rules.

use std::sync::Arc;

use toml::Spanned;
use wardgate_core::{Diagnostic, HelpLine, RuleRef, Target};

use super::values::{Breadth, host};
use super::{Names, Resolver, rule_ref};
use crate::hosts::HostMap;
use crate::policy::{HELP, MUST_WORK, NEVER_INTERCEPT, UnreadHost};
use crate::raw;
use crate::source::{Entry, Source};

/// Why tunnels to help sites stay closed.
const HELP_STAYS_PRIVATE: &str = "A help site: what is read there is nobody else's business.";

/// Hosts by the place that names them.
#[derive(Default)]
pub(super) struct NamedHosts {
    pub(super) hosts: HostMap<RuleRef>,
    pub(super) unread: Vec<UnreadHost>,
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
    pub(super) fn never_intercept(&mut self) -> NamedHosts {
        self.hosts_file("never-intercept.toml", "host", NEVER_INTERCEPT)
    }

    pub(super) fn must_work(&mut self) -> NamedHosts {
        self.hosts_file("must-work.toml", "service", MUST_WORK)
    }

    fn hosts_file(&mut self, file: &'static str, key: &'static str, rule: &str) -> NamedHosts {
        let Some(document) = self.optional(file) else { return NamedHosts::default() };
        let source = document.source;
        let entries: Vec<Entry<raw::Hosts>> = self.only_tables(document, key);
        let mut names = Names::new(key);
        let mut named = NamedHosts::default();
        for Entry { span, value, .. } in entries {
            names.define_title(source, &value.name, &mut self.problems);
            let reason = self.said(source, "reason", &value.reason);
            let at = rule_ref(source, rule, span);
            self.name_hosts(source, &value.hosts, &at, &reason, &mut named);
        }
        named
    }

    fn name_hosts(
        &mut self,
        source: Source<'_>,
        hosts: &Spanned<Vec<raw::Text>>,
        at: &RuleRef,
        reason: &Arc<str>,
        named: &mut NamedHosts,
    ) {
        if hosts.get_ref().is_empty() {
            self.problems.push(source.error(hosts.span(), "`hosts` is empty"));
        }
        for text in hosts.get_ref() {
            let Some(host) = host(source, text, Breadth::Narrow, &mut self.problems) else { continue };
            let written = host.to_string().into();
            if named.hosts.insert(host, at.clone()).is_none() {
                named.unread.push(UnreadHost { host: written, reason: Arc::clone(reason), rule: at.clone() });
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
            self.name_hosts(source, &value.hosts, &rule_ref(source, HELP, span), &reason, &mut named);
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
