//! Deliveries by e-mail: one message to one receiver, as plain text and HTML.

use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use wardgate_store::Delivery;

use crate::courier::SendError;
use crate::letter::Letter;
use crate::{AlertError, SmtpConfig, SmtpTls, tls};

/// How long the mail server may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take for one message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest reason that is recorded of a failure, in characters.
const MAX_REASON: usize = 200;

/// The mail server.
pub(crate) struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Email {
    pub(crate) fn new(config: SmtpConfig) -> Result<Self, AlertError> {
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.server)
            .port(config.port)
            .timeout(Some(ANSWER_TIMEOUT))
            .tls(protection(&config)?);
        if let Some(login) = config.login {
            transport =
                transport.credentials(Credentials::new(login.username, login.password.reveal().to_owned()));
        }
        Ok(Self { transport: transport.build(), from: config.from })
    }

    /// Sends a letter; returns once the mail server has taken charge of it.
    pub(crate) async fn send(&self, delivery: &Delivery, letter: &Letter) -> Result<(), SendError> {
        let message = self.message(delivery, letter).map_err(SendError::Refused)?;
        match tokio::time::timeout(MESSAGE_TIMEOUT, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(SendError::Unreachable("the mail server took too long".to_owned())),
        }
    }

    /// The message. Its id is the delivery's, so that a mail server or a person can tell a repetition.
    fn message(&self, delivery: &Delivery, letter: &Letter) -> Result<Message, String> {
        let to: Address =
            delivery.receiver.address.parse().map_err(|_| "the address is not one".to_owned())?;
        let text = letter.text().map_err(|error| error.to_string())?;
        let html = letter.html().map_err(|error| error.to_string())?;
        Message::builder()
            .message_id(Some(format!("<{}@wardgate>", delivery.id)))
            .from(self.from.clone())
            .to(to.into())
            .subject(letter.subject())
            // RFC 3834: keeps holiday replies away.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(MultiPart::alternative_plain_html(text, html))
            .map_err(|error| error.to_string())
    }
}

fn protection(config: &SmtpConfig) -> Result<Tls, AlertError> {
    if config.tls == SmtpTls::None {
        return Ok(Tls::None);
    }
    let unusable = |error: lettre::transport::smtp::Error| AlertError::Tls(error.to_string());
    let mut parameters = TlsParameters::builder(config.server.clone());
    if let Some(path) = &config.ca {
        for certificate in tls::certificates(path)? {
            let certificate = Certificate::from_der(certificate.to_vec()).map_err(unusable)?;
            parameters = parameters.add_root_certificate(certificate);
        }
    }
    let parameters = parameters.build().map_err(unusable)?;
    Ok(match config.tls {
        SmtpTls::Implicit => Tls::Wrapper(parameters),
        SmtpTls::Opportunistic => Tls::Opportunistic(parameters),
        SmtpTls::Required | SmtpTls::None => Tls::Required(parameters),
    })
}

/// Why it failed, without the server's own words: they tend to name the receiver.
fn failure(error: &lettre::transport::smtp::Error) -> SendError {
    if let Some(code) = error.status() {
        return SendError::Refused(format!("the mail server answered {code}"));
    }
    if error.is_response() {
        return SendError::Unreachable("the mail server's answer cannot be understood".to_owned());
    }
    let reason: String = error.to_string().chars().take(MAX_REASON).collect();
    SendError::Unreachable(format!("the mail server cannot be used: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::smtp::{Behaviour, SmtpServer};
    use crate::testing::{Certificate, alert_letter, email_delivery};

    fn email(server: &SmtpServer, table: &str) -> Email {
        let config = format!(
            "server = 'localhost'\nport = {}\nfrom = 'Wardgate <wardgate@example.org>'\nto = ['dsl@example.org']\n{table}",
            server.port()
        );
        Email::new(toml::from_str(&config).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_message_as_it_arrives() {
        let server = SmtpServer::start(Behaviour::default()).await;
        let delivery = email_delivery("dsl@example.org");
        email(&server, "tls = 'none'").send(&delivery, &alert_letter()).await.unwrap();
        let [mail] = &server.mails()[..] else { panic!("one mail") };
        assert_eq!((mail.from.as_str(), mail.to.as_str()), ("wardgate@example.org", "dsl@example.org"));
        for expected in [
            &format!("Message-ID: <{}@wardgate>\r\n", delivery.id),
            "Subject: Wardgate: immediate concern, self-harm (learners)\r\n",
            "From: Wardgate <wardgate@example.org>\r\n",
            "To: dsl@example.org\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/alternative;",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Type: text/html; charset=utf-8\r\n",
        ] {
            assert!(mail.data.contains(expected), "{expected}: {}", mail.data);
        }
        let (head, _) = mail.data.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("alice"), "{head}");
    }

    #[tokio::test]
    async fn protection_and_login() {
        let certificate = Certificate::new();
        let ca = format!("ca = '{}'\n", certificate.path().display());
        let login = "username = 'wardgate'\npassword = 'hunter2'\n";
        let starttls = || Behaviour { starttls: Some(certificate.server()), ..Behaviour::default() };
        for (name, behaviour, table, sent, protected) in [
            ("STARTTLS", starttls(), format!("{ca}tls = 'required'\n{login}"), true, true),
            ("STARTTLS, not trusted", starttls(), "tls = 'required'".to_owned(), false, false),
            ("no STARTTLS", Behaviour::default(), format!("{ca}tls = 'required'"), false, false),
            ("offered", starttls(), format!("{ca}tls = 'opportunistic'"), true, true),
            ("not offered", Behaviour::default(), format!("{ca}tls = 'opportunistic'"), true, false),
            ("offered, not wanted", starttls(), "tls = 'none'".to_owned(), true, false),
            (
                "from the first byte",
                Behaviour { implicit: Some(certificate.server()), ..Behaviour::default() },
                format!("{ca}tls = 'implicit'\n{login}"),
                true,
                true,
            ),
        ] {
            let server = SmtpServer::start(behaviour).await;
            let result =
                email(&server, &table).send(&email_delivery("dsl@example.org"), &alert_letter()).await;
            assert_eq!(result.is_ok(), sent, "{name}: {result:?}");
            let mails = server.mails();
            assert_eq!(mails.len(), usize::from(sent), "{name}");
            assert_eq!(mails.iter().any(|mail| mail.protected), protected, "{name}");
            assert_eq!(mails.iter().any(|mail| mail.login), table.contains("hunter2"), "{name}");
        }
    }

    #[tokio::test]
    async fn failures_name_no_receiver() {
        let refuse = |recipient: &'static str, data| Behaviour { recipient, data, ..Behaviour::default() };
        for (name, behaviour, refused) in [
            ("no such mailbox", refuse("550 5.1.1 dsl@example.org unknown", "250 ok"), Some("550")),
            ("try later", refuse("451 greylisted dsl@example.org", "250 ok"), Some("451")),
            ("full", refuse("250 ok", "552 dsl@example.org is full"), Some("552")),
            ("nonsense", refuse("dsl@example.org?", "250 ok"), None),
        ] {
            let server = SmtpServer::start(behaviour).await;
            let result = email(&server, "tls = 'none'")
                .send(&email_delivery("dsl@example.org"), &alert_letter())
                .await;
            let why = match (result, refused) {
                (Err(SendError::Refused(why)), Some(code)) if why.contains(code) => why,
                (Err(SendError::Unreachable(why)), None) => why,
                (result, _) => panic!("{name}: {result:?}"),
            };
            assert!(!why.contains("dsl"), "{name}: {why}");
            assert!(server.mails().is_empty(), "{name}");
        }
    }
}
