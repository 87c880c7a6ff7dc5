//! `[alerts]` of the configuration: who receives, by which way, and when digests are made. What is read is complete:
//! a key that is unknown, missing or contradictory is an error at its place in the file.

use std::fmt;
use std::path::PathBuf;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use lettre::Address;
use lettre::message::Mailbox;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use url::Url;
use wardgate_store::{Channel, Receiver};

/// The `[alerts]` table. Without receivers, alerts are kept in the records only.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertConfig {
    /// `[alerts.smtp]`: e-mail.
    pub smtp: Option<SmtpConfig>,
    /// `[alerts.webhook]`: requests to another system.
    pub webhook: Option<WebhookConfig>,
    /// `[alerts.digest]`: when digests are made.
    pub digest: DigestConfig,
    /// The time zone of days and of times in messages, such as `Europe/London`; the system's by default.
    #[serde(deserialize_with = "time_zone")]
    pub time_zone: TimeZone,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self { smtp: None, webhook: None, digest: DigestConfig::default(), time_zone: TimeZone::system() }
    }
}

impl AlertConfig {
    /// Everybody who receives alerts and digests.
    pub fn receivers(&self) -> Vec<Receiver> {
        let emails = self.smtp.iter().flat_map(|smtp| &smtp.to);
        let webhook =
            self.webhook.iter().map(|_| Receiver { channel: Channel::Webhook, address: String::new() });
        emails
            .map(|to| Receiver { channel: Channel::Email, address: to.to_string() })
            .chain(webhook)
            .collect()
    }
}

/// The `[alerts.smtp]` table. Each address of `to` gets its own message, so that nobody's full mailbox keeps
/// another's message back.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SmtpTable")]
pub struct SmtpConfig {
    /// The mail server's name; its certificate must be for this name.
    pub server: String,
    /// The port; by default 465 for `implicit`, 25 for `none` and 587 otherwise.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// The account on the mail server, where it asks for one.
    pub login: Option<SmtpLogin>,
    /// The sender.
    pub from: Mailbox,
    /// The receivers, at least one.
    pub to: Vec<Address>,
    /// A PEM file with further root certificates.
    pub ca: Option<PathBuf>,
}

/// How a connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmtpTls {
    /// STARTTLS, and nothing is sent without it.
    #[default]
    Required,
    /// STARTTLS where the server offers it. Whoever can change what is sent can take the offer away.
    Opportunistic,
    /// Not at all: for a relay on this machine.
    None,
    /// TLS from the first byte.
    Implicit,
}

impl SmtpTls {
    fn default_port(self) -> u16 {
        match self {
            Self::Implicit => 465,
            Self::None => 25,
            Self::Required | Self::Opportunistic => 587,
        }
    }
}

/// An account on the mail server.
#[derive(Clone, Debug)]
pub struct SmtpLogin {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// The `[alerts.webhook]` table. Each delivery is a POST with a JSON body, the headers `Wardgate-Delivery` (its id,
/// the same for every attempt) and `Wardgate-Signature` (`t=<Unix time>,v1=<hex>`, an HMAC-SHA256 with the secret
/// over `<t>.<body>`). Any status from 200 to 299 counts as received; redirects are not followed.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WebhookTable")]
pub struct WebhookConfig {
    /// Where to; `https`, or `http` for a receiver on this machine or network.
    pub url: Url,
    /// The shared secret that signs.
    pub secret: Secret,
    /// A PEM file with further root certificates.
    pub ca: Option<PathBuf>,
}

/// The `[alerts.digest]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DigestConfig {
    /// The time of day at which the digest of the day before is made; on Mondays that of the week as well.
    pub at: Time,
}

impl Default for DigestConfig {
    fn default() -> Self {
        Self { at: Time::constant(8, 0, 0, 0) }
    }
}

/// A secret of the configuration; `Debug` hides it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `[alerts.smtp]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmtpTable {
    server: String,
    port: Option<u16>,
    #[serde(default)]
    tls: SmtpTls,
    username: Option<String>,
    password: Option<Secret>,
    from: Mailbox,
    to: Vec<Address>,
    ca: Option<PathBuf>,
}

impl TryFrom<SmtpTable> for SmtpConfig {
    type Error = &'static str;

    fn try_from(table: SmtpTable) -> Result<Self, Self::Error> {
        if table.server.is_empty() {
            return Err("`server` must name the mail server");
        }
        if table.to.is_empty() {
            return Err("`to` must hold at least one address");
        }
        let login = match (table.username, table.password) {
            (Some(username), Some(password)) => Some(SmtpLogin { username, password }),
            (None, None) => None,
            _ => return Err("`username` and `password` belong together"),
        };
        if login.is_some() && matches!(table.tls, SmtpTls::None | SmtpTls::Opportunistic) {
            return Err(
                "a password needs `tls = \"required\"` or `\"implicit\"`: it would be sent in the clear",
            );
        }
        Ok(Self {
            server: table.server,
            port: table.port.unwrap_or(table.tls.default_port()),
            tls: table.tls,
            login,
            from: table.from,
            to: table.to,
            ca: table.ca,
        })
    }
}

/// `[alerts.webhook]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    url: String,
    secret: Secret,
    ca: Option<PathBuf>,
}

impl TryFrom<WebhookTable> for WebhookConfig {
    type Error = &'static str;

    fn try_from(table: WebhookTable) -> Result<Self, Self::Error> {
        let url = Url::parse(&table.url).map_err(|_| "`url` is not a URL")?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err("`url` must begin with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("`url` must not hold a password: requests are signed with `secret`");
        }
        if table.secret.0.is_empty() {
            return Err("`secret` must not be empty");
        }
        Ok(Self { url, secret: table.secret, ca: table.ca })
    }
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(deserializer)?;
    TimeZone::get(&name).map_err(|_| {
        D::Error::custom(format!("`{name}` is not a time zone; write one such as `Europe/London`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMTP: &str = "[smtp]\nserver = 'mail.example.org'\nfrom = 'Wardgate <wardgate@example.org>'\n";

    #[test]
    fn an_empty_table_is_complete() {
        let config: AlertConfig = toml::from_str("").unwrap();
        assert!(config.receivers().is_empty());
        assert_eq!(config.digest.at, Time::constant(8, 0, 0, 0));
    }

    #[test]
    fn a_full_table() {
        let config: AlertConfig = toml::from_str(&format!(
            "time_zone = 'Europe/London'\n{SMTP}to = ['dsl@example.org', 'deputy@example.org']\n\
             tls = 'implicit'\nusername = 'wardgate'\npassword = 'hunter2'\n\
             [webhook]\nurl = 'https://desk.example.org/hook'\nsecret = 'swordfish'\n\
             [digest]\nat = '07:30'"
        ))
        .unwrap();
        assert_eq!(config.smtp.as_ref().unwrap().port, 465);
        assert_eq!(config.digest.at, Time::constant(7, 30, 0, 0));
        assert_eq!(config.time_zone.iana_name(), Some("Europe/London"));
        let receivers: Vec<_> = config.receivers().into_iter().map(|to| (to.channel, to.address)).collect();
        assert_eq!(
            receivers,
            [
                (Channel::Email, "dsl@example.org".to_owned()),
                (Channel::Email, "deputy@example.org".to_owned()),
                (Channel::Webhook, String::new()),
            ]
        );
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("swordfish"), "{shown}");
    }

    #[test]
    fn default_ports() {
        for (tls, port) in [("required", 587), ("opportunistic", 587), ("none", 25), ("implicit", 465)] {
            let text = format!("{SMTP}to = ['dsl@example.org']\ntls = '{tls}'");
            assert_eq!(toml::from_str::<AlertConfig>(&text).unwrap().smtp.unwrap().port, port, "{tls}");
        }
    }

    #[test]
    fn refused_tables() {
        let to = "to = ['dsl@example.org']\n";
        let hook = "[webhook]\nsecret = 's'\n";
        for (name, text, said) in [
            ("unknown key", "colour = 'red'".to_owned(), "unknown field"),
            ("unknown zone", "time_zone = 'Europe/Lodnon'".to_owned(), "Europe/London"),
            ("bad time", "[digest]\nat = '25:00'".to_owned(), "at"),
            ("nobody", format!("{SMTP}to = []"), "at least one"),
            ("no address", format!("{SMTP}to = ['dsl']"), "to"),
            ("no server", SMTP.replace("mail.example.org", "") + to, "server"),
            ("half a login", format!("{SMTP}{to}username = 'a'"), "belong together"),
            ("clear password", format!("{SMTP}{to}tls = 'none'\nusername = 'a'\npassword = 'b'"), "clear"),
            ("unknown tls", format!("{SMTP}{to}tls = 'maybe'"), "maybe"),
            ("not a URL", format!("{hook}url = 'desk'"), "not a URL"),
            ("other scheme", format!("{hook}url = 'ftp://desk.example.org'"), "https://"),
            ("password in URL", format!("{hook}url = 'https://a:b@desk.example.org'"), "secret"),
            ("no secret", "[webhook]\nurl = 'https://desk.example.org'".to_owned(), "secret"),
            ("empty secret", "[webhook]\nurl = 'https://e.org'\nsecret = ''".to_owned(), "empty"),
        ] {
            let error = toml::from_str::<AlertConfig>(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{name}: {error}");
        }
    }
}
