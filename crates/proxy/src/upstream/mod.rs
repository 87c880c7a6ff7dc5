//! The way to origins: finds an open connection or opens one, sends the request, and says in one word what went
//! wrong and whose fault it was.

mod dial;
mod line;
mod pool;
mod source;

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::net::TcpStream;
use wardgate_core::{CertificateException, Event, RuleRef, Scheme, Target, TlsProblem};
use wardgate_tls::{Offer, OriginTls, TlsFailure};

use crate::config::{UpstreamConfig, seconds};
use crate::framing::{Switch, Violation};
use crate::upload::{ClientFailure, Upload, UploadProgress};
use dial::Dialer;
use line::Wire;
use pool::{Lease, Pool};

pub(crate) use pool::{MAX_HEAD as MAX_ANSWER_HEAD, OwnOrigins, UNREAD_ANSWER, UNSENT_UPLOAD};
pub(crate) use source::Source;

/// How often a request is tried again on another connection when a reused one turns out to be closed.
const MAX_RETRIES: usize = 3;

/// How long a request waits for another one to open an HTTP/2 connection that both can use.
const TURN_PATIENCE: Duration = Duration::from_secs(1);

/// Why the way to origins could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    /// The hosts file cannot be read.
    #[error("[upstream] hosts_file: {path}: {source}; give a readable file in the syntax of /etc/hosts")]
    Hosts {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The resolver cannot be set up.
    #[error("cannot set up name resolution: {0}")]
    Resolver(String),
}

/// What went wrong on the way to an origin.
#[derive(Debug)]
pub(crate) enum UpstreamError {
    /// The name does not resolve.
    Unresolvable,
    /// The resolver does not answer.
    ResolverFailed,
    /// The address is one that is never connected to.
    Forbidden,
    /// The address is this proxy itself.
    Loop,
    /// No address accepted the connection.
    Unreachable(io::ErrorKind),
    /// Connecting took too long.
    ConnectTimeout,
    /// TLS failed or the certificate does not verify.
    Tls(Box<TlsFailure>),
    /// The origin closed or reset the connection before it answered.
    Closed,
    /// The origin's answer is not sound HTTP.
    Malformed(&'static str),
    /// The origin does not answer in time.
    ResponseTimeout,
    /// The client's own body failed.
    Client(ClientFailure),
}

impl UpstreamError {
    /// For the event and the log, in words.
    pub(crate) fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Unresolvable => "the name does not resolve",
            Self::ResolverFailed => "the name servers do not answer",
            Self::Forbidden => "the address is never connected to",
            Self::Loop => "the address is this proxy itself",
            Self::Unreachable(io::ErrorKind::ConnectionRefused) => "the origin refused the connection",
            Self::Unreachable(_) => "the origin cannot be reached",
            Self::ConnectTimeout => "connecting to the origin took too long",
            Self::Tls(failure) => return Cow::Owned(failure.to_string()),
            Self::Closed => "the origin closed the connection before it answered",
            Self::Malformed(reason) => reason,
            Self::ResponseTimeout => "the origin did not answer in time",
            Self::Client(ClientFailure::Stalled) => "the request's body stalled",
            Self::Client(ClientFailure::Slow) => "the request's body came too slowly",
            Self::Client(ClientFailure::Malformed(reason)) => reason,
            Self::Client(ClientFailure::Broken) => "the client broke off its request",
        })
    }
}

/// The way to an origin: what is asked for, and what policy overlooks of the certificate there.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) target: &'a Target,
    pub(crate) exception: Option<&'a Arc<CertificateException>>,
}

/// What was overlooked when a connection was opened. Travels with each answer that came over it.
#[derive(Clone)]
pub(crate) struct Overlooked {
    problems: Arc<[TlsProblem]>,
    exception: RuleRef,
}

impl Overlooked {
    fn of(way: Way<'_>, problems: Vec<TlsProblem>) -> Option<Self> {
        let exception = way.exception?.rule.clone();
        (!problems.is_empty()).then(|| Self { problems: problems.into(), exception })
    }

    /// Notes it in the event of an exchange.
    pub(crate) fn note(&self, event: &mut Event) {
        event.tls_problems = self.problems.to_vec();
        event.tls_exception = Some(self.exception.clone());
    }
}

/// The way to origins.
pub(crate) struct Upstream {
    dialer: Dialer,
    pool: Arc<Pool>,
    tls: Arc<OriginTls>,
    connect_timeout: Duration,
    response_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) live_idle_timeout: Duration,
}

impl Upstream {
    /// Sets it up; `own_ports` are the proxy's, which are never dialled.
    pub(crate) fn new(
        config: &UpstreamConfig,
        tls: Arc<OriginTls>,
        own_ports: Vec<u16>,
    ) -> Result<Self, UpstreamSetupError> {
        Ok(Self {
            dialer: Dialer::new(config, own_ports)?,
            pool: Pool::start(seconds(config.keep_alive_secs)),
            tls,
            connect_timeout: seconds(config.connect_timeout_secs),
            response_timeout: seconds(config.response_timeout_secs),
            idle_timeout: seconds(config.idle_timeout_secs),
            live_idle_timeout: seconds(config.live_idle_timeout_secs),
        })
    }

    /// Opens a bare connection, for a tunnel.
    pub(crate) async fn dial(&self, target: &Target) -> Result<TcpStream, UpstreamError> {
        tokio::time::timeout(self.connect_timeout, Box::pin(self.dialer.dial(target)))
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout))
    }

    /// Sends a request and waits for the head of the answer. The request's URI is set here; its fields are sent as
    /// they are. `own` are the client connection's own connections to origins.
    pub(crate) async fn send(
        &self,
        way: Way<'_>,
        mut request: Request<Upload>,
        progress: &Arc<UploadProgress>,
        own: &OwnOrigins,
    ) -> Result<Response<Source>, UpstreamError> {
        let path = request.uri().path_and_query().cloned();
        let repeatable = request.method().is_idempotent() && request.body().is_empty();
        let length = length_of(request.headers());
        let logs_in = pool::names_connection_login(request.headers(), AUTHORIZATION);
        for attempt in 0..=MAX_RETRIES {
            let mut lease = self.lease(way, own, attempt == MAX_RETRIES).await?;
            address(&mut request, way.target, path.as_ref(), lease.is_http2(), progress);
            let again = (repeatable && lease.is_reused()).then(|| copy(&request));
            match self.exchange(&mut lease, request, progress).await? {
                Ok(answer) => {
                    let logs_in = logs_in || pool::names_connection_login(answer.headers(), WWW_AUTHENTICATE);
                    if !is_sent(length, progress) {
                        drop(lease); // serves nobody else: see `is_sent`
                        return Ok(answer.map(Source::from));
                    }
                    if logs_in {
                        lease.keep(own);
                        return Ok(answer.map(Source::from));
                    }
                    return Ok(answer.map(|body| lease.carry(body, &self.pool, own)));
                }
                Err(mut error) => {
                    let unsent = error.take_message();
                    let retry = lease.is_reused() && attempt < MAX_RETRIES;
                    match unsent.or(again.filter(|_| !error.error().is_parse())).filter(|_| retry) {
                        Some(back) => request = back,
                        None => return Err(classify(error.error(), progress)),
                    }
                }
            }
        }
        Err(UpstreamError::Closed)
    }

    /// Sends a request for an upgrade over a connection of its own that speaks HTTP/1.1.
    pub(crate) async fn open_upgrade(
        &self,
        way: Way<'_>,
        mut request: Request<Upload>,
        progress: &Arc<UploadProgress>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let path = request.uri().path_and_query().cloned();
        let mut lease = self.connected(Box::pin(self.open(way, Offer::Http1))).await?;
        lease.set_free();
        address(&mut request, way.target, path.as_ref(), false, progress);
        let sent = self.exchange(&mut lease, request, progress).await?;
        sent.map_err(|error| classify(error.error(), progress))
    }

    /// One request over one connection; the outer error is the origin's silence.
    async fn exchange(
        &self,
        lease: &mut Lease,
        mut request: Request<Upload>,
        progress: &Arc<UploadProgress>,
    ) -> Result<Result<Response<Incoming>, TrySendError<Request<Upload>>>, UpstreamError> {
        if request.headers().contains_key(EXPECT) {
            let progress = Arc::clone(progress);
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    progress.open_gate();
                }
            });
        }
        tokio::select! {
            answer = lease.send(request) => {
                progress.origin_answered();
                Ok(answer)
            }
            () = silence(progress, self.response_timeout) => Err(UpstreamError::ResponseTimeout),
        }
    }

    /// A connection to the target's origin: the client's own, a pooled one, or a new one that may then be shared.
    async fn lease(&self, way: Way<'_>, own: &OwnOrigins, last: bool) -> Result<Lease, UpstreamError> {
        if let Some(lease) = own.take(way) {
            return Ok(lease);
        }
        if !last && let Some(lease) = self.pool.take(way) {
            return Ok(lease);
        }
        let turn = self.pool.turn_to_connect(way);
        let _turn = tokio::time::timeout(TURN_PATIENCE, turn).await; // an origin that does not answer holds up nobody
        if !last && let Some(lease) = self.pool.take(way) {
            return Ok(lease);
        }
        let lease = self.connected(Box::pin(self.open(way, Offer::Any))).await?;
        lease.share(&self.pool);
        Ok(lease)
    }

    async fn connected(
        &self,
        opening: impl Future<Output = Result<Lease, UpstreamError>>,
    ) -> Result<Lease, UpstreamError> {
        tokio::time::timeout(self.connect_timeout, opening)
            .await
            .unwrap_or(Err(UpstreamError::ConnectTimeout))
    }

    async fn open(&self, way: Way<'_>, offer: Offer) -> Result<Lease, UpstreamError> {
        let switch = match offer {
            Offer::Any => Switch::Unasked,
            Offer::Http1 => Switch::Asked,
        };
        let stream = self.dialer.dial(way.target).await?;
        match way.target.scheme() {
            Scheme::Http => pool::http1(way, Wire::Left(stream), switch, None).await,
            Scheme::Https => {
                let handshake = self.tls.handshake(offer, way.exception);
                let (stream, overlooked) = dial::tls(stream, way.target, &handshake).await?;
                let overlooked = Overlooked::of(way, overlooked);
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let wire = Wire::Right(stream);
                if http2 {
                    pool::http2(way, wire, overlooked).await
                } else {
                    pool::http1(way, wire, switch, overlooked).await
                }
            }
        }
    }
}

/// Gives a request the form of target and host that its connection wants.
fn address(
    request: &mut Request<Upload>,
    target: &Target,
    path: Option<&PathAndQuery>,
    http2: bool,
    progress: &UploadProgress,
) {
    let path = path.cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if http2 {
        let authority: Option<Authority> = target.authority().parse().ok();
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(http::uri::Scheme::HTTPS);
        parts.authority = authority;
        parts.path_and_query = Some(path);
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove(HOST);
        if request.headers_mut().remove(EXPECT).is_some() {
            progress.open_gate(); // HTTP/2 flow control takes the place of waiting
        }
        return;
    }
    if !request.body().is_empty() && !request.headers().contains_key(CONTENT_LENGTH) {
        // Said here because hyper would send no body at all with a method that seldom has one.
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if request.headers().contains_key(TE) {
        // About this hop as well (RFC 9110, section 10.1.4).
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
    }
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    if let Ok(host) = HeaderValue::from_str(target.authority()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// A request without a body, once more.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut again = Request::new(Upload::empty().0);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    again
}

/// Ends once the request's body has not moved for `limit`: until the last byte is sent the client sets the pace,
/// after it the origin owes an answer.
async fn silence(progress: &UploadProgress, limit: Duration) {
    let mut seen = progress.moves();
    loop {
        tokio::time::sleep(limit).await;
        let now = progress.moves();
        if now == seen {
            return;
        }
        seen = now;
    }
}

fn classify(error: &hyper::Error, progress: &UploadProgress) -> UpstreamError {
    if let Some(failure) = progress.client_failure() {
        return UpstreamError::Client(failure);
    }
    match Violation::behind(error) {
        Some(violation) => UpstreamError::Malformed(violation.reason),
        None if error.is_parse() => UpstreamError::Malformed("the origin's answer is not HTTP"),
        None => UpstreamError::Closed,
    }
}

/// Whether all of a request was sent by the time of its answer. An origin that answers early may never read the rest,
/// and take it for the next request: such a connection serves nobody else (RFC 9112, sections 9.3 and 9.5).
fn is_sent(length: Option<u64>, progress: &UploadProgress) -> bool {
    progress.has_ended() || length == Some(progress.bytes())
}

fn length_of(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
