//! Accepts connections, within limits, until told to stop; then drains.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wardgate_core::Journal;

use crate::config::{ProxyConfig, UpstreamConfig, seconds};
use crate::connection::{Ends, Leg, serve_http1};
use crate::local::Grants;
use crate::pages::Pages;
use crate::share::{CountingJournal, Share};
use crate::shared::{Parts, Recorder, Shared};
use crate::upstream::{Upstream, UpstreamSetupError};

/// Connections that the system keeps ready for us.
const BACKLOG: u32 = 4096;
/// A silent peer is probed after this time, so that a dead one does not hold a tunnel open.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// When the system has no descriptors left, accepting pauses for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After the drain time, what is left has this long to record its end.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// What a client beyond its limit reads.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Length: 63\r\n\r\nToo many connections from this device. Please try again later.\n";

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be listened on.
    #[error("cannot listen on {address}: {source}; {remedy}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// What to do.
        remedy: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The way to origins cannot be set up.
    #[error(transparent)]
    Upstream(#[from] UpstreamSetupError),
    /// The pages do not parse, or there is no randomness: a fault of the build or the machine.
    #[error("cannot set up the proxy: {0}")]
    Setup(String),
}

/// A proxy that is bound to its port.
pub struct Proxy {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Binds the port and sets up the way to origins. Nothing is accepted until [`Proxy::run`].
    pub async fn bind(
        config: ProxyConfig,
        upstream: &UpstreamConfig,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let listener = listen(config.listen)?;
        let setup = |error: &dyn ToString| StartError::Setup(error.to_string());
        let address = listener.local_addr().map_err(|e| setup(&e))?;
        let ending = CancellationToken::new();
        let recorder = Recorder::new(Arc::clone(&parts.journal), ending.clone());
        let own_authorities = [parts.minter.authority().certificate().clone()];
        let shared = Shared {
            config,
            listen: address,
            parts,
            journal: Arc::new(recorder),
            upstream: Upstream::new(upstream, &own_authorities, address.port())?,
            pages: Pages::new().map_err(|e| setup(&e))?,
            grants: Grants::new().map_err(|e| setup(&e))?,
            draining: CancellationToken::new(),
            ending,
            tasks: TaskTracker::new(),
        };
        Ok(Self { listener, shared: Arc::new(shared) })
    }

    /// The address that is listened on, with the port that the system chose where 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.shared.listen
    }

    /// Accepts connections until `stop` is cancelled, then lets what is under way finish within the drain time and
    /// ends the rest.
    pub async fn run(self, stop: CancellationToken) {
        let slots = Arc::new(Slots::new(&self.shared.config));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => admit(&self.shared, &slots, stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        drain(&self.shared).await;
    }
}

async fn drain(shared: &Shared) {
    shared.draining.cancel();
    shared.tasks.close();
    let patience = seconds(shared.config.drain_timeout_secs);
    if tokio::time::timeout(patience, shared.tasks.wait()).await.is_ok() {
        return;
    }
    tracing::warn!(
        connections = shared.tasks.len(),
        "the drain time is over; what is still under way is ended"
    );
    shared.ending.cancel();
    let _ = tokio::time::timeout(LAST_WORDS, shared.tasks.wait()).await;
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| {
        let remedy = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program uses this port: stop it, or set [proxy] listen to another"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege: choose a higher one in [proxy] listen"
            }
            _ => "set [proxy] listen to an address of this machine",
        };
        StartError::Listen { address, remedy, source }
    })
}

fn admit(shared: &Arc<Shared>, slots: &Arc<Slots>, stream: TcpStream, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let Some(place) = slots.take(peer.ip(), &shared.journal) else {
        slots.refused.increment(1);
        shared.tasks.spawn(turn_away(stream));
        return;
    };
    slots.accepted.increment(1);
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let Ok(local) = stream.local_addr() else { return };
        let local = SocketAddr::new(local.ip().to_canonical(), local.port());
        let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE);
        let prepared =
            stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive));
        if let Err(error) = prepared {
            tracing::debug!(%error, "a connection ended before it began");
            return;
        }
        serve_http1(shared, Ends { peer, local, place: Arc::new(place) }, Leg::Open, stream).await;
    });
}

async fn turn_away(mut stream: TcpStream) {
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        stream.write_all(TOO_MANY).await?;
        stream.shutdown().await
    })
    .await;
}

/// Counts connections, in all and by client.
struct Slots {
    all: Arc<Semaphore>,
    by_client: Mutex<HashMap<IpAddr, Client>>,
    per_client: usize,
    exchanges_per_client: usize,
    accepted: Counter,
    refused: Counter,
    open: Gauge,
}

/// What a client has open.
#[derive(Default)]
struct Client {
    connections: usize,
    share: Share,
}

impl Slots {
    fn new(config: &ProxyConfig) -> Self {
        Self {
            all: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            by_client: Mutex::default(),
            per_client: config.max_connections_per_client,
            exchanges_per_client: config.max_exchanges_per_client,
            accepted: counter!("wardgate_connections_total"),
            refused: counter!("wardgate_connections_refused_total"),
            open: gauge!("wardgate_connections"),
        }
    }

    fn take(self: &Arc<Self>, address: IpAddr, journal: &Arc<dyn Journal>) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let client = by_client.entry(address).or_default();
        if client.connections >= self.per_client {
            return None;
        }
        client.connections += 1;
        let share = client.share.clone();
        self.open.increment(1);
        let journal = Arc::new(CountingJournal { journal: Arc::clone(journal), share: share.clone() });
        Some(Place { slots: Arc::clone(self), client: address, share, journal, _permit: permit })
    }
}

/// A connection's place; given back when dropped.
pub(crate) struct Place {
    slots: Arc<Slots>,
    client: IpAddr,
    share: Share,
    /// Where events of this client's exchanges go.
    pub(crate) journal: Arc<dyn Journal>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Whether the client has as many exchanges under way as it may have.
    pub(crate) fn is_taken_up(&self) -> bool {
        self.share.under_way() >= self.slots.exchanges_per_client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slots.open.decrement(1);
        let mut by_client = self.slots.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = by_client.entry(self.client) {
            entry.get_mut().connections -= 1;
            if entry.get().connections == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use wardgate_core::{BoxFuture, Event, Unrecordable};

    use super::*;

    struct Nowhere;

    impl Journal for Nowhere {
        fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn record(&self, _: Event) {}
    }

    #[test]
    fn one_client_cannot_take_every_place() {
        let config =
            ProxyConfig { max_connections: 3, max_connections_per_client: 2, ..ProxyConfig::default() };
        let slots = Arc::new(Slots::new(&config));
        let journal: Arc<dyn Journal> = Arc::new(Nowhere);
        let take = |address| slots.take(address, &journal);
        let (one, other) =
            (IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)));
        let first = take(one);
        let second = take(one);
        assert!(first.is_some() && second.is_some() && take(one).is_none());
        let third = take(other);
        assert!(third.is_some() && take(other).is_none(), "the limit of all");
        drop(first);
        assert!(take(one).is_some());
        drop((second, third));
        assert!(slots.by_client.lock().unwrap().is_empty());
    }

    #[test]
    fn the_refusal_states_its_length() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
