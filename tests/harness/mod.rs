//! What the end-to-end tests are made of: an origin, a client, mail and webhook servers, and Wardgate itself.

pub(crate) mod bytes;
pub(crate) mod chains;
pub(crate) mod client;
pub(crate) mod files;
pub(crate) mod git;
pub(crate) mod hello;
pub(crate) mod http2;
pub(crate) mod listed;
pub(crate) mod marionette;
pub(crate) mod origin;
pub(crate) mod pki;
pub(crate) mod raw;
pub(crate) mod smtp;
pub(crate) mod table;
pub(crate) mod tools;
pub(crate) mod wardgate;
pub(crate) mod webdriver;
pub(crate) mod webhook;
pub(crate) mod websocket;

use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use client::{Client, Failure, request};
pub(crate) use origin::Origin;
pub(crate) use pki::Pki;
pub(crate) use wardgate::{Site, Wardgate, eventually};

/// How many worlds may turn at once. Tests wait for conditions, so more of them than processors do no harm.
const SLOTS: u32 = 3;
static MACHINE: Semaphore = Semaphore::const_new(SLOTS as usize);

/// An origin and a site, before Wardgate is started. Holds the machine, or a part of it.
pub(crate) struct World {
    /// The certificates of the origins.
    pub(crate) pki: Pki,
    /// The origin, which every name of the hosts file leads to.
    pub(crate) origin: Origin,
    /// Where Wardgate lives.
    pub(crate) site: Site,
    _slot: SemaphorePermit<'static>,
}

impl World {
    /// A world beside others.
    pub(crate) async fn new() -> Self {
        Self::holding(1).await
    }

    /// A world with the machine to itself: for measurements of time and memory.
    pub(crate) async fn alone() -> Self {
        Self::holding(SLOTS).await
    }

    async fn holding(slots: u32) -> Self {
        let slot = MACHINE.acquire_many(slots).await.unwrap();
        let pki = Pki::new();
        let origin = Origin::start(&pki).await;
        let site = Site::new(&pki);
        Self { pki, origin, site, _slot: slot }
    }

    /// A world with Wardgate running in it.
    pub(crate) async fn running() -> (Self, Wardgate) {
        let world = Self::new().await;
        let wardgate = world.site.start().await;
        (world, wardgate)
    }

    /// The ways from a client to the allowed host: a name for marks in URLs, the client, and how URLs begin.
    pub(crate) fn ways(&self, wardgate: &Wardgate) -> [(&'static str, Client, String); 3] {
        let client = wardgate.client();
        [
            ("plain", client.clone(), self.http(ALLOWED, "")),
            ("http1", client.http1(), self.https(ALLOWED, "")),
            ("http2", client, self.https(ALLOWED, "")),
        ]
    }

    /// A plain URL of the origin.
    pub(crate) fn http(&self, host: &str, path: &str) -> String {
        self.origin.http_url(host, path)
    }

    /// An HTTPS URL of the origin.
    pub(crate) fn https(&self, host: &str, path: &str) -> String {
        self.origin.https_url(host, path)
    }
}

/// The name of a host that the tests' policy allows.
pub(crate) const ALLOWED: &str = "allowed.example.test";
/// The name of a host that is on the tests' list of gambling hosts.
pub(crate) const BLOCKED: &str = "blocked.example.test";
/// Words that weigh more than the tests' policy lets pass, of the category gambling.
pub(crate) const GAMBLING_WORDS: &str = "triple jackpot spins";
/// Words of the category self-harm, whose theme alerts at once.
pub(crate) const SELF_HARM_WORDS: &str = "quiet ways to hurt myself";
