//! `wardgate.toml` and the environment: every key optional, every unknown key an error that says where.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use time::OffsetDateTime;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};
use wardgate_alert::AlertConfig;
use wardgate_core::Position;
use wardgate_proxy::{ProxyConfig, UpstreamConfig};
use wardgate_tls::{AuthoritySettings, Constraints, NoSubtree, OriginSettings, Subtree};

use crate::exit::Failure;

/// The configuration file where none is named.
const DEFAULT_FILE: &str = "wardgate.toml";
/// Environment variables that set keys begin so; two underscores stand between section and key.
const PREFIX: &str = "WARDGATE_";

/// The whole configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) proxy: ProxyConfig,
    pub(crate) upstream: UpstreamConfig,
    pub(crate) data: Data,
    pub(crate) policy: Policy,
    pub(crate) certs: Certs,
    pub(crate) log: Log,
    store: Store,
    pub(crate) alerts: AlertConfig,
}

/// `[data]`: where Wardgate keeps what it makes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Data {
    pub(crate) dir: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { dir: "data".into() }
    }
}

/// `[policy]`: the policy directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Policy {
    pub(crate) dir: PathBuf,
}

impl Default for Policy {
    fn default() -> Self {
        Self { dir: "policies".into() }
    }
}

/// `[certs]`: where the CA lies, and what a new one is like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Certs {
    dir: PathBuf,
    /// The file whose first line encrypts the CA's keys on the disk.
    key_passphrase_file: Option<PathBuf>,
    /// What a CA made from now on may sign for, and what never.
    permitted: Vec<HostTree>,
    excluded: Vec<HostTree>,
    /// The day from which the next CA signs, midnight by UTC.
    next_from: Option<Day>,
}

impl Default for Certs {
    fn default() -> Self {
        Self {
            dir: "certs".into(),
            key_passphrase_file: None,
            permitted: Vec::new(),
            excluded: Vec::new(),
            next_from: None,
        }
    }
}

impl Certs {
    pub(crate) fn settings(&self) -> AuthoritySettings {
        let trees = |list: &[HostTree]| list.iter().map(|tree| tree.0.clone()).collect();
        AuthoritySettings {
            dir: self.dir.clone(),
            passphrase_file: self.key_passphrase_file.clone(),
            constraints: Constraints { permitted: trees(&self.permitted), excluded: trees(&self.excluded) },
            next_from: self.next_from.as_ref().map(|day| day.0),
        }
    }
}

/// A domain or a range of addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct HostTree(Subtree);

impl TryFrom<String> for HostTree {
    type Error = NoSubtree;

    fn try_from(text: String) -> Result<Self, NoSubtree> {
        text.parse().map(Self)
    }
}

/// A day, at its beginning by UTC.
#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::value::Datetime")]
struct Day(OffsetDateTime);

impl TryFrom<toml::value::Datetime> for Day {
    type Error = &'static str;

    fn try_from(day: toml::value::Datetime) -> Result<Self, &'static str> {
        const WRONG: &str = "a day is written like 2027-08-01, without a time";
        let (Some(date), None) = (day.date, day.time) else { return Err(WRONG) };
        let month = time::Month::try_from(date.month).map_err(|_| WRONG)?;
        let date = time::Date::from_calendar_date(date.year.into(), month, date.day).map_err(|_| WRONG)?;
        Ok(Self(date.midnight().assume_utc()))
    }
}

/// `[log]`: the access log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// The directory; `log` in the data directory where absent.
    dir: Option<PathBuf>,
    /// Days that a day's file is kept.
    pub(crate) retention_days: u32,
    /// Exchanges that may be under way or waiting to be written.
    pub(crate) capacity: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self { dir: None, retention_days: 90, capacity: wardgate_journal::DEFAULT_CAPACITY }
    }
}

/// `[store]`: the records.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Store {
    /// The database's URL; `wardgate.db` in the data directory where absent.
    url: Option<String>,
}

impl Config {
    /// Reads the named file, or `wardgate.toml` where there is one, and what the environment says over it. Relative
    /// paths in it are meant from the directory where the program runs.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let path = path.display();
                return Err(Failure::Usage(format!(
                    "cannot read the configuration {path}: {error}; see --config"
                )));
            }
        };
        read(&text, path, env::vars_os().filter_map(Setting::of).collect())
    }

    /// The directory of the access log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.log.dir.clone().unwrap_or_else(|| self.data.dir.join("log"))
    }

    /// What is believed of origins.
    pub(crate) fn origins(&self) -> OriginSettings {
        OriginSettings {
            extra_roots: self.upstream.extra_roots.clone(),
            crls: self.upstream.crls.clone(),
            crlite_dir: self.upstream.crlite_dir.clone(),
        }
    }

    /// The URL of the records.
    pub(crate) fn store_url(&self) -> String {
        match &self.store.url {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.data.dir.join("wardgate.db").display()),
        }
    }
}

/// Reads the file's text with the settings over it: what the file leaves out, a secret say, the environment may bring.
/// A setting is first read as TOML would read it; where that does not fit its key, it is text. So a password of
/// digits is a password, and where neither fits, the first reading says why.
fn read(text: &str, path: &Path, mut settings: Vec<Setting>) -> Result<Config, Failure> {
    // Each round ends the loop, or turns one more setting into text.
    loop {
        let table = merged(text, path, &settings)?;
        let error = match Config::deserialize(Deserializer::from(table)) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        let Some((setting, part)) = blamed(&error, text, &mut settings) else {
            return Err(in_file(&error, text, path));
        };
        let message = one_line(error.message());
        match (part, setting.refused.take()) {
            (Part::Value, None) => setting.refused = Some(message),
            (Part::Value, Some(first)) => return Err(setting.failure(&first)),
            (Part::Name, _) => return Err(setting.failure(&message)),
        }
    }
}

/// What of a setting an error is about.
enum Part {
    /// Its key, or a section that only it names.
    Name,
    Value,
}

/// The file's table with the settings in it. Each setting stands at two places beyond the end of the text, one for its
/// name and one for its value: an error says by its place what it is about.
fn merged<'t>(text: &'t str, path: &Path, settings: &'t [Setting]) -> Result<Spanned<DeTable<'t>>, Failure> {
    let mut table = DeTable::parse(text).map_err(|error| in_file(&error, text, path))?;
    for (setting, place) in settings.iter().zip((text.len() + 1..).step_by(2)) {
        setting.put(table.get_mut(), place..place, place + 1..place + 1)?;
    }
    Ok(table)
}

/// The setting that an error is about, undoing what [`merged`] did; none where the error is about the file.
fn blamed<'s>(
    error: &toml::de::Error,
    text: &str,
    settings: &'s mut [Setting],
) -> Option<(&'s mut Setting, Part)> {
    let beyond = error.span()?.start.checked_sub(text.len() + 1)?;
    let part = if beyond.is_multiple_of(2) { Part::Name } else { Part::Value };
    Some((settings.get_mut(beyond / 2)?, part))
}

fn in_file(error: &toml::de::Error, text: &str, path: &Path) -> Failure {
    let place = error.span().map(|span| Position::of(text, span.start));
    let place = place.map_or(String::new(), |at| format!(":{}:{}", at.line, at.column));
    Failure::Usage(format!("{}{place}: {}", path.display(), one_line(error.message())))
}

/// A key that the environment sets.
struct Setting {
    variable: String,
    /// The section that holds the key, outermost first; never empty.
    sections: Vec<String>,
    key: String,
    text: String,
    /// Why the reading as TOML does not fit the key, once that is known: from then on the value is the text itself.
    refused: Option<String>,
}

impl Setting {
    /// The setting in a variable; none where the variable is not one of ours or names no section.
    fn of((variable, text): (OsString, OsString)) -> Option<Self> {
        let (variable, text) = (variable.into_string().ok()?, text.into_string().ok()?);
        let path = variable.strip_prefix(PREFIX)?;
        let mut sections: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let key = sections.pop()?;
        (!sections.is_empty()).then_some(Self { variable, sections, key, text, refused: None })
    }

    /// Puts the setting into the table: its name at one place, all of its value at another.
    fn put<'t>(
        &'t self,
        root: &mut DeTable<'t>,
        name: Range<usize>,
        value: Range<usize>,
    ) -> Result<(), Failure> {
        let named = |key: &'t str| Spanned::new(name.clone(), key.into());
        let mut table = root;
        for section in &self.sections {
            let empty = || Spanned::new(name.clone(), DeValue::Table(DeTable::new()));
            let DeValue::Table(inner) = table.entry(named(section)).or_insert_with(empty).get_mut() else {
                return Err(self.failure(&format!("{section} is not a section")));
            };
            table = inner;
        }
        table.insert(named(&self.key), at(value, self.value()));
        Ok(())
    }

    /// What TOML reads in the text; the text itself where that is nothing or did not fit.
    fn value(&self) -> DeValue<'_> {
        match DeValue::parse(&self.text) {
            Ok(value) if self.refused.is_none() => value.into_inner(),
            _ => DeValue::String(self.text.as_str().into()),
        }
    }

    fn failure(&self, message: &str) -> Failure {
        Failure::Usage(format!("{}: {message}", self.variable))
    }
}

/// A value that stands, with everything in it, at this place.
fn at(place: Range<usize>, value: DeValue<'_>) -> Spanned<DeValue<'_>> {
    let moved = match value {
        DeValue::Array(values) => {
            DeValue::Array(values.into_iter().map(|value| at(place.clone(), value.into_inner())).collect())
        }
        DeValue::Table(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                (Spanned::new(place.clone(), key.into_inner()), at(place.clone(), value.into_inner()))
            });
            DeValue::Table(entries.collect())
        }
        single => single,
    };
    Spanned::new(place, moved)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<Config, Failure>) -> String {
        match result {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn configured(text: &str, environment: &[(&str, &str)]) -> Result<Config, Failure> {
        let settings =
            environment.iter().map(|(name, value)| Setting::of((name.into(), value.into())).unwrap());
        read(text, Path::new("w.toml"), settings.collect())
    }

    #[test]
    fn a_wrong_key_is_named_with_its_place() {
        let file = "[proxy]\nlisten = \"127.0.0.1:1\"\nlisten_port = 1\n";
        for environment in [&[][..], &[("WARDGATE_LOG__RETENTION_DAYS", "7")]] {
            let wrong = message(configured(file, environment));
            assert!(wrong.starts_with("w.toml:3:1: unknown field `listen_port`"), "{wrong}");
            assert!(wrong.contains("listen") && !wrong.contains('\n'), "{wrong}");
        }
    }

    #[test]
    fn the_environment_sets_keys() {
        let environment = [
            ("WARDGATE_PROXY__LISTEN", "127.0.0.1:4000"),
            ("WARDGATE_LOG__RETENTION_DAYS", "7"),
            ("WARDGATE_UPSTREAM__EXTRA_ROOTS", "[\"a.pem\"]"),
        ];
        let config = configured("[log]\nretention_days = 3\n", &environment).unwrap();
        assert_eq!(config.proxy.listen.port(), 4000);
        assert_eq!(config.log.retention_days, 7);
        assert_eq!(config.upstream.extra_roots, [PathBuf::from("a.pem")]);
        assert!(Setting::of(("WARDGATE_LOG".into(), "x".into())).is_none());
    }

    #[test]
    fn text_that_looks_like_toml_stays_text() {
        let file = "[alerts.smtp]\nserver = 'mail.example.org'\nfrom = 'w@example.org'\n\
                    to = ['dsl@example.org']\nusername = 'w'\n[alerts.webhook]\nurl = 'https://e.org/'\n";
        for text in
            ["12345678", "true", "1_000", "0x1f", "2026-11-21", "[1, 2]", "{ a = 1 }", "1 # 2", "a\"b"]
        {
            let environment = [
                ("WARDGATE_ALERTS__SMTP__PASSWORD", text),
                ("WARDGATE_ALERTS__WEBHOOK__SECRET", text),
                ("WARDGATE_ALERTS__DIGEST__AT", "07:30"),
                ("WARDGATE_ALERTS__SMTP__PORT", "2525"),
                ("WARDGATE_DATA__DIR", text),
            ];
            let config = configured(file, &environment).unwrap();
            let smtp = config.alerts.smtp.unwrap();
            assert_eq!(smtp.login.unwrap().password.reveal(), text);
            assert_eq!(config.alerts.webhook.unwrap().secret.reveal(), text);
            assert_eq!((smtp.port, config.data.dir), (2525, PathBuf::from(text)));
        }
    }

    #[test]
    fn the_variable_that_does_not_fit_is_named() {
        for (name, variable, text, said) in [
            ("an unknown key", "WARDGATE_PROXY__LISTN", "x", "unknown field `listn`"),
            ("an unknown section", "WARDGATE_PROXI__LISTEN", "x", "unknown field `proxi`"),
            ("no number", "WARDGATE_LOG__RETENTION_DAYS", "many", "invalid type: string \"many\""),
            ("neither reading", "WARDGATE_PROXY__LISTEN", "8080", "invalid type: integer `8080`"),
            ("within a list", "WARDGATE_UPSTREAM__EXTRA_ROOTS", "['a', 1]", "invalid type: integer `1`"),
            ("within a table", "WARDGATE_ALERTS__DIGEST", "{ ta = 1 }", "unknown field `ta`"),
            ("under a key", "WARDGATE_DATA__DIR__BELOW", "x", "dir is not a section"),
            ("a half section", "WARDGATE_ALERTS__WEBHOOK__SECRET", "1", "missing field `url`"),
        ] {
            let environment =
                [("WARDGATE_LOG__CAPACITY", "9"), (variable, text), ("WARDGATE_STORE__URL", "1")];
            let wrong = message(configured("[data]\ndir = 'd'\n", &environment));
            assert!(wrong.starts_with(&format!("{variable}: {said}")), "{name}: {wrong}");
        }
    }
}
