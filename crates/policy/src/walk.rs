//! Takes one request past the stages and the policy, station by station, as the proxy would: CONNECT, the request,
//! the text. Expectations and `wardgate explain` both go this way.

use std::time::SystemTime;

use wardgate_core::{
    Concern, Decide, Decision, Fault, Finding, Membership, Phase, Pipeline, Purpose, Question, RequestHead,
    Route, Scheme, StageFailure, Target, TextKind, Verdict, Who,
};

/// A request to be followed.
#[derive(Clone, Copy)]
pub struct Inquiry<'a> {
    /// Who asks.
    pub who: &'a Who,
    /// Their groups under the policy that is asked.
    pub membership: &'a Membership,
    /// When.
    pub at: SystemTime,
    /// The method.
    pub method: &'a str,
    /// What for; a page that the person opened.
    pub target: &'a Target,
    /// Text of the page (or of what was written in the request), if there is any to look at.
    pub text: Option<(TextKind, &'a str)>,
}

/// One station, what was known there, and what was decided.
pub(crate) struct Step {
    pub(crate) phase: Phase,
    pub(crate) method: Box<str>,
    pub(crate) target: Target,
    pub(crate) findings: Vec<Finding>,
    pub(crate) fault: Option<Fault>,
    pub(crate) decision: Decision,
}

impl Step {
    /// The question that was asked here.
    pub(crate) fn question<'a>(&'a self, inquiry: &Inquiry<'a>) -> Question<'a> {
        Question {
            phase: self.phase,
            who: inquiry.who,
            membership: inquiry.membership,
            at: inquiry.at,
            method: &self.method,
            target: &self.target,
            purpose: Purpose::Navigation,
            findings: &self.findings,
            fault: self.fault,
        }
    }
}

/// Follows a request until it is turned away, or there is nothing left to look at. There is at least one step.
pub(crate) fn walk(policy: &dyn Decide, pipeline: &Pipeline, inquiry: &Inquiry<'_>) -> Vec<Step> {
    let walk = Walk { policy, pipeline, inquiry };
    let mut steps = Vec::with_capacity(3);
    if let Some(connect) = tunnel_target(inquiry.target) {
        let step = walk.head(Phase::Connect, "CONNECT", connect);
        let opened = step.decision.route == Some(Route::Intercept);
        steps.push(step);
        if !opened {
            return steps;
        }
    }
    let request = walk.head(Phase::Request, inquiry.method, inquiry.target.clone());
    let text = inquiry.text.filter(|_| request.decision.verdict == Verdict::Allow && request.fault.is_none());
    let text = text.filter(|_| policy.settings(inquiry.membership).scan);
    let text = text.map(|(kind, text)| walk.text(kind, text, &request));
    steps.push(request);
    steps.extend(text);
    steps
}

/// The gravest concern of each theme over all steps: what was raised once stays.
pub(crate) fn concerns(steps: &[Step]) -> Vec<Concern> {
    let mut concerns: Vec<Concern> = Vec::new();
    for concern in steps.iter().flat_map(|step| &step.decision.concerns) {
        match concerns.iter_mut().find(|known| known.theme == concern.theme) {
            Some(known) if known.level < concern.level => *known = concern.clone(),
            Some(_) => {}
            None => concerns.push(concern.clone()),
        }
    }
    concerns.sort_by_key(|concern| std::cmp::Reverse(concern.level));
    concerns
}

/// What the CONNECT for a target asks for; nothing where there is none.
fn tunnel_target(target: &Target) -> Option<Target> {
    let https = target.scheme() == Scheme::Https;
    https.then(|| Target::connect(&format!("{}:{}", target.host(), target.port())).ok()).flatten()
}

struct Walk<'w> {
    policy: &'w dyn Decide,
    pipeline: &'w Pipeline,
    inquiry: &'w Inquiry<'w>,
}

impl Walk<'_> {
    fn head(&self, phase: Phase, method: &str, target: Target) -> Step {
        let head = RequestHead { method, target: &target, content_type: None };
        let found = self.pipeline.request(&head).map(|report| report.findings);
        self.ask(phase, method, target, Vec::new(), found)
    }

    fn text(&self, kind: TextKind, text: &str, request: &Step) -> Step {
        let found = self.pipeline.text(kind, text);
        let (target, method) = (request.target.clone(), &request.method);
        self.ask(Phase::Text(kind), method, target, request.findings.clone(), found)
    }

    fn ask(
        &self,
        phase: Phase,
        method: &str,
        target: Target,
        mut findings: Vec<Finding>,
        found: Result<Vec<Finding>, StageFailure>,
    ) -> Step {
        let fault = match found {
            Ok(mut found) => {
                findings.append(&mut found);
                None
            }
            Err(failure) => Some(Fault::Stage(failure.stage)),
        };
        let decision = self.policy.decide(&Question {
            phase,
            who: self.inquiry.who,
            membership: self.inquiry.membership,
            at: self.inquiry.at,
            method,
            target: &target,
            purpose: Purpose::Navigation,
            findings: &findings,
            fault,
        });
        Step { phase, method: method.into(), target, findings, fault, decision }
    }
}
