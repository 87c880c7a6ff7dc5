//! `wardgate.toml` and the environment: every key optional, every unknown key an error that says where.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wardgate_alert::AlertConfig;
use wardgate_core::Position;
use wardgate_proxy::{ProxyConfig, UpstreamConfig};

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

/// `[certs]`: where the CA lies.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Certs {
    pub(crate) dir: PathBuf,
}

impl Default for Certs {
    fn default() -> Self {
        Self { dir: "certs".into() }
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
        let config = parse(&text, path)?;
        let overrides: Vec<_> = env::vars_os().filter_map(setting).collect();
        if overrides.is_empty() { Ok(config) } else { overridden(&text, overrides) }
    }

    /// The directory of the access log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.log.dir.clone().unwrap_or_else(|| self.data.dir.join("log"))
    }

    /// The URL of the records.
    pub(crate) fn store_url(&self) -> String {
        match &self.store.url {
            Some(url) => url.clone(),
            None => format!("sqlite://{}", self.data.dir.join("wardgate.db").display()),
        }
    }
}

fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| Position::of(text, span.start));
        let place = place.map_or(String::new(), |at| format!(":{}:{}", at.line, at.column));
        Failure::Usage(format!("{}{place}: {}", path.display(), one_line(error.message())))
    })
}

/// A key that the environment sets: its name, its path, its value.
struct Setting {
    variable: String,
    path: Vec<String>,
    value: String,
}

fn setting((variable, value): (OsString, OsString)) -> Option<Setting> {
    let (variable, value) = (variable.into_string().ok()?, value.into_string().ok()?);
    let path: Vec<String> = variable.strip_prefix(PREFIX)?.split("__").map(str::to_ascii_lowercase).collect();
    (path.len() > 1).then_some(Setting { variable, path, value })
}

fn overridden(text: &str, settings: Vec<Setting>) -> Result<Config, Failure> {
    let mut table: toml::Table = toml::from_str(text).map_err(|e| Failure::Usage(e.to_string()))?;
    let names: Vec<String> = settings.iter().map(|setting| setting.variable.clone()).collect();
    for setting in settings {
        let refused =
            || Failure::Usage(format!("{}: {} is not a section", setting.variable, setting.path[0]));
        let (key, sections) = setting.path.split_last().ok_or_else(refused)?;
        let mut inner = &mut table;
        for section in sections {
            let entry = inner.entry(section).or_insert_with(|| toml::Table::new().into());
            inner = entry.as_table_mut().ok_or_else(refused)?;
        }
        inner.insert(key.clone(), value(&setting.value));
    }
    table.try_into().map_err(|error: toml::de::Error| {
        Failure::Usage(format!("in the environment ({}): {}", names.join(", "), one_line(error.message())))
    })
}

/// A value as TOML would read it; whatever TOML would not read is text.
fn value(text: &str) -> toml::Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}"));
    parsed
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
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

    #[test]
    fn a_wrong_key_is_named_with_its_place() {
        let wrong =
            message(parse("[proxy]\nlisten = \"127.0.0.1:1\"\nlisten_port = 1\n", Path::new("w.toml")));
        assert!(wrong.starts_with("w.toml:3:1: unknown field `listen_port`"), "{wrong}");
        assert!(wrong.contains("listen") && !wrong.contains('\n'), "{wrong}");
    }

    #[test]
    fn the_environment_sets_keys() {
        let settings = [
            ("WARDGATE_PROXY__LISTEN", "127.0.0.1:4000"),
            ("WARDGATE_LOG__RETENTION_DAYS", "7"),
            ("WARDGATE_UPSTREAM__EXTRA_ROOTS", "[\"a.pem\"]"),
        ];
        let settings = settings.map(|(name, value)| setting((name.into(), value.into())).unwrap());
        let config = overridden("[log]\nretention_days = 3\n", settings.into()).unwrap();
        assert_eq!(config.proxy.listen.port(), 4000);
        assert_eq!(config.log.retention_days, 7);
        assert_eq!(config.upstream.extra_roots, [PathBuf::from("a.pem")]);
        assert!(setting(("WARDGATE_LOG".into(), "x".into())).is_none());
        let wrong = setting(("WARDGATE_PROXY__LISTN".into(), "x".into())).unwrap();
        assert!(message(overridden("", vec![wrong])).contains("WARDGATE_PROXY__LISTN"));
    }
}
