//! The contract of a stage: look at one exchange, report findings, decide nothing, do no I/O.

use crate::{Finding, Target, TextKind};

/// What a stage sees of a request before its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method, for example `GET`.
    pub method: &'a str,
    /// The canonical target.
    pub target: &'a Target,
    /// Value of `Content-Type`, where the request carries a body.
    pub content_type: Option<&'a str>,
}

/// Words that a person wrote, taken out of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Search, prompt or post.
    pub kind: TextKind,
    /// The service, for example `google` or `wikipedia`.
    pub service: &'static str,
    /// The words, decoded.
    pub text: Box<str>,
}

/// What the stages have to say about a request's head.
#[derive(Debug, Default)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Words that the person wrote; the pipeline shows them to every inspector.
    pub written: Vec<Written>,
    /// What the text of the request's body is, if it has one; [`TextKind::Post`] unless a stage knows better.
    pub body_kind: Option<TextKind>,
}

/// A detector. One for the process, shared by all exchanges; state for one text lives in its [`Inspector`].
pub trait Stage: Send + Sync {
    /// The stage's name in findings, for example `lists`.
    fn name(&self) -> &'static str;

    /// Looks at a request's head. Findings about the address have [`TextKind::Address`].
    fn request(&self, _head: &RequestHead<'_>, _report: &mut Report) {}

    /// An inspector for a text of this kind, or nothing where the stage has no interest in it.
    fn inspector(&self, _kind: TextKind) -> Option<Box<dyn Inspector>> {
        None
    }
}

/// Looks at one text as it streams past.
pub trait Inspector: Send {
    /// Takes the next piece. Pieces arrive in order; their borders mean nothing: cut anywhere, the same text gives
    /// the same findings. Returns whether [`Inspector::findings`] may now answer differently: `false` is a promise.
    fn text(&mut self, piece: &str) -> bool;

    /// Says that the text has ended. Returns whether the findings changed.
    fn end(&mut self) -> bool;

    /// Appends what was found so far, one finding a category.
    fn findings(&self, into: &mut Vec<Finding>);
}
