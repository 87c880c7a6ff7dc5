//! The file of a private key: readable by its owner only, encrypted where the school wants it so.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use rcgen::KeyPair;

use super::{AuthorityError, READABLE, WRITABLE, file};

/// The label of an encrypted key in PEM (RFC 7468, section 11).
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
/// Longest key file and longest passphrase, in bytes.
const MAX_KEY: u64 = 64 * 1024;
const MAX_PASSPHRASE: usize = 4096;

/// How keys lie on the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyStore {
    /// The file whose first line encrypts and decrypts keys.
    pub(super) passphrase_file: Option<PathBuf>,
}

/// A key as it was read.
pub(super) struct StoredKey {
    pub(super) pair: KeyPair,
    /// Whether the file needs a passphrase.
    pub(super) encrypted: bool,
}

impl KeyStore {
    /// Reads a key.
    pub(super) fn read(&self, path: &Path) -> Result<StoredKey, AuthorityError> {
        let pem = read_private(path)?;
        let unusable = |reason: String| AuthorityError::Unusable { path: path.to_owned(), reason };
        if !pem.contains(ENCRYPTED) {
            let pair = KeyPair::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
            return Ok(StoredKey { pair, encrypted: false });
        }
        let Some(passphrase_file) = &self.passphrase_file else {
            return Err(AuthorityError::Locked(path.to_owned()));
        };
        let (_, document) = SecretDocument::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        let passphrase = passphrase(passphrase_file)?;
        let plain = encrypted.decrypt(passphrase.as_bytes()).map_err(|_| {
            AuthorityError::WrongPassphrase { key: path.to_owned(), passphrase_file: passphrase_file.clone() }
        })?;
        let pair = KeyPair::try_from(plain.as_bytes()).map_err(|error| unusable(error.to_string()))?;
        Ok(StoredKey { pair, encrypted: true })
    }

    /// Writes a key to a file that does not exist yet, encrypted where a passphrase is set.
    pub(super) fn write(&self, path: &Path, pair: &KeyPair) -> Result<(), AuthorityError> {
        let pem = self.pem(path, pair)?;
        write_new(path, pem.as_bytes(), 0o600).map_err(|error| file("write", path, WRITABLE, error))
    }

    /// Writes a key in the place of the file that is there.
    pub(super) fn replace(&self, path: &Path, pair: &KeyPair) -> Result<(), AuthorityError> {
        let partial = path.with_extension("partial");
        let _ = fs::remove_file(&partial); // left over by somebody who was interrupted
        self.write(&partial, pair)?;
        fs::rename(&partial, path).map_err(|error| file("write", path, WRITABLE, error))
    }

    fn pem(&self, path: &Path, pair: &KeyPair) -> Result<String, AuthorityError> {
        let Some(passphrase_file) = &self.passphrase_file else { return Ok(pair.serialize_pem()) };
        let unusable = |error: &dyn ToString| AuthorityError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let plain = pair.serialize_der();
        let info = PrivateKeyInfoRef::try_from(&plain[..]).map_err(|error| unusable(&error))?;
        let encrypted =
            info.encrypt(passphrase(passphrase_file)?.as_bytes()).map_err(|error| unusable(&error))?;
        let pem =
            encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).map_err(|error| unusable(&error))?;
        Ok(pem.as_str().to_owned())
    }
}

/// The first line of the passphrase's file.
fn passphrase(path: &Path) -> Result<String, AuthorityError> {
    let text = read_private(path)?;
    let passphrase = text.lines().next().unwrap_or_default();
    if passphrase.is_empty() || passphrase.len() > MAX_PASSPHRASE {
        return Err(AuthorityError::Unusable {
            path: path.to_owned(),
            reason: "its first line, which is the passphrase of the CA's key, is empty or too long"
                .to_owned(),
        });
    }
    Ok(passphrase.to_owned())
}

/// Reads a file that nobody else may read.
fn read_private(path: &Path) -> Result<String, AuthorityError> {
    let metadata = fs::metadata(path).map_err(|error| file("read", path, READABLE, error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(AuthorityError::KeyExposed(path.to_owned()));
    }
    if metadata.len() > MAX_KEY {
        let reason = "it is too large".to_owned();
        return Err(AuthorityError::Unusable { path: path.to_owned(), reason });
    }
    fs::read_to_string(path).map_err(|error| file("read", path, READABLE, error))
}

pub(super) fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}
