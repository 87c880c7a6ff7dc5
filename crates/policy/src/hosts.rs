//! Hosts and their subdomains, looked up label by label.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use ipnet::IpNet;
use wardgate_core::{Host, domain_above};

/// Hosts as policy files name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// A name with its subdomains, or an address.
    One(Host),
    /// Every address of a range, where it is asked for as an address.
    Range(IpNet),
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(host) => host.fmt(f),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl From<Host> for Hosts {
    fn from(host: Host) -> Self {
        Self::One(host)
    }
}

/// What is said of hosts: an entry for `example.com` holds for `www.example.com` too, unless that has its own, and one
/// for a range for every address in it.
///
/// Only the policy puts names in, so a stranger cannot make them collide: the hash may be a quick one.
#[derive(Debug)]
pub(crate) struct HostMap<T> {
    names: HashMap<Box<str>, T, RandomState>,
    addresses: HashMap<IpAddr, T>,
    ranges: Vec<(IpNet, T)>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { names: HashMap::default(), addresses: HashMap::new(), ranges: Vec::new() }
    }
}

impl<T> HostMap<T> {
    /// Says something of hosts; returns what was said of the very same ones before.
    pub(crate) fn insert(&mut self, hosts: impl Into<Hosts>, value: T) -> Option<T> {
        match hosts.into() {
            Hosts::One(Host::Name(name)) => self.names.insert(name, value),
            Hosts::One(Host::Address(address)) => self.addresses.insert(address, value),
            Hosts::Range(range) => match self.ranges.iter_mut().find(|(known, _)| *known == range) {
                Some((_, known)) => Some(std::mem::replace(known, value)),
                None => {
                    self.ranges.push((range, value));
                    None
                }
            },
        }
    }

    /// What is said of this host: by its own entry, or by that of the nearest domain above it, or by that of the
    /// narrowest range around it.
    pub(crate) fn get(&self, host: &Host) -> Option<&T> {
        match host {
            Host::Name(_) if self.names.is_empty() => None,
            Host::Name(name) => domains(name).find_map(|domain| self.names.get(domain)),
            Host::Address(address) => self.addresses.get(address).or_else(|| self.around(*address)),
        }
    }

    fn around(&self, address: IpAddr) -> Option<&T> {
        let around = self.ranges.iter().filter(|(range, _)| range.contains(&address));
        around.max_by_key(|(range, _)| range.prefix_len()).map(|(_, value)| value)
    }

    /// Whether each host that is in `other` is in this one too.
    pub(crate) fn covers<U>(&self, other: &HostMap<U>) -> bool {
        other.names.keys().all(|name| domains(name).any(|domain| self.names.contains_key(domain)))
            && other.addresses.keys().all(|address| self.get(&Host::Address(*address)).is_some())
            && other
                .ranges
                .iter()
                .all(|(inner, _)| self.ranges.iter().any(|(outer, _)| outer.contains(inner)))
    }
}

/// A name and the domains above it: `a.b.c`, `b.c`, `c`.
fn domains(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| domain_above(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(hosts: &[&str]) -> HostMap<usize> {
        let mut map = HostMap::default();
        for (number, host) in hosts.iter().enumerate() {
            let hosts = host.parse().map(Hosts::Range);
            map.insert(hosts.unwrap_or_else(|_| Host::parse(host).unwrap().into()), number);
        }
        map
    }

    #[test]
    fn finds_the_nearest_entry() {
        let map = map(&[
            "example.com",
            "www.example.com",
            "192.0.2.1",
            "[2001:db8::1]",
            "192.0.0.0/8",
            "192.0.2.0/24",
        ]);
        for (host, expected) in [
            ("example.com", Some(0)),
            ("mail.example.com", Some(0)),
            ("a.www.example.com", Some(1)),
            ("notexample.com", None),
            ("example.com.evil.test", None),
            ("com", None),
            ("192.0.2.1", Some(2)),
            ("1.192.0.2", None),
            ("192.0.2.2", Some(5)),
            ("192.0.3.1", Some(4)),
            ("[2001:db8::1]", Some(3)),
        ] {
            assert_eq!(map.get(&Host::parse(host).unwrap()).copied(), expected, "{host}");
        }
    }

    #[test]
    fn covers_what_is_below() {
        for (name, upper, lower, expected) in [
            ("the same", &["example.com"][..], &["example.com"][..], true),
            ("below", &["example.com"], &["a.example.com", "b.example.com"], true),
            ("above", &["a.example.com"], &["example.com"], false),
            ("partly", &["example.com"], &["a.example.com", "192.0.2.1"], false),
            ("a range and what is in it", &["10.0.0.0/8"], &["10.1.0.0/16", "10.2.0.1"], true),
            ("a range and what is around it", &["10.1.0.0/16"], &["10.0.0.0/8"], false),
        ] {
            assert_eq!(map(upper).covers(&map(lower)), expected, "{name}");
        }
    }
}
