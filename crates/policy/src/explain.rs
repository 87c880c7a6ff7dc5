//! Tells how a decision comes about: what was found, which rules were considered, why each did not match.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use wardgate_core::{
    AlertLevel, CategoryName, Concern, Decide as _, Decision, Evidence, Fault, GroupName, Phase, PhraseHit,
    Pipeline, Question, Route, RuleRef, TextKind, ThemeName, UserName, Verdict,
};

use crate::policy::Policy;
use crate::rule::{Fact, Miss};
use crate::walk::{Inquiry, Step, concerns, walk};

/// Follows a request past the stages and the policy and tells what happened at each station.
pub fn explain(policy: &Policy, pipeline: &Pipeline, inquiry: &Inquiry<'_>) -> Trace {
    let steps = walk(policy, pipeline, inquiry);
    Trace {
        target: inquiry.target.as_str().into(),
        user: inquiry.who.user.clone(),
        groups: policy.group_names(inquiry.membership).cloned().collect(),
        policy_hash: Arc::clone(policy.hash()),
        verdict: steps.last().map_or(Verdict::Allow, |step| step.decision.verdict),
        concerns: concerns(&steps).iter().map(TraceConcern::of).collect(),
        steps: steps.iter().map(|step| TraceStep::of(policy, inquiry, step)).collect(),
    }
}

/// How a decision came about. `Display` is for people, `Serialize` for scripts.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The canonical target.
    pub target: Box<str>,
    /// The user, where one was named.
    pub user: Option<UserName>,
    /// Their groups; the first gives the settings.
    pub groups: Vec<GroupName>,
    /// The hash of the policy.
    pub policy_hash: Arc<str>,
    /// The verdict in the end.
    pub verdict: Verdict,
    /// Whom to tell of what, over all steps.
    pub concerns: Vec<TraceConcern>,
    /// The stations, in order.
    pub steps: Vec<TraceStep>,
}

/// One station: CONNECT, the request, or a text.
#[derive(Clone, Debug, Serialize)]
pub struct TraceStep {
    /// `connect`, `request`, or `text`.
    pub phase: &'static str,
    /// What went wrong in looking, by its name in the access log.
    pub fault: Option<&'static str>,
    /// What the stages found.
    pub findings: Vec<TraceFinding>,
    /// The rules that were considered and did not match, in order.
    pub passed_over: Vec<TraceRule>,
    /// What was decided.
    pub decision: TraceDecision,
}

/// A finding, and whether it counted.
#[derive(Clone, Debug, Serialize)]
pub struct TraceFinding {
    /// The stage.
    pub stage: &'static str,
    /// What it is about.
    pub category: CategoryName,
    /// Where it was found.
    pub kind: TextKind,
    /// How sure, in points.
    pub score: f32,
    /// The points from which it counts for this group; nothing for an address, or a category unknown to the policy.
    pub limit: Option<f32>,
    /// Whether it counts.
    pub counts: bool,
    /// Entries and phrases, in words.
    pub evidence: Vec<String>,
}

/// A rule that did not match.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRule {
    /// The rule.
    #[serde(flatten)]
    pub rule: TracePlace,
    /// Why it did not match.
    pub why: String,
}

/// A rule's name and place.
#[derive(Clone, Debug, Serialize)]
pub struct TracePlace {
    /// The rule's name; built-in rules have names in angle brackets.
    pub rule: Arc<str>,
    /// The file, relative to the policy directory.
    pub file: Arc<str>,
    /// The line; 0 where no line says it.
    pub line: u32,
}

/// What was decided at one station.
#[derive(Clone, Debug, Serialize)]
pub struct TraceDecision {
    /// Allow, warn or block.
    pub verdict: Verdict,
    /// What becomes of a CONNECT.
    pub route: Option<Route>,
    /// The rule that decided.
    #[serde(flatten)]
    pub rule: TracePlace,
    /// The category that the rule matched.
    pub category: Option<CategoryName>,
    /// Its theme.
    pub theme: Option<ThemeName>,
    /// The verdict that a monitor-only group was spared.
    pub spared: Option<Verdict>,
}

/// A reason to tell somebody.
#[derive(Clone, Debug, Serialize)]
pub struct TraceConcern {
    /// What the person may be at risk of.
    pub theme: ThemeName,
    /// The category that brought it up.
    pub category: CategoryName,
    /// How soon.
    pub level: AlertLevel,
}

impl TraceStep {
    fn of(policy: &Policy, inquiry: &Inquiry<'_>, step: &Step) -> Self {
        let question = step.question(inquiry);
        let facts = policy.facts(&question);
        Self {
            phase: match step.phase {
                Phase::Connect | Phase::Opened(_) => "connect",
                Phase::Request => "request",
                Phase::Text(_) => "text",
            },
            fault: step.fault.map(Fault::as_str),
            findings: findings(&question, &facts),
            passed_over: passed_over(policy, &question, &facts, &step.decision),
            decision: TraceDecision::of(&step.decision),
        }
    }
}

fn findings(question: &Question<'_>, facts: &[Fact<'_>]) -> Vec<TraceFinding> {
    let trace = |finding: &wardgate_core::Finding| {
        let fact = facts.iter().find(|fact| std::ptr::eq(fact.finding, finding));
        TraceFinding {
            stage: finding.stage,
            category: finding.category.clone(),
            kind: finding.kind,
            score: finding.score,
            limit: fact.filter(|_| finding.kind != TextKind::Address).map(|fact| fact.limit),
            counts: fact.is_some_and(Fact::counts),
            evidence: evidence(&finding.evidence),
        }
    };
    question.findings.iter().map(trace).collect()
}

fn evidence(evidence: &Evidence) -> Vec<String> {
    match evidence {
        Evidence::Entry { list, entry } => vec![format!("`{entry}` of the list `{list}`")],
        Evidence::Phrases(hits) => hits.iter().map(phrase).collect(),
    }
}

fn phrase(hit: &PhraseHit) -> String {
    let times = if hit.count == 1 { String::new() } else { format!(", {} times", hit.count) };
    format!("`{}` at byte {}{times}: {} points, in \"{}\"", hit.phrase, hit.offset, hit.weight, hit.snippet)
}

/// The rules that were passed over. A CONNECT that is opened considers none: the requests inside do.
fn passed_over(
    policy: &Policy,
    question: &Question<'_>,
    facts: &[Fact<'_>],
    decision: &Decision,
) -> Vec<TraceRule> {
    if decision.route == Some(Route::Intercept) {
        return Vec::new();
    }
    let mut rules = Vec::new();
    policy.ruling(question, facts, |rule: &RuleRef, miss: Miss| {
        rules.push(TraceRule { rule: TracePlace::of(rule), why: miss.to_string() });
    });
    rules
}

impl TracePlace {
    pub(crate) fn of(rule: &RuleRef) -> Self {
        Self { rule: Arc::clone(&rule.name), file: Arc::clone(&rule.file), line: rule.line }
    }
}

impl TraceDecision {
    fn of(decision: &Decision) -> Self {
        Self {
            verdict: decision.verdict,
            route: decision.route,
            rule: TracePlace::of(&decision.rule),
            category: decision.category.clone(),
            theme: decision.theme.clone(),
            spared: decision.spared,
        }
    }
}

impl TraceConcern {
    fn of(concern: &Concern) -> Self {
        Self { theme: concern.theme.clone(), category: concern.category.clone(), level: concern.level }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.target)?;
        let groups: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
        let user = self.user.as_ref().map_or("nobody in particular", UserName::as_str);
        writeln!(f, "  asked by {user}, groups: {}", groups.join(", "))?;
        writeln!(f, "  policy {}", self.policy_hash)?;
        for step in &self.steps {
            write!(f, "\n{step}")?;
        }
        writeln!(f, "\nin the end: {}", self.verdict.as_str())?;
        if self.concerns.is_empty() {
            writeln!(f, "  no concern")?;
        }
        for concern in &self.concerns {
            let level = concern.level.as_str();
            writeln!(f, "  concern: {}, because of {}: {level}", concern.theme, concern.category)?;
        }
        Ok(())
    }
}

impl fmt::Display for TraceStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.phase)?;
        if let Some(fault) = self.fault {
            writeln!(f, "  could not be looked at: {fault}")?;
        }
        for finding in &self.findings {
            write!(f, "{finding}")?;
        }
        for rule in &self.passed_over {
            writeln!(f, "  - {}: {}", rule.rule, rule.why)?;
        }
        write!(f, "{}", self.decision)
    }
}

impl fmt::Display for TraceFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        write!(f, "  found by {} in the {kind}: {}, {} points", self.stage, self.category, self.score)?;
        match self.limit {
            Some(limit) if !self.counts => write!(f, " (too weak, counts from {limit})")?,
            Some(limit) => write!(f, " (counts from {limit})")?,
            None => {}
        }
        writeln!(f)?;
        for evidence in &self.evidence {
            writeln!(f, "      {evidence}")?;
        }
        Ok(())
    }
}

impl fmt::Display for TracePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.rule),
            line => write!(f, "{} ({}:{line})", self.rule, self.file),
        }
    }
}

impl fmt::Display for TraceDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  = {}", self.verdict.as_str())?;
        if let Some(route) = self.route {
            write!(f, ", {}", route.as_str())?;
        }
        write!(f, " by {}", self.rule)?;
        if let Some(category) = &self.category {
            write!(f, ", category {category}")?;
        }
        if let Some(theme) = &self.theme {
            write!(f, ", theme {theme}")?;
        }
        if let Some(spared) = self.spared {
            write!(f, ", spared the group: {}", spared.as_str())?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use wardgate_core::{Finding, Inspector, Report, RequestHead, Stage, Target, Who};

    use super::*;
    use crate::fixture::{compile, entry, words};

    /// Finds casinos in addresses and in texts that name them; panics at a path that says so.
    struct Probe;

    impl Stage for Probe {
        fn name(&self) -> &'static str {
            "probe"
        }
        fn request(&self, head: &RequestHead<'_>, report: &mut Report) {
            assert_ne!(head.target.path(), "/panic", "a probe's panic");
            if head.target.host().is_within("casino.example") {
                report.findings.push(entry("casino", "casinos"));
            }
        }
        fn inspector(&self, kind: TextKind) -> Option<Box<dyn Inspector>> {
            Some(Box::new(Count(kind, 0.0)))
        }
    }

    /// Forty points for each piece of text.
    struct Count(TextKind, f32);

    impl Inspector for Count {
        fn text(&mut self, piece: &str) -> bool {
            self.1 = piece.matches("casino").count() as f32 * 40.0;
            true
        }
        fn end(&mut self) -> bool {
            false
        }
        fn findings(&self, into: &mut Vec<Finding>) {
            if self.1 > 0.0 {
                into.push(words("casino", self.0, self.1));
            }
        }
    }

    fn trace(group: &str, url: &str, text: Option<&str>) -> Trace {
        let policy = compile(&[]).map_err(|problems| problems[0].to_string()).unwrap().policy;
        let who = Who::unknown([127, 0, 0, 1].into());
        let inquiry = Inquiry {
            who: &who,
            membership: &policy.group_named(group).unwrap(),
            at: SystemTime::UNIX_EPOCH,
            method: "GET",
            target: &Target::parse(url).unwrap(),
            text: text.map(|text| (TextKind::Page, text)),
        };
        let mut trace = explain(&policy, &Pipeline::new(vec![Arc::new(Probe)]), &inquiry);
        trace.policy_hash = "hash".into();
        trace
    }

    #[test]
    fn tells_people_what_happened() {
        let told = trace("learners", "https://a.example/", Some("casino, casino, casino")).to_string();
        assert_eq!(
            told,
            "\
https://a.example/
  asked by nobody in particular, groups: learners
  policy hash

connect
  = allow, intercept by <intercept> (groups.toml:11)

request
  - <help>: not called for
  - <on-error> (groups.toml:11): not called for
  - <must-work>: not called for
  - no-irc (rules.toml:1): for other ports
  - read-only (rules.toml:7): for other methods
  - own-list (rules.toml:14): for other groups
  - no-harm (rules.toml:20): nothing found that it is about
  - adult-games (rules.toml:25): for other groups
  - no-games (rules.toml:31): nothing found that it is about
  = allow by <default>

text
  found by phrases in the page: casino, 120 points (counts from 100)
      `word` at byte 7: 120 points, in \"a word here\"
  - <help>: not called for
  - <on-error> (groups.toml:11): not called for
  - <must-work>: not called for
  - no-irc (rules.toml:1): for other ports
  - read-only (rules.toml:7): for other methods
  - own-list (rules.toml:14): for other groups
  = block by no-harm (rules.toml:20), category casino, theme gambling

in the end: block
  concern: gambling, because of casino: daily
"
        );
    }

    #[test]
    fn goes_as_far_as_the_proxy_would() {
        for (name, group, url, text, expected) in [
            ("to the text", "learners", "https://a.example/", Some("x"), "connect request text: allow"),
            ("no CONNECT for plain HTTP", "learners", "http://a.example/", Some("x"), "request text: allow"),
            ("a refused CONNECT", "guests", "https://casino.example/", Some("x"), "connect: warn"),
            ("a tunnel", "guests", "https://a.example/", Some("casino casino casino"), "connect: allow"),
            ("a blocked request", "learners", "https://casino.example/", Some("x"), "connect request: block"),
            (
                "a watched group",
                "watched",
                "https://casino.example/",
                Some("x"),
                "connect request text: allow",
            ),
            (
                "a stage that fails",
                "learners",
                "https://a.example/panic",
                Some("x"),
                "connect request: block",
            ),
            ("a weak text", "learners", "http://a.example/", Some("casino"), "request text: allow"),
        ] {
            let trace = trace(group, url, text);
            let phases: Vec<&str> = trace.steps.iter().map(|step| step.phase).collect();
            assert_eq!(format!("{}: {}", phases.join(" "), trace.verdict.as_str()), expected, "{name}");
        }
    }

    #[test]
    fn tells_scripts_the_same() {
        let trace = trace("learners", "http://casino.example/", None);
        let json = serde_json::to_value(&trace).unwrap();
        assert_eq!(json["verdict"], "block");
        assert_eq!(json["groups"][0], "learners");
        assert_eq!(json["steps"][0]["decision"]["rule"], "no-harm");
        assert_eq!(json["steps"][0]["decision"]["line"], 20);
        assert_eq!(json["steps"][0]["findings"][0]["counts"], true);
        assert_eq!(json["steps"][0]["passed_over"][3]["why"], "for other ports");
        assert_eq!(json["concerns"][0]["level"], "daily");
    }
}
