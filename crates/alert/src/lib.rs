//! From the access log to somebody who can help. The sink follows the access log, groups what is of concern per
//! person and theme into alerts, and delivers them: immediate ones at once, the rest in a daily or weekly digest.
//!
//! Nothing is lost and nothing is doubled by a crash: alerts, deliveries and the place in the log are kept in one
//! transaction ([`wardgate_store::AlertBatch`]). One window cannot be closed: between a receiver's acceptance and the
//! note of it. A crash there sends the message again with the same id (`Message-ID`, `Wardgate-Delivery`), so that
//! the receiver can drop the second.
//!
//! Read the modules in the order in which a concern meets them: [`config`] (who receives), `concern` (what a line of
//! the log says), `grouping` (which alert it belongs to), `intake` (from log to store), [`mod@digest`] (summaries),
//! `letter` (what is said), `courier` and `backoff` (the queue), `email` and `webhook` (the ways), [`sink`] (all of
//! it running).

mod backoff;
mod concern;
pub mod config;
mod courier;
pub mod digest;
mod email;
mod error;
mod grouping;
mod guidance;
mod intake;
mod letter;
pub mod sink;
#[cfg(test)]
mod testing;
mod tls;
mod webhook;

pub use config::{AlertConfig, DigestConfig, Secret, SmtpConfig, SmtpLogin, SmtpTls, WebhookConfig};
pub use digest::{Digest, Period, PersonSummary, ThemeSummary, Totals, digest};
pub use error::AlertError;
pub use guidance::Guidance;
pub use sink::{AlertSink, LogSource};
