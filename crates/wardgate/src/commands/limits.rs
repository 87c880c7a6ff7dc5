//! `wardgate limits`: what is not seen, or let pass knowingly, and the most memory that may be taken, read out of the
//! configuration and the policy that are there.
//! Honest by construction: each line comes from the very value that makes it so.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use wardgate_core::{GroupSettings, OnError};
use wardgate_policy::Policy;
use wardgate_proxy::{MemoryBound, memory_bounds};
use wardgate_tls::{RevocationSource, SourceKind};

use super::{print, print_json};
use crate::config::Config;
use crate::exit::Failure;
use crate::rules;

/// The kinds of limits in the order in which they are printed. A new kind is a function and a line here.
const KINDS: &[fn(&Installation<'_>) -> Kind] = &[
    never_intercepted,
    groups_not_intercepted,
    groups_not_scanned,
    monitored_groups,
    lenient_groups,
    text_held,
    certificate_exceptions,
    extra_roots,
    revocation,
    never_read,
    memory,
];

/// What the limits are read from.
struct Installation<'a> {
    config: &'a Config,
    policy: &'a Policy,
}

/// Everything that is said.
#[derive(Serialize)]
struct Limits<'a> {
    /// The policy that it is about.
    policy: &'a str,
    limits: Vec<Kind>,
}

/// One kind of limits.
#[derive(Serialize)]
struct Kind {
    /// For programs.
    name: &'static str,
    /// For people.
    title: &'static str,
    entries: Vec<Limit>,
}

/// One limit.
#[derive(Serialize)]
struct Limit {
    /// What it concerns.
    subject: String,
    /// Why, or what it means.
    reason: String,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Where it is written, `file:line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

impl Limit {
    fn new(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { subject: subject.into(), reason: reason.into(), until: None, place: None }
    }
}

/// Prints the limits of the installation.
pub(crate) fn limits(config: &Config, json: bool) -> Result<(), Failure> {
    let compiled = rules::compile(&config.policy.dir).map_err(Failure::Policy)?;
    let policy = &*compiled.policy;
    let installation = Installation { config, policy };
    let limits = Limits {
        policy: wardgate_core::Decide::hash(policy),
        limits: KINDS.iter().map(|kind| kind(&installation)).collect(),
    };
    if json { print_json(&limits) } else { print(&in_words(&limits)) }
}

fn in_words(limits: &Limits<'_>) -> String {
    let mut text =
        format!("What Wardgate does not see, or lets pass knowingly, under policy {}\n", limits.policy);
    for kind in &limits.limits {
        text += &format!("\n{}\n", kind.title);
        if kind.entries.is_empty() {
            text += "  none\n";
        }
        for Limit { subject, reason, until, place } in &kind.entries {
            let until = until.map_or(String::new(), |until| format!(" (until {})", date(until)));
            let place = place.as_ref().map_or(String::new(), |place| format!(" [{place}]"));
            text += &format!("  {subject}{until}\n      {reason}{place}\n");
        }
    }
    text
}

fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Hosts that one entry of the policy names together are told together.
fn never_intercepted(installation: &Installation<'_>) -> Kind {
    let mut entries: Vec<Limit> = Vec::new();
    for host in installation.policy.never_intercept() {
        let place = Some(format!("{}:{}", host.rule.file, host.rule.line));
        match entries.iter_mut().find(|entry| entry.place == place) {
            Some(entry) => entry.subject += &format!(", {}", host.host),
            None => entries.push(Limit { place, ..Limit::new(&*host.host, &*host.reason) }),
        }
    }
    Kind {
        name: "never-intercepted",
        title: "Encrypted connections to these hosts are not opened: the host alone is seen",
        entries,
    }
}

fn groups(
    installation: &Installation<'_>,
    said: impl Fn(&GroupSettings) -> Option<&'static str>,
) -> Vec<Limit> {
    let of = |settings| said(settings).map(|reason| Limit::new(settings.name.as_str(), reason));
    installation.policy.group_settings().filter_map(of).collect()
}

fn groups_not_intercepted(installation: &Installation<'_>) -> Kind {
    let entries = groups(installation, |group| {
        let reason = "Hosts alone are filtered: no address, no search, no text of an encrypted page is seen.";
        (!group.intercept).then_some(reason)
    });
    Kind {
        name: "groups-not-intercepted",
        title: "Groups whose encrypted connections are not opened",
        entries,
    }
}

fn groups_not_scanned(installation: &Installation<'_>) -> Kind {
    let entries = groups(installation, |group| {
        let reason = "Addresses and searches are looked at, the text of pages and of what is written is not.";
        (!group.scan).then_some(reason)
    });
    Kind { name: "groups-not-scanned", title: "Groups whose pages are not read", entries }
}

fn monitored_groups(installation: &Installation<'_>) -> Kind {
    let entries = groups(installation, |group| {
        group.monitor_only.then_some("Everything is recorded, and nothing is blocked or held back.")
    });
    Kind { name: "monitor-only", title: "Groups that are only monitored", entries }
}

fn lenient_groups(installation: &Installation<'_>) -> Kind {
    let entries = groups(installation, |group| {
        let reason = "What cannot be looked at (a broken encoding, a failure of a stage, no room for one more) passes unseen.";
        (group.on_error == OnError::Allow).then_some(reason)
    });
    Kind { name: "on-error-allow", title: "Groups for which passes what cannot be looked at", entries }
}

fn text_held(installation: &Installation<'_>) -> Kind {
    let held = |group: &&GroupSettings| group.scan && !group.monitor_only;
    let entry = |group: &GroupSettings| {
        let reason = format!(
            "The first {} KiB of a page's text are held back until read. What turns harmful later is cut in the middle: \
             up to there it has been shown.",
            group.hold / 1024
        );
        Limit::new(group.name.as_str(), reason)
    };
    let entries = installation.policy.group_settings().filter(held).map(entry).collect();
    Kind { name: "text-held", title: "How much of a page is read before any of it is shown", entries }
}

fn certificate_exceptions(installation: &Installation<'_>) -> Kind {
    let entry = |exception: &wardgate_core::CertificateException| {
        let accept: Vec<&str> = exception.accept.iter().map(|problem| problem.as_str()).collect();
        let pin =
            exception.fingerprint.map_or(String::new(), |pin| format!(", of the certificate {pin} alone"));
        Limit {
            until: Timestamp::try_from(exception.until).ok(),
            place: Some(format!("{}:{}", exception.rule.file, exception.rule.line)),
            ..Limit::new(format!("{}: {}{pin}", exception.host, accept.join(", ")), &*exception.reason)
        }
    };
    Kind {
        name: "certificate-exceptions",
        title: "Hosts whose certificate is not as it should be and which are opened all the same",
        entries: installation.policy.certificate_exceptions().map(entry).collect(),
    }
}

fn extra_roots(installation: &Installation<'_>) -> Kind {
    let file = |path: &std::path::PathBuf| {
        Limit::new(
            path.display().to_string(),
            "Sites whose certificates lead to a root in this file are trusted beside those that the system trusts.",
        )
    };
    let entries = installation.config.upstream.extra_roots.iter().map(file).collect();
    Kind { name: "extra-roots", title: "Roots that are trusted beside the system's", entries }
}

/// What is looked at, with its age, and what is not.
fn revocation(installation: &Installation<'_>) -> Kind {
    let mut entries = Vec::new();
    let sources = match wardgate_tls::revocation_sources(&installation.config.origins()) {
        Ok(sources) => sources,
        Err(error) => {
            entries.push(Limit::new(error.path.display().to_string(), error.reason));
            Vec::new()
        }
    };
    for RevocationSource { path, covers, made, until, .. } in &sources {
        let made = made.and_then(|made| Timestamp::try_from(made).ok());
        let made = made.map_or(String::new(), |made| format!(", as of {}", date(made)));
        let over = until.is_some_and(|until| until < SystemTime::now());
        let reason = if over {
            format!("Looked at: {covers}{made}. It is over: after a week these sites are refused.")
        } else {
            format!("Looked at: {covers}{made}.")
        };
        let until = until.and_then(|until| Timestamp::try_from(until).ok());
        entries.push(Limit { until, ..Limit::new(path.display().to_string(), reason) });
    }
    if !sources.iter().any(|source| source.kind == SourceKind::CrLite) {
        let reason = "Not looked at, but for what a site brings itself (stapled OCSP): there are no data of CRLite. Run `upki \
                      fetch` daily, and see [upstream] crlite_dir.";
        entries.push(Limit::new("certificates of public authorities", reason));
    }
    entries.push(Limit::new(
        "authorities between a public root and a site",
        "CRLite is about websites: an authority that lost its key is known by no list here.",
    ));
    Kind {
        name: "revocation",
        title: "Where it is looked whether a certificate was revoked, and where not",
        entries,
    }
}

/// What no setting changes.
fn never_read(_: &Installation<'_>) -> Kind {
    let entries = [
        (
            "WebSocket and other upgraded connections",
            "The handshake is decided on; what follows passes unread.",
        ),
        (
            "tunnels that are not opened",
            "The hosts that CONNECT and TLS name are decided on; what is inside is neither read nor known to be HTTP.",
        ),
        (
            "pictures, sound, video, archives and documents",
            "Their addresses are looked at, their contents are not.",
        ),
        (
            "QUIC and whatever does not come through the proxy",
            "Block it at the firewall: it is not seen here.",
        ),
    ];
    Kind {
        name: "never-read",
        title: "What is not read, whatever the settings",
        entries: entries.into_iter().map(|(subject, reason)| Limit::new(subject, reason)).collect(),
    }
}

/// The most memory that the settings allow, in all and for one client.
fn memory(installation: &Installation<'_>) -> Kind {
    let (all, one) = memory_bounds(&installation.config.proxy, installation.config.log.capacity);
    let mut entries = Vec::new();
    for (whose, bounds) in [("all together", all), ("of it for one client", one)] {
        let bytes = bounds.iter().map(MemoryBound::bytes).fold(0, u64::saturating_add);
        let parts: Vec<String> = bounds.iter().map(part).collect();
        entries.push(Limit::new(format!("{whose}: {}", size(bytes)), parts.join("; ")));
    }
    Kind {
        name: "memory",
        title: "The most memory that the settings allow, beside the program and its policy, if everything were taken at once",
        entries,
    }
}

fn part(bound: &MemoryBound) -> String {
    let MemoryBound { what, keys, count, each } = bound;
    format!("{} for {count} {what}, {} KiB each ({keys})", size(bound.bytes()), each / 1024)
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if bytes < 1024 * MIB {
        return format!("{} MiB", bytes.div_ceil(MIB));
    }
    format!("{:.1} GiB", bytes as f64 / (1024 * MIB) as f64)
}
