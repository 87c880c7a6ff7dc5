//! The stage `phrases`: weighted phrases over text that streams past.
//!
//! A text is folded as it comes (`fold`: lower case, no accents, one space between words) and told apart in words
//! (`past`). Phrases are folded alike, with a space at either end where a word must begin or end: so `" essex "` is
//! found and `" sex "` in it is not. Which phrases a text may end with at the end of a word, or within one, is told by
//! a few numbers made of the last words' letters (`finder`); only those are compared. What is known of the words before
//! is carried from piece to piece (`inspect`), so a text may be cut anywhere.
//!
//! What occurs is added up by category (`tally`): each phrase weighs once (or `count` times), is void near an
//! exclusion, and context phrases weigh against. Scores are points; policy says at how many points a category counts.
//!
//! # Phrase files
//!
//! ```toml
//! category = "suicide"
//! language = "en"
//! source = "Samaritans' media guidelines: words that people in distress search for"
//!
//! [[phrase]]
//! text = "kill myself | killing myself"    # spellings of one phrase; whole words
//! weight = 60
//! kinds = ["search", "prompt", "post"]     # all four kinds where left out
//!
//! [[phrase]]
//! text = "suicid*"                         # the beginning of a word; "*cide" is the end of one
//! weight = 10
//! count = 2                                # counts at most twice
//! unless = ["suicide squad", "suicide prevention"]
//! within = 6                               # words on either side; 12 where left out
//!
//! [[phrase]]
//! all = ["painless | quick", "way to die"] # all of them, in any order
//! within = 10                              # within so many words; 20 where left out
//! weight = 60
//!
//! [[context]]                              # speaks against the category
//! text = "crisis line | helpline"
//! weight = -20
//! ```

mod compile;
mod file;
mod filter;
mod finder;
mod fold;
mod folded;
mod inspect;
#[cfg(test)]
mod oracle;
mod past;
mod recent;
mod tally;

use std::sync::Arc;

use wardgate_core::{CategoryName, Diagnostic, Inspector, Stage, TextKind};

pub use file::PhraseFile;

/// The stage's name in findings.
const STAGE: &str = "phrases";

/// All phrases of a policy, compiled. Cheap to clone.
#[derive(Clone)]
pub struct Phrases {
    compiled: Arc<compile::Compiled>,
}

impl Phrases {
    /// Compiles phrase files. `categories` are the names that the policy defines. Warnings come with the result; an
    /// error stands for all files, and brings the warnings too.
    pub fn compile(
        files: &[PhraseFile<'_>],
        categories: &[CategoryName],
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (compiled, warnings) = compile::compile(files, categories)?;
        Ok((Self { compiled: Arc::new(compiled) }, warnings))
    }

    /// How many phrases there are: combinations and context phrases count one each, spellings do not count.
    pub fn len(&self) -> usize {
        self.compiled.len()
    }

    /// Whether there is no phrase at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The languages of the phrase files, as they name them.
    pub fn languages(&self) -> &[Box<str>] {
        &self.compiled.languages
    }
}

impl Stage for Phrases {
    fn name(&self) -> &'static str {
        STAGE
    }

    fn inspector(&self, kind: TextKind) -> Option<Box<dyn Inspector>> {
        if self.is_empty() || kind == TextKind::Address {
            return None;
        }
        Some(Box::new(inspect::PhraseInspector::new(Arc::clone(&self.compiled), kind)))
    }
}

#[cfg(test)]
mod tests;
