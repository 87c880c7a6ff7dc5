//! `tests/*.toml`: what must hold under the policy.

use wardgate_core::{CategoryName, Diagnostic, GroupName, Target, TextKind};

use super::Resolver;
use super::categories::ResolvedCategories;
use super::groups::ResolvedGroups;
use crate::expect::Expectation;
use crate::raw;
use crate::source::{Entry, Source};

/// The folder in which expectations lie.
const TESTS: &str = "tests";
/// Most expectations of a policy.
const MAX_EXPECTATIONS: usize = 20_000;

impl<'a> Resolver<'a> {
    pub(super) fn expectations(
        &mut self,
        groups: &ResolvedGroups,
        categories: &ResolvedCategories,
    ) -> Vec<Expectation> {
        let mut expectations = Vec::new();
        for file in self.directory.within(TESTS, ".toml") {
            let Some(document) = self.optional(file) else { continue };
            let source = document.source;
            let entries: Vec<Entry<raw::Expect>> = self.only_tables(document, "expect");
            if entries.len() + expectations.len() > MAX_EXPECTATIONS {
                let message = format!("more than {MAX_EXPECTATIONS} expectations");
                self.problems.push(Diagnostic::error(file, None, message));
                return expectations;
            }
            for entry in entries {
                expectations.extend(self.expectation(source, entry, groups, categories));
            }
        }
        expectations
    }

    fn expectation(
        &mut self,
        source: Source<'_>,
        Entry { span, value, .. }: Entry<raw::Expect>,
        groups: &ResolvedGroups,
        categories: &ResolvedCategories,
    ) -> Option<Expectation> {
        let group = groups.names.names.find(source, &value.group, &mut self.problems);
        if let Some(category) = &value.category {
            categories.names.find(source, category, &mut self.problems)?;
        }
        let target = match Target::parse(value.url.get_ref()) {
            Ok(target) => target,
            Err(error) => {
                self.problems.push(source.error(value.url.span(), error.to_string()));
                return None;
            }
        };
        if value.kind == Some(TextKind::Address) || (value.kind.is_some() && value.text.is_none()) {
            let message = "`kind` says what `text` is: page, search, prompt or post";
            self.problems.push(source.error(span.clone(), message));
        }
        let group = GroupName::new(groups.names.names.iter().nth(group?)?);
        let membership = groups.compiled.only(groups.compiled.named(group.as_str())?);
        Some(Expectation {
            file: self.directory.absolute(source.file.as_ref()),
            position: source.position(span),
            membership,
            group,
            target,
            method: value.method.map_or_else(|| "GET".into(), |method| method.get_ref().as_str().into()),
            text: value.text.map(|text| (value.kind.unwrap_or(TextKind::Page), text.into())),
            verdict: value.verdict,
            category: value.category.map(|category| CategoryName::new(category.get_ref().as_str())),
            alert: value.alert,
            why: self.said(source, "why", &value.why),
        })
    }
}
