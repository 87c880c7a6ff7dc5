//! A client behind a proxy: opens connections as a browser does, asks for its page, and checks what it gets.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::answer::{self, Answer};
use crate::origin;

const BUFFER: usize = 64 * 1024;
/// What browsers send with every request, shortened.
const FIELDS: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
                      Safari/537.36\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Encoding: gzip\r\n\
                      Accept-Language: en-GB,en;q=0.9\r\n\r\n";

/// What all clients of a load have in common.
pub(crate) struct Client {
    pub(crate) proxy: SocketAddr,
    /// Wardgate tells groups apart by the address that a client comes from.
    pub(crate) from: Ipv4Addr,
    pub(crate) route: Route,
    pub(crate) reuse: Reuse,
    pub(crate) host: &'static str,
    pub(crate) path: String,
    /// Counts the hosts asked for, where each connection is to another one.
    pub(crate) hosts: AtomicU64,
    /// The length of a right answer's body as sent; known from the first one.
    pub(crate) length: AtomicUsize,
}

/// How the origin is reached.
pub(crate) enum Route {
    /// Requests to the proxy itself.
    Plain,
    /// CONNECT, and TLS inside with whoever answers.
    Connect(TlsConnector),
}

impl Route {
    /// CONNECT, with TLS that trusts one authority. HTTP/2 is offered alone or not at all; sessions are resumed or not.
    pub(crate) fn connect(authority: &Path, http2: bool, resume: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(authority)?)?)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Ok(Self::Connect(TlsConnector::from(Arc::new(config))))
    }
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reuse {
    /// One request after the other.
    Kept,
    /// A single request.
    New,
    /// A single request, to a host that nobody has asked for before.
    NewHost,
}

/// How a connection was opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Opened {
    Plain,
    Full,
    Resumed,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

enum Connection {
    Http1 { stream: Box<dyn Stream>, request: Arc<[u8]> },
    Http2 { sender: http2::SendRequest<Empty<Bytes>>, url: Arc<str> },
}

/// A request whose answer nobody reads, for as long as this lives.
pub(crate) struct Unread {
    _connection: Connection,
    _answer: Option<Response<Incoming>>,
}

/// One of the clients, with its connection.
pub(super) struct Worker {
    client: Arc<Client>,
    connection: Option<Connection>,
    buffer: Vec<u8>,
}

impl Client {
    /// Asks for something once; returns the answer and its body, decoded.
    pub(crate) async fn fetch(&self, path: &str) -> Result<(Answer, Vec<u8>)> {
        let mut buffer = vec![0; BUFFER];
        let (mut connection, _) = self.open(path, &mut buffer).await?;
        let mut body = Vec::new();
        let answer = connection.exchange(&mut buffer, Some(&mut body)).await?;
        connection.close().await;
        if !answer.gzip {
            return Ok((answer, body));
        }
        let mut decoded = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut decoded)?;
        Ok((answer, decoded))
    }

    /// From now on an answer that is not of this length is wrong.
    pub(crate) fn expect(&self, length: usize) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// Opens a connection as it is needed for a request.
    async fn open(&self, path: &str, buffer: &mut [u8]) -> Result<(Connection, Opened)> {
        let host = match self.reuse {
            Reuse::NewHost => origin::another_host(self.hosts.fetch_add(1, Ordering::Relaxed)),
            Reuse::Kept | Reuse::New => self.host.to_owned(),
        };
        let mut stream = self.dial().await?;
        let Route::Connect(tls) = &self.route else {
            let first = format!("GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n");
            let request = (first + "Proxy-Connection: keep-alive\r\n" + FIELDS).into_bytes().into();
            return Ok((Connection::Http1 { stream: Box::new(stream), request }, Opened::Plain));
        };
        connect(&mut stream, &host, buffer).await?;
        let name = ServerName::try_from(host.clone())?;
        let stream = tls.connect(name, stream).await.context("TLS through the proxy")?;
        let opened = match stream.get_ref().1.handshake_kind() {
            Some(HandshakeKind::Resumed) => Opened::Resumed,
            _ => Opened::Full,
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            return Ok((Connection::Http2 { sender, url: format!("https://{host}{path}").into() }, opened));
        }
        let first = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        let request = (first + "Connection: keep-alive\r\n" + FIELDS).into_bytes().into();
        Ok((Connection::Http1 { stream: Box::new(stream), request }, opened))
    }

    async fn dial(&self) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let stream = socket.connect(self.proxy).await.context("cannot connect to the proxy")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Asks for the page, and reads no more than the head of the answer.
    pub(crate) async fn ask(&self) -> Result<Unread> {
        let (mut connection, _) = self.open(&self.path, &mut vec![0; BUFFER]).await?;
        let answer = match &mut connection {
            Connection::Http1 { stream, request } => {
                stream.write_all(request).await?;
                stream.flush().await?;
                None
            }
            Connection::Http2 { sender, url } => {
                sender.ready().await?;
                Some(sender.send_request(Request::get(&**url).body(Empty::new())?).await?)
            }
        };
        Ok(Unread { _connection: connection, _answer: answer })
    }

    /// Opens a tunnel and nothing else.
    pub(crate) async fn tunnel(&self) -> Result<TcpStream> {
        let mut stream = self.dial().await?;
        connect(&mut stream, self.host, &mut [0; 4096]).await?;
        Ok(stream)
    }
}

async fn connect(stream: &mut TcpStream, host: &str, buffer: &mut [u8]) -> Result<()> {
    let request = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (end, _) = answer::head(stream, buffer).await.context("CONNECT")?;
    let head = String::from_utf8_lossy(&buffer[..end]);
    ensure!(head.split(' ').nth(1) == Some("200"), "CONNECT was answered {head}");
    Ok(())
}

impl Connection {
    async fn exchange(&mut self, buffer: &mut [u8], into: Option<&mut Vec<u8>>) -> Result<Answer> {
        match self {
            Self::Http1 { stream, request } => {
                stream.write_all(request).await?;
                stream.flush().await?;
                answer::read(stream, buffer, into).await
            }
            Self::Http2 { sender, url } => over_http2(sender, url, into).await,
        }
    }

    /// Says goodbye as a browser does.
    async fn close(self) {
        if let Self::Http1 { mut stream, .. } = self {
            let _ = stream.shutdown().await; // the other side may have closed before
        }
    }
}

async fn over_http2(
    sender: &mut http2::SendRequest<Empty<Bytes>>,
    url: &str,
    mut into: Option<&mut Vec<u8>>,
) -> Result<Answer> {
    let mut request = Request::get(url).body(Empty::new())?;
    for (name, value) in FIELDS.lines().filter_map(|line| line.split_once(": ")) {
        request.headers_mut().insert(header::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
    }
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let gzip = response.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let mut answer = Answer { status: response.status().as_u16(), gzip, ..Answer::default() };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        answer.length += data.len();
        if let Some(into) = &mut into {
            into.extend_from_slice(&data);
        }
    }
    Ok(answer)
}

impl Worker {
    /// A client with a connection of its own, which it has already where it will keep it.
    pub(super) async fn open(client: &Arc<Client>) -> Result<Self> {
        let mut worker = Self { client: Arc::clone(client), connection: None, buffer: vec![0; BUFFER] };
        if client.reuse == Reuse::Kept {
            worker.connection = Some(client.open(&client.path, &mut worker.buffer).await?.0);
        }
        Ok(worker)
    }

    /// A client that shares the HTTP/2 connection of this one; none where there is nothing to share.
    pub(super) fn sharing(&self) -> Option<Self> {
        let Some(Connection::Http2 { sender, url }) = &self.connection else { return None };
        let connection = Connection::Http2 { sender: sender.clone(), url: Arc::clone(url) };
        Some(Self { client: Arc::clone(&self.client), connection: Some(connection), buffer: vec![0; BUFFER] })
    }

    /// Asks for the page; says how a connection was opened where one was.
    pub(super) async fn exchange(&mut self) -> Result<Option<Opened>> {
        let (mut connection, opened) = match self.connection.take() {
            Some(connection) => (connection, None),
            None => {
                let (connection, opened) = self.client.open(&self.client.path, &mut self.buffer).await?;
                (connection, Some(opened))
            }
        };
        let answer = connection.exchange(&mut self.buffer, None).await?;
        ensure!(answer.status == 200, "the answer was {}", answer.status);
        let expected = self.client.length.load(Ordering::Relaxed);
        ensure!(answer.length == expected, "{} bytes in place of {expected}", answer.length);
        if self.client.reuse == Reuse::Kept && !answer.last {
            self.connection = Some(connection);
        } else {
            connection.close().await;
        }
        Ok(opened)
    }
}
