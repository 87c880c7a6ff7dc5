//! Why an origin's TLS is refused, as it travels from the verifier through rustls to the page and the event.

use std::fmt;
use std::sync::Arc;

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved,
};
use wardgate_core::TlsProblem;

/// The most that is said about one failure, in bytes: names in certificates are as long as their writers like.
const MAX_DETAIL: usize = 800;

/// What is wrong with an origin's TLS, and what a technician should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFailure {
    /// What is wrong.
    pub problem: TlsProblem,
    /// More about it, for a technician; names no person.
    pub detail: String,
}

impl TlsFailure {
    pub(crate) fn new(problem: TlsProblem, detail: impl Into<String>) -> Self {
        Self { problem, detail: bounded(detail.into()) }
    }

    /// Adds a remark for the technician.
    pub(crate) fn and(self, remark: &str) -> Self {
        let detail =
            if self.detail.is_empty() { remark.to_owned() } else { format!("{}; {remark}", self.detail) };
        Self::new(self.problem, detail)
    }

    /// Reads the failure out of an error of the handshake.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner
                .downcast_ref::<Self>()
                .cloned()
                .unwrap_or_else(|| Self::new(TlsProblem::Malformed, inner.to_string())),
            // What the verifier finds comes as `Other`: this is the signature over the handshake itself.
            Error::InvalidCertificate(CertificateError::BadSignature) => Self::new(
                TlsProblem::BadSignature,
                "the site does not hold the key of the certificate that it shows",
            ),
            Error::InvalidCertificate(other) => Self::new(TlsProblem::Malformed, format!("{other:?}")),
            Error::NoCertificatesPresented => {
                Self::new(TlsProblem::Handshake, "the site shows no certificate")
            }
            Error::AlertReceived(alert) => of_alert(*alert),
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::new(TlsProblem::OldProtocol, "TLS 1.2 or 1.3 is needed"),
            Error::PeerIncompatible(reason) => Self::new(TlsProblem::NoCommonCipher, format!("{reason:?}")),
            // What was not offered was picked: an origin that knows nothing better, or somebody in the way.
            Error::PeerMisbehaved(
                reason @ (PeerMisbehaved::SelectedUnofferedCipherSuite
                | PeerMisbehaved::SelectedUnofferedKxGroup
                | PeerMisbehaved::SelectedUnofferedCompression),
            ) => Self::new(TlsProblem::NoCommonCipher, format!("{reason:?}")),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                Self::new(TlsProblem::NotTls, "the first bytes are no TLS record")
            }
            other => Self::new(TlsProblem::Handshake, other.to_string()),
        }
    }
}

/// A server that finds nothing to agree on says so by an alert (RFC 8446, section 6.2).
fn of_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::ProtocolVersion | AlertDescription::InappropriateFallback => {
            TlsFailure::new(TlsProblem::OldProtocol, "the site wants a TLS version older than 1.2")
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            let detail = format!(
                "the site answered with the alert {alert:?}: it wants cipher suites, groups or signatures that are \
                 not offered, or a certificate of the client"
            );
            TlsFailure::new(TlsProblem::NoCommonCipher, detail)
        }
        alert => {
            TlsFailure::new(TlsProblem::Handshake, format!("the site answered with the alert {alert:?}"))
        }
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem.words())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for TlsFailure {}

impl From<TlsFailure> for Error {
    fn from(failure: TlsFailure) -> Self {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(failure))))
    }
}

/// Printable and short enough: what is quoted comes from whoever answered.
fn bounded(text: String) -> String {
    let clean = !text.chars().any(char::is_control);
    if clean && text.len() <= MAX_DETAIL {
        return text;
    }
    let mut kept: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect();
    let mut end = kept.len().min(MAX_DETAIL);
    while !kept.is_char_boundary(end) {
        end -= 1;
    }
    kept.truncate(end);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_way_through_rustls() {
        let failure = TlsFailure::new(TlsProblem::WeakKey, "RSA with 1024 bits");
        assert_eq!(TlsFailure::of(&Error::from(failure.clone())), failure);
        assert_eq!(failure.to_string(), "certificate chain has a weak key: RSA with 1024 bits");
    }

    #[test]
    fn problems_by_error() {
        for (error, expected) in [
            (Error::AlertReceived(AlertDescription::ProtocolVersion), TlsProblem::OldProtocol),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), TlsProblem::NoCommonCipher),
            (Error::AlertReceived(AlertDescription::UnrecognisedName), TlsProblem::Handshake),
            (
                Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                TlsProblem::OldProtocol,
            ),
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), TlsProblem::NotTls),
            (CertificateError::BadSignature.into(), TlsProblem::BadSignature),
            (Error::NoCertificatesPresented, TlsProblem::Handshake),
            (Error::DecryptError, TlsProblem::Handshake),
        ] {
            assert_eq!(TlsFailure::of(&error).problem, expected, "{error:?}");
        }
    }

    #[test]
    fn what_is_quoted_is_short_and_printable() {
        let failure = TlsFailure::new(TlsProblem::WrongName, format!("a\r\nb\u{1b}{}", "é".repeat(2000)));
        assert!(failure.detail.len() <= MAX_DETAIL);
        assert!(failure.detail.starts_with("a  b é"), "{}", failure.detail);
    }
}
