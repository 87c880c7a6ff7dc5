//! The verifier of origins: webpki for the chain, with the questions that webpki does not ask, and the exceptions that
//! policy makes.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use wardgate_core::{CertificateException, Excusable, Fingerprint, TlsProblem};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

use super::diagnose::{self, Presented};
use super::failure::TlsFailure;
use super::remembered;
use super::revocation::{self, Revocations, Staple};

/// Problems that are overlooked one after the other before it is called a circle.
const MAX_OVERLOOKED: usize = 8;

/// Whom we trust, and how we check.
pub(super) struct Trust {
    /// The roots, and our own authorities behind them: a chain that leads there must be recognised.
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// What else the roots' certificates say, in the same order.
    pub(super) limits: Vec<RootLimits>,
    /// Our own authorities.
    pub(super) own: Vec<TrustAnchor<'static>>,
    pub(super) revocations: Revocations,
}

/// Who signed a certificate, and whose names stand on the path above it.
struct Signed {
    issuer: revocation::Issuer,
    path_issuers: Vec<Vec<u8>>,
}

impl Trust {
    /// Verifies what a site presented. What was wrong and is overlooked comes back; anything else is a failure.
    pub(super) fn verify(
        &self,
        presented: &Presented<'_>,
        exception: Option<&CertificateException>,
    ) -> Result<Vec<TlsProblem>, TlsFailure> {
        let mut mercy = Mercy::new(exception, presented.end_entity);
        let certificate = EndEntityCert::try_from(presented.end_entity)
            .map_err(|error| diagnose::chain(&error, presented, &self.anchors))?;
        let signed = self.verify_chain(&certificate, presented, &mut mercy)?;
        if certificate.verify_is_valid_for_subject_name(presented.name).is_err() {
            mercy.overlook(diagnose::name(presented))?;
        }
        let Some(parsed) = diagnose::parsed(presented.end_entity) else {
            return Err(TlsFailure::new(TlsProblem::Malformed, "it cannot be read"));
        };
        if let Some(failure) = diagnose::end_entity(&parsed) {
            mercy.overlook(failure)?;
        }
        if let Some(Signed { issuer, path_issuers }) = signed {
            let certificate = revocation::Certificate {
                parsed: &parsed,
                serial: certificate.serial(),
                issuer,
                path_issuers: &path_issuers,
                algorithms: remembered::algorithms(),
                now: presented.now,
            };
            self.revocations
                .check(&certificate, presented.staple)
                .or_else(|failure| mercy.overlook(failure))?;
        }
        Ok(mercy.overlooked)
    }

    /// Who signed the certificate, once the path is verified; nothing where that does not matter.
    fn verify_chain(
        &self,
        certificate: &EndEntityCert<'_>,
        presented: &Presented<'_>,
        mercy: &mut Mercy<'_>,
    ) -> Result<Option<Signed>, TlsFailure> {
        let (mut at, mut usage) = (presented.now, Usage::Server);
        let lists = self.revocations.lists();
        let mut lists = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            // Only private authorities have lists here, and what is too old is looked at afterwards.
            options.with_status_policy(UnknownStatusPolicy::Allow).build()
        });
        for _ in 0..MAX_OVERLOOKED {
            let objection = RefCell::new(None);
            let verified = certificate.verify_for_usage(
                remembered::algorithms(),
                &self.anchors,
                presented.intermediates,
                at,
                usage,
                lists,
                Some(&|path| {
                    self.object_to(path, presented.now, mercy).map_err(|failure| {
                        *objection.borrow_mut() = Some(failure);
                        webpki::Error::CertDistrusted
                    })
                }),
            );
            let error = match verified {
                Ok(path) => {
                    self.root_in_time(&path, presented.now).or_else(|late| mercy.overlook(late))?;
                    let path_issuers = revocation::issuers(certificate, &path);
                    return Ok(Some(Signed { issuer: revocation::Issuer::of(&path), path_issuers }));
                }
                Err(error) => error,
            };
            let failure = match (&error, objection.into_inner()) {
                (webpki::Error::CertDistrusted, Some(failure)) => failure,
                _ => diagnose::chain(&error, presented, &self.anchors),
            };
            mercy.overlook(failure.clone())?;
            match error {
                webpki::Error::CertExpired { not_after, .. } => at = not_after,
                webpki::Error::CertNotValidYet { not_before, .. } => at = not_before,
                webpki::Error::RequiredEkuNotFoundContext(_) | webpki::Error::EmptyEkuExtension => {
                    usage = Usage::Any;
                }
                _ if failure.problem == TlsProblem::RevocationUnknown => lists = None,
                // The certificate is the very one that the exception names: who signed it does not matter.
                _ if mercy.pinned => return Ok(None),
                _ => return Err(failure.and("an exception for this must name the certificate's fingerprint")),
            }
        }
        Err(TlsFailure::new(TlsProblem::Malformed, "its times contradict each other"))
    }

    /// Objects to a path that webpki finds sound.
    fn object_to(&self, path: &VerifiedPath<'_>, now: UnixTime, mercy: &Mercy<'_>) -> Result<(), TlsFailure> {
        // By the key alone: another site's Wardgate may bear the same name. Keys come with their SEQUENCE or without.
        let ours = |key: &[u8]| self.own.iter().any(|own| key.ends_with(&own.subject_public_key_info));
        let mut own = ours(&path.anchor().subject_public_key_info);
        for issuer in path.intermediate_certificates() {
            own |= ours(&issuer.subject_public_key_info());
            diagnose::may_issue(&issuer.der())?;
        }
        if own {
            return Err(TlsFailure::new(
                TlsProblem::OwnAuthority,
                "the chain leads through the authority that signs for this proxy's clients",
            ));
        }
        if let Some(forbidden) = self.limits_of(path).and_then(|limits| limits.forbidden) {
            return Err(TlsFailure::new(TlsProblem::NotAnAuthority, format!("the root: {forbidden}")));
        }
        // Another path may lead to a root that is good still; what is accepted is noted once there is none.
        self.root_in_time(path, now).or_else(|late| mercy.would_overlook(&late).then_some(()).ok_or(late))
    }

    /// Whether the root of a path is valid at this time. RFC 5280 leaves it open and webpki does not ask; browsers do.
    fn root_in_time(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), TlsFailure> {
        let Some(limits) = self.limits_of(path) else { return Ok(()) };
        if now > limits.not_after {
            let detail = format!("the root ended on {}", diagnose::date(limits.not_after));
            return Err(TlsFailure::new(TlsProblem::Expired, detail));
        }
        if now < limits.not_before {
            let detail = format!("the root is valid from {}", diagnose::date(limits.not_before));
            return Err(TlsFailure::new(TlsProblem::NotYetValid, detail));
        }
        Ok(())
    }

    fn limits_of(&self, path: &VerifiedPath<'_>) -> Option<&RootLimits> {
        let place = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()))?;
        self.limits.get(place)
    }
}

/// What a root's certificate says that a trust anchor does not hold.
pub(super) struct RootLimits {
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    /// Why it may not sign for websites, if it may not.
    pub(super) forbidden: Option<&'static str>,
}

impl RootLimits {
    /// A root of which nothing but name and key is known.
    pub(super) const NONE: Self = Self {
        not_before: UnixTime::since_unix_epoch(Duration::ZERO),
        not_after: UnixTime::since_unix_epoch(Duration::MAX),
        forbidden: None,
    };
}

/// What a certificate must be for.
#[derive(Clone, Copy)]
enum Usage {
    Server,
    /// Anything: policy overlooks what it says.
    Any,
}

impl ExtendedKeyUsageValidator for Usage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        match self {
            Self::Server => KeyUsage::server_auth().validate(purposes),
            Self::Any => Ok(()),
        }
    }
}

/// What an exception allows for the certificate at hand, and what it was needed for.
struct Mercy<'a> {
    exception: Option<&'a CertificateException>,
    /// Whether this is the very certificate that the exception names.
    pinned: bool,
    presented: &'a CertificateDer<'a>,
    overlooked: Vec<TlsProblem>,
}

impl<'a> Mercy<'a> {
    fn new(exception: Option<&'a CertificateException>, presented: &'a CertificateDer<'a>) -> Self {
        let pin = exception.and_then(|exception| exception.fingerprint);
        let pinned = pin.is_some_and(|pin| pin == fingerprint(presented));
        Self { exception, pinned, presented, overlooked: Vec::new() }
    }

    /// Whether the exception is for this problem of this certificate.
    fn would_overlook(&self, failure: &TlsFailure) -> bool {
        let excusable = match failure.problem.excusable() {
            Excusable::Yes => true,
            Excusable::Pinned => self.pinned,
            Excusable::Never => false,
        };
        excusable
            && self.exception.is_some_and(|exception| {
                (exception.fingerprint.is_none() || self.pinned)
                    && exception.accept.contains(&failure.problem)
            })
    }

    /// Overlooks a problem, or hands it back as the failure that it is.
    fn overlook(&mut self, failure: TlsFailure) -> Result<(), TlsFailure> {
        let problem = failure.problem;
        if self.would_overlook(&failure) {
            if !self.overlooked.contains(&problem) {
                self.overlooked.push(problem);
            }
            return Ok(());
        }
        match self.exception {
            Some(exception) if exception.fingerprint.is_some() && !self.pinned => {
                let at = &exception.rule;
                Err(failure.and(&format!(
                    "the exception at {}:{} is for another certificate; this one is {}",
                    at.file,
                    at.line,
                    fingerprint(self.presented)
                )))
            }
            _ if problem.excusable() == Excusable::Pinned => {
                Err(failure.and(&format!("its fingerprint is {}", fingerprint(self.presented))))
            }
            _ => Err(failure),
        }
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(Sha256::digest(certificate).into())
}

/// What rustls asks. One for all connections, or one for a single connection that an exception is made for.
pub(super) struct Verifier {
    pub(super) trust: Arc<ArcSwap<Trust>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) exception: Option<Arc<CertificateException>>,
    /// What was overlooked, of the one connection.
    pub(super) overlooked: Mutex<Vec<TlsProblem>>,
}

impl Verifier {
    pub(super) fn new(
        trust: Arc<ArcSwap<Trust>>,
        algorithms: WebPkiSupportedAlgorithms,
        exception: Option<Arc<CertificateException>>,
    ) -> Self {
        Self { trust, algorithms, exception, overlooked: Mutex::default() }
    }

    pub(super) fn verify(&self, presented: &Presented<'_>) -> Result<(), TlsFailure> {
        let overlooked = self.trust.load().verify(presented, self.exception.as_deref())?;
        if self.exception.is_some() {
            *self.overlooked.lock().unwrap_or_else(PoisonError::into_inner) = overlooked;
        }
        Ok(())
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("exception", &self.exception).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let staple = Staple::Shown(ocsp_response);
        self.verify(&Presented { end_entity, intermediates, name, staple, now })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
