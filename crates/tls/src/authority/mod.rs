//! The school's own certificate authority: made on first start, its key readable by its owner only, and in good time
//! followed by another one.
//!
//! In the certificate directory lie, as PEM: the authority that signs (`ca.crt`, `ca.key`), the next one, once it is
//! prepared (`next.crt`, `next.key`), and the former one, until devices need it no longer (`former.crt`, `former.key`).

mod constraints;
mod key;
mod profile;
mod rotation;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use wardgate_core::Fingerprint;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::constraints::{Constraints, NoSubtree, Subtree};
use self::key::{KeyStore, write_new};
pub use self::profile::mobileconfig;

/// File name of the signing CA's certificate in the certificate directory.
pub const CERTIFICATE_FILE: &str = "ca.crt";
/// File name of the signing CA's private key (PKCS #8 PEM) in the certificate directory.
pub const KEY_FILE: &str = "ca.key";
const NEXT: &str = "next";
const FORMER: &str = "former";

/// Devices keep the certificate for years, so it lives long; leaves live short.
const VALID_FOR: Duration = Duration::days(3650);

/// Clocks of devices are slow at times.
pub(crate) const BACK_DATED: Duration = Duration::hours(1);

const READABLE: &str = "make it readable by the user that runs Wardgate";
const WRITABLE: &str = "make the directory writable for the user that runs Wardgate, or set [certs] dir";

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
    /// The key, or its passphrase, can be read by others.
    #[error("{0} can be read by others: run `chmod 600 {0}`, and replace the CA if others had access to it")]
    KeyExposed(PathBuf),
    /// The key is encrypted, and nobody says with what.
    #[error("{0} is encrypted: set [certs] key_passphrase_file to a file that holds its passphrase")]
    Locked(PathBuf),
    /// The passphrase does not open the key.
    #[error(
        "{key} cannot be decrypted with the passphrase in {passphrase_file}: it is another one, or the file is damaged"
    )]
    WrongPassphrase {
        /// The key's file.
        key: PathBuf,
        /// The file of the passphrase.
        passphrase_file: PathBuf,
    },
    /// One of the two files is missing.
    #[error(
        "{present} is there but {missing} is not: restore it from a backup, or remove both to make a new CA; where \
         `wardgate ca rotate --activate` was interrupted, run it again"
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
    /// A step of the rotation that cannot be taken now.
    #[error("{0}")]
    OutOfTurn(String),
}

/// Where the CA lies, and what a new one is like.
#[derive(Clone, Debug, Default)]
pub struct AuthoritySettings {
    /// The certificate directory.
    pub dir: PathBuf,
    /// The file whose first line encrypts keys on the disk; they are not encrypted where absent.
    pub passphrase_file: Option<PathBuf>,
    /// What a CA made from now on may sign for.
    pub constraints: Constraints,
    /// When the next CA begins to sign by itself.
    pub next_from: Option<OffsetDateTime>,
}

impl AuthoritySettings {
    fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// Whether the next CA signs by itself already. A date of before it was made was meant for an earlier one.
    pub fn is_due(&self, next: &AuthorityCertificate) -> bool {
        let made = next.not_before + BACK_DATED;
        self.next_from.is_some_and(|from| made <= from && from <= OffsetDateTime::now_utc())
    }

    fn keys(&self) -> KeyStore {
        KeyStore { passphrase_file: self.passphrase_file.clone() }
    }
}

/// A CA's certificate, and what it says.
#[derive(Clone, Debug)]
pub struct AuthorityCertificate {
    /// The certificate in DER.
    pub der: CertificateDer<'static>,
    /// The same in PEM, as the file has it.
    pub pem: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Whom it is about.
    pub subject: String,
    /// Its serial number in hex.
    pub serial: String,
    /// When it begins.
    pub not_before: OffsetDateTime,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// How many authorities may stand below it.
    pub path_length: Option<u32>,
    /// What it may sign for.
    pub constraints: Constraints,
}

impl AuthorityCertificate {
    fn load(path: PathBuf) -> Result<Self, AuthorityError> {
        let pem = fs::read_to_string(&path).map_err(|error| file("read", &path, READABLE, error))?;
        let unusable = |reason: String| AuthorityError::Unusable { path: path.clone(), reason };
        let der =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        let parsed = X509Certificate::from_der(&der).map_err(|error| unusable(error.to_string()))?.1;
        let at = |time: x509_parser::time::ASN1Time| time.to_datetime();
        let certificate = Self {
            subject: parsed.subject().to_string(),
            serial: parsed.raw_serial_as_string(),
            not_before: at(parsed.validity().not_before),
            not_after: at(parsed.validity().not_after),
            path_length: parsed.basic_constraints().ok().flatten().and_then(|c| c.value.path_len_constraint),
            constraints: parsed
                .name_constraints()
                .ok()
                .flatten()
                .map_or_else(Constraints::default, |c| Constraints::read(c.value)),
            der: der.clone(),
            path: path.clone(),
            pem,
        };
        Ok(certificate)
    }

    /// SHA-256 over the certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.der).into())
    }

    fn is_over(&self) -> bool {
        self.not_after < OffsetDateTime::now_utc()
    }
}

/// The certificate authority, ready to sign.
pub struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: AuthorityCertificate,
    /// Whether its key is encrypted on the disk.
    pub(crate) encrypted: bool,
}

impl Authority {
    fn load(settings: &AuthoritySettings, name: &str) -> Result<Self, AuthorityError> {
        let key_path = settings.key(name);
        let certificate = AuthorityCertificate::load(settings.certificate(name))?;
        let key = settings.keys().read(&key_path)?;
        if !belongs_to(&certificate.der, &key.pair) {
            let reason = "it is not the key of the certificate beside it".to_owned();
            return Err(AuthorityError::Unusable { path: key_path, reason });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.der, key.pair).map_err(|error| {
            AuthorityError::Unusable { path: certificate.path.clone(), reason: error.to_string() }
        })?;
        Ok(Self { issuer, certificate, encrypted: key.encrypted })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &AuthorityCertificate {
        &self.certificate
    }

    /// Whether its key is encrypted on the disk.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }
}

/// The authority that signs, and those beside it that devices should know.
pub struct Authorities {
    /// Signs.
    pub signing: Arc<Authority>,
    /// The next one, once it is prepared.
    pub next: Option<AuthorityCertificate>,
    /// The former one, until it is taken away or over.
    pub former: Option<AuthorityCertificate>,
}

impl Authorities {
    /// Loads the CA from its directory, or makes one there where neither of its files exists.
    ///
    /// The certificate has a path length of zero, so that it can sign leaves and nothing else. The key file is
    /// created with mode 0600; a key that others can read is refused.
    pub fn open_or_create(settings: &AuthoritySettings) -> Result<Self, AuthorityError> {
        let (certificate, key) = (settings.dir.join(CERTIFICATE_FILE), settings.dir.join(KEY_FILE));
        match (certificate.exists(), key.exists()) {
            (true, true) => {}
            (false, false) => create(settings, "ca")?,
            (true, false) => return Err(AuthorityError::Incomplete { present: certificate, missing: key }),
            (false, true) => return Err(AuthorityError::Incomplete { present: key, missing: certificate }),
        }
        let beside = |name: &str| {
            let path = settings.certificate(name);
            path.exists().then(|| AuthorityCertificate::load(path)).transpose()
        };
        let present = Authority::load(settings, "ca")?;
        let next = beside(NEXT)?;
        let former = beside(FORMER)?.filter(|former| !former.is_over());
        if next.as_ref().is_some_and(|next| settings.is_due(next)) {
            let next = Authority::load(settings, NEXT)?;
            return Ok(Self { signing: Arc::new(next), next: None, former: Some(present.certificate) });
        }
        Ok(Self { signing: Arc::new(present), next, former })
    }

    /// The certificates that devices should know, the signing one first.
    pub fn certificates(&self) -> impl Iterator<Item = &AuthorityCertificate> {
        std::iter::once(&self.signing.certificate).chain(&self.next).chain(&self.former)
    }

    /// The same in PEM, one after the other: what devices install.
    pub fn bundle(&self) -> String {
        self.certificates().map(|one| format!("{}\n", one.pem.trim_end())).collect()
    }
}

/// Makes a CA under a name that is free.
fn create(settings: &AuthoritySettings, name: &str) -> Result<(), AuthorityError> {
    let (certificate, key) = (settings.certificate(name), settings.key(name));
    fs::create_dir_all(&settings.dir).map_err(|error| file("write", &settings.dir, WRITABLE, error))?;
    let unusable =
        |error: rcgen::Error| AuthorityError::Unusable { path: key.clone(), reason: error.to_string() };
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
    let issued = parameters(settings).self_signed(&pair).map_err(unusable)?;
    settings.keys().write(&key, &pair)?;
    write_new(&certificate, issued.pem().as_bytes(), 0o644)
        .map_err(|error| file("write", &certificate, WRITABLE, error))
}

fn parameters(settings: &AuthoritySettings) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    let serial = random_serial();
    // Two authorities of one day need different names: clients look for issuers by their name.
    let mark: String = serial.to_bytes()[14..].iter().map(|byte| format!("{byte:02x}")).collect();
    parameters.not_before = now - BACK_DATED;
    parameters.not_after = now + VALID_FOR;
    parameters.serial_number = Some(serial);
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "Wardgate");
    parameters
        .distinguished_name
        .push(DnType::CommonName, format!("Wardgate filter CA {} {mark}", now.date()));
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters.use_authority_key_identifier_extension = true;
    parameters.name_constraints = settings.constraints.written();
    parameters
}

/// 16 random bytes, of which the first two bits are fixed so that the number is positive and has its full length: 126
/// random bits, where the CA/Browser Forum asks for 64 (Baseline Requirements, 7.1).
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

fn file(attempt: &'static str, path: &Path, remedy: &'static str, source: io::Error) -> AuthorityError {
    AuthorityError::File { attempt, path: path.to_owned(), remedy, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn site() -> (tempfile::TempDir, AuthoritySettings) {
        let dir = tempfile::tempdir().unwrap();
        let settings = AuthoritySettings { dir: dir.path().to_owned(), ..AuthoritySettings::default() };
        (dir, settings)
    }

    #[test]
    fn made_once_and_loaded_again() {
        let (dir, settings) = site();
        let made = Authorities::open_or_create(&settings).unwrap();
        let loaded = Authorities::open_or_create(&settings).unwrap();
        assert_eq!(made.bundle(), loaded.bundle());
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_exposed_key_is_refused() {
        let (dir, settings) = site();
        Authorities::open_or_create(&settings).unwrap();
        let key = dir.path().join(KEY_FILE);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Authorities::open_or_create(&settings), Err(AuthorityError::KeyExposed(_))));
    }

    #[test]
    fn half_a_ca_is_refused() {
        let (dir, settings) = site();
        Authorities::open_or_create(&settings).unwrap();
        fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
        assert!(matches!(Authorities::open_or_create(&settings), Err(AuthorityError::Incomplete { .. })));
    }

    #[test]
    fn another_key_is_refused() {
        let ((one, settings), (other, others)) = (site(), site());
        Authorities::open_or_create(&settings).unwrap();
        Authorities::open_or_create(&others).unwrap();
        fs::copy(other.path().join(KEY_FILE), one.path().join(KEY_FILE)).unwrap();
        assert!(matches!(Authorities::open_or_create(&settings), Err(AuthorityError::Unusable { .. })));
    }

    #[test]
    fn an_encrypted_key_needs_its_passphrase() {
        let (dir, plain) = site();
        let passphrase = dir.path().join("passphrase");
        write_new(&passphrase, b"correct horse\nnot this\n", 0o600).unwrap();
        let settings = AuthoritySettings { passphrase_file: Some(passphrase.clone()), ..plain.clone() };
        let made = Authorities::open_or_create(&settings).unwrap();
        assert!(made.signing.encrypted);
        let pem = fs::read_to_string(dir.path().join(KEY_FILE)).unwrap();
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{pem}");
        assert_eq!(Authorities::open_or_create(&settings).unwrap().bundle(), made.bundle());

        assert!(matches!(Authorities::open_or_create(&plain), Err(AuthorityError::Locked(_))));
        fs::write(&passphrase, "wrong horse").unwrap();
        assert!(matches!(
            Authorities::open_or_create(&settings),
            Err(AuthorityError::WrongPassphrase { .. })
        ));
        fs::write(&passphrase, "\n").unwrap();
        assert!(matches!(Authorities::open_or_create(&settings), Err(AuthorityError::Unusable { .. })));
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Authorities::open_or_create(&settings), Err(AuthorityError::KeyExposed(_))));
    }

    #[test]
    fn constraints_stand_in_the_certificate() {
        let (_dir, settings) = site();
        let parse = |text: &str| text.parse::<Subtree>().unwrap();
        let constraints = Constraints {
            permitted: vec![parse("School.example"), parse("10.0.0.0/8"), parse("2001:db8::/32")],
            excluded: vec![parse("private.school.example")],
        };
        let settings = AuthoritySettings { constraints: constraints.clone(), ..settings };
        let made = Authorities::open_or_create(&settings).unwrap();
        assert_eq!(made.signing.certificate.constraints, constraints);
        assert_eq!(made.signing.certificate.path_length, Some(0));
    }
}
