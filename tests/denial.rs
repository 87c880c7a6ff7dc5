//! Denial of service: whoever asks too much, too slowly or too cleverly is told so and held to a share, while others
//! are served, memory stays within a bound, descriptors come back, and the log or the metrics say what happened.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hyper::{Method, Uri};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::hello;
use crate::harness::origin::{encode, encoded_bomb};
use crate::harness::{ALLOWED, BLOCKED, Site, Wardgate, World, eventually, http2, listed, raw, request};

/// Makes the list of cases for `tests/README.md`; each must be a test of this name.
macro_rules! attacks {
    ($($test:ident: $name:literal, $source:literal;)*) => {
        const ATTACKS: &[(&str, &str)] = &[$(($name, $source)),*];
        const TESTS: &[fn()] = &[$($test),*];
    };
}

attacks! {
    slow_heads: "slowloris in heads", "Slowloris, 2009; CAPEC-469";
    slow_bodies: "slowloris in bodies", "R-U-Dead-Yet, 2010; CAPEC-469";
    dripping_uploads: "uploads in bytes now and then, beside slow ones", "R-U-Dead-Yet, 2010; CAPEC-469";
    empty_lines: "empty lines before a request, many or now and then", "RFC 9112, 2.2; CAPEC-469";
    endless_heads: "heads without an end", "RFC 9112, 3; RFC 6585, 5";
    header_bombs: "an HPACK bomb", "CVE-2016-6581; RFC 7541, 7.3";
    heads_a_little_too_large: "HTTP/2 heads a little too large", "RFC 9113, 10.5.1; RFC 6585, 5";
    pipelines_that_nobody_reads: "requests pipelined and no answer read", "RFC 9112, 9.3.2";
    clients_that_never_read: "a client that never reads, HTTP/1.1", "CVE-2019-9517";
    streams_that_are_never_read: "a client that never opens its windows, HTTP/2", "CVE-2019-9511; CVE-2019-9517";
    windows_opened_and_nothing_read: "a client that opens its windows and does not read, HTTP/2", "CVE-2019-9517";
    too_many_exchanges: "more exchanges at once than a client's share", "RFC 6585, 4";
    rapid_resets: "rapid reset", "CVE-2023-44487";
    resets_by_our_own_hand: "MadeYouReset", "CVE-2025-8671";
    floods_of_frames: "floods of SETTINGS, PING, PRIORITY, WINDOW_UPDATE and empty DATA", "CVE-2019-9512; CVE-2019-9515; CVE-2019-9518";
    endless_continuations: "a CONTINUATION flood", "CVE-2024-27316; VU#421644";
    bodies_in_single_bytes: "bodies in single bytes, HTTP/2", "CVE-2019-9511";
    decompression_bombs: "decompression bombs: gzip, br, zstd, nested, in answers and in requests", "CWE-409";
    decoders_together: "bodies whose decoders hold much, many at a time", "RFC 7932, 9.1; RFC 8878, 3.1.1.1.2; CWE-770";
    idle_connections: "ten thousand idle connections", "CAPEC-125";
    idle_tunnels: "idle HTTP/2 connections in intercepted tunnels", "CAPEC-125";
    handshake_floods: "floods of TLS handshakes begun and finished", "CAPEC-125; THC-SSL-DOS, 2011";
    floods_of_greetings: "floods of ClientHellos from many addresses, none answered", "CAPEC-125; THC-SSL-DOS, 2011";
    origins_that_dawdle: "an origin that never answers, or a byte at a time, or without an end", "CAPEC-469";
    origins_that_never_read: "an origin that never reads what is sent to it", "CAPEC-469";
    endless_redirects: "redirects without an end through block and warn pages", "RFC 9110, 15.4";
}

#[test]
fn the_list_in_the_readme_is_this_one() {
    listed::check("denial", ATTACKS.iter().copied());
    let written = include_str!("denial.rs").matches("#[tokio::test(").count() - 1; // this line
    assert_eq!(TESTS.len(), written, "a test that the list does not name");
}

/// Where attackers come from, and where somebody is who only wants to work.
const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const BYSTANDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));
/// How long a bystander may wait for a page while an attack goes on: machines are busy, but nobody hangs.
const SERVED_WITHIN: Duration = Duration::from_secs(20);
/// Descriptors that may stay open behind an attack: connections of the bystander, and to origins.
const KEPT: usize = 16;
/// How long after its exchange's end a line may take.
const RECORDED_WITHIN: Duration = Duration::from_secs(40);
const MIB: u64 = 1 << 20;

/// A running Wardgate, and how it was before the attack.
struct Siege {
    world: World,
    wardgate: Wardgate,
    memory: u64,
    descriptors: usize,
}

impl Siege {
    async fn lay(prepare: impl FnOnce(&mut Site)) -> Self {
        Self::around(World::new().await, prepare).await
    }

    async fn around(mut world: World, prepare: impl FnOnce(&mut Site)) -> Self {
        world.site.set("upstream", "keep_alive_secs", 2);
        prepare(&mut world.site);
        let wardgate = world.site.start().await;
        let mut siege = Self { world, wardgate, memory: 0, descriptors: 0 };
        for _ in 0..3 {
            siege.serves_others().await;
        }
        siege.memory = siege.wardgate.memory();
        siege.descriptors = siege.wardgate.descriptors();
        siege
    }

    /// A bystander opens a page.
    async fn serves_others(&self) {
        let client = self.wardgate.client().at(BYSTANDER);
        let reply = timeout(SERVED_WITHIN, client.get(&self.world.https(ALLOWED, "/?bystander"))).await;
        assert_eq!(reply.expect("a bystander is not served").status, 200);
    }

    /// Lets an attack happen: others are served all the while, and memory does not grow by more than `bound`.
    async fn during<T>(&self, bound: u64, attack: impl Future<Output = T>) -> T {
        let mut peak = 0;
        let mut watch = || peak = peak.max(self.wardgate.memory());
        let bystander = async {
            loop {
                self.serves_others().await;
                watch();
                sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::select! {
            done = attack => done,
            () = bystander => unreachable!("it goes on"),
        };
        self.serves_others().await;
        watch();
        let grown = peak.saturating_sub(self.memory);
        println!("memory grew by {} MiB at most; {} are allowed", grown / MIB, bound / MIB);
        assert!(grown <= bound, "memory grew by {} MiB", grown / MIB);
        done
    }

    /// The attack is over: others are served, and what it took is given back.
    async fn is_over(&self) {
        self.serves_others().await;
        eventually("the descriptors come back", || self.wardgate.descriptors() <= self.descriptors + KEPT)
            .await;
    }

    /// A connection from where the attacker is.
    async fn attack(&self) -> TcpStream {
        connect_from(ATTACKER, self.wardgate.proxy).await
    }

    /// An HTTP/2 connection from where the attacker is, inside an intercepted tunnel, with the preface sent.
    async fn attack_http2(&self) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
        let url: Uri = self.world.https(ALLOWED, "/").parse().unwrap();
        let mut stream = self.wardgate.client().at(ATTACKER).tls(&url).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        stream.write_all(&http2::preface()).await.unwrap();
        stream
    }

    /// The head of a request to the allowed host on an HTTP/2 stream.
    fn ask(&self, stream: u32, method: &str, path: &str, end: bool) -> Vec<u8> {
        http2::headers(stream, &self.fields(method, path), end)
    }

    fn fields(&self, method: &str, path: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let authority = format!("{ALLOWED}:{}", self.world.origin.https.port());
        [(":method", method), (":scheme", "https"), (":authority", &authority), (":path", path)]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec()
    }

    /// The lines of the access log about the attacker that fit, once there are so many.
    async fn lines(&self, count: usize, what: impl Fn(&Value) -> bool) -> Vec<Value> {
        let about = |line: &Value| line["source.ip"] == ATTACKER.to_string() && what(line);
        let lines = || -> Vec<Value> { self.wardgate.lines().into_iter().filter(&about).collect() };
        let deadline = Instant::now() + RECORDED_WITHIN;
        while lines().len() < count && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        let found = lines();
        assert_eq!(found.len(), count, "one exchange, one line; the lines are {:#?}", self.tally());
        found
    }

    /// How many lines say what.
    fn tally(&self) -> BTreeMap<String, usize> {
        const SAID: [&str; 4] =
            ["source.ip", "http.response.status_code", "wardgate.outcome", "wardgate.detail"];
        let mut tally = BTreeMap::new();
        for line in self.wardgate.lines() {
            *tally.entry(SAID.map(|key| line[key].to_string()).join(" ")).or_default() += 1;
        }
        tally
    }

    /// A number in `/metrics`; 0 where nothing was counted yet.
    async fn metric(&self, name: &str) -> f64 {
        let text = self.wardgate.client().get(&self.wardgate.own_url("/metrics")).await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0.0)
    }
}

async fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Sends a byte now and then until the other side answers or closes; returns what came back.
async fn drip(mut stream: TcpStream, every: Duration) -> String {
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        match timeout(every, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => answer.extend(&buffer[..count]),
            Ok(_) => return String::from_utf8(answer).unwrap(),
            Err(_) if answer.is_empty() => drop(stream.write_all(b"a").await),
            Err(_) => {}
        }
    }
}

/// Sends over an HTTP/2 connection for as long as it is taken, reads all the while, and returns what the server told.
async fn told(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
    pause: Duration,
) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        for piece in pieces {
            if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    });
    let mut received = Vec::new();
    let closed = timeout(raw::PATIENCE, reader.read_to_end(&mut received)).await;
    sending.abort();
    let told = http2::told(&received);
    assert!(closed.is_ok(), "it is not closed: {}", told.lines().last().unwrap_or_default());
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_heads() {
    const CLIENTS: usize = 200;
    let siege = Siege::lay(|site| site.set("proxy", "head_timeout_secs", 2)).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let attack = join_all((0..CLIENTS).map(|_| async {
        let mut stream = siege.attack().await;
        let head = format!("GET http://{authority}/slow-head HTTP/1.1\r\nHost: {authority}\r\nX-Slow: ");
        stream.write_all(head.as_bytes()).await.unwrap();
        drip(stream, Duration::from_millis(200)).await
    }));
    for answer in siege.during(64 * MIB, attack).await {
        assert_eq!(raw::status_of(&answer), Some(408), "{answer:?}");
    }
    siege.lines(CLIENTS, |line| line["wardgate.outcome"] == "timed-out").await;
    assert!(siege.world.origin.seen("/slow-head").is_empty());
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies() {
    const CLIENTS: usize = 40;
    let siege = Siege::lay(|site| {
        site.set("proxy", "max_connections_per_client", CLIENTS as i64);
        site.set("proxy", "stall_timeout_secs", 2);
        site.set("proxy", "min_upload_bytes_per_sec", 0);
    })
    .await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let mut streams = Vec::new();
    for number in 0..CLIENTS {
        let mut stream = siege.attack().await;
        let head = format!(
            "POST http://{authority}/upload?slow-body={number} HTTP/1.1\r\nHost: {authority}\r\n\
             Content-Type: text/plain\r\nContent-Length: 100000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // A byte each second keeps a connection, and the client's share of them is used up.
    let attack = async {
        let deadline = Instant::now() + Duration::from_secs(4);
        while Instant::now() < deadline {
            for stream in &mut streams {
                stream.write_all(b"a").await.unwrap();
            }
            let refused = raw::talk_over(siege.attack().await, b"").await;
            assert_eq!(refused.status(), Some(503), "{refused:?}");
            assert!(refused.received.contains("Retry-After: "), "{refused:?}");
            sleep(Duration::from_secs(1)).await;
        }
    };
    siege.during(64 * MIB, attack).await;
    assert!(siege.metric("wardgate_connections_refused_total").await >= 3.0);
    // Without a byte it is given up.
    let answers = join_all(streams.into_iter().map(|stream| raw::talk_over(stream, b""))).await;
    assert!(
        answers.iter().all(|talk| talk.closed && matches!(talk.status(), None | Some(408))),
        "{answers:?}"
    );
    siege.lines(CLIENTS, |line| line["wardgate.outcome"] == "timed-out").await;
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dripping_uploads() {
    const CLIENTS: usize = 20;
    // By default 500 bytes a second, averaged over this time.
    let siege = Siege::lay(|site| site.set("proxy", "stall_timeout_secs", 3)).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let upload = async |kind: &str, name: &str, length: usize| {
        let mut stream = siege.attack().await;
        let head = format!(
            "POST http://{authority}/upload?{name} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let binary = "application/octet-stream";
    let drips = join_all((0..CLIENTS).map(|number| {
        let kind = if number % 2 == 0 { binary } else { "text/plain" }; // passed on, and read
        let upload = &upload;
        async move { drip(upload(kind, "drips", 100_000).await, Duration::from_millis(300)).await }
    }));
    // A slow line is not an attack: four seconds and more at 2,000 bytes a second.
    let slow = async {
        let mut stream = upload(binary, "slow-line", 10_000).await;
        for _ in 0..20 {
            stream.write_all(&[b'a'; 500]).await.unwrap();
            sleep(Duration::from_millis(250)).await;
        }
        raw::talk_over(stream, b"").await
    };
    // Nor is silence where both sides talk at length.
    let both = async {
        let mut stream = upload("application/grpc", "both-talk", 20).await;
        for _ in 0..20 {
            stream.write_all(b"a").await.unwrap();
            sleep(Duration::from_millis(300)).await;
        }
        raw::talk_over(stream, b"").await
    };
    let (drips, slow, both) = siege.during(64 * MIB, async { tokio::join!(drips, slow, both) }).await;
    for answer in drips {
        assert!(answer.is_empty() || raw::status_of(&answer) == Some(408), "{answer:?}");
    }
    assert_eq!((slow.status(), both.status()), (Some(200), Some(200)), "{slow:?}, {both:?}");
    for line in siege.lines(CLIENTS, |line| is_at(line, "?drips")).await {
        assert_eq!(line["wardgate.outcome"], "timed-out", "{line:#}");
        assert_eq!(line["wardgate.detail"], "the request's body came too slowly", "{line:#}");
    }
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_lines() {
    const CLIENTS: usize = 40;
    let siege = Siege::lay(|site| site.set("proxy", "idle_timeout_secs", 2)).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let ask =
        format!("GET http://{authority}/?lines HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    // A few are forgiven; more are somebody's joke.
    for (lines, status) in [(1, 200), (8, 200), (9, 400), (100_000, 400)] {
        let talk =
            raw::talk_over(siege.attack().await, format!("{}{ask}", "\r\n".repeat(lines)).as_bytes()).await;
        assert_eq!(talk.status(), Some(status), "{lines} empty lines: {talk:?}");
    }
    // Half a line now and then does not keep an idle connection.
    let attack = join_all((0..CLIENTS).map(|_| async {
        let (mut reader, mut writer) = siege.attack().await.into_split();
        let sending = tokio::spawn(async move {
            for half in [b"\r", b"\n"].iter().cycle() {
                if writer.write_all(*half).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(700)).await;
            }
        });
        let mut answer = Vec::new();
        let closed = timeout(Duration::from_secs(30), reader.read_to_end(&mut answer)).await;
        sending.abort();
        closed.expect("it is kept for as long as something comes").map(|_| answer).unwrap_or_default()
    }));
    for answer in siege.during(64 * MIB, attack).await {
        assert!(answer.is_empty(), "as any idle connection: {:?}", String::from_utf8_lossy(&answer));
    }
    siege.lines(2, |line| line["wardgate.detail"] == "too many empty lines before a request").await;
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_heads() {
    const CLIENTS: usize = 20;
    let siege = Siege::lay(|_| {}).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let attack = join_all((0..CLIENTS).map(|_| async {
        let (mut reader, mut writer) = siege.attack().await.into_split();
        let head = format!("GET http://{authority}/endless HTTP/1.1\r\nHost: {authority}\r\nX-Endless: ");
        let sending = tokio::spawn(async move {
            let mut piece = head.into_bytes();
            while writer.write_all(&piece).await.is_ok() {
                piece = vec![b'a'; 16 * 1024];
            }
        });
        let mut answer = Vec::new();
        let _ = timeout(raw::PATIENCE, reader.read_to_end(&mut answer)).await.expect("it is closed");
        sending.abort();
        String::from_utf8(answer).unwrap()
    }));
    for answer in siege.during(64 * MIB, attack).await {
        assert_eq!(raw::status_of(&answer), Some(431), "{answer:?}");
    }
    siege.lines(CLIENTS, |line| line["http.response.status_code"] == 431).await;
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_bombs() {
    const STREAMS: u32 = 50;
    let siege = Siege::lay(|_| {}).await;
    // One value of 3,000 bytes into the table, then 10,000 mentions of it in a byte each.
    let mut bomb = http2::headers(1, &siege.fields("GET", "/bomb"), true).split_off(9);
    bomb.extend(b"\x40\x06x-bomb\x7f\xb9\x16");
    bomb.extend([b'b'; 3000]);
    bomb.extend([0xbe; 10_000]);
    let attack = async {
        let streams = (0..STREAMS).map(move |number| http2::frame(1, 5, 2 * number + 1, &bomb));
        let ping = std::iter::once(http2::ping());
        let mut stream = siege.attack_http2().await;
        let sent: Vec<u8> = streams.chain(ping).flatten().collect();
        let _ = stream.write_all(&sent).await;
        let _ = stream.flush().await;
        let mut received = Vec::new();
        loop {
            let read = timeout(raw::PATIENCE, stream.read_buf(&mut received)).await.expect("an answer");
            let told = http2::told(&received);
            if told.contains("PONG") || !matches!(read, Ok(1..)) {
                return told;
            }
        }
    };
    let told = siege.during(64 * MIB, attack).await;
    let refused = told.contains("1 HEADERS 431") || told.contains("GOAWAY");
    assert!(refused && !told.contains("HEADERS 200"), "{told}");
    assert!(siege.world.origin.seen("/bomb").is_empty());
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_a_little_too_large() {
    let siege = Siege::lay(|site| site.set("proxy", "max_head_bytes", 20_000)).await;
    for (case, fields, size) in [("many fields", 200, 10), ("one large field", 1, 21_000)] {
        let mut head = siege.fields("GET", "/too-large");
        head.extend((0..fields).map(|number| (format!("x-{number}").into_bytes(), vec![b'a'; size])));
        let mut stream = siege.attack_http2().await;
        stream.write_all(&http2::headers(1, &head, true)).await.unwrap();
        let mut received = Vec::new();
        while !http2::told(&received).contains("END") {
            let read = timeout(raw::PATIENCE, stream.read_buf(&mut received)).await.expect("an answer");
            assert!(read.unwrap() > 0, "{case}: {}", http2::told(&received));
        }
        let told = http2::told(&received);
        assert!(told.starts_with("1 HEADERS 431"), "{case}: {told}");
        // The connection is still good for a head that is not.
        stream.write_all(&siege.ask(3, "GET", "/small-enough", true)).await.unwrap();
        while !http2::told(&received).contains("3 HEADERS 200") {
            let read = timeout(raw::PATIENCE, stream.read_buf(&mut received)).await.expect("an answer");
            assert!(read.unwrap() > 0, "{case}: {}", http2::told(&received));
        }
    }
    siege.lines(2, |line| line["http.response.status_code"] == 431).await;
    assert!(siege.world.origin.seen("/too-large").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_that_nobody_reads() {
    const CLIENTS: usize = 20;
    let siege = Siege::lay(|site| site.set("proxy", "stall_timeout_secs", 2)).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let one =
        format!("GET http://{authority}/file?bytes=20000&pipelined HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let attack = join_all((0..CLIENTS).map(|_| async {
        let mut stream = siege.attack().await;
        let many = one.repeat(20_000);
        // It takes some, then no more, and in the end it gives up.
        let _ = timeout(raw::PATIENCE, stream.write_all(many.as_bytes())).await.expect("it is closed");
        stream
    }));
    let held = siege.during(128 * MIB, attack).await;
    drop(held);
    siege.is_over().await;
    let asked = siege.world.origin.seen("/file").len();
    siege.lines(asked, |line| line["url.full"].as_str().is_some_and(|url| url.contains("pipelined"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read() {
    const CLIENTS: usize = 50;
    let siege = Siege::lay(|site| site.set("proxy", "stall_timeout_secs", 2)).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.http.port());
    let attack = async {
        let head =
            format!("GET http://{authority}/download?bytes=1000000000 HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = siege.attack().await;
            stream.write_all(head.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        siege.lines(CLIENTS, |line| line["wardgate.outcome"] == "timed-out").await
    };
    for line in siege.during(128 * MIB, attack).await {
        assert_eq!(line["wardgate.detail"], "the client stopped reading", "{line:#}");
    }
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_never_read() {
    const CONNECTIONS: usize = 5;
    const STREAMS: u32 = 100;
    // What an origin's HTTP/2 connection may send ahead of its reader, and a bit for the exchange.
    const BOUND: u64 = (CONNECTIONS as u64) * (STREAMS as u64) * (640 << 10);
    let siege = Siege::lay(|site| site.set("proxy", "stall_timeout_secs", 2)).await;
    // INITIAL_WINDOW_SIZE of 0: nothing of a body may be sent.
    let shut = http2::frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let attack = async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = siege.attack_http2().await;
            stream.write_all(&shut).await.unwrap();
            for number in 0..STREAMS {
                let ask = siege.ask(2 * number + 1, "GET", "/download?bytes=100000000", true);
                stream.write_all(&ask).await.unwrap();
            }
            stream.flush().await.unwrap();
            connections.push(stream);
        }
        let stalled = |line: &Value| line["wardgate.outcome"] == "timed-out";
        (siege.lines(CONNECTIONS * STREAMS as usize, stalled).await, connections)
    };
    let (lines, connections) = siege.during(BOUND, attack).await;
    for line in lines {
        assert_eq!(line["wardgate.detail"], "the client stopped reading", "{line:#}");
    }
    // Each stream was ended by itself: its connection is good for a client that reads.
    for mut stream in connections {
        let open = http2::frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
        stream.write_all(&open).await.unwrap();
        stream.write_all(&siege.ask(2 * STREAMS + 1, "GET", "/?reads", true)).await.unwrap();
        let (mut received, answer) = (Vec::new(), format!("{} HEADERS 200", 2 * STREAMS + 1));
        while !http2::told(&received).contains(&answer) {
            let read = timeout(raw::PATIENCE, stream.read_buf(&mut received)).await.expect("an answer");
            assert!(read.unwrap() > 0, "{}", http2::told(&received));
        }
        assert_eq!(http2::told(&received).matches("RESET CANCEL").count(), STREAMS as usize);
    }
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_opened_and_nothing_read() {
    const CONNECTIONS: usize = 5;
    const STREAMS: u32 = 100;
    // What an origin may send ahead of its reader, what waits to be sent to the client, and a bit for the exchange.
    const BOUND: u64 = (CONNECTIONS as u64) * (STREAMS as u64) * ((512 + 128 + 64) << 10);
    let siege = Siege::lay(|site| site.set("proxy", "stall_timeout_secs", 2)).await;
    // INITIAL_WINDOW_SIZE and the connection's window as wide as can be: all may be sent.
    let wide = http2::frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let wider = http2::frame(8, 0, 0, &[0x7f, 0xff, 0, 0]);
    let attack = async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = siege.attack_http2().await;
            stream.write_all(&[&wide[..], &wider].concat()).await.unwrap();
            for number in 0..STREAMS {
                let ask = siege.ask(2 * number + 1, "GET", "/download?bytes=100000000&wide", true);
                stream.write_all(&ask).await.unwrap();
            }
            stream.flush().await.unwrap();
            connections.push(stream);
        }
        let stalled = |line: &Value| line["wardgate.outcome"] == "timed-out";
        (siege.lines(CONNECTIONS * STREAMS as usize, stalled).await, connections)
    };
    let (lines, connections) = siege.during(BOUND, attack).await;
    for line in lines {
        assert_eq!(line["wardgate.detail"], "the client stopped reading", "{line:#}");
    }
    drop(connections);
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_exchanges() {
    const SHARE: usize = 20;
    let siege = Siege::lay(|site| site.set("proxy", "max_exchanges_per_client", SHARE as i64)).await;
    let client = siege.wardgate.client().at(ATTACKER);
    let url: Uri = siege.world.https(ALLOWED, "/").parse().unwrap();
    let session = client.session(&url).await.unwrap();
    let held: Vec<_> = (0..SHARE)
        .map(|number| {
            let url = siege.world.https(ALLOWED, &format!("/slow?ms=3000&held={number}"));
            let mut session = session.another();
            tokio::spawn(async move { session.send(request(Method::GET, &url, "")).await.unwrap().status })
        })
        .collect();
    eventually("all are under way", || siege.world.origin.seen("/slow?").len() == SHARE).await;
    // On the same connection, on another, and for a tunnel.
    let over = siege.world.https(ALLOWED, "/over");
    let reply = session.another().send(request(Method::GET, &over, "")).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, Some("5")), "{}", reply.text());
    assert!(reply.text().contains("Too much at once"), "{}", reply.text());
    assert_eq!(client.get(&siege.world.http(ALLOWED, "/over")).await.status, 429);
    match client.connect(url.authority().unwrap().as_str()).await {
        Err(crate::harness::Failure::Refused(429, _)) => {}
        other => panic!("{other:?}"),
    }
    siege.serves_others().await;
    for line in siege.lines(3, |line| line["http.response.status_code"] == 429).await {
        assert_eq!((&line["wardgate.outcome"], &line["rule.name"]), (&"limited".into(), &"<limit>".into()));
    }
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
    assert_eq!(
        client.get(&siege.world.https(ALLOWED, "/?again")).await.status,
        200,
        "the share is free again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets() {
    let siege = Siege::lay(|_| {}).await;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    for (case, pause) in [("all at once", Duration::ZERO), ("one by one", Duration::from_millis(1))] {
        let asks: Vec<Vec<u8>> = (0..5000)
            .map(|number| {
                let stream = 2 * number + 1;
                let path = format!("/slow?ms=1000&reset={number}");
                [siege.ask(stream, "GET", &path, true), http2::frame(3, 0, stream, &CANCEL)].concat()
            })
            .collect();
        let stream = siege.attack_http2().await;
        let said = siege.during(96 * MIB, told(stream, asks.into_iter(), pause)).await;
        assert!(said.contains("GOAWAY ENHANCE_YOUR_CALM"), "{case}: {said}");
    }
    assert!(siege.metric("wardgate_http2_floods_total{frames=\"resets\"}").await >= 1.0);
    siege.is_over().await;
    // What began is recorded, and nothing that could not begin.
    let reset = |line: &Value| line["url.full"].as_str().is_some_and(|url| url.contains("reset="));
    let lines: Vec<Value> = siege.wardgate.lines().into_iter().filter(reset).collect();
    assert!(lines.len() < 2000, "{} lines", lines.len());
    assert!(lines.iter().all(|line| line["wardgate.outcome"] == "client-closed"), "{:#?}", lines.last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_by_our_own_hand() {
    let siege = Siege::lay(|_| {}).await;
    // More than was announced is an error, and the stream's end (RFC 9113, section 8.1.1).
    let asks: Vec<Vec<u8>> = (0..5000)
        .map(|number| {
            let stream = 2 * number + 1;
            let mut head = siege.fields("POST", "/slow?ms=1000&made-you-reset");
            head.push((b"content-length".into(), b"1".into()));
            [http2::headers(stream, &head, false), http2::data(stream, b"two", false)].concat()
        })
        .collect();
    let stream = siege.attack_http2().await;
    let said = siege.during(96 * MIB, told(stream, asks.into_iter(), Duration::from_millis(1))).await;
    assert!(said.contains("GOAWAY ENHANCE_YOUR_CALM"), "{said}");
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames() {
    let siege = Siege::lay(|_| {}).await;
    let cases: [(&str, Vec<u8>); 6] = [
        ("SETTINGS", http2::frame(4, 0, 0, &[])),
        ("PING", http2::ping()),
        ("PRIORITY", http2::frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", http2::frame(8, 0, 0, &[0, 0, 0, 1])),
        ("empty DATA", http2::data(1, b"", false)),
        ("frames of a kind unheard of", http2::frame(0xbb, 0, 0, b"whatever")),
    ];
    let count = cases.len();
    for (case, frame) in cases {
        let mut stream = siege.attack_http2().await;
        stream.write_all(&siege.ask(1, "POST", "/upload?flood", false)).await.unwrap();
        let flood = std::iter::repeat_n(frame.repeat(100), 2000);
        let said = siege.during(64 * MIB, told(stream, flood, Duration::ZERO)).await;
        assert!(said.contains("GOAWAY ENHANCE_YOUR_CALM"), "{case}: {said}");
    }
    let counted = siege.metric("wardgate_http2_floods_total{frames=\"others\"}").await;
    assert_eq!(counted, count as f64 - 1.0, "h2 itself counts empty DATA");
    // Each CONNECT, and each request, also where the flood came before it was read.
    siege.lines(2 * count, |_| true).await;
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_continuations() {
    let siege = Siege::lay(|_| {}).await;
    for (case, size) in [("empty", 0), ("small", 10), ("large", 16_000)] {
        let mut begun = siege.ask(1, "GET", "/continued", true);
        begun[4] &= !4; // no END_HEADERS
        let mut field = b"\x00\x06x-more\x7f".to_vec();
        field.resize(size, b'a');
        field.truncate(size);
        let more = std::iter::repeat_n(http2::frame(9, 0, 1, &field), 50_000);
        let stream = siege.attack_http2().await;
        let said =
            siege.during(64 * MIB, told(stream, std::iter::once(begun).chain(more), Duration::ZERO)).await;
        assert!(said.contains("GOAWAY"), "{case}: {said}");
    }
    assert!(siege.world.origin.seen("/continued").is_empty());
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_single_bytes() {
    const STREAMS: u32 = 20;
    let siege = Siege::lay(|site| site.set("upstream", "response_timeout_secs", 3)).await;
    let mut stream = siege.attack_http2().await;
    for number in 0..STREAMS {
        stream.write_all(&siege.ask(2 * number + 1, "POST", "/slow?ms=2000&bytes", false)).await.unwrap();
    }
    let attack = async {
        let bytes =
            (0..STREAMS).flat_map(|number| http2::data(2 * number + 1, b"b", false)).collect::<Vec<_>>();
        let bytes = bytes.repeat(20);
        let deadline = Instant::now() + Duration::from_secs(5);
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        let mut sent = 0u64;
        while Instant::now() < deadline {
            match timeout(Duration::from_secs(1), writer.write_all(&bytes)).await {
                Ok(Ok(())) => sent += 1,
                Ok(Err(_)) | Err(_) => break, // it is closed, or nothing more is taken
            }
        }
        sent
    };
    let sent = siege.during(128 * MIB, attack).await;
    assert!(sent > 0);
    siege.is_over().await;
    // The library ends such a connection: what had begun by then is recorded, and the CONNECT.
    let begun = siege.world.origin.seen("/slow").len();
    let recorded =
        || siege.tally().iter().filter(|(said, _)| said.contains("127.0.0.2")).map(|(_, n)| n).sum::<usize>();
    eventually("what began is recorded", || recorded() > begun).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decompression_bombs() {
    const AT_ONCE: usize = 6;
    let siege = Siege::lay(|_| {}).await;
    for coding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "gzip, br, zstd"] {
        let bomb = encoded_bomb(coding); // made before the clock runs
        let mark = coding.replace(", ", "-");
        let answers = join_all((0..AT_ONCE).map(|_| async {
            let url = format!("/bomb?coding={}&answer-{mark}", coding.replace(' ', "%20"));
            siege.wardgate.client().at(ATTACKER).get(&siege.world.https(ALLOWED, &url)).await
        }));
        for reply in siege.during(96 * MIB, answers).await {
            assert!(reply.status == 403 || !reply.complete, "{coding}: a whole answer of {}", reply.status);
        }
        for line in siege.lines(AT_ONCE, |line| is_at(line, &format!("answer-{mark}"))).await {
            assert_eq!(line["wardgate.fault"], "decompression-bomb", "{coding}: {line:#}");
        }
        let uploads = join_all((0..AT_ONCE).map(|_| async {
            let url = siege.world.https(ALLOWED, &format!("/upload?request-{mark}"));
            let mut asked = request(Method::POST, &url, bomb.clone());
            asked.headers_mut().insert("content-type", "text/plain".parse().unwrap());
            asked.headers_mut().insert("content-encoding", coding.parse().unwrap());
            siege.wardgate.client().at(ATTACKER).try_send(asked).await
        }));
        for reply in siege.during(96 * MIB, uploads).await {
            assert!(
                reply.as_ref().is_ok_and(|reply| reply.status == 403),
                "{coding}, in a request: {reply:?}"
            );
        }
        for line in siege.lines(AT_ONCE, |line| is_at(line, &format!("request-{mark}"))).await {
            assert_eq!(line["wardgate.fault"], "decompression-bomb", "{coding}, in a request: {line:#}");
        }
    }
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decoders_together() {
    const AT_ONCE: usize = 30;
    const WINDOW: usize = 6 << 20;
    const SHARE: usize = 32 << 20;
    let siege = Siege::lay(|site| {
        site.set("proxy", "scan_memory_mib", 64);
        site.set("proxy", "scan_memory_per_client_mib", (SHARE >> 20) as i64);
    })
    .await;
    // Most of a page that wants a window of six mebibytes, and no end of it for now.
    let page = encode("zstd", &*vec![b' '; WINDOW]);
    let over = Arc::new(Notify::new());
    let waits = Arc::clone(&over);
    let address = origin(move |mut stream| {
        let (page, over) = (page.clone(), Arc::clone(&waits));
        async move {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
                page.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&page[..page.len() - 8]).await;
            over.notified().await;
        }
    })
    .await;
    let attack = join_all((0..AT_ONCE).map(|number| {
        let siege = &siege;
        async move {
            let mut stream = siege.attack().await;
            let ask = format!("GET http://{address}/window?{number} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(ask.as_bytes()).await.unwrap();
            (raw::read_head(&mut stream).await, stream)
        }
    }));
    let answers = siege.during(SHARE as u64 + 48 * MIB, attack).await;
    let (held, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(head, _)| raw::status_of(head) == Some(200));
    assert!(!held.is_empty() && held.len() <= SHARE / WINDOW, "{} are read at a time", held.len());
    for (head, _) in &refused {
        assert_eq!(raw::status_of(head), Some(503), "{head}");
        assert!(head.to_ascii_lowercase().contains("\r\nretry-after: "), "{head}");
    }
    for line in siege.lines(refused.len(), |line| line["wardgate.fault"] == "no-room").await {
        assert_eq!(
            (&line["rule.name"], &line["wardgate.outcome"]),
            (&"<on-error>".into(), &"limited".into())
        );
    }
    assert!(siege.metric("wardgate_scan_no_room_total").await >= refused.len() as f64);
    assert!(siege.metric("wardgate_scan_memory_bytes").await >= WINDOW as f64);
    // Once they are over there is room again, for the same client too.
    over.notify_waiters();
    drop((held, refused));
    let client = siege.wardgate.client().at(ATTACKER);
    assert_eq!(client.get(&siege.world.https(ALLOWED, "/?again")).await.status, 200);
    siege.is_over().await;
}

fn is_at(line: &Value, part: &str) -> bool {
    line["url.full"].as_str().is_some_and(|url| url.ends_with(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections() {
    const CONNECTIONS: u64 = 10_000;
    /// What each may cost, with the operating system's part left out.
    const BOUND_KIB: u64 = 32;
    let room = rlimit::increase_nofile_limit(CONNECTIONS + 1000).unwrap();
    let connections = CONNECTIONS.min(room.saturating_sub(1000)) as usize;
    let siege = Siege::around(World::alone().await, |site| site.set("proxy", "idle_timeout_secs", 600)).await;
    let address = |number: usize| IpAddr::from([127, 0, 1, (number / 900) as u8 + 1]);
    let idle = async {
        let mut held = Vec::new();
        for first in (0..connections).step_by(100) {
            let some = first..connections.min(first + 100);
            let some = some.map(|number| connect_from(address(number), siege.wardgate.proxy));
            held.extend(join_all(some).await);
        }
        held
    };
    let before = siege.wardgate.memory();
    let held = siege.during(u64::MAX, idle).await;
    eventually("all are there", || siege.wardgate.descriptors() > connections).await;
    let each = siege.wardgate.memory().saturating_sub(before) / connections as u64 / 1024;
    siege.serves_others().await;
    println!("{connections} idle connections: {each} KiB each");
    assert!(each <= BOUND_KIB, "{each} KiB for an idle connection");
    drop(held);
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_tunnels() {
    const TUNNELS: usize = 400;
    const BOUND_KIB: u64 = 192;
    let siege = Siege::around(World::alone().await, |_| {}).await;
    let before = siege.wardgate.memory();
    let url = siege.world.https(ALLOWED, "/?idle");
    let idle = async {
        let mut held = Vec::new();
        for number in 0..TUNNELS {
            let client = siege.wardgate.client().at(IpAddr::from([127, 0, 1, number as u8]));
            let mut session = client.session(&url.parse().unwrap()).await.unwrap();
            assert_eq!(session.send(request(Method::GET, &url, "")).await.unwrap().status, 200);
            held.push(session);
        }
        held
    };
    let held = siege.during(u64::MAX, idle).await;
    let each = siege.wardgate.memory().saturating_sub(before) / TUNNELS as u64 / 1024;
    println!("{TUNNELS} idle HTTP/2 connections in intercepted tunnels: {each} KiB each");
    assert!(each <= BOUND_KIB, "{each} KiB for an idle intercepted connection");
    drop(held);
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshake_floods() {
    const BEGUN: usize = 200;
    const FINISHED: usize = 300;
    let siege = Siege::lay(|_| {}).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.https.port());
    // Begun, a ClientHello cut short, and held open.
    let attack = join_all((0..BEGUN).map(|_| async {
        let mut stream = siege.wardgate.client().at(ATTACKER).connect(&authority).await.unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        stream
    }));
    let held = siege.during(64 * MIB, attack).await;
    // Finished, each a new session, and dropped.
    let attack = async {
        let url: Uri = siege.world.https(ALLOWED, "/").parse().unwrap();
        for _ in 0..FINISHED / 10 {
            let shake = || async { siege.wardgate.client().at(ATTACKER).tls(&url).await.unwrap() };
            join_all((0..10).map(|_| shake())).await;
        }
    };
    siege.during(96 * MIB, attack).await;
    drop(held);
    siege.is_over().await;
    siege.lines(BEGUN + FINISHED, |line| line["http.request.method"] == "CONNECT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_greetings() {
    const ADDRESSES: u8 = 16;
    const EACH: usize = 16;
    const FOR: Duration = Duration::from_secs(6);
    let siege = Siege::lay(|_| {}).await;
    let authority = format!("{ALLOWED}:{}", siege.world.origin.https.port());
    let greeting = hello::hello(ALLOWED);
    let sent = AtomicUsize::new(0);
    // Asks for a signature, and leaves when it comes: cheap for whoever asks.
    let greet = async |from: IpAddr| {
        let mut stream = siege.wardgate.client().at(from).connect(&authority).await.unwrap();
        stream.write_all(&greeting).await.unwrap();
        sent.fetch_add(1, Ordering::Relaxed);
        let _ = timeout(raw::PATIENCE, stream.read(&mut [0; 1])).await.expect("an answer");
    };
    let began = Instant::now();
    let attack = join_all((0..ADDRESSES).flat_map(|number| {
        let from = IpAddr::from([127, 0, 2, number + 1]);
        let (greet, began) = (&greet, &began);
        (0..EACH).map(move |_| async move {
            while began.elapsed() < FOR {
                greet(from).await;
            }
        })
    }));
    // Somebody who is connected already asks on; `during` has others connect meanwhile.
    let url = siege.world.https(ALLOWED, "/?established");
    let mut session = siege.wardgate.client().at(BYSTANDER).session(&url.parse().unwrap()).await.unwrap();
    let established = async {
        let mut worst = Duration::ZERO;
        while began.elapsed() < FOR {
            let asked = Instant::now();
            let reply = timeout(SERVED_WITHIN, session.send(request(Method::GET, &url, ""))).await;
            assert_eq!(reply.expect("who is connected is not served").unwrap().status, 200);
            worst = worst.max(asked.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
        worst
    };
    let (_, worst) = siege.during(96 * MIB, async { tokio::join!(attack, established) }).await;
    let sent = sent.into_inner();
    println!("{sent} greetings; who is connected waits at most {worst:?}");
    assert!(sent > usize::from(ADDRESSES) * EACH, "{sent} greetings are no flood");
    siege.is_over().await;
    let of_attackers = |line: &Value| line["source.ip"].as_str().is_some_and(|ip| ip.starts_with("127.0.2."));
    eventually("each has its line", || {
        siege.wardgate.lines().iter().filter(|line| of_attackers(line)).count() == sent
    })
    .await;
}

/// An origin in plain HTTP that reads no more than the beginning of a request and answers as `answer` says.
async fn origin<F: Future<Output = ()> + Send>(
    answer: impl Fn(TcpStream) -> F + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                answer(stream).await;
            });
        }
    });
    address
}

/// Sends these bytes one by one.
async fn one_by_one(mut stream: TcpStream, bytes: &'static str, every: Duration) {
    for byte in bytes.bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        sleep(every).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_that_dawdle() {
    const AT_ONCE: usize = 30;
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 10\r\n\r\n0123456789";
    let siege = Siege::lay(|site| {
        site.set("upstream", "response_timeout_secs", 2);
        site.set("upstream", "idle_timeout_secs", 2);
    })
    .await;
    let silent = origin(|stream| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let slow_head = origin(|stream| one_by_one(stream, ANSWER, Duration::from_millis(200))).await;
    let slow_body = origin(|mut stream| async move {
        let (head, body) = ANSWER.split_at(ANSWER.len() - 10);
        stream.write_all(head.as_bytes()).await.unwrap();
        one_by_one(stream, body, Duration::from_millis(500)).await;
    })
    .await;
    let endless_head = origin(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-Endless: and no end of it, for as long as anybody reads\r\n").await.is_ok()
        {
        }
    })
    .await;
    let endless_interim = origin(|mut stream| async move {
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").await.is_ok() {}
    })
    .await;
    for (case, address, status, outcome) in [
        ("never answers", silent, 504, "timed-out"),
        ("a head in bytes", slow_head, 504, "timed-out"),
        ("a body in bytes", slow_body, 200, "completed"), // slow is no crime
        ("a head without an end", endless_head, 502, "upstream-failed"),
        ("interim answers without an end", endless_interim, 502, "upstream-failed"),
    ] {
        let url = format!("http://{address}/dawdles");
        let attack =
            join_all((0..AT_ONCE).map(|_| async { siege.wardgate.client().at(ATTACKER).get(&url).await }));
        for reply in siege.during(96 * MIB, attack).await {
            assert_eq!(reply.status, status, "{case}: {}", reply.text());
            assert!(status != 200 || reply.complete && reply.text() == "0123456789", "{case}: {reply:?}");
        }
        let lines = siege.lines(AT_ONCE, |line| line["url.full"] == url).await;
        assert!(lines.iter().all(|line| line["wardgate.outcome"] == outcome), "{case}: {:#}", lines[0]);
    }
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_that_never_read() {
    const AT_ONCE: usize = 30;
    let siege = Siege::lay(|site| site.set("upstream", "response_timeout_secs", 2)).await;
    let deaf = origin(|stream| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let url = format!("http://{deaf}/deaf");
    let body = bytes::Bytes::from(vec![b'u'; 16 << 20]);
    let attack = join_all((0..AT_ONCE).map(|_| async {
        let mut asked = request(Method::POST, &url, body.clone());
        asked.headers_mut().insert("content-type", "application/octet-stream".parse().unwrap());
        siege.wardgate.client().at(ATTACKER).try_send(asked).await
    }));
    for reply in siege.during(128 * MIB, attack).await {
        // A client that still sends may see the connection end before it reads the answer.
        assert!(reply.as_ref().map_or(true, |reply| reply.status == 504), "{reply:?}");
    }
    for line in siege.lines(AT_ONCE, |line| line["url.full"] == url).await {
        assert_eq!(line["wardgate.outcome"], "timed-out", "{line:#}");
    }
    siege.is_over().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_redirects() {
    const HOPS: usize = 30;
    let siege = Siege::lay(|_| {}).await;
    let client = siege.wardgate.client().at(ATTACKER);
    let path = |url: &str| url.replacen("://", "/", 1);
    // Into a block page: that is where it ends.
    let blocked = siege.world.https(BLOCKED, "/end");
    let reply = client.get(&siege.world.https(ALLOWED, &format!("/moved/302/{}", path(&blocked)))).await;
    assert_eq!(reply.header("location"), Some(&*blocked));
    let reply = client.get(&blocked).await;
    assert_eq!((reply.status.as_u16(), reply.header("location"), reply.header("refresh")), (403, None, None));

    // Past a warning, and from there in circles: each turn is an exchange of its own, and nothing turns in here.
    let games = siege.world.https("games.example.test", "/");
    let round = format!("{games}moved/302/{}", path(&games));
    let warning = client.get(&round).await;
    assert_eq!((warning.status.as_u16(), warning.header("location")), (403, None));
    let page = warning.text();
    let token = page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let form = format!("token={token}");
    let onward =
        client.post("https://wardgate.internal/continue", "application/x-www-form-urlencoded", form).await;
    assert_eq!((onward.status.as_u16(), onward.header("location")), (303, Some(&*round)));
    let walk = async {
        for hop in 0..HOPS {
            let reply = client.get(&round).await;
            assert_eq!((reply.status.as_u16(), reply.header("location")), (302, Some(&*games)), "hop {hop}");
        }
    };
    siege.during(64 * MIB, walk).await;
    let turns = siege.lines(HOPS + 1, |line| line["url.full"] == *round).await;
    assert_eq!(turns.iter().filter(|line| line["wardgate.continued"] == true).count(), HOPS);
}
