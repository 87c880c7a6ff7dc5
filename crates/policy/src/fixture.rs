//! A small policy for tests, any file of which a test can replace.

use std::collections::BTreeMap;

use wardgate_core::{CERTAIN, Diagnostic, Evidence, Finding, PhraseHit, TextKind};

use crate::directory::Directory;
use crate::{Loaded, resolve};

const FILES: [(&str, &str); 9] = [
    (
        "policy.toml",
        r#"
organisation = "Example College"
contact = "Talk to your tutor."
notice = "Use can be monitored."
"#,
    ),
    (
        "groups.toml",
        r#"
unknown = "learners"

[[group]]
name = "staff"
users = ["Anna"]
directory_groups = ["Teachers"]
[group.settings]
on_error = "allow"
limits = { page = 200 }

[[group]]
name = "learners"
users = ["ben", "eve"]
addresses = ["10.1.0.0/16"]

[[group]]
name = "adults"
inherits = "learners"
users = ["eve"]
addresses = ["10.1.2.0/24"]
settings = { hold = "1 KiB", warn_for = "1 h" }

[[group]]
name = "guests"
addresses = ["10.3.0.0/16", "2001:db8::/32"]
settings = { intercept = false }

[[group]]
name = "watched"
settings = { monitor_only = true }
"#,
    ),
    (
        "identity.toml",
        r#"
login = "optional"
[[range]]
addresses = ["10.1.0.0/16"]
login = "required"
[[range]]
addresses = ["10.4.0.0/16"]
login = "optional"
[[address]]
address = "10.1.2.3"
user = "reception"
"#,
    ),
    (
        "categories.toml",
        r#"
[[theme]]
name = "gambling"
title = "Gambling"
rationale = "Harm."
alert = "weekly"
alerts = { learners = "daily" }

[[theme]]
name = "self-harm"
title = "Self-harm"
rationale = "Danger."
alert = "immediate"

[[category]]
name = "casino"
title = "Casinos"
theme = "gambling"
severity = 3
reason = "Casinos are not shown."
rationale = "Games of chance."

[[category]]
name = "betting"
title = "Betting"
theme = "gambling"
severity = 2
reason = "Bets are not shown."
rationale = "Bets on sport."

[[category]]
name = "suicide"
title = "Suicide"
theme = "self-harm"
severity = 5
reason = "Please talk to someone."
rationale = "Danger to life."

[[category]]
name = "games"
title = "Games"
severity = 1
reason = "No games here."
rationale = "A distraction."
"#,
    ),
    (
        "lists.toml",
        r#"
[[list]]
name = "casinos"
category = "casino"
file = "lists/casinos.txt"
format = "domains"
"#,
    ),
    ("lists/casinos.txt", "casino.example\n"),
    (
        "rules.toml",
        r#"
[[rule]]
name = "no-irc"
ports = [6667]
action = "block"
reason = "Web pages only."

[[rule]]
name = "read-only"
hosts = ["forum.example"]
methods = ["POST"]
action = "block"
reason = "You may read here, not write."

[[rule]]
name = "own-list"
groups = ["guests"]
lists = ["casinos"]
action = "warn"

[[rule]]
name = "no-harm"
themes = ["gambling", "self-harm"]
action = "block"

[[rule]]
name = "adult-games"
groups = ["adults"]
categories = ["games"]
action = "warn"

[[rule]]
name = "no-games"
groups = ["learners"]
categories = ["games"]
min_score = 20
action = "block"
"#,
    ),
    (
        "must-work.toml",
        r#"
[[service]]
name = "office"
hosts = ["office.example"]
reason = "Work."
"#,
    ),
    (
        "help.toml",
        r#"
default = ["Childline"]
themes = { self-harm = ["Samaritans", "Childline"] }

[[line]]
name = "Childline"
detail = "0800 1111"
url = "https://www.childline.org.uk/"
hosts = ["childline.org.uk"]

[[line]]
name = "Samaritans"
detail = "116 123"
url = "https://www.samaritans.org/"
hosts = ["samaritans.org"]
"#,
    ),
];

const NEVER_INTERCEPT: &str = r#"
[[host]]
name = "bank"
hosts = ["bank.example"]
reason = "Private."
"#;

/// The small policy with these files added or replaced.
pub(crate) fn directory(changes: &[(&str, &str)]) -> Directory {
    let files = FILES.iter().chain([&("never-intercept.toml", NEVER_INTERCEPT)]).chain(changes);
    let files: BTreeMap<_, _> =
        files.map(|(path, text)| ((*path).to_owned(), text.trim_start().as_bytes().to_vec())).collect();
    Directory::of(files)
}

/// The small policy with these files added or replaced, compiled.
pub(crate) fn compile(changes: &[(&str, &str)]) -> Result<Loaded, Vec<Diagnostic>> {
    resolve::compile(&directory(changes))
}

/// A finding of the `lists` stage.
pub(crate) fn entry(category: &str, list: &str) -> Finding {
    let evidence = Evidence::Entry { list: list.into(), entry: "entry.example".into() };
    Finding { stage: "lists", category: category.into(), kind: TextKind::Address, score: CERTAIN, evidence }
}

/// A finding of the `phrases` stage.
pub(crate) fn words(category: &str, kind: TextKind, score: f32) -> Finding {
    let hit = PhraseHit {
        phrase: "word".into(),
        offset: 7,
        weight: score,
        count: 1,
        snippet: "a word here".into(),
    };
    let evidence = Evidence::Phrases(vec![hit]);
    Finding { stage: "phrases", category: category.into(), kind, score, evidence }
}
