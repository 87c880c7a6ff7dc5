//! One file a day, `access.YYYY-MM-DD.jsonl` by the UTC day, readable by its owner only, gone after its retention.
//!
//! tracing-appender has a `RollingFileAppender`; we use its queue but not its files. As of 0.2.5 it makes them with
//! the umask's permissions, only prints an error when the next day's file cannot be made and goes on in the old one
//! (a reader has moved on by then), may roll in the middle of a line that a full disk took half of, and counts files
//! by their birth where retention means days by their date.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};

use crate::JournalError;
use crate::writer::Sink;

const PREFIX: &str = "access.";
const SUFFIX: &str = ".jsonl";
/// More days than this without a file mean holidays, or a clock that is wrong.
const LONGEST_GAP_DAYS: i64 = 7;

/// The name of a day's file.
pub(crate) fn name_of(day: Date) -> String {
    format!("{PREFIX}{day}{SUFFIX}")
}

/// The day of a file of the access log; nothing for any other file.
pub(crate) fn day_of(name: &str) -> Option<Date> {
    let day: Date = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (name_of(day) == name).then_some(day)
}

/// The days of which there is a file, oldest first.
pub(crate) fn days_in(dir: &Path) -> io::Result<Vec<Date>> {
    let mut days = Vec::new();
    for entry in fs::read_dir(dir)? {
        days.extend(entry?.file_name().to_str().and_then(day_of));
    }
    days.sort_unstable();
    Ok(days)
}

/// Today by UTC.
pub(crate) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// The day's file, open for appending. Days only move forward: once there is a file of a later day, an earlier one
/// is never written again, so that a [`crate::Follower`] may leave it behind.
pub(crate) struct DailyFile {
    dir: PathBuf,
    retention_days: u32,
    today: fn() -> Date,
    day: Date,
    purged_on: Date,
    file: File,
    path: Arc<Mutex<PathBuf>>,
}

impl DailyFile {
    /// Makes the directory where it is missing, removes what is past its retention and opens the file of the day.
    pub(crate) fn open(dir: &Path, retention_days: u32, today: fn() -> Date) -> Result<Self, JournalError> {
        let in_directory = |source| JournalError::Directory { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(in_directory)?;
        let newest = days_in(dir).map_err(in_directory)?.last().copied();
        let now = today();
        let day = newest.map_or(now, |newest| newest.max(now));
        if day > now {
            tracing::warn!(
                file = name_of(day),
                "the access log has a file of a day to come (was the clock wrong?); it is continued"
            );
        }
        let path = dir.join(name_of(day));
        let file =
            open_for_appending(&path).map_err(|source| JournalError::Open { path: path.clone(), source })?;
        purge(dir, now, retention_days);
        let path = Arc::new(Mutex::new(path));
        Ok(Self { dir: dir.to_owned(), retention_days, today, day, purged_on: now, file, path })
    }

    /// Where the path of the file now open can be read, from other threads too.
    pub(crate) fn path(&self) -> Arc<Mutex<PathBuf>> {
        Arc::clone(&self.path)
    }

    fn reopen(&mut self, day: Date) -> io::Result<()> {
        let path = self.dir.join(name_of(day));
        self.file = open_for_appending(&path)?;
        self.day = day;
        *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
        Ok(())
    }
}

impl Sink for DailyFile {
    fn begin_line(&mut self) -> io::Result<()> {
        let today = (self.today)();
        if today > self.day {
            self.reopen(today)?;
        } else if self.file.metadata()?.nlink() == 0 {
            tracing::warn!(
                file = name_of(self.day),
                "the access log was removed while in use; a new one is begun"
            );
            self.reopen(self.day)?;
        }
        if today != self.purged_on {
            purge(&self.dir, today, self.retention_days);
            self.purged_on = today;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
}

/// Opens or makes a file that its owner alone may read. A last line that a crash left without its newline gets it
/// now, so that the next line stands by itself.
fn open_for_appending(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(file);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Removes the files of days that are past their retention. What cannot be removed is reported and tried again
/// the next day.
fn purge(dir: &Path, today: Date, retention_days: u32) {
    let days = match days_in(dir) {
        Ok(days) => days,
        Err(error) => return tracing::error!(%error, "old access logs could not be looked for"),
    };
    let oldest_kept = retained_from(&days, today).saturating_sub(Span::new().days(i64::from(retention_days)));
    for day in days.into_iter().filter(|day| *day < oldest_kept) {
        let file = name_of(day);
        match fs::remove_file(dir.join(&file)) {
            Ok(()) => tracing::info!(file, retention_days, "an access log past its retention was removed"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(file, %error, "an access log past its retention could not be removed")
            }
        }
    }
}

/// The day from which retention is counted back: today; but the newest other day where that is long ago, as a clock
/// that is wrong for a day must not cost the whole log. If it is right, the next day removes what is due.
fn retained_from(days: &[Date], today: Date) -> Date {
    let Some(newest) = days.iter().rfind(|day| **day != today).copied() else { return today };
    if today <= newest.saturating_add(Span::new().days(LONGEST_GAP_DAYS)) {
        return today;
    }
    tracing::warn!(
        newest = name_of(newest),
        "the access log has no file of many days (is the clock right?); old ones are kept for another day"
    );
    newest
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicI8, Ordering};

    use jiff::civil::date;

    use super::*;

    fn first() -> Date {
        date(2026, 11, 1)
    }

    fn write_line(file: &mut DailyFile, line: &str) {
        file.begin_line().unwrap();
        assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn content(dir: &Path, day: Date) -> String {
        fs::read_to_string(dir.join(name_of(day))).unwrap()
    }

    #[test]
    fn names() {
        assert_eq!(name_of(first()), "access.2026-11-01.jsonl");
        for (name, expected) in [
            ("access.2026-11-01.jsonl", Some(first())),
            ("access.2026-11-01.jsonl.gz", None),
            ("access.2026-11-1.jsonl", None),
            ("access.20261101.jsonl", None),
            ("access.2026-11-01T00:00.jsonl", None),
            ("access.2026-02-30.jsonl", None),
            ("access..jsonl", None),
            ("other.2026-11-01.jsonl", None),
        ] {
            assert_eq!(day_of(name), expected, "{name}");
        }
    }

    #[test]
    fn only_the_owner_may_read() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data/log");
        let file = DailyFile::open(&dir, 30, first).unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&file.path().lock().unwrap()), 0o600);
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        for (name, before, after) in [
            ("torn", "{1}\n{\"a\":", "{1}\n{\"a\":\n{2}\n"),
            ("whole", "{1}\n", "{1}\n{2}\n"),
            ("empty", "", "{2}\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name_of(first())), before).unwrap();
            write_line(&mut DailyFile::open(dir.path(), 30, first).unwrap(), "{2}\n");
            assert_eq!(content(dir.path(), first()), after, "{name}");
        }
    }

    #[test]
    fn days_move_forward_and_old_ones_go() {
        static DAY: AtomicI8 = AtomicI8::new(3);
        let today = || date(2026, 11, DAY.load(Ordering::Relaxed));
        let dir = tempfile::tempdir().unwrap();
        for old in ["access.2026-10-31.jsonl", "access.2026-11-01.jsonl", "access.2026-10-31.jsonl.gz"] {
            fs::write(dir.path().join(old), "{}\n").unwrap();
        }
        let mut file = DailyFile::open(dir.path(), 2, today).unwrap();
        assert_eq!(days_in(dir.path()).unwrap(), [date(2026, 11, 1), date(2026, 11, 3)]);
        write_line(&mut file, "{3}\n");
        DAY.store(4, Ordering::Relaxed);
        write_line(&mut file, "{4}\n");
        DAY.store(3, Ordering::Relaxed);
        write_line(&mut file, "{back}\n");
        assert_eq!(days_in(dir.path()).unwrap(), [date(2026, 11, 3), date(2026, 11, 4)]);
        assert_eq!(content(dir.path(), date(2026, 11, 3)), "{3}\n");
        assert_eq!(content(dir.path(), date(2026, 11, 4)), "{4}\n{back}\n");
        assert!(file.path().lock().unwrap().ends_with("access.2026-11-04.jsonl"));
        assert!(dir.path().join("access.2026-10-31.jsonl.gz").exists(), "not ours to remove");
    }

    #[test]
    fn what_is_removed_at_the_start() {
        let day = |text: &str| -> Date { text.parse().unwrap() };
        for (name, before, today, after) in [
            (
                "in daily use",
                &["2026-10-01", "2026-10-31"][..],
                "2026-11-01",
                &["2026-10-31", "2026-11-01"][..],
            ),
            ("after a week", &["2026-09-30", "2026-10-25"], "2026-11-01", &["2026-10-25", "2026-11-01"]),
            (
                "a clock far ahead",
                &["2026-10-02", "2026-11-01"],
                "2027-03-01",
                &["2026-10-02", "2026-11-01", "2027-03-01"],
            ),
            ("and started again", &["2026-11-01", "2027-03-01"], "2027-03-01", &["2026-11-01", "2027-03-01"]),
            (
                "the day after holidays",
                &["2026-11-01", "2027-03-01"],
                "2027-03-02",
                &["2027-03-01", "2027-03-02"],
            ),
            (
                "a log that is seldom used",
                &["2026-08-01", "2026-10-01"],
                "2026-11-01",
                &["2026-10-01", "2026-11-01"],
            ),
            (
                "a file of a day to come",
                &["2026-10-31", "2027-03-01"],
                "2026-11-01",
                &["2026-10-31", "2027-03-01"],
            ),
            ("a day to come hides nothing", &["2026-10-01", "2027-03-01"], "2026-12-01", &["2027-03-01"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for old in before {
                fs::write(dir.path().join(name_of(day(old))), "{}\n").unwrap();
            }
            let today = day(today);
            let newest = before.iter().map(|old| day(old)).max().unwrap();
            open_for_appending(&dir.path().join(name_of(newest.max(today)))).unwrap();
            purge(dir.path(), today, 30);
            assert_eq!(
                days_in(dir.path()).unwrap(),
                after.iter().map(|kept| day(kept)).collect::<Vec<_>>(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_clock_that_leaps_costs_nothing_and_delays_nothing() {
        static DAYS: AtomicI8 = AtomicI8::new(0);
        let today = || first().saturating_add(Span::new().days(i64::from(DAYS.load(Ordering::Relaxed))));
        let dir = tempfile::tempdir().unwrap();
        let mut file = DailyFile::open(dir.path(), 5, today).unwrap();
        for days in [100, 1, 2, 7] {
            DAYS.store(days, Ordering::Relaxed);
            write_line(&mut file, "{}\n");
            let kept = days_in(dir.path()).unwrap();
            assert_eq!(kept.contains(&first()), days != 7, "after {days} days");
        }
        assert!(file.path().lock().unwrap().ends_with(name_of(date(2027, 2, 9))), "days move forward");
    }

    #[test]
    fn a_later_file_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let later = date(2026, 11, 2);
        fs::write(dir.path().join(name_of(later)), "{1}\n").unwrap();
        write_line(&mut DailyFile::open(dir.path(), 30, first).unwrap(), "{2}\n");
        assert_eq!(content(dir.path(), later), "{1}\n{2}\n");
    }

    #[test]
    fn a_file_removed_in_use_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = DailyFile::open(dir.path(), 30, first).unwrap();
        write_line(&mut file, "{1}\n");
        fs::remove_file(dir.path().join(name_of(first()))).unwrap();
        write_line(&mut file, "{2}\n");
        assert_eq!(content(dir.path(), first()), "{2}\n");
    }
}
