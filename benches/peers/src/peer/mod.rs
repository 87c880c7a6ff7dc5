//! The proxies that are compared, each with the configuration that its documentation recommends for the job.

mod e2guardian;
mod floor;
mod phrases;
mod squid;
mod wardgate;

use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::cost::{Memory, Reading};
use crate::pki;
use crate::world::{PROXY, World, listening};

pub(crate) use wardgate::most_memory;

/// What goes on behind a start, such as giving back what it took to compile the lists, is over after this.
const SETTLED: Duration = Duration::from_millis(500);

/// A proxy under test.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Peer {
    Squid,
    E2guardian,
    Floor,
    Wardgate,
}

/// What a proxy does with what passes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Work {
    /// Passes the bytes of CONNECT.
    Tunnel,
    /// Opens TLS, and does not look at text.
    Intercept,
    /// Opens TLS and looks for phrases in every page.
    Scan,
}

/// What a proxy is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) work: Work,
    /// Domains on a list beside those that it ships with.
    pub(crate) domains: usize,
    /// Phrases beside those that it ships with.
    pub(crate) phrases: usize,
}

impl From<Work> for Task {
    fn from(work: Work) -> Self {
        Self { work, domains: 0, phrases: 0 }
    }
}

/// A proxy that runs. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    /// CPU time and memory of the start.
    pub(crate) started: Started,
}

#[derive(Clone, Copy)]
pub(crate) struct Started {
    pub(crate) cpu: Duration,
    pub(crate) memory_kib: u64,
}

impl Peer {
    /// Whether it can do this at all.
    pub(crate) fn can(self, work: Work, http2: bool) -> bool {
        match self {
            Self::Squid => work != Work::Scan && !http2,
            Self::E2guardian => !http2,
            Self::Floor | Self::Wardgate => true,
        }
    }

    /// The address that a client comes from, by which Wardgate knows the person and so the group.
    pub(crate) fn client(work: Work) -> Ipv4Addr {
        wardgate::client(work)
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(self, world: &World, task: Task) -> Result<Running> {
        self.run(world, task).await.with_context(|| format!("cannot start {self}"))
    }

    async fn run(self, world: &World, task: Task) -> Result<Running> {
        let log = world.path(format!("{self}.log"));
        let mut command = match self {
            Self::Squid => squid::command(world, task, &log).await?,
            Self::E2guardian => e2guardian::command(world, task, &log)?,
            Self::Floor => floor::command(world, task, &log)?,
            Self::Wardgate => wardgate::command(world, task, &log).await?,
        };
        Running::start(&mut command, log).await
    }

    /// How many lines its access log has by now; nothing where it has none.
    pub(crate) fn logged(self, world: &World) -> Result<Option<u64>> {
        let logs = match self {
            Self::Squid => vec![world.path("squid/access.log")],
            Self::E2guardian => vec![world.path("e2guardian/access.log")],
            Self::Floor => return Ok(None),
            Self::Wardgate => wardgate::access_logs(world)?,
        };
        logs.iter().map(|log| count_lines(log)).sum::<Result<u64>>().map(Some)
    }

    /// The authority that signs what clients get to see.
    pub(crate) fn authority(self, world: &World, work: Work) -> PathBuf {
        world.path(if work == Work::Tunnel { pki::ORIGIN_ROOT } else { pki::SCHOOL })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Squid => "Squid",
            Self::E2guardian => "e2guardian",
            Self::Floor => "floor",
            Self::Wardgate => "Wardgate",
        })
    }
}

impl Running {
    async fn start(command: &mut Command, log: PathBuf) -> Result<Self> {
        let mut child = command.spawn()?;
        listening(&mut child, PROXY.parse()?, &log).await?;
        sleep(SETTLED).await;
        let root = pid(&child)?;
        let cpu = Reading::of(root)?.total();
        let started = Started { cpu, memory_kib: Memory::Now.of(root)? };
        Ok(Self { child, log, started })
    }

    pub(crate) fn cpu(&self) -> Result<Reading> {
        Reading::of(pid(&self.child)?).with_context(|| self.last_words())
    }

    pub(crate) fn memory(&self, which: Memory) -> Result<u64> {
        which.of(pid(&self.child)?).with_context(|| self.last_words())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// For an error: what it said at last.
    pub(crate) fn last_words(&self) -> String {
        format!("the end of {}:\n{}", self.log.display(), crate::world::tail(&self.log))
    }
}

fn count_lines(path: &Path) -> Result<u64> {
    let mut file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
    let mut lines = 0;
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(lines);
        }
        lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let length = bytes.len();
        file.consume(length);
    }
}

/// `taskset` replaces itself by the program, so this is the program's.
fn pid(child: &Child) -> Result<i32> {
    Ok(child.id().context("it has ended")? as i32)
}
