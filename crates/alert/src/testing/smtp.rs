//! A mail server as small as the tests need: greeting, EHLO, STARTTLS, AUTH, one or more messages, QUIT.

use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// What the server offers and answers.
#[derive(Clone)]
pub(crate) struct Behaviour {
    pub(crate) starttls: Option<Arc<ServerConfig>>,
    pub(crate) implicit: Option<Arc<ServerConfig>>,
    /// The answer to `RCPT TO`.
    pub(crate) recipient: &'static str,
    /// The answer to a message.
    pub(crate) data: &'static str,
    /// Whether the connection is dropped once a message was taken in, before the answer.
    pub(crate) silent: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { starttls: None, implicit: None, recipient: "250 ok", data: "250 ok", silent: false }
    }
}

/// A message that was taken in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) data: String,
    /// Whether it came over TLS.
    pub(crate) protected: bool,
    /// Whether the client had logged in.
    pub(crate) login: bool,
}

impl Mail {
    /// The value of a header that stands on one line.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.data.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The server; it ends when dropped.
pub(crate) struct SmtpServer {
    port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    _task: AbortOnDropHandle<()>,
}

impl SmtpServer {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), behaviour)
    }

    /// Takes over a port that was known before the server was there.
    pub(crate) fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let port = listener.local_addr().unwrap().port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&mails);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that breaks off is one of the things that the tests are about.
                let _ = serve(stream, &behaviour, &taken).await;
            }
        });
        Self { port, mails, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, behaviour: &Behaviour, mails: &Mutex<Vec<Mail>>) -> std::io::Result<()> {
    if let Some(tls) = &behaviour.implicit {
        let mut stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
        stream.write_all(b"220 hello\r\n").await?;
        return talk(stream, behaviour, true, mails).await.map(drop);
    }
    let mut stream = stream;
    stream.write_all(b"220 hello\r\n").await?;
    let (stream, upgrade) = talk(stream, behaviour, false, mails).await?;
    if let (true, Some(tls)) = (upgrade, &behaviour.starttls) {
        let stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
        talk(stream, behaviour, true, mails).await?;
    }
    Ok(())
}

/// Talks until the client has had enough, or wants TLS (which the flag says).
async fn talk<S>(
    stream: S,
    behaviour: &Behaviour,
    protected: bool,
    mails: &Mutex<Vec<Mail>>,
) -> std::io::Result<(S, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut mail = Mail { protected, ..Mail::default() };
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok((stream.into_inner(), false));
        }
        let answer = match line.trim_end().split(' ').next().unwrap_or_default() {
            "EHLO" if behaviour.starttls.is_some() && !protected => "250-localhost\r\n250 STARTTLS",
            "EHLO" if protected => "250-localhost\r\n250 AUTH PLAIN",
            "EHLO" => "250 localhost",
            "STARTTLS" => {
                stream.write_all(b"220 go ahead\r\n").await?;
                return Ok((stream.into_inner(), true));
            }
            "AUTH" => {
                mail.login = true;
                "235 welcome"
            }
            "MAIL" => {
                mail.from = address(&line);
                "250 ok"
            }
            "RCPT" => {
                mail.to = address(&line);
                behaviour.recipient
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                mail.data = read_data(&mut stream).await?;
                if behaviour.data.starts_with('2') {
                    mails.lock().unwrap().push(mail.clone());
                }
                if behaviour.silent {
                    return Ok((stream.into_inner(), false));
                }
                behaviour.data
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

async fn read_data(stream: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line == ".\r\n" {
            return Ok(data);
        }
        data.push_str(&line);
    }
}

/// What stands between `<` and `>`.
fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(address, _)| address.to_owned()).unwrap_or_default()
}
