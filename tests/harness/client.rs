//! An HTTP client that speaks to the proxy as a browser does, and shows everything that came back.

use std::fmt;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pki;
use super::raw;

/// A request's body.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A client behind one proxy. Each request opens its own connection unless a [`Session`] is used.
#[derive(Clone)]
pub(crate) struct Client {
    proxy: SocketAddr,
    roots: Arc<str>,
    authorization: Option<String>,
    alpn: &'static [&'static str],
    from: IpAddr,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: StatusCode,
    /// The protocol towards the client.
    pub(crate) version: Version,
    /// The header fields.
    pub(crate) headers: HeaderMap,
    /// The body, as sent.
    pub(crate) body: Bytes,
    /// The trailer fields.
    pub(crate) trailers: HeaderMap,
    /// Whether the body ended as it should.
    pub(crate) complete: bool,
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// CONNECT was answered with this status, head and body.
    Refused(u16, String),
    /// The connection, the handshake or the exchange broke.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status, head) => write!(f, "CONNECT was refused with {status}: {head}"),
            Self::Broken(how) => f.write_str(how),
        }
    }
}

/// One open connection for many requests.
pub(crate) struct Session {
    transport: Transport,
    /// Sent with each request on the proxy's own port; inside a tunnel the CONNECT carried it.
    authorization: Option<String>,
}

enum Transport {
    /// HTTP/1.1 to the proxy itself: requests in absolute form.
    Plain(http1::SendRequest<Body>),
    /// HTTP/1.1 inside a tunnel.
    Http1(http1::SendRequest<Body>),
    /// HTTP/2 inside a tunnel.
    Http2(http2::SendRequest<Body>),
}

impl Client {
    /// A client that trusts these roots and nothing else, and offers HTTP/2 and HTTP/1.1.
    pub(crate) fn new(proxy: SocketAddr, roots_pem: &str) -> Self {
        Self {
            proxy,
            roots: roots_pem.into(),
            authorization: None,
            alpn: &["h2", "http/1.1"],
            from: LOOPBACK,
        }
    }

    /// The same client with these credentials.
    pub(crate) fn user(&self, name: &str, password: &str) -> Self {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        Self { authorization: Some(format!("Basic {pair}")), ..self.clone() }
    }

    /// The same client without HTTP/2.
    pub(crate) fn http1(&self) -> Self {
        Self { alpn: &["http/1.1"], ..self.clone() }
    }

    /// The same client at another address of this machine (all of 127.0.0.0/8 is).
    pub(crate) fn at(&self, from: IpAddr) -> Self {
        Self { from, ..self.clone() }
    }

    async fn dial(&self) -> Result<TcpStream, Failure> {
        let socket = TcpSocket::new_v4().map_err(broken)?;
        socket.bind((self.from, 0).into()).map_err(broken)?;
        let stream = socket.connect(self.proxy).await.map_err(broken)?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// GET; panics where no answer comes.
    pub(crate) async fn get(&self, url: &str) -> Reply {
        self.send(request(Method::GET, url, Bytes::new())).await
    }

    /// POST of these bytes; panics where no answer comes.
    pub(crate) async fn post(&self, url: &str, content_type: &str, body: impl Into<Bytes>) -> Reply {
        let mut request = request(Method::POST, url, body);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        self.send(request).await
    }

    /// Sends a request and reads the whole answer; panics where no answer comes.
    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let asked = request.uri().to_string();
        match self.try_send(request).await {
            Ok(reply) => reply,
            Err(failure) => panic!("no answer from {asked}: {failure}"),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn try_send(&self, request: Request<Body>) -> Result<Reply, Failure> {
        Ok(Reply::read(self.open(request).await?).await)
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    pub(crate) async fn open(&self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        self.session(request.uri()).await?.open(request).await
    }

    /// Opens a connection good for requests to this URL's origin (any origin, where the URL is plain HTTP).
    pub(crate) async fn session(&self, url: &Uri) -> Result<Session, Failure> {
        if url.scheme_str() == Some("http") {
            let stream = self.dial().await?;
            let transport = Transport::Plain(http1_over(stream).await?);
            return Ok(Session { transport, authorization: self.authorization.clone() });
        }
        let stream = self.tls(url).await?;
        let transport = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Transport::Http2(http2_over(stream).await?)
        } else {
            Transport::Http1(http1_over(stream).await?)
        };
        Ok(Session { transport, authorization: None })
    }

    /// CONNECT and the TLS handshake inside.
    pub(crate) async fn tls(&self, url: &Uri) -> Result<TlsStream<TcpStream>, Failure> {
        let host = url.host().unwrap().trim_matches(['[', ']']).to_owned();
        let tunnel = self.connect(url.authority().unwrap().as_str()).await?;
        let connector = TlsConnector::from(pki::client(&self.roots, self.alpn));
        connector.connect(ServerName::try_from(host).unwrap(), tunnel).await.map_err(broken)
    }

    /// CONNECT alone.
    pub(crate) async fn connect(&self, authority: &str) -> Result<TcpStream, Failure> {
        let mut stream = self.dial().await?;
        let authority = if authority.rsplit(']').next().unwrap().contains(':') {
            authority.to_owned()
        } else {
            format!("{authority}:443")
        };
        let credentials = self
            .authorization
            .as_ref()
            .map_or(String::new(), |value| format!("Proxy-Authorization: {value}\r\n"));
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n");
        stream.write_all(head.as_bytes()).await.map_err(broken)?;
        let answer = raw::read_head(&mut stream).await;
        match raw::status_of(&answer) {
            Some(200) => Ok(stream),
            Some(status) => {
                let mut body = Vec::new();
                let _ = stream.take(64 * 1024).read_to_end(&mut body).await;
                Err(Failure::Refused(status, answer + &String::from_utf8_lossy(&body)))
            }
            None => Err(Failure::Broken(format!("CONNECT was answered {answer:?}"))),
        }
    }
}

/// A request with a small body; `Host` is filled in from the URL.
pub(crate) fn request(method: Method, url: &str, body: impl Into<Bytes>) -> Request<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed();
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().unwrap();
    request
}

impl Session {
    /// The same HTTP/2 connection for another task; HTTP/1 has no such thing.
    pub(crate) fn another(&self) -> Self {
        let Transport::Http2(sender) = &self.transport else { panic!("HTTP/1 has no streams") };
        Self { transport: Transport::Http2(sender.clone()), authorization: None }
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Reply, Failure> {
        Ok(Reply::read(self.open(request).await?).await)
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    pub(crate) async fn open(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let authority = request.uri().authority().unwrap().to_string();
        match &mut self.transport {
            Transport::Plain(sender) => {
                set(&mut request, header::HOST, &authority);
                if let Some(value) = &self.authorization {
                    set(&mut request, header::PROXY_AUTHORIZATION, value);
                }
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)
            }
            Transport::Http1(sender) => {
                set(&mut request, header::HOST, &authority);
                *request.uri_mut() = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)
            }
            Transport::Http2(sender) => {
                sender.ready().await.map_err(broken)?;
                sender.send_request(request).await.map_err(broken)
            }
        }
    }
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let (mut body, mut trailers, mut complete) = (Vec::new(), HeaderMap::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => body.extend(&data),
                Ok(Err(frame)) => trailers = frame.into_trailers().unwrap_or_default(),
                Err(_) => {
                    complete = false; // hyper tells the same error for ever
                    break;
                }
            }
        }
        Self {
            status: head.status,
            version: head.version,
            headers: head.headers,
            body: body.into(),
            trailers,
            complete,
        }
    }

    /// The body as text, decoded from gzip where it says so.
    pub(crate) fn text(&self) -> String {
        if self.header("content-encoding") == Some("gzip") {
            let mut text = String::new();
            // What was cut short decodes as far as it goes.
            let _ = flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text);
            return text;
        }
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The first value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn set(request: &mut Request<Body>, name: header::HeaderName, value: &str) {
    request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
}

async fn http1_over<S>(stream: S) -> Result<http1::SendRequest<Body>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

async fn http2_over<S>(stream: S) -> Result<http2::SendRequest<Body>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    Ok(sender)
}

fn broken(error: impl std::error::Error) -> Failure {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    Failure::Broken(said)
}
