//! What a tree of processes costs: CPU time to the nanosecond, memory as the kernel accounts it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The CPU time, user and system, of each process of a tree up to a moment.
pub(crate) struct Reading(BTreeMap<i32, Duration>);

impl Reading {
    /// Reads the clocks of a process and of everything that it started.
    pub(crate) fn of(root: i32) -> Result<Self> {
        let clocks = tree(root)?.into_iter().map(|pid| Ok((pid, cpu(pid)?)));
        Ok(Self(clocks.collect::<Result<_>>()?))
    }

    /// What was used from an earlier reading up to this one. A process that has ended meanwhile took its clock with
    /// it: then nothing can be said.
    pub(crate) fn since(&self, earlier: &Self) -> Result<Duration> {
        let gone = earlier.0.keys().find(|pid| !self.0.contains_key(pid));
        ensure!(gone.is_none(), "process {gone:?} of the proxy ended in the midst of the measurement");
        Ok(self.total().saturating_sub(earlier.total()))
    }

    /// What was used since the tree began.
    pub(crate) fn total(&self) -> Duration {
        self.0.values().sum()
    }
}

/// Memory of a tree of processes, in KiB. Pages that processes share are counted in each of them.
#[derive(Clone, Copy)]
pub(crate) enum Memory {
    Now,
    Peak,
}

impl Memory {
    pub(crate) fn of(self, root: i32) -> Result<u64> {
        let field = match self {
            Self::Now => "VmRSS:",
            Self::Peak => "VmHWM:",
        };
        tree(root)?.into_iter().map(|pid| status(pid, field)).sum()
    }
}

fn status(pid: i32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(field)).context("a process without memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The whole process's clock, threads that have ended included.
fn cpu(pid: i32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid))?;
    Ok(clock_gettime(clock)?.into())
}

/// A process and its descendants, from the `ppid` of every process there is.
fn tree(root: i32) -> Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        // A process may end between the listing and the look at it.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // Fields are counted behind the name, which may hold spaces and parentheses.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut at = 0;
    while let Some(pid) = tree.get(at) {
        tree.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell that works in a child of its own, and waits for its end.
    #[test]
    fn what_children_use_is_counted() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read _";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("sh -c '{script}'; true")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let root = shell.id() as i32;
        let mut said = [0; 5];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
        let reading = Reading::of(root).unwrap();
        let memory = Memory::Peak.of(root).unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(reading.0.len(), 2, "the shell and its child");
        assert!(reading.total() > Duration::from_millis(5), "{:?}", reading.total());
        assert!(memory > 500, "{memory} KiB");
    }

    #[test]
    fn a_process_that_ended_spoils_the_measurement() {
        let earlier = Reading(BTreeMap::from([(1, Duration::ZERO), (2, Duration::ZERO)]));
        let later = Reading(BTreeMap::from([(1, Duration::from_secs(1))]));
        assert!(later.since(&earlier).is_err());
        assert_eq!(earlier.since(&Reading(BTreeMap::new())).unwrap(), Duration::ZERO);
    }
}
