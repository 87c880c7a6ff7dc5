//! The policy files as they are written: one structure a table, strict about keys, nothing resolved yet.
//! The comments in the shipped `policies/` say what each key means.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;
use wardgate_core::{AlertLevel, Login, OnError, TextKind, Verdict};

/// A text and where it stands.
pub(crate) type Text = Spanned<String>;

/// A file, or the head of a file, that holds nothing but lists of tables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// `policy.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct School {
    pub(crate) organisation: Text,
    pub(crate) contact: Text,
    pub(crate) notice: Text,
    #[serde(default)]
    pub(crate) defaults: Settings,
}

/// `[defaults]` of `policy.toml`, `[group.settings]` of `groups.toml`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) intercept: Option<bool>,
    pub(crate) scan: Option<bool>,
    pub(crate) monitor_only: Option<bool>,
    pub(crate) hold: Option<Text>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) warn_for: Option<Text>,
    #[serde(default)]
    pub(crate) limits: Limits,
}

/// `[….limits]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) page: Option<Spanned<f32>>,
    pub(crate) search: Option<Spanned<f32>>,
    pub(crate) prompt: Option<Spanned<f32>>,
    pub(crate) post: Option<Spanned<f32>>,
}

/// The head of `groups.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Groups {
    pub(crate) unknown: Text,
}

/// `[[group]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) name: Text,
    pub(crate) inherits: Option<Text>,
    #[serde(default)]
    pub(crate) users: Vec<Text>,
    #[serde(default)]
    pub(crate) directory_groups: Vec<Text>,
    #[serde(default)]
    pub(crate) addresses: Vec<Text>,
    #[serde(default)]
    pub(crate) settings: Settings,
}

/// The head of `identity.toml`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    #[serde(default)]
    pub(crate) login: Login,
    #[serde(default)]
    pub(crate) off_site: OffSite,
}

/// Whether clients of the TLS listener must log in; they must where nothing is said.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct OffSite(pub(crate) Login);

impl Default for OffSite {
    fn default() -> Self {
        Self(Login::Required)
    }
}

/// `[[range]]` of `identity.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRange {
    pub(crate) addresses: Spanned<Vec<Text>>,
    pub(crate) login: Login,
}

/// `[[address]]` of `identity.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddressUser {
    pub(crate) address: Text,
    pub(crate) user: Text,
}

/// `[[theme]]` of `categories.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Theme {
    pub(crate) name: Text,
    pub(crate) title: Text,
    pub(crate) rationale: Text,
    pub(crate) alert: AlertLevel,
    #[serde(default)]
    pub(crate) alerts: BTreeMap<Text, AlertLevel>,
}

/// `[[category]]` of `categories.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Category {
    pub(crate) name: Text,
    pub(crate) title: Text,
    pub(crate) theme: Option<Text>,
    pub(crate) severity: Spanned<u8>,
    pub(crate) reason: Text,
    pub(crate) rationale: Text,
}

/// `[[list]]` of `lists.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    pub(crate) name: Text,
    pub(crate) category: Text,
    pub(crate) file: Text,
    #[serde(rename = "format")]
    _format: ListFormat,
}

/// How a list is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ListFormat {
    /// One domain or URL prefix a line, `#` begins a comment.
    Domains,
}

/// `[[rule]]` of `rules.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) name: Text,
    pub(crate) groups: Option<Spanned<Vec<Text>>>,
    pub(crate) hosts: Option<Spanned<Vec<Text>>>,
    pub(crate) methods: Option<Spanned<Vec<Text>>>,
    pub(crate) ports: Option<Spanned<Vec<u16>>>,
    pub(crate) ports_other_than: Option<Spanned<Vec<u16>>>,
    pub(crate) carries: Option<Carries>,
    pub(crate) categories: Option<Spanned<Vec<Text>>>,
    pub(crate) themes: Option<Spanned<Vec<Text>>>,
    pub(crate) lists: Option<Spanned<Vec<Text>>>,
    pub(crate) kinds: Option<Spanned<Vec<TextKind>>>,
    pub(crate) min_score: Option<Spanned<f32>>,
    pub(crate) action: Verdict,
    pub(crate) reason: Option<Text>,
}

/// What a tunnel must carry for a rule to be about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Carries {
    /// Neither TLS nor HTTP.
    Other,
}

/// What may pass unread in a tunnel that is never opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Passes {
    /// TLS that names the host.
    #[default]
    Tls,
    /// Bytes of any kind.
    Anything,
}

/// `[[host]]` of `never-intercept.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NeverIntercept {
    pub(crate) name: Text,
    pub(crate) hosts: Spanned<Vec<Text>>,
    pub(crate) reason: Text,
    #[serde(default)]
    pub(crate) carries: Passes,
}

/// `[[service]]` of `must-work.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) name: Text,
    pub(crate) hosts: Spanned<Vec<Text>>,
    pub(crate) reason: Text,
}

/// `[[exception]]` of `certificates.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateException {
    pub(crate) host: Text,
    pub(crate) accept: Spanned<Vec<Text>>,
    pub(crate) fingerprint: Option<Text>,
    pub(crate) reason: Text,
    pub(crate) until: Spanned<toml::value::Datetime>,
}

/// The head of `help.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Help {
    pub(crate) default: Vec<Text>,
    #[serde(default)]
    pub(crate) themes: BTreeMap<Text, Vec<Text>>,
}

/// `[[line]]` of `help.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) name: Text,
    pub(crate) detail: Text,
    pub(crate) url: Text,
    pub(crate) hosts: Spanned<Vec<Text>>,
}

/// `[[expect]]` of `tests/*.toml`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) group: Text,
    pub(crate) url: Text,
    pub(crate) method: Option<Text>,
    pub(crate) text: Option<String>,
    pub(crate) kind: Option<TextKind>,
    pub(crate) verdict: Verdict,
    pub(crate) category: Option<Text>,
    pub(crate) alert: Option<AlertLevel>,
    pub(crate) why: Text,
}
