//! What a line of the access log says. The shape is pinned by `tests/golden` and documented, key by key, in
//! `docs/access-log.md`; names are those of the Elastic Common Schema where it has one, and `wardgate.*` otherwise.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wardgate_core::{
    AlertLevel, Concern, Event, Evidence, Finding, Fronting, IdentitySource, Outcome, PhraseHit, Purpose,
    Route, RuleRef, TextKind, Verdict, WrittenText,
};

use crate::json;

/// Longest URL recorded, in bytes.
pub const MAX_URL_BYTES: usize = 8 * 1024;
/// Longest method or media type recorded, in bytes.
pub const MAX_TOKEN_BYTES: usize = 128;
/// Longest text of a person recorded, in bytes.
pub const MAX_WRITTEN_BYTES: usize = 2 * 1024;
/// Most texts of a person recorded in one line.
pub const MAX_WRITTEN: usize = 16;
/// Most findings recorded in one line.
pub const MAX_FINDINGS: usize = 32;
/// Most phrases recorded with one finding.
pub const MAX_PHRASES: usize = 32;

/// One line of the access log. `user`, `group`, `url` and the like are `null` where unknown, so that every line
/// answers "who, and how do we know"; lists and remarks that are empty are left out.
///
/// Written from an event without copying it ([`Record::from`]), read back with everything owned ([`Record::parse`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// When the exchange began, to the millisecond.
    #[serde(rename = "@timestamp", with = "timestamp")]
    pub at: SystemTime,
    /// The decision id.
    #[serde(rename = "event.id")]
    pub id: Cow<'a, str>,
    /// From the request's head to the last byte of the answer, in nanoseconds.
    #[serde(rename = "event.duration")]
    pub duration: u64,
    /// How it ended in the three words of ECS.
    #[serde(rename = "event.outcome")]
    pub success: Success,
    /// The client's address.
    #[serde(rename = "source.ip")]
    pub client: IpAddr,
    /// The account, where known.
    #[serde(rename = "user.name")]
    pub user: Option<Cow<'a, str>>,
    /// How the user is known.
    #[serde(rename = "wardgate.identity_source")]
    pub identity_source: IdentitySource,
    /// The group whose settings applied.
    #[serde(rename = "wardgate.group")]
    pub group: Option<Cow<'a, str>>,
    /// The method; `-` where not even that could be read.
    #[serde(rename = "http.request.method")]
    pub method: Cow<'a, str>,
    /// The canonical URL, at most [`MAX_URL_BYTES`].
    #[serde(rename = "url.full")]
    pub url: Option<Cow<'a, str>>,
    /// The host of the URL.
    #[serde(rename = "url.domain")]
    pub host: Option<Cow<'a, str>>,
    /// The version of HTTP that the client spoke, for example `1.1`.
    #[serde(rename = "http.version")]
    pub version: Cow<'a, str>,
    /// Bytes of the request's body (of a tunnel: from the client).
    #[serde(rename = "http.request.body.bytes")]
    pub request_bytes: u64,
    /// The status sent to the client.
    #[serde(rename = "http.response.status_code")]
    pub status: Option<u16>,
    /// Bytes of the answer's body (of a tunnel: to the client).
    #[serde(rename = "http.response.body.bytes")]
    pub response_bytes: u64,
    /// Media type of the answer, without parameters.
    #[serde(rename = "http.response.mime_type", default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<Cow<'a, str>>,
    /// Page or part of a page.
    #[serde(rename = "wardgate.purpose")]
    pub purpose: Purpose,
    /// Allow, warn or block.
    #[serde(rename = "wardgate.decision")]
    pub decision: Verdict,
    /// The rule that decided.
    #[serde(rename = "rule.name")]
    pub rule: Option<Cow<'a, str>>,
    /// Where the rule stands, `file:line`; nothing for a built-in rule.
    #[serde(rename = "rule.ruleset")]
    pub ruleset: Option<Cow<'a, str>>,
    /// What became of a CONNECT.
    #[serde(rename = "wardgate.route", default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The names of a tunnel's destination, where they do not agree.
    #[serde(rename = "wardgate.fronting", default, skip_serializing_if = "Option::is_none")]
    pub fronting: Option<RecordedFronting<'a>>,
    /// How the client turned down the certificate: a TLS alert, or `closed`.
    #[serde(rename = "wardgate.tls_refused", default, skip_serializing_if = "Option::is_none")]
    pub tls_refused: Option<Cow<'a, str>>,
    /// The verdict that a monitor-only group was spared.
    #[serde(rename = "wardgate.spared", default, skip_serializing_if = "Option::is_none")]
    pub spared: Option<Verdict>,
    /// Whether the person had chosen to continue past a warning.
    #[serde(rename = "wardgate.continued", default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// The category that the rule matched.
    #[serde(rename = "wardgate.category", default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Cow<'a, str>>,
    /// Its theme.
    #[serde(rename = "wardgate.theme", default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<Cow<'a, str>>,
    /// Whom to tell of what.
    #[serde(rename = "wardgate.concerns", default, skip_serializing_if = "Vec::is_empty")]
    pub concerns: Vec<RecordedConcern<'a>>,
    /// What the stages found, at most [`MAX_FINDINGS`].
    #[serde(rename = "wardgate.findings", default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<RecordedFinding<'a>>,
    /// What the person wrote, at most [`MAX_WRITTEN`] texts.
    #[serde(rename = "wardgate.written", default, skip_serializing_if = "Vec::is_empty")]
    pub written: Vec<RecordedText<'a>>,
    /// What was wrong with the origin's TLS: why it was refused, or what was overlooked.
    #[serde(rename = "wardgate.tls.problems", default, skip_serializing_if = "Vec::is_empty")]
    pub tls_problems: Vec<Cow<'a, str>>,
    /// Where the exception stands under which it was overlooked, `file:line`.
    #[serde(rename = "wardgate.tls.exception", default, skip_serializing_if = "Option::is_none")]
    pub tls_exception: Option<Cow<'a, str>>,
    /// What went wrong in looking.
    #[serde(rename = "wardgate.fault", default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Cow<'a, str>>,
    /// How it ended, in Wardgate's words ([`Outcome::as_str`]).
    #[serde(rename = "wardgate.outcome")]
    pub outcome: Cow<'a, str>,
    /// More about how it ended, for a technician.
    #[serde(rename = "wardgate.detail", default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// Keys of this line whose value was cut short to its limit.
    #[serde(rename = "wardgate.cut", default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Cow<'a, str>>,
    /// The policy that decided.
    #[serde(rename = "wardgate.policy_hash")]
    pub policy_hash: Cow<'a, str>,
}

/// `event.outcome` of ECS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Success {
    /// The client has its answer, a block page included.
    Success,
    /// It has not.
    Failure,
    /// The client went away before it was clear.
    Unknown,
}

impl From<Outcome> for Success {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Success,
            Outcome::ClientClosed => Self::Unknown,
            _ => Self::Failure,
        }
    }
}

/// The names under which a tunnel's destination was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedFronting<'a> {
    /// The host of the CONNECT.
    pub connect: Cow<'a, str>,
    /// The server name in the ClientHello; `null` where there was none.
    pub sni: Option<Cow<'a, str>>,
    /// The host of the request inside; left out for the CONNECT itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Cow<'a, str>>,
}

/// A reason to tell somebody about this person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedConcern<'a> {
    /// What the person may be at risk of.
    pub theme: Cow<'a, str>,
    /// The category that brought it up.
    pub category: Cow<'a, str>,
    /// How soon somebody must know.
    pub level: AlertLevel,
}

/// What a stage found. A list entry has `list` and `entry`, a text has `phrases`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedFinding<'a> {
    /// The stage.
    pub stage: Cow<'a, str>,
    /// What it is about.
    pub category: Cow<'a, str>,
    /// Where it was found.
    pub kind: TextKind,
    /// How sure, in points.
    pub score: f32,
    /// The list's name in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Cow<'a, str>>,
    /// The entry as it matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Cow<'a, str>>,
    /// The phrases, at most [`MAX_PHRASES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<RecordedPhrase<'a>>,
}

/// A phrase that occurred in a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedPhrase<'a> {
    /// The phrase as the policy file writes it.
    pub phrase: Cow<'a, str>,
    /// Byte offset of the first occurrence in the readable text.
    pub offset: u64,
    /// Points that it contributes.
    pub weight: f32,
    /// How often it occurred.
    pub count: u32,
    /// The words around the first occurrence.
    pub snippet: Cow<'a, str>,
}

/// Words that the person wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedText<'a> {
    /// Search, prompt or post.
    pub kind: TextKind,
    /// The service, for example `google`.
    pub service: Cow<'a, str>,
    /// The words, at most [`MAX_WRITTEN_BYTES`].
    pub text: Cow<'a, str>,
}

impl Record<'static> {
    /// Reads one line back. A line torn by a crash is an error.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

impl Record<'_> {
    /// Appends the line, with its newline.
    pub fn encode(&self, into: &mut Vec<u8>) {
        json::append(self, into)
            .expect("texts, numbers and lists of them always encode, and memory takes every byte");
        into.push(b'\n');
    }
}

impl<'a> From<&'a Event> for Record<'a> {
    fn from(event: &'a Event) -> Self {
        let mut cuts = Cuts::default();
        Self {
            at: to_millisecond(event.at),
            id: Cow::Owned(event.id.to_string()),
            duration: u64::try_from(event.duration.as_nanos()).unwrap_or(u64::MAX),
            success: event.outcome.into(),
            client: event.client,
            user: event.user.as_ref().map(|user| user.as_str().into()),
            identity_source: event.identity_source,
            group: event.group.as_ref().map(|group| group.as_str().into()),
            method: cuts.text("http.request.method", &event.method, MAX_TOKEN_BYTES).into(),
            url: event.target.as_ref().map(|t| cuts.text("url.full", t.as_str(), MAX_URL_BYTES).into()),
            host: event.target.as_ref().map(|target| match target.host().as_name() {
                Some(name) => Cow::Borrowed(name),
                None => Cow::Owned(target.host().to_string()),
            }),
            version: event.protocol.strip_prefix("HTTP/").unwrap_or(event.protocol).into(),
            request_bytes: event.request_bytes,
            status: event.status,
            response_bytes: event.response_bytes,
            mime: event
                .mime
                .as_deref()
                .map(|mime| cuts.text("http.response.mime_type", mime, MAX_TOKEN_BYTES).into()),
            purpose: event.purpose,
            decision: event.verdict,
            rule: event.rule.as_ref().map(|rule| Cow::Borrowed(&*rule.name)),
            ruleset: event.rule.as_ref().and_then(place),
            route: event.route,
            fronting: event.fronting.as_ref().map(RecordedFronting::from),
            tls_refused: event.tls_refused.as_deref().map(Cow::Borrowed),
            spared: event.spared,
            continued: event.continued,
            category: event.category.as_ref().map(|category| category.as_str().into()),
            theme: event.theme.as_ref().map(|theme| theme.as_str().into()),
            concerns: event.concerns.iter().map(RecordedConcern::from).collect(),
            findings: cuts
                .list("wardgate.findings", &event.findings, MAX_FINDINGS)
                .iter()
                .map(|finding| recorded_finding(finding, &mut cuts))
                .collect(),
            written: cuts
                .list("wardgate.written", &event.written, MAX_WRITTEN)
                .iter()
                .map(|written| recorded_text(written, &mut cuts))
                .collect(),
            tls_problems: event.tls_problems.iter().map(|problem| problem.as_str().into()).collect(),
            tls_exception: event.tls_exception.as_ref().and_then(place),
            fault: event.fault.map(|fault| fault.as_str().into()),
            outcome: event.outcome.as_str().into(),
            detail: event.detail.as_deref().map(Cow::Borrowed),
            cut: cuts.keys,
            policy_hash: Cow::Borrowed(&event.policy_hash),
        }
    }
}

impl<'a> From<&'a Fronting> for RecordedFronting<'a> {
    fn from(fronting: &'a Fronting) -> Self {
        Self {
            connect: Cow::Borrowed(&fronting.connect),
            sni: fronting.sni.as_deref().map(Cow::Borrowed),
            host: fronting.host.as_deref().map(Cow::Borrowed),
        }
    }
}

impl<'a> From<&'a Concern> for RecordedConcern<'a> {
    fn from(concern: &'a Concern) -> Self {
        Self {
            theme: concern.theme.as_str().into(),
            category: concern.category.as_str().into(),
            level: concern.level,
        }
    }
}

impl<'a> From<&'a PhraseHit> for RecordedPhrase<'a> {
    fn from(hit: &'a PhraseHit) -> Self {
        Self {
            phrase: Cow::Borrowed(&hit.phrase),
            offset: hit.offset,
            weight: hit.weight,
            count: hit.count,
            snippet: Cow::Borrowed(&hit.snippet),
        }
    }
}

fn recorded_finding<'a>(finding: &'a Finding, cuts: &mut Cuts) -> RecordedFinding<'a> {
    let (list, entry, hits): (_, _, &[PhraseHit]) = match &finding.evidence {
        Evidence::Entry { list, entry } => (Some(Cow::Borrowed(&**list)), Some(Cow::Borrowed(&**entry)), &[]),
        Evidence::Phrases(hits) => (None, None, cuts.list("wardgate.findings", hits, MAX_PHRASES)),
    };
    RecordedFinding {
        stage: finding.stage.into(),
        category: finding.category.as_str().into(),
        kind: finding.kind,
        score: finding.score,
        list,
        entry,
        phrases: hits.iter().map(RecordedPhrase::from).collect(),
    }
}

fn recorded_text<'a>(written: &'a WrittenText, cuts: &mut Cuts) -> RecordedText<'a> {
    RecordedText {
        kind: written.kind,
        service: written.service.into(),
        text: cuts.text("wardgate.written", &written.text, MAX_WRITTEN_BYTES).into(),
    }
}

/// `file:line` of a rule; a built-in rule stands nowhere.
fn place(rule: &RuleRef) -> Option<Cow<'_, str>> {
    (rule.line > 0).then(|| format!("{}:{}", rule.file, rule.line).into())
}

/// Keeps values within their limits and remembers whose were not.
#[derive(Default)]
struct Cuts {
    keys: Vec<Cow<'static, str>>,
}

impl Cuts {
    fn text<'a>(&mut self, key: &'static str, text: &'a str, limit: usize) -> &'a str {
        if text.len() <= limit {
            return text;
        }
        self.note(key);
        &text[..text.floor_char_boundary(limit)]
    }

    fn list<'a, T>(&mut self, key: &'static str, list: &'a [T], limit: usize) -> &'a [T] {
        if list.len() <= limit {
            return list;
        }
        self.note(key);
        &list[..limit]
    }

    fn note(&mut self, key: &'static str) {
        if !self.keys.iter().any(|known| known == key) {
            self.keys.push(key.into());
        }
    }
}

/// What a line can say of a point in time; one before 1970 is a clock that was never set.
fn to_millisecond(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(since.as_millis()).unwrap_or(0))
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T09:30:00.125Z`.
mod timestamp {
    use std::time::SystemTime;

    use jiff::Timestamp;
    use jiff::fmt::temporal::DateTimePrinter;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

    pub(super) fn serialize<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let at = Timestamp::try_from(*at).unwrap_or(Timestamp::UNIX_EPOCH);
        serializer.serialize_str(&PRINTER.timestamp_to_string(&at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse::<Timestamp>().map(SystemTime::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use wardgate_core::{CERTAIN, Target};

    use super::*;

    fn event() -> Event {
        Event::new(Ipv4Addr::LOCALHOST.into(), "hash".into())
    }

    fn phrases(count: usize) -> Finding {
        let hit = PhraseHit {
            phrase: "p".into(),
            offset: 0,
            weight: 1.0,
            count: 1,
            snippet: "a p in a text".into(),
        };
        Finding {
            stage: "phrases",
            category: "violence".into(),
            kind: TextKind::Page,
            score: CERTAIN,
            evidence: Evidence::Phrases(vec![hit; count]),
        }
    }

    fn written(text: String) -> WrittenText {
        WrittenText { kind: TextKind::Post, service: "forum", text: text.into() }
    }

    #[test]
    fn what_is_too_long_is_cut_and_marked() {
        let url =
            |length: usize| Target::parse(&format!("https://a.example/{}", "u".repeat(length - 18))).ok();
        for (name, event, expected) in [
            ("nothing", event(), &[][..]),
            ("a URL at its limit", Event { target: url(MAX_URL_BYTES), ..event() }, &[]),
            ("a URL", Event { target: url(MAX_URL_BYTES + 1), ..event() }, &["url.full"]),
            ("a method", Event { method: "M".repeat(129).into(), ..event() }, &["http.request.method"]),
            ("a type", Event { mime: Some("m".repeat(129).into()), ..event() }, &["http.response.mime_type"]),
            ("findings at their limit", Event { findings: vec![phrases(32); 32], ..event() }, &[]),
            ("findings", Event { findings: vec![phrases(1); 33], ..event() }, &["wardgate.findings"]),
            ("phrases", Event { findings: vec![phrases(33); 2], ..event() }, &["wardgate.findings"]),
            ("a text", Event { written: vec![written("ä".repeat(1_025))], ..event() }, &["wardgate.written"]),
            ("texts", Event { written: vec![written("w".into()); 17], ..event() }, &["wardgate.written"]),
        ] {
            let record = Record::from(&event);
            assert_eq!(record.cut, expected, "{name}");
            assert!(record.url.is_none_or(|url| url.len() <= MAX_URL_BYTES), "{name}");
            assert!(record.findings.len() <= MAX_FINDINGS, "{name}");
            assert!(record.findings.iter().all(|finding| finding.phrases.len() <= MAX_PHRASES), "{name}");
            assert!(record.written.len() <= MAX_WRITTEN, "{name}");
            assert!(record.written.iter().all(|written| written.text.len() <= MAX_WRITTEN_BYTES), "{name}");
        }
    }

    #[test]
    fn hostile_text_stays_in_its_line() {
        let text = "a\nb\r\0\u{2028}\u{7f}\"}\\".to_owned();
        let event = Event { written: vec![written(text.clone())], ..event() };
        let mut line = Vec::new();
        Record::from(&event).encode(&mut line);
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        assert_eq!(Record::parse(&line).unwrap().written[0].text, text);
    }

    #[test]
    fn times_are_kept_to_the_millisecond() {
        for (name, at, expected) in [
            ("cut, not rounded", Duration::new(1_795_253_400, 125_999_999), "2026-11-21T09:30:00.125Z"),
            ("whole seconds", Duration::from_secs(1_795_253_400), "2026-11-21T09:30:00.000Z"),
            ("the beginning", Duration::ZERO, "1970-01-01T00:00:00.000Z"),
        ] {
            let event = Event { at: UNIX_EPOCH + at, ..event() };
            let line = serde_json::to_value(Record::from(&event)).unwrap();
            assert_eq!(line["@timestamp"], expected, "{name}");
        }
        assert_eq!(to_millisecond(UNIX_EPOCH - Duration::from_secs(1)), UNIX_EPOCH);
    }
}
