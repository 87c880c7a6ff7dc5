//! The pieces that are counted, each with what it needs around it, under the shipped policy.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, anyhow, ensure};
use wardgate_avoidance::Avoidance;
use wardgate_core::{
    CategoryName, Decide, Diagnostic, Event, Finding, Phase, Pipeline, Purpose, Question, RequestHead,
    Target, TextKind, Who,
};
use wardgate_journal::Record;
use wardgate_lists::{ListSource, Lists};
use wardgate_phrases::{PhraseFile, Phrases};
use wardgate_policy::{Loaded, Policy};
use wardgate_search::Search;
use wardgate_text::{Extractor, Limits};
use wardgate_tls::{Authorities, AuthoritySettings, Minter};

/// Something that is counted.
pub(crate) struct Piece {
    pub(crate) name: &'static str,
    /// How often it is done to be counted.
    pub(crate) passes: u32,
    /// Does it so often, and fails where what came out is not what it should be.
    pub(crate) run: fn(u32) -> anyhow::Result<()>,
}

pub(crate) const PIECES: &[Piece] = &[
    Piece { name: "decision on a page that is allowed", passes: 20_000, run: |times| decide(times, ALLOWED) },
    Piece { name: "decision on a page that is blocked", passes: 20_000, run: |times| decide(times, BLOCKED) },
    Piece { name: "stages, an address on no list", passes: 20_000, run: |times| look_up(times, ALLOWED) },
    Piece { name: "stages, an address on a list", passes: 20_000, run: |times| look_up(times, BLOCKED) },
    Piece { name: "text of a page of 32 KiB", passes: 20, run: read_page },
    Piece { name: "phrase scan of a page's text, 32 KiB", passes: 20, run: scan },
    Piece { name: "event to a line of the access log", passes: 5_000, run: record },
    Piece { name: "minting a certificate", passes: 200, run: mint },
];

const ALLOWED: &str = "https://www.example.com/lessons/rivers?page=2";
/// Set aside for trying out: the shipped lists name it.
const BLOCKED: &str = "https://gambling.test.wardgate.internal/";
const PAGE_BYTES: usize = 32 * 1024;

struct Shipped {
    policy: Arc<Policy>,
    pipeline: Pipeline,
}

fn shipped() -> anyhow::Result<Shipped> {
    let dir = tempfile::tempdir()?;
    let policy_dir = dir.path().join("policy");
    wardgate_policy::write_embedded(&policy_dir)?;
    let Loaded { policy, lists, phrase_files, .. } = wardgate_policy::load(&policy_dir).map_err(told)?;
    let lists: Vec<_> = lists
        .iter()
        .map(|l| ListSource { name: &l.name, category: &l.category, path: &l.path, text: &l.text })
        .collect();
    let files: Vec<_> = phrase_files.iter().map(|f| PhraseFile { path: &f.path, text: &f.text }).collect();
    let categories: Vec<CategoryName> = policy.categories().cloned().collect();
    let (lists, _) = Lists::compile(&lists).map_err(told)?;
    let (phrases, _) = Phrases::compile(&files, &categories).map_err(told)?;
    let pipeline =
        Pipeline::new(vec![Arc::new(lists), Arc::new(Avoidance), Arc::new(Search), Arc::new(phrases)]);
    Ok(Shipped { policy, pipeline })
}

fn told(diagnostics: Vec<Diagnostic>) -> anyhow::Error {
    anyhow!("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn findings(pipeline: &Pipeline, target: &Target) -> anyhow::Result<Vec<Finding>> {
    Ok(pipeline.request(&RequestHead { method: "GET", target, content_type: None })?.findings)
}

fn target(url: &str) -> anyhow::Result<Target> {
    Ok(Target::parse(url)?)
}

fn decide(times: u32, url: &str) -> anyhow::Result<()> {
    let Shipped { policy, pipeline } = shipped()?;
    let (who, target) = (Who::unknown(Ipv4Addr::LOCALHOST.into()), target(url)?);
    let findings = findings(&pipeline, &target)?;
    ensure!(findings.is_empty() == (url == ALLOWED), "what is listed has changed");
    let membership = policy.membership(&who);
    for _ in 0..times {
        black_box(policy.decide(black_box(&Question {
            phase: Phase::Request,
            who: &who,
            membership: &membership,
            at: SystemTime::UNIX_EPOCH,
            method: "GET",
            target: &target,
            purpose: Purpose::Navigation,
            findings: &findings,
            fault: None,
        })));
    }
    Ok(())
}

fn look_up(times: u32, url: &str) -> anyhow::Result<()> {
    let Shipped { pipeline, .. } = shipped()?;
    let target = target(url)?;
    for _ in 0..times {
        black_box(findings(&pipeline, black_box(&target))?);
    }
    Ok(())
}

/// English of some variety, with the mark-up that pages have.
fn page() -> String {
    const NOUNS: [&str; 12] = [
        "river", "mill", "village", "teacher", "harbour", "garden", "winter", "question", "letter",
        "machine", "picture", "journey",
    ];
    const VERBS: [&str; 8] =
        ["bends", "opens", "remembers", "carries", "answers", "follows", "measures", "keeps"];
    let (mut page, mut number) =
        ("<!doctype html><html lang=en><title>A page</title><body>".to_owned(), 7usize);
    while page.len() < PAGE_BYTES {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = |shift: u32, words: &'static [&'static str]| words[(number >> shift) % words.len()];
        page.push_str(&format!(
            "<div class=\"item\"><a href=\"/item/{0}\">The {1}</a> <p>Every {2} {3} the {4}, and the {1} {5} what the {6} \
             had said &amp; done before {0} people.</p></div>\n",
            number >> 52,
            pick(20, &NOUNS),
            pick(24, &NOUNS),
            pick(28, &VERBS),
            pick(32, &NOUNS),
            pick(36, &VERBS),
            pick(40, &NOUNS),
        ));
    }
    page
}

fn text_of(page: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let extractor = Extractor::new(Some("text/html; charset=utf-8"), None, Limits::default())?;
    let mut extractor = extractor.context("HTML is text")?;
    extractor.push(page.as_bytes(), &mut text)?;
    extractor.finish(&mut text)?;
    Ok(text)
}

fn read_page(times: u32) -> anyhow::Result<()> {
    let page = page();
    for _ in 0..times {
        black_box(text_of(black_box(&page))?);
    }
    Ok(())
}

fn scan(times: u32) -> anyhow::Result<()> {
    let Shipped { pipeline, .. } = shipped()?;
    let text = text_of(&page())?;
    for _ in 0..times {
        black_box(pipeline.text(TextKind::Page, black_box(&text))?);
    }
    Ok(())
}

fn record(times: u32) -> anyhow::Result<()> {
    let mut event = Event::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "5f2c".repeat(16).into());
    event.target = Some(target(ALLOWED)?);
    event.method = "GET".into();
    event.status = Some(200);
    event.mime = Some("text/html".into());
    let mut line = Vec::new();
    for _ in 0..times {
        line.clear();
        Record::from(black_box(&event)).encode(&mut line);
        black_box(&line);
    }
    Ok(())
}

fn mint(times: u32) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = AuthoritySettings { dir: dir.path().to_owned(), ..AuthoritySettings::default() };
    let minter = Minter::new(Authorities::open_or_create(&settings)?, 10_000)?;
    for number in 0..times {
        black_box(minter.server_config(&format!("host{number}.example.com"))?);
    }
    Ok(())
}
