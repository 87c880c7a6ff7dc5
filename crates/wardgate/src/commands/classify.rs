//! `wardgate classify`: the stages' findings on texts, line by line, as the strictest group would be held to them.

use std::io::{self, BufRead, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wardgate_core::{
    CategoryName, Decide as _, Evidence, Finding, Phase, PhraseHit, Purpose, Question, Target, TextKind,
    Verdict, Who,
};

use crate::config::Config;
use crate::exit::Failure;
use crate::rules::{self, Compiled};

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 * 1024 * 1024;

#[derive(Deserialize)]
struct Asked {
    id: serde_json::Value,
    text: String,
    #[serde(default = "post")]
    kind: TextKind,
}

fn post() -> TextKind {
    TextKind::Post
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a serde_json::Value,
    findings: Vec<Found<'a>>,
    flag: bool,
}

#[derive(Serialize)]
struct Found<'a> {
    category: &'a CategoryName,
    score: f32,
    phrases: Vec<Phrase<'a>>,
}

#[derive(Serialize)]
struct Phrase<'a> {
    phrase: &'a str,
    offset: u64,
    weight: f32,
    count: u32,
}

/// Reads JSON lines from stdin and writes one answer a line to stdout. A line that is no question ends it.
pub(crate) fn classify(config: &Config) -> Result<(), Failure> {
    let compiled = rules::compile(&config.policy.dir).map_err(Failure::Policy)?;
    let mut input = io::stdin().lock();
    let mut output = BufWriter::new(io::stdout().lock());
    let (mut line, mut number) = (String::new(), 0u64);
    loop {
        line.clear();
        number += 1;
        if io::Read::take(&mut input, MAX_LINE).read_line(&mut line).map_err(Failure::system)? == 0 {
            return output.flush().map_err(Failure::system);
        }
        if line.trim().is_empty() {
            continue;
        }
        let asked: Asked = serde_json::from_str(&line).map_err(|error| {
            Failure::Usage(format!("line {number}: {error}; a line is {{\"id\", \"text\"[, \"kind\"]}}"))
        })?;
        answer(&compiled, &asked, &mut output)?;
    }
}

fn answer(compiled: &Compiled, asked: &Asked, output: &mut impl Write) -> Result<(), Failure> {
    let findings = compiled.ruleset.pipeline.text(asked.kind, &asked.text).map_err(Failure::system)?;
    let answer = Answer {
        id: &asked.id,
        flag: is_flagged(compiled, asked.kind, &findings)?,
        findings: findings.iter().map(found).collect(),
    };
    serde_json::to_writer(&mut *output, &answer).map_err(Failure::system)?;
    output.write_all(b"\n").map_err(Failure::system)
}

fn found(finding: &Finding) -> Found<'_> {
    let phrases = match &finding.evidence {
        Evidence::Entry { .. } => Vec::new(),
        Evidence::Phrases(hits) => hits.iter().map(phrase).collect(),
    };
    Found { category: &finding.category, score: finding.score, phrases }
}

fn phrase(hit: &PhraseHit) -> Phrase<'_> {
    Phrase { phrase: &hit.phrase, offset: hit.offset, weight: hit.weight, count: hit.count }
}

/// Whether the policy would act on this text for a client that nobody knows: block, warn, or tell somebody.
fn is_flagged(compiled: &Compiled, kind: TextKind, findings: &[Finding]) -> Result<bool, Failure> {
    let who = Who::unknown(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let target = Target::parse("https://text.invalid/").map_err(Failure::system)?;
    let decision = compiled.policy.decide(&Question {
        phase: Phase::Text(kind),
        who: &who,
        membership: &compiled.policy.membership(&who),
        at: SystemTime::now(),
        method: "GET",
        target: &target,
        purpose: Purpose::Navigation,
        findings,
        fault: None,
    });
    Ok(decision.verdict != Verdict::Allow || decision.spared.is_some() || !decision.concerns.is_empty())
}
