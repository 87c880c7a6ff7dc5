//! Name constraints (RFC 5280, section 4.2.1.10): the hosts that a CA may sign for, and those that it never may, written
//! into its certificate so that devices hold it to them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use rcgen::{CidrSubnet, GeneralSubtree};
use x509_parser::extensions::GeneralName;

/// A domain with everything below it, or a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// A domain, lower case.
    Domain(String),
    /// A range of addresses.
    Addresses(IpNet),
}

/// What is neither a domain nor a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a domain such as `school.example` nor a range of addresses such as `10.0.0.0/8`")]
pub struct NoSubtree(String);

impl FromStr for Subtree {
    type Err = NoSubtree;

    fn from_str(text: &str) -> Result<Self, NoSubtree> {
        if let Ok(range) = text.parse::<IpNet>() {
            return Ok(Self::Addresses(range.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Addresses(address.into()));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if text.is_empty() || text.len() > 253 || !text.split('.').all(label) {
            return Err(NoSubtree(text.to_owned()));
        }
        Ok(Self::Domain(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => f.write_str(domain),
            Self::Addresses(range) => write!(f, "{range}"),
        }
    }
}

impl Subtree {
    fn written(&self) -> GeneralSubtree {
        match self {
            Self::Domain(domain) => GeneralSubtree::DnsName(domain.clone()),
            Self::Addresses(range) => {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(range.addr(), range.prefix_len()))
            }
        }
    }

    fn read(name: &GeneralName<'_>) -> Option<Self> {
        match name {
            GeneralName::DNSName(domain) => Some(Self::Domain(domain.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => {
                let (address, mask) = bytes.split_at(bytes.len() / 2);
                let range = match (address.len(), mask.len()) {
                    (4, 4) => {
                        let octets = |b: &[u8]| <[u8; 4]>::try_from(b).ok().map(IpAddr::from);
                        IpNet::with_netmask(octets(address)?, octets(mask)?)
                    }
                    (16, 16) => {
                        let octets = |b: &[u8]| <[u8; 16]>::try_from(b).ok().map(IpAddr::from);
                        IpNet::with_netmask(octets(address)?, octets(mask)?)
                    }
                    _ => return None,
                };
                range.ok().map(Self::Addresses)
            }
            _ => None,
        }
    }

    /// Whether the host lies in it; nothing where it is of the other kind.
    fn holds(&self, host: &str, address: Option<IpAddr>) -> Option<bool> {
        match (self, address) {
            (Self::Domain(domain), None) => {
                let below = host.strip_suffix(domain.as_str());
                Some(below.is_some_and(|below| below.is_empty() || below.ends_with('.')))
            }
            (Self::Addresses(range), Some(address)) => Some(range.contains(&address)),
            _ => None,
        }
    }
}

/// What a CA may sign for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// Where it says something about a kind of host, nothing else of that kind is permitted.
    pub permitted: Vec<Subtree>,
    /// Never these.
    pub excluded: Vec<Subtree>,
}

impl Constraints {
    /// Whether they constrain nothing.
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// Whether a certificate for this host would be believed.
    pub fn allow(&self, host: &str) -> bool {
        let address = host.parse().ok();
        let excluded = self.excluded.iter().any(|tree| tree.holds(host, address) == Some(true));
        let mut spoken = self.permitted.iter().filter_map(|tree| tree.holds(host, address)).peekable();
        !excluded && (spoken.peek().is_none() || spoken.any(|holds| holds))
    }

    pub(super) fn written(&self) -> Option<rcgen::NameConstraints> {
        (!self.is_empty()).then(|| rcgen::NameConstraints {
            permitted_subtrees: self.permitted.iter().map(Subtree::written).collect(),
            excluded_subtrees: self.excluded.iter().map(Subtree::written).collect(),
        })
    }

    pub(super) fn read(constraints: &x509_parser::extensions::NameConstraints<'_>) -> Self {
        let trees = |list: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
            list.iter().flatten().filter_map(|tree| Subtree::read(&tree.base)).collect()
        };
        Self {
            permitted: trees(&constraints.permitted_subtrees),
            excluded: trees(&constraints.excluded_subtrees),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees(list: &[&str]) -> Vec<Subtree> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_may_be_signed_for() {
        for (name, permitted, excluded, host, expected) in [
            ("nothing said", &[][..], &[][..], "a.example", true),
            ("permitted itself", &["a.example"], &[], "a.example", true),
            ("permitted below", &["a.example"], &[], "www.a.example", true),
            ("a name that ends alike", &["a.example"], &[], "ba.example", false),
            ("an address beside names", &["a.example"], &[], "10.0.0.1", true),
            ("a name beside addresses", &["10.0.0.0/8"], &[], "a.example", true),
            ("an address within", &["10.0.0.0/8"], &[], "10.2.0.1", true),
            ("an address outside", &["10.0.0.0/8"], &[], "192.0.2.1", false),
            ("excluded", &[], &["bank.example"], "www.bank.example", false),
            ("beside the excluded", &[], &["bank.example"], "a.example", true),
            ("excluded within the permitted", &["example"], &["bank.example"], "bank.example", false),
        ] {
            let constraints = Constraints { permitted: trees(permitted), excluded: trees(excluded) };
            assert_eq!(constraints.allow(host), expected, "{name}");
        }
        for wrong in ["", "*.example", "a..example", "https://a.example", "10.0.0.0/99", "a b"] {
            assert!(wrong.parse::<Subtree>().is_err(), "{wrong}");
        }
    }
}
