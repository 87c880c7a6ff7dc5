//! What is said to the receivers: an alert or a digest as subject, plain text, HTML and JSON. Evidence comes from
//! hostile pages: it is put on one line, freed of control characters, escaped, and never made clickable.

use std::net::IpAddr;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;
use wardgate_core::{AlertLevel, HelpLine, TextKind, Verdict, Wording};
use wardgate_store::{Alert, AlertEvent, AlertId, Found, Person, Span, WrittenWords};

use crate::{AlertError, Digest, PersonSummary, Totals};

/// Most exchanges that a message tells of.
pub(crate) const MAX_EVENTS_TOLD: u32 = 10;
/// Longest address or text of a person in an e-mail, in characters; the access log has more.
const MAX_TOLD: usize = 500;

const TEMPLATES: [(&str, &str); 4] = [
    ("alert.txt", include_str!("../templates/alert.txt")),
    ("alert.html", include_str!("../templates/alert.html")),
    ("digest.txt", include_str!("../templates/digest.txt")),
    ("digest.html", include_str!("../templates/digest.html")),
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .keep_trailing_newline(true)
            .build()
            .expect("the delimiters are the usual ones"),
    );
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
    });
    for (name, source) in TEMPLATES {
        environment.add_template(name, source).expect("the templates are embedded and rendered by the tests");
    }
    environment
});

/// Something to deliver, with all that its messages say.
#[derive(Clone, Debug)]
pub(crate) enum Letter {
    /// An alert.
    Alert(Box<AlertLetter>),
    /// A digest.
    Digest(Box<Digest>),
}

/// An alert with its first exchanges and the policy's words about it.
#[derive(Clone, Debug)]
pub(crate) struct AlertLetter {
    pub(crate) alert: Alert,
    pub(crate) events: Vec<AlertEvent>,
    pub(crate) wording: Wording,
    pub(crate) time_zone: TimeZone,
}

impl Letter {
    /// The subject of an e-mail. Phones show it on locked screens: it names neither persons nor words.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Alert(letter) => letter.subject(),
            Self::Digest(digest) => format!("Wardgate: {}", digest_title(digest)),
        }
    }

    pub(crate) fn text(&self) -> Result<String, AlertError> {
        match self {
            Self::Alert(letter) => letter.render("alert.txt"),
            Self::Digest(digest) => digest.text(),
        }
    }

    pub(crate) fn html(&self) -> Result<String, AlertError> {
        match self {
            Self::Alert(letter) => letter.render("alert.html"),
            Self::Digest(digest) => digest.html(),
        }
    }

    /// The body of a webhook's request, under the delivery's id.
    pub(crate) fn json(&self, delivery: &str) -> Result<Vec<u8>, AlertError> {
        let body = match self {
            Self::Alert(letter) => serde_json::json!({
                "type": "alert",
                "delivery": delivery,
                "alert": letter.alert,
                "events": letter.events,
                "reason": letter.wording.reason,
                "help": letter.wording.help,
            }),
            Self::Digest(digest) => {
                serde_json::json!({ "type": "digest", "delivery": delivery, "digest": digest })
            }
        };
        Ok(serde_json::to_vec(&body)?)
    }
}

impl AlertLetter {
    fn subject(&self) -> String {
        let alert = &self.alert;
        let group = alert.group.as_ref().map(|group| format!(" ({group})")).unwrap_or_default();
        clean(&format!("Wardgate: {}, {}{group}", concern(alert.level), alert.theme))
    }

    fn render(&self, template: &str) -> Result<String, AlertError> {
        render(template, &AlertTold::new(self))
    }
}

fn render(template: &str, told: &impl Serialize) -> Result<String, AlertError> {
    Ok(ENVIRONMENT.get_template(template)?.render(Value::from(Serde(told)))?)
}

/// An alert in words: what its templates know.
#[derive(Serialize)]
struct AlertTold<'a> {
    level: &'static str,
    theme: String,
    category: Option<&'a str>,
    who: String,
    group: Option<String>,
    address: IpAddr,
    day: String,
    first: String,
    last: String,
    zone: String,
    exchanges: u32,
    reason: Option<&'a str>,
    help: &'a [HelpLine],
    events: Vec<EventTold>,
    more: u32,
    id: AlertId,
    organisation: &'a str,
}

impl<'a> AlertTold<'a> {
    fn new(letter: &'a AlertLetter) -> Self {
        let alert = &letter.alert;
        let local = |time: Timestamp, format| local(time, &letter.time_zone, format);
        let told = u32::try_from(letter.events.len()).unwrap_or(u32::MAX);
        Self {
            level: concern(alert.level),
            theme: clean(alert.theme.as_str()),
            category: letter.wording.category.as_deref(),
            who: who(&alert.person),
            group: alert.group.as_ref().map(|group| clean(group.as_str())),
            address: alert.person.client,
            day: local(alert.first_at, "%A, %-d %B %Y"),
            first: local(alert.first_at, "%H:%M"),
            last: local(alert.last_at, "%H:%M"),
            zone: local(alert.first_at, "%Z"),
            exchanges: alert.exchanges,
            reason: letter.wording.reason.as_deref(),
            help: &letter.wording.help,
            events: letter.events.iter().map(|event| EventTold::new(event, &letter.time_zone)).collect(),
            more: alert.exchanges.saturating_sub(told),
            id: alert.id,
            organisation: &letter.wording.organisation,
        }
    }
}

fn local(time: Timestamp, time_zone: &TimeZone, format: &str) -> String {
    time.to_zoned(time_zone.clone()).strftime(format).to_string()
}

/// One exchange in words.
#[derive(Serialize)]
struct EventTold {
    time: String,
    done: &'static str,
    category: String,
    address: Option<String>,
    written: Vec<WrittenTold>,
    found: Vec<FoundTold>,
    decision: String,
}

#[derive(Serialize)]
struct WrittenTold {
    label: String,
    text: String,
}

#[derive(Serialize)]
struct FoundTold {
    label: String,
    pieces: Vec<Piece>,
}

/// A piece of a snippet; the marked ones are the words that matched.
#[derive(Debug, PartialEq, Serialize)]
struct Piece {
    text: String,
    marked: bool,
}

impl EventTold {
    fn new(event: &AlertEvent, time_zone: &TimeZone) -> Self {
        Self {
            time: local(event.at, time_zone, "%H:%M:%S"),
            done: done(event),
            category: clean(event.category.as_str()),
            address: event.url.as_deref().map(|url| unclickable(&clean(url))),
            written: event.written.iter().map(written).collect(),
            found: event.evidence.iter().flat_map(found).collect(),
            decision: clean(&event.event_id),
        }
    }
}

/// What was done about an exchange.
fn done(event: &AlertEvent) -> &'static str {
    match (event.verdict, event.spared) {
        (Verdict::Block, _) => "blocked",
        (Verdict::Warn, _) => "shown a warning page",
        (Verdict::Allow, Some(Verdict::Block)) => {
            "allowed, as this group is only monitored; blocked otherwise"
        }
        (Verdict::Allow, Some(Verdict::Warn)) => "allowed, as this group is only monitored; warned otherwise",
        (Verdict::Allow, _) => "allowed",
    }
}

fn written(words: &WrittenWords) -> WrittenTold {
    let what = match words.kind {
        TextKind::Search => "Searched",
        TextKind::Prompt => "Asked",
        TextKind::Address | TextKind::Page | TextKind::Post => "Wrote",
    };
    WrittenTold { label: format!("{what} ({})", clean(&words.service)), text: shortened(&clean(&words.text)) }
}

fn found(found: &Found) -> Vec<FoundTold> {
    if let Some(list) = &found.list {
        let entry = unclickable(&clean(found.entry.as_deref().unwrap_or("an entry")));
        return vec![FoundTold {
            label: format!("On the list {}", clean(list)),
            pieces: vec![Piece { text: entry, marked: true }],
        }];
    }
    let label = match found.kind {
        TextKind::Address => "In the address",
        TextKind::Page => "On the page",
        TextKind::Search => "In the search",
        TextKind::Prompt => "In the question to an assistant",
        TextKind::Post => "In what was written",
    };
    found
        .phrases
        .iter()
        .map(|phrase| FoundTold {
            label: if phrase.count > 1 {
                format!("{label}, {} times", phrase.count)
            } else {
                label.to_owned()
            },
            pieces: marked(&clean(&phrase.snippet), &clean(&phrase.phrase)),
        })
        .collect()
}

/// Cuts a snippet at the first place where the phrase stands, capitals apart. A phrase that does not stand there as it
/// is written (one with wildcards) leaves the snippet whole.
fn marked(snippet: &str, phrase: &str) -> Vec<Piece> {
    let piece = |text: &str, marked| Piece { text: text.to_owned(), marked };
    let place = snippet.char_indices().find_map(|(start, _)| {
        let length = prefix_length(&snippet[start..], phrase)?;
        Some((start, start + length))
    });
    let Some((start, end)) = place else { return vec![piece(snippet, false)] };
    [piece(&snippet[..start], false), piece(&snippet[start..end], true), piece(&snippet[end..], false)]
        .into_iter()
        .filter(|piece| !piece.text.is_empty())
        .collect()
}

/// How many bytes of `text` are the phrase, capitals apart; nothing where it does not begin with it.
fn prefix_length(text: &str, phrase: &str) -> Option<usize> {
    let mut rest = text.chars();
    for expected in phrase.chars() {
        if !rest.next()?.to_lowercase().eq(expected.to_lowercase()) {
            return None;
        }
    }
    let length = text.len() - rest.as_str().len();
    (length > 0).then_some(length)
}

/// Puts text on one line, without control characters and without those that turn the direction of writing.
fn clean(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !turns_direction(*c)));
    }
    line
}

/// Bidirectional formatting characters (Unicode Standard Annex 9).
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address that mail programs do not turn into a link: nobody should get there by a slip of the finger.
fn unclickable(url: &str) -> String {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = bare.find(['/', '?']).unwrap_or(bare.len());
    let (host, path) = bare.split_at(end);
    shortened(&format!("{}{path}", host.replace('.', "[.]")))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TOLD) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn concern(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Immediate => "immediate concern",
        AlertLevel::Daily => "concern for the daily summary",
        AlertLevel::Weekly => "concern for the weekly summary",
        AlertLevel::None => "no concern",
    }
}

/// The user, or the address where no user is known.
fn who(person: &Person) -> String {
    match &person.user {
        Some(user) => clean(user.as_str()),
        None => format!("a person at {}", person.client),
    }
}

fn digest_title(digest: &Digest) -> String {
    let day = digest.first_day.strftime("%-d %B %Y");
    match digest.span {
        Span::Day => format!("summary of {day}"),
        Span::Week => format!("summary of the week from {day}"),
    }
}

pub(crate) fn digest_text(digest: &Digest) -> Result<String, AlertError> {
    render("digest.txt", &DigestTold::new(digest))
}

pub(crate) fn digest_html(digest: &Digest) -> Result<String, AlertError> {
    render("digest.html", &DigestTold::new(digest))
}

/// A digest in words: what its templates know.
#[derive(Serialize)]
struct DigestTold {
    title: String,
    totals: Totals,
    truncated: bool,
    themes: Vec<ThemeTold>,
    zone: String,
}

#[derive(Serialize)]
struct ThemeTold {
    theme: String,
    alerts: u32,
    people: Vec<PersonTold>,
}

#[derive(Serialize)]
struct PersonTold {
    who: String,
    group: String,
    level: &'static str,
    alerts: u32,
    exchanges: u32,
    first: String,
    last: String,
}

impl DigestTold {
    fn new(digest: &Digest) -> Self {
        let format = if digest.span == Span::Day { "%H:%M" } else { "%a %H:%M" };
        Self {
            title: digest_title(digest),
            totals: digest.totals,
            truncated: digest.truncated,
            themes: digest
                .themes
                .iter()
                .map(|theme| ThemeTold {
                    theme: clean(theme.theme.as_str()),
                    alerts: theme.totals.alerts,
                    people: theme
                        .people
                        .iter()
                        .map(|person| PersonTold::new(person, |time| local(time, digest.time_zone(), format)))
                        .collect(),
                })
                .collect(),
            zone: local(digest.from, digest.time_zone(), "%Z"),
        }
    }
}

impl PersonTold {
    fn new(person: &PersonSummary, local: impl Fn(Timestamp) -> String) -> Self {
        Self {
            who: who(&person.person),
            group: person.group.as_ref().map_or_else(|| "-".to_owned(), |group| clean(group.as_str())),
            level: person.level.as_str(),
            alerts: person.totals.alerts,
            exchanges: person.totals.exchanges,
            first: local(person.first_at),
            last: local(person.last_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{alert, golden, london, seen_event, wording};

    fn letter(event: AlertEvent) -> AlertLetter {
        AlertLetter {
            alert: Alert {
                id: "01939c5e-0000-7000-8000-000000000001".parse().unwrap(),
                ..alert("alice", "self-harm", AlertLevel::Immediate, "2026-11-20T10:02:11Z", 12)
            },
            events: vec![event],
            wording: wording(),
            time_zone: london(),
        }
    }

    #[test]
    fn an_alert_as_text_and_page() {
        let letter = letter(seen_event());
        golden("alert.txt", &letter.render("alert.txt").unwrap());
        golden("alert.html", &letter.render("alert.html").unwrap());
    }

    #[test]
    fn subjects_name_nobody() {
        let mut letter = letter(seen_event());
        assert_eq!(letter.subject(), "Wardgate: immediate concern, self-harm (learners)");
        letter.alert.group = None;
        letter.alert.theme = "self-harm\r\nBcc: everybody@example.org".into();
        assert_eq!(letter.subject(), "Wardgate: immediate concern, self-harm Bcc: everybody@example.org");
    }

    #[test]
    fn hostile_evidence() {
        let mut event = seen_event();
        event.url = Some("https://evil.example/<script>alert(1)</script>?a=\u{202e}b".to_owned());
        event.evidence[0].phrases[0].snippet = "<img src=x>\r\n\r\nDecision: forged".to_owned();
        event.written[0].text = "{{ 7 * 7 }} </p>\u{0}".to_owned();
        let letter = letter(event);
        let html = letter.render("alert.html").unwrap();
        for absent in ["<script>", "<img", "</p>\u{0}", "49", "\u{202e}", "https://evil"] {
            assert!(!html.contains(absent), "{absent}: {html}");
        }
        let text = letter.render("alert.txt").unwrap();
        assert!(!text.lines().any(|line| line.trim_start().starts_with("Decision: forged")), "{text}");
    }

    #[test]
    fn marked_words() {
        let shown = |snippet: &str, phrase: &str| {
            marked(snippet, phrase)
                .into_iter()
                .map(|piece| if piece.marked { format!("[{}]", piece.text) } else { piece.text })
                .collect::<String>()
        };
        for (name, snippet, phrase, expected) in [
            ("in the middle", "how to hurt myself tonight", "hurt myself", "how to [hurt myself] tonight"),
            ("capitals", "HURT Myself", "hurt myself", "[HURT Myself]"),
            ("beyond ASCII", "Über ÄRGER", "ärger", "Über [ÄRGER]"),
            ("letters that grow in lower case", "İİ hurt", "hurt", "İİ [hurt]"),
            ("not as written", "hurting", "hurt*", "hurting"),
            ("empty phrase", "words", "", "words"),
            ("empty snippet", "", "hurt", ""),
        ] {
            assert_eq!(shown(snippet, phrase), expected, "{name}");
        }
    }

    #[test]
    fn addresses_cannot_be_clicked() {
        for (url, expected) in [
            ("https://www.example.com/a.html?b=c.d", "www[.]example[.]com/a.html?b=c.d"),
            ("example.com", "example[.]com"),
            ("http://192.0.2.1:8080/", "192[.]0[.]2[.]1:8080/"),
        ] {
            assert_eq!(unclickable(url), expected);
        }
        let long = unclickable(&format!("https://example.com/{}", "a".repeat(9_000)));
        assert!(long.chars().count() == MAX_TOLD + 1 && long.ends_with('…'));
    }

    #[test]
    fn what_was_done() {
        for (verdict, spared, expected) in [
            (Verdict::Block, None, "blocked"),
            (Verdict::Warn, None, "shown a warning page"),
            (Verdict::Allow, None, "allowed"),
            (
                Verdict::Allow,
                Some(Verdict::Block),
                "allowed, as this group is only monitored; blocked otherwise",
            ),
        ] {
            assert_eq!(done(&AlertEvent { verdict, spared, ..seen_event() }), expected);
        }
    }
}
