//! The whole proxy under load: plain, tunnelled, intercepted, and intercepted with every page scanned, each on kept
//! connections and on a new one for each request. Prints requests per second and what each costs the proxy in CPU
//! time, as a Markdown table. `benches/README.md` says how to run it and how to read it.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails says where and stops")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[path = "../tests/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the end-to-end tests use the rest of it")]
mod harness;

use harness::{ALLOWED, Pki, Site, Wardgate, pki};

/// Requests under way at a time.
const WORKERS: u64 = 8;
/// The size of the page, which is in the middle of what pages without pictures have.
const PAGE_BYTES: usize = 16 * 1024;
/// Groups of the policy are told apart by the address that a client comes from.
const SCANNED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const UNSCANNED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const TUNNELLED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    kept: u64,
    new: u64,
    longest: Duration,
}

const WHOLE: Extent = Extent { kept: 40_000, new: 6_000, longest: Duration::from_secs(20) };
const SMOKE: Extent = Extent { kept: 200, new: 50, longest: Duration::from_secs(20) };

/// One way through the proxy, or past it.
#[derive(Clone)]
struct Way {
    name: &'static str,
    from: IpAddr,
    /// Where to connect: the proxy, or the origin itself.
    to: SocketAddr,
    /// The head of a CONNECT, where one comes first.
    connect: Option<String>,
    tls: Option<Arc<ClientConfig>>,
    request: String,
}

/// A connection as a client sees it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let extent = if arguments.iter().any(|argument| argument == "--smoke") { SMOKE } else { WHOLE };
    let only =
        arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let pki = Pki::new();
    let page: Arc<[u8]> = response().into();
    let http = serve(None, Arc::clone(&page)).await;
    let https = serve(Some(pki.server(&["http/1.1"])), page).await;
    let site = site(&pki, &[http.port(), https.port()]);
    let wardgate = site.start().await;

    println!("| way | connections | requests | requests/s | proxy CPU µs/request |");
    println!("|---|---|---:|---:|---:|");
    for way in ways(&wardgate, &pki, http, https) {
        if only.is_some_and(|only| only != way.name) {
            continue;
        }
        measure(&way, Connections::Kept, extent.kept / 10, extent.longest).await; // warm: caches, pools, code
        for (connections, count) in [(Connections::Kept, extent.kept), (Connections::New, extent.new)] {
            let before = cpu(&wardgate);
            let (requests, took) = measure(&way, connections, count, extent.longest).await;
            let used = cpu(&wardgate) - before;
            let rate = requests as f64 / took.as_secs_f64();
            let each = used.as_secs_f64() * 1e6 / requests as f64;
            println!("| {} | {} | {requests} | {rate:.0} | {each:.0} |", way.name, connections.name());
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Connections {
    Kept,
    New,
}

impl Connections {
    fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::New => "new",
        }
    }
}

/// A site under the shipped policy, with two groups more, and with the origin's ports among those of web pages.
fn site(pki: &Pki, ports: &[u16]) -> Site {
    let mut site = Site::new(pki);
    let policy = site.path("shipped");
    wardgate_policy::write_embedded(&policy).unwrap();
    let groups = std::fs::read_to_string(policy.join("groups.toml")).unwrap();
    let more = format!(
        "[[group]]\nname = \"unscanned\"\naddresses = [\"{UNSCANNED}\"]\nsettings = {{ scan = false }}\n\
         [[group]]\nname = \"tunnelled\"\naddresses = [\"{TUNNELLED}\"]\nsettings = {{ intercept = false }}"
    );
    std::fs::write(policy.join("groups.toml"), format!("{groups}\n{more}\n")).unwrap();
    let rules = std::fs::read_to_string(policy.join("rules.toml")).unwrap();
    let usual =
        ports.iter().fold("ports_other_than = [".to_owned(), |list, port| list + &format!("{port}, "));
    std::fs::write(policy.join("rules.toml"), rules.replace("ports_other_than = [", &usual)).unwrap();
    site.set("policy", "dir", policy.to_str().unwrap());
    site.set("proxy", "max_connections_per_client", 100_000);
    site
}

fn ways(wardgate: &Wardgate, pki: &Pki, http: SocketAddr, https: SocketAddr) -> [Way; 6] {
    let secure = format!("{ALLOWED}:{}", https.port());
    let plain = format!("{ALLOWED}:{}", http.port());
    let request =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
    let connect = Some(format!("CONNECT {secure} HTTP/1.1\r\nHost: {secure}\r\n\r\n"));
    let absolute = request(&format!("http://{plain}/page"), &plain);
    let inside = request("/page", &secure);
    let origins_roots = Some(pki::client(&pki.root_pem, &["http/1.1"]));
    let schools_roots = Some(pki::client(&wardgate.ca_pem(), &["http/1.1"]));
    let (proxy, direct) = (wardgate.proxy, SocketAddr::new(SCANNED, http.port()));
    let way =
        |name, from, to, connect: &Option<String>, tls: &Option<Arc<ClientConfig>>, request: &String| Way {
            name,
            from,
            to,
            connect: connect.clone(),
            tls: tls.clone(),
            request: request.clone(),
        };
    [
        way("no proxy, for comparison", SCANNED, direct, &None, &None, &request("/page", &plain)),
        way("plain", UNSCANNED, proxy, &None, &None, &absolute),
        way("plain, scanned", SCANNED, proxy, &None, &None, &absolute),
        way("tunnelled", TUNNELLED, proxy, &connect, &origins_roots, &inside),
        way("intercepted", UNSCANNED, proxy, &connect, &schools_roots, &inside),
        way("intercepted, scanned", SCANNED, proxy, &connect, &schools_roots, &inside),
    ]
}

/// Sends so many requests, or as many as there is time for; returns how many and how long they took.
async fn measure(way: &Way, connections: Connections, count: u64, longest: Duration) -> (u64, Duration) {
    let began = Instant::now();
    let (taken, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (way, taken, done) = (way.clone(), Arc::clone(&taken), Arc::clone(&done));
        workers.spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            let mut kept: Option<Box<dyn Stream>> = None;
            while taken.fetch_add(1, Ordering::Relaxed) < count && began.elapsed() < longest {
                let mut stream = match kept.take() {
                    Some(stream) => stream,
                    None => open(&way, &mut buffer).await,
                };
                exchange(&mut stream, way.request.as_bytes(), &mut buffer).await;
                done.fetch_add(1, Ordering::Relaxed);
                kept = (connections == Connections::Kept).then_some(stream);
            }
        });
    }
    workers.join_all().await;
    (done.load(Ordering::Relaxed), began.elapsed())
}

/// Connects, and sends CONNECT and shakes hands where the way asks for it.
async fn open(way: &Way, buffer: &mut [u8]) -> Box<dyn Stream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((way.from, 0).into()).unwrap();
    let mut stream = socket.connect(way.to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    if let Some(connect) = &way.connect {
        stream.write_all(connect.as_bytes()).await.unwrap();
        let length = head(&mut stream, buffer).await.0;
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..length]));
    }
    let Some(tls) = &way.tls else { return Box::new(stream) };
    let name = ServerName::try_from(ALLOWED).unwrap();
    Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.unwrap())
}

/// Sends one request and reads the whole answer, which must be the page.
async fn exchange(stream: &mut (impl Stream + ?Sized), request: &[u8], buffer: &mut [u8]) {
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    let (head, mut filled) = head(stream, buffer).await;
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..head]));
    let fields = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = fields.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    // A proxy that scans may answer in chunks: then the end is the last chunk.
    match length.map(|length| length.parse::<usize>().unwrap()) {
        Some(length) => {
            let mut left = (head + length).saturating_sub(filled);
            while left > 0 {
                left -= read(stream, buffer).await.min(left);
            }
        }
        None => {
            while !buffer[..filled].ends_with(b"0\r\n\r\n") {
                filled += read(stream, &mut buffer[filled..]).await;
            }
        }
    }
}

/// Reads a head into the buffer; returns its length and how much was read in all.
async fn head(stream: &mut (impl AsyncRead + Unpin + ?Sized), buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        filled += read(stream, &mut buffer[filled..]).await;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            return (end + 4, filled);
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin + ?Sized), buffer: &mut [u8]) -> usize {
    let count = stream.read(buffer).await.unwrap();
    assert!(count > 0, "the connection ended in the midst of an answer");
    count
}

/// An origin that does as little as possible: the same answer to everything that ends in an empty line.
async fn serve(tls: Option<Arc<ServerConfig>>, answer: Arc<[u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(converse(stream, tls.clone(), Arc::clone(&answer)));
        }
    });
    address
}

async fn converse(stream: TcpStream, tls: Option<Arc<ServerConfig>>, answer: Arc<[u8]>) {
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let (mut buffer, mut filled) = (vec![0; 16 * 1024], 0);
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(count) if count > 0 => filled += count,
            _ => return,
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

/// A page of plain English with the mark-up that pages have.
fn response() -> Vec<u8> {
    let mut page = "<!doctype html><html lang=en><title>A page</title><body>".to_owned();
    for number in 0.. {
        if page.len() >= PAGE_BYTES {
            break;
        }
        page.push_str(&format!(
            "<div class=\"item\"><a href=\"/item/{number}\">Item {number}</a> <p>The river bends twice below the old \
             mill, where the children of the village learn to swim every summer.</p></div>\n"
        ));
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    (head + &page).into_bytes()
}

/// The CPU time that the proxy has used so far, user and system.
fn cpu(wardgate: &Wardgate) -> Duration {
    // The kernel counts in ticks of 10 ms on every Linux that Debian ships (USER_HZ).
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(wardgate.proc().join("stat")).unwrap();
    // Fields are counted behind the name, which may hold spaces: utime and stime are the 12th and 13th from there.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    TICK * (fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap())
}
