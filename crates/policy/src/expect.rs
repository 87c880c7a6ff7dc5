//! Expectations: what must hold under a policy, checked on the way that a request takes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::SystemTime;

use wardgate_core::{
    AlertLevel, CategoryName, Concern, Decision, Diagnostic, GroupName, Membership, Position, Ruleset,
    Target, TextKind, Verdict, Who,
};

use crate::explain::TracePlace;
use crate::walk::{Inquiry, concerns, walk};

/// One `[[expect]]` of a policy, resolved against it.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub(crate) file: PathBuf,
    pub(crate) position: Position,
    pub(crate) group: GroupName,
    pub(crate) membership: Membership,
    pub(crate) target: Target,
    pub(crate) method: Box<str>,
    pub(crate) text: Option<(TextKind, Box<str>)>,
    pub(crate) verdict: Verdict,
    pub(crate) category: Option<CategoryName>,
    pub(crate) alert: Option<AlertLevel>,
    pub(crate) why: std::sync::Arc<str>,
}

/// Checks expectations against the ruleset compiled from the same policy, and reports each that does not hold.
pub fn check_expectations(expectations: &[Expectation], ruleset: &Ruleset) -> Vec<Diagnostic> {
    expectations.iter().filter_map(|expectation| expectation.check(ruleset)).collect()
}

impl Expectation {
    fn check(&self, ruleset: &Ruleset) -> Option<Diagnostic> {
        let steps = walk(
            ruleset.policy.as_ref(),
            &ruleset.pipeline,
            &Inquiry {
                who: &Who::unknown(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                membership: &self.membership,
                at: SystemTime::now(),
                method: &self.method,
                target: &self.target,
                text: self.text.as_ref().map(|(kind, text)| (*kind, &**text)),
            },
        );
        let decision = &steps.last()?.decision;
        let difference = self.difference(decision, &concerns(&steps))?;
        let message = format!("{} should have {difference}: {}", self.group, self.target);
        let rule = TracePlace::of(&decision.rule);
        let help = format!("expected because: {}; decided by the rule {rule}", self.why);
        Some(Diagnostic::error(&self.file, Some(self.position), message).help(help))
    }

    /// What is different from what was expected, if anything.
    fn difference(&self, decision: &Decision, concerns: &[Concern]) -> Option<String> {
        if decision.verdict != self.verdict {
            return Some(format!("`{}`, has `{}`", self.verdict.as_str(), decision.verdict.as_str()));
        }
        if let Some(expected) =
            self.category.as_ref().filter(|name| Some(*name) != decision.category.as_ref())
        {
            let found = decision.category.as_ref().map_or("none", CategoryName::as_str);
            return Some(format!("the category `{expected}`, has `{found}`"));
        }
        let level = concerns.iter().map(|concern| concern.level).max().unwrap_or(AlertLevel::None);
        let expected = self.alert.filter(|expected| *expected != level)?;
        Some(format!("the alert level `{}`, has `{}`", expected.as_str(), level.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use wardgate_core::Pipeline;

    use super::*;
    use crate::fixture::compile;

    #[test]
    fn says_what_does_not_hold_and_why_it_should() {
        let expect = |group: &str, url: &str, rest: &str| {
            format!("[[expect]]\ngroup = \"{group}\"\nurl = \"{url}\"\n{rest}\nwhy = \"of reasons\"\n")
        };
        let held = expect("learners", "https://a.example/", "verdict = \"allow\"\nalert = \"none\"");
        let verdict = expect("learners", "https://a.example/", "verdict = \"block\"");
        let port = "http://a.example:6667/";
        let category = expect("guests", port, "verdict = \"block\"\ncategory = \"games\"");
        let alert = expect("staff", port, "verdict = \"block\"\nalert = \"weekly\"");
        let loaded = compile(&[("tests/a.toml", &(held + &verdict + &category + &alert))]);
        let loaded = loaded.map_err(|problems| problems[0].to_string()).unwrap();
        let ruleset = Ruleset { policy: loaded.policy, pipeline: Pipeline::default() };
        let broken = check_expectations(&loaded.expectations, &ruleset);
        let said: Vec<String> = broken.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "\
tests/a.toml:7:1: error: learners should have `block`, has `allow`: https://a.example/
  help: expected because: of reasons; decided by the rule <default>",
                "\
tests/a.toml:12:1: error: guests should have the category `games`, has `none`: http://a.example:6667/
  help: expected because: of reasons; decided by the rule no-irc (rules.toml:1)",
                "\
tests/a.toml:18:1: error: staff should have the alert level `weekly`, has `none`: http://a.example:6667/
  help: expected because: of reasons; decided by the rule no-irc (rules.toml:1)",
            ]
        );
    }
}
