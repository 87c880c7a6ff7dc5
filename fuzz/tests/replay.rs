//! Shows every input that is kept to the check it was kept for: what fuzzing has reached, and what it has found.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wardgate_fuzz::TARGETS;

/// Far longer than any input takes, on a slow machine and without optimisation.
const PATIENCE: Duration = Duration::from_secs(20);

/// The files of a folder; none where there is no such folder.
fn inputs(folder: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    inputs
}

/// Shows the inputs of a target to its check; returns how many they are.
fn replay(target: &str, check: fn(&[u8])) -> usize {
    let inputs: Vec<PathBuf> =
        ["corpus", "regressions"].iter().flat_map(|folder| inputs(folder, target)).collect();
    for input in &inputs {
        let bytes = fs::read(input).unwrap();
        let began = Instant::now();
        if std::panic::catch_unwind(|| check(&bytes)).is_err() {
            panic!("the check `{target}` fails on {}", input.display());
        }
        assert!(began.elapsed() < PATIENCE, "{} takes {:?}", input.display(), began.elapsed());
    }
    inputs.len()
}

#[test]
fn every_kept_input_holds() {
    for (target, check) in TARGETS {
        assert!(replay(target, check) > 0, "no input is kept for `{target}`");
    }
}

#[test]
fn every_folder_has_a_check() {
    for folder in ["corpus", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                TARGETS.iter().any(|(target, _)| *target == name),
                "nothing checks the inputs of `{name}`"
            );
        }
    }
}
