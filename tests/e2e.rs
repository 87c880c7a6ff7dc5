//! End-to-end tests: they speak only to the running program, as browsers, scripts, mail servers and technicians do.
//! One promise a file; `harness` is what they share, `policy` the policy they run under, `clients` scripts that they
//! start. They are one program, so that it is linked once.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failure with its line")]

mod harness;

mod alerts;
mod authority;
mod avoidance;
mod block;
mod certificates;
mod chromium;
mod cli;
mod clients;
mod curl;
mod denial;
mod disguise;
mod exceptions;
mod forward;
mod fronting;
mod http2;
mod http_requests;
mod http_responses;
mod identity;
mod journal;
mod large;
mod limits;
mod own_port;
mod pinned;
mod protocols;
mod reload;
mod revocation;
mod scripts;
mod seams;
mod shutdown;
mod soak;
mod start;
mod streams;
mod tls_listener;
mod tunnel;
mod upgrade;
mod upstream;
mod warn;
