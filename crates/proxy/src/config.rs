//! The `[proxy]` and `[upstream]` sections of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

/// How clients reach the proxy, and how much of it they may take.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// `host:port` that the PAC file names; the address that the PAC file was fetched from where absent.
    pub public: Option<String>,
    /// Address and port at which clients reach the proxy over TLS; nowhere where absent.
    pub tls_listen: Option<SocketAddr>,
    /// `host:port` that the PAC file names for it; the host of `public`, or the one that the PAC file was fetched from,
    /// where absent.
    pub tls_public: Option<String>,
    /// The certificate shown there, with its chain, in PEM; one of the school's CA for the host of `tls_public` or
    /// `public` where absent.
    pub tls_certificate: Option<PathBuf>,
    /// The key of that certificate, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Connections at a time, all clients together.
    pub max_connections: usize,
    /// Connections at a time from one address. A site behind one address counts as one client.
    pub max_connections_per_client: usize,
    /// Exchanges under way at a time from one address, tunnels among them.
    pub max_exchanges_per_client: usize,
    /// The largest request head, in bytes.
    pub max_head_bytes: usize,
    /// Seconds that a client may take to send a request's head.
    pub head_timeout_secs: u64,
    /// Seconds that a connection may lie idle between requests.
    pub idle_timeout_secs: u64,
    /// Seconds without a byte read from or written to a client in the midst of a message.
    pub stall_timeout_secs: u64,
    /// Bytes a second that a request's body must come at where it is waited for, averaged over `stall_timeout_secs`;
    /// 0 for no such limit. Bodies that are sent bit by bit by their nature (gRPC) are not held to it.
    pub min_upload_bytes_per_sec: u64,
    /// Seconds without a byte in either direction after which a tunnel is closed.
    pub tunnel_idle_timeout_secs: u64,
    /// Seconds that exchanges under way may take to finish when Wardgate stops.
    pub drain_timeout_secs: u64,
    /// Hosts whose minted certificates are remembered.
    pub minted_hosts: usize,
    /// Mebibytes that all bodies whose text is being read may hold together: windows of their decoders, and what of
    /// them is held back.
    pub scan_memory_mib: usize,
    /// As many of them as may be for bodies of one client.
    pub scan_memory_per_client_mib: usize,
    /// Who may read `/metrics`, beside this machine.
    pub metrics_for: Vec<IpNet>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 3128)),
            public: None,
            tls_listen: None,
            tls_public: None,
            tls_certificate: None,
            tls_key: None,
            max_connections: 20_000,
            max_connections_per_client: 1_000,
            max_exchanges_per_client: 1_000,
            max_head_bytes: 64 * 1024,
            head_timeout_secs: 30,
            idle_timeout_secs: 120,
            stall_timeout_secs: 120,
            min_upload_bytes_per_sec: 500,
            tunnel_idle_timeout_secs: 900,
            drain_timeout_secs: 20,
            minted_hosts: 10_000,
            scan_memory_mib: 1_024,
            scan_memory_per_client_mib: 256,
            metrics_for: Vec::new(),
        }
    }
}

/// How the proxy reaches origins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// PEM files with further root certificates to trust, for example of the school's own servers.
    pub extra_roots: Vec<PathBuf>,
    /// Revocation lists of private authorities, in PEM or DER. Read again when they change.
    pub crls: Vec<PathBuf>,
    /// The directory in which upki keeps CRLite's data, which say what public authorities have revoked.
    pub crlite_dir: Option<PathBuf>,
    /// A file in the syntax of `/etc/hosts` that is consulted before DNS, beside `/etc/hosts` itself.
    pub hosts_file: Option<PathBuf>,
    /// Address ranges that are never connected to, whatever policy says. The default keeps clients away from
    /// link-local services of the proxy's own machine; add `127.0.0.0/8` and `::1/128` where other services run there.
    pub deny_addresses: Vec<IpNet>,
    /// Seconds for a connection to an origin, name look-up and TLS included.
    pub connect_timeout_secs: u64,
    /// Seconds until an origin begins to answer.
    pub response_timeout_secs: u64,
    /// Seconds without a byte of an answer's body.
    pub idle_timeout_secs: u64,
    /// Seconds without a byte of a live stream (server-sent events and the like).
    pub live_idle_timeout_secs: u64,
    /// Seconds that an unused connection to an origin is kept.
    pub keep_alive_secs: u64,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        let network = |text: &str| text.parse().expect("a network in CIDR notation");
        Self {
            extra_roots: Vec::new(),
            crls: Vec::new(),
            crlite_dir: None,
            hosts_file: None,
            deny_addresses: vec![
                network("0.0.0.0/8"),
                network("169.254.0.0/16"),
                network("224.0.0.0/4"),
                network("255.255.255.255/32"),
                network("::/128"),
                network("fe80::/10"),
                network("ff00::/8"),
            ],
            connect_timeout_secs: 15,
            response_timeout_secs: 300,
            idle_timeout_secs: 300,
            live_idle_timeout_secs: 3_600,
            keep_alive_secs: 60,
        }
    }
}

/// Seconds from the configuration as a duration; zero counts as one, so that no wait is without end or hopeless.
pub(crate) fn seconds(configured: u64) -> Duration {
    Duration::from_secs(configured.max(1))
}
