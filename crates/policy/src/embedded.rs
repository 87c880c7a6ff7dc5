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
