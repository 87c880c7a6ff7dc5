//! Revocation lists in files (RFC 5280, section 5): for authorities of the school's own, whose revocations nobody else
//! publishes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{GRACE, RevocationSource, SourceError, SourceKind};

/// Largest list, in bytes: some hundred thousand revocations.
const MAX_LIST: u64 = 32 << 20;

/// All lists.
#[derive(Default)]
pub(super) struct Lists(Vec<List>);

struct List {
    path: PathBuf,
    list: CertRevocationList<'static>,
    /// In words.
    issuer: String,
    this_update: UnixTime,
    next_update: Option<UnixTime>,
}

impl Lists {
    pub(super) fn load(files: &[PathBuf]) -> Result<Self, SourceError> {
        let mut lists = Vec::new();
        for path in files {
            for der in read(path)? {
                lists.push(List::parse(path, &der)?);
            }
        }
        Ok(Self(lists))
    }

    pub(super) fn all(&self) -> Vec<&CertRevocationList<'static>> {
        self.0.iter().map(|list| &list.list).collect()
    }

    pub(super) fn sources(&self) -> Vec<RevocationSource> {
        let source = |list: &List| RevocationSource {
            kind: SourceKind::List,
            path: list.path.clone(),
            covers: format!("certificates issued by {}", list.issuer),
            made: Some(system_time(list.this_update)),
            until: list.next_update.map(system_time),
        };
        self.0.iter().map(source).collect()
    }

    /// The lists whose time is over, with the day on which it was.
    pub(super) fn expired(&self, now: UnixTime) -> impl Iterator<Item = (&Path, UnixTime)> {
        self.0.iter().filter_map(move |list| list.ended(now).map(|ended| (&*list.path, ended)))
    }

    /// A list of one of these issuers that has been expired for so long that it says nothing any more, where there is
    /// no newer one.
    pub(super) fn too_old(&self, issuers: &[Vec<u8>], now: UnixTime) -> Option<(&Path, UnixTime)> {
        issuers.iter().find_map(|issuer| {
            let of_issuer = || self.0.iter().filter(|list| list.list.issuer() == issuer);
            let old = |list: &List| {
                list.ended(now).filter(|ended| now.as_secs() - ended.as_secs() > GRACE.as_secs())
            };
            if of_issuer().any(|list| old(list).is_none()) {
                return None;
            }
            of_issuer().find_map(|list| old(list).map(|ended| (&*list.path, ended)))
        })
    }
}

impl List {
    fn parse(path: &Path, der: &[u8]) -> Result<Self, SourceError> {
        let failed = |reason: &dyn ToString| SourceError::new(path, reason.to_string());
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| failed(&format!("{error:?}")))?;
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|error| failed(&error))?;
        let at = |time: x509_parser::time::ASN1Time| {
            UnixTime::since_unix_epoch(Duration::from_secs(time.timestamp().max(0).unsigned_abs()))
        };
        Ok(Self {
            path: path.to_owned(),
            issuer: parsed.issuer().to_string(),
            this_update: at(parsed.last_update()),
            next_update: parsed.next_update().map(at),
            list: list.into(),
        })
    }

    /// When it ended, where it has.
    fn ended(&self, now: UnixTime) -> Option<UnixTime> {
        self.next_update.filter(|next| *next < now)
    }
}

/// The lists of a file: any number in PEM, or one in DER.
fn read(path: &Path) -> Result<Vec<Vec<u8>>, SourceError> {
    let failed = |error: std::io::Error| SourceError::new(path, error);
    if fs::metadata(path).map_err(failed)?.len() > MAX_LIST {
        return Err(SourceError::new(path, format!("larger than {} MiB", MAX_LIST >> 20)));
    }
    let bytes = fs::read(path).map_err(failed)?;
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes]);
    }
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    let lists = lists.map_err(|error| SourceError::new(path, error))?;
    if lists.is_empty() {
        return Err(SourceError::new(path, "it holds no revocation list, neither in PEM nor in DER"));
    }
    Ok(lists.iter().map(|list| list.to_vec()).collect())
}

fn system_time(at: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_secs())
}
