//! The words of Wardgate's design and the contracts between its crates: what is asked for, who asks, what was
//! found, what was decided and what is recorded. Nothing here does I/O or knows a runtime.
//!
//! Read the modules in the order in which an exchange meets them:
//! [`target`] (what is asked for), [`who`] (who asks), [`stage`] and [`pipeline`] (what is found),
//! [`finding`] (what a find looks like), [`decision`] (what is decided), [`certificate`] (what can be wrong with an
//! origin's TLS), [`event`] (what is recorded).

pub mod category;
pub mod certificate;
pub mod decision;
pub mod diagnostic;
pub mod event;
pub mod finding;
pub mod pipeline;
pub mod stage;
pub mod target;
pub mod who;

pub use category::{CategoryName, GroupName, ThemeName};
pub use certificate::{CertificateException, Excusable, Fingerprint, TlsProblem};
pub use decision::{
    AlertLevel, Carried, Concern, Decide, Decision, Entrance, Fault, GroupId, GroupSettings, HelpLine, Login,
    Membership, OnError, Phase, Purpose, Question, Route, RuleRef, Ruleset, Verdict, Wording,
};
pub use diagnostic::{Diagnostic, Position, Severity};
pub use event::{Event, EventGuard, EventId, Fronting, Journal, Outcome, Unrecordable, WrittenText};
pub use finding::{CERTAIN, Evidence, Finding, PhraseHit, TextKind};
pub use pipeline::{Pipeline, Scan, StageFailure};
pub use stage::{Inspector, Report, RequestHead, Stage, Written};
pub use target::{Host, Scheme, Target, TargetError, domain_above};
pub use who::{Authenticate, Credentials, Identified, IdentitySource, UserName, Who};

/// A boxed future, for the few contracts that wait and must be object-safe.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
