//! The first bytes of a tunnel: what they are, and what becomes of the tunnel then. They are looked at and not
//! consumed; whoever comes next reads them again.
//!
//! CONNECT says where a client wants to go. TLS says it again (SNI), and the requests inside say it a third time. Only
//! what all of them agree on is what was decided; where they do not, policy is asked about each name and the strictest
//! answer counts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use wardgate_core::{
    BoxFuture, Carried, Decision, EventGuard, Finding, Fronting, Host, Outcome, Phase, Route, Scheme, Target,
};
use wardgate_tls::{Hello, Peek, Peeker};

use crate::config::seconds;
use crate::connection::{Ends, Leg, Tunnel, serve_http1};
use crate::framing::Busy;
use crate::intercept::{self, Order};
use crate::local::INTERNAL_HOST;
use crate::pages::MALFORMED_RULE;
use crate::scan::Context;
use crate::shared::Shared;
use crate::stream::{Client, Prefixed, Stream};
use crate::tunnel;
use crate::upstream::UpstreamError;

/// A client that says nothing for so long may be waiting for the origin to speak first, as mail servers and SSH do.
const SILENCE: Duration = Duration::from_secs(1);
/// What is read at a time of a first message.
const READ_BYTES: usize = 4 * 1024;
/// Longest method of HTTP, with the space behind it, by which a request is told from other protocols.
const MAX_METHOD: usize = 24;
/// The fatal TLS alert `access_denied` (RFC 8446, section 6): the best that can be told to a client whose tunnel is
/// closed for the name in its greeting.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// What a client begins a tunnel with.
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    Tls(Hello),
    /// TLS that cannot be understood, with the reason.
    Broken(&'static str),
    Http,
    /// Neither; the reason says more.
    Other(&'static str),
}

/// A CONNECT that was answered, before its first bytes are there.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ends: Ends,
    /// Keeps an HTTP/2 connection from being closed as unused.
    pub(crate) _busy: Busy,
    pub(crate) context: Arc<Context>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) event: EventGuard,
    /// What was decided when nothing but the CONNECT was known.
    pub(crate) route: Route,
    /// The connection to the origin, where it was opened already.
    pub(crate) origin: Option<TcpStream>,
}

impl Opened {
    /// Serves the tunnel to its end.
    pub(crate) fn run(self, upgrade: OnUpgrade) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (client, first) = Client::of(upgraded);
            self.serve(client, first).await;
        })
    }

    async fn serve(mut self, mut client: Client, first: Bytes) {
        let mut reader = Reader { read: first.into(), peeker: Peeker::default() };
        let shared = Arc::clone(&self.shared);
        let opening = tokio::select! {
            opening = self.opening(&mut client, &mut reader) => opening,
            () = shared.ending.cancelled() => return self.event.ended(Outcome::ShutDown, None),
        };
        let read = reader.read.freeze();
        match opening {
            Ok(Opening::Tls(hello)) => self.serve_tls(client, read, hello).await,
            Ok(Opening::Broken(reason)) => self.refuse(reason),
            Ok(Opening::Http) => self.serve_http(client, read).await,
            Ok(Opening::Other(what)) => self.serve_other(client, read, what).await,
            Err(failure) if failure.kind() == io::ErrorKind::TimedOut => {
                self.event.ended(Outcome::TimedOut, Some("the client began nothing in the tunnel".into()));
            }
            Err(_) => self.event.ended(Outcome::ClientClosed, None),
        }
    }

    /// Reads until it is clear what the tunnel carries.
    async fn opening(&mut self, client: &mut Client, reader: &mut Reader) -> io::Result<Opening> {
        let until = Instant::now() + seconds(self.shared.config.head_timeout_secs);
        if let Ok(opening) = timeout(SILENCE, reader.opening(client)).await {
            return opening;
        }
        if reader.read.is_empty() && self.origin_may_begin().await {
            let idle = seconds(self.shared.config.tunnel_idle_timeout_secs);
            let Some(origin) = &self.origin else { return Err(io::ErrorKind::TimedOut.into()) };
            let first = async {
                tokio::select! {
                    opening = reader.opening(client) => opening,
                    ready = origin.readable() => ready.map(|()| Opening::Other("the origin speaks first")),
                }
            };
            return timeout(idle, first).await?;
        }
        timeout_at(until, reader.opening(client)).await?
    }

    /// Whether what is neither TLS nor HTTP may pass here, and the origin is there to begin.
    async fn origin_may_begin(&mut self) -> bool {
        if self.is_internal() || self.ask(Carried::Other).route != Some(Route::Tunnel) {
            return false;
        }
        self.dial().await.is_ok()
    }

    /// Connects to the origin, unless that was done before the CONNECT was answered.
    async fn dial(&mut self) -> Result<(), UpstreamError> {
        if self.origin.is_none() {
            // Boxed: a quiet tunnel keeps no room for what is behind it.
            self.origin = Some(Box::pin(self.shared.upstream.dial(&self.context.target)).await?);
        }
        Ok(())
    }

    fn is_internal(&self) -> bool {
        self.context.target.host().as_name() == Some(INTERNAL_HOST)
    }

    /// Plain HTTP, such as a WebSocket's handshake: each request in it is decided by itself.
    async fn serve_http(mut self, client: Client, read: Bytes) {
        self.origin = None;
        self.event.route = Some(Route::Intercept);
        self.event.ended(Outcome::Completed, Some("plain HTTP in the tunnel".into()));
        drop(self.event);
        let tunnel = Tunnel {
            scheme: Scheme::Http,
            target: self.context.target.clone(),
            who: self.context.who.clone(),
            sni: None,
            beside: None,
        };
        let client = Prefixed::new(read, client);
        Box::pin(serve_http1(self.shared, self.ends, Leg::Inside(tunnel), client)).await;
    }

    /// Bytes of a kind that is not understood: they pass only where policy says so.
    async fn serve_other(mut self, client: Client, read: Bytes, what: &'static str) {
        if self.is_internal() {
            return self.refuse(what);
        }
        let decision = self.ask(Carried::Other);
        match self.take(&decision) {
            Route::Tunnel => self.relay(client, read).await,
            Route::Intercept | Route::Refuse => self.event.ended(Outcome::Malformed, Some(what.into())),
        }
    }

    /// Closes the tunnel without asking policy: nothing passes that could be understood in two ways.
    fn refuse(mut self, why: &'static str) {
        self.event.overruled(MALFORMED_RULE);
        self.event.ended(Outcome::Malformed, Some(why.into()));
    }

    async fn serve_tls(mut self, client: Client, read: Bytes, hello: Hello) {
        let names = match names(&self.context.target, &hello) {
            Ok(names) => names,
            Err(reason) => return self.refuse(reason),
        };
        let route = if self.is_internal() { Route::Intercept } else { self.settle(&names) };
        if !matches!(names, Names::Agree) {
            let connect = self.context.target.host().to_string().into();
            self.event.fronting = Some(Fronting { connect, sni: hello.server_name.clone(), host: None });
        }
        match route {
            Route::Tunnel => self.relay(client, read).await,
            Route::Intercept => self.intercept(client, read, hello, names).await,
            Route::Refuse => self.deny(client).await,
        }
    }

    /// What becomes of the tunnel now that it is known whom TLS is for.
    fn settle(&mut self, names: &Names) -> Route {
        match names {
            Names::Agree => self.route,
            Names::Unsaid => {
                let decision = self.ask(Carried::UnnamedTls);
                self.take(&decision)
            }
            Names::Differ(other) => {
                let other = Context { target: other.clone(), ..Context::clone(&self.context) };
                let (found, fault) = match other.look(None) {
                    Ok(report) => (report.findings, None),
                    Err(fault) => (Vec::new(), Some(fault)),
                };
                let one = self.ask(Carried::Tls);
                let decision = one.stricter(other.decide(Phase::Opened(Carried::Tls), &found, fault));
                self.event.findings.extend(found);
                self.event.fault = self.event.fault.or(fault);
                self.take(&decision)
            }
        }
    }

    /// Notes a decision; what becomes of the tunnel by it.
    fn take(&mut self, decision: &Decision) -> Route {
        self.event.decided(decision);
        decision.route.unwrap_or(Route::Refuse)
    }

    /// Asks policy about the host of the CONNECT.
    fn ask(&self, carried: Carried) -> Decision {
        self.context.decide(Phase::Opened(carried), &self.findings, self.event.fault)
    }

    /// Opens the tunnel. Where CONNECT went to a bare address it is the name in TLS that the certificate is for, and
    /// that the requests inside go to; the address is asked about all the same.
    async fn intercept(mut self, client: Client, read: Bytes, hello: Hello, names: Names) {
        self.origin = None;
        let connect = self.context.target.clone();
        let (target, beside) = match (connect.host(), names) {
            (Host::Address(_), Names::Differ(other)) => (other, Some(connect)),
            (_, Names::Differ(other)) => (connect, Some(other)),
            _ => (connect, None),
        };
        let who = self.context.who.clone();
        let tunnel = Tunnel { scheme: Scheme::Https, target, who, sni: hello.server_name, beside };
        let client = Prefixed::new(read, client);
        let order = if hello.prefers_chacha20 { Order::Theirs } else { Order::Ours };
        Box::pin(intercept::serve(self.shared, self.ends, tunnel, self.event, client, order)).await;
    }

    async fn relay(mut self, client: Client, read: Bytes) {
        if let Err(error) = self.dial().await {
            return self.event.ended(Outcome::UpstreamFailed, Some(error.reason()));
        }
        let Some(origin) = self.origin else { return };
        let idle = seconds(self.shared.config.tunnel_idle_timeout_secs);
        tunnel::relay(client, read, origin, self.event, idle, &self.shared.ending).await;
    }

    /// Tells a client in the words of TLS that its tunnel is closed. There is no certificate to show a page under.
    async fn deny(mut self, mut client: Client) {
        let detail = "the server name in the ClientHello leads to a host that is refused";
        self.event.ended(Outcome::Completed, Some(detail.into()));
        let _ = timeout(SILENCE, async {
            client.write_all(&ACCESS_DENIED).await?;
            client.shutdown().await
        })
        .await;
    }
}

/// Whether CONNECT and TLS speak of the same host.
#[derive(Debug, PartialEq, Eq)]
enum Names {
    Agree,
    /// TLS does not say.
    Unsaid,
    /// TLS is for another host: this one.
    Differ(Target),
}

/// Compares the names. A client that goes to an address has none to give.
fn names(connect: &Target, hello: &Hello) -> Result<Names, &'static str> {
    const NO_HOST: &str = "the server name in the ClientHello is not a host";
    match (connect.host(), &hello.server_name) {
        (Host::Address(_), None) => Ok(Names::Agree),
        (Host::Name(_), None) => Ok(Names::Unsaid),
        (Host::Name(host), Some(name)) if host == name => Ok(Names::Agree),
        (host, Some(name)) => match Host::parse(name).map_err(|_| NO_HOST)? {
            named if named == *host => Ok(Names::Agree),
            named => {
                let other = Target::connect(&format!("{named}:{}", connect.port()));
                other.map(Names::Differ).map_err(|_| NO_HOST)
            }
        },
    }
}

/// What was read of a first message, and how far it was looked at.
struct Reader {
    read: BytesMut,
    peeker: Peeker,
}

impl Reader {
    /// Reads until it is clear what the client speaks. May be dropped and begun again: nothing that was read is lost.
    async fn opening(&mut self, client: &mut impl Stream) -> io::Result<Opening> {
        loop {
            if let Some(opening) = self.look() {
                return Ok(opening);
            }
            if let Some(socket) = client.socket() {
                socket.readable().await?; // whoever is silent needs no buffer
            }
            self.read.reserve(READ_BYTES);
            if client.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn look(&mut self) -> Option<Opening> {
        match self.peeker.look(&self.read) {
            Peek::Partial => None,
            Peek::Hello(hello) => Some(Opening::Tls(hello)),
            Peek::Broken(reason) => Some(Opening::Broken(reason)),
            Peek::NotTls => is_http(&self.read).map(|http| {
                if http { Opening::Http } else { Opening::Other("neither TLS nor HTTP in the tunnel") }
            }),
        }
    }
}

/// Whether bytes begin as a request of HTTP/1 does: a method, a space, and a target of a form that requests have
/// (RFC 9112, section 3). Nothing where it is too soon to say.
fn is_http(bytes: &[u8]) -> Option<bool> {
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    let Some(end) = bytes.iter().position(|byte| !is_letter(byte)) else {
        return (bytes.len() > MAX_METHOD).then_some(false);
    };
    if end == 0 || end > MAX_METHOD || bytes[end] != b' ' {
        return Some(false);
    }
    match &bytes[end + 1..] {
        _ if &bytes[..end] == b"CONNECT" => Some(true), // told on a page that this is no place for it
        [] => None,
        [b'/' | b'*', ..] => Some(true),
        target => {
            const ABSOLUTE: &[u8] = b"http";
            let length = target.len().min(ABSOLUTE.len());
            let absolute = target[..length].eq_ignore_ascii_case(&ABSOLUTE[..length]);
            (!absolute || length == ABSOLUTE.len()).then_some(absolute)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_other_protocols() {
        for (name, bytes, expected) in [
            ("a request", &b"GET / HTTP/1.1\r\n"[..], Some(true)),
            ("an absolute target", b"GET http://a.example/ HTTP/1.1\r\n", Some(true)),
            ("an asterisk", b"OPTIONS * HTTP/1.1\r\n", Some(true)),
            ("an unusual method", b"VERSION-CONTROL /a HTTP/1.1\r\n", Some(true)),
            ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n", Some(true)),
            ("a beginning", b"GE", None),
            ("a method", b"GET ", None),
            ("the beginning of an absolute target", b"GET htt", None),
            ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", Some(false)),
            ("SMTP", b"EHLO mail.example\r\n", Some(false)),
            ("IRC", b"NICK somebody\r\n", Some(false)),
            ("RTSP", b"DESCRIBE rtsp://a.example/ RTSP/1.0\r\n", Some(false)),
            ("a tunnel in the tunnel", b"CONNECT b.example:443 HTTP/1.1\r\n", Some(true)),
            ("small letters", b"get / HTTP/1.1\r\n", Some(false)),
            ("a long word", &[b'A'; 40], Some(false)),
            ("bytes", &[0, 1, 2], Some(false)),
        ] {
            assert_eq!(is_http(bytes), expected, "{name}");
            if expected == Some(true) {
                let first = (1..=bytes.len()).find_map(|end| is_http(&bytes[..end]));
                assert_eq!(first, expected, "{name}, byte by byte");
            }
        }
    }

    #[test]
    fn whether_names_agree() {
        let differ = |name: &str| Ok(Names::Differ(Target::connect(name).unwrap()));
        for (name, connect, sni, expected) in [
            ("the same", "a.example:443", Some("a.example"), Ok(Names::Agree)),
            ("a trailing dot", "a.example:443", Some("a.example."), Ok(Names::Agree)),
            (
                "in another spelling",
                "b\u{fc}cher.example:443",
                Some("xn--bcher-kva.example"),
                Ok(Names::Agree),
            ),
            ("an address without a name", "192.0.2.1:443", None, Ok(Names::Agree)),
            ("an address as a name", "192.0.2.1:443", Some("192.0.2.1"), Ok(Names::Agree)),
            ("unsaid", "a.example:443", None, Ok(Names::Unsaid)),
            ("another", "a.example:8443", Some("b.example"), differ("b.example:8443")),
            ("a name for an address", "192.0.2.1:443", Some("b.example"), differ("b.example:443")),
            ("another address", "a.example:443", Some("192.0.2.1"), differ("192.0.2.1:443")),
            (
                "no host",
                "a.example:443",
                Some("a..example"),
                Err("the server name in the ClientHello is not a host"),
            ),
        ] {
            let hello = Hello { server_name: sni.map(Into::into), offers_h2: false, prefers_chacha20: false };
            assert_eq!(names(&Target::connect(connect).unwrap(), &hello), expected, "{name}");
        }
    }
}
