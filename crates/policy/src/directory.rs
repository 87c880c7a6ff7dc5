//! Reads the files of a policy directory into memory, within limits, and names them by their hash.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use wardgate_core::Diagnostic;

/// Largest single file: a list of some millions of hosts.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Largest sum of all files.
const MAX_TOTAL_BYTES: u64 = 512 << 20;
/// Most files in a directory, subdirectories included.
const MAX_FILES: usize = 4_096;
/// Deepest nesting of subdirectories; also ends a cycle of symbolic links.
const MAX_DEPTH: usize = 8;

/// The files of a policy directory by their path relative to it, with `/` between the parts.
pub(crate) struct Directory {
    root: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Directory {
    /// Takes files that are in memory already. Paths in diagnostics are relative.
    pub(crate) fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { root: PathBuf::new(), files }
    }

    /// Reads all files below `root`, except for what editors leave behind (see [`is_policy_file`]).
    pub(crate) fn read(root: &Path) -> Result<Self, Diagnostic> {
        let mut reader = Reader { files: BTreeMap::new(), total: 0 };
        reader.directory(root, "", 0)?;
        Ok(Self { root: root.to_owned(), files: reader.files })
    }

    /// The paths of all files, sorted.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The paths of the files that lie directly in `folder` and end in `extension` (with its dot), sorted.
    pub(crate) fn within<'a>(&'a self, folder: &'a str, extension: &'a str) -> impl Iterator<Item = &'a str> {
        self.paths().filter(move |path| {
            path.strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| !name.contains('/') && name.ends_with(extension))
        })
    }

    /// Whether there is such a file.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// The text of a file, if there is such a file.
    pub(crate) fn text(&self, path: &str) -> Option<Result<&str, Diagnostic>> {
        let bytes = self.files.get(path)?;
        Some(std::str::from_utf8(bytes).map_err(|_| {
            Diagnostic::error(path, None, "the file is not UTF-8 text")
                .help("save it with the encoding UTF-8")
        }))
    }

    /// The path of a file as a person would open it: below the directory that was read.
    pub(crate) fn absolute(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// SHA-256 in lower-case hex over all paths and contents, each preceded by its length, in the order of the paths.
    pub(crate) fn hash(&self) -> Arc<str> {
        let mut hasher = Sha256::new();
        for (path, contents) in &self.files {
            for part in [path.as_bytes(), contents] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        }
        let mut hex = String::with_capacity(64);
        for byte in hasher.finalize() {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        }
        hex.into()
    }
}

/// Whether a file of this name belongs to a policy: no hidden files, back-ups and swap files of editors.
pub(crate) fn is_policy_file(name: &str) -> bool {
    let left_behind = [".bak", ".orig", ".rej", ".swp", ".tmp", "~", "#"];
    !name.starts_with(['.', '#']) && !left_behind.iter().any(|end| name.ends_with(end))
}

struct Reader {
    files: BTreeMap<String, Vec<u8>>,
    total: u64,
}

impl Reader {
    fn directory(&mut self, path: &Path, relative: &str, depth: usize) -> Result<(), Diagnostic> {
        if depth > MAX_DEPTH {
            return Err(Diagnostic::error(path, None, format!("more than {MAX_DEPTH} folders deep")));
        }
        for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
            let entry = entry.map_err(|error| unreadable(path, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(Diagnostic::error(entry.path(), None, "the file's name is not UTF-8"));
            };
            if !is_policy_file(name) {
                continue;
            }
            let below = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            self.entry(&entry.path(), below, depth)?;
        }
        Ok(())
    }

    /// Follows symbolic links: a mounted configuration is often made of them.
    fn entry(&mut self, path: &Path, relative: String, depth: usize) -> Result<(), Diagnostic> {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if metadata.is_dir() {
            return self.directory(path, &relative, depth + 1);
        }
        if !metadata.is_file() {
            return Err(Diagnostic::error(path, None, "neither a file nor a folder"));
        }
        if self.files.len() == MAX_FILES {
            return Err(Diagnostic::error(path, None, format!("more than {MAX_FILES} files in the policy")));
        }
        let contents = self.contents(path)?;
        self.files.insert(relative, contents);
        Ok(())
    }

    fn contents(&mut self, path: &Path) -> Result<Vec<u8>, Diagnostic> {
        let limit = MAX_FILE_BYTES.min(MAX_TOTAL_BYTES - self.total);
        let mut contents = Vec::new();
        let file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
        file.take(limit + 1).read_to_end(&mut contents).map_err(|error| unreadable(path, &error))?;
        let size = contents.len() as u64;
        if size > limit {
            let message = format!(
                "too large: a file may have {} MiB, all files together {} MiB",
                MAX_FILE_BYTES >> 20,
                MAX_TOTAL_BYTES >> 20
            );
            return Err(Diagnostic::error(path, None, message));
        }
        self.total += size;
        Ok(contents)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::error(path, None, format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> Directory {
        Directory::of(
            files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
        )
    }

    #[test]
    fn the_hash_names_paths_and_contents() {
        let hash = directory(&[("a", "1"), ("b", "2")]).hash();
        assert_eq!(hash.len(), 64);
        assert_eq!(hash, directory(&[("b", "2"), ("a", "1")]).hash());
        for (name, other) in [
            ("another content", directory(&[("a", "1"), ("b", "3")])),
            ("another path", directory(&[("a", "1"), ("c", "2")])),
            ("a moved border", directory(&[("a", "1b2")])),
            ("a file more", directory(&[("a", "1"), ("b", "2"), ("c", "")])),
        ] {
            assert_ne!(hash, other.hash(), "{name}");
        }
    }

    #[test]
    fn reads_folders_without_what_editors_leave_behind() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("lists/deep")).unwrap();
        for file in
            ["a.toml", ".a.toml.swp", "a.toml~", "#a#", "lists/b.txt", "lists/b.txt.orig", "lists/deep/c.txt"]
        {
            fs::write(root.path().join(file), file).unwrap();
        }
        let directory = Directory::read(root.path()).unwrap();
        assert_eq!(directory.paths().collect::<Vec<_>>(), ["a.toml", "lists/b.txt", "lists/deep/c.txt"]);
        assert_eq!(directory.within("lists", ".txt").collect::<Vec<_>>(), ["lists/b.txt"]);
        assert_eq!(directory.text("a.toml"), Some(Ok("a.toml")));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let error = Directory::read(&missing).err().unwrap();
        assert_eq!(error.file, missing);
        std::os::unix::fs::symlink(root.path(), root.path().join("circle")).unwrap();
        let error = Directory::read(root.path()).err().unwrap();
        assert_eq!(error.message, "more than 8 folders deep");
    }
}
