//! Hosts and their subdomains, looked up label by label.

use std::collections::HashMap;
use std::net::IpAddr;

use wardgate_core::Host;

/// What is said of hosts: an entry for `example.com` holds for `www.example.com` too, unless that has its own.
#[derive(Debug)]
pub(crate) struct HostMap<T> {
    names: HashMap<Box<str>, T>,
    addresses: HashMap<IpAddr, T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self { names: HashMap::new(), addresses: HashMap::new() }
    }
}

impl<T> HostMap<T> {
    /// Says something of a host and its subdomains; returns what was said of the very same host before.
    pub(crate) fn insert(&mut self, host: Host, value: T) -> Option<T> {
        match host {
            Host::Name(name) => self.names.insert(name, value),
            Host::Address(address) => self.addresses.insert(address, value),
        }
    }

    /// What is said of this host: by its own entry, or by that of the nearest domain above it.
    pub(crate) fn get(&self, host: &Host) -> Option<&T> {
        match host {
            Host::Name(_) if self.names.is_empty() => None,
            Host::Name(name) => domains(name).find_map(|domain| self.names.get(domain)),
            Host::Address(address) => self.addresses.get(address),
        }
    }

    /// Whether each host that is in `other` is in this one too.
    pub(crate) fn covers<U>(&self, other: &HostMap<U>) -> bool {
        other.names.keys().all(|name| domains(name).any(|domain| self.names.contains_key(domain)))
            && other.addresses.keys().all(|address| self.addresses.contains_key(address))
    }
}

/// A name and the domains above it: `a.b.c`, `b.c`, `c`.
fn domains(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(hosts: &[&str]) -> HostMap<usize> {
        let mut map = HostMap::default();
        for (number, host) in hosts.iter().enumerate() {
            map.insert(Host::parse(host).unwrap(), number);
        }
        map
    }

    #[test]
    fn finds_the_nearest_entry() {
        let map = map(&["example.com", "www.example.com", "192.0.2.1", "[2001:db8::1]"]);
        for (host, expected) in [
            ("example.com", Some(0)),
            ("mail.example.com", Some(0)),
            ("a.www.example.com", Some(1)),
            ("notexample.com", None),
            ("example.com.evil.test", None),
            ("com", None),
            ("192.0.2.1", Some(2)),
            ("1.192.0.2", None),
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
        ] {
            assert_eq!(map(upper).covers(&map(lower)), expected, "{name}");
        }
    }
}
