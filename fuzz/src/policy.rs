//! A policy either compiles, and then decides the same question alike and names rules that exist; or what is wrong
//! with it is said with places that exist.
//!
//! Input: files that are added to the tests' policy (`tests/policy`) or replace files of it. Each begins after a line
//! `@@ PATH`; what stands before the first such line is `rules.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use wardgate_core::{
    CategoryName, Decide as _, Diagnostic, Fault, Phase, Pipeline, Purpose, Question, RequestHead, Ruleset,
    Stage, Target, TextKind, Who,
};
use wardgate_lists::{ListSource, Lists};
use wardgate_phrases::{PhraseFile, Phrases};
use wardgate_policy::{Inquiry, Loaded, Policy};
use wardgate_search::Search;

use crate::places;

type Files = BTreeMap<String, Vec<u8>>;

/// What begins a file of the input.
const MARK: &[u8] = b"\n@@ ";

/// The tests' policy: small, with one example of everything.
static BASE: LazyLock<Files> = LazyLock::new(|| {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/policy"));
    let mut files = Files::new();
    gather(root, root, &mut files);
    assert!(files.contains_key("rules.toml"), "the tests' policy has rules");
    files
});

fn gather(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            gather(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).expect("the file can be read"));
        }
    }
}

/// Checks one policy.
pub fn check(data: &[u8]) {
    let files = files(data);
    match compile(&files) {
        Ok((policy, ruleset)) => decides(&policy, &ruleset, &files),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            problems.iter().for_each(|problem| is_placed(problem, &files));
        }
    }
}

fn files(data: &[u8]) -> Files {
    let mut files = BASE.clone();
    let marked = [b"\n@@ rules.toml\n", data].concat();
    let mut rest = marked.strip_prefix(MARK).unwrap_or_default();
    // An input that begins with a mark says nothing about the rules.
    if data.starts_with(&MARK[1..]) {
        rest = &data[MARK.len() - 1..];
    }
    loop {
        let end = rest.windows(MARK.len()).position(|window| window == MARK);
        let file = &rest[..end.unwrap_or(rest.len())];
        let path = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let contents = file.get(path.len() + 1..).unwrap_or_default();
        files.insert(String::from_utf8_lossy(path).into_owned(), contents.to_vec());
        match end {
            Some(end) => rest = &rest[end + MARK.len()..],
            None => return files,
        }
    }
}

/// As `wardgate check` does it.
fn compile(files: &Files) -> Result<(Arc<Policy>, Ruleset), Vec<Diagnostic>> {
    let Loaded { policy, lists, phrase_files, expectations, mut warnings } =
        wardgate_policy::load_files(files.clone())?;
    let lists: Vec<_> = lists
        .iter()
        .map(|list| ListSource {
            name: &list.name,
            category: &list.category,
            path: &list.path,
            text: &list.text,
        })
        .collect();
    let phrase_files: Vec<_> =
        phrase_files.iter().map(|file| PhraseFile { path: &file.path, text: &file.text }).collect();
    let categories: Vec<CategoryName> = policy.categories().cloned().collect();
    let (lists, more) = Lists::compile(&lists)?;
    warnings.extend(more);
    let (phrases, more) = Phrases::compile(&phrase_files, &categories)?;
    warnings.extend(more);
    warnings.iter().for_each(|warning| is_placed(warning, files));
    let stages: Vec<Arc<dyn Stage>> = vec![Arc::new(lists), Arc::new(Search), Arc::new(phrases)];
    let ruleset = Ruleset { policy: policy.clone(), pipeline: Pipeline::new(stages) };
    for broken in wardgate_policy::check_expectations(&expectations, &ruleset) {
        is_placed(&broken, files);
    }
    Ok((policy, ruleset))
}

fn is_placed(diagnostic: &Diagnostic, files: &Files) {
    let name = diagnostic.file.to_string_lossy();
    match files.get(&*name) {
        Some(contents) => places::check(diagnostic, &String::from_utf8_lossy(contents)),
        None => assert!(diagnostic.position.is_none(), "{diagnostic}: there is no such file"),
    }
}

fn decides(policy: &Policy, ruleset: &Ruleset, files: &Files) {
    let who = Who::unknown(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let at = SystemTime::UNIX_EPOCH;
    let groups: Vec<String> = policy.groups().map(ToString::to_string).collect();
    for group in groups {
        let membership = policy.group_named(&group).expect("a group has its name");
        for url in [
            "https://allowed.example.test/a?q=words",
            "http://192.0.2.1:6667/",
            "https://www.google.com/search?q=x",
        ] {
            let target = Target::parse(url).expect("an address");
            let head = RequestHead { method: "GET", target: &target, content_type: None };
            let findings = ruleset.pipeline.request(&head).expect("no stage fails").findings;
            for phase in
                [Phase::Connect, Phase::Request, Phase::Text(TextKind::Page), Phase::Text(TextKind::Post)]
            {
                for fault in [None, Some(Fault::Bomb)] {
                    let question = Question {
                        phase,
                        who: &who,
                        membership: &membership,
                        at,
                        method: "GET",
                        target: &target,
                        purpose: Purpose::Navigation,
                        findings: &findings,
                        fault,
                    };
                    is_decided(policy, &question, files);
                }
            }
            let text = Some((TextKind::Page, "some words of a page"));
            let inquiry =
                Inquiry { who: &who, membership: &membership, at, method: "GET", target: &target, text };
            let trace = wardgate_policy::explain(policy, &ruleset.pipeline, &inquiry);
            assert!(!trace.steps.is_empty() && !trace.to_string().is_empty());
        }
    }
}

fn is_decided(policy: &Policy, question: &Question<'_>, files: &Files) {
    let decision = policy.decide(question);
    assert_eq!(format!("{decision:?}"), format!("{:?}", policy.decide(question)), "decided in two ways");
    assert_eq!(decision.route.is_some(), question.phase == Phase::Connect, "{decision:?}");
    let _ = policy.wording(Some(&decision));
    if decision.rule.line > 0 {
        let contents = files.get(&*decision.rule.file).expect("the rule's file exists");
        let lines = contents.split(|byte| *byte == b'\n').count();
        assert!(decision.rule.line as usize <= lines, "{decision:?}: the file ends before that line");
    }
}
