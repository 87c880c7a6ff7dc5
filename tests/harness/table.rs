//! Tables of cases on the wire: a client in plain bytes, an origin in plain bytes, and the running program between
//! them. A case says everything: what each side sends and when, every byte that the origin must have received, every
//! byte that the client must have received, whether its connection is kept, and what the access log must say.
//!
//! HTTP/2 is told of as a line for each frame (`harness/http2.rs`).
//!
//! Each case has a client address and an origin (name, address) of its own, so that cases run beside each other, and
//! nothing that one leaves behind on a kept connection can answer another. Bytes are written as text in which each
//! character up to U+00FF stands for one byte. In it stand `{host}` for the origin's authority, `{name}` for its name,
//! `{port}` for its port, `{address}` for its IPv4 address, `{number}`, `{hex}` and `{octal}` for that address as one
//! number, `{ours}` for the fields that Wardgate adds to a request and `{length}` for the length of an answer's body;
//! and in what is compared, Wardgate's pseudonym in `Via` is always `wardgate`.

mod origin;
mod wire;

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use origin::Origin;
use wire::{Stream, Wire, bytes};

use super::{Wardgate, World, http2, pki, raw};

/// How long anything may take before the case counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many cases run beside each other.
const BESIDE: usize = 8;

/// One step of a script, of either side.
#[derive(Clone, Debug)]
enum Step {
    /// Sends these bytes.
    Send(String),
    /// Sends these fields as a header block of HTTP/2, as they are.
    Headers { stream: u32, fields: Vec<(String, String)>, end: bool },
    /// Sends a part of a body over HTTP/2.
    Data { stream: u32, bytes: String, end: bool },
    /// Waits until this was received, behind what the step before waited for.
    Await(String),
    /// Waits for so long.
    Pause(Duration),
    /// Waits until the peer has closed.
    AwaitEnd,
    /// Tells the other script something.
    Tell,
    /// Waits until the other script has told something.
    Hear,
    /// Ends the sending side; a script that ends without it keeps the connection open.
    Close,
}

impl Step {
    fn headers(stream: u32, fields: &[(&str, &str)], end: bool) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Headers { stream, fields, end }
    }

    /// The same with what stands for the origin filled in.
    fn filled(&self, fill: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Send(text) => Self::Send(fill(text)),
            Self::Await(text) => Self::Await(fill(text)),
            Self::Headers { stream, fields, end } => {
                let fields = fields.iter().map(|(name, value)| (fill(name), fill(value))).collect();
                Self::Headers { stream: *stream, fields, end: *end }
            }
            Self::Data { stream, bytes, end } => {
                Self::Data { stream: *stream, bytes: fill(bytes), end: *end }
            }
            other => other.clone(),
        }
    }

    /// The bytes that this step sends, if it sends any.
    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Send(text) => Some(bytes(text)),
            Self::Headers { stream, fields, end } => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
                Some(http2::headers(*stream, &fields, *end))
            }
            Self::Data { stream, bytes: body, end } => Some(http2::data(*stream, &bytes(body), *end)),
            _ => None,
        }
    }
}

/// Which way the client's requests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the proxy's own port.
    Open,
    /// Plain, inside a CONNECT.
    Plain,
    /// Inside an intercepted tunnel, HTTP/1.1 on both sides.
    Tls,
    /// Inside an intercepted tunnel, HTTP/2 from the client and HTTP/1.1 to the origin.
    Http2,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Kept,
}

/// What the access log must say of one exchange.
#[derive(Clone, Debug)]
struct Noted {
    status: Option<u16>,
    outcome: &'static str,
    detail: Option<&'static str>,
    /// Or that the client has gone, without an answer.
    or_gone: bool,
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What it is about.
    pub(crate) name: &'static str,
    /// Where the demand comes from: a section of an RFC, a paper, a CVE.
    pub(crate) source: &'static str,
    way: Way,
    client: Vec<Step>,
    /// A script for each connection; the last one also for those that follow.
    origin: Vec<Vec<Step>>,
    origin_http2: bool,
    reached: Vec<String>,
    answer: String,
    page: Option<u16>,
    end: Option<End>,
    events: Vec<Noted>,
}

impl Case {
    /// A case on the proxy's own port, with an origin that says nothing.
    pub(crate) fn new(name: &'static str, source: &'static str) -> Self {
        Self {
            name,
            source,
            way: Way::Open,
            client: Vec::new(),
            origin: vec![Vec::new()],
            origin_http2: false,
            reached: Vec::new(),
            answer: String::new(),
            page: None,
            end: None,
            events: Vec::new(),
        }
    }

    /// The client's requests take this way.
    pub(crate) fn way(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// The client sends these bytes.
    pub(crate) fn sends(mut self, bytes: impl Into<String>) -> Self {
        self.client.push(Step::Send(bytes.into()));
        self
    }

    /// The client asks over HTTP/2: a header block with these fields, pseudo-header fields included.
    pub(crate) fn asks(mut self, stream: u32, fields: &[(&str, &str)], end: bool) -> Self {
        self.client.push(Step::headers(stream, fields, end));
        self
    }

    /// The client asks the same so many times over HTTP/2, each on a stream of its own.
    pub(crate) fn asks_often(self, numbers: RangeInclusive<u32>, fields: &[(&str, &str)]) -> Self {
        numbers.fold(self, |case, number| case.asks(number * 2 - 1, fields, true))
    }

    /// The client sends a part of a body over HTTP/2.
    pub(crate) fn sends_data(mut self, stream: u32, bytes: &str, end: bool) -> Self {
        self.client.push(Step::Data { stream, bytes: bytes.to_owned(), end });
        self
    }

    /// The client goes on once it has received this.
    pub(crate) fn waits_for(mut self, text: impl Into<String>) -> Self {
        self.client.push(Step::Await(text.into()));
        self
    }

    /// The client pauses, so that what follows is read by itself.
    pub(crate) fn pauses(mut self) -> Self {
        self.client.push(Step::Pause(Duration::from_millis(50)));
        self
    }

    /// The client goes on once the origin says so.
    pub(crate) fn waits_for_origin(mut self) -> Self {
        self.client.push(Step::Hear);
        self
    }

    /// The client lets the origin go on.
    pub(crate) fn tells_origin(mut self) -> Self {
        self.client.push(Step::Tell);
        self
    }

    /// The client sends no more.
    pub(crate) fn closes(mut self) -> Self {
        self.client.push(Step::Close);
        self
    }

    fn script(&mut self) -> &mut Vec<Step> {
        self.origin.last_mut().expect("there is always one")
    }

    /// The origin goes on once it has received this.
    pub(crate) fn origin_waits_for(mut self, text: impl Into<String>) -> Self {
        self.script().push(Step::Await(text.into()));
        self
    }

    /// The origin sends these bytes.
    pub(crate) fn origin_sends(mut self, bytes: impl Into<String>) -> Self {
        self.script().push(Step::Send(bytes.into()));
        self
    }

    /// The origin speaks HTTP/2: what reaches it is told of as a line for each frame.
    pub(crate) fn origin_speaks_http2(mut self) -> Self {
        self.origin_http2 = true;
        self
    }

    /// The origin sends these fields as a header block of HTTP/2.
    pub(crate) fn origin_sends_fields(mut self, fields: &[(&str, &str)], end: bool) -> Self {
        self.script().push(Step::headers(1, fields, end));
        self
    }

    /// The origin sends a part of a body over HTTP/2.
    pub(crate) fn origin_sends_data(mut self, bytes: &str, end: bool) -> Self {
        self.script().push(Step::Data { stream: 1, bytes: bytes.to_owned(), end });
        self
    }

    /// The origin pauses, so that what follows is read by itself.
    pub(crate) fn origin_pauses(mut self) -> Self {
        self.script().push(Step::Pause(Duration::from_millis(50)));
        self
    }

    /// The origin lets the client go on.
    pub(crate) fn origin_tells(mut self) -> Self {
        self.script().push(Step::Tell);
        self
    }

    /// The origin goes on once the client says so.
    pub(crate) fn origin_waits_for_client(mut self) -> Self {
        self.script().push(Step::Hear);
        self
    }

    /// The origin waits until its connection is closed by the proxy, and lets the client go on.
    pub(crate) fn origin_is_left(mut self) -> Self {
        self.script().extend([Step::AwaitEnd, Step::Tell]);
        self
    }

    /// The origin closes.
    pub(crate) fn origin_closes(mut self) -> Self {
        self.script().push(Step::Close);
        self
    }

    /// The origin answers a request that ends with its head.
    pub(crate) fn origin_answers(self, bytes: impl Into<String>) -> Self {
        self.origin_waits_for("\r\n\r\n").origin_sends(bytes)
    }

    /// What follows is about the origin's next connection.
    pub(crate) fn origin_next_connection(mut self) -> Self {
        self.origin.push(Vec::new());
        self
    }

    /// Exactly this has reached the origin, on a connection behind those named already.
    pub(crate) fn reaches(mut self, bytes: impl Into<String>) -> Self {
        self.reached.push(bytes.into());
        self
    }

    /// The client gets exactly these bytes, behind those named already.
    pub(crate) fn gets(mut self, bytes: impl AsRef<str>) -> Self {
        self.answer.push_str(bytes.as_ref());
        self
    }

    /// The last thing the client gets is a page of Wardgate's own with this status.
    pub(crate) fn gets_page(mut self, status: u16) -> Self {
        self.page = Some(status);
        self
    }

    /// The client's connection is closed in the end.
    pub(crate) fn closed(mut self) -> Self {
        self.end = Some(End::Closed);
        self
    }

    /// The client's connection serves another request in the end.
    pub(crate) fn kept(mut self) -> Self {
        self.end = Some(End::Kept);
        self
    }

    /// The access log says this of the next exchange.
    pub(crate) fn event(mut self, status: u16, outcome: &'static str) -> Self {
        self.events.push(Noted { status: Some(status), outcome, detail: None, or_gone: false });
        self
    }

    /// The access log says this of the next exchange, with the reason.
    pub(crate) fn event_saying(mut self, status: u16, outcome: &'static str, detail: &'static str) -> Self {
        self.events.push(Noted { status: Some(status), outcome, detail: Some(detail), or_gone: false });
        self
    }

    /// The access log says of the next exchange that no answer was given.
    pub(crate) fn event_without_answer(
        mut self,
        outcome: &'static str,
        detail: Option<&'static str>,
    ) -> Self {
        self.events.push(Noted { status: None, outcome, detail, or_gone: false });
        self
    }

    /// The origin answers once exactly this has reached it, and the client gets the answer.
    pub(crate) fn passes(self, bytes: &str) -> Self {
        let asked = self.origin_waits_for(bytes).origin_sends(OK).reaches(bytes);
        asked.gets(OK_PASSED).kept().event(200, "completed")
    }

    /// The access log says of the next exchange that it was malformed and answered so, or, where HTTP/2 ended its stream
    /// before anybody could ask why, that the client has gone.
    pub(crate) fn event_of_reset_stream(mut self, status: u16, detail: &'static str) -> Self {
        let or_gone = true;
        self.events.push(Noted { status: Some(status), outcome: "malformed", detail: Some(detail), or_gone });
        self
    }

    /// The access log says so many times that no answer was given.
    pub(crate) fn events_without_answer(
        self,
        count: usize,
        outcome: &'static str,
        detail: &'static str,
    ) -> Self {
        (0..count).fold(self, |case, _| case.event_without_answer(outcome, Some(detail)))
    }

    /// Refused as malformed: a page, the reason in the log, and the end of the connection. Nothing reaches the origin
    /// unless the case says so.
    pub(crate) fn refused(self, status: u16, reason: &'static str) -> Self {
        self.gets_page(status).closed().event_saying(status, "malformed", reason)
    }
}

/// The fields that every request gets here where the client names no coding.
const OURS: &str = "via: 1.1 wardgate\r\naccept-encoding: identity\r\n";

/// A short answer for what must be passed on.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// How it arrives at the client.
pub(crate) const OK_PASSED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok";

/// Runs every case against one running program. Panics with all that went wrong, by the names of the cases.
pub(crate) async fn run(cases: Vec<Case>) {
    assert_names_differ(&cases);
    let world = World::new().await;
    let cases: Vec<Placed> = cases.into_iter().enumerate().map(|(at, case)| Placed::new(at, case)).collect();
    for placed in &cases {
        world.site.host(&placed.name(), &placed.origin.to_string());
    }
    let origin = Origin::start(&world.pki, &cases).await;
    let wardgate = Arc::new(world.site.start().await);
    let ca = Arc::new(wardgate.ca_pem());
    let turns = Arc::new(Semaphore::new(BESIDE));
    let mut running = JoinSet::new();
    for placed in &cases {
        let (placed, turns, ca) = (placed.clone(), Arc::clone(&turns), Arc::clone(&ca));
        let (proxy, ports) = (wardgate.proxy, origin.ports);
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            (placed.at, placed.talk(proxy, ports, &ca).await)
        });
    }
    let mut faults: Vec<(usize, Vec<String>)> = running.join_all().await;
    faults.sort_by_key(|(at, _)| *at);
    wait_for_lines(&wardgate, cases.iter().map(|placed| placed.lines()).sum()).await;
    let mut report = String::new();
    for (placed, (_, mut faults)) in cases.iter().zip(faults) {
        faults.extend(placed.fault_at_origin(&origin).await);
        faults.extend(placed.fault_in_log(&wardgate.lines()));
        for fault in faults {
            let _ = writeln!(report, "\n== {} ==\n{fault}", placed.case.name);
        }
    }
    assert!(report.is_empty(), "{report}");
}

fn assert_names_differ(cases: &[Case]) {
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "two cases are called {twice:?}");
}

async fn wait_for_lines(wardgate: &Wardgate, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while wardgate.lines().len() < count && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The ports of the origin: plain and TLS.
#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
}

/// A case with its addresses.
#[derive(Clone)]
struct Placed {
    at: usize,
    case: Arc<Case>,
    client: Ipv4Addr,
    origin: Ipv4Addr,
    signals: Arc<Signals>,
}

/// What one side has told the other, so that a case depends on no time.
struct Signals {
    to_client: Semaphore,
    to_origin: Semaphore,
}

/// Waits until there is a signal, and takes it.
async fn hear(signal: &Semaphore) -> bool {
    match timeout(PATIENCE, signal.acquire()).await {
        Ok(heard) => heard.is_ok_and(|permit| {
            permit.forget();
            true
        }),
        Err(_) => false,
    }
}

impl Placed {
    fn new(at: usize, case: Case) -> Self {
        let (high, low) = ((at / 250) as u8, (at % 250) as u8 + 1);
        let (client, origin) = (Ipv4Addr::new(127, 88, high, low), Ipv4Addr::new(127, 77, high, low));
        assert!(case.end.is_some(), "{}: it is not said whether the connection is kept", case.name);
        Self {
            at,
            case: Arc::new(case),
            client,
            origin,
            signals: Arc::new(Signals { to_client: Semaphore::new(0), to_origin: Semaphore::new(0) }),
        }
    }

    fn name(&self) -> String {
        format!("c{}.example.test", self.at)
    }

    /// Fills in what stands for the origin.
    fn fill(&self, text: &str, ports: Ports) -> String {
        let port = if matches!(self.case.way, Way::Tls | Way::Http2) { ports.tls } else { ports.plain };
        text.replace("{host}", &format!("{}:{port}", self.name()))
            .replace("{name}", &self.name())
            .replace("{NAME}", &self.name().to_uppercase())
            .replace("{port}", &port.to_string())
            .replace("{address}", &self.origin.to_string())
            .replace("{number}", &u32::from(self.origin).to_string())
            .replace("{hex}", &format!("{:#x}", u32::from(self.origin)))
            .replace("{octal}", &format!("0{:o}", u32::from(self.origin)))
            .replace("{ours}", OURS)
    }

    /// How many lines this case leaves in the log.
    fn lines(&self) -> usize {
        let connect = usize::from(self.case.way != Way::Open);
        let probe = usize::from(self.is_probed());
        self.case.events.len() + connect + probe
    }

    /// Whether the connection is tried with another request in the end.
    fn is_probed(&self) -> bool {
        self.case.end == Some(End::Kept) && self.case.way == Way::Open
    }

    /// Runs the client's side; what went wrong.
    async fn talk(&self, proxy: SocketAddr, ports: Ports, ca: &str) -> Vec<String> {
        let stream = match timeout(PATIENCE, self.open(proxy, ports, ca)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return vec![format!("no connection: {error}")],
            Err(_) => return vec!["no connection in time".to_owned()],
        };
        let mut wire = Wire::over(stream, self.case.way == Way::Http2);
        if wire.http2 {
            let _ = wire.send(&http2::preface()).await;
        }
        for step in &self.case.client {
            if let Err(fault) = self.step(&mut wire, step, ports).await {
                return vec![fault];
            }
        }
        self.judge(&mut wire, ports).await
    }

    async fn open(&self, proxy: SocketAddr, ports: Ports, ca: &str) -> io::Result<Box<dyn Stream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.client.into(), 0))?;
        let mut stream = socket.connect(proxy).await?;
        stream.set_nodelay(true)?;
        if self.case.way == Way::Open {
            return Ok(Box::new(stream));
        }
        let host = self.fill("{host}", ports);
        stream.write_all(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let head = raw::read_head(&mut stream).await;
        if raw::status_of(&head) != Some(200) {
            return Err(io::Error::other(format!("CONNECT was answered {head:?}")));
        }
        if self.case.way == Way::Plain {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.name()).map_err(io::Error::other)?;
        let alpn = if self.case.way == Way::Http2 { "h2" } else { "http/1.1" };
        let connector = TlsConnector::from(pki::client(ca, &[alpn]));
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    async fn step(&self, wire: &mut Wire, step: &Step, ports: Ports) -> Result<(), String> {
        let step = step.filled(|text| self.fill(text, ports));
        if let Some(bytes) = step.bytes() {
            // The peer may close before it has read everything: what it answered is what counts.
            let _ = wire.send(&bytes).await;
        }
        match step {
            Step::Await(wanted) if !wire.wait_for(&wanted).await => {
                return Err(format!("waited in vain for {wanted:?}, got {:?}", wire.text()));
            }
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Close => wire.close().await,
            Step::Tell => self.signals.to_origin.add_permits(1),
            Step::Hear if !hear(&self.signals.to_client).await => {
                return Err(format!("the origin never said to go on, got {:?}", wire.text()));
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares what the client got.
    async fn judge(&self, wire: &mut Wire, ports: Ports) -> Vec<String> {
        let case = &self.case;
        let expected = with_length(self.fill(&case.answer, ports));
        let is_whole = if wire.http2 { is_whole_http2 } else { is_whole };
        let whole =
            wire.read_until(|text| is_whole(text, &expected, case.page), case.end == Some(End::Closed)).await;
        let mut faults = Vec::new();
        if !whole {
            faults.push(match (case.end, wire.is_closed()) {
                (Some(End::Closed), false) => "the connection stays open".to_owned(),
                _ => format!("the answer does not come to its end: {:?}", wire.text()),
            });
        }
        let text = wire.text();
        match case.page {
            None if text != expected => {
                faults.push(format!("the client got\n  {text:?}\nin place of\n  {expected:?}"));
            }
            None => {}
            Some(status) if wire.http2 => faults.extend(fault_of_http2_page(&text, &expected, status)),
            Some(status) => faults.extend(fault_of_page(&text, &expected, status, case.end)),
        }
        if faults.is_empty() && case.end == Some(End::Kept) {
            faults.extend(self.probe(wire, text.len()).await);
        }
        faults
    }

    /// Shows that the connection is in a good state: on the open port by a request that the proxy itself answers.
    async fn probe(&self, wire: &mut Wire, already: usize) -> Option<String> {
        const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nok\n";
        if wire.http2 {
            let _ = wire.send(&http2::ping()).await;
            wire.read_until(|text| text.len() > already, false).await;
            return (wire.text().get(already..) != Some("PONG\n"))
                .then(|| format!("behind it the connection gave {:?}", wire.text().get(already..)));
        }
        if !self.is_probed() {
            return wire.is_closed().then(|| "the connection was closed".to_owned());
        }
        let _ = wire.send(b"GET /healthz HTTP/1.1\r\nHost: proxy\r\n\r\n").await;
        wire.read_until(|text| text.len() >= already + ANSWER.len(), false).await;
        let text = wire.text();
        (text.get(already..) != Some(ANSWER))
            .then(|| format!("behind it the connection gave {:?}", text.get(already..)))
    }

    async fn fault_at_origin(&self, origin: &Origin) -> Option<String> {
        let expected: Vec<String> =
            self.case.reached.iter().map(|text| self.fill(text, origin.ports)).collect();
        let deadline = Instant::now() + PATIENCE / 4;
        loop {
            let reached = origin.received(self.origin);
            if reached == expected {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!("the origin got\n  {reached:#?}\nin place of\n  {expected:#?}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn fault_in_log(&self, lines: &[Value]) -> Vec<String> {
        let client = self.client.to_string();
        let mut lines: Vec<&Value> = lines.iter().filter(|line| line["source.ip"] == *client).collect();
        if lines.len() != self.lines() {
            return vec![format!("{} lines in place of {}: {lines:#?}", lines.len(), self.lines())];
        }
        let by_start = |line: &&Value| line["event.id"].as_str().map(str::to_owned);
        lines.sort_by_key(by_start); // ids sort by the time at which the exchange began
        let skip = usize::from(self.case.way != Way::Open);
        let pairs = lines.into_iter().skip(skip).zip(&self.case.events);
        pairs.filter_map(|(line, noted)| noted.fault(line)).collect()
    }
}

impl Noted {
    fn fault(&self, line: &Value) -> Option<String> {
        let status = line["http.response.status_code"].as_u64();
        let gone = status.is_none() && line["wardgate.outcome"] == "client-closed";
        let fits = status == self.status.map(u64::from)
            && line["wardgate.outcome"] == *self.outcome
            && self.detail.is_none_or(|detail| line["wardgate.detail"] == *detail);
        (!(fits || self.or_gone && gone)).then(|| format!("recorded as {line:#}\nin place of {self:?}"))
    }
}

/// Fills in `{length}`, for an answer whose length depends on the origin's name.
fn with_length(answer: String) -> String {
    let length = answer.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    answer.replace("{length}", &length.to_string())
}

/// Whether all that is expected has arrived.
fn is_whole(text: &str, expected: &str, page: Option<u16>) -> bool {
    let Some(rest) = text.get(expected.len()..) else { return false };
    if page.is_none() {
        return true;
    }
    let Some((head, body)) = rest.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

/// Whether all that is expected has arrived, of HTTP/2.
fn is_whole_http2(text: &str, expected: &str, page: Option<u16>) -> bool {
    let Some(rest) = text.get(expected.len()..) else { return false };
    page.is_none() || rest.ends_with(" END\n")
}

/// What is wrong with a page of Wardgate's own behind `before`, of HTTP/2.
fn fault_of_http2_page(text: &str, before: &str, status: u16) -> Option<String> {
    let page = text.strip_prefix(before);
    let sound = page.is_some_and(|page| {
        let line = page.lines().next().unwrap_or_default();
        line.ends_with(&format!(" HEADERS {status}")) && page.contains("Reference")
    });
    (!sound).then(|| format!("the client got\n  {text:?}\nin place of\n  {before:?}\nand a page of {status}"))
}

/// What is wrong with a page of Wardgate's own behind `before`.
fn fault_of_page(text: &str, before: &str, status: u16, end: Option<End>) -> Option<String> {
    let Some(page) = text.strip_prefix(before) else {
        return Some(format!("the client got\n  {text:?}\nin place of\n  {before:?}\nand a page"));
    };
    let says_close = page.contains("\r\nconnection: close\r\n");
    let sound = page.starts_with(&format!("HTTP/1.1 {status} "))
        && page.contains("\r\nproxy-status: wardgate; error=")
        && page.contains("Reference")
        && page.matches("HTTP/1.1 ").count() == 1
        && says_close == (end == Some(End::Closed));
    (!sound).then(|| format!("no page with the status {status} and the end {end:?} but {page:?}"))
}
