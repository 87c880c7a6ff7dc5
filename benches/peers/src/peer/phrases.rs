//! The phrases of the floor's add-on: as many of those that e2guardian ships.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// How many phrases the add-on looks for.
const PHRASES: usize = 6_904;
const LISTS: &str = "/etc/e2guardian/lists";
/// These name the lists that are switched on.
const IN_USE: [&str; 3] = ["weightedphraselist", "bannedphraselist", "exceptionphraselist"];

/// Writes the phrases to a file, one a line, unless that has been done: what e2guardian has switched on, filled up
/// from its other lists.
pub(super) fn of_e2guardian(file: &Path) -> Result<PathBuf> {
    if file.exists() {
        return Ok(file.to_owned());
    }
    let lists = Path::new(LISTS);
    let mut files = Vec::new();
    for name in IN_USE {
        files.extend(included(&read(&lists.join(name))?));
    }
    files.extend(below(&lists.join("phraselists"))?);
    let (mut known, mut phrases) = (HashSet::new(), Vec::new());
    for list in files {
        let text = read(&list)?;
        let found = text.split(|byte| *byte == b'\n').flat_map(of_line).map(<[u8]>::to_ascii_lowercase);
        phrases.extend(found.filter(|phrase| known.insert(phrase.clone())));
    }
    ensure!(phrases.len() >= PHRASES, "only {} phrases in {LISTS}", phrases.len());
    phrases.truncate(PHRASES);
    fs::write(file, phrases.join(&b'\n'))?;
    Ok(file.to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The files that lines such as `.Include</etc/…>` name.
fn included(text: &[u8]) -> Vec<PathBuf> {
    let text = String::from_utf8_lossy(text);
    let name = |line: &str| Some(line.strip_prefix(".Include<")?.split('>').next()?.into());
    text.lines().filter_map(name).collect()
}

/// All files below a directory, in the order of their names.
fn below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut entries =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            files.extend(below(&entry)?);
        } else {
            files.push(entry);
        }
    }
    Ok(files)
}

/// The phrases of a line such as `<one>,<two><-30>`: what stands in angle brackets, but for the weight at the end.
fn of_line(line: &[u8]) -> Vec<&[u8]> {
    let line = line.trim_ascii();
    if line.first() != Some(&b'<') {
        return Vec::new(); // comments and directives
    }
    let parts = line.split(|byte| *byte == b'<').skip(1).filter_map(|part| part.split(|b| *b == b'>').next());
    parts.filter(|part| !is_weight(part)).collect()
}

/// Digits and signs, or nothing at all.
fn is_weight(part: &[u8]) -> bool {
    part.trim_ascii().iter().all(|byte| byte.is_ascii_digit() || b"-+%".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_of_a_line() {
        let cases: [(&[u8], &[&[u8]]); 5] = [
            (b"< word >", &[b" word "]),
            (b"<web proxy><50>", &[b"web proxy"]),
            (b"<one>,< two><-30> # why", &[b"one", b" two"]),
            (b"#<commented><10>", &[]),
            (b".Include</etc/e2guardian/lists>", &[]),
        ];
        for (line, phrases) in cases {
            assert_eq!(of_line(line), phrases, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn lists_that_are_switched_on() {
        let text = b"#.Include</a/off>\n.Include</a/on> #BETA#\n<phrase><10>\n";
        assert_eq!(included(text), [PathBuf::from("/a/on")]);
    }
}
