//! `categories.toml`: themes with their alert levels, and the categories that belong to them.

use std::sync::Arc;

use wardgate_core::{AlertLevel, CategoryName, Diagnostic, ThemeName};

use super::groups::GroupNames;
use super::{Names, Resolver};
use crate::policy::{Categories, Category, Theme};
use crate::raw;
use crate::source::{Entry, Source};

/// Most categories, and most themes, of a policy.
const MAX_CATEGORIES: usize = 1_024;
/// How bad a category can be.
const SEVERITIES: std::ops::RangeInclusive<u8> = 1..=5;

/// The categories, and what other files need to refer to them.
pub(crate) struct ResolvedCategories {
    pub(crate) compiled: Categories,
    pub(crate) names: Names,
    pub(crate) theme_names: Names,
}

impl<'a> Resolver<'a> {
    pub(super) fn categories(&mut self, groups: Option<&GroupNames>) -> Option<ResolvedCategories> {
        let mut document = self.required("categories.toml")?;
        let source = document.source;
        let before = self.problems.len();
        let themes: Vec<Entry<raw::Theme>> = document.tables("theme", &mut self.problems);
        let categories: Vec<Entry<raw::Category>> = document.tables("category", &mut self.problems);
        let _: Option<raw::Nothing> = document.head(&mut self.problems);
        if categories.is_empty() || categories.len().max(themes.len()) > MAX_CATEGORIES {
            let message = format!("a policy has at least 1 and at most {MAX_CATEGORIES} categories");
            self.unless_reported(before, Diagnostic::error(source.file, None, message));
            return None;
        }
        let mut theme_names = Names::new("theme");
        for theme in &themes {
            theme_names.define(source, &theme.value.name, &mut self.problems);
        }
        let mut names = Names::new("category");
        for category in &categories {
            names.define(source, &category.value.name, &mut self.problems);
        }
        let themes = themes.iter().map(|theme| self.theme(source, &theme.value, groups)).collect();
        let categories: Vec<Category> =
            categories.iter().map(|category| self.category(source, &category.value, &theme_names)).collect();
        let numbers = categories.iter().enumerate().map(|(n, category)| (category.name.clone(), n)).collect();
        let compiled = Categories { categories, themes, numbers };
        Some(ResolvedCategories { compiled, names, theme_names })
    }

    fn theme(&mut self, source: Source<'_>, theme: &raw::Theme, groups: Option<&GroupNames>) -> Theme {
        self.said(source, "title", &theme.title);
        self.said(source, "rationale", &theme.rationale);
        Theme {
            name: ThemeName::new(theme.name.get_ref().as_str()),
            alerts: groups.map(|groups| self.alerts(source, theme, groups)).unwrap_or_default(),
            help: Arc::from([]),
        }
    }

    /// The alert level of each group: its own, that of its nearest forebear, or the theme's.
    fn alerts(&mut self, source: Source<'_>, theme: &raw::Theme, groups: &GroupNames) -> Box<[AlertLevel]> {
        let mut own = vec![None; groups.names.len()];
        for (name, level) in &theme.alerts {
            if let Some(number) = groups.names.find(source, name, &mut self.problems) {
                own[number] = Some(*level);
            }
        }
        let level = |chain: &Vec<usize>| chain.iter().find_map(|number| own[*number]).unwrap_or(theme.alert);
        groups.chains.iter().map(level).collect()
    }

    fn category(&mut self, source: Source<'_>, category: &raw::Category, themes: &Names) -> Category {
        self.said(source, "rationale", &category.rationale);
        let severity = *category.severity.get_ref();
        if !SEVERITIES.contains(&severity) {
            self.problems.push(source.error(category.severity.span(), "a severity is a number from 1 to 5"));
        }
        let theme = category.theme.as_ref();
        Category {
            name: CategoryName::new(category.name.get_ref().as_str()),
            title: self.said(source, "title", &category.title),
            reason: self.said(source, "reason", &category.reason),
            severity,
            theme: theme.and_then(|theme| themes.find(source, theme, &mut self.problems)),
        }
    }
}
