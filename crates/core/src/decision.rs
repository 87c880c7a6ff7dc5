//! The question that policy answers, the answer, and what else the proxy must know of the policy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    CategoryName, CertificateException, Finding, GroupName, Host, Pipeline, Target, TextKind, ThemeName,
    UserName, Who,
};

/// At which point of an exchange policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// CONNECT: only host and port are known. The answer carries a [`Route`].
    Connect,
    /// A CONNECT whose first bytes are there. The answer carries a [`Route`] again: what was to be a tunnel may have
    /// to be opened or closed after all.
    Opened(Carried),
    /// The request's head is known, and what was written in it.
    Request,
    /// Text of this kind has been read: a page, or a request's body.
    Text(TextKind),
}

impl Phase {
    /// Whether the answer says what becomes of a CONNECT.
    pub fn is_connect(self) -> bool {
        matches!(self, Self::Connect | Self::Opened(_))
    }
}

/// What a tunnel turned out to carry. Plain HTTP is not among it: its requests are decided one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// TLS that says which host it is for.
    Tls,
    /// TLS that does not say which host it is for, though the CONNECT named one.
    UnnamedTls,
    /// Neither TLS nor HTTP.
    Other,
}

/// Whether a person asked for this page, or a page asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// A page that a person opened (Fetch Metadata: `Sec-Fetch-Mode: navigate`), or a client that does not say.
    Navigation,
    /// Data that a page fetched from its own site: what single-page applications show to the person.
    Data,
    /// An image, script, frame or request to elsewhere of a page.
    Subresource,
}

/// Something went wrong in looking at an exchange; the group's [`OnError`] says what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A stage panicked.
    Stage(&'static str),
    /// The body's encoding is unknown or broken, so its text could not be read.
    Undecodable,
    /// The body decodes to more than the limit, or at an absurd ratio.
    Bomb,
    /// All bodies that are being looked at hold as much memory as they may together.
    NoRoom,
}

impl Fault {
    /// The name used in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stage(_) => "stage-failed",
            Self::Undecodable => "undecodable",
            Self::Bomb => "decompression-bomb",
            Self::NoRoom => "no-room",
        }
    }
}

/// Everything that a decision may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// At which point of the exchange.
    pub phase: Phase,
    /// Who asks.
    pub who: &'a Who,
    /// Their groups, from [`Decide::membership`] of the same policy.
    pub membership: &'a Membership,
    /// When.
    pub at: SystemTime,
    /// The method.
    pub method: &'a str,
    /// What for.
    pub target: &'a Target,
    /// Page or part of a page.
    pub purpose: Purpose,
    /// What the stages found so far, all of it.
    pub findings: &'a [Finding],
    /// What went wrong in looking, if anything.
    pub fault: Option<Fault>,
}

/// The verdict on an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Let it pass.
    Allow,
    /// Show a page with "continue"; going on is recorded.
    Warn,
    /// Show the block page.
    Block,
}

impl Verdict {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Warn, Self::Block];

    /// The name used in policy files and the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Block => "block",
        }
    }
}

/// What becomes of a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// Bytes pass unread.
    Tunnel,
    /// Wardgate answers the TLS handshake and sees the requests inside.
    Intercept,
    /// Answered with a status and no tunnel.
    Refuse,
}

impl Route {
    /// The name used in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Intercept => "intercept",
            Self::Refuse => "refuse",
        }
    }
}

/// How soon somebody must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertLevel {
    /// In the access log only.
    None,
    /// In the weekly digest.
    Weekly,
    /// In the daily digest.
    Daily,
    /// At once.
    Immediate,
}

impl AlertLevel {
    /// The name used in policy files and the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Weekly => "weekly",
            Self::Daily => "daily",
            Self::Immediate => "immediate",
        }
    }
}

/// A rule and where it stands, so that a person can go and read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    /// The rule's name; built-in rules have names in angle brackets, such as `<default>`.
    pub name: Arc<str>,
    /// The file, relative to the policy directory.
    pub file: Arc<str>,
    /// The line where the rule begins, from 1; 0 for a built-in rule.
    pub line: u32,
}

impl RuleRef {
    /// A rule that stands in no file; its name goes in angle brackets.
    pub fn built_in(name: &str) -> Self {
        Self { name: name.into(), file: "".into(), line: 0 }
    }
}

/// A reason to tell somebody about this person, whatever the verdict was.
#[derive(Clone, Debug, PartialEq)]
pub struct Concern {
    /// What the person may be at risk of.
    pub theme: ThemeName,
    /// The category that brought it up.
    pub category: CategoryName,
    /// How soon.
    pub level: AlertLevel,
}

/// The answer of policy.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Allow, warn or block.
    pub verdict: Verdict,
    /// What becomes of a CONNECT; nothing in other phases.
    pub route: Option<Route>,
    /// The rule that decided.
    pub rule: RuleRef,
    /// The category that the rule matched, if it was about one.
    pub category: Option<CategoryName>,
    /// The theme of that category.
    pub theme: Option<ThemeName>,
    /// The verdict that a monitor-only group was spared.
    pub spared: Option<Verdict>,
    /// Whom to tell of what; at most one a theme, the gravest level of each, gravest first.
    pub concerns: Vec<Concern>,
}

impl Decision {
    /// The stricter of two decisions on one exchange that goes by two names, with the concerns of both. Where neither
    /// is stricter this one stays.
    pub fn stricter(self, other: Self) -> Self {
        let (mut stricter, lenient) =
            if other.strictness() > self.strictness() { (other, self) } else { (self, other) };
        add_concerns(&mut stricter.concerns, &lenient.concerns);
        stricter
    }

    /// What is stopped is stricter than what is looked at, and that stricter than what passes unread. A group that is
    /// only watched is spared both alike.
    fn strictness(&self) -> (u8, Verdict) {
        let route = match self.route {
            Some(Route::Refuse) => 2,
            Some(Route::Intercept) => 1,
            Some(Route::Tunnel) | None => 0,
        };
        (route, self.spared.unwrap_or(self.verdict))
    }
}

/// Adds concerns to others: one a theme, the graver stays.
pub(crate) fn add_concerns(concerns: &mut Vec<Concern>, more: &[Concern]) {
    for concern in more {
        match concerns.iter_mut().find(|known| known.theme == concern.theme) {
            Some(known) if known.level < concern.level => *known = concern.clone(),
            Some(_) => {}
            None => concerns.push(concern.clone()),
        }
    }
}

/// A group, by its place in the policy that named it. Means nothing in another policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub u16);

/// The groups of a person under one policy: the first gives the settings, and rules may name any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// At least one group.
    pub groups: Arc<[GroupId]>,
}

/// How a client came to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// In the clear, as clients on site do.
    Plain,
    /// Inside TLS, as clients off site do.
    Tls,
}

/// Whether a client must say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// Credentials are used where sent; without them the address decides.
    #[default]
    Optional,
    /// Unknown clients are answered 407.
    Required,
}

/// What follows when looking at an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Nothing passes unseen.
    #[default]
    Block,
    /// Let it pass; the event says so.
    Allow,
}

/// How the proxy treats a group, apart from decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    /// The group's name.
    pub name: GroupName,
    /// Whether TLS is intercepted; where not, hosts alone are filtered.
    pub intercept: bool,
    /// Whether text is scanned.
    pub scan: bool,
    /// Everything is recorded, nothing is blocked, nothing is held.
    pub monitor_only: bool,
    /// How much decoded text is held until scanned, in bytes.
    pub hold: usize,
    /// What follows when looking fails.
    pub on_error: OnError,
    /// How long "continue" on a warn page is good for.
    pub warn_for: Duration,
}

/// A place to turn to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HelpLine {
    /// For example `Childline`.
    pub name: Arc<str>,
    /// Telephone, text number or hours, in words.
    pub detail: Arc<str>,
    /// An address that is always reachable.
    pub url: Arc<str>,
}

/// What a page says to the person: plain words from the policy, none of them technical.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wording {
    /// Who runs this filter, for example `Example College`.
    pub organisation: Arc<str>,
    /// Whom to talk to about a page.
    pub contact: Arc<str>,
    /// That use can be monitored.
    pub notice: Arc<str>,
    /// The category in words, for example `Gambling`.
    pub category: Option<Arc<str>>,
    /// Why pages of this category are not shown.
    pub reason: Option<Arc<str>>,
    /// Help for the theme, most fitting first.
    pub help: Arc<[HelpLine]>,
}

/// A compiled policy, as the proxy sees it. Implemented by `policy`; the only thing that decides.
pub trait Decide: Send + Sync {
    /// SHA-256 of the policy files in lower-case hex: names the policy in every event.
    fn hash(&self) -> &Arc<str>;

    /// Whether a client at this address, coming this way, must log in.
    fn login(&self, address: IpAddr, entrance: Entrance) -> Login;

    /// The user or device that is known by this address alone; an IPv4 address counts in IPv6 clothing too.
    fn address_user(&self, address: IpAddr) -> Option<UserName>;

    /// The groups of this person; the strictest where none is known.
    fn membership(&self, who: &Who) -> Membership;

    /// How the proxy treats the first of these groups.
    fn settings(&self, membership: &Membership) -> &GroupSettings;

    /// Decides. Pure: the same question gets the same answer.
    fn decide(&self, question: &Question<'_>) -> Decision;

    /// What is overlooked of this host's certificate at this time, if anything.
    fn certificate_exception(&self, host: &Host, at: SystemTime) -> Option<&Arc<CertificateException>>;

    /// What to say to the person about a decision (or about nothing in particular).
    fn wording(&self, decision: Option<&Decision>) -> Wording;
}

/// A policy with the stages compiled from it: swapped as one, so that a reload is atomic.
pub struct Ruleset {
    /// Decides.
    pub policy: Arc<dyn Decide>,
    /// Finds.
    pub pipeline: Pipeline,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(rule: &str, verdict: Verdict, route: Option<Route>, spared: Option<Verdict>) -> Decision {
        Decision {
            verdict,
            route,
            rule: RuleRef::built_in(rule),
            category: None,
            theme: None,
            spared,
            concerns: Vec::new(),
        }
    }

    #[test]
    fn the_stricter_of_two_decisions() {
        use Route::{Intercept, Refuse, Tunnel};
        use Verdict::{Allow, Block, Warn};
        for (name, first, second, expected) in [
            ("block before allow", (Allow, None, None), (Block, None, None), "second"),
            ("block before warn", (Block, None, None), (Warn, None, None), "first"),
            ("the first of two alike", (Allow, None, None), (Allow, None, None), "first"),
            (
                "looked at before unread",
                (Allow, Some(Tunnel), None),
                (Allow, Some(Intercept), None),
                "second",
            ),
            (
                "refused before looked at",
                (Block, Some(Refuse), None),
                (Allow, Some(Intercept), None),
                "first",
            ),
            ("what a watched group was spared", (Allow, None, None), (Allow, None, Some(Block)), "second"),
        ] {
            let first = decision("first", first.0, first.1, first.2);
            let second = decision("second", second.0, second.1, second.2);
            assert_eq!(&*first.stricter(second).rule.name, expected, "{name}");
        }
    }

    #[test]
    fn the_concerns_of_both_decisions_stay() {
        let concern = |theme: &str, level| Concern { theme: theme.into(), category: "c".into(), level };
        let mut first = decision("first", Verdict::Allow, None, None);
        first.concerns = vec![concern("a", AlertLevel::Daily), concern("b", AlertLevel::Daily)];
        let mut second = decision("second", Verdict::Block, None, None);
        second.concerns = vec![concern("b", AlertLevel::Immediate)];
        let both = first.stricter(second).concerns;
        assert_eq!(both, [concern("b", AlertLevel::Immediate), concern("a", AlertLevel::Daily)]);
    }
}
