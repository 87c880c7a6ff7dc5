//! The compiled policy: nothing in it is half valid, names are resolved, memberships are worked out beforehand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use wardgate_core::{
    AlertLevel, CategoryName, CertificateException, GroupId, GroupName, GroupSettings, HelpLine, Login,
    Membership, RuleRef, TextKind, ThemeName, UserName, Who,
};

use crate::hosts::HostMap;
use crate::raw::Passes;
use crate::resolve::certificates::CertificateExceptions;
use crate::rule::Rule;

/// A compiled policy. [`wardgate_core::Decide`] is what the proxy sees of it.
pub struct Policy {
    pub(crate) hash: Arc<str>,
    pub(crate) words: Words,
    pub(crate) groups: Groups,
    pub(crate) identity: Identity,
    pub(crate) categories: Categories,
    pub(crate) rules: Vec<Rule>,
    pub(crate) help: HostMap<RuleRef>,
    pub(crate) must_work: HostMap<RuleRef>,
    pub(crate) never_intercept: HostMap<NeverIntercept>,
    pub(crate) unread_hosts: Vec<UnreadHost>,
    pub(crate) certificate_exceptions: CertificateExceptions,
    pub(crate) built_in: BuiltIn,
}

impl Policy {
    /// The membership of somebody who is in this group and no other; nothing where there is no such group.
    pub fn group_named(&self, name: &str) -> Option<Membership> {
        self.groups.named(name).map(|id| self.groups.only(id))
    }

    /// The names of all groups, in the order of the policy.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.groups.iter().map(|group| &group.settings.name)
    }

    /// The names of these groups.
    pub fn group_names<'a>(&'a self, membership: &'a Membership) -> impl Iterator<Item = &'a GroupName> {
        membership.groups.iter().map(|id| &self.groups.of(*id).settings.name)
    }

    /// The names of all categories, in the order of the file: what lists and phrase files may speak of.
    pub fn categories(&self) -> impl Iterator<Item = &CategoryName> {
        self.categories.categories.iter().map(|category| &category.name)
    }

    /// The names of all themes, in the order of the file.
    pub fn themes(&self) -> impl Iterator<Item = &ThemeName> {
        self.categories.themes.iter().map(|theme| &theme.name)
    }

    /// The hosts whose tunnels are never opened, with the reason of each; help sites among them.
    pub fn never_intercept(&self) -> &[UnreadHost] {
        &self.unread_hosts
    }

    /// The hosts of whose certificate something is overlooked, in the order of the file.
    pub fn certificate_exceptions(&self) -> impl Iterator<Item = &CertificateException> {
        let mut all: Vec<&CertificateException> =
            self.certificate_exceptions.values().map(Arc::as_ref).collect();
        all.sort_by_key(|exception| exception.rule.line);
        all.into_iter()
    }

    /// How each group is treated, in the order of the policy.
    pub fn group_settings(&self) -> impl Iterator<Item = &GroupSettings> {
        self.groups.groups.iter().map(|group| &group.settings)
    }
}

/// A host (with its subdomains) whose tunnels are never opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadHost {
    /// The canonical host.
    pub host: Box<str>,
    /// Why, as the policy says it.
    pub reason: Arc<str>,
    /// Where the policy says it.
    pub rule: RuleRef,
}

/// Why a tunnel is never opened, and what may pass in it.
#[derive(Clone)]
pub(crate) struct NeverIntercept {
    pub(crate) rule: RuleRef,
    pub(crate) passes: Passes,
}

/// What pages say whatever the decision.
pub(crate) struct Words {
    pub(crate) organisation: Arc<str>,
    pub(crate) contact: Arc<str>,
    pub(crate) notice: Arc<str>,
    pub(crate) help: Arc<[HelpLine]>,
}

/// The names of the rules that no file holds.
pub(crate) struct BuiltIn {
    pub(crate) help: RuleRef,
    pub(crate) must_work: RuleRef,
    pub(crate) default: RuleRef,
    pub(crate) not_tls: RuleRef,
}

/// The name of the rule that keeps help reachable.
pub(crate) const HELP: &str = "<help>";
/// The name of the rule for what could not be looked at.
pub(crate) const ON_ERROR: &str = "<on-error>";
/// The name of the rule that keeps the tools of teaching reachable.
pub(crate) const MUST_WORK: &str = "<must-work>";
/// The name of the rule that leaves a tunnel closed.
pub(crate) const NEVER_INTERCEPT: &str = "<never-intercept>";
/// The name of the rule by which something of a certificate is overlooked.
pub(crate) const CERTIFICATE_EXCEPTION: &str = "<certificate-exception>";
/// The name of the rule by which a tunnel is opened, so that each request in it is decided by itself.
pub(crate) const INTERCEPT: &str = "<intercept>";
/// The name of the rule by which a tunnel is closed that carries neither TLS nor HTTP.
pub(crate) const NOT_TLS: &str = "<not-tls>";
/// The name of the rule for what no other rule matched.
pub(crate) const DEFAULT: &str = "<default>";

impl BuiltIn {
    pub(crate) fn new() -> Self {
        let at = |name: &str, file: &str| RuleRef { name: name.into(), file: file.into(), line: 0 };
        Self {
            help: at(HELP, "help.toml"),
            must_work: at(MUST_WORK, "must-work.toml"),
            default: at(DEFAULT, "rules.toml"),
            not_tls: at(NOT_TLS, "rules.toml"),
        }
    }
}

/// A set of groups or categories of one policy, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdSet(Box<[bool]>);

impl IdSet {
    /// The set of those of `count` numbers for which `member` says so.
    pub(crate) fn of(count: usize, member: impl Fn(usize) -> bool) -> Self {
        Self((0..count).map(member).collect())
    }

    pub(crate) fn contains(&self, id: usize) -> bool {
        self.0.get(id).copied().unwrap_or(false)
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    /// Whether each member of `other` is in this set.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(id, member)| !member || self.contains(id))
    }

    /// What is in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self::of(self.0.len(), |id| self.contains(id) && other.contains(id))
    }
}

/// Scores at which a finding in a text counts, by kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) page: f32,
    pub(crate) search: f32,
    pub(crate) prompt: f32,
    pub(crate) post: f32,
}

impl Limits {
    /// The limit for a kind; a finding about an address always counts.
    pub(crate) fn of(&self, kind: TextKind) -> f32 {
        match kind {
            TextKind::Address => 0.0,
            TextKind::Page => self.page,
            TextKind::Search => self.search,
            TextKind::Prompt => self.prompt,
            TextKind::Post => self.post,
        }
    }
}

/// One group.
pub(crate) struct Group {
    pub(crate) settings: GroupSettings,
    pub(crate) limits: Limits,
    /// `<intercept>`, with the place of the group.
    pub(crate) intercept: RuleRef,
    /// `<on-error>`, with the place of the group.
    pub(crate) on_error: RuleRef,
}

/// All groups, and who is in them.
pub(crate) struct Groups {
    /// In the order of the file.
    pub(crate) groups: Vec<Group>,
    /// The membership of each group by itself, in the same order.
    pub(crate) only: Vec<Membership>,
    /// By folded user name, in the order of the file.
    pub(crate) users: HashMap<Box<str>, Vec<GroupId>>,
    /// By folded directory group, in the order of the file.
    pub(crate) directory_groups: HashMap<Box<str>, Vec<GroupId>>,
    /// In the order of the file.
    pub(crate) addresses: Vec<(IpNet, GroupId)>,
    /// For clients of whom nothing is known.
    pub(crate) unknown: GroupId,
}

impl Groups {
    pub(crate) fn of(&self, id: GroupId) -> &Group {
        &self.groups[usize::from(id.0)]
    }

    /// The group that gives the settings.
    pub(crate) fn first(&self, membership: &Membership) -> &Group {
        self.of(membership.groups[0])
    }

    pub(crate) fn named(&self, name: &str) -> Option<GroupId> {
        let place = self.groups.iter().position(|group| group.settings.name.as_str() == name)?;
        Some(GroupId(u16::try_from(place).expect("the resolver admits fewer groups than 65,536")))
    }

    pub(crate) fn only(&self, id: GroupId) -> Membership {
        self.only[usize::from(id.0)].clone()
    }

    /// The groups of a person: those that name the user, then those that name one of the user's directory groups,
    /// each in the order of the file. The address decides only where neither names anybody: a teacher in the pupils'
    /// room stays a teacher. Nobody is left over: the strictest group takes them.
    pub(crate) fn membership(&self, who: &Who) -> Membership {
        let by_name = who.user.as_ref().and_then(|user| self.users.get(&*folded(user.as_str())));
        let by_name = by_name.map_or(&[][..], Vec::as_slice);
        if let ([only], true) = (by_name, who.directory_groups.is_empty()) {
            return self.only(*only);
        }
        let mut groups = by_name.to_vec();
        groups.append(&mut self.by_directory(who));
        if groups.is_empty() {
            groups = self.by_address(who.address);
        }
        let mut seen = IdSet::of(self.groups.len(), |_| false);
        groups.retain(|id| !std::mem::replace(&mut seen.0[usize::from(id.0)], true));
        match groups[..] {
            [] => self.only(self.unknown),
            [only] => self.only(only),
            _ => Membership { groups: groups.into() },
        }
    }

    fn by_directory(&self, who: &Who) -> Vec<GroupId> {
        let names = who.directory_groups.iter();
        let mut groups: Vec<GroupId> =
            names.filter_map(|name| self.directory_groups.get(&*folded(name))).flatten().copied().collect();
        groups.sort_by_key(|id| id.0);
        groups
    }

    fn by_address(&self, address: IpAddr) -> Vec<GroupId> {
        let address = address.to_canonical();
        self.addresses.iter().filter(|(range, _)| range.contains(&address)).map(|(_, id)| *id).collect()
    }
}

/// Account and group names are compared without regard to case, as directories do.
pub(crate) fn folded(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
}

/// Who must log in, and who is known by address.
pub(crate) struct Identity {
    pub(crate) login: Login,
    /// For clients of the TLS listener that no range holds.
    pub(crate) off_site: Login,
    /// The first range that holds the address counts.
    pub(crate) ranges: Vec<(IpNet, Login)>,
    pub(crate) users: HashMap<IpAddr, UserName>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { login: Login::Optional, off_site: Login::Required, ranges: Vec::new(), users: HashMap::new() }
    }
}

/// One category.
pub(crate) struct Category {
    pub(crate) name: CategoryName,
    pub(crate) title: Arc<str>,
    pub(crate) reason: Arc<str>,
    pub(crate) severity: u8,
    /// By number; nothing where a page of this category says nothing about a person.
    pub(crate) theme: Option<usize>,
}

/// One theme.
pub(crate) struct Theme {
    pub(crate) name: ThemeName,
    /// By the number of the group.
    pub(crate) alerts: Box<[AlertLevel]>,
    pub(crate) help: Arc<[HelpLine]>,
}

impl Theme {
    /// The gravest level of these groups.
    pub(crate) fn alert(&self, membership: &Membership) -> AlertLevel {
        let levels = membership.groups.iter().map(|id| self.alerts[usize::from(id.0)]);
        levels.max().unwrap_or(AlertLevel::None)
    }
}

/// All categories and themes.
pub(crate) struct Categories {
    pub(crate) categories: Vec<Category>,
    pub(crate) themes: Vec<Theme>,
    pub(crate) numbers: HashMap<CategoryName, usize>,
}

impl Categories {
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn theme_of(&self, category: usize) -> Option<&Theme> {
        self.categories[category].theme.map(|theme| &self.themes[theme])
    }
}
