//! The origin of all cases: it plays its part in each from a script, and records every byte.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::wire::{Stream, text};
use super::{Placed, Ports, Signals, Step, hear};
use crate::harness::{Pki, http2};

/// The origin of all cases: each case has an address of its own on it.
pub(super) struct Origin {
    pub(super) ports: Ports,
    seen: Arc<Seen>,
    parts: Parts,
    _tasks: JoinSet<()>,
}

/// The bytes of each connection, by the address at which it arrived.
#[derive(Default)]
struct Seen(Mutex<HashMap<IpAddr, Vec<Vec<u8>>>>);

/// How bytes are told of.
type Tell = fn(&[u8]) -> String;

impl Seen {
    fn begin(&self, address: IpAddr) -> usize {
        let mut seen = self.0.lock().unwrap();
        let connections = seen.entry(address).or_default();
        connections.push(Vec::new());
        connections.len() - 1
    }

    fn add(&self, address: IpAddr, connection: usize, bytes: &[u8]) {
        self.0.lock().unwrap().get_mut(&address).unwrap()[connection].extend(bytes);
    }

    fn contains(
        &self,
        address: IpAddr,
        connection: usize,
        tell: Tell,
        from: usize,
        wanted: &str,
    ) -> Option<usize> {
        let seen = self.0.lock().unwrap();
        let text = tell(&seen[&address][connection]);
        text[from..].find(wanted).map(|at| from + at + wanted.len())
    }
}

impl Origin {
    /// Plays its part in these cases.
    pub(super) async fn start(pki: &Pki, cases: &[Placed]) -> Self {
        let everywhere = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let plain = TcpListener::bind(everywhere(0)).await.unwrap();
        let tls = TcpListener::bind(everywhere(0)).await.unwrap();
        let ports =
            Ports { plain: plain.local_addr().unwrap().port(), tls: tls.local_addr().unwrap().port() };
        let part = |placed: &Placed| {
            let fill = |step: &Step| step.filled(|text| placed.fill(text, ports));
            let script = |steps: &Vec<Step>| steps.iter().map(fill).collect();
            let scripts = placed.case.origin.iter().map(script).collect();
            Part { scripts, http2: placed.case.origin_http2, signals: Arc::clone(&placed.signals) }
        };
        let parts: HashMap<IpAddr, Part> =
            cases.iter().map(|placed| (placed.origin.into(), part(placed))).collect();
        let (parts, seen) = (Arc::new(parts), Arc::new(Seen::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(plain, None, Arc::clone(&parts), Arc::clone(&seen)));
        let tls_of = |alpn| TlsAcceptor::from(pki.server(&[alpn]));
        let acceptors = Acceptors { http1: tls_of("http/1.1"), http2: tls_of("h2") };
        tasks.spawn(accept(tls, Some(acceptors), Arc::clone(&parts), Arc::clone(&seen)));
        Self { ports, seen, parts, _tasks: tasks }
    }

    /// What came in at an address, by connection; those that carried nothing are left out.
    pub(super) fn received(&self, address: Ipv4Addr) -> Vec<String> {
        let seen = self.seen.0.lock().unwrap();
        let tell = self.parts[&IpAddr::from(address)].tell();
        let connections = seen.get(&IpAddr::from(address)).into_iter().flatten();
        connections.map(|bytes| tell(bytes)).filter(|text| !text.is_empty()).collect()
    }
}

type Parts = Arc<HashMap<IpAddr, Part>>;

/// The origin's part in a case.
struct Part {
    scripts: Vec<Vec<Step>>,
    http2: bool,
    signals: Arc<Signals>,
}

impl Part {
    fn tell(&self) -> Tell {
        if self.http2 {
            |bytes| http2::told(bytes.get(http2::MAGIC.len()..).unwrap_or_default())
        } else {
            text
        }
    }
}

/// TLS with one protocol or the other.
#[derive(Clone)]
struct Acceptors {
    http1: TlsAcceptor,
    http2: TlsAcceptor,
}

async fn accept(listener: TcpListener, tls: Option<Acceptors>, parts: Parts, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, tls.clone(), Arc::clone(&parts), Arc::clone(&seen)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, tls: Option<Acceptors>, parts: Parts, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    let address = stream.local_addr().unwrap().ip();
    let Some(part) = parts.get(&address) else { return };
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(Acceptors { http1, http2 }) => {
            let accepting = if part.http2 { http2.accept(stream) } else { http1.accept(stream) };
            let Ok(stream) = accepting.await else { return };
            Box::new(stream)
        }
    };
    if part.http2 && stream.write_all(&http2::settings()).await.is_err() {
        return;
    }
    let connection = seen.begin(address);
    let Part { scripts, signals, .. } = part;
    let steps = scripts.get(connection).or(scripts.last()).cloned().unwrap_or_default();
    let mut waited = 0;
    for step in steps {
        if let Some(bytes) = step.bytes()
            && (stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err())
        {
            return;
        }
        match step {
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Close => drop(stream.shutdown().await),
            Step::AwaitEnd => while record(&mut stream, &seen, address, connection).await {},
            Step::Tell => signals.to_client.add_permits(1),
            Step::Hear if !hear(&signals.to_origin).await => return,
            Step::Await(wanted) => {
                waited = loop {
                    if let Some(end) = seen.contains(address, connection, part.tell(), waited, &wanted) {
                        break end;
                    }
                    if !record(&mut stream, &seen, address, connection).await {
                        return;
                    }
                }
            }
            _ => {}
        }
    }
    while record(&mut stream, &seen, address, connection).await {}
}

/// Reads once and records it; whether anything came.
async fn record(stream: &mut Box<dyn Stream>, seen: &Seen, address: IpAddr, connection: usize) -> bool {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer).await {
        Ok(count) if count > 0 => {
            seen.add(address, connection, &buffer[..count]);
            true
        }
        _ => false,
    }
}
