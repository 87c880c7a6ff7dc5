//! Open connections to origins: HTTP/1.1 connections one request at a time, HTTP/2 connections shared.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::OwnedMutexGuard;

use super::line::{Line, Wire};
use super::source::{Carrier, Source};
use super::{Overlooked, UpstreamError, Way};
use crate::framing::{Answers, Switch};
use crate::upload::Upload;

/// Idle HTTP/1.1 connections kept for one origin: as many as a school asks it for at a time, since what is closed must be
/// opened anew, with a handshake. They are closed when nobody has used them for a while.
const MAX_IDLE_PER_ORIGIN: usize = 1024;
/// The largest head of an answer, in bytes.
pub(crate) const MAX_HEAD: usize = 256 * 1024;
/// Exchanges on one HTTP/2 connection before another one is opened, as long as there are not too many.
const BUSY_STREAMS: usize = 32;
const MAX_SHARED_PER_ORIGIN: usize = 8;
/// What an HTTP/2 origin may send before we have read it: per stream, and per connection. A client that does not read
/// holds up its own stream; the connection has room for all the others.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * BUSY_STREAMS as u32;
/// What of an upload waits for an HTTP/2 origin that has opened its windows and does not read.
const SEND_BUFFER: usize = 128 * 1024;
/// At most so much of an answer and of an upload waits here for whoever should take it, in one exchange.
pub(crate) const UNREAD_ANSWER: u64 = STREAM_WINDOW as u64;
pub(crate) const UNSENT_UPLOAD: u64 = SEND_BUFFER as u64;
/// Connections to origins that one client connection may have to itself.
const MAX_OWN: usize = 8;
/// An HTTP/2 connection is probed after this time without a frame.
const PING_AFTER: Duration = Duration::from_secs(30);

/// Idle connections are looked through this often: nobody else notices that an origin has closed one.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

type Key = Box<str>;

/// The connections to all origins.
pub(crate) struct Pool {
    origins: Mutex<HashMap<Key, Origin>>,
    keep_alive: Duration,
}

#[derive(Default)]
struct Origin {
    idle: Vec<(Line, Instant)>,
    shared: Vec<Shared>,
    /// Held while connecting, so that requests which arrive together share one HTTP/2 connection. HTTP/1.1 origins
    /// are known after the first connection and are not made to wait.
    connecting: Arc<tokio::sync::Mutex<()>>,
    speaks_http1: bool,
}

/// An HTTP/2 connection that any number of exchanges use.
struct Shared {
    sender: http2::SendRequest<Upload>,
    used: Instant,
    /// Cloned by each exchange under way.
    flights: Flight,
}

/// An exchange under way on an HTTP/2 connection, with what was overlooked when that was opened. Travels with the answer
/// until its body is done.
#[derive(Clone)]
pub(crate) struct Flight(Arc<Option<Overlooked>>);

impl Flight {
    /// Exchanges under way beside the connection itself.
    fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

impl Origin {
    /// The least busy HTTP/2 connection, unless it is time for another one.
    fn shared(&mut self) -> Option<&mut Shared> {
        self.shared.retain(|shared| !shared.sender.is_closed());
        let many = self.shared.len() >= MAX_SHARED_PER_ORIGIN;
        let free = self.shared.iter_mut().min_by_key(|shared| shared.flights.count())?;
        (many || free.flights.count() < BUSY_STREAMS).then_some(free)
    }

    /// The HTTP/1.1 connection used last of those that can be used now. What was closed meanwhile is dropped.
    fn ready(&mut self) -> Option<Line> {
        for place in (0..self.idle.len()).rev() {
            let (line, _) = &mut self.idle[place];
            if line.is_ready() {
                return Some(self.idle.swap_remove(place).0);
            }
            if line.is_closed() {
                self.idle.swap_remove(place);
            }
        }
        None
    }
}

impl Pool {
    /// An empty pool; connections unused for `keep_alive` are closed.
    pub(crate) fn start(keep_alive: Duration) -> Arc<Self> {
        let pool = Arc::new(Self { origins: Mutex::default(), keep_alive });
        let swept = Arc::downgrade(&pool);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY.min(keep_alive / 2)).await;
                let Some(pool) = swept.upgrade() else { return };
                pool.sweep();
            }
        });
        pool
    }

    /// A connection that is ready now.
    pub(super) fn take(&self, way: Way<'_>) -> Option<Lease> {
        let mut origins = self.origins();
        let origin = origins.get_mut(&*key(way))?;
        if let Some(shared) = origin.shared() {
            shared.used = Instant::now();
            let sender = Sender::Http2(shared.sender.clone(), shared.flights.clone());
            return Some(Lease::new(way, sender, true));
        }
        let line = origin.ready()?;
        Some(Lease::new(way, Sender::Http1(line), true))
    }

    /// Waits for the turn to open a connection; nothing to wait for where the origin speaks HTTP/1.1.
    pub(super) async fn turn_to_connect(&self, way: Way<'_>) -> Option<OwnedMutexGuard<()>> {
        let connecting = {
            let mut origins = self.origins();
            let origin = origins.entry(key(way).into()).or_default();
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
            origin.idle.retain_mut(|(line, since)| {
                let may_go = line.is_ready() && since.elapsed() >= limit;
                !may_go && !line.is_closed()
            });
            origin.shared.retain(|shared| {
                !shared.sender.is_closed() && (shared.used.elapsed() < limit || shared.flights.count() > 0)
            });
            let in_use = Arc::strong_count(&origin.connecting) > 1;
            in_use || !origin.idle.is_empty() || !origin.shared.is_empty()
        });
    }

    fn give_back(&self, key: Key, line: Line) {
        if line.is_closed() {
            return;
        }
        let mut origins = self.origins();
        let origin = match origins.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Origin { speaks_http1: true, ..Origin::default() }),
        };
        if origin.idle.len() < MAX_IDLE_PER_ORIGIN {
            origin.idle.push((line, Instant::now()));
        }
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Key, Origin>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scheme, host and port, and what is overlooked there: what a connection is good for.
fn key(way: Way<'_>) -> Cow<'_, str> {
    let target = way.target;
    let place = &target.as_str()[..target.scheme().as_str().len() + 3 + target.authority().len()];
    match way.exception {
        None => Cow::Borrowed(place),
        Some(exception) => Cow::Owned(format!(
            "{place} {:?} {:?} {:?}",
            exception.accept, exception.fingerprint, exception.until
        )),
    }
}

enum Sender {
    Http1(Line),
    Http2(http2::SendRequest<Upload>, Flight),
}

/// A connection for one request.
pub(super) struct Lease {
    key: Key,
    sender: Sender,
    reused: bool,
    /// Taken from a client's own connections, and for nobody else.
    own: bool,
}

impl Lease {
    fn new(way: Way<'_>, sender: Sender, reused: bool) -> Self {
        Self { key: key(way).into(), sender, reused, own: false }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(..))
    }

    /// Whether the connection has served before, and so may have been closed by the origin meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        let (mut answer, overlooked) = match &mut self.sender {
            Sender::Http1(line) => (line.send(request).await?, &line.overlooked),
            Sender::Http2(sender, flight) => (sender.try_send_request(request).await?, &*flight.0),
        };
        if let Some(overlooked) = overlooked {
            answer.extensions_mut().insert(overlooked.clone());
        }
        Ok(answer)
    }

    /// Lets the connection run by itself from now on, whether or not anybody waits for its answer.
    pub(super) fn set_free(&mut self) {
        if let Sender::Http1(line) = &mut self.sender {
            line.set_free();
        }
    }

    /// Lets others use a new HTTP/2 connection at once, and notes an origin that speaks HTTP/1.1.
    pub(super) fn share(&self, pool: &Pool) {
        let mut origins = pool.origins();
        let origin = origins.entry(self.key.clone()).or_default();
        match &self.sender {
            Sender::Http1(_) => origin.speaks_http1 = true,
            Sender::Http2(sender, flights) => {
                let (sender, flights) = (sender.clone(), flights.clone());
                origin.shared.push(Shared { sender, used: Instant::now(), flights });
            }
        }
    }

    /// Keeps an HTTP/1.1 connection for this client alone: the origin knows it by its connection.
    pub(super) fn keep(self, own: &OwnOrigins) {
        if let Sender::Http1(mut line) = self.sender {
            line.set_free();
            own.keep(self.key, line);
        }
    }

    /// What carries the answer's body. A connection that runs by itself is given back at once, and is ready for the
    /// next request when the body has been read; the body brings back any other.
    pub(super) fn carry(self, body: Incoming, pool: &Arc<Pool>, own: &OwnOrigins) -> Source {
        if self.own {
            self.keep(own);
            return Source::from(body);
        }
        match self.sender {
            Sender::Http2(_, flight) => Source::new(body, Carrier::Http2(flight)),
            Sender::Http1(line) if line.is_free() => {
                pool.give_back(self.key, line);
                Source::from(body)
            }
            Sender::Http1(line) => Source::new(
                body,
                Carrier::Http1(Box::new(Return { line, key: self.key, pool: Arc::clone(pool) })),
            ),
        }
    }
}

/// A connection that comes back once an answer has been received over it.
pub(crate) struct Return {
    pub(super) line: Line,
    key: Key,
    pool: Arc<Pool>,
}

impl Return {
    /// Gives the connection back, unless it ended with the answer.
    pub(super) fn give_back(mut self) {
        if self.line.is_ready() {
            self.pool.give_back(self.key, self.line);
        }
    }
}

/// Connections to origins that log in a connection rather than a request (NTLM, Negotiate): what is sent on them is
/// done in that person's name, so each belongs to one client connection and ends with it.
#[derive(Default)]
pub(crate) struct OwnOrigins(Mutex<Vec<(Key, Line)>>);

impl OwnOrigins {
    pub(super) fn take(&self, way: Way<'_>) -> Option<Lease> {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|(_, line)| !line.is_closed());
        if own.is_empty() {
            return None;
        }
        let wanted = key(way);
        let place = own.iter_mut().position(|(known, line)| **known == *wanted && line.is_ready())?;
        let (_, line) = own.swap_remove(place);
        Some(Lease { own: true, ..Lease::new(way, Sender::Http1(line), true) })
    }

    fn keep(&self, key: Key, line: Line) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() >= MAX_OWN {
            own.remove(0);
        }
        own.push((key, line));
    }
}

/// Whether a field of a message speaks of a login that is bound to the connection (RFC 4559, section 6).
pub(super) fn names_connection_login(headers: &HeaderMap, name: HeaderName) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let scheme = value.split([' ', ',']).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("ntlm") || scheme.eq_ignore_ascii_case("negotiate")
    })
}

/// Speaks HTTP/1.1 over a new connection, on which every answer is checked before it is read.
pub(super) async fn http1(
    way: Way<'_>,
    wire: Wire,
    switch: Switch,
    overlooked: Option<Overlooked>,
) -> Result<Lease, UpstreamError> {
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_HEAD)
        .handshake(TokioIo::new(Answers::new(wire, switch)))
        .await
        .map_err(|_| UpstreamError::Closed)?;
    Ok(Lease::new(way, Sender::Http1(Line::new(sender, connection, overlooked)), false))
}

/// Speaks HTTP/2 over a new connection.
pub(super) async fn http2(
    way: Way<'_>,
    wire: Wire,
    overlooked: Option<Overlooked>,
) -> Result<Lease, UpstreamError> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(PING_AFTER)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|_| UpstreamError::Closed)?;
    tokio::spawn(connection);
    Ok(Lease::new(way, Sender::Http2(sender, Flight(Arc::new(overlooked))), false))
}
