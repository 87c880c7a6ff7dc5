//! Answers the client's TLS handshake in the origin's place and serves the requests inside the tunnel.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;
use wardgate_core::{EventGuard, Host, Outcome};
use wardgate_tls::{MintError, in_client_order};

use crate::connection::{Ends, Leg, Tunnel, serve_http1, serve_http2};
use crate::shared::Shared;
use crate::stream::{Client, Prefixed};

/// A client has this long for the handshake, its ClientHello being there, and the wait for its turn included.
const HANDSHAKE_TIME: Duration = Duration::from_secs(20);

/// Whose order of cipher suites counts.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// Ours: what costs least.
    Ours,
    /// The client's: its processor has no instructions for AES.
    Theirs,
}

/// Serves an intercepted tunnel to its end. The CONNECT's event leaves once the client has accepted our certificate,
/// or has not.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    ends: Ends,
    tunnel: Tunnel,
    mut event: EventGuard,
    client: Prefixed<Client>,
    order: Order,
) {
    let host = match tunnel.target.host() {
        Host::Name(name) => name.to_string(),
        Host::Address(address) => address.to_string(),
    };
    let accepting = async {
        let minted = shared.parts.minter.server_config(&host)?;
        let config = match order {
            Order::Ours => minted,
            Order::Theirs => in_client_order(&minted),
        };
        Ok::<_, MintError>(TlsAcceptor::from(config).accept(client).await)
    };
    let accepting = shared.handshakes.drive(&ends.place.share, accepting);
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HANDSHAKE_TIME, accepting) => accepted,
        () = shared.ending.cancelled() => return event.ended(Outcome::ShutDown, None),
    };
    let stream = match accepted {
        Ok(Ok(Ok(stream))) => stream,
        Ok(Err(error)) => {
            tracing::error!(%error, exchange.id = %event.id, "no certificate could be minted");
            return event.ended(Outcome::Internal, Some(error.to_string().into()));
        }
        Ok(Ok(Err(error))) => {
            event.tls_refused = refused(&error);
            return event.ended(Outcome::ClientClosed, Some(handshake_detail(&error)));
        }
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

/// How the client turned the certificate down, where it did: by an alert about it (RFC 8446, section 6.2), or by
/// leaving once it had seen it.
fn refused(error: &io::Error) -> Option<Cow<'static, str>> {
    use rustls::AlertDescription as Alert;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let name = match tls {
        None => "closed",
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            Alert::CloseNotify | Alert::UserCanceled => "closed",
            Alert::BadCertificate => "bad_certificate",
            Alert::UnsupportedCertificate => "unsupported_certificate",
            Alert::CertificateRevoked => "certificate_revoked",
            Alert::CertificateExpired => "certificate_expired",
            Alert::CertificateUnknown => "certificate_unknown",
            Alert::UnknownCA => "unknown_ca",
            Alert::AccessDenied => "access_denied",
            _ => return None,
        },
        Some(_) => return None,
    };
    Some(Cow::Borrowed(name))
}
