//! Whether a certificate was withdrawn by its issuer: lists of private authorities, CRLite for public ones, and what a site
//! staples to its handshake. Nobody is asked over the network, so no issuer learns what is read here.

mod crl;
mod crlite;
mod ocsp;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use wardgate_core::TlsProblem;
use webpki::{EndEntityCert, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::Oid;

use self::crl::Lists;
use self::crlite::CrLite;
use super::diagnose::{date, in_sequence};
use super::failure::TlsFailure;

/// Where upki keeps CRLite's data on Linux when it fetches them for all users.
const CRLITE_DIR: &str = "/var/cache/upki/revocation";
/// An expired list goes on counting for so long, with a warning; then its issuer's sites are refused.
const GRACE: Duration = Duration::from_secs(7 * 24 * 3600);
/// CRLite's data are renewed several times a day; older than this they are worth a warning.
const CRLITE_OLD: Duration = Duration::from_secs(10 * 24 * 3600);

/// The file that tells whether CRLite's data were renewed.
pub(super) fn manifest(dir: Option<&Path>) -> PathBuf {
    dir.unwrap_or(Path::new(CRLITE_DIR)).join(crlite::MANIFEST)
}

/// Why a source of revocations cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct SourceError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl SourceError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// What kind of source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A list of one issuer.
    List,
    /// Mozilla's compressed lists of all public issuers.
    CrLite,
}

/// One source of revocations, for those who want to know what is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationSource {
    /// What kind it is.
    pub kind: SourceKind,
    /// The file or directory.
    pub path: PathBuf,
    /// What it covers.
    pub covers: String,
    /// When its contents were made.
    pub made: Option<SystemTime>,
    /// When they should have been replaced.
    pub until: Option<SystemTime>,
}

/// All sources.
#[derive(Default)]
pub(super) struct Revocations {
    lists: Lists,
    crlite: Option<CrLite>,
}

impl Revocations {
    /// Reads the lists, and CRLite's data where there are any. A list that cannot be read is an error: somebody relies
    /// on it. CRLite's data are fetched by another program; what is broken there is said and left out.
    pub(super) fn load(lists: &[PathBuf], crlite_dir: Option<&Path>) -> Result<Self, SourceError> {
        let lists = Lists::load(lists)?;
        let now = UnixTime::now();
        for (path, ended) in lists.expired(now) {
            tracing::warn!(
                file = %path.display(),
                ended = %date(ended),
                "a revocation list has expired: it counts for a week more, then its issuer's sites are refused"
            );
        }
        let dir = crlite_dir.unwrap_or(Path::new(CRLITE_DIR));
        let crlite = match CrLite::load(dir) {
            Ok(None) if crlite_dir.is_some() => {
                tracing::warn!(dir = %dir.display(), "[upstream] crlite_dir holds no data: nothing is checked by it");
                None
            }
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!(%error, "CRLite's data cannot be used: nothing is checked by them");
                None
            }
        };
        if let Some(made) = crlite.as_ref().map(|crlite| crlite.made)
            && made + CRLITE_OLD < SystemTime::now()
        {
            tracing::warn!(dir = %dir.display(), "CRLite's data are old: does `upki fetch` run?");
        }
        Ok(Self { lists, crlite })
    }

    /// What is looked at.
    pub(super) fn sources(&self) -> Vec<RevocationSource> {
        let mut sources = self.lists.sources();
        sources.extend(self.crlite.as_ref().map(CrLite::source));
        sources
    }

    /// The lists, as webpki wants them.
    pub(super) fn lists(&self) -> Vec<&webpki::CertRevocationList<'static>> {
        self.lists.all()
    }

    /// Looks at what the lists alone do not tell: the answer that was stapled, CRLite, and lists that are too old.
    pub(super) fn check(&self, certificate: &Certificate<'_>, staple: Staple<'_>) -> Result<(), TlsFailure> {
        let stapled = match staple {
            Staple::Shown(answer) if !answer.is_empty() => {
                Some(ocsp::read(answer, certificate).unwrap_or(ocsp::Answer::Unusable))
            }
            _ => None,
        };
        if let Some(ocsp::Answer::Revoked) = stapled {
            return Err(TlsFailure::new(
                TlsProblem::Revoked,
                "the site itself brings its issuer's answer (OCSP)",
            ));
        }
        if staple != Staple::Resumed && certificate.must_staple() && stapled != Some(ocsp::Answer::Good) {
            let said = match stapled {
                None => "no answer is stapled",
                Some(_) => "the stapled answer does not say that it is good",
            };
            return Err(TlsFailure::new(
                TlsProblem::RevocationUnknown,
                format!("the certificate demands a stapled answer (RFC 7633), and {said}"),
            ));
        }
        if let Some(crlite) = &self.crlite
            && crlite.has_revoked(certificate)
        {
            return Err(TlsFailure::new(TlsProblem::Revoked, "CRLite"));
        }
        let too_old = self.lists.too_old(certificate.path_issuers, certificate.now);
        too_old.map_or(Ok(()), |(path, ended)| {
            let detail = format!("the list {} ended on {}", path.display(), date(ended));
            Err(TlsFailure::new(TlsProblem::RevocationUnknown, detail))
        })
    }
}

/// What a site brought about its own certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Staple<'a> {
    /// These bytes; none where nothing was brought.
    Shown(&'a [u8]),
    /// The session was resumed: nothing can be brought.
    Resumed,
}

/// A verified certificate, with what its revocation hangs on.
pub(super) struct Certificate<'a> {
    pub(super) parsed: &'a X509Certificate<'a>,
    pub(super) serial: &'a [u8],
    pub(super) issuer: Issuer,
    /// The names of all issuers on the verified path, without their outer SEQUENCE.
    pub(super) path_issuers: &'a [Vec<u8>],
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(super) now: UnixTime,
}

/// Who signed a certificate: name and key, which is all that an anchor has.
pub(super) struct Issuer {
    /// Without its outer SEQUENCE.
    pub(super) name: Vec<u8>,
    /// With its outer SEQUENCE.
    pub(super) key: SubjectPublicKeyInfoDer<'static>,
}

impl Issuer {
    /// Whoever signed the end entity of a verified path.
    pub(super) fn of(path: &VerifiedPath<'_>) -> Self {
        match path.intermediate_certificates().next() {
            Some(issuer) => Self { name: issuer.subject().to_vec(), key: issuer.subject_public_key_info() },
            None => Self {
                name: path.anchor().subject.to_vec(),
                key: in_sequence(&path.anchor().subject_public_key_info).into(),
            },
        }
    }
}

/// The names of all issuers on a verified path, without their outer SEQUENCE.
pub(super) fn issuers(certificate: &EndEntityCert<'_>, path: &VerifiedPath<'_>) -> Vec<Vec<u8>> {
    let above = path.intermediate_certificates().map(|one| one.issuer().to_vec());
    std::iter::once(certificate.issuer().to_vec()).chain(above).collect()
}

impl Certificate<'_> {
    /// Whether the certificate says that it is worth nothing without a stapled answer (RFC 7633: the TLS feature
    /// status_request, 5).
    fn must_staple(&self) -> bool {
        let Ok(feature) = Oid::from(&[1, 3, 6, 1, 5, 5, 7, 1, 24]) else { return false };
        let extension = self.parsed.extensions().iter().find(|one| one.oid == feature);
        extension.is_some_and(|extension| ocsp::demands_status(extension.value))
    }
}
