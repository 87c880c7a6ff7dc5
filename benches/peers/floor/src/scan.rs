//! The add-on that a scanned page costs at least: the page decoded, and one automaton over all of it.

use std::fs;
use std::io::Read;
use std::path::Path;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use anyhow::Context;
use flate2::read::GzDecoder;

/// A page may not decode to more than this.
const MAX_DECODED: u64 = 16 * 1024 * 1024;

pub(crate) struct Phrases(AhoCorasick);

impl Phrases {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let phrases = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(phrases)?;
        Ok(Self(automaton))
    }

    /// How often any of the phrases stands in a page.
    pub(crate) fn count(&self, body: &[u8], gzip: bool) -> anyhow::Result<usize> {
        if !gzip {
            return Ok(self.0.find_overlapping_iter(body).count());
        }
        let mut decoded = Vec::new();
        GzDecoder::new(body).take(MAX_DECODED).read_to_end(&mut decoded)?;
        Ok(self.0.find_overlapping_iter(&decoded).count())
    }
}
