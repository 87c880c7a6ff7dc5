//! What can be wrong with an origin's TLS, in one word for the event and for policy and one sentence for the person,
//! and the written exceptions that policy may make.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::RuleRef;

/// What is wrong with an origin's certificate or with the TLS that it offers.
///
/// The list is that of the studies of interception products (de Carné de Carnavalet and Mannan, NDSS 2016; Durumeric
/// et al., NDSS 2017; Waked et al., ASIACCS 2018) with RFC 5280 beside it: what a browser would have refused must not
/// reach the browser under a certificate of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsProblem {
    /// A certificate of the chain has expired (RFC 5280, section 4.1.2.5).
    Expired,
    /// A certificate of the chain is not valid yet.
    NotYetValid,
    /// The certificate is for another name (RFC 9525).
    WrongName,
    /// The certificate names the site in its common name alone, which nobody reads any more (RFC 9525, section 2).
    CommonNameOnly,
    /// The certificate is signed by itself.
    SelfSigned,
    /// The chain ends with an issuer that is not trusted here.
    UntrustedRoot,
    /// The site does not send the certificates between its own and a root.
    IncompleteChain,
    /// Key usage or extended key usage forbid what the certificate is used for (RFC 5280, 4.2.1.3 and 4.2.1.12).
    WrongUsage,
    /// A certificate that is none of an authority has signed another one (RFC 5280, 4.2.1.9).
    NotAnAuthority,
    /// An authority below another one that allows none, or a chain of absurd length (RFC 5280, 4.2.1.9).
    PathLength,
    /// An authority has signed for a name that it may not sign for (RFC 5280, 4.2.1.10).
    NameConstraints,
    /// A signature of the chain is made with SHA-1, MD5 or worse.
    WeakSignature,
    /// A key of the chain is RSA with fewer than 2048 bits.
    WeakKey,
    /// An extension that must be understood is not (RFC 5280, section 4.2).
    CriticalExtension,
    /// A signature does not match: of a certificate, or of the handshake.
    BadSignature,
    /// The certificate cannot be read, or is written in a way that is not supported.
    Malformed,
    /// The certificate was revoked.
    Revoked,
    /// Whether the certificate was revoked cannot be said, where it must be known.
    RevocationUnknown,
    /// The chain leads through this filter's own authority: somebody uses what was minted here, or the request goes
    /// in circles.
    OwnAuthority,
    /// The site speaks TLS 1.1 or older (RFC 8996).
    OldProtocol,
    /// The site offers no cipher suite or group of today's.
    NoCommonCipher,
    /// The site does not speak TLS there at all.
    NotTls,
    /// The handshake failed in another way.
    Handshake,
}

/// What policy may say about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excusable {
    /// It may be overlooked.
    Yes,
    /// It may be overlooked of one certificate, which the exception names by its fingerprint: nothing else would tell
    /// the site from anybody who answers in its place.
    Pinned,
    /// Never.
    Never,
}

impl TlsProblem {
    /// Every problem.
    pub const ALL: [Self; 23] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongName,
        Self::CommonNameOnly,
        Self::SelfSigned,
        Self::UntrustedRoot,
        Self::IncompleteChain,
        Self::WrongUsage,
        Self::NotAnAuthority,
        Self::PathLength,
        Self::NameConstraints,
        Self::WeakSignature,
        Self::WeakKey,
        Self::CriticalExtension,
        Self::BadSignature,
        Self::Malformed,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::OwnAuthority,
        Self::OldProtocol,
        Self::NoCommonCipher,
        Self::NotTls,
        Self::Handshake,
    ];

    /// The name used in policy files and the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongName => "wrong-name",
            Self::CommonNameOnly => "common-name-only",
            Self::SelfSigned => "self-signed",
            Self::UntrustedRoot => "untrusted-root",
            Self::IncompleteChain => "incomplete-chain",
            Self::WrongUsage => "wrong-usage",
            Self::NotAnAuthority => "not-an-authority",
            Self::PathLength => "path-length",
            Self::NameConstraints => "name-constraints",
            Self::WeakSignature => "weak-signature",
            Self::WeakKey => "weak-key",
            Self::CriticalExtension => "critical-extension",
            Self::BadSignature => "bad-signature",
            Self::Malformed => "malformed-certificate",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::OwnAuthority => "own-authority",
            Self::OldProtocol => "old-protocol",
            Self::NoCommonCipher => "no-common-cipher",
            Self::NotTls => "not-tls",
            Self::Handshake => "handshake-failed",
        }
    }

    /// The same in words, for a technician.
    pub fn words(self) -> &'static str {
        match self {
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::WrongName => "certificate is for another name",
            Self::CommonNameOnly => "certificate names the host in its common name only",
            Self::SelfSigned => "certificate is self-signed",
            Self::UntrustedRoot => "certificate chain ends with an untrusted issuer",
            Self::IncompleteChain => "certificate chain is incomplete",
            Self::WrongUsage => "certificate is not meant for this use",
            Self::NotAnAuthority => "certificate was signed by one that is no authority",
            Self::PathLength => "certificate chain is longer than an authority in it allows",
            Self::NameConstraints => "certificate is for a name that its issuer may not sign for",
            Self::WeakSignature => "certificate chain has a broken signature algorithm",
            Self::WeakKey => "certificate chain has a weak key",
            Self::CriticalExtension => "certificate has a critical extension that is not understood",
            Self::BadSignature => "certificate or handshake signature does not match",
            Self::Malformed => "certificate is malformed or unsupported",
            Self::Revoked => "certificate revoked",
            Self::RevocationUnknown => "certificate revocation cannot be checked",
            Self::OwnAuthority => "certificate comes from this filter's own authority",
            Self::OldProtocol => "no TLS version of today",
            Self::NoCommonCipher => "no cipher suite or group of today",
            Self::NotTls => "the answer is not TLS",
            Self::Handshake => "TLS handshake failed",
        }
    }

    /// A sentence for the person who wanted the page.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "The site's security certificate has expired.",
            Self::NotYetValid => "The site's security certificate is not valid yet.",
            Self::WrongName => "The site's security certificate belongs to another site.",
            Self::CommonNameOnly => {
                "The site's security certificate says whose it is only in an old way that is not safe any more."
            }
            Self::SelfSigned => "The site signed its security certificate itself, so nobody vouches for it.",
            Self::UntrustedRoot => {
                "The site's security certificate comes from an issuer that is not trusted here."
            }
            Self::IncompleteChain => {
                "The site does not send all of its security certificates, so it cannot be seen who vouches for it."
            }
            Self::WrongUsage => "The site's security certificate is not meant for a website.",
            Self::NotAnAuthority => {
                "The site's security certificate was signed by somebody who may not sign certificates."
            }
            Self::PathLength => {
                "The site's security certificate comes from an issuer that was not allowed to issue it."
            }
            Self::NameConstraints => {
                "The site's security certificate comes from an issuer that may not issue certificates for this name."
            }
            Self::WeakSignature => {
                "The site's security certificate is signed in a way that can be forged today."
            }
            Self::WeakKey => "The site's security certificate has a key that is too short to be safe.",
            Self::CriticalExtension => {
                "The site's security certificate sets a condition that is not understood here."
            }
            Self::BadSignature => "The signature on the site's security certificate does not match.",
            Self::Malformed => "The site's security certificate is faulty.",
            Self::Revoked => "The site's security certificate was withdrawn by its issuer.",
            Self::RevocationUnknown => {
                "It cannot be checked whether the site's security certificate was withdrawn by its issuer."
            }
            Self::OwnAuthority => {
                "The site shows a security certificate of this network's own filter, which no website has."
            }
            Self::OldProtocol => {
                "The site offers only an old kind of secure connection that is not safe any more."
            }
            Self::NoCommonCipher => "The site offers no secure connection that meets today's standards.",
            Self::NotTls => "The site does not offer a secure connection at this address.",
            Self::Handshake => "The secure connection to the site could not be set up.",
        }
    }

    /// Whether it is about the certificate, and not about the connection alone.
    pub fn is_about_certificate(self) -> bool {
        !matches!(self, Self::OldProtocol | Self::NoCommonCipher | Self::NotTls | Self::Handshake)
    }

    /// What policy may say about it. A signature that does not match, a key that anybody can break, a revocation and
    /// our own authority are never overlooked.
    pub fn excusable(self) -> Excusable {
        match self {
            Self::Expired
            | Self::NotYetValid
            | Self::WrongName
            | Self::CommonNameOnly
            | Self::WrongUsage
            | Self::RevocationUnknown => Excusable::Yes,
            Self::SelfSigned
            | Self::UntrustedRoot
            | Self::IncompleteChain
            | Self::NotAnAuthority
            | Self::PathLength
            | Self::NameConstraints
            | Self::WeakSignature => Excusable::Pinned,
            Self::WeakKey
            | Self::CriticalExtension
            | Self::BadSignature
            | Self::Malformed
            | Self::Revoked
            | Self::OwnAuthority
            | Self::OldProtocol
            | Self::NoCommonCipher
            | Self::NotTls
            | Self::Handshake => Excusable::Never,
        }
    }

    /// The problem of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|problem| problem.as_str() == name)
    }
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// SHA-256 over a certificate in DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    /// `sha256:` and lower-case hex, as policy files write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A written, dated exception for the certificate of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateException {
    /// The canonical host, without its subdomains.
    pub host: Box<str>,
    /// What is overlooked, sorted.
    pub accept: Vec<TlsProblem>,
    /// The one certificate that it is good for; where absent, any that its issuer's chain vouches for.
    pub fingerprint: Option<Fingerprint>,
    /// Why, as the policy says it.
    pub reason: Arc<str>,
    /// When it ends.
    pub until: SystemTime,
    /// Where the policy says it.
    pub rule: RuleRef,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_unlike() {
        for (place, problem) in TlsProblem::ALL.into_iter().enumerate() {
            assert_eq!(TlsProblem::named(problem.as_str()), Some(problem), "{place}");
            assert_eq!(problem as usize, place, "ALL is in the order of the declaration");
            assert!(problem.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{problem}");
            assert!(problem.sentence().ends_with('.'), "{problem}");
        }
        assert_eq!(TlsProblem::named("expried"), None);
    }
}
