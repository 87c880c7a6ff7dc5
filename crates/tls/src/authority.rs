//! The school's own certificate authority: made on first start, its key readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};

/// File name of the CA certificate (PEM) in the certificate directory.
pub const CERTIFICATE_FILE: &str = "ca.crt";
/// File name of the CA's private key (PKCS #8 PEM) in the certificate directory.
pub const KEY_FILE: &str = "ca.key";

/// Devices keep the certificate for years, so it lives long; leaves live short.
const VALID_FOR: Duration = Duration::days(3650);

/// Why the CA cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error("cannot {attempt} {path}: {source}; {remedy}")]
    File {
        /// What was tried: `read`, `write`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The key can be read by others.
    #[error("{0} can be read by others: run `chmod 600 {0}`, and replace the CA if others had access to it")]
    KeyExposed(PathBuf),
    /// One of the two files is missing.
    #[error(
        "{present} is there but {missing} is not: restore it from a backup, or remove both to make a new CA"
    )]
    Incomplete {
        /// The file that exists.
        present: PathBuf,
        /// The file that does not.
        missing: PathBuf,
    },
    /// The files are there and make no CA.
    #[error(
        "{path} cannot be used: {reason}; restore it from a backup, or remove both CA files to make a new CA"
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The certificate authority, ready to sign.
pub struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    pem: String,
    path: PathBuf,
}

impl Authority {
    /// Loads the CA from `dir`, or makes one there where neither of its files exists.
    ///
    /// The certificate has a path length of zero, so that it can sign leaves and nothing else. The key file is
    /// created with mode 0600; a key that others can read is refused.
    pub fn open_or_create(dir: &Path) -> Result<Self, AuthorityError> {
        let (certificate, key) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        match (certificate.exists(), key.exists()) {
            (true, true) => {}
            (false, false) => create(dir, &certificate, &key)?,
            (true, false) => return Err(AuthorityError::Incomplete { present: certificate, missing: key }),
            (false, true) => return Err(AuthorityError::Incomplete { present: key, missing: certificate }),
        }
        Self::load(certificate, &key)
    }

    fn load(path: PathBuf, key_path: &Path) -> Result<Self, AuthorityError> {
        const READABLE: &str = "make it readable by the user that runs Wardgate";
        let pem = fs::read_to_string(&path).map_err(|e| file("read", &path, READABLE, e))?;
        let mode =
            fs::metadata(key_path).map_err(|e| file("read", key_path, READABLE, e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(AuthorityError::KeyExposed(key_path.to_owned()));
        }
        let key_pem = fs::read_to_string(key_path).map_err(|e| file("read", key_path, READABLE, e))?;
        let unusable = |path: &Path, reason: &dyn ToString| AuthorityError::Unusable {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| unusable(&path, &e))?;
        let key = KeyPair::from_pem(&key_pem).map_err(|e| unusable(key_path, &e))?;
        if !belongs_to(&certificate, &key) {
            return Err(unusable(key_path, &"it is not the key of the certificate beside it"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|e| unusable(&path, &e))?;
        Ok(Self { issuer, certificate, pem, path })
    }

    /// The CA certificate in PEM, for browsers and devices to install.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The CA certificate in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Where the CA certificate lies.
    pub fn certificate_path(&self) -> &Path {
        &self.path
    }
}

fn create(dir: &Path, certificate: &Path, key: &Path) -> Result<(), AuthorityError> {
    const WRITABLE: &str = "make the directory writable for the user that runs Wardgate, or set [certs] dir";
    fs::create_dir_all(dir).map_err(|e| file("write", dir, WRITABLE, e))?;
    let unusable = |e: rcgen::Error| AuthorityError::Unusable { path: key.to_owned(), reason: e.to_string() };
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
    let issued = parameters().self_signed(&pair).map_err(unusable)?;
    write_new(key, pair.serialize_pem().as_bytes(), 0o600).map_err(|e| file("write", key, WRITABLE, e))?;
    write_new(certificate, issued.pem().as_bytes(), 0o644)
        .map_err(|e| file("write", certificate, WRITABLE, e))
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::hours(1);
    parameters.not_after = now + VALID_FOR;
    parameters.serial_number = Some(random_serial());
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Wardgate");
    parameters.distinguished_name.push(DnType::CommonName, format!("Wardgate filter CA {}", now.date()));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

/// 127 random bits: positive, and far more than the 64 that the CA/Browser Forum asks for.
pub(crate) fn random_serial() -> SerialNumber {
    let mut bytes = [0u8; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes[0] &= 0x7f;
    bytes[0] |= 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Whether the key's public half stands in the certificate: its bytes occur there as they are.
fn belongs_to(certificate: &CertificateDer<'_>, key: &KeyPair) -> bool {
    let public = key.public_key_raw();
    certificate.windows(public.len()).any(|window| window == public)
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn file(attempt: &'static str, path: &Path, remedy: &'static str, source: io::Error) -> AuthorityError {
    AuthorityError::File { attempt, path: path.to_owned(), remedy, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let made = Authority::open_or_create(dir.path()).unwrap();
        let loaded = Authority::open_or_create(dir.path()).unwrap();
        assert_eq!(made.certificate_pem(), loaded.certificate_pem());
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_exposed_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open_or_create(dir.path()).unwrap();
        let key = dir.path().join(KEY_FILE);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Authority::open_or_create(dir.path()), Err(AuthorityError::KeyExposed(_))));
    }

    #[test]
    fn half_a_ca_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open_or_create(dir.path()).unwrap();
        fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
        assert!(matches!(Authority::open_or_create(dir.path()), Err(AuthorityError::Incomplete { .. })));
    }

    #[test]
    fn another_key_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Authority::open_or_create(one.path()).unwrap();
        Authority::open_or_create(other.path()).unwrap();
        fs::copy(other.path().join(KEY_FILE), one.path().join(KEY_FILE)).unwrap();
        assert!(matches!(Authority::open_or_create(one.path()), Err(AuthorityError::Unusable { .. })));
    }
}
