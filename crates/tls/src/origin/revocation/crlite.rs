//! CRLite: Mozilla's compressed lists of everything that public authorities have revoked, as the program `upki` fetches
//! them. Read once, by the library that upki itself uses; asking upki would read and decode a filter of some megabytes
//! for every handshake.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clubcard_crlite::{CRLiteClubcard, CRLiteKey, CRLiteStatus, IssuerSpkiHash, LogId, Timestamp};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::ParsedExtension;

use super::{Certificate, RevocationSource, SourceError, SourceKind};

/// The file that names the others.
pub(super) const MANIFEST: &str = "manifest.json";
const MAX_MANIFEST: u64 = 1 << 20;
/// Largest filter, and all together, in bytes. Mozilla's have some megabytes.
const MAX_FILTER: u64 = 64 << 20;
const MAX_FILTERS: u64 = 256 << 20;

/// The filters, ready to be asked.
pub(super) struct CrLite {
    dir: PathBuf,
    filters: Vec<CRLiteClubcard>,
    /// When the data were made.
    pub(super) made: SystemTime,
}

/// What of upki's manifest matters here.
#[derive(Deserialize)]
struct Manifest {
    generated_at: u64,
    #[serde(alias = "filters")]
    files: Vec<ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    filename: String,
    /// SHA-256 in hex.
    hash: String,
}

impl CrLite {
    /// Reads what the manifest names; nothing where there is no manifest.
    pub(super) fn load(dir: &Path) -> Result<Option<Self>, SourceError> {
        let path = dir.join(MANIFEST);
        if !path.exists() {
            return Ok(None);
        }
        let manifest = bounded(&path, MAX_MANIFEST)?;
        let manifest: Manifest =
            serde_json::from_slice(&manifest).map_err(|error| SourceError::new(&path, error))?;
        let (mut filters, mut left) = (Vec::with_capacity(manifest.files.len()), MAX_FILTERS);
        for file in &manifest.files {
            let path = dir.join(&file.filename);
            if file.filename.contains(['/', '\\']) {
                return Err(SourceError::new(&path, "its name leads elsewhere"));
            }
            let bytes = bounded(&path, MAX_FILTER.min(left))?;
            left -= bytes.len() as u64;
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            if !digest.eq_ignore_ascii_case(&file.hash) {
                return Err(SourceError::new(&path, "it is not the file that the manifest names"));
            }
            let filter = CRLiteClubcard::from_bytes(&bytes)
                .map_err(|error| SourceError::new(&path, format!("{error:?}")))?;
            filters.push(filter);
        }
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(manifest.generated_at);
        Ok(Some(Self { dir: dir.to_owned(), filters, made }))
    }

    pub(super) fn source(&self) -> RevocationSource {
        RevocationSource {
            kind: SourceKind::CrLite,
            path: self.dir.clone(),
            covers: format!("certificates of public authorities, {} filters of CRLite", self.filters.len()),
            made: Some(self.made),
            until: None,
        }
    }

    /// Whether a filter that covers the certificate says that it was revoked. Covered is what was logged in time, by
    /// the timestamps that the certificate carries (RFC 6962, section 3.3); they are asked about, not relied on.
    pub(super) fn has_revoked(&self, certificate: &Certificate<'_>) -> bool {
        let logged = logged(certificate);
        if logged.is_empty() {
            return false; // not a certificate of a public authority
        }
        let issuer = IssuerSpkiHash(Sha256::digest(&certificate.issuer.key).into());
        let hash = Sha256::new_with_prefix(issuer.0).chain_update(certificate.serial).finalize().into();
        let key = CRLiteKey::with_hash(&issuer, certificate.serial, hash);
        self.filters
            .iter()
            .any(|filter| matches!(filter.contains(&key, logged.iter().copied()), CRLiteStatus::Revoked))
    }
}

/// In which logs a certificate was, and when.
fn logged(certificate: &Certificate<'_>) -> Vec<(LogId, Timestamp)> {
    let timestamps = certificate.parsed.extensions().iter().find_map(|one| match one.parsed_extension() {
        ParsedExtension::SCT(timestamps) => Some(timestamps),
        _ => None,
    });
    let logged = timestamps.into_iter().flatten();
    logged.map(|one| (LogId(*one.id.key_id), Timestamp(one.timestamp))).collect()
}

fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let failed = |error: std::io::Error| SourceError::new(path, error);
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(SourceError::new(path, "it is too large"));
    }
    Ok(bytes)
}
