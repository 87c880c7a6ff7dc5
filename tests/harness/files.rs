//! Files as a good web server gives them out: with validators, conditional requests and ranges (RFC 9110, sections 13
//! and 14). Whole files are held in memory: they are small, or made once for all tests.

use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::origin::{Body, full, plain, with};

/// How much [`sample`] has to give.
pub(crate) const SAMPLE_BYTES: usize = 64 * 1024 * 1024;

/// The length of what the sample repeats: a prime, so that nothing lost, doubled or moved goes unseen.
const BLOCK: usize = 65_521;

static SAMPLE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let block: Vec<u8> = std::iter::repeat_with(&mut next).take(BLOCK).collect();
    Bytes::from_iter(block.into_iter().cycle().take(SAMPLE_BYTES))
});

/// The first bytes of a long file that does not compress.
pub(crate) fn sample(bytes: usize) -> Bytes {
    SAMPLE.slice(..bytes.min(SAMPLE_BYTES))
}

/// The digest by which files are compared, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file to be served.
pub(crate) struct Served {
    content: Bytes,
    media_type: &'static str,
    etag: String,
    modified: SystemTime,
}

impl Served {
    /// Content that never changes.
    pub(crate) fn fixed(content: Bytes, media_type: &'static str) -> Self {
        let etag = format!("\"fixed-{}\"", content.len());
        let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        Self { content, media_type, etag, modified }
    }

    /// A file below `root`, where there is one.
    pub(crate) fn read(root: &Path, path: &str) -> Option<Self> {
        let file = root.join(path.trim_start_matches('/'));
        let content = std::fs::read(&file).ok()?;
        let modified = file.metadata().and_then(|about| about.modified()).ok()?;
        let etag = format!("\"{}\"", &sha256(&content)[..16]);
        Some(Self { content: content.into(), media_type: "application/octet-stream", etag, modified })
    }

    /// Answers a request for it with these header fields.
    pub(crate) fn answer(self, asked: &HeaderMap) -> Response<Body> {
        let modified = httpdate::fmt_http_date(self.modified);
        let said = |name: HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
        let unchanged = match said(header::IF_NONE_MATCH) {
            Some(tags) => tags.contains(&self.etag),
            None => said(header::IF_MODIFIED_SINCE) == Some(&modified),
        };
        let response = if unchanged {
            let mut response = Response::new(full(""));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let current = said(header::IF_RANGE).is_none_or(|known| known == self.etag || known == modified);
            self.content(said(header::RANGE).filter(|_| current))
        };
        let response = with(response, header::CONTENT_TYPE, self.media_type);
        let response = with(response, header::ACCEPT_RANGES, "bytes");
        with(with(response, header::ETAG, &self.etag), header::LAST_MODIFIED, &modified)
    }

    fn content(&self, range: Option<&str>) -> Response<Body> {
        let Some((from, to)) = range.and_then(|range| parse_range(range, self.content.len())) else {
            return Response::new(full(self.content.clone()));
        };
        if from >= to {
            let response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "");
            return with(response, header::CONTENT_RANGE, &format!("bytes */{}", self.content.len()));
        }
        let mut response = Response::new(full(self.content.slice(from..to)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let said = format!("bytes {from}-{}/{}", to - 1, self.content.len());
        with(response, header::CONTENT_RANGE, &said)
    }
}

/// One range of bytes, from the first to behind the last.
fn parse_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        return Some((length.saturating_sub(to.parse().ok()?), length));
    }
    let to = if to.is_empty() { length } else { to.parse::<usize>().ok()?.saturating_add(1).min(length) };
    Some((from.parse().ok()?, to))
}
