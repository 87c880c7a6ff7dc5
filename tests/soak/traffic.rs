//! Who asks, and for what. Each worker goes on until it is told to stop, at a pace of its own, and settles every exchange
//! that it begins.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::faulty::{FAULTS, Fault, SOUND, SOUND_BODY, Wanted};
use super::ledger::{Kind, Ledger, Miss, TOGGLED_NAME, Ticket, Trouble};
use crate::harness::client::{Body, Failure, Reply, Session};
use crate::harness::origin::{PAGE, SSE_EVENTS, long_page, page_saying};
use crate::harness::{
    ALLOWED, BLOCKED, Client, GAMBLING_WORDS, SELF_HARM_WORDS, files, raw, request, websocket,
};

/// How long a client waits before it says that it is not served. Machines are busy, but nobody hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Exchanges on one kept connection.
const KEPT_FOR: usize = 50;

/// A host whose connections are never opened.
const BANK: &str = "bank.example.test";
/// Hosts that only the name server knows; what it says of each is in the name.
pub(super) const STEADY: &str = "steady.example.test";
pub(super) const FLAKY: &str = "flaky.example.test";
pub(super) const MOVING: &str = "moving.example.test";
pub(super) const NO_SUCH_NAME: &str = "no-such-name.example.test";
pub(super) const FAILING_NAME: &str = "failing-name.example.test";
pub(super) const SILENT_NAME: &str = "silent-name.example.test";
/// A host of which the policy says now this, now that.
pub(super) const TOGGLED: &str = "toggled.example.test";
/// Where people search.
const SEARCH: &str = "www.google.com";

type Recorded = &'static [(u16, &'static str)];
const COMPLETED: Recorded = &[(200, "completed")];
/// A client that closes a tunnel has done with it, or has gone away: what it was doing cannot be seen.
const TUNNELLED: Recorded = &[(200, "completed"), (200, "client-closed")];
const BLOCKED_PAGE: Recorded = &[(403, "completed")];
const UNRESOLVED: Recorded = &[(502, "upstream-failed"), (504, "upstream-failed"), (504, "timed-out")];

static CONNECT: Kind = Kind::new("CONNECT, opened", TUNNELLED);
static TUNNEL: Kind = Kind::prompt("tunnel", TUNNELLED);
static PLAIN_KEPT: Kind = Kind::prompt("plain, kept", COMPLETED);
static PLAIN_NEW: Kind = Kind::prompt("plain, new", COMPLETED);
static HTTP1_KEPT: Kind = Kind::prompt("intercepted HTTP/1.1, kept", COMPLETED);
static HTTP1_NEW: Kind = Kind::prompt("intercepted HTTP/1.1, new", COMPLETED);
static HTTP2: Kind = Kind::prompt("intercepted HTTP/2", COMPLETED);
static LONG_PAGE: Kind = Kind::prompt("long page, scanned", COMPLETED);
static UPLOAD: Kind = Kind::prompt("upload", COMPLETED);
static EVENTS: Kind = Kind::new("server-sent events", COMPLETED);
static WEBSOCKET: Kind = Kind::prompt("WebSocket", &[(101, "completed"), (101, "client-closed")]);
static CUT: Kind = Kind::prompt("download cut short by the client", &[(200, "client-closed")]);
static REFUSED: Kind = Kind::prompt("blocked", BLOCKED_PAGE);
static CONCERNING: Kind = Kind::prompt("words that alert", BLOCKED_PAGE);
static TOGGLING: Kind = Kind::prompt(TOGGLED_NAME, &[(200, "completed"), (403, "completed")]);
static RESOLVED: Kind = Kind::prompt("name looked up each time", COMPLETED);
static MOVED: Kind = Kind::prompt("origin changes its address", COMPLETED).suffering(Trouble::Moved);
static FLAKED: Kind = Kind::new("name servers fail at times", COMPLETED).suffering(Trouble::DnsFails);
static UNKNOWN: Kind = Kind::new("no such name", UNRESOLVED);
static UNANSWERED: Kind = Kind::new("name server fails", UNRESOLVED);
static SILENCED: Kind = Kind::new("name server is silent", UNRESOLVED);
static OWN: Kind = Kind::new("/healthz", COMPLETED);

/// Where everything is, and what everybody shares.
pub(super) struct Ground {
    pub(super) ledger: Arc<Ledger>,
    /// Trusts the school's authority and nobody else.
    pub(super) client: Client,
    /// Trusts the origins' root and nobody else.
    pub(super) stranger: Client,
    pub(super) proxy: SocketAddr,
    pub(super) http: u16,
    pub(super) https: u16,
    pub(super) faulty_http: u16,
    pub(super) faulty_https: u16,
    pub(super) moving_http: u16,
    pub(super) moving_https: u16,
    /// How many people may alert.
    pub(super) people: u32,
    pub(super) stop: AtomicBool,
    /// Counts the proxy's lives: connections to a former one are not used.
    pub(super) lives: AtomicU64,
}

/// Where a person sits.
pub(super) fn seat(person: u32) -> IpAddr {
    let [_, _, high, low] = person.to_be_bytes();
    Ipv4Addr::new(127, 2, high, low).into()
}

/// Starts everybody.
pub(super) fn start(ground: &Arc<Ground>) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let g = || Arc::clone(ground);
    for _ in 0..4 {
        workers.spawn(kept(g(), &PLAIN_KEPT, g().plain(), 100));
        workers.spawn(kept(g(), &HTTP1_KEPT, g().opened(), 130));
    }
    for _ in 0..2 {
        workers.spawn(new(g(), &PLAIN_NEW, g().plain(), 200));
        workers.spawn(new(g(), &HTTP1_NEW, g().opened(), 500));
        workers.spawn(streams(g()));
        workers.spawn(tunnels(g()));
        workers.spawn(cut(g()));
    }
    workers.spawn(long_pages(g()));
    workers.spawn(uploads(g()));
    workers.spawn(events(g()));
    workers.spawn(websockets(g()));
    workers.spawn(blocked(g()));
    workers.spawn(concerning(g()));
    workers.spawn(toggling(g()));
    let sound = format!("http://{STEADY}:{}", ground.faulty_http);
    workers.spawn(looked_up(g(), &RESOLVED, sound, 200));
    workers.spawn(looked_up(g(), &FLAKED, format!("http://{FLAKY}:{}", ground.faulty_http), 200));
    workers.spawn(moving(g(), format!("http://{MOVING}:{}", ground.moving_http)));
    workers.spawn(moving(g(), format!("https://{MOVING}:{}", ground.moving_https)));
    for (kind, name) in [(&UNKNOWN, NO_SUCH_NAME), (&UNANSWERED, FAILING_NAME), (&SILENCED, SILENT_NAME)] {
        workers.spawn(unresolved(g(), kind, name));
    }
    for fault in &FAULTS {
        workers.spawn(faults(g(), fault));
    }
    workers
}

/// The pace of a worker.
struct Beat {
    every: Duration,
    next: Instant,
}

impl Beat {
    fn of(millis: u64) -> Self {
        Self { every: Duration::from_millis(millis), next: Instant::now() }
    }

    /// Waits for the next turn; false where there is none. Who is late does not make up for it.
    async fn turn(&mut self, ground: &Ground) -> bool {
        let now = Instant::now();
        self.next = self.next.max(now);
        while Instant::now() < self.next {
            if ground.stop.load(Ordering::SeqCst) {
                return false;
            }
            sleep((self.next - Instant::now()).min(Duration::from_millis(500))).await;
        }
        self.next = Instant::now() + self.every;
        !ground.stop.load(Ordering::SeqCst)
    }
}

/// A connection for exchanges; where it is a tunnel, its CONNECT ends with it.
struct Connection {
    session: Session,
    life: u64,
    _connect: Option<Ticket>,
}

/// A client and where it goes.
#[derive(Clone)]
struct Road {
    client: Client,
    base: String,
}

impl Ground {
    fn plain(&self) -> Road {
        Road { client: self.client.clone(), base: format!("http://{ALLOWED}:{}", self.http) }
    }

    fn opened(&self) -> Road {
        Road { client: self.client.http1(), base: format!("https://{ALLOWED}:{}", self.https) }
    }

    fn opened_http2(&self) -> Road {
        Road { client: self.client.clone(), ..self.opened() }
    }

    /// Opens a connection for an exchange; nothing where that does not succeed, which is in the ledger then.
    async fn open(&self, kind: &'static Kind, road: &Road) -> Option<Connection> {
        let life = self.lives.load(Ordering::SeqCst);
        let url: Uri = road.base.parse().unwrap();
        if url.scheme_str() == Some("http") {
            let began = self.ledger.now();
            return match within(road.client.session(&url)).await {
                Ok(session) => Some(Connection { session, life, _connect: None }),
                Err(miss) => {
                    self.ledger.begun(kind, began).settle(Err(miss));
                    None
                }
            };
        }
        let ticket = self.ledger.begin(&CONNECT);
        let client = road.client.at(ticket.address());
        match within(client.session(&url)).await {
            Ok(session) => Some(Connection { session, life, _connect: Some(ticket) }),
            Err(miss) => {
                ticket.settle(Err(miss));
                None
            }
        }
    }

    fn is_alive(&self, connection: &Connection) -> bool {
        connection.life == self.lives.load(Ordering::SeqCst)
    }
}

/// Waits for an answer, but not for ever.
async fn within<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Miss> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Failure::Refused(503, _))) => Err(Miss::Unrecordable),
        Ok(Err(failure)) => Err(Miss::Otherwise(failure.to_string())),
        Err(_) => Err(Miss::Otherwise(format!("no answer within {PATIENCE:?}"))),
    }
}

/// Sends a request and waits for the whole answer.
async fn reply(session: &mut Session, asked: Request<Body>) -> Result<Reply, Miss> {
    let reply = within(session.send(asked)).await?;
    if reply.status == 503 && reply.text().contains("record") {
        return Err(Miss::Unrecordable);
    }
    Ok(reply)
}

/// One exchange, from its request to what is held against its answer.
async fn exchange(
    ground: &Ground,
    kind: &'static Kind,
    session: &mut Session,
    asked: impl FnOnce(&Ticket) -> Request<Body>,
    holds: impl FnOnce(&Ticket, &Reply) -> Result<(), String>,
) -> bool {
    let ticket = ground.ledger.begin(kind);
    let asked = asked(&ticket);
    let result = reply(session, asked).await;
    let result = result.and_then(|reply| holds(&ticket, &reply).map_err(Miss::Otherwise));
    let fine = result.is_ok();
    ticket.settle(result);
    fine
}

/// The same on a connection of its own.
async fn once(
    ground: &Ground,
    kind: &'static Kind,
    road: &Road,
    asked: impl FnOnce(&Ticket) -> Request<Body>,
    holds: impl FnOnce(&Ticket, &Reply) -> Result<(), String>,
) {
    let Some(mut connection) = ground.open(kind, road).await else { return };
    exchange(ground, kind, &mut connection.session, asked, holds).await;
}

fn get(base: &str, path: &str, ticket: &Ticket) -> Request<Body> {
    let joint = if path.contains('?') { '&' } else { '?' };
    request(Method::GET, &format!("{base}{path}{joint}{}", ticket.mark()), "")
}

fn status(reply: &Reply, wanted: u16) -> Result<(), String> {
    if reply.status == wanted && reply.complete {
        return Ok(());
    }
    let end = if reply.complete { "" } else { ", and it broke off" };
    let text: String = reply.text().chars().take(300).collect();
    Err(format!("was answered {} where {wanted} was due{end}: {text:?}", reply.status))
}

/// A whole 200 with this very text.
fn says(reply: &Reply, wanted: &[u8]) -> Result<(), String> {
    status(reply, 200)?;
    if reply.body == wanted {
        return Ok(());
    }
    Err(format!("{} bytes came, which are not the {} that were due", reply.body.len(), wanted.len()))
}

const FILE: usize = 20_011;

/// One of several sound exchanges in turn: a page, a file, a page that is read, and a form.
async fn sound(
    ground: &Ground,
    kind: &'static Kind,
    session: &mut Session,
    base: &str,
    number: usize,
) -> bool {
    let words = format!("otters in river number {number}");
    let asked = |ticket: &Ticket| match number % 4 {
        0 => get(base, "/", ticket),
        1 => get(base, &format!("/file?bytes={FILE}"), ticket),
        2 => get(base, &format!("/words?say={}", words.replace(' ', "+")), ticket),
        _ => posted(&format!("{base}/echo?{}", ticket.mark()), "text/plain", words.clone()),
    };
    let holds = |_: &Ticket, reply: &Reply| match number % 4 {
        0 => says(reply, PAGE.as_bytes()),
        1 => says(reply, &files::sample(FILE)),
        2 => says(reply, page_saying(&words).as_bytes()),
        _ => status(reply, 200).and_then(|()| match reply.json()["body"] == *words {
            true => Ok(()),
            false => Err(format!("the origin was sent {}", reply.text())),
        }),
    };
    exchange(ground, kind, session, asked, holds).await
}

fn posted(url: &str, content_type: &str, body: impl Into<bytes::Bytes>) -> Request<Body> {
    let mut asked = request(Method::POST, url, body);
    asked.headers_mut().insert("content-type", content_type.parse().unwrap());
    asked
}

async fn kept(ground: Arc<Ground>, kind: &'static Kind, road: Road, every: u64) {
    let mut beat = Beat::of(every);
    while beat.turn(&ground).await {
        let Some(mut connection) = ground.open(kind, &road).await else { continue };
        for number in 0..KEPT_FOR {
            let fine = ground.is_alive(&connection)
                && sound(&ground, kind, &mut connection.session, &road.base, number).await;
            if !fine || !beat.turn(&ground).await {
                break;
            }
        }
    }
}

async fn new(ground: Arc<Ground>, kind: &'static Kind, road: Road, every: u64) {
    let (mut beat, mut number) = (Beat::of(every), 0);
    while beat.turn(&ground).await {
        let Some(mut connection) = ground.open(kind, &road).await else { continue };
        sound(&ground, kind, &mut connection.session, &road.base, number).await;
        number += 1;
    }
}

/// Four streams at a time over one HTTP/2 connection.
async fn streams(ground: Arc<Ground>) {
    let (mut beat, road) = (Beat::of(250), ground.opened_http2());
    while beat.turn(&ground).await {
        let Some(connection) = ground.open(&HTTP2, &road).await else { continue };
        for round in 0..KEPT_FOR {
            if !ground.is_alive(&connection) {
                break;
            }
            let together = (0..4).map(|stream| {
                let (mut session, ground, road) = (connection.session.another(), &ground, &road);
                async move { sound(ground, &HTTP2, &mut session, &road.base, round + stream).await }
            });
            if join_all(together).await.contains(&false) || !beat.turn(&ground).await {
                break;
            }
        }
    }
}

/// Tunnels that nobody opens: the client sees the origin's own certificate.
async fn tunnels(ground: Arc<Ground>) {
    let mut beat = Beat::of(400);
    let base = format!("https://{BANK}:{}", ground.https);
    while beat.turn(&ground).await {
        let ticket = ground.ledger.begin(&TUNNEL);
        let client = ground.stranger.http1().at(ticket.address());
        let talk = async {
            let mut session = within(client.session(&base.parse().unwrap())).await?;
            for path in ["/", "/file?bytes=20011"] {
                let reply = within(session.send(request(Method::GET, &format!("{base}{path}"), ""))).await?;
                let wanted = if path == "/" { PAGE.into() } else { files::sample(FILE) };
                says(&reply, &wanted).map_err(Miss::Otherwise)?;
            }
            Ok(())
        };
        let result = talk.await;
        ticket.settle(result);
    }
}

async fn cut(ground: Arc<Ground>) {
    const ENOUGH: usize = 100_000;
    let (mut beat, mut number) = (Beat::of(700), 0);
    let roads = [ground.plain(), ground.opened(), ground.opened_http2()];
    while beat.turn(&ground).await {
        number += 1;
        let road = &roads[number % roads.len()];
        let Some(mut connection) = ground.open(&CUT, road).await else { continue };
        let ticket = ground.ledger.begin(&CUT);
        let asked = get(&road.base, "/download?bytes=500000000", &ticket);
        let begin = async {
            let answer = within(connection.session.open(asked)).await?;
            if answer.status() == 503 {
                return Err(Miss::Unrecordable);
            }
            let (mut body, mut bytes) = (answer.into_body(), 0);
            while bytes < ENOUGH {
                let frame = timeout(PATIENCE, body.frame()).await.ok().flatten();
                let Some(Ok(frame)) = frame else { return Err(Miss::Otherwise("it broke off".to_owned())) };
                bytes += frame.data_ref().map_or(0, |data| data.len());
            }
            Ok(())
        };
        let result = begin.await;
        drop(connection);
        ticket.settle(result);
    }
}

async fn long_pages(ground: Arc<Ground>) {
    let (mut beat, mut number) = (Beat::of(500), 0);
    let roads = [ground.plain(), ground.opened(), ground.opened_http2()];
    let wanted = long_page("The meadows", 60_000, "and the hills");
    while beat.turn(&ground).await {
        number += 1;
        let road = &roads[number % roads.len()];
        let coding = ["gzip", "br", "zstd", "deflate"][number % 4];
        let path = format!("/compressed?coding={coding}&early=The+meadows&late=and+the+hills&padding=60000");
        let asked = |ticket: &Ticket| {
            let mut asked = get(&road.base, &path, ticket);
            asked.headers_mut().insert("accept-encoding", coding.parse().unwrap());
            asked
        };
        let holds = |_: &Ticket, reply: &Reply| {
            status(reply, 200)?;
            match decoded(coding, &reply.body) == wanted.as_bytes() {
                true => Ok(()),
                false => Err(format!("{coding} came back as something else")),
            }
        };
        once(&ground, &LONG_PAGE, road, asked, holds).await;
    }
}

fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let decoded = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).map(drop),
        "deflate" => flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut text).map(drop),
        "br" => brotli::BrotliDecompress(&mut &*bytes, &mut text),
        _ => zstd::stream::copy_decode(bytes, &mut text),
    };
    decoded.map_or_else(|error| error.to_string().into_bytes(), |()| text)
}

async fn uploads(ground: Arc<Ground>) {
    const BYTES: usize = 300_000;
    let (mut beat, mut number) = (Beat::of(400), 0);
    let roads = [ground.plain(), ground.opened(), ground.opened_http2()];
    while beat.turn(&ground).await {
        number += 1;
        let road = &roads[number % roads.len()];
        let url = |ticket: &Ticket| format!("{}/upload?{}", road.base, ticket.mark());
        let asked = |ticket: &Ticket| posted(&url(ticket), "application/octet-stream", files::sample(BYTES));
        let holds = |_: &Ticket, reply: &Reply| says(reply, BYTES.to_string().as_bytes());
        once(&ground, &UPLOAD, road, asked, holds).await;
    }
}

async fn events(ground: Arc<Ground>) {
    let (mut beat, road) = (Beat::of(500), ground.opened());
    let wanted: String = (0..SSE_EVENTS).map(|number| format!("data: event {number} \n\n")).collect();
    while beat.turn(&ground).await {
        let asked = |ticket: &Ticket| get(&road.base, "/sse", ticket);
        once(&ground, &EVENTS, &road, asked, |_, reply| says(reply, wanted.as_bytes())).await;
    }
}

async fn websockets(ground: Arc<Ground>) {
    let (mut beat, mut plain) = (Beat::of(700), false);
    while beat.turn(&ground).await {
        plain = !plain;
        if plain {
            let ticket = ground.ledger.begin(&WEBSOCKET);
            let host = format!("{ALLOWED}:{}", ground.http);
            let target = format!("http://{host}/ws?{}", ticket.mark());
            let result = match TcpStream::connect(ground.proxy).await {
                Ok(mut stream) => echoed(&mut stream, &target, &host).await,
                Err(error) => Err(Miss::Otherwise(error.to_string())),
            };
            ticket.settle(result);
            continue;
        }
        let connect = ground.ledger.begin(&CONNECT);
        let url: Uri = format!("https://{ALLOWED}:{}/", ground.https).parse().unwrap();
        match within(ground.client.http1().at(connect.address()).tls(&url)).await {
            Ok(mut stream) => {
                let ticket = ground.ledger.begin(&WEBSOCKET);
                let target = format!("/ws?{}", ticket.mark());
                let result = echoed(&mut stream, &target, url.authority().unwrap().as_str()).await;
                drop(stream);
                ticket.settle(result);
            }
            Err(miss) => connect.settle(Err(miss)),
        }
    }
}

/// Shakes hands and has messages echoed.
async fn echoed(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &str,
    host: &str,
) -> Result<(), Miss> {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        websocket::KEY
    );
    let broken = |error: std::io::Error| Miss::Otherwise(error.to_string());
    let talk = async {
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        let answer = raw::read_head(stream).await;
        match raw::status_of(&answer) {
            Some(101) => {}
            Some(503) => return Err(Miss::Unrecordable),
            _ => return Err(Miss::Otherwise(format!("no WebSocket: {answer:?}"))),
        }
        for text in ["hello", &"a longer message ".repeat(500)] {
            websocket::send_text(stream, text).await.map_err(broken)?;
            if websocket::read_text(stream).await.map_err(broken)? != text {
                return Err(Miss::Otherwise("another message came back".to_owned()));
            }
        }
        Ok(())
    };
    timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(Miss::Otherwise("no echo in time".to_owned())))
}

async fn blocked(ground: Arc<Ground>) {
    let (mut beat, mut number) = (Beat::of(200), 0);
    let words = format!("/words?say={}", GAMBLING_WORDS.replace(' ', "+"));
    let host = |scheme, port| format!("{scheme}://{BLOCKED}:{port}");
    let cases = [
        (Road { base: host("http", ground.http), ..ground.plain() }, "/"),
        (ground.plain(), "/gambling-room"),
        (ground.opened(), &*words),
        (Road { base: host("https", ground.https), ..ground.opened_http2() }, "/"),
        (ground.plain(), &words),
    ];
    while beat.turn(&ground).await {
        number += 1;
        let (road, path) = &cases[number % cases.len()];
        let asked = |ticket: &Ticket| get(&road.base, path, ticket);
        once(&ground, &REFUSED, road, asked, |_, reply| status(reply, 403)).await;
    }
}

/// One person after the other writes, searches for or reads what must be brought to somebody. Each does so once.
async fn concerning(ground: Arc<Ground>) {
    let mut beat = Beat::of(2500);
    let words = SELF_HARM_WORDS.replace(' ', "+");
    for person in 1..=ground.people {
        if !beat.turn(&ground).await {
            return;
        }
        let road = Road { client: ground.client.at(seat(person)), ..ground.plain() };
        let asked = |ticket: &Ticket| match person % 3 {
            0 => {
                let form = format!("comment={words}");
                posted(
                    &format!("{}/echo?{}", road.base, ticket.mark()),
                    "application/x-www-form-urlencoded",
                    form,
                )
            }
            1 => get(&format!("http://{SEARCH}"), &format!("/search?q={words}"), ticket),
            _ => get(&road.base, &format!("/words?say={words}"), ticket),
        };
        once(&ground, &CONCERNING, &road, asked, |_, reply| status(reply, 403)).await;
    }
}

async fn toggling(ground: Arc<Ground>) {
    let mut beat = Beat::of(60);
    let road = Road { base: format!("http://{TOGGLED}:{}", ground.http), ..ground.plain() };
    while beat.turn(&ground).await {
        let Some(mut connection) = ground.open(&TOGGLING, &road).await else { continue };
        for _ in 0..KEPT_FOR {
            let asked = |ticket: &Ticket| get(&road.base, "/", ticket);
            let holds = |ticket: &Ticket, reply: &Reply| {
                let blocked = reply.status == 403;
                ground.ledger.note_verdict(ticket, blocked);
                if blocked { status(reply, 403) } else { says(reply, PAGE.as_bytes()) }
            };
            let fine = ground.is_alive(&connection)
                && exchange(&ground, &TOGGLING, &mut connection.session, asked, holds).await;
            if !fine || !beat.turn(&ground).await {
                break;
            }
        }
    }
}

/// An origin that keeps no connection, so that its name is looked up each time.
async fn looked_up(ground: Arc<Ground>, kind: &'static Kind, base: String, every: u64) {
    let mut beat = Beat::of(every);
    let road = Road { base, ..ground.plain() };
    while beat.turn(&ground).await {
        let asked = |ticket: &Ticket| get(&road.base, SOUND, ticket);
        once(&ground, kind, &road, asked, |_, reply| says(reply, SOUND_BODY.as_bytes())).await;
    }
}

async fn moving(ground: Arc<Ground>, base: String) {
    let mut beat = Beat::of(150);
    let road = Road { base, client: ground.client.clone() };
    while beat.turn(&ground).await {
        let Some(mut connection) = ground.open(&MOVED, &road).await else { continue };
        for _ in 0..KEPT_FOR {
            let asked = |ticket: &Ticket| get(&road.base, "/file?bytes=20011", ticket);
            let holds = |_: &Ticket, reply: &Reply| says(reply, &files::sample(FILE));
            let fine = ground.is_alive(&connection)
                && exchange(&ground, &MOVED, &mut connection.session, asked, holds).await;
            if !fine || !beat.turn(&ground).await {
                break;
            }
        }
    }
}

/// Names that do not resolve: a page says so.
async fn unresolved(ground: Arc<Ground>, kind: &'static Kind, name: &'static str) {
    let mut beat = Beat::of(500);
    let road = Road { base: format!("http://{name}:{}", ground.http), ..ground.plain() };
    while beat.turn(&ground).await {
        let asked = |ticket: &Ticket| get(&road.base, "/", ticket);
        let holds = |_: &Ticket, reply: &Reply| {
            if reply.status == 504 { status(reply, 504) } else { status(reply, 502) }
        };
        once(&ground, kind, &road, asked, holds).await;
    }
}

async fn faults(ground: Arc<Ground>, fault: &'static Fault) {
    let mut beat = Beat::of(400);
    let secure = format!("https://{ALLOWED}:{}", ground.faulty_https);
    let roads = [
        Road { base: format!("http://{ALLOWED}:{}", ground.faulty_http), ..ground.plain() },
        Road { base: secure.clone(), ..ground.opened() },
        Road { base: secure, ..ground.opened_http2() },
    ];
    let mut number = 0;
    while beat.turn(&ground).await {
        number += 1;
        let road = &roads[number % roads.len()];
        let Some(mut connection) = ground.open(&fault.kind, road).await else { continue };
        let ticket = ground.ledger.begin(&fault.kind);
        let asked = get(&road.base, &format!("/fault/{}", fault.path), &ticket);
        let result = match (fault.wanted, reply(&mut connection.session, asked).await) {
            (_, Err(Miss::Unrecordable)) => Err(Miss::Unrecordable),
            (Wanted::Page(wanted), Ok(reply)) => status(&reply, wanted).map_err(Miss::Otherwise),
            (Wanted::Whole(wanted), Ok(reply)) => says(&reply, wanted.as_bytes()).map_err(Miss::Otherwise),
            (Wanted::NothingWhole, Ok(reply)) if reply.complete && reply.status != 502 => Err(
                Miss::Otherwise(format!("it ended as if it were whole: {} {:?}", reply.status, reply.text())),
            ),
            // A stream that is reset at once may take its head with it.
            (Wanted::NothingWhole, Ok(_)) => Ok(()),
            (Wanted::NothingWhole, Err(Miss::Otherwise(why))) if !why.starts_with("no answer") => Ok(()),
            (_, Err(miss)) => Err(miss),
        };
        ticket.settle(result);
    }
}

/// Asks the proxy how it is, once; returns whether it is fine.
pub(super) async fn is_healthy(ground: &Ground) -> bool {
    let ticket = ground.ledger.begin(&OWN);
    let url = format!("http://{}/healthz", ground.proxy);
    let client = ground.client.at(ticket.address());
    let result = within(client.try_send(request(Method::GET, &url, ""))).await;
    let result = match result {
        Ok(reply) if reply.status == 503 => Err(Miss::Unrecordable),
        Ok(reply) => status(&reply, 200).map_err(Miss::Otherwise),
        Err(miss) => Err(miss),
    };
    let fine = result.is_ok();
    ticket.settle(result);
    fine
}
