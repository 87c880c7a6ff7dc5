//! The shipped policy, carried in the program: what is in force before anybody has written one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use include_dir::{Dir, File, include_dir};
use wardgate_core::Diagnostic;

use crate::directory::{Directory, is_policy_file};
use crate::{Loaded, resolve};

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../policies");

/// Compiles the shipped policy. Its diagnostics name paths relative to the policy directory.
pub fn embedded() -> Result<Loaded, Vec<Diagnostic>> {
    let mut files = BTreeMap::new();
    for file in shipped_files(&SHIPPED) {
        let path = file.path().to_string_lossy().into_owned();
        files.insert(path, file.contents().to_vec());
    }
    resolve::compile(&Directory::of(files))
}

/// Writes the shipped policy into a new directory, for the school to edit. Fails where `to` exists.
pub fn write_embedded(to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(to)?;
    for file in shipped_files(&SHIPPED) {
        let path = to.join(file.path());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, file.contents())?;
    }
    Ok(())
}

/// The files of a folder and of those below it, without what editors leave behind.
fn shipped_files(folder: &'static Dir<'static>) -> Vec<&'static File<'static>> {
    let belongs = |path: &Path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_policy_file);
    let mut files: Vec<_> = folder.files().filter(|file| belongs(file.path())).collect();
    for below in folder.dirs().filter(|below| belongs(below.path())) {
        files.extend(shipped_files(below));
    }
    files
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wardgate_core::{
        CERTAIN, Decide as _, Diagnostic, Evidence, Finding, Pipeline, Report, RequestHead, Ruleset, Stage,
        Target, TextKind,
    };

    use super::*;
    use crate::hosts::HostMap;
    use crate::{check_expectations, load};

    fn shipped() -> Loaded {
        embedded().map_err(in_words).unwrap()
    }

    fn in_words(problems: Vec<Diagnostic>) -> String {
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    /// The entries of the lists that are whole hosts, looked up in the plainest way.
    struct Entries(Vec<(Finding, HostMap<()>)>);

    impl Entries {
        fn of(loaded: &Loaded) -> Self {
            let list = |list: &crate::ListSource| {
                let mut hosts = HostMap::default();
                for line in list.text.lines().filter(|line| !line.starts_with('#') && !line.contains('/')) {
                    if let Ok(target) = Target::parse(line.split_whitespace().next().unwrap_or_default()) {
                        hosts.insert(target.host().clone(), ());
                    }
                }
                let evidence = Evidence::Entry { list: Arc::clone(&list.name), entry: "entry".into() };
                let category = list.category.clone();
                let kind = TextKind::Address;
                let finding = Finding { stage: "entries", category, kind, score: CERTAIN, evidence };
                (finding, hosts)
            };
            Self(loaded.lists.iter().map(list).collect())
        }
    }

    impl Stage for Entries {
        fn name(&self) -> &'static str {
            "entries"
        }
        fn request(&self, head: &RequestHead<'_>, report: &mut Report) {
            let holding = self.0.iter().filter(|(_, hosts)| hosts.get(head.target.host()).is_some());
            report.findings.extend(holding.map(|(finding, _)| finding.clone()));
        }
    }

    #[test]
    fn the_shipped_policy_is_sound() {
        let shipped = shipped();
        assert_eq!(in_words(shipped.warnings), "");
        for group in ["staff", "learners", "adult-learners", "visitors"] {
            assert!(shipped.policy.group_named(group).is_some(), "{group}");
        }
        for category in ["pornography", "racial-hatred", "extremism", "gaming", "illegal"] {
            assert!(shipped.policy.categories().any(|name| name.as_str() == category), "{category}");
        }
        for theme in ["self-harm", "radicalisation", "grooming", "bullying"] {
            assert!(shipped.policy.themes().any(|name| name.as_str() == theme), "{theme}");
        }
        assert!(shipped.policy.never_intercept().iter().any(|host| &*host.host == "childline.org.uk"));
    }

    /// Expectations about addresses hold with the lists alone; those in `avoidance.toml`, `texts.toml` and `phrases.toml`
    /// need all stages, and `wardgate check` checks them.
    #[test]
    fn the_shipped_policy_does_what_it_should() {
        let mut shipped = shipped();
        let all_stages = ["tests/avoidance.toml", "tests/texts.toml", "tests/phrases.toml"].map(Path::new);
        shipped.expectations.retain(|expectation| !all_stages.contains(&expectation.file.as_path()));
        assert!(shipped.expectations.len() > 50);
        let pipeline = Pipeline::new(vec![Arc::new(Entries::of(&shipped))]);
        let ruleset = Ruleset { policy: shipped.policy, pipeline };
        assert_eq!(in_words(check_expectations(&shipped.expectations, &ruleset)), "");
    }

    #[test]
    fn what_is_written_out_is_the_same_policy() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("new/policies");
        write_embedded(&directory).unwrap();
        let loaded = load(&directory).map_err(in_words).unwrap();
        assert_eq!(loaded.policy.hash(), shipped().policy.hash());
        assert!(loaded.lists[0].path.starts_with(&directory));
        assert_eq!(write_embedded(&directory).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
