//! Pins the shape of the access log's lines to `golden/access.jsonl`, and its documentation to the shape.
//!
//! After a change that is meant: `UPDATE_GOLDEN=1 cargo test -p wardgate-journal --test golden`, and read the diff.

#![expect(clippy::unwrap_used, reason = "a test: a panic is a failure with its line")]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use wardgate_core::{
    AlertLevel, CERTAIN, Concern, Event, Evidence, Excusable, Fault, Finding, Fronting, IdentitySource,
    Outcome, PhraseHit, Purpose, Route, RuleRef, Target, TextKind, TlsProblem, UserName, Verdict,
    WrittenText,
};
use wardgate_journal::Record;

const POLICY_HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn event(client: &str, url: &str) -> Event {
    let client: IpAddr = client.parse().unwrap();
    Event {
        at: UNIX_EPOCH + Duration::from_millis(1_795_253_400_125),
        duration: Duration::from_nanos(48_250_611),
        method: Cow::Borrowed("GET"),
        target: Some(Target::parse(url).unwrap()),
        ..Event::new(client, POLICY_HASH.into())
    }
}

fn rule(name: &str, file: &str, line: u32) -> Option<RuleRef> {
    Some(RuleRef { name: name.into(), file: file.into(), line })
}

fn allowed() -> Event {
    Event {
        user: Some(UserName::new("jo.bloggs")),
        identity_source: IdentitySource::Basic,
        group: Some("learners".into()),
        protocol: "HTTP/2",
        rule: rule("<default>", "", 0),
        purpose: Purpose::Subresource,
        status: Some(200),
        mime: Some("image/png".into()),
        response_bytes: 20_480,
        outcome: Outcome::Completed,
        ..event("10.1.2.3", "https://www.bbc.co.uk/news/logo.png?size=2")
    }
}

fn blocked_by_list() -> Event {
    Event {
        group: Some("visitors".into()),
        verdict: Verdict::Block,
        rule: rule("no-gambling", "rules/learners.toml", 41),
        category: Some("gambling".into()),
        theme: Some("addiction".into()),
        findings: vec![Finding {
            stage: "lists",
            category: "gambling".into(),
            kind: TextKind::Address,
            score: CERTAIN,
            evidence: Evidence::Entry { list: "gambling-uk".into(), entry: "bets.example".into() },
        }],
        status: Some(403),
        mime: Some("text/html".into()),
        response_bytes: 5_120,
        outcome: Outcome::Completed,
        ..event("2001:db8::17", "https://www.bets.example/")
    }
}

fn concern_by_phrases() -> Event {
    Event {
        user: Some(UserName::new("Zoë \"Z\" O'Neil")),
        identity_source: IdentitySource::IpMap,
        group: Some("learners".into()),
        verdict: Verdict::Allow,
        spared: Some(Verdict::Block),
        rule: rule("monitor", "rules/learners.toml", 7),
        category: Some("self-harm".into()),
        theme: Some("self-harm".into()),
        concerns: vec![Concern {
            theme: "self-harm".into(),
            category: "self-harm".into(),
            level: AlertLevel::Immediate,
        }],
        findings: vec![Finding {
            stage: "phrases",
            category: "self-harm".into(),
            kind: TextKind::Search,
            score: 62.5,
            evidence: Evidence::Phrases(vec![PhraseHit {
                phrase: "hurt myself".into(),
                offset: 7,
                weight: 62.5,
                count: 1,
                snippet: "how to hurt myself\nand more".into(),
            }]),
        }],
        written: vec![WrittenText {
            kind: TextKind::Search,
            service: "google",
            text: "how to hurt myself\nand more".into(),
        }],
        status: Some(200),
        mime: Some("text/html".into()),
        response_bytes: 91_004,
        outcome: Outcome::Completed,
        ..event("10.1.2.4", "https://www.google.com/search?q=how+to+hurt+myself")
    }
}

fn tunnel() -> Event {
    Event {
        method: Cow::Borrowed("CONNECT"),
        user: Some(UserName::new("sam")),
        identity_source: IdentitySource::Negotiate,
        group: Some("staff".into()),
        route: Some(Route::Tunnel),
        rule: rule("banking", "never-intercept.toml", 3),
        status: Some(200),
        request_bytes: 2_048,
        response_bytes: 65_536,
        outcome: Outcome::ClientClosed,
        ..event("10.1.2.5", "https://bank.example:8443/")
    }
}

fn cut_for_a_fault() -> Event {
    Event {
        identity_source: IdentitySource::Portal,
        user: Some(UserName::new("ali")),
        group: Some("learners".into()),
        verdict: Verdict::Block,
        continued: true,
        rule: rule("<on-error>", "", 0),
        fault: Some(Fault::Bomb),
        status: Some(200),
        outcome: Outcome::Cut,
        detail: Some(Cow::Borrowed("the body decodes to more than its limit")),
        ..event("10.1.2.6", "http://files.example/a.gz")
    }
}

fn malformed() -> Event {
    Event {
        method: Cow::Borrowed("-"),
        target: None,
        verdict: Verdict::Block,
        status: Some(400),
        outcome: Outcome::Malformed,
        detail: Some(Cow::Borrowed("both Content-Length and Transfer-Encoding")),
        ..event("10.1.2.7", "http://unused.example/")
    }
}

fn too_long() -> Event {
    let post = |text: String| WrittenText { kind: TextKind::Post, service: "forum", text: text.into() };
    Event {
        method: Cow::Borrowed("POST"),
        written: vec![post("ä".repeat(1_025))],
        status: Some(504),
        outcome: Outcome::TimedOut,
        ..event("10.1.2.8", "https://forum.example/reply")
    }
}

fn certificate_overlooked() -> Event {
    Event {
        group: Some("staff".into()),
        rule: rule("<default>", "", 0),
        tls_problems: vec![TlsProblem::Expired, TlsProblem::SelfSigned],
        tls_exception: rule("<certificate-exception>", "certificates.toml", 12),
        status: Some(200),
        outcome: Outcome::Completed,
        ..event("10.1.2.9", "https://old-printer.school.example/")
    }
}

fn fronted() -> Event {
    Event {
        route: Some(Route::Intercept),
        fronting: Some(Fronting {
            connect: "front.example".into(),
            sni: Some("hidden.example".into()),
            host: Some("front.example".into()),
        }),
        status: Some(200),
        outcome: Outcome::ClientClosed,
        tls_refused: Some(Cow::Borrowed("unknown_ca")),
        ..event("10.1.2.9", "https://front.example/")
    }
}

fn events() -> [Event; 9] {
    [
        allowed(),
        blocked_by_list(),
        concern_by_phrases(),
        tunnel(),
        cut_for_a_fault(),
        malformed(),
        too_long(),
        certificate_overlooked(),
        fronted(),
    ]
}

fn encode(event: &Event, number: usize) -> String {
    let mut line = Vec::new();
    let id = format!("019a9d2f-0000-7000-8000-00000000000{number}").into();
    Record { id, ..Record::from(event) }.encode(&mut line);
    String::from_utf8(line).unwrap()
}

#[test]
fn lines_have_their_golden_shape() {
    let golden = file("tests/golden/access.jsonl");
    let lines: String = events().iter().enumerate().map(|(number, event)| encode(event, number)).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &lines).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    assert_eq!(lines.lines().count(), expected.lines().count());
    for (line, expected) in lines.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
}

#[test]
fn lines_are_read_back_as_they_were_written() {
    for (number, event) in events().iter().enumerate() {
        let line = encode(event, number);
        let mut again = Vec::new();
        Record::parse(line.as_bytes()).unwrap().encode(&mut again);
        assert_eq!(String::from_utf8(again).unwrap(), line);
    }
}

#[test]
fn every_key_is_documented() {
    let documentation = fs::read_to_string(file("../../docs/access-log.md")).unwrap();
    let mut keys = BTreeSet::new();
    for (number, event) in events().iter().enumerate() {
        collect_keys(&serde_json::from_str(&encode(event, number)).unwrap(), &mut keys);
    }
    for key in keys {
        assert!(documentation.contains(&format!("`{key}`")), "docs/access-log.md says nothing of `{key}`");
    }
}

#[test]
fn every_problem_with_tls_is_documented() {
    let documentation = fs::read_to_string(file("../../docs/access-log.md")).unwrap();
    for problem in TlsProblem::ALL {
        let exception = match problem.excusable() {
            Excusable::Yes => "yes",
            Excusable::Pinned => "pinned",
            Excusable::Never => "never",
        };
        let rows = documentation.lines().filter(|line| line.starts_with(&format!("| `{problem}` |")));
        let rows: Vec<&str> = rows.collect();
        assert!(
            matches!(&rows[..], [row] if row.ends_with(&format!("| {exception} |"))),
            "{problem}: {rows:?}"
        );
    }
}

fn collect_keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                collect_keys(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_keys(item, into)),
        _ => {}
    }
}
