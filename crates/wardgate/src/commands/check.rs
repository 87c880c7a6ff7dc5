//! `wardgate check` and `wardgate explain`: what a policy says, without putting it in force.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use wardgate_core::{Decide as _, IdentitySource, Target, TextKind, UserName, Who};
use wardgate_policy::Inquiry;
use wardgate_store::Store;

use super::{print, print_json};
use crate::cli::Explain;
use crate::config::Config;
use crate::exit::{Failure, print_diagnostics};
use crate::rules::{self, Compiled};

/// Checks a policy directory: exit 0 where it may be put in force.
pub(crate) fn check(config: &Config, dir: Option<PathBuf>) -> Result<(), Failure> {
    let dir = dir.unwrap_or_else(|| config.policy.dir.clone());
    let compiled = rules::compile(&dir).map_err(Failure::Policy)?;
    print_diagnostics(&compiled.warnings);
    let (counts, warnings) = (&compiled.counts, compiled.warnings.len());
    print(&format!(
        "{}: fine; {} list entries, {} phrases, {} expectations hold, {warnings} warnings\npolicy {}\n",
        dir.display(),
        counts.listed,
        counts.phrases,
        counts.expectations,
        compiled.policy.hash(),
    ))
}

/// Prints how a decision comes about.
pub(crate) fn explain(config: &Config, question: &Explain) -> Result<(), Failure> {
    let target =
        Target::parse(&question.url).map_err(|error| Failure::Usage(format!("{}: {error}", question.url)))?;
    let compiled = rules::compile(&config.policy.dir).map_err(Failure::Policy)?;
    let who = who(config, question)?;
    let policy = &compiled.policy;
    let membership = match &question.group {
        None => policy.membership(&who),
        Some(group) => policy.group_named(group).ok_or_else(|| unknown_group(group, &compiled))?,
    };
    let text = match &question.text {
        None => None,
        Some(file) => Some(
            fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))
                .map_err(Failure::System)?,
        ),
    };
    let inquiry = Inquiry {
        who: &who,
        membership: &membership,
        at: SystemTime::now(),
        method: "GET",
        target: &target,
        text: text.as_deref().map(|text| (TextKind::Page, text)),
    };
    let trace = wardgate_policy::explain(policy, &compiled.ruleset.pipeline, &inquiry);
    if question.json { print_json(&trace) } else { print(&trace.to_string()) }
}

/// The person to decide for. An account's own groups count, as they would at the proxy.
fn who(config: &Config, question: &Explain) -> Result<Who, Failure> {
    let address = question.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let Some(user) = &question.user else { return Ok(Who::unknown(address)) };
    let name = UserName::new(user.as_str());
    let mut who = Who { user: Some(name.clone()), source: IdentitySource::Basic, ..Who::unknown(address) };
    if !config.data.dir.exists() {
        return Ok(who);
    }
    let account = super::records::in_runtime(async {
        let store = Store::open(&config.store_url()).await?;
        store.accounts().find(&name).await
    })?;
    if let Some(account) = account {
        who.directory_groups = account.groups.into_iter().map(Into::into).collect();
    }
    Ok(who)
}

fn unknown_group(group: &str, compiled: &Compiled) -> Failure {
    let known: Vec<&str> = compiled.policy.groups().map(|name| name.as_str()).collect();
    Failure::Usage(format!("there is no group `{group}`; the policy has {}", known.join(", ")))
}
