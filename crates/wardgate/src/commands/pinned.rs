//! `wardgate pinned`: hosts whose programs turn the school's certificate down, read out of the access log. They are
//! named and nothing else: whoever answers for the policy decides whether one is left alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use wardgate_core::{Host, Route};
use wardgate_journal::{Follower, Record};

use super::{print, print_json};
use crate::config::Config;
use crate::exit::Failure;

/// Pairs of a client and a host that are counted; what comes beyond them is said to be missing.
const MAX_PAIRS: usize = 200_000;
/// Lines read at a time.
const BATCH: usize = 1_000;
/// So often must a program have refused the certificate by an alert, or have left without a word, to be named.
const MIN_ALERTS: u64 = 2;
const MIN_CLOSED: u64 = 5;
/// A device that accepts nothing lacks the certificate, if it has refused it at so many hosts.
const MIN_HOSTS: usize = 2;
/// What a record of an intercepted CONNECT holds, for passing over the others quickly.
const MARK: &[u8] = b"\"wardgate.route\":\"intercept\"";

/// Prints which hosts are pinned, and which devices lack the certificate.
pub(crate) fn pinned(config: &Config, json: bool) -> Result<(), Failure> {
    let unread = wardgate_policy::load(&config.policy.dir).map(|loaded| {
        loaded.policy.never_intercept().iter().map(|unread| unread.host.clone()).collect::<Vec<_>>()
    });
    let counts = Counts::read(config)?;
    let report = counts.report(&unread.unwrap_or_default());
    if json { print_json(&report) } else { print(&report.to_string()) }
}

/// What one client did at one host.
#[derive(Default)]
struct Pair {
    alerts: BTreeMap<String, u64>,
    closed: u64,
    accepted: u64,
    last_refused: Option<SystemTime>,
}

impl Pair {
    fn refused(&self) -> u64 {
        self.alerts.values().sum::<u64>() + self.closed
    }
}

/// What all clients did at all hosts.
#[derive(Default)]
struct Counts {
    pairs: HashMap<(IpAddr, Box<str>), Pair>,
    left_out: u64,
}

impl Counts {
    fn read(config: &Config) -> Result<Self, Failure> {
        let mut counts = Self::default();
        let mut follower = Follower::open(config.log_dir(), None).map_err(Failure::system)?;
        loop {
            let lines = follower.next_batch(BATCH).map_err(Failure::system)?;
            if lines.is_empty() {
                return Ok(counts);
            }
            let marked =
                lines.iter().filter(|line| line.bytes.windows(MARK.len()).any(|bytes| bytes == MARK));
            marked.filter_map(|line| line.record().ok()).for_each(|record| counts.add(&record));
        }
    }

    fn add(&mut self, record: &Record<'_>) {
        if record.method != "CONNECT" || record.route != Some(Route::Intercept) {
            return;
        }
        let Some(host) = &record.host else { return };
        let refused = record.tls_refused.as_deref();
        // A handshake that succeeded needs no remark; plain HTTP in the tunnel, and what broke, have one.
        let accepted = record.outcome == "completed" && record.detail.is_none();
        if refused.is_none() && !accepted {
            return;
        }
        let key = (record.client, Box::from(&**host));
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let pair = self.pairs.entry(key).or_default();
        match refused {
            None => pair.accepted += 1,
            Some("closed") => pair.closed += 1,
            Some(alert) => *pair.alerts.entry(alert.to_owned()).or_default() += 1,
        }
        if refused.is_some() {
            pair.last_refused = pair.last_refused.max(Some(record.at));
        }
    }

    /// Tells a program with certificates of its own (this host fails, others do not) from a device without ours
    /// (nothing succeeds).
    fn report(&self, unread: &[Box<str>]) -> Report {
        let mut by_client: BTreeMap<IpAddr, Client> = BTreeMap::new();
        for ((client, _), pair) in &self.pairs {
            let counts = by_client.entry(*client).or_default();
            counts.accepted += pair.accepted;
            counts.refused += pair.refused();
            counts.refused_at += usize::from(pair.refused() > 0);
            counts.last = counts.last.max(pair.last_refused);
        }
        let mut by_host: BTreeMap<&str, Pinned> = BTreeMap::new();
        for ((client, host), pair) in &self.pairs {
            let knows_us = by_client.get(client).is_some_and(|client| client.accepted > 0);
            if knows_us {
                by_host.entry(host).or_insert_with(|| Pinned::new(host)).add(*client, pair);
            }
        }
        let named =
            |host: &Pinned| host.alerts.values().sum::<u64>() >= MIN_ALERTS || host.closed >= MIN_CLOSED;
        let mut pinned: Vec<Pinned> =
            by_host.into_values().filter(|host| named(host) && !host.is_among(unread)).collect();
        pinned.sort_by_key(|host| std::cmp::Reverse(host.refused()));
        let without = |(client, counts): (IpAddr, Client)| {
            let lacks = counts.accepted == 0 && counts.refused_at >= MIN_HOSTS;
            lacks.then(|| Device {
                client,
                hosts: counts.refused_at,
                refused: counts.refused,
                last: time(counts.last),
            })
        };
        let devices = by_client.into_iter().filter_map(without).collect();
        Report { bypassed: false, pinned, devices_without_certificate: devices, left_out: self.left_out }
    }
}

#[derive(Default)]
struct Client {
    accepted: u64,
    refused: u64,
    refused_at: usize,
    last: Option<SystemTime>,
}

/// The answer. `Display` is for people, `Serialize` for scripts.
#[derive(Serialize)]
struct Report {
    /// Whether anything of this was let past unread: never.
    bypassed: bool,
    pinned: Vec<Pinned>,
    devices_without_certificate: Vec<Device>,
    /// Refusals that were not counted, there being too many.
    left_out: u64,
}

/// A host at which a program accepts certificates of its own choice only.
#[derive(Serialize)]
struct Pinned {
    host: String,
    clients: BTreeSet<IpAddr>,
    /// By the name of the TLS alert.
    alerts: BTreeMap<String, u64>,
    /// Left without a word once the certificate was shown.
    closed: u64,
    /// Accepted by the same devices, by a browser for example.
    accepted: u64,
    last: Option<String>,
    /// An entry for never-intercept.toml.
    proposal: String,
    #[serde(skip)]
    last_refused: Option<SystemTime>,
}

/// A device on which the certificate is not installed.
#[derive(Serialize)]
struct Device {
    client: IpAddr,
    hosts: usize,
    refused: u64,
    last: Option<String>,
}

impl Pinned {
    fn new(host: &str) -> Self {
        let proposal = format!(
            "[[host]]\nname = {0}\nhosts = [{0}]\nreason = \"An application that accepts only its own certificates: \
             write down which, and why it may be used.\"\n",
            toml::Value::from(host)
        );
        Self {
            host: host.to_owned(),
            clients: BTreeSet::new(),
            alerts: BTreeMap::new(),
            closed: 0,
            accepted: 0,
            last: None,
            proposal,
            last_refused: None,
        }
    }

    fn add(&mut self, client: IpAddr, pair: &Pair) {
        self.accepted += pair.accepted;
        if pair.refused() == 0 {
            return;
        }
        self.clients.insert(client);
        self.closed += pair.closed;
        for (alert, count) in &pair.alerts {
            *self.alerts.entry(alert.clone()).or_default() += count;
        }
        self.last_refused = self.last_refused.max(pair.last_refused);
        self.last = time(self.last_refused);
    }

    fn refused(&self) -> u64 {
        self.alerts.values().sum::<u64>() + self.closed
    }

    /// Whether it is left alone already.
    fn is_among(&self, unread: &[Box<str>]) -> bool {
        Host::parse(&self.host).is_ok_and(|host| unread.iter().any(|domain| host.is_within(domain)))
    }
}

fn time(at: Option<SystemTime>) -> Option<String> {
    Some(Timestamp::try_from(at?).ok()?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "Programs that turn the school's certificate down. None of them is let past unread: that is for you"
        )?;
        writeln!(f, "to decide.")?;
        if self.pinned.is_empty() {
            writeln!(f, "\n  none")?;
        }
        for host in &self.pinned {
            write!(f, "\n{host}")?;
        }
        if !self.devices_without_certificate.is_empty() {
            writeln!(f, "\nDevices that accept the certificate nowhere: it is not installed there.\n")?;
        }
        for device in &self.devices_without_certificate {
            let last = device.last.as_deref().unwrap_or("-");
            writeln!(
                f,
                "  {}  turned down {} times at {} hosts, last {last}",
                device.client, device.refused, device.hosts
            )?;
        }
        if self.left_out > 0 {
            writeln!(f, "\n{} lines were not counted: there are too many hosts and clients.", self.left_out)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut how: Vec<String> =
            self.alerts.iter().map(|(alert, count)| format!("{alert} {count}")).collect();
        how.extend((self.closed > 0).then(|| format!("closed {}", self.closed)));
        let clients: Vec<String> = self.clients.iter().map(ToString::to_string).collect();
        writeln!(f, "{}", self.host)?;
        writeln!(
            f,
            "  turned down {} times ({}), last {}",
            self.refused(),
            how.join(", "),
            self.last.as_deref().unwrap_or("-")
        )?;
        writeln!(
            f,
            "  by {}, which {} other hosts",
            clients.join(", "),
            if clients.len() == 1 { "accepts" } else { "accept" }
        )?;
        if self.accepted > 0 {
            writeln!(
                f,
                "  accepted {} times as well, by a browser perhaps: left alone, its pages are not filtered",
                self.accepted
            )?;
        }
        let mut proposal = String::new();
        self.proposal.lines().try_for_each(|line| writeln!(proposal, "    {line}"))?;
        writeln!(f, "  to leave it alone, in never-intercept.toml:\n\n{proposal}")
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::net::Ipv4Addr;

    use wardgate_core::{Event, Outcome, Target};

    use super::*;

    /// So many CONNECTs of the client with this number to a host, accepted (`None`) or turned down in this way.
    fn add(counts: &mut Counts, client: u8, host: &str, how: Option<&'static str>, times: u64) {
        let client: IpAddr = Ipv4Addr::new(10, 0, 0, client).into();
        for _ in 0..times {
            let mut event = Event::new(client, "hash".into());
            event.method = Cow::Borrowed("CONNECT");
            event.target = Some(Target::connect(&format!("{host}:443")).unwrap());
            event.route = Some(Route::Intercept);
            event.tls_refused = how.map(Cow::Borrowed);
            match how {
                Some(_) => event.ended(Outcome::ClientClosed, Some("refused".into())),
                None => event.ended(Outcome::Completed, None),
            }
            counts.add(&Record::from(&event));
        }
    }

    fn hosts(report: &Report) -> Vec<&str> {
        report.pinned.iter().map(|pinned| pinned.host.as_str()).collect()
    }

    #[test]
    fn a_pinned_program_is_told_from_a_device_without_the_certificate() {
        let mut counts = Counts::default();
        add(&mut counts, 1, "page.example", None, 10);
        add(&mut counts, 1, "app.example", Some("unknown_ca"), 3);
        add(&mut counts, 2, "page.example", None, 1);
        add(&mut counts, 2, "app.example", Some("closed"), 1);
        add(&mut counts, 3, "page.example", Some("unknown_ca"), 9);
        add(&mut counts, 3, "app.example", Some("unknown_ca"), 9);
        let report = counts.report(&[]);
        assert_eq!(hosts(&report), ["app.example"]);
        let pinned = &report.pinned[0];
        assert_eq!((pinned.alerts["unknown_ca"], pinned.closed, pinned.clients.len()), (3, 1, 2));
        let devices: Vec<String> =
            report.devices_without_certificate.iter().map(|device| device.client.to_string()).collect();
        assert_eq!(devices, ["10.0.0.3"]);
        assert!(!report.bypassed);
    }

    #[test]
    fn once_is_no_habit() {
        for (name, how, times, expected) in [
            ("one alert", "unknown_ca", 1, false),
            ("two alerts", "bad_certificate", 2, true),
            ("a few that left", "closed", 4, false),
            ("many that left", "closed", 5, true),
        ] {
            let mut counts = Counts::default();
            add(&mut counts, 1, "page.example", None, 1);
            add(&mut counts, 1, "app.example", Some(how), times);
            assert_eq!(hosts(&counts.report(&[])).len() == 1, expected, "{name}");
        }
    }

    #[test]
    fn what_is_left_alone_is_not_proposed_again() {
        let mut counts = Counts::default();
        add(&mut counts, 1, "page.example", None, 1);
        add(&mut counts, 1, "api.app.example", Some("unknown_ca"), 5);
        assert_eq!(hosts(&counts.report(&["app.example".into()])), [""; 0]);
    }

    #[test]
    fn a_proposal_is_an_entry_as_it_stands() {
        let proposal = Pinned::new("api.app.example").proposal;
        let table: toml::Table = proposal.parse().unwrap();
        let entry = &table["host"][0];
        assert_eq!(entry["hosts"][0].as_str(), Some("api.app.example"));
        assert!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
}
