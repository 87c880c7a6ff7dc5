//! What all connections of a proxy share, and the parts that the binary hands in.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use metrics::Counter;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wardgate_core::{Authenticate, BoxFuture, Event, Journal, Outcome, Ruleset, Unrecordable, Verdict};
use wardgate_text::Memory;
use wardgate_tls::{Minter, OriginTls, OwnCertificate};

use crate::config::{ProxyConfig, seconds};
use crate::framing::Limits;
use crate::handshakes::Handshakes;
use crate::local::Grants;
use crate::pages::Pages;
use crate::upstream::Upstream;

/// The rules in force. A reload stores new ones; an exchange keeps those that it began with.
pub type Rules = ArcSwap<Ruleset>;

/// What the binary puts into a proxy.
pub struct Parts {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// Where events go.
    pub journal: Arc<dyn Journal>,
    /// Who says who a client is.
    pub authenticate: Arc<dyn Authenticate>,
    /// Mints certificates for intercepted hosts.
    pub minter: Arc<Minter>,
    /// Verifies origins.
    pub origin_tls: Arc<OriginTls>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) listen: SocketAddr,
    /// Where clients come over TLS, and the certificate that they are shown.
    pub(crate) tls: Option<TlsEntrance>,
    pub(crate) parts: Parts,
    /// Where events go: the journal of the parts, told when Wardgate ends.
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) upstream: Upstream,
    pub(crate) pages: Pages,
    pub(crate) grants: Grants,
    /// Turns at TLS handshakes with clients.
    pub(crate) handshakes: Handshakes,
    /// What the bodies that are being read may hold.
    pub(crate) scan_memory: Arc<Memory>,
    /// Cancelled when no new request may begin.
    pub(crate) draining: CancellationToken,
    /// Cancelled when what is still under way must end.
    pub(crate) ending: CancellationToken,
    /// Every connection and tunnel.
    pub(crate) tasks: TaskTracker,
}

/// The way in for clients that speak TLS to the proxy itself.
pub(crate) struct TlsEntrance {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: Arc<OwnCertificate>,
}

/// Passes events on, and says of those that end with Wardgate that this is why: what is dropped then looks like a
/// client that went away.
pub(crate) struct Recorder {
    journal: Arc<dyn Journal>,
    ending: CancellationToken,
    /// By verdict and outcome: looked up once, not with every exchange.
    exchanges: [[Counter; Outcome::ALL.len()]; Verdict::ALL.len()],
}

impl Recorder {
    pub(crate) fn new(journal: Arc<dyn Journal>, ending: CancellationToken) -> Self {
        let exchanges = Verdict::ALL.map(|verdict| {
            Outcome::ALL.map(|outcome| {
                let (decision, outcome) = (verdict.as_str(), outcome.as_str());
                metrics::counter!("wardgate_exchanges_total", "decision" => decision, "outcome" => outcome)
            })
        });
        Self { journal, ending, exchanges }
    }
}

impl Journal for Recorder {
    fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>> {
        self.journal.reserve()
    }

    fn record(&self, mut event: Event) {
        if event.outcome == Outcome::ClientClosed && event.detail.is_none() && self.ending.is_cancelled() {
            event.ended(Outcome::ShutDown, None);
        }
        self.exchanges[event.verdict as usize][event.outcome as usize].increment(1);
        self.journal.record(event);
    }
}

impl Shared {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            head_bytes: self.config.max_head_bytes,
            head_time: seconds(self.config.head_timeout_secs),
            idle_time: seconds(self.config.idle_timeout_secs),
            stall_time: seconds(self.config.stall_timeout_secs),
        }
    }
}
