//! Verification of origins: the system's roots and the site's own, no exceptions, and a reason that a person can
//! read when a certificate does not verify.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

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

/// TLS client configurations towards origins: TLS 1.2 and 1.3, every certificate verified.
#[derive(Clone)]
pub struct OriginTls {
    /// Offers HTTP/2 and HTTP/1.1.
    pub any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only: for upgrades such as WebSocket.
    pub http1: Arc<ClientConfig>,
}

impl OriginTls {
    /// Trusts the system's roots (the compiled-in Mozilla set where the system has none) and those in `extra_roots`.
    pub fn new(extra_roots: &[PathBuf]) -> Result<Self, RootsError> {
        let provider = crate::provider();
        let tls = |error: &dyn fmt::Display| RootsError::Tls(error.to_string());
        let roots = Arc::new(trusted_roots(extra_roots)?);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|e| tls(&e))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| tls(&e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { inner }))
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS);
        let mut http1 = config.clone();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http1.resumption = Resumption::in_memory_sessions(REMEMBERED_SESSIONS / 8);
        Ok(Self { any: Arc::new(config), http1: Arc::new(http1) })
    }
}

fn trusted_roots(extra_roots: &[PathBuf]) -> Result<RootCertStore, RootsError> {
    let mut store = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, ignored) = store.add_parsable_certificates(native.certs);
    tracing::debug!(added, ignored, "system roots loaded");
    if store.is_empty() {
        tracing::warn!("the system has no root certificates: using the compiled-in Mozilla set");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for path in extra_roots {
        add_roots(&mut store, path)?;
    }
    Ok(store)
}

fn add_roots(store: &mut RootCertStore, path: &Path) -> Result<(), RootsError> {
    let failed = |reason: String| RootsError::File { path: path.to_owned(), reason };
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| failed(e.to_string()))? {
        let certificate = certificate.map_err(|e| failed(e.to_string()))?;
        store.add(certificate).map_err(|e| failed(e.to_string()))?;
        found = true;
    }
    if found { Ok(()) } else { Err(failed("it holds no certificate".to_owned())) }
}

/// The standard verifier, with one more distinction for the error page: a self-signed certificate is told apart from
/// an unknown issuer.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
}

#[derive(Debug)]
struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificate is self-signed")
    }
}

impl std::error::Error for SelfSigned {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) if is_self_issued(end_entity) => {
                Err(CertificateError::Other(OtherError(Arc::new(SelfSigned))).into())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether issuer and subject are the same: only asked once verification has failed, to word the page.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, parsed)| parsed.subject().as_raw() == parsed.issuer().as_raw())
}

/// What is wrong with an origin's TLS, in the words that its error page uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is signed by itself.
    SelfSigned,
    /// The certificate's issuer is not trusted, or an intermediate certificate is missing.
    UnknownIssuer,
    /// The certificate was revoked.
    Revoked,
    /// The certificate is not meant for this use, is malformed or badly signed.
    Unsuitable,
    /// No protocol version or cipher in common, or the handshake broke off.
    Handshake,
}

impl Problem {
    /// One word for the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::WrongName => "certificate is for another name",
            Self::SelfSigned => "certificate is self-signed",
            Self::UnknownIssuer => "certificate issuer unknown",
            Self::Revoked => "certificate revoked",
            Self::Unsuitable => "certificate unsuitable",
            Self::Handshake => "TLS handshake failed",
        }
    }

    /// A sentence for the person who wanted the page.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "The site's security certificate has expired.",
            Self::NotYetValid => "The site's security certificate is not valid yet.",
            Self::WrongName => "The site's security certificate belongs to another site.",
            Self::SelfSigned => "The site signed its security certificate itself, so nobody vouches for it.",
            Self::UnknownIssuer => {
                "The site's security certificate comes from an issuer that is not trusted here, or the site does \
                 not send the certificates in between."
            }
            Self::Revoked => "The site's security certificate was withdrawn by its issuer.",
            Self::Unsuitable => "The site's security certificate is faulty or not meant for a website.",
            Self::Handshake => "The site offers no secure connection that meets today's standards.",
        }
    }
}

/// Reads the problem out of a TLS error.
pub fn problem(error: &Error) -> Problem {
    let certificate = match error {
        Error::InvalidCertificate(certificate) => certificate,
        Error::AlertReceived(AlertDescription::CertificateExpired) => return Problem::Expired,
        _ => return Problem::Handshake,
    };
    match certificate {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Problem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Problem::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Problem::WrongName
        }
        CertificateError::UnknownIssuer => Problem::UnknownIssuer,
        CertificateError::Revoked => Problem::Revoked,
        CertificateError::Other(OtherError(inner)) if inner.is::<SelfSigned>() => Problem::SelfSigned,
        _ => Problem::Unsuitable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_roots_say_what_to_do() {
        let Err(error) = OriginTls::new(&["/nonexistent/root.pem".into()]) else { panic!("no such file") };
        assert!(error.to_string().contains("extra_roots: /nonexistent/root.pem"), "{error}");
    }

    #[test]
    fn problems_by_error() {
        for (error, expected) in [
            (CertificateError::Expired, Problem::Expired),
            (CertificateError::NotValidYet, Problem::NotYetValid),
            (CertificateError::NotValidForName, Problem::WrongName),
            (CertificateError::UnknownIssuer, Problem::UnknownIssuer),
            (CertificateError::Other(OtherError(Arc::new(SelfSigned))), Problem::SelfSigned),
            (CertificateError::BadEncoding, Problem::Unsuitable),
        ] {
            assert_eq!(problem(&Error::InvalidCertificate(error)), expected);
        }
        assert_eq!(problem(&Error::NoCertificatesPresented), Problem::Handshake);
    }
}
