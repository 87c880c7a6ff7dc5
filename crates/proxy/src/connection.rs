//! One client connection, plain or inside an intercepted tunnel: HTTP/1.1 or HTTP/2, request after request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use wardgate_core::{Entrance, Fronting, Host, Scheme, Target, Who};

use crate::config::seconds;
use crate::framing::{Framed, Framing, MAX_FIELDS, Violation};
use crate::listener::Place;
use crate::request;
use crate::shared::Shared;
use crate::upstream::OwnOrigins;

/// Requests of one HTTP/2 client connection under way at a time.
const MAX_STREAMS: u32 = 200;
/// What an HTTP/2 client may send before we have read it: per stream, and per connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
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
}

impl Conn {
    fn new(shared: Arc<Shared>, ends: Ends, leg: Leg, framing: Arc<Framing>, http2: bool) -> Arc<Self> {
        let (own_origins, requests) = (OwnOrigins::default(), AtomicU64::new(0));
        Arc::new(Self { shared, ends, leg, framing, own_origins, http2, requests })
    }

    /// What the wire says about the request that begins now. Asked once a request.
    pub(crate) fn next_turn(&self) -> Turn {
        if self.http2 {
            self.framing.begun();
            return Turn { violation: None, opaque: false };
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        Turn { violation: self.framing.violation(number), opaque: self.framing.is_opaque_behind(number) }
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
        async move { Ok::<_, Infallible>(request::handle(conn, request).await) }
    });
    // The framing check keeps limits and time; hyper's own stand a little behind it.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(MAX_FIELDS + 2)
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
    let max_head = u32::try_from(shared.config.max_head_bytes).unwrap_or(u32::MAX);
    let conn = Conn::new(shared, ends, leg, Arc::default(), true);
    let served = Arc::clone(&conn);
    let service = service_fn(move |request| {
        let conn = Arc::clone(&served);
        async move { Ok::<_, Infallible>(request::handle(conn, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(max_head)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let unused = unused(&conn.framing, seconds(conn.shared.config.idle_timeout_secs));
    until_done(&conn.shared, pin!(connection), |connection| connection.graceful_shutdown(), unused).await;
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
        tracing::debug!(%error, "a client connection ended");
    }
}
