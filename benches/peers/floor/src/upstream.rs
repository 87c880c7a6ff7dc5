//! Connections to origins. Each client connection has its own, as the simplest relay does: HTTP/1.1 connections are kept
//! for its next request, HTTP/2 connections serve all of its streams. TLS sessions and addresses are common to all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a request goes.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// What the connections of all clients have in common.
pub(crate) struct Dialer {
    tls: TlsConnector,
    /// Names that were looked up, so that it is not the system's resolver that is measured.
    addresses: Mutex<HashMap<Authority, SocketAddr>>,
}

/// The connections of one client connection.
pub(crate) struct Upstream {
    dialer: Arc<Dialer>,
    idle: Mutex<HashMap<Origin, Vec<http1::SendRequest<Incoming>>>>,
    shared: Mutex<HashMap<Origin, http2::SendRequest<Incoming>>>,
}

enum Sender {
    Http1(http1::SendRequest<Incoming>),
    Http2(http2::SendRequest<Incoming>),
}

impl Dialer {
    pub(crate) fn new(roots_pem: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(roots_pem)? {
            roots.add(root?)?;
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), addresses: Mutex::default() })
    }

    /// Opens a bare connection.
    pub(crate) async fn dial(&self, origin: &Origin) -> anyhow::Result<TcpStream> {
        let known = locked(&self.addresses).get(&origin.authority).copied();
        let address = match known {
            Some(address) => address,
            None => self.look_up(origin).await?,
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn look_up(&self, origin: &Origin) -> anyhow::Result<SocketAddr> {
        let default = if origin.scheme == Scheme::HTTP { 80 } else { 443 };
        let (host, port) = (origin.authority.host(), origin.authority.port_u16().unwrap_or(default));
        let address = tokio::net::lookup_host((host, port)).await?.next();
        let address = address.with_context(|| format!("{host} has no address"))?;
        locked(&self.addresses).insert(origin.authority.clone(), address);
        Ok(address)
    }
}

impl Upstream {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, idle: Mutex::default(), shared: Mutex::default() }
    }

    /// Sends a request over a connection that is open already, or over a new one.
    pub(crate) async fn send(
        &self,
        origin: &Origin,
        mut request: Request<Incoming>,
    ) -> anyhow::Result<Response<Incoming>> {
        let sender = match self.open_already(origin) {
            Some(sender) => sender,
            None => self.open(origin).await?,
        };
        match sender {
            Sender::Http1(mut sender) => {
                for_http1(origin, &mut request)?;
                let response = sender.send_request(request).await?;
                // Ready again once the body of the answer has been read.
                locked(&self.idle).entry(origin.clone()).or_default().push(sender);
                Ok(response)
            }
            Sender::Http2(mut sender) => {
                for_http2(origin, &mut request)?;
                sender.ready().await?;
                Ok(sender.send_request(request).await?)
            }
        }
    }

    fn open_already(&self, origin: &Origin) -> Option<Sender> {
        if let Some(sender) = locked(&self.shared).get(origin).filter(|sender| !sender.is_closed()) {
            return Some(Sender::Http2(sender.clone()));
        }
        let mut idle = locked(&self.idle);
        let idle = idle.get_mut(origin)?;
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(http1::SendRequest::is_ready)?;
        Some(Sender::Http1(idle.swap_remove(ready)))
    }

    async fn open(&self, origin: &Origin) -> anyhow::Result<Sender> {
        let stream = self.dialer.dial(origin).await?;
        if origin.scheme == Scheme::HTTP {
            return http1_over(TokioIo::new(stream)).await;
        }
        let name = ServerName::try_from(origin.authority.host().to_owned())?;
        let stream = self.dialer.tls.connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return http1_over(TokioIo::new(stream)).await;
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        locked(&self.shared).insert(origin.clone(), sender.clone());
        Ok(Sender::Http2(sender))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn http1_over<I>(stream: TokioIo<I>) -> anyhow::Result<Sender>
where
    TokioIo<I>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

/// The request as an origin gets it over HTTP/1.1: a path, and the host in its field.
fn for_http1(origin: &Origin, request: &mut Request<Incoming>) -> anyhow::Result<()> {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(header::HOST) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(origin.authority.as_str())?);
    }
    Ok(())
}

/// The request as an origin gets it over HTTP/2: the whole URL, and no field for the host.
fn for_http2(origin: &Origin, request: &mut Request<Incoming>) -> anyhow::Result<()> {
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::builder()
        .scheme(origin.scheme.clone())
        .authority(origin.authority.clone())
        .path_and_query(path)
        .build()?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
    Ok(())
}
