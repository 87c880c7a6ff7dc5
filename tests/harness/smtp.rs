//! A mail server that keeps what it is given, with STARTTLS where a test wants it, and that can be told to be away.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::pki::Pki;

/// A message as delivered.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// The envelope's sender.
    pub(crate) from: String,
    /// The envelope's recipients.
    pub(crate) to: Vec<String>,
    /// Headers and body, line ends as sent.
    pub(crate) data: String,
    /// Whether it came over TLS.
    pub(crate) encrypted: bool,
}

impl Mail {
    /// The value of a header field, unfolded.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let unfolded = self.data.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{}:", name.to_lowercase());
        let line = unfolded.split("\r\n").find(|line| line.to_lowercase().starts_with(&prefix))?;
        Some(line[prefix.len()..].trim().to_owned())
    }

    /// Everything readable in the message, quoted-printable undone.
    pub(crate) fn text(&self) -> String {
        let joined = self.data.replace("=\r\n", "");
        let mut text = Vec::new();
        let mut rest = joined.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            let escape =
                after.get(..2).filter(|_| byte == b'=').and_then(|hex| std::str::from_utf8(hex).ok());
            match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(escaped) => {
                    text.push(escaped);
                    rest = &after[2..];
                }
                None => {
                    text.push(byte);
                    rest = after;
                }
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// A running mail server.
pub(crate) struct Smtp {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
    _tasks: JoinSet<()>,
}

impl Smtp {
    /// Listens at this address (port 0 for any); with a PKI it offers STARTTLS and takes no mail without.
    pub(crate) async fn start(at: SocketAddr, pki: Option<&Pki>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let acceptor = pki.map(|pki| TlsAcceptor::from(pki.server(&[])));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::clone(&mails)));
        Self { address, mails, _tasks: tasks }
    }

    /// Every message so far.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, mails: Arc<Mutex<Vec<Mail>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, mails) = (acceptor.clone(), Arc::clone(&mails));
        connections.spawn(serve(stream, acceptor, mails));
    }
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, mails: Arc<Mutex<Vec<Mail>>>) {
    let mut stream = BufReader::new(stream);
    let _ = stream.write_all(b"220 mail.example.test ready\r\n").await;
    let Some(acceptor) = acceptor else {
        let _ = session(&mut stream, Offer::Plain, &mails).await;
        return;
    };
    if session(&mut stream, Offer::StartTls, &mails).await == Some(Next::Tls) {
        let Ok(stream) = acceptor.accept(stream.into_inner()).await else { return };
        let _ = session(&mut BufReader::new(stream), Offer::Encrypted, &mails).await;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Offer {
    Plain,
    StartTls,
    Encrypted,
}

#[derive(PartialEq)]
enum Next {
    Tls,
    Over,
}

/// One conversation, until QUIT, STARTTLS or the end of the connection.
async fn session<S>(stream: &mut BufReader<S>, offer: Offer, mails: &Mutex<Vec<Mail>>) -> Option<Next>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let line = line(stream).await?;
        let verb = line.get(..4).unwrap_or("").to_uppercase();
        let reply = match verb.as_str() {
            "EHLO" if offer == Offer::StartTls => "250-mail.example.test\r\n250 STARTTLS",
            "EHLO" => "250-mail.example.test\r\n250 8BITMIME",
            "STAR" if offer == Offer::StartTls => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                return Some(Next::Tls);
            }
            "MAIL" if offer == Offer::StartTls => "530 say STARTTLS first",
            "MAIL" => {
                from = address(&line);
                "250 ok"
            }
            "RCPT" => {
                to.push(address(&line));
                "250 ok"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                let data = data(stream).await?;
                let (from, to) = (std::mem::take(&mut from), std::mem::take(&mut to));
                // Kept before it is acknowledged: a sender that is killed in between has delivered it.
                mails.lock().unwrap().push(Mail { from, to, data, encrypted: offer == Offer::Encrypted });
                "250 kept"
            }
            "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n").await;
                return Some(Next::Over);
            }
            "HELO" | "NOOP" | "RSET" => "250 ok",
            _ => "502 not here",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
    }
}

async fn line(stream: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = String::new();
    let count = stream.read_line(&mut line).await.ok()?;
    (count > 0).then(|| line.trim_end().to_owned())
}

async fn data(stream: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<String> {
    let mut data = String::new();
    loop {
        let line = line(stream).await?;
        match line.strip_prefix('.') {
            Some("") => return Some(data),
            Some(stuffed) => data.push_str(stuffed),
            None => data.push_str(&line),
        }
        data.push_str("\r\n");
    }
}

fn address(line: &str) -> String {
    line.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or("", |(inside, _)| inside)
        .to_owned()
}
