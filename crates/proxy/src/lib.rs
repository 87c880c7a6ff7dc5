//! The proxy: accepts connections, learns who is there, tunnels or intercepts, exchanges requests and answers, and
//! answers with a page where policy or trouble says so. It enforces; it decides nothing.
//!
//! The modules are the stations of an exchange, in its order:
//!
//! ```text
//! listener -> connection -> identify -> connect -+- opening -+- tunnel ---------------------------+
//!                                                |           +- intercept -> request -> upstream  |
//!                                                |                           -> response -> body -+-> event
//!                                                +- refuse (pages) -------------------------------+
//! ```
//!
//! Beside them: `framing` checks HTTP/1 messages on the wire before hyper sees them, `scan` shows text to the stages as
//! it streams, `upload` is a request's body on its way out, `local` answers requests made to the proxy itself, `pages`
//! words every refusal; `share` and `stall` keep one client from taking the place of the others.

mod body;
mod bounds;
mod config;
mod connect;
mod connection;
mod framing;
mod handshakes;
mod headers;
mod identify;
mod intercept;
mod listener;
mod local;
mod opening;
mod pages;
mod request;
mod response;
mod scan;
mod share;
mod shared;
mod splice;
mod stall;
mod stream;
mod tunnel;
mod upload;
mod upstream;

#[doc(hidden)]
pub use framing::fuzzing;

pub use bounds::{MemoryBound, memory_bounds};
pub use config::{ProxyConfig, UpstreamConfig};
pub use listener::{Proxy, StartError};
pub use shared::{Parts, Rules};
pub use splice::MAX_PIPES;
pub use upstream::UpstreamSetupError;
