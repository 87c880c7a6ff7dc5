//! One client connection, plain or inside an intercepted tunnel: HTTP/1.1 or HTTP/2, request after request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderMap, Request};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};
use wardgate_core::{Entrance, EventGuard, Fronting, Host, Outcome, Scheme, Target, Verdict, Who};

use crate::config::seconds;
use crate::framing::{Framed, Framing, MAX_FIELDS, StreamCounts, Streams, Violation};
use crate::identify;
use crate::listener::Place;
use crate::pages::MALFORMED_RULE;
use crate::request;
use crate::shared::Shared;
use crate::stall::Patient;
use crate::upstream::OwnOrigins;

/// Requests of one HTTP/2 client connection under way at a time.
const MAX_STREAMS: u32 = 200;
/// What an HTTP/2 client may send before we have read it: per stream, and per connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What of an answer waits for an HTTP/2 client that has opened its windows and does not read.
const SEND_BUFFER: usize = 128 * 1024;
/// At most so much of an upload and of an answer waits here for whoever should take it, in one exchange.
pub(crate) const UNREAD_UPLOAD: u64 = STREAM_WINDOW as u64;
pub(crate) const UNSENT_ANSWER: u64 = SEND_BUFFER as u64;
/// An HTTP/2 connection is probed after this time without a frame, and closed when the probe is not answered.
const PING_AFTER: Duration = Duration::from_secs(45);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a client may take to agree that an unused connection ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where a connection's requests come from.
pub(crate) enum Leg {
    /// A client that speaks to the proxy.
    Open,
    /// A client that believes to speak to an origin, inside a tunnel.
    Inside(Tunnel),
}

/// The tunnel that an intercepted connection runs in.
pub(crate) struct Tunnel {
    /// Scheme of the requests inside, host and port of the CONNECT.
    pub(crate) scheme: Scheme,
    pub(crate) target: Target,
    /// Who opened it.
    pub(crate) who: Who,
    /// The server name in the client's ClientHello.
    pub(crate) sni: Option<Box<str>>,
    /// The other host that the tunnel is said to be for, where CONNECT and TLS do not agree: policy is asked about
    /// both.
    pub(crate) beside: Option<Target>,
}

impl Tunnel {
    /// What the event of a request inside says of the tunnel's names.
    pub(crate) fn fronting(&self, host: &Host) -> Fronting {
        let by_name = self.beside.as_ref().filter(|_| self.target.host().as_name() == self.sni.as_deref());
        let connect = by_name.unwrap_or(&self.target).host();
        Fronting {
            connect: connect.to_string().into(),
            sni: self.sni.clone(),
            host: Some(host.to_string().into()),
        }
    }
}

/// What all requests of one connection have in common.
pub(crate) struct Conn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ends: Ends,
    pub(crate) leg: Leg,
    pub(crate) framing: Arc<Framing>,
    /// Connections to origins that have logged this client in by themselves, and so are for nobody else.
    pub(crate) own_origins: OwnOrigins,
    pub(crate) http2: bool,
    requests: AtomicU64,
}

/// What the wire says about a request.
pub(crate) struct Turn {
    /// Why its head was refused, if it was.
    pub(crate) violation: Option<Violation>,
    /// Whether nothing behind it on this connection is checked: it asks for a tunnel or an upgrade.
    pub(crate) opaque: bool,
    /// Whether it is an OPTIONS about a whole server.
    pub(crate) server_wide: bool,
}

impl Conn {
    fn new(shared: Arc<Shared>, ends: Ends, leg: Leg, framing: Arc<Framing>, http2: bool) -> Arc<Self> {
        let (own_origins, requests) = (OwnOrigins::default(), AtomicU64::new(0));
        Arc::new(Self { shared, ends, leg, framing, own_origins, http2, requests })
    }

    /// What the wire says about the request that begins now. Asked once a request.
    pub(crate) fn next_turn<B>(&self, request: &Request<B>) -> Turn {
        if self.http2 {
            self.framing.begun();
            let violation = too_large(request.headers(), self.shared.config.max_head_bytes);
            return Turn { violation, opaque: false, server_wide: false };
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        Turn {
            violation: self.framing.violation(number),
            opaque: self.framing.is_opaque_behind(number),
            server_wide: self.framing.is_server_wide(number),
        }
    }
}

/// Both ends of a client's connection as seen here, and its place among the connections that are allowed: kept for
/// as long as anything runs over it, a tunnel included.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) entrance: Entrance,
    pub(crate) place: Arc<Place>,
}

/// Serves HTTP/1.1 until the client leaves or Wardgate stops.
pub(crate) async fn serve_http1<I>(shared: Arc<Shared>, ends: Ends, leg: Leg, stream: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let framed = Framed::new(stream, shared.limits());
    let max_head = shared.config.max_head_bytes;
    let conn = Conn::new(shared, ends, leg, framed.framing(), false);
    let served = Arc::clone(&conn);
    let service = service_fn(move |request| {
        let conn = Arc::clone(&served);
        // In a box: its room is large, and an idle connection has no use for it.
        let answer = Box::pin(request::handle(conn, request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // The framing check keeps limits and time; hyper's own stand a little behind it.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(max_head.max(16 * 1024) * 2)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(framed), service)
        .with_upgrades();
    let unused = std::future::pending(); // the framing check closes idle connections
    until_done(&conn.shared, pin!(connection), |connection| connection.graceful_shutdown(), unused).await;
}

/// Serves HTTP/2 until the client leaves or Wardgate stops.
pub(crate) async fn serve_http2<I>(shared: Arc<Shared>, ends: Ends, leg: Leg, stream: I)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = seconds(shared.config.stall_timeout_secs);
    let max_head = u32::try_from(shared.config.max_head_bytes).unwrap_or(u32::MAX);
    let conn = Conn::new(shared, ends, leg, Arc::default(), true);
    let counts = Arc::new(StreamCounts::default());
    let served = Arc::clone(&conn);
    let service = service_fn(move |request| {
        let conn = Arc::clone(&served);
        // In a box: the task of each stream is moved several times before it first runs.
        let answer = Box::pin(request::handle(conn, request));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http2::Builder::new(Patient { patience })
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // Beyond our own limit, so that there is a page and an event for what goes a little too far.
        .max_header_list_size(max_head.saturating_mul(2))
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(Streams::new(stream, Arc::clone(&counts))), service);
    let unused = unused(&conn.framing, seconds(conn.shared.config.idle_timeout_secs));
    let mut finished = None;
    let finish = |connection: Pin<&mut _>| {
        finished = Some(counts.opened());
        http2::Connection::graceful_shutdown(connection);
    };
    until_done(&conn.shared, pin!(connection), finish, unused).await;
    // What came after the farewell is for another connection.
    let opened = finished.unwrap_or_else(|| counts.opened());
    record_unread(&conn, opened.saturating_sub(conn.framing.count()), counts.reset()).await;
}

/// Records the requests that HTTP/2 itself has refused, `reset` of them for breaking its rules: nothing is known of
/// them but that they were.
async fn record_unread(conn: &Conn, count: u64, reset: u64) {
    /// What comes beyond that is counted in the last line: somebody floods.
    const MAX_LINES: u64 = 16;
    for number in 1..=count.min(MAX_LINES) {
        let policy = Arc::clone(conn.shared.parts.rules.load().policy.hash());
        let begun = EventGuard::begin(&conn.shared.journal, conn.ends.peer.ip(), policy).await;
        let Ok(mut event) = begun else { return };
        if let Leg::Inside(tunnel) = &conn.leg {
            identify::note(&mut event, &tunnel.who);
        }
        event.protocol = "HTTP/2";
        event.ruled(MALFORMED_RULE, Verdict::Block);
        let (outcome, detail) =
            if number <= reset { (Outcome::Malformed, RESET) } else { (Outcome::Limited, UNREAD) };
        let detail = match count - number {
            more if more > 0 && number == MAX_LINES => format!("{detail}, and {more} more").into(),
            _ => detail.into(),
        };
        event.ended(outcome, Some(detail));
    }
}

const RESET: &str = "a request breaks the rules of HTTP/2 and was reset";
const UNREAD: &str = "a request's header fields are too large, or its client left before it was read";

/// Why an HTTP/2 request's head is refused, if it is too large: fields count as RFC 9113, section 6.5.2 counts them.
fn too_large(headers: &HeaderMap, max_bytes: usize) -> Option<Violation> {
    const OVERHEAD: usize = 32;
    // Browsers send each cookie in a field of its own; they are joined before they go on.
    if headers.iter().filter(|(name, _)| *name != COOKIE).count() > MAX_FIELDS {
        return Some(Violation { status: 431, reason: "the request has too many header fields" });
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD).sum();
    (bytes > max_bytes).then_some(Violation { status: 431, reason: "the request's head is too large" })
}

/// Ends once a connection has had nothing to do for a while: between one and two times `idle`.
async fn unused(framing: &Framing, idle: Duration) {
    let mut seen = framing.count();
    loop {
        tokio::time::sleep(idle).await;
        if !framing.is_busy() && framing.count() == seen {
            return;
        }
        seen = framing.count();
    }
}

/// Drives a connection; asks it to finish when Wardgate drains or nobody uses it, and drops it when Wardgate ends or
/// the finish is not answered.
async fn until_done<C, E>(
    shared: &Shared,
    mut connection: Pin<&mut C>,
    finish: impl FnOnce(Pin<&mut C>),
    unused: impl Future<Output = ()>,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = unused => {
            finish(connection.as_mut());
            match tokio::time::timeout(FAREWELL, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
        () = shared.draining.cancelled() => {
            finish(connection.as_mut());
            tokio::select! {
                result = connection => result,
                () = shared.ending.cancelled() => return,
            }
        }
    };
    if let Err(error) = result {
        counter!("wardgate_connections_broken_total").increment(1);
        tracing::debug!(%error, "a client connection ended");
    }
}
