//! An origin server that behaves in every way the tests need: one plain and one TLS port, HTTP/1.1 and HTTP/2,
//! and a route for each behaviour. It records what it was asked.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::files::{self, Served};
use super::pki::Pki;
use super::{git, websocket};

/// The body of the page at `/`.
pub(crate) const PAGE: &str =
    "<!doctype html><html lang=en><title>Fixed</title><h1>Hello</h1><p>A plain page about rivers.</p>";
/// How far apart the events of `/sse` are.
pub(crate) const SSE_INTERVAL: Duration = Duration::from_millis(200);
/// How many events `/sse` sends.
pub(crate) const SSE_EVENTS: u64 = 5;
/// How long `/acknowledged` waits for somebody to say that an event has arrived.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// What `/bomb` decodes to.
const BOMB_BYTES: u64 = 64 << 20;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A request as the origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Path and query.
    pub(crate) path: String,
    /// The protocol spoken by the proxy.
    pub(crate) version: Version,
    /// The header fields, in order of the map.
    pub(crate) headers: HeaderMap,
}

/// A running origin; its ports close when it is dropped.
pub(crate) struct Origin {
    /// Where plain HTTP is served.
    pub(crate) http: SocketAddr,
    /// Where HTTPS is served.
    pub(crate) https: SocketAddr,
    record: Arc<Record>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Record {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
    root: OnceLock<PathBuf>,
}

impl Record {
    fn seen(&self, path: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path.starts_with(path)).cloned().collect()
    }
}

impl Origin {
    /// Serves on 127.0.0.1, with HTTP/2 and HTTP/1.1 over TLS.
    pub(crate) async fn start(pki: &Pki) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), pki, &["h2", "http/1.1"]).await
    }

    /// Serves on this address, offering these protocols over TLS.
    pub(crate) async fn start_at(address: IpAddr, pki: &Pki, alpn: &[&str]) -> Self {
        Self::start_on((address, 0).into(), (address, 0).into(), pki, alpn).await
    }

    /// Serves plain HTTP and HTTPS on these sockets, offering these protocols over TLS.
    pub(crate) async fn start_on(http: SocketAddr, https: SocketAddr, pki: &Pki, alpn: &[&str]) -> Self {
        let plain = TcpListener::bind(http).await.unwrap();
        let secure = TcpListener::bind(https).await.unwrap();
        let (http, https) = (plain.local_addr().unwrap(), secure.local_addr().unwrap());
        let record = Arc::new(Record::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_plain(plain, Arc::clone(&record)));
        tasks.spawn(serve_tls(secure, TlsAcceptor::from(pki.server(alpn)), Arc::clone(&record)));
        Self { http, https, record, _tasks: tasks }
    }

    /// A plain URL of this origin under a name that the hosts file maps to it.
    pub(crate) fn http_url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.http.port())
    }

    /// An HTTPS URL of this origin under a name that the hosts file maps to it.
    pub(crate) fn https_url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.https.port())
    }

    /// Gives out the files below this folder as `/files/…`, and the Git repositories in its `git` as `/git/…`.
    pub(crate) fn serve_files(&self, root: &Path) {
        self.record.root.set(root.to_owned()).unwrap();
    }

    /// Every request so far whose path begins like this.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.record.seen(path)
    }

    /// Every request so far, which is then forgotten: for those who ask for hours.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.record.seen.lock().unwrap())
    }

    /// The only request so far whose path begins like this.
    pub(crate) fn only(&self, path: &str) -> Seen {
        let mut seen = self.seen(path);
        assert_eq!(seen.len(), 1, "the origin saw {path} {} times", seen.len());
        seen.remove(0)
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.record.connections.load(Ordering::SeqCst)
    }
}

async fn serve_plain(listener: TcpListener, record: Arc<Record>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let _ = stream.set_nodelay(true);
        record.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, false, Arc::clone(&record)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, record: Arc<Record>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let _ = stream.set_nodelay(true);
        record.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, http2, record).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<S>(stream: S, http2: bool, record: Arc<Record>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        record.seen.lock().unwrap().push(Seen {
            path: request.uri().path_and_query().map_or("/".to_owned(), ToString::to_string),
            version: request.version(),
            headers: request.headers().clone(),
        });
        let record = Arc::clone(&record);
        async move { Ok::<_, Infallible>(answer(request, record).await) }
    });
    let io = TokioIo::new(stream);
    // A connection that breaks is often what a test is about; what it means is asserted on the client's side.
    if http2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}

async fn answer(request: Request<Incoming>, record: Arc<Record>) -> Response<Body> {
    let query = request.uri().query().unwrap_or("").to_owned();
    let query = Query(&query);
    match request.uri().path() {
        "/" => html(PAGE.to_owned()),
        "/words" => html(page_saying(&query.text("say"))),
        "/compressed" => compressed(&request, &query),
        "/echo" => echo(request).await,
        "/download" => download(query.number("bytes")),
        "/upload" => upload(request).await,
        "/sse" => server_sent_events(query.text("say")),
        "/acknowledged" => acknowledged_events(query.text("name"), record),
        "/acknowledge" => with(plain(StatusCode::OK, "noted"), header::CACHE_CONTROL, "no-store"),
        "/ws" => websocket::accept(request),
        "/trailers" => trailers(),
        "/range" => range(&request),
        "/unwanted" => plain(StatusCode::FORBIDDEN, "not wanted"),
        "/status" => status(&query, request.method()),
        "/slow" => slow(Duration::from_millis(query.number("ms"))).await,
        "/redirect" => with(plain(StatusCode::FOUND, ""), header::LOCATION, "/landing"),
        "/cookies" => cookies(),
        "/login" => login(),
        "/file" => Served::fixed(files::sample(query.number("bytes") as usize), "application/octet-stream")
            .answer(request.headers()),
        "/cached" => {
            let response = Served::fixed(PAGE.into(), "text/html; charset=utf-8").answer(request.headers());
            with(response, header::CACHE_CONTROL, &format!("private, max-age={}", query.number("age")))
        }
        "/bomb" => bomb(&query.text("coding")),
        path if path.starts_with("/moved/") => moved(&request),
        path if path.starts_with("/files/") => {
            let file = record.root.get().and_then(|root| Served::read(root, &path["/files".len()..]));
            file.map_or_else(
                || plain(StatusCode::NOT_FOUND, "no such file"),
                |file| file.answer(request.headers()),
            )
        }
        path if path.starts_with("/git/") => git::answer(record.root.get().unwrap(), request).await,
        "/hop-by-hop" => hop_by_hop(),
        "/broken" => broken(query.number("length")),
        _ => html(PAGE.to_owned()),
    }
}

struct Query<'a>(&'a str);

impl Query<'_> {
    fn text(&self, name: &str) -> String {
        let pair = self.0.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        pair.unwrap_or("").replace("%20", " ").replace('+', " ")
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// A body that is there at once.
pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of frames made one after the other until there is none; an error breaks the connection off.
fn frames<S, F, Fut>(state: S, next: F) -> Body
where
    S: Send + 'static,
    F: FnMut(S) -> Fut + Send + 'static,
    Fut: Future<Output = Option<(io::Result<Frame<Bytes>>, S)>> + Send + 'static,
{
    StreamBody::new(stream::unfold(state, next)).boxed_unsync()
}

/// A short text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    with(response, header::CONTENT_TYPE, "text/plain")
}

fn html(text: String) -> Response<Body> {
    with(Response::new(full(text)), header::CONTENT_TYPE, "text/html; charset=utf-8")
}

/// The same answer with one more field.
pub(crate) fn with(mut response: Response<Body>, name: header::HeaderName, value: &str) -> Response<Body> {
    response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    response
}

/// The body of the page at `/words`.
pub(crate) fn page_saying(words: &str) -> String {
    format!("<!doctype html><html lang=en><title>Words</title><p>{words}</p>")
}

/// A page in many small chunks, compressed with `coding` (gzip where it is not named): `early` at its beginning, `late`
/// after `padding` bytes of harmless text. A coding that is named must have been asked for, as real servers want it.
fn compressed(request: &Request<Incoming>, query: &Query<'_>) -> Response<Body> {
    let coding = query.text("coding");
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    if !accepted.unwrap_or("").contains(&coding) {
        return plain(StatusCode::NOT_ACCEPTABLE, "this coding was not asked for");
    }
    let coding = if coding.is_empty() { "gzip" } else { &*coding };
    let text = long_page(&query.text("early"), query.number("padding"), &query.text("late"));
    let body = frames(encode(coding, text.as_bytes()), |mut rest| async move {
        let piece = rest.split_to(rest.len().min(61));
        (!piece.is_empty()).then(|| (Ok(Frame::data(piece)), rest))
    });
    let response = with(Response::new(body), header::CONTENT_TYPE, "text/html; charset=utf-8");
    with(response, header::CONTENT_ENCODING, coding)
}

/// What `/compressed` decodes to.
pub(crate) fn long_page(early: &str, padding: u64, late: &str) -> String {
    let mut text = page_saying(early);
    for line in 0.. {
        if text.len() as u64 >= padding {
            break;
        }
        text.push_str(&format!("<p>Line {line} tells of meadow number {}.</p>\n", line * 7919 % 10_007));
    }
    text.push_str(&format!("<p>{late}</p>"));
    text
}

/// A page of [`BOMB_BYTES`] in few: `coding` may name several, applied from left to right.
fn bomb(coding: &str) -> Response<Body> {
    let response =
        with(Response::new(full(encoded_bomb(coding))), header::CONTENT_TYPE, "text/html; charset=utf-8");
    with(response, header::CONTENT_ENCODING, coding)
}

/// The bytes of such a page.
pub(crate) fn encoded_bomb(coding: &str) -> Bytes {
    static MADE: Mutex<Vec<(String, Bytes)>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap();
    if let Some((_, bytes)) = made.iter().find(|(known, _)| known == coding) {
        return bytes.clone();
    }
    let mut codings = coding.split(", ");
    let page = io::Read::take(io::repeat(b' '), BOMB_BYTES);
    let first = encode(codings.next().unwrap(), page);
    let bytes = codings.fold(first, |bytes, coding| encode(coding, &bytes[..]));
    made.push((coding.to_owned(), bytes.clone()));
    bytes
}

/// A body in this coding.
pub(crate) fn encode(coding: &str, mut text: impl io::Read) -> Bytes {
    use std::io::Read as _;
    let mut encoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzEncoder::new(text, flate2::Compression::default())
            .read_to_end(&mut encoded)
            .map(drop),
        "deflate" => flate2::read::ZlibEncoder::new(text, flate2::Compression::default())
            .read_to_end(&mut encoded)
            .map(drop),
        "br" => {
            let quick = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
            brotli::BrotliCompress(&mut text, &mut encoded, &quick).map(drop)
        }
        "zstd" => zstd::stream::copy_encode(text, &mut encoded, 3),
        other => panic!("the origin has no coding {other:?}"),
    }
    .unwrap();
    encoded.into()
}

/// Says as JSON what arrived: header fields in order and the body.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_REQUEST, "the body broke off") };
    let trailers = body.trailers().cloned().unwrap_or_default();
    let said = serde_json::json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map(ToString::to_string),
        "version": format!("{:?}", head.version),
        "headers": pairs(&head.headers),
        "trailers": pairs(&trailers),
        "body": String::from_utf8_lossy(&body.to_bytes()),
    });
    let response = with(Response::new(full(said.to_string())), header::CONTENT_TYPE, "application/json");
    with(response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// So many bytes, made as they are sent.
fn download(bytes: u64) -> Response<Body> {
    let piece = Bytes::from(vec![b'd'; 64 * 1024]);
    let body = frames(bytes, move |left| {
        let take = left.min(piece.len() as u64);
        let piece = piece.slice(..take as usize);
        async move { (take > 0).then(|| (Ok(Frame::data(piece)), left - take)) }
    });
    let response = with(Response::new(body), header::CONTENT_LENGTH, &bytes.to_string());
    with(response, header::CONTENT_TYPE, "application/octet-stream")
}

/// Counts what it is sent and keeps none of it.
async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let mut bytes = 0u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return plain(StatusCode::BAD_REQUEST, "the body broke off") };
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    with(Response::new(full(bytes.to_string())), header::CONTENT_TYPE, "text/plain")
}

/// Events `SSE_INTERVAL` apart, each with its number; the last one also says `say`.
fn server_sent_events(say: String) -> Response<Body> {
    let body = frames(0, move |number| {
        let say = if number + 1 == SSE_EVENTS { say.clone() } else { String::new() };
        async move {
            if number == SSE_EVENTS {
                return None;
            }
            if number > 0 {
                tokio::time::sleep(SSE_INTERVAL).await;
            }
            Some((Ok(Frame::data(Bytes::from(format!("data: event {number} {say}\n\n")))), number + 1))
        }
    });
    let response = with(Response::new(body), header::CONTENT_TYPE, "text/event-stream");
    let response = with(response, header::CACHE_CONTROL, "no-store");
    with(response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
}

/// Three events, the second and third once `/acknowledge?name=…&event=…` has said that the one before arrived. So a
/// client that gets to the end has received each event while the stream went on.
fn acknowledged_events(name: String, record: Arc<Record>) -> Response<Body> {
    let body = frames(0, move |number| {
        let (before, record) =
            (format!("/acknowledge?name={name}&event={}", number - 1), Arc::clone(&record));
        async move {
            let deadline = Instant::now() + ACKNOWLEDGED_WITHIN;
            while number > 0 && record.seen(&before).is_empty() {
                if Instant::now() > deadline {
                    return Some((Err(io::Error::other("nobody says that the event arrived")), number));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (number < 3)
                .then(|| (Ok(Frame::data(Bytes::from(format!("data: event {number}\n\n")))), number + 1))
        }
    });
    let response = with(Response::new(body), header::CONTENT_TYPE, "text/event-stream");
    with(response, header::CACHE_CONTROL, "no-store")
}

fn trailers() -> Response<Body> {
    let body = frames(0, |step| async move {
        let frame = match step {
            0 => Frame::data(Bytes::from_static(b"the body")),
            1 => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-checksum", HeaderValue::from_static("12345"));
                Frame::trailers(trailers)
            }
            _ => return None,
        };
        Some((Ok(frame), step + 1))
    });
    let response = with(Response::new(body), header::TRAILER, "x-checksum");
    with(response, header::CONTENT_TYPE, "text/plain")
}

/// Honours one `bytes=a-b` range of a text of ten letters.
fn range(request: &Request<Incoming>) -> Response<Body> {
    const TEXT: &str = "abcdefghij";
    let asked = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((from, to)) = asked.and_then(|value| value.strip_prefix("bytes=")?.split_once('-')) else {
        return with(plain(StatusCode::OK, TEXT), header::ACCEPT_RANGES, "bytes");
    };
    let (from, to): (usize, usize) = (from.parse().unwrap_or(0), to.parse().unwrap_or(TEXT.len() - 1));
    let response = plain(StatusCode::PARTIAL_CONTENT, &TEXT[from..=to]);
    with(response, header::CONTENT_RANGE, &format!("bytes {from}-{to}/{}", TEXT.len()))
}

fn status(query: &Query<'_>, method: &Method) -> Response<Body> {
    let status = StatusCode::from_u16(query.number("code") as u16).unwrap_or(StatusCode::OK);
    let bodyless =
        matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || method == Method::HEAD;
    let mut response = plain(status, if bodyless { "" } else { "a body" });
    if method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("6"));
    }
    with(response, header::ETAG, "\"a-tag\"")
}

async fn slow(wait: Duration) -> Response<Body> {
    tokio::time::sleep(wait).await;
    plain(StatusCode::OK, "at last")
}

fn cookies() -> Response<Body> {
    let response = with(plain(StatusCode::OK, "two"), header::SET_COOKIE, "a=1; Path=/");
    with(response, header::SET_COOKIE, "b=2; Path=/; HttpOnly")
}

/// Two cookies as a site's login sets them; the date holds a comma, which must not be taken for a separator.
fn login() -> Response<Body> {
    let session =
        "session=s3cr3t; Path=/; Secure; HttpOnly; SameSite=Lax; Expires=Wed, 21 Oct 2037 07:28:00 GMT";
    let response = with(plain(StatusCode::OK, "welcome"), header::SET_COOKIE, session);
    with(response, header::SET_COOKIE, "theme=dark; Path=/")
}

/// `/moved/CODE/SCHEME/AUTHORITY/PATH?QUERY` leads to what it names.
fn moved(request: &Request<Incoming>) -> Response<Body> {
    let mut parts = request.uri().path_and_query().unwrap().as_str()["/moved/".len()..].splitn(3, '/');
    let (code, scheme, rest) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let mut response = plain(StatusCode::OK, "");
    *response.status_mut() = code.parse().unwrap();
    with(response, header::LOCATION, &format!("{scheme}://{rest}"))
}

/// An answer full of fields that concern this connection alone.
fn hop_by_hop() -> Response<Body> {
    let mut response = plain(StatusCode::OK, "hops");
    for (name, value) in [
        ("x-keep", "end to end"),
        ("x-named", "by Connection"),
        ("connection", "x-named"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic realm=\"origin\""),
    ] {
        response.headers_mut().append(header::HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Ends its body before its time: against the promised length, or, with none promised, in the middle of a chunked body.
fn broken(length: u64) -> Response<Body> {
    let body = frames(0, |step| async move {
        match step {
            0 => Some((Ok(Frame::data(Bytes::from_static(b"the beginning of "))), 1)),
            _ => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Err(io::Error::other("broken off on purpose")), 2))
            }
        }
    });
    let response = with(Response::new(body), header::CONTENT_TYPE, "application/octet-stream");
    if length == 0 { response } else { with(response, header::CONTENT_LENGTH, &length.to_string()) }
}
