//! Names what is wrong with a certificate once the verifier has refused it. Nothing here accepts anything: it reads
//! what the site sent to say which of the many reasons it was, and what a technician can do.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use time::OffsetDateTime;
use wardgate_core::TlsProblem;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, Oid};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::failure::TlsFailure;
use super::revocation::Staple;
use super::verify::RootLimits;

/// Shortest RSA key that is taken (NIST SP 800-131A, CA/Browser Forum Baseline Requirements 6.1.5).
pub(super) const MIN_RSA_BITS: usize = 2048;
/// Certificates that are looked at: more than any honest chain has.
const MAX_CHAIN: usize = 16;
/// Names that are quoted.
const MAX_NAMES: usize = 5;

/// What a site presented, and what for.
pub(super) struct Presented<'a> {
    pub(super) end_entity: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) name: &'a ServerName<'a>,
    pub(super) staple: Staple<'a>,
    pub(super) now: UnixTime,
}

/// Says what a refusal of the chain means.
pub(super) fn chain(
    error: &webpki::Error,
    presented: &Presented<'_>,
    anchors: &[TrustAnchor<'_>],
) -> TlsFailure {
    use webpki::Error as E;
    let because = |problem, detail: String| TlsFailure::new(problem, detail);
    match error {
        E::CertExpired { not_after, .. } => because(TlsProblem::Expired, ended(*not_after, presented)),
        E::InvalidCertValidity => because(TlsProblem::Expired, "it ends before it begins".to_owned()),
        E::CertNotValidYet { not_before, .. } => {
            because(TlsProblem::NotYetValid, format!("valid from {}", date(*not_before)))
        }
        E::UnknownIssuer => unknown_issuer(presented),
        E::CaUsedAsEndEntity => ca_as_end_entity(presented),
        E::RequiredEkuNotFoundContext(context) => because(
            TlsProblem::WrongUsage,
            format!("extended key usage without server authentication ({context:?})"),
        ),
        E::EmptyEkuExtension => because(TlsProblem::WrongUsage, "the extended key usage is empty".to_owned()),
        E::EndEntityUsedAsCa => because(
            TlsProblem::NotAnAuthority,
            format!("basic constraints: CA is not set on an issuer; chain: {}", names_of(presented)),
        ),
        E::PathLenConstraintViolated | E::MaximumPathDepthExceeded => {
            because(TlsProblem::PathLength, format!("chain: {}", names_of(presented)))
        }
        E::NameConstraintViolation => because(
            TlsProblem::NameConstraints,
            format!("names: {}; chain: {}", alternative_names(presented), names_of(presented)),
        ),
        E::UnsupportedSignatureAlgorithmContext(context) => {
            signature_algorithm(&context.signature_algorithm_id)
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            signature_algorithm(&context.signature_algorithm_id)
        }
        E::InvalidSignatureForPublicKey => bad_signature(presented, anchors),
        E::UnsupportedCriticalExtension => critical_extension(presented),
        E::CertDistrusted => {
            because(TlsProblem::UntrustedRoot, "a key of the chain is known to be misused".to_owned())
        }
        E::CertRevoked => because(TlsProblem::Revoked, "by a revocation list".to_owned()),
        E::UnknownRevocationStatus => {
            because(TlsProblem::RevocationUnknown, "no revocation list covers it".to_owned())
        }
        E::CrlExpired { next_update, .. } => because(
            TlsProblem::RevocationUnknown,
            format!("the issuer's revocation list ended on {}", date(*next_update)),
        ),
        E::InvalidCrlSignatureForPublicKey
        | E::IssuerNotCrlSigner
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => because(
            TlsProblem::RevocationUnknown,
            format!("the revocation list that is configured for its issuer is not the issuer's ({error:?})"),
        ),
        E::UnsupportedCertVersion => because(
            TlsProblem::Malformed,
            "a certificate of X.509 version 1 or 2; version 3 is needed".to_owned(),
        ),
        other => because(TlsProblem::Malformed, format!("{other:?}")),
    }
}

/// Says why the certificate does not fit the name that was asked for.
pub(super) fn name(presented: &Presented<'_>) -> TlsFailure {
    let Some(certificate) = parsed(presented.end_entity) else {
        return TlsFailure::new(TlsProblem::WrongName, "");
    };
    let named = certificate.subject_alternative_name().ok().flatten();
    if named.is_some() {
        return TlsFailure::new(TlsProblem::WrongName, format!("it is for {}", alternative_names(presented)));
    }
    let wanted = presented.name.to_str();
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let common: Vec<&str> = common.take(MAX_NAMES).collect();
    let problem = if common.iter().any(|name| matches(name, &wanted)) {
        TlsProblem::CommonNameOnly
    } else {
        TlsProblem::WrongName
    };
    let detail = format!("no subject alternative name; common name: {}", common.join(", "));
    TlsFailure::new(problem, detail)
}

/// Whether a common name, with its wildcard, would have meant this host in the days when common names counted.
fn matches(common: &str, host: &str) -> bool {
    let below =
        |rest: &str| host.split_once('.').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(rest));
    common.eq_ignore_ascii_case(host) || common.strip_prefix("*.").is_some_and(below)
}

/// What the certificate itself must be like where webpki does not ask: a key that is long enough, and one that may
/// sign a handshake (RFC 8446, section 4.4.2.2, where key usage is present at all).
pub(super) fn end_entity(parsed: &X509Certificate<'_>) -> Option<TlsFailure> {
    if let Some(bits) = short_rsa(parsed.public_key()) {
        let detail = format!("RSA with {bits} bits; at least {MIN_RSA_BITS} are needed");
        return Some(TlsFailure::new(TlsProblem::WeakKey, detail));
    }
    match parsed.key_usage() {
        Ok(Some(usage)) if !usage.value.digital_signature() => {
            Some(TlsFailure::new(TlsProblem::WrongUsage, "key usage without digital signature"))
        }
        Ok(_) => None,
        Err(_) => Some(TlsFailure::new(TlsProblem::Malformed, "its key usage stands in it twice")),
    }
}

/// Whether an issuing certificate may sign certificates: webpki reads the CA flag, RFC 5280 (6.1.4, n) asks for the
/// key usage as well.
pub(super) fn may_issue(certificate: &CertificateDer<'_>) -> Result<(), TlsFailure> {
    let usage = parsed(certificate).map(|parsed| match parsed.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    });
    if usage == Some(true) {
        return Ok(());
    }
    Err(TlsFailure::new(
        TlsProblem::NotAnAuthority,
        "an issuer's key usage does not allow it to sign certificates",
    ))
}

/// What a root's certificate says beside its name and key; nothing of one that cannot be read.
pub(super) fn root_limits(certificate: &CertificateDer<'_>) -> Option<RootLimits> {
    let parsed = parsed(certificate)?;
    let at = |seconds: i64| UnixTime::since_unix_epoch(Duration::from_secs(seconds.max(0).unsigned_abs()));
    let forbidden = match (parsed.key_usage(), parsed.extended_key_usage()) {
        (Ok(Some(usage)), _) if !usage.value.key_cert_sign() => {
            Some("its key usage does not allow it to sign")
        }
        (_, Ok(Some(usage))) if !usage.value.server_auth && !usage.value.any => {
            Some("its extended key usage does not allow it to sign for websites")
        }
        _ => None,
    };
    Some(RootLimits {
        not_before: at(parsed.validity().not_before.timestamp()),
        not_after: at(parsed.validity().not_after.timestamp()),
        forbidden,
    })
}

/// A certificate as x509-parser reads it.
pub(super) fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed)
}

/// The length of an RSA key that is too short; nothing for any other key.
fn short_rsa(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = bit_length(rsa.modulus);
            (bits < MIN_RSA_BITS).then_some(bits)
        }
        _ => None,
    }
}

fn bit_length(modulus: &[u8]) -> usize {
    let significant = modulus.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &modulus[first..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// Nobody trusted signed the end of the chain: because it signed itself, because its issuer is not trusted, or because
/// the site leaves out what would lead there. A site that omits its intermediates works in browsers that have seen
/// them elsewhere, so a technician needs to know that it is the site's fault.
fn unknown_issuer(presented: &Presented<'_>) -> TlsFailure {
    let Some(leaf) = parsed(presented.end_entity) else {
        return TlsFailure::new(TlsProblem::Malformed, "it cannot be read");
    };
    let sent: Vec<X509Certificate<'_>> =
        presented.intermediates.iter().take(MAX_CHAIN).filter_map(parsed).collect();
    let mut top = &leaf;
    for _ in 0..MAX_CHAIN {
        let issuer = sent.iter().find(|one| one.subject().as_raw() == top.issuer().as_raw());
        match issuer {
            Some(issuer) if !is_self_issued(top) => top = issuer,
            _ => break,
        }
    }
    let issuer = top.issuer();
    if is_self_issued(&leaf) {
        return TlsFailure::new(TlsProblem::SelfSigned, "nobody else signed it");
    }
    if is_self_issued(top) {
        let detail = format!("the root {issuer} is not trusted here; see [upstream] extra_roots");
        return TlsFailure::new(TlsProblem::UntrustedRoot, detail);
    }
    match issuer_address(top) {
        Some(url) => TlsFailure::new(
            TlsProblem::IncompleteChain,
            format!(
                "the certificate of {issuer} is neither sent by the site nor trusted here; it lies at {url}; the \
                 site's operator should have it sent"
            ),
        ),
        None => TlsFailure::new(
            TlsProblem::UntrustedRoot,
            format!(
                "the issuer {issuer} is neither sent by the site nor trusted here: have the site send its chain, or \
                 see [upstream] extra_roots"
            ),
        ),
    }
}

/// Where the issuer's certificate lies, as the certificate says it (RFC 5280, section 4.2.2.1). It is shown, not
/// fetched: an address out of an unverified certificate is nobody's to call.
fn issuer_address<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => access
            .iter()
            .filter(|one| one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
            .find_map(|one| match &one.access_location {
                GeneralName::URI(url) => Some(*url),
                _ => None,
            }),
        _ => None,
    })
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// A self-signed certificate that calls itself an authority is what simple devices make; any other authority's
/// certificate has no business at a website.
fn ca_as_end_entity(presented: &Presented<'_>) -> TlsFailure {
    match parsed(presented.end_entity) {
        Some(leaf) if is_self_issued(&leaf) => {
            TlsFailure::new(TlsProblem::SelfSigned, "nobody else signed it; it is marked as an authority's")
        }
        _ => TlsFailure::new(TlsProblem::WrongUsage, "it is the certificate of an authority"),
    }
}

/// A signature by a key that is too short does not count as one, and so comes out as one that does not match.
fn bad_signature(presented: &Presented<'_>, anchors: &[TrustAnchor<'_>]) -> TlsFailure {
    let sent = presented.intermediates.iter().take(MAX_CHAIN);
    let mut issuers: Vec<Vec<u8>> = vec![];
    let mut bits = None;
    for certificate in std::iter::once(presented.end_entity).chain(sent) {
        let Some(parsed) = parsed(certificate) else { continue };
        issuers.push(parsed.issuer().as_raw().to_vec());
        bits = bits.or_else(|| short_rsa(parsed.public_key()));
    }
    for anchor in anchors {
        let named = issuers.iter().any(|issuer| issuer.ends_with(&anchor.subject));
        if named && bits.is_none() {
            let key = in_sequence(&anchor.subject_public_key_info);
            bits = SubjectPublicKeyInfo::from_der(&key).ok().and_then(|(_, key)| short_rsa(&key));
        }
    }
    match bits {
        Some(bits) => TlsFailure::new(
            TlsProblem::WeakKey,
            format!("RSA with {bits} bits in the chain; at least {MIN_RSA_BITS} are needed"),
        ),
        None => TlsFailure::new(TlsProblem::BadSignature, format!("chain: {}", names_of(presented))),
    }
}

/// A DER SEQUENCE around its content, which is how webpki keeps what it parsed.
pub(super) fn in_sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![0x30];
    match length {
        0..=0x7f => der.push(length as u8),
        0x80..=0xff => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend_from_slice(content);
    der
}

/// Signature algorithms that are broken, by their object identifiers.
const BROKEN: [(&[u64], &str); 7] = [
    (&[1, 2, 840, 113549, 1, 1, 2], "MD2 with RSA"),
    (&[1, 2, 840, 113549, 1, 1, 4], "MD5 with RSA"),
    (&[1, 2, 840, 113549, 1, 1, 5], "SHA-1 with RSA"),
    (&[1, 3, 14, 3, 2, 29], "SHA-1 with RSA"),
    (&[1, 2, 840, 10040, 4, 3], "SHA-1 with DSA"),
    (&[1, 2, 840, 10045, 4, 1], "SHA-1 with ECDSA"),
    (&[1, 3, 36, 3, 3, 1, 2], "RIPEMD-160 with RSA"),
];

/// Says which algorithm it was; `id` is an AlgorithmIdentifier without its outer SEQUENCE.
fn signature_algorithm(id: &[u8]) -> TlsFailure {
    let Ok((_, oid)) = Oid::from_der(id) else {
        return TlsFailure::new(TlsProblem::Malformed, "a signature algorithm that cannot be read");
    };
    let broken = BROKEN.iter().find(|(known, _)| Oid::from(known).is_ok_and(|known| known == oid));
    match broken {
        Some((_, name)) => TlsFailure::new(TlsProblem::WeakSignature, *name),
        None => {
            let detail = format!("the signature algorithm {oid} is not supported");
            TlsFailure::new(TlsProblem::Malformed, detail)
        }
    }
}

fn critical_extension(presented: &Presented<'_>) -> TlsFailure {
    let sent = presented.intermediates.iter().take(MAX_CHAIN);
    let unknown = std::iter::once(presented.end_entity).chain(sent).filter_map(parsed).find_map(|parsed| {
        let unknown = parsed.extensions().iter().find(|extension| {
            extension.critical && !UNDERSTOOD.iter().any(|id| is_id_ce(&extension.oid, *id))
        });
        unknown.map(|extension| extension.oid.to_id_string())
    });
    TlsFailure::new(TlsProblem::CriticalExtension, unknown.unwrap_or_default())
}

/// The extensions that webpki processes: key usage, subject alternative name, basic constraints, name constraints, CRL
/// distribution points and extended key usage, all below 2.5.29.
const UNDERSTOOD: [u64; 6] = [15, 17, 19, 30, 31, 37];

fn is_id_ce(oid: &Oid<'_>, last: u64) -> bool {
    Oid::from(&[2, 5, 29, last]).is_ok_and(|known| known == *oid)
}

fn ended(not_after: UnixTime, presented: &Presented<'_>) -> String {
    let own = parsed(presented.end_entity)
        .is_some_and(|leaf| leaf.validity().not_after.timestamp() == not_after.as_secs() as i64);
    let whose = if own { "the site's own certificate" } else { "an issuing certificate" };
    format!("{whose} ended on {}", date(not_after))
}

pub(super) fn date(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    at.map_or_else(|| "an impossible date".to_owned(), |at| at.date().to_string())
}

fn names_of(presented: &Presented<'_>) -> String {
    let sent = presented.intermediates.iter();
    let chain = std::iter::once(presented.end_entity).chain(sent).take(MAX_NAMES).filter_map(parsed);
    let names: Vec<String> = chain.map(|one| format!("{} by {}", one.subject(), one.issuer())).collect();
    names.join(" | ")
}

fn alternative_names(presented: &Presented<'_>) -> String {
    let Some(leaf) = parsed(presented.end_entity) else { return String::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return "no name".to_owned() };
    let all = &names.value.general_names;
    let mut said: Vec<String> = all.iter().take(MAX_NAMES).map(in_words).collect();
    if all.len() > MAX_NAMES {
        said.push(format!("and {} more", all.len() - MAX_NAMES));
    }
    said.join(", ")
}

fn in_words(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress([a, b, c, d]) => std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        GeneralName::IPAddress(bytes) => match <[u8; 16]>::try_from(*bytes) {
            Ok(bytes) => std::net::Ipv6Addr::from(bytes).to_string(),
            Err(_) => "a malformed address".to_owned(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_names_as_they_were_read() {
        for (common, host, expected) in [
            ("a.example", "a.example", true),
            ("A.Example", "a.example", true),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*", "a.example", false),
            ("b.example", "a.example", false),
        ] {
            assert_eq!(matches(common, host), expected, "{common} for {host}");
        }
    }

    #[test]
    fn lengths_of_moduli() {
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[1, 0]), 9);
        assert_eq!(bit_length(&[]), 0);
    }
}
