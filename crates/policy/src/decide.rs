//! The one place that decides. Read [`Policy::ruling`] first: it is the order in which everything is weighed.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use wardgate_core::{
    AlertLevel, Carried, CertificateException, Concern, Decide, Decision, Entrance, GroupSettings, Host,
    Login, Membership, OnError, Phase, Purpose, Question, Route, RuleRef, TextKind, UserName, Verdict, Who,
    Wording,
};

use crate::policy::{NOT_TLS, NeverIntercept, ON_ERROR, Policy};
use crate::raw::Passes;
use crate::rule::{Fact, Miss};

/// What a person reads when a page could not be looked at.
const UNREADABLE: &str = "This page could not be checked, so it is not shown.";
/// What a person reads where a program asked for something else than a page.
const WEB_ONLY: &str = "Only web pages are opened on this network.";

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

    fn login(&self, address: IpAddr, entrance: Entrance) -> Login {
        let address = address.to_canonical();
        let range = self.identity.ranges.iter().find(|(range, _)| range.contains(&address));
        match (range, entrance) {
            (Some((_, login)), _) => *login,
            (None, Entrance::Plain) => self.identity.login,
            (None, Entrance::Tls) => self.identity.off_site,
        }
    }

    fn address_user(&self, address: IpAddr) -> Option<UserName> {
        self.identity.users.get(&address.to_canonical()).cloned()
    }

    fn membership(&self, who: &Who) -> Membership {
        self.groups.membership(who)
    }

    fn settings(&self, membership: &Membership) -> &GroupSettings {
        &self.groups.first(membership).settings
    }

    fn decide(&self, question: &Question<'_>) -> Decision {
        if question.phase.is_connect() && !self.tunnels(question) {
            return self.intercept(question);
        }
        let facts = self.facts(question);
        let ruling = self.ruling(question, &facts, |_, _| {});
        let spares = self.settings(question.membership).monitor_only && ruling.verdict != Verdict::Allow;
        let verdict = if spares { Verdict::Allow } else { ruling.verdict };
        Decision {
            verdict,
            route: question.phase.is_connect().then(|| unopened(verdict)),
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

    fn certificate_exception(&self, host: &Host, at: SystemTime) -> Option<&Arc<CertificateException>> {
        self.certificate_exceptions.get(host).filter(|exception| at < exception.until)
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

        // 5. Everything else is allowed but what is neither TLS nor HTTP; a tunnel that stays closed says why.
        let closed = self.never_intercept.get(host).filter(|_| question.phase.is_connect());
        let other = question.phase == Phase::Opened(Carried::Other);
        match closed {
            Some(closed) if !other || closed.passes == Passes::Anything => {
                Ruling::of(&closed.rule, Verdict::Allow)
            }
            _ if other => Ruling::of(&self.built_in.not_tls, Verdict::Block),
            _ => Ruling::of(&self.built_in.default, Verdict::Allow),
        }
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
    /// What is not TLS cannot be opened.
    fn tunnels(&self, question: &Question<'_>) -> bool {
        let host = question.target.host();
        !self.settings(question.membership).intercept
            || question.phase == Phase::Opened(Carried::Other)
            || self.help.get(host).is_some()
            || self.never_intercept.get(host).is_some_and(|closed| is_left_closed(closed, question.phase))
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
        gravest.sort_by_key(|(_, fact)| Reverse(fact.severity));
        let mut concerns: Vec<Concern> =
            gravest.into_iter().filter_map(|(theme, fact)| self.concern(question, theme, fact)).collect();
        concerns.sort_by_key(|concern| Reverse(concern.level));
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
    /// where the person opened the page, and a text too where the page fetched it from its own site to show it; an
    /// embedded advertisement or a widget's text is the page's doing. An address at a service that must work is the
    /// school's choice.
    fn is_own_doing(&self, question: &Question<'_>, fact: &Fact<'_>) -> bool {
        let opened = question.purpose == Purpose::Navigation;
        match fact.finding.kind {
            TextKind::Search | TextKind::Prompt | TextKind::Post => true,
            TextKind::Page => opened || question.purpose == Purpose::Data,
            TextKind::Address => opened && self.must_work.get(question.target.host()).is_none(),
        }
    }

    /// What a rule itself says to the person, if it says anything.
    fn reason(&self, rule: &RuleRef) -> Option<Arc<str>> {
        match &*rule.name {
            ON_ERROR => return Some(UNREADABLE.into()),
            NOT_TLS => return Some(WEB_ONLY.into()),
            _ => {}
        }
        self.rules.iter().find(|known| known.at.name == rule.name)?.reason.clone()
    }
}

/// Whether a host that is never intercepted is left alone. TLS that does not say which host it is for could be for any
/// behind the same address, so it is, only where the entry asks for that.
fn is_left_closed(closed: &NeverIntercept, phase: Phase) -> bool {
    phase != Phase::Opened(Carried::UnnamedTls) || closed.passes == Passes::Anything
}

/// What becomes of a CONNECT that is not opened. A warning cannot be shown there, and nobody can agree to what they
/// were not asked: it refuses.
fn unopened(verdict: Verdict) -> Route {
    match verdict {
        Verdict::Allow => Route::Tunnel,
        Verdict::Warn | Verdict::Block => Route::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use wardgate_core::{Fault, Finding, Target};

    use super::*;
    use crate::fixture::{compile, entry, words};

    /// A question with what most cases have in common.
    struct Asked<'a> {
        group: &'a str,
        phase: Phase,
        method: &'a str,
        url: &'a str,
        purpose: Purpose,
        findings: Vec<Finding>,
        fault: Option<Fault>,
    }

    impl Default for Asked<'_> {
        fn default() -> Self {
            Self {
                group: "learners",
                phase: Phase::Request,
                method: "GET",
                url: "https://www.example.com/",
                purpose: Purpose::Navigation,
                findings: Vec::new(),
                fault: None,
            }
        }
    }

    fn policy() -> Arc<Policy> {
        compile(&[]).map_err(|problems| problems[0].to_string()).unwrap().policy
    }

    fn decide(policy: &Policy, asked: &Asked<'_>) -> Decision {
        policy.decide(&Question {
            phase: asked.phase,
            who: &Who::unknown(IpAddr::from([127, 0, 0, 1])),
            membership: &policy.group_named(asked.group).unwrap(),
            at: SystemTime::UNIX_EPOCH,
            method: asked.method,
            target: &Target::parse(asked.url).unwrap(),
            purpose: asked.purpose,
            findings: &asked.findings,
            fault: asked.fault,
        })
    }

    /// Verdict, rule and concerns on one line.
    fn told(decision: &Decision) -> String {
        let mut told = format!("{} by {}", decision.verdict.as_str(), decision.rule.name);
        for concern in &decision.concerns {
            told += &format!(", {} {} {}", concern.theme, concern.category, concern.level.as_str());
        }
        told
    }

    fn check(cases: Vec<(&str, Asked<'_>, &str)>) {
        let policy = policy();
        for (name, asked, expected) in cases {
            assert_eq!(told(&decide(&policy, &asked)), expected, "{name}");
        }
    }

    #[test]
    fn the_order_of_weighing() {
        let casino = || vec![entry("casino", "casinos")];
        let fault = Some(Fault::Undecodable);
        let help = "https://www.childline.org.uk/";
        let office = "https://mail.office.example/";
        check(vec![
            ("nothing found", Asked::default(), "allow by <default>"),
            (
                "a rule",
                Asked { findings: casino(), ..Asked::default() },
                "block by no-harm, gambling casino daily",
            ),
            ("help before faults", Asked { url: help, fault, ..Asked::default() }, "allow by <help>"),
            (
                "help before rules, without concern",
                Asked {
                    url: help,
                    findings: vec![words("suicide", TextKind::Search, 500.0)],
                    ..Asked::default()
                },
                "allow by <help>",
            ),
            ("faults", Asked { fault, ..Asked::default() }, "block by <on-error>"),
            (
                "faults before must-work",
                Asked { url: office, fault, ..Asked::default() },
                "block by <on-error>",
            ),
            (
                "faults that may pass",
                Asked { group: "staff", fault, ..Asked::default() },
                "allow by <default>",
            ),
            (
                "rules hold for faults that may pass",
                Asked { group: "staff", fault, findings: casino(), ..Asked::default() },
                "block by no-harm, gambling casino weekly",
            ),
            (
                "must-work before rules",
                Asked { url: office, findings: casino(), ..Asked::default() },
                "allow by <must-work>",
            ),
            (
                "an earlier rule",
                Asked { group: "guests", findings: casino(), ..Asked::default() },
                "warn by own-list, gambling casino weekly",
            ),
            ("a port", Asked { url: "http://a.example:6667/", ..Asked::default() }, "block by no-irc"),
            (
                "a host and a method",
                Asked { url: "https://a.forum.example/", method: "POST", ..Asked::default() },
                "block by read-only",
            ),
            (
                "another method",
                Asked { url: "https://a.forum.example/", ..Asked::default() },
                "allow by <default>",
            ),
            (
                "another host",
                Asked { url: "https://a.example/", method: "POST", ..Asked::default() },
                "allow by <default>",
            ),
        ]);
    }

    /// The small policy with a host for SSH, one host whose tunnels may carry anything, and ranges of addresses.
    fn policy_of_tunnels() -> Arc<Policy> {
        let rules = r#"
[[rule]]
name = "web-ports"
groups = ["learners"]
ports_other_than = [22, 80, 443]
action = "block"
reason = "Web pages only."

[[rule]]
name = "no-lab"
groups = ["learners"]
hosts = ["closed.lab.example", "203.0.113.0/24"]
action = "block"
reason = "Not from here."

[[rule]]
name = "lab-pages"
hosts = ["lab.example"]
action = "allow"

[[rule]]
name = "ssh"
hosts = ["lab.example"]
ports = [22]
carries = "other"
action = "allow"
"#;
        let never_intercept = r#"
[[host]]
name = "bank"
hosts = ["bank.example"]
reason = "Private."

[[host]]
name = "meetings"
hosts = ["meet.example", "198.51.100.0/24"]
carries = "anything"
reason = "Sound."
"#;
        let changes = [("rules.toml", rules), ("never-intercept.toml", never_intercept)];
        compile(&changes).map_err(|problems| problems[0].to_string()).unwrap().policy
    }

    #[test]
    fn what_a_tunnel_carries_decides_what_becomes_of_it() {
        use Carried::{Other, Tls, UnnamedTls};
        use Route::{Intercept, Refuse, Tunnel};
        let policy = policy_of_tunnels();
        for (name, group, host, carried, route, expected) in [
            ("TLS", "learners", "a.example", Tls, Intercept, "allow by <intercept>"),
            ("TLS without a name", "learners", "a.example", UnnamedTls, Intercept, "allow by <intercept>"),
            ("something else", "learners", "a.example", Other, Refuse, "block by <not-tls>"),
            ("something else, without the CA", "guests", "a.example", Other, Refuse, "block by <not-tls>"),
            ("something else, only watched", "watched", "a.example", Other, Tunnel, "allow by <not-tls>"),
            ("a bank", "learners", "bank.example", Tls, Tunnel, "allow by <never-intercept>"),
            (
                "a bank without a name",
                "learners",
                "bank.example",
                UnnamedTls,
                Intercept,
                "allow by <intercept>",
            ),
            ("no bank at all", "learners", "bank.example", Other, Refuse, "block by <not-tls>"),
            (
                "a group without the CA, no name",
                "guests",
                "bank.example",
                UnnamedTls,
                Tunnel,
                "allow by <never-intercept>",
            ),
            (
                "a meeting without a name",
                "learners",
                "meet.example",
                UnnamedTls,
                Tunnel,
                "allow by <never-intercept>",
            ),
            ("a meeting's sound", "learners", "meet.example", Other, Tunnel, "allow by <never-intercept>"),
            (
                "a meeting's sound by address",
                "learners",
                "198.51.100.7",
                Other,
                Tunnel,
                "allow by <never-intercept>",
            ),
            ("another address", "learners", "198.51.101.7", Other, Refuse, "block by <not-tls>"),
            ("help", "learners", "www.childline.org.uk", Other, Tunnel, "allow by <help>"),
            (
                "help without a name",
                "learners",
                "www.childline.org.uk",
                UnnamedTls,
                Tunnel,
                "allow by <help>",
            ),
            ("what must work", "learners", "office.example", Other, Tunnel, "allow by <must-work>"),
            (
                "what must work is opened",
                "learners",
                "office.example",
                Tls,
                Intercept,
                "allow by <intercept>",
            ),
            ("SSH to the lab", "staff", "lab.example:22", Other, Tunnel, "allow by ssh"),
            ("SSH elsewhere in it", "staff", "lab.example:2222", Other, Refuse, "block by <not-tls>"),
            ("an allowed page's host", "staff", "lab.example", Other, Refuse, "block by <not-tls>"),
            (
                "a block holds for everything",
                "learners",
                "closed.lab.example:22",
                Other,
                Refuse,
                "block by no-lab",
            ),
            ("an odd port", "learners", "lab.example:2222", Other, Refuse, "block by web-ports"),
        ] {
            let url = format!("https://{host}/");
            let phase = Phase::Opened(carried);
            let asked = Asked { group, phase, method: "CONNECT", url: &url, ..Asked::default() };
            let decision = decide(&policy, &asked);
            assert_eq!((decision.route, told(&decision).as_str()), (Some(route), expected), "{name}");
        }
    }

    #[test]
    fn ports_and_ranges_are_conditions() {
        let policy = policy_of_tunnels();
        for (name, url, expected) in [
            ("a usual port", "http://a.example/", "allow by <default>"),
            ("another port", "http://a.example:8080/", "block by web-ports"),
            ("an address in a range", "http://203.0.113.7/", "block by no-lab"),
            ("an address in disguise", "http://0xcb.0.0x71.7/", "block by no-lab"),
            ("an address outside", "http://203.0.114.7/", "allow by <default>"),
            ("a rule about tunnels is about nothing else", "http://lab.example:22/", "allow by lab-pages"),
        ] {
            assert_eq!(told(&decide(&policy, &Asked { url, ..Asked::default() })), expected, "{name}");
        }
    }

    #[test]
    fn texts_count_from_a_limit_on() {
        let page = |category, score| Asked {
            phase: Phase::Text(TextKind::Page),
            findings: vec![words(category, TextKind::Page, score)],
            ..Asked::default()
        };
        check(vec![
            ("below", page("casino", 99.0), "allow by <default>"),
            ("at", page("casino", 100.0), "block by no-harm, gambling casino daily"),
            (
                "another group's limit",
                Asked { group: "staff", ..page("casino", 150.0) },
                "allow by <default>",
            ),
            ("the rule's own limit, below", page("games", 19.0), "allow by <default>"),
            ("the rule's own limit, at", page("games", 20.0), "block by no-games"),
            ("a category that is not known", page("unknown", 500.0), "allow by <default>"),
            (
                "searches weigh more",
                Asked { findings: vec![words("casino", TextKind::Search, 50.0)], ..Asked::default() },
                "block by no-harm, gambling casino daily",
            ),
        ]);
    }

    #[test]
    fn groups_inherit_rules_and_settings() {
        let games = || vec![words("games", TextKind::Page, 30.0)];
        let strong = || vec![words("games", TextKind::Page, 100.0)];
        check(vec![
            (
                "a parent's rule",
                Asked { group: "adults", findings: games(), ..Asked::default() },
                "block by no-games",
            ),
            (
                "an own rule before it",
                Asked { group: "adults", findings: strong(), ..Asked::default() },
                "warn by adult-games",
            ),
            (
                "not a stranger's",
                Asked { group: "staff", findings: games(), ..Asked::default() },
                "allow by <default>",
            ),
            (
                "a parent's alert level",
                Asked { group: "adults", findings: vec![entry("casino", "casinos")], ..Asked::default() },
                "block by no-harm, gambling casino daily",
            ),
        ]);
        let policy = policy();
        let adults = policy.settings(&policy.group_named("adults").unwrap()).clone();
        assert_eq!((adults.hold, adults.warn_for.as_secs(), adults.on_error), (1024, 3600, OnError::Block));
        assert!(policy.group_named("nobody").is_none());
    }

    #[test]
    fn concerns_are_about_the_person() {
        let part = Purpose::Subresource;
        let both = || {
            vec![entry("betting", "l"), entry("casino", "casinos"), words("suicide", TextKind::Post, 60.0)]
        };
        check(vec![
            (
                "one a theme, gravest first",
                Asked { findings: both(), ..Asked::default() },
                "block by no-harm, self-harm suicide immediate, gambling casino daily",
            ),
            (
                "an embedded advertisement is nobody's doing",
                Asked { purpose: part, findings: vec![entry("casino", "casinos")], ..Asked::default() },
                "block by no-harm",
            ),
            (
                "nor is the text of a part of a page",
                Asked {
                    purpose: part,
                    findings: vec![words("casino", TextKind::Page, 100.0)],
                    ..Asked::default()
                },
                "block by no-harm",
            ),
            (
                "what an application fetched to show is",
                Asked {
                    purpose: Purpose::Data,
                    findings: vec![words("casino", TextKind::Page, 100.0)],
                    ..Asked::default()
                },
                "block by no-harm, gambling casino daily",
            ),
            (
                "what was written always is",
                Asked {
                    purpose: part,
                    findings: vec![words("suicide", TextKind::Prompt, 50.0)],
                    ..Asked::default()
                },
                "block by no-harm, self-harm suicide immediate",
            ),
            (
                "an allowed post can alert",
                Asked {
                    url: "https://office.example/",
                    findings: vec![words("suicide", TextKind::Post, 60.0)],
                    ..Asked::default()
                },
                "allow by <must-work>, self-harm suicide immediate",
            ),
            (
                "no theme, no concern",
                Asked { findings: vec![entry("games", "g")], ..Asked::default() },
                "block by no-games",
            ),
        ]);
    }

    #[test]
    fn connect_is_tunnelled_intercepted_or_refused() {
        let policy = policy();
        let casino = || vec![entry("casino", "casinos")];
        let connect = |group, host, findings| Asked {
            group,
            phase: Phase::Connect,
            method: "CONNECT",
            url: host,
            findings,
            ..Asked::default()
        };
        for (name, asked, route, expected) in [
            ("opened", connect("learners", "a.example", vec![]), Route::Intercept, "allow by <intercept>"),
            (
                "blocked hosts too, for the block page",
                connect("learners", "a.example", casino()),
                Route::Intercept,
                "allow by <intercept>",
            ),
            (
                "a fault is looked at again inside",
                Asked { fault: Some(Fault::Stage("lists")), ..connect("learners", "a.example", vec![]) },
                Route::Intercept,
                "allow by <intercept>",
            ),
            (
                "never-intercept",
                connect("learners", "www.bank.example", vec![]),
                Route::Tunnel,
                "allow by <never-intercept>",
            ),
            (
                "never-intercept and blocked",
                connect("learners", "bank.example", casino()),
                Route::Refuse,
                "block by no-harm, gambling casino daily",
            ),
            (
                "help stays closed",
                connect("learners", "www.samaritans.org", casino()),
                Route::Tunnel,
                "allow by <help>",
            ),
            (
                "a group without interception",
                connect("guests", "a.example", vec![]),
                Route::Tunnel,
                "allow by <default>",
            ),
            (
                "its blocked hosts",
                connect("guests", "a.example", vec![entry("betting", "b")]),
                Route::Refuse,
                "block by no-harm, gambling betting weekly",
            ),
            (
                "a warning that cannot be shown",
                connect("guests", "a.example", casino()),
                Route::Refuse,
                "warn by own-list, gambling casino weekly",
            ),
            (
                "a fault there",
                Asked { fault: Some(Fault::Stage("lists")), ..connect("guests", "a.example", vec![]) },
                Route::Refuse,
                "block by <on-error>",
            ),
            (
                "a watched group",
                connect("watched", "bank.example", casino()),
                Route::Tunnel,
                "allow by no-harm, gambling casino weekly",
            ),
        ] {
            let decision = decide(&policy, &asked);
            assert_eq!((decision.route, told(&decision)), (Some(route), expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_watched_group_is_spared() {
        let policy = policy();
        let found = vec![entry("casino", "casinos")];
        let decision = decide(&policy, &Asked { group: "watched", findings: found, ..Asked::default() });
        assert_eq!((decision.verdict, decision.spared), (Verdict::Allow, Some(Verdict::Block)));
        assert_eq!(decision.concerns.len(), 1);
        let fault =
            decide(&policy, &Asked { group: "watched", fault: Some(Fault::Bomb), ..Asked::default() });
        assert_eq!((fault.verdict, fault.spared), (Verdict::Allow, Some(Verdict::Block)));
        let nothing = decide(&policy, &Asked { group: "watched", ..Asked::default() });
        assert_eq!(nothing.spared, None);
    }

    #[test]
    fn a_decision_names_its_place() {
        let decision =
            decide(&policy(), &Asked { findings: vec![entry("casino", "casinos")], ..Asked::default() });
        assert_eq!((&*decision.rule.file, decision.rule.line), ("rules.toml", 20));
        assert_eq!(decision.category, Some("casino".into()));
        assert_eq!(decision.theme, Some("gambling".into()));
        let office = decide(&policy(), &Asked { url: "https://office.example/", ..Asked::default() });
        assert_eq!((&*office.rule.file, office.rule.line), ("must-work.toml", 1));
    }

    #[test]
    fn membership_by_user_directory_and_address() {
        let policy = policy();
        for (name, user, directory, address, expected) in [
            ("a user, in any case", Some("ANNA"), &[][..], "10.1.0.1", &["staff"][..]),
            ("a directory group, in any case", Some("zoe"), &["teachers"], "10.1.0.1", &["staff"]),
            (
                "groups that name the user first",
                Some("ben"),
                &["Teachers"],
                "10.9.0.1",
                &["learners", "staff"],
            ),
            ("two groups, in the order of the file", Some("eve"), &[], "10.9.0.1", &["learners", "adults"]),
            ("an address", None, &[], "10.1.9.1", &["learners"]),
            ("two ranges", None, &[], "10.1.2.1", &["learners", "adults"]),
            ("a user nobody named has an address", Some("zoe"), &[], "10.3.0.1", &["guests"]),
            ("an IPv4 address in IPv6 clothing", None, &[], "::ffff:10.3.0.1", &["guests"]),
            ("IPv6", None, &[], "2001:db8::1", &["guests"]),
            ("nothing known", None, &[], "192.0.2.1", &["learners"]),
        ] {
            let who = Who {
                user: user.map(wardgate_core::UserName::new),
                directory_groups: directory.iter().map(|group| (*group).into()).collect(),
                ..Who::unknown(address.parse().unwrap())
            };
            let membership = policy.membership(&who);
            let groups: Vec<&str> = policy.group_names(&membership).map(|group| group.as_str()).collect();
            assert_eq!(groups, expected, "{name}");
        }
    }

    #[test]
    fn the_soonest_alert_of_several_groups() {
        let policy = policy();
        let mut groups = policy.group_named("staff").unwrap().groups.to_vec();
        groups.extend(policy.group_named("adults").unwrap().groups.iter());
        let membership = Membership { groups: groups.into() };
        assert_eq!(policy.categories.themes[0].alert(&membership), AlertLevel::Daily);
    }

    #[test]
    fn login_and_devices_by_address() {
        let policy = policy();
        for (name, address, entrance, expected) in [
            ("a range", "10.1.2.3", Entrance::Plain, Login::Required),
            ("a range in IPv6 clothing", "::ffff:10.1.2.3", Entrance::Plain, Login::Required),
            ("no range", "10.2.2.3", Entrance::Plain, Login::Optional),
            ("no range, off site", "10.2.2.3", Entrance::Tls, Login::Required),
            ("a range that need not, off site", "10.4.2.3", Entrance::Tls, Login::Optional),
        ] {
            assert_eq!(policy.login(address.parse().unwrap(), entrance), expected, "{name}");
        }
        let user = |address: &str| policy.address_user(address.parse().unwrap());
        assert_eq!(user("10.1.2.3").unwrap().as_str(), "reception");
        assert_eq!(user("::ffff:10.1.2.3").unwrap().as_str(), "reception");
        assert_eq!(user("10.1.2.4"), None);
    }

    #[test]
    fn wording_is_for_the_person() {
        let policy = policy();
        let words = |asked: &Asked<'_>| policy.wording(Some(&decide(&policy, asked)));
        let suicide = words(&Asked { findings: vec![entry("suicide", "s")], ..Asked::default() });
        assert_eq!(suicide.reason.as_deref(), Some("Please talk to someone."));
        assert_eq!(suicide.category.as_deref(), Some("Suicide"));
        let names: Vec<&str> = suicide.help.iter().map(|line| &*line.name).collect();
        assert_eq!(names, ["Samaritans", "Childline"]);
        let port = words(&Asked { url: "http://a.example:6667/", ..Asked::default() });
        assert_eq!((port.reason.as_deref(), port.category), (Some("Web pages only."), None));
        assert_eq!(&*port.help[0].name, "Childline");
        let fault = words(&Asked { fault: Some(Fault::Bomb), ..Asked::default() });
        assert_eq!(fault.reason.as_deref(), Some(UNREADABLE));
        assert_eq!(&*policy.wording(None).organisation, "Example College");
    }
}
