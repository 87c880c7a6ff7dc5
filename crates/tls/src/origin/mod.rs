//! Verification of origins: the system's roots and the site's own, what policy overlooks and nothing else, and a reason
//! that a person can read when a certificate does not verify.

mod diagnose;
mod failure;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use wardgate_core::{CertificateException, TlsProblem};

use self::diagnose::Presented;
pub use self::failure::TlsFailure;
use self::verify::{RootLimits, Trust, Verifier};
use crate::authority::Authorities;

/// Sessions remembered towards origins: a resumed handshake costs half of a full one.
const REMEMBERED_SESSIONS: usize = 8192;

/// Why extra roots could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read or holds no PEM certificate.
    #[error("[upstream] extra_roots: {path}: {reason}; give a PEM file with at least one CA certificate")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS could not be configured.
    #[error("cannot configure TLS towards origins: {0}")]
    Tls(String),
}

/// The protocols that are offered to an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// HTTP/2 and HTTP/1.1.
    Any,
    /// HTTP/1.1 only: for upgrades such as WebSocket.
    Http1,
}

/// TLS towards origins: TLS 1.2 and 1.3, the post-quantum hybrid first, every certificate verified.
pub struct OriginTls {
    trust: Arc<ArcSwap<Trust>>,
    verifier: Arc<Verifier>,
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl OriginTls {
    /// Trusts the system's roots (the compiled-in Mozilla set where the system has none) and those in `extra_roots`,
    /// and never what leads to one of our `own` authorities, whoever else may trust it.
    pub fn new(extra_roots: &[PathBuf], own: &Authorities) -> Result<Self, RootsError> {
        let provider = crate::provider();
        let algorithms = provider.signature_verification_algorithms;
        let trust = Arc::new(ArcSwap::from_pointee(trust(extra_roots, own)?));
        let verifier = Arc::new(Verifier::new(Arc::clone(&trust), algorithms, None));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| tls(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
        let mut http1 = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http1.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS / 8);
        Ok(Self { trust, verifier, any: Arc::new(config), http1: Arc::new(http1) })
    }

    /// Reads everything anew. Connections that are open stay open; new ones, and sessions resumed, are held to what
    /// is there now.
    pub fn reload(&self, extra_roots: &[PathBuf], own: &Authorities) -> Result<(), RootsError> {
        self.trust.store(Arc::new(trust(extra_roots, own)?));
        Ok(())
    }

    /// One handshake, under the exception that policy makes for this origin, if any.
    pub fn handshake(&self, offer: Offer, exception: Option<&Arc<CertificateException>>) -> Handshake {
        let config = match offer {
            Offer::Any => &self.any,
            Offer::Http1 => &self.http1,
        };
        let Some(exception) = exception else {
            return Handshake { config: Arc::clone(config), verifier: Arc::clone(&self.verifier) };
        };
        // A verifier of its own, which remembers what it overlooked, and no session that another handshake could resume.
        let (trust, algorithms) = (Arc::clone(&self.trust), self.verifier.algorithms);
        let verifier = Arc::new(Verifier::new(trust, algorithms, Some(Arc::clone(exception))));
        let mut config = ClientConfig::clone(config);
        config.dangerous().set_certificate_verifier(Arc::clone(&verifier) as _);
        config.resumption = Resumption::disabled();
        Handshake { config: Arc::new(config), verifier }
    }
}

/// One handshake with an origin.
pub struct Handshake {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
}

impl Handshake {
    /// What to connect with.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Asked once the handshake is done; says what was wrong and was overlooked.
    ///
    /// A resumed session shows no certificate. The one that it began with is verified again: it may have expired or
    /// been revoked since, and a root may be trusted no longer.
    pub fn finish(
        &self,
        connection: &ClientConnection,
        name: &ServerName<'_>,
    ) -> Result<Vec<TlsProblem>, TlsFailure> {
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            let [end_entity, intermediates @ ..] = connection.peer_certificates().unwrap_or_default() else {
                return Err(TlsFailure::new(TlsProblem::Handshake, "the session knows no certificate"));
            };
            let now = UnixTime::now();
            self.verifier.verify(&Presented { end_entity, intermediates, name, now })?;
        }
        Ok(self.verifier.overlooked.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn tls(error: &dyn fmt::Display) -> RootsError {
    RootsError::Tls(error.to_string())
}

fn trust(extra_roots: &[PathBuf], own: &Authorities) -> Result<Trust, RootsError> {
    let mut roots = Roots::of_the_system();
    for path in extra_roots {
        roots.add_file(path)?;
    }
    let Roots { mut anchors, limits } = roots;
    let own: Vec<_> = own
        .certificates()
        .map(|one| webpki::anchor_from_trusted_cert(&one.der).map(|anchor| anchor.to_owned()))
        .collect::<Result<_, _>>()
        .map_err(|error| tls(&error))?;
    anchors.extend(own.iter().cloned());
    Ok(Trust { anchors, limits, own, algorithms: crate::provider().signature_verification_algorithms })
}

/// The roots that are trusted, and what their certificates say beside.
#[derive(Default)]
struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    limits: Vec<RootLimits>,
}

impl Roots {
    /// The system's, or the compiled-in Mozilla set where the system has none.
    fn of_the_system() -> Self {
        let mut roots = Self::default();
        let mut ignored = 0;
        for certificate in rustls_native_certs::load_native_certs().certs {
            ignored += usize::from(roots.add(&certificate).is_err());
        }
        tracing::debug!(added = roots.anchors.len(), ignored, "system roots loaded");
        if roots.anchors.is_empty() {
            tracing::warn!("the system has no root certificates: using the compiled-in Mozilla set");
            for anchor in webpki_roots::TLS_SERVER_ROOTS {
                roots.anchors.push(anchor.clone());
                roots.limits.push(RootLimits::NONE);
            }
        }
        roots
    }

    fn add_file(&mut self, path: &Path) -> Result<(), RootsError> {
        let failed = |reason: String| RootsError::File { path: path.to_owned(), reason };
        let mut found = false;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))? {
            self.add(&certificate.map_err(|e| failed(e.to_string()))?).map_err(|e| failed(e.to_string()))?;
            found = true;
        }
        if found { Ok(()) } else { Err(failed("it holds no certificate".to_owned())) }
    }

    fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        let anchor = webpki::anchor_from_trusted_cert(certificate)?.to_owned();
        self.limits.push(diagnose::root_limits(certificate).ok_or(webpki::Error::BadDer)?);
        self.anchors.push(anchor);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::AuthoritySettings;

    #[test]
    fn missing_roots_say_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let settings = AuthoritySettings { dir: dir.path().to_owned(), ..AuthoritySettings::default() };
        let own = Authorities::open_or_create(&settings).unwrap();
        let Err(error) = OriginTls::new(&["/nonexistent/root.pem".into()], &own) else {
            panic!("no such file")
        };
        assert!(error.to_string().contains("extra_roots: /nonexistent/root.pem"), "{error}");
    }
}
