//! Reads the access log back, line by line, from a checkpoint forward across days, while it is being written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::daily::{day_of, days_in, name_of};
use crate::{JournalError, Record};

/// Longest line that is read, in bytes; the limits in [`crate::record`] keep every line below it.
const MAX_LINE_BYTES: u64 = 4 * 1024 * 1024;

/// A place between two lines of the access log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The name of the day's file.
    pub file: Arc<str>,
    /// Bytes of that file before the place.
    pub offset: u64,
}

/// One whole line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The line without its newline. To pass over lines of no interest, look for a key such as
    /// `"wardgate.concerns"` in here before parsing: in a value its quotes would be escaped.
    pub bytes: Box<[u8]>,
    /// Where the next line begins. To be kept once this line is dealt with.
    pub after: Checkpoint,
}

impl Line {
    /// Parses the line. A torn line that happens to end like a whole one is an error.
    pub fn record(&self) -> Result<Record<'static>, serde_json::Error> {
        Record::parse(&self.bytes)
    }
}

/// A reader with a place in the log. Reads files: use it where blocking is allowed.
pub struct Follower {
    dir: PathBuf,
    at: Checkpoint,
    file: Option<BufReader<File>>,
    torn: u64,
}

impl Follower {
    /// Takes up reading after `from`; without it, at the oldest line there is. Where the file of the checkpoint is
    /// past its retention, reading goes on with the next one there is.
    pub fn open(dir: impl Into<PathBuf>, from: Option<Checkpoint>) -> Result<Self, JournalError> {
        let dir = dir.into();
        let at = from.unwrap_or_else(|| Checkpoint { file: "".into(), offset: 0 });
        let mut follower = Self { dir, at, file: None, torn: 0 };
        follower.file = follower.open_file()?;
        Ok(follower)
    }

    /// The next whole lines, at most `max`; none where everything was read. Torn lines are passed over.
    pub fn next_batch(&mut self, max: usize) -> Result<Vec<Line>, JournalError> {
        let mut lines = Vec::new();
        while lines.len() < max {
            let Some(line) = self.next_line()? else { break };
            lines.push(line);
        }
        Ok(lines)
    }

    /// Where reading will go on.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.at
    }

    /// How many torn lines were passed over since [`Follower::open`].
    pub fn torn(&self) -> u64 {
        self.torn
    }

    fn next_line(&mut self) -> Result<Option<Line>, JournalError> {
        loop {
            if let Some(line) = self.next_in_file()? {
                return Ok(Some(line));
            }
            let Some(next) = self.next_name()? else {
                if self.found_anew()? {
                    continue;
                }
                return Ok(None);
            };
            // There is a later file, so this one has all that it will ever have: look again before leaving it.
            if let Some(line) = self.next_in_file()? {
                return Ok(Some(line));
            }
            self.leave_for(next)?;
        }
    }

    /// The next whole line of this file; nothing at its end, or before a line that is still being written.
    fn next_in_file(&mut self) -> Result<Option<Line>, JournalError> {
        while let Some(bytes) = self.read_line().map_err(|source| self.read_error(source))? {
            if bytes.starts_with(b"{") && bytes.ends_with(b"}") {
                return Ok(Some(Line { bytes, after: self.at.clone() }));
            }
            self.torn += u64::from(!bytes.is_empty());
        }
        Ok(None)
    }

    fn read_line(&mut self) -> io::Result<Option<Box<[u8]>>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let mut bytes = Vec::new();
        let count = file.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)? as u64;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if count < MAX_LINE_BYTES {
            file.seek_relative(-(count as i64))?;
            return Ok(None);
        }
        self.at.offset += count;
        Ok(Some(bytes.into()))
    }

    /// The name of the oldest file after this one.
    fn next_name(&self) -> Result<Option<String>, JournalError> {
        let days = days_in(&self.dir)
            .map_err(|source| JournalError::Directory { path: self.dir.clone(), source })?;
        let current = day_of(&self.at.file);
        Ok(days.into_iter().find(|day| current.is_none_or(|current| *day > current)).map(name_of))
    }

    fn leave_for(&mut self, next: String) -> Result<(), JournalError> {
        self.torn += u64::from(self.has_unfinished_line()?);
        self.at = Checkpoint { file: next.into(), offset: 0 };
        self.file = self.open_file()?;
        Ok(())
    }

    /// Whether this file was removed and begun again, or cut short in place; then it is read from its beginning.
    fn found_anew(&mut self) -> Result<bool, JournalError> {
        if let Some(file) = &self.file {
            let known = file.get_ref().metadata().map_err(|source| self.read_error(source))?;
            let cut_short = known.len() < self.at.offset;
            if known.nlink() > 0 && !cut_short {
                return Ok(false);
            }
            if cut_short {
                tracing::warn!(file = %self.at.file, "the access log was cut short; it is read from its beginning");
            }
        }
        self.at.offset = 0;
        self.file = self.open_file()?;
        Ok(self.file.is_some())
    }

    fn has_unfinished_line(&mut self) -> Result<bool, JournalError> {
        let Some(file) = &mut self.file else { return Ok(false) };
        match file.fill_buf() {
            Ok(rest) => Ok(!rest.is_empty()),
            Err(source) => Err(self.read_error(source)),
        }
    }

    /// Opens the checkpoint's file at its place; nothing where there is no such file any more.
    fn open_file(&mut self) -> Result<Option<BufReader<File>>, JournalError> {
        if day_of(&self.at.file).is_none() {
            return Ok(None);
        }
        match open_at(&self.dir.join(&*self.at.file), &mut self.at.offset) {
            Ok(file) => Ok(Some(BufReader::new(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.read_error(source)),
        }
    }

    fn read_error(&self, source: io::Error) -> JournalError {
        JournalError::Read { path: self.dir.join(&*self.at.file), source }
    }
}

/// Opens a file at an offset; where the file is shorter, it is not the one that the offset was about, and is read
/// from its beginning.
fn open_at(path: &Path, offset: &mut u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *offset {
        tracing::warn!(file = %path.display(), "the access log is shorter than at the last look; it is read again");
        *offset = 0;
    }
    file.seek(SeekFrom::Start(*offset))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::*;

    fn append(dir: &Path, day: &str, text: &str) {
        let path = dir.join(format!("access.{day}.jsonl"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn read(follower: &mut Follower) -> Vec<String> {
        let lines = follower.next_batch(100).unwrap();
        lines.iter().map(|line| String::from_utf8(line.bytes.to_vec()).unwrap()).collect()
    }

    #[test]
    fn follows_across_days() {
        let dir = tempfile::tempdir().unwrap();
        let mut follower = Follower::open(dir.path(), None).unwrap();
        assert_eq!(read(&mut follower), [""; 0]);
        append(dir.path(), "2026-11-20", "{1}\n{2}\n");
        append(dir.path(), "notes", "{0}\n");
        assert_eq!(read(&mut follower), ["{1}", "{2}"]);
        append(dir.path(), "2026-11-20", "{3}\n{4");
        assert_eq!(read(&mut follower), ["{3}"]);
        append(dir.path(), "2026-11-20", "}\n");
        append(dir.path(), "2026-11-23", "{5}\n");
        assert_eq!(read(&mut follower), ["{4}", "{5}"]);
        assert_eq!(read(&mut follower), [""; 0]);
        assert_eq!(follower.torn(), 0);
    }

    #[test]
    fn passes_over_torn_lines() {
        for (name, first_day, second_day, torn) in [
            ("repaired at the next start", "{1}\n{\"a\":\n{2}\n", "", 1),
            ("torn at the end of a day", "{1}\n{\"a\":", "{2}\n", 1),
            ("zeroes after a power cut", "{1}\n\0\0\0\n{2}\n", "", 1),
            ("the end of a line alone", "{1}\n\"a\":1}\n{2}\n", "", 1),
            ("an empty line is nothing", "{1}\n\n{2}\n", "", 0),
        ] {
            let dir = tempfile::tempdir().unwrap();
            append(dir.path(), "2026-11-20", first_day);
            append(dir.path(), "2026-11-21", second_day);
            let mut follower = Follower::open(dir.path(), None).unwrap();
            assert_eq!(read(&mut follower), ["{1}", "{2}"], "{name}");
            assert_eq!(follower.torn(), torn, "{name}");
        }
    }

    #[test]
    fn a_line_without_end_is_passed_over_in_bounded_memory() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "2026-11-20", &"x".repeat(MAX_LINE_BYTES as usize + 10));
        append(dir.path(), "2026-11-20", "\n{1}\n");
        let mut follower = Follower::open(dir.path(), None).unwrap();
        assert_eq!(read(&mut follower), ["{1}"]);
    }

    #[test]
    fn goes_on_after_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "2026-11-20", "{1}\n{2}\n");
        append(dir.path(), "2026-11-21", "{3}\n{4}\n");
        let all = Follower::open(dir.path(), None).unwrap().next_batch(100).unwrap();
        for (at, line) in all.iter().enumerate() {
            let stored = serde_json::to_string(&line.after).unwrap();
            let from = serde_json::from_str(&stored).unwrap();
            let mut follower = Follower::open(dir.path(), Some(from)).unwrap();
            assert_eq!(follower.next_batch(100).unwrap(), all[at + 1..], "after line {}", at + 1);
        }
    }

    #[test]
    fn checkpoints_of_files_that_changed() {
        for (name, file, offset, expected) in [
            ("past its retention", "access.2026-11-01.jsonl", 7, &["{1}", "{2}"][..]),
            ("between two days", "access.2026-11-20.jsonl", 7, &["{2}"]),
            ("shorter than it was", "access.2026-11-19.jsonl", 100, &["{1}", "{2}"]),
            ("all read", "access.2026-11-21.jsonl", 4, &[]),
            ("no file of the log", "../other", 4, &["{1}", "{2}"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            append(dir.path(), "2026-11-19", "{1}\n");
            append(dir.path(), "2026-11-21", "{2}\n");
            let from = Checkpoint { file: file.into(), offset };
            let mut follower = Follower::open(dir.path(), Some(from)).unwrap();
            assert_eq!(read(&mut follower), expected, "{name}");
        }
    }

    #[test]
    fn a_file_begun_again_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "2026-11-20", "{1}\n");
        let mut follower = Follower::open(dir.path(), None).unwrap();
        assert_eq!(read(&mut follower), ["{1}"]);
        fs::remove_file(dir.path().join("access.2026-11-20.jsonl")).unwrap();
        assert_eq!(read(&mut follower), [""; 0]);
        append(dir.path(), "2026-11-20", "{2}\n");
        assert_eq!(read(&mut follower), ["{2}"]);
    }

    #[test]
    fn a_file_cut_short_in_place_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "2026-11-20", "{1}\n{2}\n{3}\n{4");
        let mut follower = Follower::open(dir.path(), None).unwrap();
        assert_eq!(read(&mut follower), ["{1}", "{2}", "{3}"]);
        let cut = |left| {
            let path = dir.path().join("access.2026-11-20.jsonl");
            OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
        };
        cut(0);
        assert_eq!(read(&mut follower), [""; 0], "to nothing");
        append(dir.path(), "2026-11-20", "{5}\n{6}\n");
        assert_eq!(read(&mut follower), ["{5}", "{6}"], "shorter than it was");
        cut(4);
        assert_eq!(read(&mut follower), ["{5}"], "in part");
        cut(0);
        append(dir.path(), "2026-11-21", "{7}\n");
        assert_eq!(read(&mut follower), ["{7}"], "at the end of its day");
    }
}
