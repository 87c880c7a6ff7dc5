//! What a stage reports: a category, why, and how sure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::CategoryName;

/// The score of a finding that leaves no doubt, such as an entry of a list. Phrase scores are points on the same
/// scale; policy sets the limits at which they count.
pub const CERTAIN: f32 = 100.0;

/// What kind of text (or address) was looked at. Limits differ: a search of three words weighs more than three
/// words in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextKind {
    /// The address itself: host, path, query.
    Address,
    /// Text of a page, a script's answer, a stream.
    Page,
    /// Words typed into a search box.
    Search,
    /// Words typed to an AI assistant.
    Prompt,
    /// Words typed into a form, a comment, a message.
    Post,
}

impl TextKind {
    /// The name used in policy files and the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Page => "page",
            Self::Search => "search",
            Self::Prompt => "prompt",
            Self::Post => "post",
        }
    }
}

/// One stage's report of one category. Never a decision: that is policy's.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The stage that found it, for example `lists`.
    pub stage: &'static str,
    /// What it is about.
    pub category: CategoryName,
    /// Where it was found.
    pub kind: TextKind,
    /// How sure, in points; [`CERTAIN`] for a list entry. Finite, may fall below zero never.
    pub score: f32,
    /// Why.
    pub evidence: Evidence,
}

/// Why a stage reports a finding.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// An entry of a list.
    Entry {
        /// The list's name in the policy.
        list: Arc<str>,
        /// The entry as it matched, for example `example.com` or `example.com/path`.
        entry: Box<str>,
    },
    /// Phrases in a text, in order of first occurrence, bounded in number.
    Phrases(Vec<PhraseHit>),
}

/// A phrase that occurred in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct PhraseHit {
    /// The phrase as the policy file writes it.
    pub phrase: Arc<str>,
    /// Byte offset of the first occurrence in the readable text.
    pub offset: u64,
    /// Points that the phrase contributes; 0 where an exclusion voided it.
    pub weight: f32,
    /// How often it occurred.
    pub count: u32,
    /// The words around the first occurrence, at most about 160 bytes.
    pub snippet: Box<str>,
}
