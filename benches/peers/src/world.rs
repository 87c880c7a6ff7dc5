//! Where the benchmark happens: two processors, a directory, and processes that end with it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::{names, origin, pages, pki};

/// The proxy under test listens here, one after the other.
pub(crate) const PROXY: &str = "127.0.0.1:3128";
/// How long a program may take until it listens. Five million domains take a while.
const PATIENCE: Duration = Duration::from_secs(180);
const GLANCE: Duration = Duration::from_millis(5);
/// Connections at a time, with both ends and room for the rest.
const OPEN_FILES: u64 = 60_000;

/// The place of the benchmark.
pub(crate) struct World {
    /// Removed at the end.
    dir: TempDir,
    /// The processor of the proxy; everything else has the other one.
    proxy_core: usize,
    /// Where `wardgate` and `floor` are: beside this program.
    programs: PathBuf,
    /// The policy that ships with Wardgate.
    pub(crate) policy: PathBuf,
    /// Where `oha` is.
    pub(crate) oha: PathBuf,
    /// More tunnels than this cannot be open: the limit of open files.
    pub(crate) most_tunnels: usize,
    _origin: Child,
}

impl World {
    /// Takes two processors, writes everything that the programs need, and starts origin and DNS.
    pub(crate) async fn new(policy: PathBuf, oha: PathBuf) -> Result<Self> {
        ensure!(policy.join("groups.toml").exists(), "{} is not Wardgate's policy", policy.display());
        let proxy_core = take_processors()?;
        let most_tunnels = raise_open_files()?;
        let dir = tempfile::Builder::new().prefix("peers.").tempdir_in("/var/tmp")?;
        // Squid and e2guardian give up root before they open their logs.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        pki::write(dir.path())?;
        pages::write(&dir.path().join("www"))?;
        names::serve().await?;
        let origin = origin::start(dir.path()).await?;
        let programs = std::env::current_exe()?.parent().context("a program lies in a directory")?.to_owned();
        Ok(Self { dir, proxy_core, programs, policy, oha, most_tunnels, _origin: origin })
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty directory that a program which gave up root can write to.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        Ok(path)
    }

    /// A program that was built with this one.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        ensure!(path.exists(), "{} is missing: start with benches/peers/run", path.display());
        Ok(path)
    }

    /// A command that will have the proxy's processor to itself; what it prints goes to a file.
    pub(crate) fn on_proxy_core(&self, program: &Path, log: &Path) -> Result<Command> {
        let log = fs::File::create(log)?;
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(self.proxy_core.to_string()).arg(program);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(command)
    }
}

/// Waits until somebody listens at an address.
pub(crate) async fn listening(child: &mut Child, address: SocketAddr, log: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status} at its start:\n{}", tail(log));
        }
        ensure!(Instant::now() < deadline, "it does not listen at {address}:\n{}", tail(log));
        sleep(GLANCE).await;
    }
    Ok(())
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Moves this process, and what it starts, to the second processor; returns the first.
fn take_processors() -> Result<usize> {
    let own = Pid::from_raw(0);
    let allowed = sched_getaffinity(own)?;
    let allowed = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    let [proxy, load] = allowed.take(2).collect::<Vec<_>>()[..] else { bail!("two processors are needed") };
    let mut set = CpuSet::new();
    set.set(load)?;
    sched_setaffinity(own, &set)?;
    Ok(proxy)
}

/// As many open files as this needs, or as there may be; returns for how many tunnels they are enough.
fn raise_open_files() -> Result<usize> {
    const OTHERS: u64 = 400;
    let limit = rlimit::increase_nofile_limit(OPEN_FILES)?;
    let tunnels = limit.saturating_sub(OTHERS) / 2; // a proxy has both ends of each
    Ok(usize::try_from(tunnels)?)
}
