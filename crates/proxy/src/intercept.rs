//! Answers the client's TLS handshake in the origin's place and serves the requests inside the tunnel.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_rustls::TlsAcceptor;
use wardgate_core::{BoxFuture, EventGuard, Host, Outcome, Scheme};
use wardgate_tls::{MAX_HELLO, Peek, peek};

use crate::connection::{Ends, Leg, Tunnel, serve_http1, serve_http2};
use crate::shared::Shared;
use crate::stream::Prefixed;

/// A client has this long for its ClientHello, and again for the rest of the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(20);

/// What a client begins a tunnel with.
enum Opening {
    Tls,
    PlainHttp,
    Other(Cow<'static, str>),
}

/// Serves an intercepted tunnel to its end. The CONNECT's event leaves once it is clear what the tunnel carries.
pub(crate) fn run(
    shared: Arc<Shared>,
    ends: Ends,
    upgrade: OnUpgrade,
    tunnel: Tunnel,
    mut event: EventGuard,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let Ok(client) = upgrade.await else { return };
        let mut client = TokioIo::new(client);
        let opening = tokio::select! {
            opening = tokio::time::timeout(HANDSHAKE_TIME, read_opening(&mut client)) => opening,
            () = shared.ending.cancelled() => return event.ended(Outcome::ShutDown, None),
        };
        match opening {
            Err(_) => event.ended(Outcome::TimedOut, Some("the client began nothing in the tunnel".into())),
            Ok(Err(_)) => event.ended(Outcome::ClientClosed, None),
            Ok(Ok((Opening::Other(what), _))) => event.ended(Outcome::Malformed, Some(what)),
            Ok(Ok((Opening::PlainHttp, read))) => {
                event.ended(Outcome::Completed, Some("plain HTTP in the tunnel".into()));
                drop(event);
                let leg = Leg::Inside(Tunnel { scheme: Scheme::Http, ..tunnel });
                serve_http1(shared, ends, leg, Prefixed::new(read, client)).await;
            }
            Ok(Ok((Opening::Tls, read))) => {
                serve_tls(shared, ends, tunnel, event, Prefixed::new(read, client)).await;
            }
        }
    })
}

async fn serve_tls<I>(shared: Arc<Shared>, ends: Ends, tunnel: Tunnel, mut event: EventGuard, client: I)
where
    I: AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let host = match tunnel.target.host() {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => address.to_string(),
    };
    let config = match shared.parts.minter.server_config(&host) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(%error, exchange.id = %event.id, "no certificate could be minted");
            return event.ended(Outcome::Internal, Some(error.to_string().into()));
        }
    };
    let accepting = TlsAcceptor::from(config).accept(client);
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HANDSHAKE_TIME, accepting) => accepted,
        () = shared.ending.cancelled() => return event.ended(Outcome::ShutDown, None),
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return event.ended(Outcome::ClientClosed, Some(handshake_detail(&error))),
        Err(_) => return event.ended(Outcome::TimedOut, Some("the TLS handshake took too long".into())),
    };
    event.ended(Outcome::Completed, None);
    drop(event);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let leg = Leg::Inside(tunnel);
    if http2 {
        serve_http2(shared, ends, leg, stream).await;
    } else {
        serve_http1(shared, ends, leg, stream).await;
    }
}

/// Why a handshake failed: an alert from the client tells a technician that the CA is missing, or that the
/// application is pinned to its own.
fn handshake_detail(error: &io::Error) -> Cow<'static, str> {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => {
            Cow::Owned(format!("the client does not accept the certificate ({alert:?})"))
        }
        Some(error) => Cow::Owned(format!("the TLS handshake failed: {error}")),
        None => Cow::Borrowed("the client left during the TLS handshake"),
    }
}

/// Reads until it is clear what the client speaks; the bytes read belong to it still.
async fn read_opening(client: &mut (impl AsyncRead + Unpin)) -> io::Result<(Opening, Bytes)> {
    let mut read = BytesMut::with_capacity(4 * 1024);
    loop {
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let opening = match peek(&read) {
            Peek::Hello(_) => Opening::Tls,
            Peek::NotTls if read[0].is_ascii_uppercase() => Opening::PlainHttp,
            Peek::NotTls => Opening::Other("neither TLS nor HTTP in the tunnel".into()),
            Peek::Broken(reason) => {
                Opening::Other(Cow::Owned(format!("the ClientHello is malformed: {reason}")))
            }
            Peek::Partial if read.len() > MAX_HELLO => Opening::Other("the ClientHello is too large".into()),
            Peek::Partial => continue,
        };
        return Ok((opening, read.freeze()));
    }
}
