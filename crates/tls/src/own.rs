//! The certificate of the proxy itself, for clients that speak TLS to it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::mint::{MintError, Minter};

/// Why the proxy's own certificate cannot be used, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// A file cannot be read, or holds something else.
    #[error("[proxy] {key}: {path}: {reason}; give a PEM file that the user who runs Wardgate can read")]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Everybody on the machine can read the key.
    #[error(
        "[proxy] tls_key: {0} can be read by everybody: run `chmod o= {0}`, and replace the key if others had access"
    )]
    KeyExposed(PathBuf),
    /// The two files do not belong together.
    #[error("[proxy] tls_key is not the key of the first certificate in tls_certificate: {0}")]
    Mismatch(#[source] rustls::Error),
    /// The school's CA cannot sign one.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// The proxy's own certificate: from files, which are read again when asked, or signed by the school's CA.
pub struct OwnCertificate(Source);

enum Source {
    Files { certificate: PathBuf, key: PathBuf, minter: Arc<Minter>, config: ArcSwap<ServerConfig> },
    Minted { minter: Arc<Minter>, host: Box<str> },
}

impl OwnCertificate {
    /// A certificate with its chain, and its key, from PEM files.
    pub fn from_files(
        certificate: &Path,
        key: &Path,
        minter: Arc<Minter>,
    ) -> Result<Self, OwnCertificateError> {
        let config = ArcSwap::new(read(certificate, key, &minter)?);
        Ok(Self(Source::Files { certificate: certificate.into(), key: key.into(), minter, config }))
    }

    /// A certificate for `host`, signed by the school's CA.
    pub fn minted(host: &str, minter: Arc<Minter>) -> Result<Self, OwnCertificateError> {
        minter.server_config(host)?; // what cannot be signed is told at the start
        Ok(Self(Source::Minted { minter, host: host.into() }))
    }

    /// Reads the files again. Where that fails, the last good certificate stays in use.
    pub fn reload(&self) -> Result<(), OwnCertificateError> {
        if let Source::Files { certificate, key, minter, config } = &self.0 {
            config.store(read(certificate, key, minter)?);
        }
        Ok(())
    }

    /// How to answer a client that speaks TLS to the proxy: HTTP/2 and HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, OwnCertificateError> {
        match &self.0 {
            Source::Files { config, .. } => Ok(config.load_full()),
            Source::Minted { minter, host } => Ok(minter.server_config(host)?),
        }
    }
}

fn read(certificate: &Path, key: &Path, minter: &Minter) -> Result<Arc<ServerConfig>, OwnCertificateError> {
    let wrong = |name: &'static str, path: &Path, reason: &dyn ToString| OwnCertificateError::File {
        key: name,
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let text = |name, path: &Path| std::fs::read(path).map_err(|error: io::Error| wrong(name, path, &error));
    let pem = text("tls_certificate", certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| wrong("tls_certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong("tls_certificate", certificate, &"there is no certificate in it"));
    }
    let mode = std::fs::metadata(key).map_err(|error| wrong("tls_key", key, &error))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(OwnCertificateError::KeyExposed(key.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_slice(&text("tls_key", key)?);
    let private = private.map_err(|error| wrong("tls_key", key, &error))?;
    let config = minter.config(chain, private).map_err(OwnCertificateError::Mismatch)?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::{Authorities, AuthoritySettings};

    struct Files {
        dir: tempfile::TempDir,
        minter: Arc<Minter>,
    }

    impl Files {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let settings = AuthoritySettings { dir: dir.path().join("ca"), ..AuthoritySettings::default() };
            let authorities = Authorities::open_or_create(&settings).unwrap();
            let files = Self { dir, minter: Arc::new(Minter::new(authorities, 4).unwrap()) };
            files.write("cert.pem", "key.pem");
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Draws a key and signs a certificate for it.
        fn write(&self, certificate: &str, key: &str) {
            let pair = KeyPair::generate().unwrap();
            let names = vec!["proxy.example".to_owned()];
            let signed = CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
            std::fs::write(self.path(certificate), signed.pem()).unwrap();
            std::fs::write(self.path(key), pair.serialize_pem()).unwrap();
            self.chmod(key, 0o640);
        }

        fn chmod(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        fn open(&self, certificate: &str, key: &str) -> Result<OwnCertificate, String> {
            let minter = Arc::clone(&self.minter);
            let opened = OwnCertificate::from_files(&self.path(certificate), &self.path(key), minter);
            opened.map_err(|error| error.to_string())
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let files = Files::new();
        files.write("other.pem", "other-key.pem");
        std::fs::write(files.path("empty.pem"), "").unwrap();
        files.write("open.pem", "open-key.pem");
        files.chmod("open-key.pem", 0o644);
        for (case, certificate, key, said) in [
            ("no certificate", "missing.pem", "key.pem", "[proxy] tls_certificate: "),
            ("no key", "cert.pem", "missing.pem", "[proxy] tls_key: "),
            ("nothing in the file", "empty.pem", "key.pem", "there is no certificate in it"),
            ("a certificate for a key", "cert.pem", "empty.pem", "[proxy] tls_key: "),
            ("the key of another", "cert.pem", "other-key.pem", "is not the key of the first certificate"),
            ("a key for everybody", "open.pem", "open-key.pem", "can be read by everybody"),
        ] {
            let error = files.open(certificate, key).err().unwrap_or_default();
            assert!(error.contains(said), "{case}: {error}");
        }
    }

    #[test]
    fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let files = Files::new();
        let own = files.open("cert.pem", "key.pem").unwrap();
        let first = own.server_config().unwrap();
        files.write("cert.pem", "key.pem");
        own.reload().unwrap();
        let second = own.server_config().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        std::fs::write(files.path("cert.pem"), "nothing").unwrap();
        assert!(own.reload().is_err());
        assert!(Arc::ptr_eq(&second, &own.server_config().unwrap()));
    }

    #[test]
    fn the_schools_authority_signs_where_there_are_no_files() {
        let files = Files::new();
        let own = OwnCertificate::minted("proxy.example", Arc::clone(&files.minter)).unwrap();
        assert!(own.server_config().is_ok() && own.reload().is_ok());
    }
}
