//! Accepts connections, within limits, until told to stop; then drains.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metrics::{Counter, Gauge, counter, gauge};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wardgate_core::{Entrance, Journal, Target};
use wardgate_text::Memory;
use wardgate_tls::{Minter, OwnCertificate, OwnCertificateError};

use crate::config::{ProxyConfig, UpstreamConfig, seconds};
use crate::connection::{Ends, Leg, serve_http1, serve_http2};
use crate::handshakes::Handshakes;
use crate::local::Grants;
use crate::pages::Pages;
use crate::share::{CountingJournal, Share};
use crate::shared::{Parts, Recorder, Shared, TlsEntrance};
use crate::stream::{self, Prefixed};
use crate::upstream::{Upstream, UpstreamSetupError};

/// Connections that the system keeps ready for us.
const BACKLOG: u32 = 4096;
/// A silent peer is probed after this time, so that a dead one does not hold a tunnel open.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// When the system has no descriptors left, accepting pauses for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// After the drain time, what is left has this long to record its end.
const LAST_WORDS: Duration = Duration::from_secs(3);
const MIB: usize = 1024 * 1024;
/// What a client beyond its limit reads.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n\
    Connection: close\r\nContent-Length: 63\r\n\r\nToo many connections from this device. Please try again later.\n";

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port cannot be listened on.
    #[error("cannot listen on {address}: {source}; {remedy} in [proxy] {key}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
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
    /// The proxy's own certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] OwnCertificateError),
    /// Keys of the configuration do not fit together.
    #[error("{0}")]
    Config(&'static str),
    /// The pages do not parse, or there is no randomness: a fault of the build or the machine.
    #[error("cannot set up the proxy: {0}")]
    Setup(String),
}

/// A proxy that is bound to its port.
pub struct Proxy {
    listener: TcpListener,
    tls_listener: Option<TcpListener>,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Binds the port and sets up the way to origins. Nothing is accepted until [`Proxy::run`].
    pub async fn bind(
        config: ProxyConfig,
        upstream: &UpstreamConfig,
        parts: Parts,
    ) -> Result<Self, StartError> {
        let listener = listen(config.listen, "listen")?;
        let tls_listener = config.tls_listen.map(|address| listen(address, "tls_listen")).transpose()?;
        let setup = |error: &dyn ToString| StartError::Setup(error.to_string());
        let address = listener.local_addr().map_err(|e| setup(&e))?;
        let tls = match &tls_listener {
            None => None,
            Some(listener) => Some(TlsEntrance {
                listen: listener.local_addr().map_err(|e| setup(&e))?,
                certificate: Arc::new(own_certificate(&config, &parts.minter)?),
            }),
        };
        let own_ports = [Some(address.port()), tls.as_ref().map(|tls| tls.listen.port())];
        let own_ports = own_ports.into_iter().flatten().collect();
        let ending = CancellationToken::new();
        let recorder = Recorder::new(Arc::clone(&parts.journal), ending.clone());
        let upstream = Upstream::new(upstream, Arc::clone(&parts.origin_tls), own_ports)?;
        let scan_memory = Memory::new(config.scan_memory_mib.saturating_mul(MIB));
        let shared = Shared {
            config,
            listen: address,
            tls,
            parts,
            journal: Arc::new(recorder),
            upstream,
            pages: Pages::new().map_err(|e| setup(&e))?,
            grants: Grants::new().map_err(|e| setup(&e))?,
            handshakes: Handshakes::new(),
            scan_memory,
            draining: CancellationToken::new(),
            ending,
            tasks: TaskTracker::new(),
        };
        Ok(Self { listener, tls_listener, shared: Arc::new(shared) })
    }

    /// The address that is listened on, with the port that the system chose where 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.shared.listen
    }

    /// The address at which clients come over TLS, where there is one.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.shared.tls.as_ref().map(|tls| tls.listen)
    }

    /// The certificate that clients are shown there, to be read again when it was renewed.
    pub fn certificate(&self) -> Option<Arc<OwnCertificate>> {
        self.shared.tls.as_ref().map(|tls| Arc::clone(&tls.certificate))
    }

    /// Accepts connections until `stop` is cancelled, then lets what is under way finish within the drain time and
    /// ends the rest.
    pub async fn run(self, stop: CancellationToken) {
        let slots = Arc::new(Slots::new(&self.shared.config, Arc::clone(&self.shared.scan_memory)));
        let plain = accept(&self.shared, &slots, self.listener, Entrance::Plain);
        let tls = async {
            match self.tls_listener {
                Some(listener) => accept(&self.shared, &slots, listener, Entrance::Tls).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = plain => {}
            () = tls => {}
        }
        drain(&self.shared).await;
    }
}

/// Accepts connections for as long as it is polled; dropped, it closes the port.
async fn accept(shared: &Arc<Shared>, slots: &Arc<Slots>, listener: TcpListener, entrance: Entrance) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(shared, slots, stream, peer, entrance),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The certificate for clients that speak TLS to the proxy: the configured one, or one of the school's CA.
fn own_certificate(config: &ProxyConfig, minter: &Arc<Minter>) -> Result<OwnCertificate, StartError> {
    let minter = Arc::clone(minter);
    match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => Ok(OwnCertificate::from_files(certificate, key, minter)?),
        (None, None) => {
            const NO_NAME: &str = "[proxy] tls_listen: under which name do clients reach it? Set [proxy] tls_public to \
                                   `host:port`, or tls_certificate and tls_key to a certificate of your own";
            let public = config.tls_public.as_ref().or(config.public.as_ref());
            let target = public.and_then(|public| Target::connect(public).ok());
            let host = target.ok_or(StartError::Config(NO_NAME))?.host().to_string();
            Ok(OwnCertificate::minted(host.trim_matches(['[', ']']), minter)?)
        }
        _ => Err(StartError::Config(
            "[proxy] tls_certificate and tls_key belong together: set both, or neither",
        )),
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

fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Connections inherit these, which spares each of them the system calls (Linux: tcp(7), socket(7)).
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|source| {
        let remedy = match source.kind() {
            io::ErrorKind::AddrInUse => "another program uses this port: stop it, or choose another one",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
            _ => "give an address of this machine",
        };
        StartError::Listen { address, key, remedy, source }
    })
}

fn admit(shared: &Arc<Shared>, slots: &Arc<Slots>, stream: TcpStream, peer: SocketAddr, entrance: Entrance) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let Some(place) = slots.take(peer.ip(), &shared.journal) else {
        slots.refused.increment(1);
        if entrance == Entrance::Plain {
            shared.tasks.spawn(turn_away(stream)); // inside TLS nobody could read it
        }
        return;
    };
    slots.accepted.increment(1);
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let Ok(local) = local_address(&shared, &stream, entrance) else { return };
        let ends = Ends { peer, local, entrance, place: Arc::new(place) };
        match entrance {
            Entrance::Plain => serve_http1(shared, ends, Leg::Open, stream).await,
            Entrance::Tls => Box::pin(serve_tls(shared, ends, stream)).await,
        }
    });
}

/// The address that a client came to. The system is asked only where several are listened on.
fn local_address(shared: &Shared, stream: &TcpStream, entrance: Entrance) -> io::Result<SocketAddr> {
    let listen = match (entrance, &shared.tls) {
        (Entrance::Tls, Some(tls)) => tls.listen,
        _ => shared.listen,
    };
    let local = if listen.ip().is_unspecified() { stream.local_addr()? } else { listen };
    Ok(SocketAddr::new(local.ip().to_canonical(), local.port()))
}

/// Shakes hands with a client that speaks TLS to the proxy itself, and serves it.
async fn serve_tls(shared: Arc<Shared>, ends: Ends, stream: TcpStream) {
    let Some(config) = shared.tls.as_ref().map(|tls| tls.certificate.server_config()) else { return };
    let config = match config {
        Ok(config) => config,
        Err(error) => return tracing::error!(%error, "the proxy has no certificate to show"),
    };
    // The same types as in an intercepted tunnel, so that the code behind them is compiled once.
    let client = Prefixed::new(Bytes::new(), stream::Client::Socket(stream));
    let accepting = shared.handshakes.drive(&ends.place.share, TlsAcceptor::from(config).accept(client));
    let accepting = timeout(seconds(shared.config.head_timeout_secs), accepting);
    let accepted = tokio::select! {
        accepted = accepting => accepted,
        () = shared.ending.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a client did not shake hands"),
        Err(_) => return tracing::debug!("a client took too long to shake hands"),
    };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        serve_http2(shared, ends, Leg::Open, stream).await;
    } else {
        serve_http1(shared, ends, Leg::Open, stream).await;
    }
}

async fn turn_away(mut stream: TcpStream) {
    let _ = timeout(Duration::from_secs(1), async {
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
    scan_memory: Arc<Memory>,
    scan_memory_per_client: usize,
    accepted: Counter,
    refused: Counter,
    open: Gauge,
}

/// What a client has open.
struct Client {
    connections: usize,
    share: Share,
}

impl Slots {
    fn new(config: &ProxyConfig, scan_memory: Arc<Memory>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            by_client: Mutex::default(),
            per_client: config.max_connections_per_client,
            exchanges_per_client: config.max_exchanges_per_client,
            scan_memory,
            scan_memory_per_client: config.scan_memory_per_client_mib.saturating_mul(MIB),
            accepted: counter!("wardgate_connections_total"),
            refused: counter!("wardgate_connections_refused_total"),
            open: gauge!("wardgate_connections"),
        }
    }

    fn take(self: &Arc<Self>, address: IpAddr, journal: &Arc<dyn Journal>) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let client = by_client.entry(address).or_insert_with(|| Client {
            connections: 0,
            share: Share::new(self.scan_memory.part(self.scan_memory_per_client)),
        });
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
    /// What the client has under way.
    pub(crate) share: Share,
    /// Where events of this client's exchanges go.
    pub(crate) journal: Arc<dyn Journal>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// One more place for the same client: a tunnel in an HTTP/2 connection takes as much as a connection does.
    pub(crate) fn another(&self, journal: &Arc<dyn Journal>) -> Option<Self> {
        self.slots.take(self.client, journal)
    }

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
        let slots = Arc::new(Slots::new(&config, Memory::new(0)));
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
