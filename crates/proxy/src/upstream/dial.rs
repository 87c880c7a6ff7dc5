//! Names to addresses to connections: cached DNS, and both address families raced (RFC 8305).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wardgate_core::{Host, Target, TlsProblem};
use wardgate_tls::{Handshake, TlsFailure};

use super::{UpstreamError, UpstreamSetupError};
use crate::config::UpstreamConfig;

/// A slower address family gets this much of a start over the next (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// More addresses of one name than this are not tried.
const MAX_ADDRESSES: usize = 12;
/// Names remembered.
const DNS_CACHE: u64 = 16 * 1024;

/// Resolves and connects.
pub(super) struct Dialer {
    hosts: Hosts,
    resolver: TokioResolver,
    denied: Vec<IpNet>,
    own_ports: Vec<u16>,
}

impl Dialer {
    pub(super) fn new(config: &UpstreamConfig, own_ports: Vec<u16>) -> Result<Self, UpstreamSetupError> {
        Ok(Self {
            hosts: hosts(config)?,
            resolver: resolver()?,
            denied: config.deny_addresses.clone(),
            own_ports,
        })
    }

    /// Connects to the target's host and port.
    pub(super) async fn dial(&self, target: &Target) -> Result<TcpStream, UpstreamError> {
        let addresses = match target.host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolve(name).await?,
        };
        let allowed: Vec<IpAddr> = addresses
            .into_iter()
            .map(|address| address.to_canonical()) // an IPv4 address in IPv6 clothing is the IPv4 address
            .filter(|address| !self.denied.iter().any(|net| net.contains(address)))
            .collect();
        if allowed.is_empty() {
            return Err(UpstreamError::Forbidden);
        }
        if self.own_ports.contains(&target.port()) && allowed.iter().any(is_this_machine) {
            return Err(UpstreamError::Loop);
        }
        race(interleaved(allowed), target.port()).await
    }

    /// The addresses of a name: what the hosts files say is the whole answer, as the system's own resolver has it.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, UpstreamError> {
        let known = self.listed(name);
        if !known.is_empty() {
            return Ok(known);
        }
        match self.resolver.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().take(MAX_ADDRESSES).collect()),
            Err(error) if error.is_no_records_found() => Err(UpstreamError::Unresolvable),
            Err(error) => {
                tracing::debug!(%error, "a name could not be looked up");
                Err(UpstreamError::ResolverFailed)
            }
        }
    }

    fn listed(&self, name: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_ascii(name) else { return Vec::new() };
        [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(|family| self.hosts.lookup_static_host(&Query::query(name.clone(), family)))
            .flat_map(|found| {
                found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
            })
            .take(MAX_ADDRESSES)
            .collect()
    }
}

/// `/etc/hosts`, and the configured file beside it.
fn hosts(config: &UpstreamConfig) -> Result<Hosts, UpstreamSetupError> {
    let mut hosts = Hosts::from_system().unwrap_or_default();
    if let Some(path) = &config.hosts_file {
        let failed = |source: io::Error| UpstreamSetupError::Hosts { path: path.clone(), source };
        hosts.read_hosts_conf(File::open(path).map_err(failed)?).map_err(failed)?;
    }
    Ok(hosts)
}

fn resolver() -> Result<TokioResolver, UpstreamSetupError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
        tracing::warn!(%error, "the system names no DNS servers: only the hosts files will resolve");
        TokioResolver::builder_with_config(ResolverConfig::default(), TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = DNS_CACHE;
    builder.build().map_err(|error| UpstreamSetupError::Resolver(error.to_string()))
}

fn is_this_machine(address: &IpAddr) -> bool {
    address.is_loopback() || std::net::UdpSocket::bind(SocketAddr::new(*address, 0)).is_ok()
}

/// IPv6 and IPv4 in turn, IPv6 first, each family in the order of the answer.
fn interleaved(addresses: Vec<IpAddr>) -> VecDeque<IpAddr> {
    let (mut six, mut four): (VecDeque<_>, VecDeque<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let mut order = VecDeque::with_capacity(six.len() + four.len());
    while !six.is_empty() || !four.is_empty() {
        order.extend(six.pop_front());
        order.extend(four.pop_front());
    }
    order
}

/// Starts one attempt after the other, each with a head start or at once when the last one failed; the first
/// connection wins.
async fn race(mut waiting: VecDeque<IpAddr>, port: u16) -> Result<TcpStream, UpstreamError> {
    let mut running = FuturesUnordered::new();
    let mut failure = io::ErrorKind::NotFound;
    loop {
        match waiting.pop_front() {
            Some(address) => running.push(connect(SocketAddr::new(address, port))),
            None if running.is_empty() => return Err(UpstreamError::Unreachable(failure)),
            None => {}
        }
        let head_start = if waiting.is_empty() { Duration::MAX } else { HEAD_START };
        match tokio::time::timeout(head_start, running.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(error))) => failure = error.kind(),
            Ok(None) | Err(_) => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Speaks TLS with an origin and verifies it under the target's host; what was overlooked comes with the stream.
pub(super) async fn tls(
    stream: TcpStream,
    target: &Target,
    handshake: &Handshake,
) -> Result<(TlsStream<TcpStream>, Vec<TlsProblem>), UpstreamError> {
    let name = match target.host() {
        Host::Name(name) => {
            ServerName::try_from(name.to_string()).map_err(|_| UpstreamError::Unresolvable)?
        }
        Host::Address(address) => ServerName::from(*address),
    };
    let connecting = TlsConnector::from(Arc::clone(handshake.config())).connect(name.clone(), stream);
    let stream = connecting.await.map_err(|error| {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(tls) => UpstreamError::Tls(Box::new(TlsFailure::of(tls))),
            None => UpstreamError::Closed,
        }
    })?;
    let overlooked = handshake.finish(stream.get_ref().1, &name);
    overlooked.map(|overlooked| (stream, overlooked)).map_err(|failure| UpstreamError::Tls(Box::new(failure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listed_name_is_not_asked_for() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(
            &mut file,
            b"192.0.2.7 Listed.example.test\n2001:db8::7 six.example.test\n",
        )
        .unwrap();
        let config = UpstreamConfig { hosts_file: Some(file.path().into()), ..UpstreamConfig::default() };
        let dialer = Dialer::new(&config, vec![1]).unwrap();
        for (name, expected) in [("listed.example.test", "192.0.2.7"), ("six.example.test", "2001:db8::7")] {
            let soon = tokio::time::timeout(Duration::from_millis(50), dialer.resolve(name));
            let addresses = soon.await.expect("no name server is asked").unwrap();
            assert_eq!(addresses, [expected.parse::<IpAddr>().unwrap()], "{name}");
        }
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"].map(|a| a.parse().unwrap());
        let order: Vec<String> = interleaved(addresses.to_vec()).iter().map(IpAddr::to_string).collect();
        assert_eq!(order, ["2001:db8::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    }

    #[tokio::test]
    async fn a_dead_address_does_not_keep_a_live_one_waiting() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let addresses = VecDeque::from(["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        assert!(race(addresses, port).await.is_ok());
    }

    #[tokio::test]
    async fn no_address_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let result = race(VecDeque::from(["127.0.0.1".parse().unwrap()]), port).await;
        assert!(matches!(result, Err(UpstreamError::Unreachable(io::ErrorKind::ConnectionRefused))));
    }
}
