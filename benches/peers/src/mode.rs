//! What is measured: the six modes, each with its pages and ways to ask for them.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::load::Reuse;
use crate::pages::{BULK_MIB, Page};
use crate::peer::Work;

/// What the benchmark can be asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// Plain HTTP
    M1,
    /// CONNECT as a tunnel
    M2,
    /// Interception, connections kept
    M3,
    /// Interception, a new TLS connection for each request
    M4,
    /// Interception, every page scanned for phrases
    M5,
    /// Interception, a new host name for each connection
    M6,
    /// M1 and M3 once more, with oha as the load generator
    Oha,
    /// What a start with a million listed domains costs
    Start,
    /// How the cost grows with tunnels, exchanges, lists and phrases
    Growth,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    pub(crate) name: &'static str,
    pub(crate) page: Page,
    pub(crate) reuse: Reuse,
    pub(crate) http2: bool,
    pub(crate) resume: bool,
    /// Clients at full speed.
    pub(crate) clients: usize,
    /// Requests a second for the latencies: modest for the slowest of those that can do it.
    pub(crate) rate: u32,
}

const CASE: Case = Case {
    mode: Mode::M1,
    name: "",
    page: Page::Html(1),
    reuse: Reuse::Kept,
    http2: false,
    resume: true,
    clients: 32,
    rate: 200,
};
const M1: Case = Case { mode: Mode::M1, name: "plain HTTP", ..CASE };
const M3: Case = Case { mode: Mode::M3, name: "intercepted, kept, HTTP/1.1", ..CASE };
const M3_HTTP2: Case = Case { name: "intercepted, kept, HTTP/2", http2: true, ..M3 };
const M5: Case = Case { mode: Mode::M5, name: "intercepted, scanned", clients: 8, rate: 20, ..CASE };
/// The largest pages take the slowest proxy a tenth of a second.
const M5_LARGE: Case = Case { rate: 4, ..M5 };

/// Also what the targets speak of.
pub(crate) const NEW_TUNNEL: Case =
    Case { mode: Mode::M2, name: "a new tunnel each", reuse: Reuse::New, clients: 8, rate: 50, ..CASE };
pub(crate) const BULK: Case = Case {
    mode: Mode::M2,
    name: "bulk through a tunnel, per MiB",
    page: Page::Bulk,
    clients: 4,
    rate: 5,
    ..CASE
};
pub(crate) const FULL_HANDSHAKE: Case = Case {
    mode: Mode::M4,
    name: "a new TLS connection each, full handshake",
    reuse: Reuse::New,
    resume: false,
    clients: 8,
    rate: 50,
    ..CASE
};
pub(crate) const RESUMED: Case =
    Case { name: "a new TLS connection each, resumed", resume: true, ..FULL_HANDSHAKE };
pub(crate) const NEW_HOST: Case = Case {
    mode: Mode::M6,
    name: "a new host each",
    reuse: Reuse::NewHost,
    resume: false,
    clients: 8,
    rate: 20,
    ..CASE
};

/// All of them, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    M1,
    Case { page: Page::Html(32), ..M1 },
    Case { page: Page::Html(256), rate: 50, ..M1 },
    NEW_TUNNEL,
    BULK,
    M3,
    Case { page: Page::Html(32), ..M3 },
    Case { page: Page::Html(256), rate: 50, ..M3 },
    M3_HTTP2,
    Case { page: Page::Html(32), ..M3_HTTP2 },
    Case { page: Page::Html(256), rate: 50, ..M3_HTTP2 },
    FULL_HANDSHAKE,
    RESUMED,
    Case { page: Page::Html(32), ..M5 },
    Case { page: Page::Gzip(32), ..M5 },
    Case { page: Page::Html(256), ..M5_LARGE },
    Case { page: Page::Gzip(256), ..M5_LARGE },
    NEW_HOST,
];

/// What growth and oha vary.
pub(crate) const PLAIN: Case = M1;
pub(crate) const INTERCEPTED: Case = M3;
pub(crate) const INTERCEPTED_HTTP2: Case = M3_HTTP2;
pub(crate) const SCANNED: Case = Case { page: Page::Gzip(32), ..M5 };

impl Case {
    /// What the proxy has to do.
    pub(crate) fn work(&self) -> Work {
        match self.mode {
            Mode::M2 => Work::Tunnel,
            Mode::M5 => Work::Scan,
            _ => Work::Intercept,
        }
    }

    /// What the cost of an exchange is divided by.
    pub(crate) fn units(&self) -> f64 {
        if self.page == Page::Bulk { BULK_MIB as f64 } else { 1.0 }
    }

    /// How long latencies are looked at: longer where there are few a second.
    pub(crate) fn modest_time(&self, full: Duration) -> Duration {
        if self.rate < 50 { full * 2 } else { full }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}, {}", self.mode, self.name, self.page)
    }
}
