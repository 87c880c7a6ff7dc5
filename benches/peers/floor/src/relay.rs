//! What happens to a request: relayed, tunnelled, or answered inside an opened tunnel.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::mint::Minter;
use crate::scan::Phrases;
use crate::upstream::{Dialer, Origin, Upstream};

type Body = Either<Incoming, Full<Bytes>>;

/// A page that is scanned may not be longer than this, as sent.
const MAX_SCANNED: usize = 16 * 1024 * 1024;
/// How many phrases were found in a page, so that the benchmark knows that they were looked for.
const PHRASES: HeaderName = HeaderName::from_static("x-phrases");
/// Fields that are meant for the next hop only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// What is done with the TLS of a CONNECT.
pub(crate) enum Tls {
    Tunnel,
    Intercept,
}

pub(crate) struct Relay {
    pub(crate) tls: Tls,
    pub(crate) minter: Minter,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) phrases: Option<Phrases>,
}

impl Relay {
    /// Serves a client that speaks to the proxy itself.
    pub(crate) async fn serve_plain(self: Arc<Self>, stream: TokioIo<TcpStream>) {
        let upstream = Arc::new(Upstream::new(Arc::clone(&self.dialer)));
        let service = service_fn(move |request| {
            let (relay, upstream) = (Arc::clone(&self), Arc::clone(&upstream));
            async move {
                Ok::<_, Infallible>(match relay.answer(&upstream, request).await {
                    Ok(response) => response,
                    Err(error) => failed(&error),
                })
            }
        });
        // A client that breaks off is nothing to tell of.
        let _ = http1::Builder::new().serve_connection(stream, service).with_upgrades().await;
    }

    async fn answer(
        self: Arc<Self>,
        upstream: &Upstream,
        mut request: Request<Incoming>,
    ) -> anyhow::Result<Response<Body>> {
        let authority = request.uri().authority().context("this is a proxy")?.clone();
        if request.method() != Method::CONNECT {
            return self.relay(upstream, &Origin { scheme: Scheme::HTTP, authority }, request).await;
        }
        let origin = Origin { scheme: Scheme::HTTPS, authority };
        let upgrade = hyper::upgrade::on(&mut request);
        match self.tls {
            Tls::Tunnel => {
                let mut server = self.dialer.dial(&origin).await?;
                tokio::spawn(async move {
                    let mut client = TokioIo::new(upgrade.await?);
                    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
                    anyhow::Ok(())
                });
            }
            Tls::Intercept => {
                tokio::spawn(async move { self.serve_inside(origin, TokioIo::new(upgrade.await?)).await });
            }
        }
        Ok(Response::new(Either::Right(Full::default())))
    }

    /// Serves a client inside a tunnel.
    async fn serve_inside(
        self: Arc<Self>,
        origin: Origin,
        client: TokioIo<hyper::upgrade::Upgraded>,
    ) -> anyhow::Result<()> {
        let acceptor = TlsAcceptor::from(self.minter.server_config(origin.authority.host())?);
        let stream = acceptor.accept(client).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let there = Arc::new((Upstream::new(Arc::clone(&self.dialer)), origin));
        let service = service_fn(move |request| {
            let (relay, there) = (Arc::clone(&self), Arc::clone(&there));
            async move {
                let (upstream, origin) = &*there;
                Ok::<_, Infallible>(match relay.relay(upstream, origin, request).await {
                    Ok(response) => response,
                    Err(error) => failed(&error),
                })
            }
        });
        let stream = TokioIo::new(stream);
        if is_http2 {
            http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await?;
        } else {
            http1::Builder::new().serve_connection(stream, service).await?;
        }
        Ok(())
    }

    async fn relay(
        &self,
        upstream: &Upstream,
        origin: &Origin,
        mut request: Request<Incoming>,
    ) -> anyhow::Result<Response<Body>> {
        strip(request.headers_mut());
        let mut response = upstream.send(origin, request).await?;
        strip(response.headers_mut());
        match &self.phrases {
            Some(phrases) if is_html(response.headers()) => scanned(phrases, response).await,
            _ => Ok(response.map(Either::Left)),
        }
    }
}

/// Reads a whole page, counts its phrases and passes it on as it was.
async fn scanned(phrases: &Phrases, response: Response<Incoming>) -> anyhow::Result<Response<Body>> {
    let (mut head, body) = response.into_parts();
    let body = Limited::new(body, MAX_SCANNED).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    let gzip = head.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    head.headers.insert(PHRASES, HeaderValue::from(phrases.count(&body, gzip)?));
    Ok(Response::from_parts(head, Either::Right(Full::new(body))))
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn failed(error: &anyhow::Error) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(format!("{error:#}\n")))));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
