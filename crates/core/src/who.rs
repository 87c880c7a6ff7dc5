//! Who asks, and how we know.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::BoxFuture;

/// A user's account name, in the spelling of the source that named them. Personal data: it belongs in the access
/// log and in records, never in operational logs; `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserName(Arc<str>);

impl UserName {
    /// Takes the name as given.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as text, for records and decisions.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserName(..)")
    }
}

/// How a user is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentitySource {
    /// Kerberos through `Proxy-Authorization: Negotiate`.
    Negotiate,
    /// A local or directory account through `Proxy-Authorization: Basic`.
    Basic,
    /// The address is mapped to a user or device.
    IpMap,
    /// A login at the portal from this address.
    Portal,
    /// Not known: the strictest group applies.
    None,
}

impl IdentitySource {
    /// The name used in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Negotiate => "negotiate",
            Self::Basic => "basic",
            Self::IpMap => "ip-map",
            Self::Portal => "portal",
            Self::None => "none",
        }
    }
}

/// The person (or device) behind an exchange, as far as known.
#[derive(Clone, Debug)]
pub struct Who {
    /// The account, where known.
    pub user: Option<UserName>,
    /// How we know.
    pub source: IdentitySource,
    /// The client's address.
    pub address: IpAddr,
    /// Groups that a directory or the account's record names; policy maps them to its own groups.
    pub directory_groups: Arc<[Box<str>]>,
}

impl Who {
    /// A client of whom only the address is known.
    pub fn unknown(address: IpAddr) -> Self {
        Self { user: None, source: IdentitySource::None, address, directory_groups: Arc::from([]) }
    }
}

/// What a client showed to say who it is.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The value of `Proxy-Authorization`, where sent.
    pub authorization: Option<&'a [u8]>,
    /// The address that it came from.
    pub address: IpAddr,
}

/// What became of an attempt to identify a client.
#[derive(Clone, Debug)]
pub enum Identified {
    /// As far as known; [`IdentitySource::None`] where not at all and no login is demanded.
    As(Who),
    /// The client must log in: answer 407 with this `Proxy-Authenticate` value. `who` is what is known so far,
    /// for the record; `reason` is for the operational log and names no person.
    Challenge {
        /// What is known so far.
        who: Who,
        /// Value of `Proxy-Authenticate`.
        scheme: &'static str,
        /// Why, in words for the event.
        reason: &'static str,
    },
    /// The accounts cannot be read just now: answer 503.
    Unavailable {
        /// What is known so far.
        who: Who,
        /// Why, in words for the event.
        reason: &'static str,
    },
}

/// Says who a client is. Implemented by `identity`; asked once per exchange (or tunnel), so answers are cached.
pub trait Authenticate: Send + Sync {
    /// Identifies the client. `required` says that an unknown client must log in.
    fn identify<'a>(&'a self, credentials: Credentials<'a>, required: bool) -> BoxFuture<'a, Identified>;
}
