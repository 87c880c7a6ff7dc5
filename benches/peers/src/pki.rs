//! Keys and certificates: the root of the origins with the certificate that nginx serves, and the school's authority,
//! which every proxy mints with. All are ECDSA on P-256.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// File names in the directory of the benchmark.
pub(crate) const ORIGIN_ROOT: &str = "origin-root.crt";
pub(crate) const ORIGIN_CERTIFICATE: &str = "origin.crt";
pub(crate) const ORIGIN_KEY: &str = "origin.key";
pub(crate) const SCHOOL: &str = "ca.crt";
pub(crate) const SCHOOL_KEY: &str = "ca.key";
/// The key of e2guardian's leaves, which it does not make itself.
pub(crate) const LEAF_KEY: &str = "leaf.key";

/// Draws all keys and writes everything down.
pub(crate) fn write(dir: &Path) -> Result<()> {
    let (root, root_key) = authority("Origins of the peer benchmark")?;
    let (school, school_key) = authority("School of the peer benchmark")?;
    let origin_key = KeyPair::generate()?;
    let mut origin = CertificateParams::new(["*.peers.test".to_owned(), "peers.test".to_owned()])?;
    (origin.not_before, origin.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    let issuer = Issuer::from_ca_cert_pem(&root.pem(), &root_key)?;
    let origin = origin.signed_by(&origin_key, &issuer)?;
    fs::write(dir.join(ORIGIN_ROOT), root.pem())?;
    fs::write(dir.join(ORIGIN_CERTIFICATE), origin.pem())?;
    fs::write(dir.join(ORIGIN_KEY), origin_key.serialize_pem())?;
    fs::write(dir.join(SCHOOL), school.pem())?;
    fs::write(dir.join(SCHOOL_KEY), school_key.serialize_pem())?;
    fs::write(dir.join(LEAF_KEY), KeyPair::generate()?.serialize_pem())?;
    // Wardgate refuses a key that others can read; who else needs it has a copy.
    fs::set_permissions(dir.join(SCHOOL_KEY), fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn authority(name: &str) -> Result<(Certificate, KeyPair)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}
