//! The answer of an issuer that a site staples to its handshake (RFC 6960, RFC 6066 section 8): read strictly, believed
//! only where the issuer signed it, or a responder that the issuer named.

use std::time::Duration;

use rustls_pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};
use x509_parser::asn1_rs::{Any, Class, FromDer, GeneralizedTime, Tag};
use x509_parser::oid_registry::Oid;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Certificate;
use crate::origin::diagnose::in_sequence;

/// How far clocks may be apart.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// How long an answer counts that does not say so.
const UNDATED: Duration = Duration::from_secs(7 * 24 * 3600);
/// Responses and certificates that are looked at in one answer.
const MAX_PARTS: usize = 8;

/// id-kp-OCSPSigning (RFC 6960, section 4.2.2.2).
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// id-pkix-ocsp-basic.
const BASIC: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 1];

/// What a stapled answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The issuer says that the certificate is good.
    Good,
    /// The issuer says that it was revoked.
    Revoked,
    /// It is about another certificate, over, not signed by anybody who may, or says nothing.
    Unusable,
}

/// Reads a stapled answer; nothing where it is not one.
pub(super) fn read(answer: &[u8], certificate: &Certificate<'_>) -> Option<Answer> {
    let basic = Basic::parse(answer)?;
    let single = basic.about(certificate)?;
    if !basic.is_signed(certificate) {
        return Some(Answer::Unusable);
    }
    let now = certificate.now;
    let begun = single.this_update.as_secs() <= now.as_secs() + SKEW.as_secs();
    let until =
        single.next_update.map_or(single.this_update.as_secs() + UNDATED.as_secs(), |next| next.as_secs());
    Some(match single.status {
        // A revocation does not become untrue with time.
        Status::Revoked if begun => Answer::Revoked,
        Status::Good if begun && now.as_secs() <= until + SKEW.as_secs() => Answer::Good,
        _ => Answer::Unusable,
    })
}

/// Whether a list of TLS features (SEQUENCE OF INTEGER) holds status_request.
pub(super) fn demands_status(features: &[u8]) -> bool {
    const STATUS_REQUEST: [u8; 1] = [5];
    let Some(mut features) = Parts::of_all(features) else { return false };
    std::iter::from_fn(|| features.next()).any(|one| one.tag() == Tag::Integer && *one.data == STATUS_REQUEST)
}

/// A BasicOCSPResponse.
struct Basic<'a> {
    /// What is signed, with its header.
    signed: &'a [u8],
    responses: Vec<Single<'a>>,
    /// AlgorithmIdentifier without its outer SEQUENCE.
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<&'a [u8]>,
}

/// A SingleResponse.
struct Single<'a> {
    id: Id<'a>,
    status: Status,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
}

/// A CertID.
struct Id<'a> {
    hash: Oid<'a>,
    name_hash: &'a [u8],
    key_hash: &'a [u8],
    serial: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

impl<'a> Basic<'a> {
    fn parse(answer: &'a [u8]) -> Option<Self> {
        let mut outer = Parts::of_all(answer)?;
        let successful = outer.next()?;
        if successful.tag() != Tag::Enumerated || successful.data != [0] {
            return None;
        }
        let mut bytes = Parts(outer.context(0)?.data).next_sequence()?;
        let kind = bytes.next()?;
        if Oid::from(&BASIC).ok()? != kind.oid().ok()? {
            return None;
        }
        let mut basic = Parts::of_all(bytes.octets()?)?;
        let signed = basic.0;
        let mut data = basic.next_sequence()?;
        let signed = &signed[..signed.len() - basic.0.len()];
        let algorithm = basic.next_sequence()?.0;
        let signature = basic.bits()?;
        let certificates = match basic.context(0) {
            Some(list) => Parts(list.data).next_sequence()?.raw_parts()?,
            None => Vec::new(),
        };
        let _version = data.context(0);
        let _responder = data.next()?; // who signed is found out by the signature
        let _produced = data.next()?;
        let mut list = data.next_sequence()?;
        let mut responses = Vec::new();
        while !list.0.is_empty() && responses.len() < MAX_PARTS {
            responses.push(Single::parse(list.next_sequence()?)?);
        }
        Some(Self { signed, responses, algorithm, signature, certificates })
    }

    /// What it says about this certificate (RFC 6960, section 4.1.1): issuer by name and key, and serial number.
    fn about(&self, certificate: &Certificate<'_>) -> Option<&Single<'a>> {
        let name = in_sequence(&certificate.issuer.name);
        let key = SubjectPublicKeyInfo::from_der(&certificate.issuer.key).ok()?.1;
        self.responses.iter().find(|single| {
            let id = &single.id;
            id.serial == certificate.serial && id.is_of(&name, &key.subject_public_key.data)
        })
    }

    /// Whether the issuer signed it, or somebody whose certificate the issuer signed for this very purpose.
    fn is_signed(&self, certificate: &Certificate<'_>) -> bool {
        let Ok(issuer) = RawPublicKeyEntity::try_from(&certificate.issuer.key) else { return false };
        let algorithms = || {
            let of = |one: &&&dyn SignatureVerificationAlgorithm| {
                one.signature_alg_id().as_ref() == self.algorithm
            };
            certificate.algorithms.iter().filter(of)
        };
        if algorithms().any(|one| issuer.verify_signature(*one, self.signed, self.signature).is_ok()) {
            return true;
        }
        self.certificates.iter().any(|der| {
            let der = CertificateDer::from(*der);
            let Ok(responder) = EndEntityCert::try_from(&der) else { return false };
            is_delegated(&responder, certificate)
                && algorithms()
                    .any(|one| responder.verify_signature(*one, self.signed, self.signature).is_ok())
        })
    }
}

/// Whether a responder's certificate was signed by the very issuer, for signing answers, and is valid now.
fn is_delegated(responder: &EndEntityCert<'_>, certificate: &Certificate<'_>) -> bool {
    let key: &SubjectPublicKeyInfoDer<'_> = &certificate.issuer.key;
    let Some(content) = Parts::of_all(key).map(|parts| parts.0) else { return false };
    let issuer = TrustAnchor {
        subject: certificate.issuer.name.as_slice().into(),
        subject_public_key_info: content.into(),
        name_constraints: None,
    };
    let usage = KeyUsage::required(OCSP_SIGNING);
    let anchors = [issuer];
    let verified =
        responder.verify_for_usage(certificate.algorithms, &anchors, &[], certificate.now, usage, None, None);
    verified.is_ok()
}

impl<'a> Single<'a> {
    fn parse(mut parts: Parts<'a>) -> Option<Self> {
        let id = Id::parse(parts.next_sequence()?)?;
        let status = parts.next()?;
        let status = match (status.class(), status.tag().0) {
            (Class::ContextSpecific, 0) => Status::Good,
            (Class::ContextSpecific, 1) => Status::Revoked,
            (Class::ContextSpecific, 2) => Status::Unknown,
            _ => return None,
        };
        let this_update = parts.time()?;
        let next_update = match parts.context(0) {
            Some(next) => Some(Parts(next.data).time()?),
            None => None,
        };
        Some(Self { id, status, this_update, next_update })
    }
}

impl<'a> Id<'a> {
    fn parse(mut parts: Parts<'a>) -> Option<Self> {
        let hash = parts.next_sequence()?.next()?.oid().ok()?;
        let (name_hash, key_hash) = (parts.octets()?, parts.octets()?);
        let serial = parts.next().filter(|serial| serial.tag() == Tag::Integer)?;
        Some(Self { hash, name_hash, key_hash, serial: serial.data })
    }

    /// Whether it names the issuer. The digests identify, they protect nothing: SHA-1 is what responders use.
    fn is_of(&self, name: &[u8], key: &[u8]) -> bool {
        let known = |id: &[u64]| Oid::from(id).is_ok_and(|known| known == self.hash);
        if known(&[1, 3, 14, 3, 2, 26]) {
            return *self.name_hash == *Sha1::digest(name) && *self.key_hash == *Sha1::digest(key);
        }
        known(&[2, 16, 840, 1, 101, 3, 4, 2, 1])
            && *self.name_hash == *Sha256::digest(name)
            && *self.key_hash == *Sha256::digest(key)
    }
}

/// The values that stand one after the other in a constructed one.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    /// The content of a SEQUENCE that is all of these bytes.
    fn of_all(bytes: &'a [u8]) -> Option<Self> {
        let mut all = Self(bytes);
        let content = all.next_sequence()?;
        all.0.is_empty().then_some(content)
    }

    fn next(&mut self) -> Option<Any<'a>> {
        let (rest, value) = Any::from_der(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }

    fn next_sequence(&mut self) -> Option<Self> {
        let value = self.next()?;
        (value.tag() == Tag::Sequence && value.class() == Class::Universal).then_some(Self(value.data))
    }

    /// The next value if it has this context-specific tag; otherwise it stays.
    fn context(&mut self, tag: u32) -> Option<Any<'a>> {
        let (rest, value) = Any::from_der(self.0).ok()?;
        let fits = value.class() == Class::ContextSpecific && value.tag() == Tag(tag);
        fits.then(|| {
            self.0 = rest;
            value
        })
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        self.next().filter(|value| value.tag() == Tag::OctetString).map(|value| value.data)
    }

    /// A BIT STRING of whole bytes.
    fn bits(&mut self) -> Option<&'a [u8]> {
        let value = self.next().filter(|value| value.tag() == Tag::BitString)?;
        value.data.strip_prefix(&[0])
    }

    fn time(&mut self) -> Option<UnixTime> {
        let (rest, time) = GeneralizedTime::from_der(self.0).ok()?;
        self.0 = rest;
        let at = time.utc_datetime().ok()?.unix_timestamp();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).ok()?)))
    }

    /// Every value with its header, a few at most.
    fn raw_parts(mut self) -> Option<Vec<&'a [u8]>> {
        let mut parts = Vec::new();
        while !self.0.is_empty() && parts.len() < MAX_PARTS {
            let before = self.0;
            self.next()?;
            parts.push(&before[..before.len() - self.0.len()]);
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128);
        [&[tag, content.len() as u8], content].concat()
    }

    fn answer() -> Vec<u8> {
        let hash = [0x30, 7, 0x06, 5, 0x2b, 0x0e, 3, 2, 0x1a];
        let id = der(0x30, &[&hash[..], &der(0x04, &[1]), &der(0x04, &[2]), &der(0x02, &[3])].concat());
        let time = der(0x18, b"20260101000000Z");
        let single = der(0x30, &[id, vec![0x80, 0], time.clone()].concat());
        let data = der(0x30, &[der(0xa2, &der(0x04, &[7])), time, der(0x30, &single)].concat());
        let basic = der(0x30, &[data, der(0x30, &[0x06, 1, 0x2a]), der(0x03, &[0, 9])].concat());
        let kind = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
        let bytes = der(0x30, &[&kind[..], &der(0x04, &basic)].concat());
        der(0x30, &[&[0x0a, 1, 0][..], &der(0xa0, &bytes)].concat())
    }

    #[test]
    fn what_is_signed_is_taken_as_it_came() {
        let answer = answer();
        let basic = Basic::parse(&answer).unwrap();
        assert_eq!((basic.signature, basic.algorithm), (&[9][..], &[0x06, 1, 0x2a][..]));
        assert_eq!((basic.signed[0], basic.signed.len()), (0x30, usize::from(basic.signed[1]) + 2));
        let single = &basic.responses[0];
        assert_eq!((single.id.serial, single.status, single.next_update), (&[3][..], Status::Good, None));
    }

    #[test]
    fn what_was_cut_or_changed_is_no_answer_or_another_but_never_a_panic() {
        let answer = answer();
        for end in 0..answer.len() {
            assert!(Basic::parse(&answer[..end]).is_none(), "{end} bytes");
        }
        for place in 0..answer.len() {
            for byte in 0..=255 {
                let mut changed = answer.clone();
                changed[place] = byte;
                let _ = Basic::parse(&changed);
            }
        }
    }

    #[test]
    fn features() {
        for (name, features, expected) in [
            ("status_request", &[0x30, 3, 2, 1, 5][..], true),
            ("beside another", &[0x30, 6, 2, 1, 17, 2, 1, 5], true),
            ("another", &[0x30, 3, 2, 1, 17], false),
            ("within a longer number", &[0x30, 5, 2, 3, 2, 1, 5], false),
            ("none", &[0x30, 0], false),
            ("nonsense", &[2, 1, 5], false),
        ] {
            assert_eq!(demands_status(features), expected, "{name}");
        }
    }
}
