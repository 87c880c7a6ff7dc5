//! Verification of origins: the system's roots and the site's own, what policy overlooks and nothing else, and a reason
//! that a person can read when a certificate does not verify.

mod diagnose;
mod failure;
mod remembered;
mod revocation;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use wardgate_core::{CertificateException, TlsProblem};

use self::diagnose::Presented;
pub use self::failure::TlsFailure;
pub use self::revocation::{RevocationSource, SourceError, SourceKind};
use self::revocation::{Revocations, Staple};
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
    /// A revocation list cannot be used.
    #[error("[upstream] crls: {0}; give a list in PEM or DER")]
    Revocations(#[from] SourceError),
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

/// What is believed of origins.
#[derive(Clone, Debug, Default)]
pub struct OriginSettings {
    /// PEM files of roots that are trusted beside the system's.
    pub extra_roots: Vec<PathBuf>,
    /// Revocation lists of private authorities, in PEM or DER.
    pub crls: Vec<PathBuf>,
    /// Where CRLite's data lie; upki's own place where absent.
    pub crlite_dir: Option<PathBuf>,
}

impl OriginSettings {
    /// When each file was changed last.
    fn changed(&self) -> Vec<Option<SystemTime>> {
        let manifest = revocation::manifest(self.crlite_dir.as_deref());
        let files = self.extra_roots.iter().chain(&self.crls).chain([&manifest]);
        files.map(|file| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()).collect()
    }
}

/// TLS towards origins: TLS 1.2 and 1.3, the post-quantum hybrid first, every certificate verified.
pub struct OriginTls {
    settings: OriginSettings,
    /// When the files were changed that were looked at last.
    seen: Mutex<Vec<Option<SystemTime>>>,
    trust: Arc<ArcSwap<Trust>>,
    verifier: Arc<Verifier>,
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl OriginTls {
    /// Trusts the system's roots (the compiled-in Mozilla set where the system has none) and those that the settings
    /// add, and never what leads to one of our `own` authorities, whoever else may trust it.
    pub fn new(settings: OriginSettings, own: &Authorities) -> Result<Self, RootsError> {
        let seen = Mutex::new(settings.changed());
        let provider = crate::provider();
        let algorithms = provider.signature_verification_algorithms;
        let trust = Arc::new(ArcSwap::from_pointee(trust(&settings, own)?));
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
        Ok(Self { settings, seen, trust, verifier, any: Arc::new(config), http1: Arc::new(http1) })
    }

    /// Reads everything anew. Connections that are open stay open; new ones, and sessions resumed, are held to what
    /// is there now.
    pub fn reload(&self, own: &Authorities) -> Result<(), RootsError> {
        *self.seen() = self.settings.changed();
        self.trust.store(Arc::new(trust(&self.settings, own)?));
        Ok(())
    }

    /// Whether a file was changed since the last reload, or attempt at one.
    pub fn is_out_of_date(&self) -> bool {
        *self.seen() != self.settings.changed()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Option<SystemTime>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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
            let (staple, now) = (Staple::Resumed, UnixTime::now());
            self.verifier.verify(&Presented { end_entity, intermediates, name, staple, now })?;
        }
        Ok(self.verifier.overlooked.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What tells of revocations under these settings.
pub fn revocation_sources(settings: &OriginSettings) -> Result<Vec<RevocationSource>, SourceError> {
    Ok(Revocations::load(&settings.crls, settings.crlite_dir.as_deref())?.sources())
}

fn tls(error: &dyn fmt::Display) -> RootsError {
    RootsError::Tls(error.to_string())
}

fn trust(settings: &OriginSettings, own: &Authorities) -> Result<Trust, RootsError> {
    let mut roots = Roots::of_the_system();
    for path in &settings.extra_roots {
        roots.add_file(path)?;
    }
    let Roots { mut anchors, limits } = roots;
    let own: Vec<_> = own
        .certificates()
        .map(|one| webpki::anchor_from_trusted_cert(&one.der).map(|anchor| anchor.to_owned()))
        .collect::<Result<_, _>>()
        .map_err(|error| tls(&error))?;
    anchors.extend(own.iter().cloned());
    let revocations = Revocations::load(&settings.crls, settings.crlite_dir.as_deref())?;
    Ok(Trust { anchors, limits, own, revocations })
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
        let settings =
            OriginSettings { extra_roots: vec!["/nonexistent/root.pem".into()], ..OriginSettings::default() };
        let Err(error) = OriginTls::new(settings, &own) else { panic!("no such file") };
        assert!(error.to_string().contains("extra_roots: /nonexistent/root.pem"), "{error}");
    }
}
