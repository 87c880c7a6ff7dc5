//! End-to-end tests: they speak only to the running program, as browsers, scripts, mail servers and technicians do.
//! One promise a file; `harness` is what they share, `policy` the policy they run under, `clients` scripts that they
//! start. They are one program, so that it is linked once.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failure with its line")]

mod harness;

mod alerts;
mod block;
mod chromium;
mod cli;
mod curl;
mod disguise;
mod forward;
mod fronting;
mod identity;
mod journal;
mod large;
mod limits;
mod malformed;
mod own_port;
mod reload;
mod scripts;
mod seams;
mod shutdown;
mod start;
mod streams;
mod tls_listener;
mod tunnel;
mod upgrade;
mod upstream;
mod warn;
