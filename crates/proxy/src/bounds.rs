//! The most memory that the settings allow, from the constants and keys that set it. Beside it there are the program
//! itself and its rules, which are as large as the policy makes them.

use crate::config::ProxyConfig;
use crate::connection;
use crate::upstream::{self, MAX_ANSWER_HEAD};

/// What a connection costs that lies idle: intercepted, HTTP/2. `tests/denial.rs` holds it to this.
const IDLE_CONNECTION: u64 = 192 * 1024;
/// What an exchange costs beside its heads and bodies: its event, its places in queues, and the tasks that serve it.
const BARE_EXCHANGE: u64 = 32 * 1024;
/// What a certificate costs that is remembered, with the configuration that presents it: 2 KiB as measured, and as much
/// again for an authority with a longer one.
const CERTIFICATE: u64 = 4 * 1024;
const MIB: u64 = 1024 * 1024;

/// The most that things of one kind may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// What there is so much of.
    pub what: &'static str,
    /// The keys that set it.
    pub keys: &'static str,
    /// How many there may be.
    pub count: u64,
    /// Bytes for each.
    pub each: u64,
}

impl MemoryBound {
    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.count.saturating_mul(self.each)
    }
}

/// The most that each kind of thing may take where so many exchanges can be under way, and of it what one client may.
pub fn memory_bounds(config: &ProxyConfig, exchanges: usize) -> (Vec<MemoryBound>, Vec<MemoryBound>) {
    let connection = IDLE_CONNECTION + 2 * config.max_head_bytes as u64; // a head being read, and one being parsed
    let connections = |count: usize, keys| MemoryBound {
        what: "connections, with a head that is being read",
        keys,
        count: count as u64,
        each: connection,
    };
    let exchange = BARE_EXCHANGE
        + config.max_head_bytes as u64
        + MAX_ANSWER_HEAD as u64
        + connection::UNREAD_UPLOAD
        + connection::UNSENT_ANSWER
        + upstream::UNREAD_ANSWER
        + upstream::UNSENT_UPLOAD;
    let under_way = |count: usize, keys| MemoryBound {
        what: "exchanges that neither side reads",
        keys,
        count: count as u64,
        each: exchange,
    };
    let scans = |mib: usize, keys| MemoryBound {
        what: "MiB for bodies that are being read",
        keys,
        count: mib as u64,
        each: MIB,
    };
    let all = vec![
        connections(config.max_connections, "[proxy] max_connections, max_head_bytes"),
        under_way(exchanges, "[log] capacity"),
        scans(config.scan_memory_mib, "[proxy] scan_memory_mib"),
        MemoryBound {
            what: "certificates that are remembered",
            keys: "[proxy] minted_hosts",
            count: config.minted_hosts as u64,
            each: CERTIFICATE,
        },
    ];
    let one = vec![
        connections(config.max_connections_per_client, "[proxy] max_connections_per_client, max_head_bytes"),
        under_way(config.max_exchanges_per_client.min(exchanges), "[proxy] max_exchanges_per_client"),
        scans(config.scan_memory_per_client_mib, "[proxy] scan_memory_per_client_mib"),
    ];
    (all, one)
}
