//! Every entry of a list that compiles is found, with what lies below it; what is wrong with a list is said with its
//! place, and without those lines the list compiles. Input: a list file.

use std::path::Path;

use wardgate_core::{CategoryName, Diagnostic, Host, Severity, Target};
use wardgate_lists::{ListSource, Lists};

use crate::places;

/// Checks one list.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match compile(text) {
        Ok((lists, warnings)) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            warnings.iter().for_each(|warning| places::check(warning, text));
            entries(text).for_each(|entry| is_found(&lists, entry));
        }
        Err(problems) => {
            problems.iter().for_each(|problem| places::check(problem, text));
            sound_lines_compile(text, &problems);
        }
    }
}

fn compile(text: &str) -> Result<(Lists, Vec<Diagnostic>), Vec<Diagnostic>> {
    let category = CategoryName::from("listed");
    let source = ListSource { name: "list", category: &category, path: Path::new("list.txt"), text };
    Lists::compile(&[source])
}

/// The entries of a list in which every line is sound: one word, and a comment perhaps.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim_start_matches('\u{feff}');
    text.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| !word.starts_with('#'))
}

fn is_found(lists: &Lists, entry: &str) {
    let target = Target::parse(entry).expect("a sound entry");
    holds(lists, &target);
    let path = target.path().trim_end_matches('/');
    for scheme in ["http", "https"] {
        for below in [format!("{path}/"), format!("{path}/below?q=1"), format!("{path}/%62elow")] {
            for port in ["", ":8080"] {
                parse_and_find(lists, &format!("{scheme}://{}{port}{below}", target.host()));
            }
        }
        if let Host::Name(name) = target.host()
            && name.len() < 200
        {
            parse_and_find(lists, &format!("{scheme}://www.{name}.{path}"));
        }
    }
}

fn parse_and_find(lists: &Lists, url: &str) {
    holds(lists, &Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}")));
}

fn holds(lists: &Lists, target: &Target) {
    let matches = lists.lookup(target);
    assert!(matches!(matches.as_slice(), [found] if &*found.list == "list"), "{target}: {matches:?}");
}

fn sound_lines_compile(text: &str, problems: &[Diagnostic]) {
    let wrong: Vec<u32> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .filter_map(|problem| problem.position.map(|at| at.line))
        .collect();
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let sound: Vec<&str> =
        lines.filter(|(at, _)| !wrong.contains(&(*at as u32 + 1))).map(|(_, line)| line).collect();
    let sound = sound.join("\n");
    if entries(&sound).next().is_some() {
        let left = compile(&sound).err().unwrap_or_default();
        assert!(left.is_empty(), "still wrong: {left:?}");
    }
}
