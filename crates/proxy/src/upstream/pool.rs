//! Open connections to origins: HTTP/1.1 connections one request at a time, HTTP/2 connections shared.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedMutexGuard;
use wardgate_core::Target;

use super::UpstreamError;
use crate::body::Upload;

/// Idle HTTP/1.1 connections kept for one origin.
const MAX_IDLE_PER_ORIGIN: usize = 32;
/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 256 * 1024;
/// The most header fields of an answer.
const MAX_FIELDS: usize = 256;
/// What an HTTP/2 origin may send before we have read it: per stream, and per connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// An HTTP/2 connection is probed after this time without a frame.
const PING_AFTER: Duration = Duration::from_secs(30);

type Key = Box<str>;

/// The connections to all origins.
pub(crate) struct Pool {
    origins: Mutex<HashMap<Key, Origin>>,
    keep_alive: Duration,
}

#[derive(Default)]
struct Origin {
    idle: Vec<(http1::SendRequest<Upload>, Instant)>,
    shared: Option<(http2::SendRequest<Upload>, Instant)>,
    /// Held while connecting, so that requests which arrive together share one HTTP/2 connection. HTTP/1.1 origins
    /// are known after the first connection and are not made to wait.
    connecting: Arc<tokio::sync::Mutex<()>>,
    speaks_http1: bool,
}

impl Pool {
    /// An empty pool; connections unused for `keep_alive` are closed.
    pub(crate) fn start(keep_alive: Duration) -> Arc<Self> {
        let pool = Arc::new(Self { origins: Mutex::default(), keep_alive });
        let swept = Arc::downgrade(&pool);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(keep_alive / 2).await;
                let Some(pool) = swept.upgrade() else { return };
                pool.sweep();
            }
        });
        pool
    }

    /// A connection that is ready now.
    pub(super) fn take(&self, target: &Target) -> Option<Lease> {
        let mut origins = self.origins();
        let origin = origins.get_mut(key(target))?;
        if let Some((sender, used)) = &mut origin.shared {
            if !sender.is_closed() {
                *used = Instant::now();
                return Some(Lease::new(target, Sender::Http2(sender.clone()), true));
            }
            origin.shared = None;
        }
        origin.idle.retain(|(sender, _)| !sender.is_closed());
        let ready = origin.idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        let (sender, _) = origin.idle.swap_remove(ready);
        Some(Lease::new(target, Sender::Http1(sender), true))
    }

    /// Waits for the turn to open a connection; nothing to wait for where the origin speaks HTTP/1.1.
    pub(super) async fn turn_to_connect(&self, target: &Target) -> Option<OwnedMutexGuard<()>> {
        let connecting = {
            let mut origins = self.origins();
            let origin = origins.entry(key(target).into()).or_default();
            if origin.speaks_http1 {
                return None;
            }
            Arc::clone(&origin.connecting)
        };
        Some(connecting.lock_owned().await)
    }

    fn sweep(&self) {
        let limit = self.keep_alive;
        self.origins().retain(|_, origin| {
            origin.idle.retain(|(sender, since)| {
                !sender.is_closed() && (since.elapsed() < limit || !sender.is_ready())
            });
            origin.shared.take_if(|(sender, used)| sender.is_closed() || used.elapsed() > limit);
            let in_use = Arc::strong_count(&origin.connecting) > 1;
            in_use || !origin.idle.is_empty() || origin.shared.is_some()
        });
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Key, Origin>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scheme, host and port: what a connection is good for.
fn key(target: &Target) -> &str {
    let start = target.as_str();
    &start[..target.scheme().as_str().len() + 3 + target.authority().len()]
}

enum Sender {
    Http1(http1::SendRequest<Upload>),
    Http2(http2::SendRequest<Upload>),
}

/// A connection for one request.
pub(super) struct Lease {
    key: Key,
    sender: Sender,
    reused: bool,
}

impl Lease {
    fn new(target: &Target, sender: Sender, reused: bool) -> Self {
        Self { key: key(target).into(), sender, reused }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Whether the connection has served before, and so may have been closed by the origin meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    /// Lets others use a new HTTP/2 connection at once, and notes an origin that speaks HTTP/1.1.
    pub(super) fn share(&self, pool: &Pool) {
        let mut origins = pool.origins();
        let origin = origins.entry(self.key.clone()).or_default();
        match &self.sender {
            Sender::Http1(_) => origin.speaks_http1 = true,
            Sender::Http2(sender) => origin.shared = Some((sender.clone(), Instant::now())),
        }
    }

    /// Returns an HTTP/1.1 connection; it is ready for the next request once the answer's body has been read.
    pub(super) fn give_back(self, pool: &Pool) {
        let Sender::Http1(sender) = self.sender else { return };
        if sender.is_closed() {
            return;
        }
        let mut origins = pool.origins();
        let origin = match origins.entry(self.key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Origin { speaks_http1: true, ..Origin::default() }),
        };
        if origin.idle.len() < MAX_IDLE_PER_ORIGIN {
            origin.idle.push((sender, Instant::now()));
        }
    }
}

/// Speaks HTTP/1.1 over a new connection.
pub(super) async fn http1<I>(target: &Target, stream: I) -> Result<Lease, UpstreamError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamError::Closed)?;
    tokio::spawn(connection.with_upgrades());
    Ok(Lease::new(target, Sender::Http1(sender), false))
}

/// Speaks HTTP/2 over a new connection.
pub(super) async fn http2<I>(target: &Target, stream: I) -> Result<Lease, UpstreamError>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(PING_AFTER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| UpstreamError::Closed)?;
    tokio::spawn(connection);
    Ok(Lease::new(target, Sender::Http2(sender), false))
}
