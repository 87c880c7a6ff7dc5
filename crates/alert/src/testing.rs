//! What the tests of this crate share: events, alerts, a log, certificates and a mail server.

pub(crate) mod smtp;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use wardgate_core::{
    AlertLevel, Concern, Event, Evidence, Finding, GroupName, HelpLine, IdentitySource, Outcome, PhraseHit,
    Target, TextKind, ThemeName, UserName, Verdict, Wording, WrittenText,
};
use wardgate_journal::Record;
use wardgate_store::{
    Alert, AlertEvent, AlertId, Channel, Delivery, DeliveryId, DeliveryState, DigestId, LogPlace, Person,
    Receiver, Store, Subject,
};

use crate::concern::{Concerned, concerns};
use crate::letter::{AlertLetter, Letter};

/// A second of the day of the tests.
pub(crate) fn time(seconds: i64) -> Timestamp {
    "2026-11-21T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// How long ago the day of the tests is, for what tells the present by the clock.
pub(crate) fn seconds_until_now() -> i64 {
    Timestamp::now().duration_since(time(0)).as_secs()
}

pub(crate) fn london() -> TimeZone {
    TimeZone::get("Europe/London").unwrap()
}

pub(crate) fn url(directory: &TempDir) -> String {
    format!("sqlite://{}/wardgate.db", directory.path().display())
}

pub(crate) async fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&url(&directory)).await.unwrap();
    (directory, store)
}

pub(crate) fn webhook() -> Receiver {
    Receiver { channel: Channel::Webhook, address: String::new() }
}

/// An exchange that a test speaks of.
#[derive(Clone)]
pub(crate) struct Seen {
    /// When it began; it took two seconds.
    pub(crate) at: i64,
    pub(crate) user: Option<&'static str>,
    pub(crate) themes: &'static [(&'static str, AlertLevel)],
}

impl Default for Seen {
    fn default() -> Self {
        Self { at: 0, user: Some("alice"), themes: &[("self-harm", AlertLevel::Immediate)] }
    }
}

impl Seen {
    /// The exchange as the journal is given it.
    pub(crate) fn event(&self) -> Event {
        let mut event = Event::new("10.0.0.7".parse().unwrap(), "hash".into());
        event.at = time(self.at).into();
        event.duration = Duration::from_secs(2);
        event.user = self.user.map(UserName::new);
        event.identity_source = IdentitySource::Basic;
        event.group = Some(GroupName::from("learners"));
        event.target = Some(Target::parse("https://www.google.com/search?q=how+to+hurt+myself").unwrap());
        event.verdict = Verdict::Block;
        event.concerns = self
            .themes
            .iter()
            .map(|(theme, level)| Concern {
                theme: (*theme).into(),
                category: (*theme).into(),
                level: *level,
            })
            .collect();
        event.findings = self.themes.iter().map(|(theme, _)| finding(theme)).collect();
        event.written = vec![WrittenText {
            kind: TextKind::Search,
            service: "google",
            text: "how to hurt myself".into(),
        }];
        event.ended(Outcome::Completed, None);
        event
    }
}

fn finding(category: &str) -> Finding {
    let hit = PhraseHit {
        phrase: "hurt myself".into(),
        offset: 7,
        weight: 50.0,
        count: 1,
        snippet: "how to hurt myself".into(),
    };
    Finding {
        stage: "phrases",
        category: category.into(),
        kind: TextKind::Search,
        score: 50.0,
        evidence: Evidence::Phrases(vec![hit]),
    }
}

/// A concern about Alice at a second of the day.
pub(crate) fn concerned(noticed: i64, level: AlertLevel) -> Concerned {
    let event = Seen::default().event();
    let mut concerned = concerns(&Record::from(&event)).remove(0);
    concerned.noticed_at = time(noticed);
    concerned.event.level = level;
    concerned
}

/// The exchange of the golden alert.
pub(crate) fn seen_event() -> AlertEvent {
    let mut event = concerned(0, AlertLevel::Immediate).event;
    event.event_id = "01939c5e-0000-7000-8000-00000000000e".to_owned();
    event.at = "2026-11-20T10:02:11Z".parse().unwrap();
    event
}

/// An alert about a user, or about nobody known.
pub(crate) fn alert(user: &str, theme: &str, level: AlertLevel, at: &str, exchanges: u32) -> Alert {
    let at: Timestamp = at.parse().unwrap();
    Alert {
        id: AlertId::new(),
        person: Person {
            user: (!user.is_empty()).then(|| UserName::new(user)),
            client: "10.0.0.7".parse().unwrap(),
        },
        group: Some(GroupName::from("learners")),
        theme: ThemeName::from(theme),
        level,
        first_at: at,
        last_at: at + SignedDuration::from_secs(100),
        window_ends_at: at + SignedDuration::from_mins(10),
        exchanges,
    }
}

pub(crate) async fn keep(store: &Store, alert: &Alert) {
    let mut batch = store.alerts().batch().await.unwrap();
    batch.save(alert).await.unwrap();
    batch.commit("tests", &LogPlace { file: String::new(), offset: 0 }).await.unwrap();
}

pub(crate) fn wording() -> Wording {
    Wording {
        organisation: "Example College".into(),
        contact: "the safeguarding team".into(),
        notice: "Use is monitored.".into(),
        category: Some("Self-harm and suicide".into()),
        reason: Some("Pages that encourage people to hurt themselves put lives at risk.".into()),
        help: Arc::from([HelpLine {
            name: "Childline".into(),
            detail: "0800 1111, day and night".into(),
            url: "https://www.childline.org.uk/".into(),
        }]),
    }
}

pub(crate) fn alert_letter() -> Letter {
    Letter::Alert(Box::new(AlertLetter {
        alert: alert("alice", "self-harm", AlertLevel::Immediate, "2026-11-20T10:02:11Z", 1),
        events: vec![seen_event()],
        wording: wording(),
        time_zone: london(),
    }))
}

pub(crate) fn email_delivery(address: &str) -> Delivery {
    Delivery { receiver: Receiver { channel: Channel::Email, address: address.to_owned() }, ..delivery(1) }
}

pub(crate) fn delivery(attempts: u32) -> Delivery {
    Delivery {
        id: DeliveryId::new(),
        subject: Subject::Digest(DigestId::new()),
        receiver: webhook(),
        state: DeliveryState::Sending,
        attempts,
        created_at: time(0),
        next_at: time(0),
        settled_at: None,
        last_error: None,
    }
}

/// Compares with a file of `golden/`; with `BLESS=1` in the environment the file is written instead.
pub(crate) fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    assert_eq!(actual, std::fs::read_to_string(&path).unwrap(), "{name} (BLESS=1 takes the new one)");
}

/// Waits for something that another task brings about.
pub(crate) async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while !happened().await {
        assert!(std::time::Instant::now() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An access log of one day.
pub(crate) struct Log(TempDir);

impl Log {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    pub(crate) fn file_name(&self) -> String {
        "access.2026-11-21.jsonl".to_owned()
    }

    pub(crate) fn append(&self, seen: &Seen) {
        let mut line = Vec::new();
        Record::from(&seen.event()).encode(&mut line);
        self.append_text(std::str::from_utf8(&line).unwrap());
    }

    pub(crate) fn append_text(&self, text: &str) {
        let path = self.0.path().join(self.file_name());
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// A certificate for `localhost` that signs itself.
pub(crate) struct Certificate {
    directory: TempDir,
    server: Arc<ServerConfig>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(directory.path().join("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        Self { directory, server: Arc::new(server) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        Path::new(self.directory.path()).join("ca.pem")
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}
