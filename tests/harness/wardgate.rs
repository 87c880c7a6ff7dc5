//! The program under test: a directory for it to live in, its configuration, and the running process.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::client::Client;
use super::pki::Pki;
use super::tools::{self, Ran};

/// How long the program may take to start, stop or write a line.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
const GLANCE: Duration = Duration::from_millis(20);

/// Names that the hosts file maps to 127.0.0.1.
const HOSTS: &[&str] = &[
    "allowed.example.test",
    "another.example.test",
    "bank.example.test",
    "blocked.example.test",
    "expired.example.test",
    "games.example.test",
    "help.example.test",
    "must-work.example.test",
    "self-signed.example.test",
    "untrusted.example.test",
    "wrong-host.example.test",
];

/// Keys that every line of the access log has, whatever happened.
const KEYS: &[&str] = &[
    "@timestamp",
    "event.duration",
    "event.id",
    "event.outcome",
    "http.request.method",
    "http.response.status_code",
    "rule.name",
    "source.ip",
    "url.full",
    "user.name",
    "wardgate.decision",
    "wardgate.group",
    "wardgate.identity_source",
    "wardgate.outcome",
    "wardgate.policy_hash",
];

/// A directory with configuration, policy, certificates and data, as one school would have it.
pub(crate) struct Site {
    dir: TempDir,
    config: toml::Table,
}

impl Site {
    /// A site with the tests' policy that trusts the tests' root.
    pub(crate) fn new(pki: &Pki) -> Self {
        let mut site = Self { dir: tempfile::tempdir().unwrap(), config: toml::Table::new() };
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/policy"), &site.path("policies"));
        fs::write(site.path("root.pem"), &pki.root_pem).unwrap();
        fs::write(site.path("hosts"), "").unwrap();
        for host in HOSTS {
            site.host(host, "127.0.0.1");
        }
        site.set("proxy", "listen", "127.0.0.1:0");
        site.set("data", "dir", site.text("data"));
        site.set("policy", "dir", site.text("policies"));
        site.set("certs", "dir", site.text("certs"));
        site.set("upstream", "extra_roots", vec![site.text("root.pem")]);
        site.set("upstream", "hosts_file", site.text("hosts"));
        site
    }

    /// A path inside the site.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn text(&self, relative: &str) -> String {
        self.path(relative).to_str().unwrap().to_owned()
    }

    /// Sets a key of the configuration; `section` may be nested with dots.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: impl Into<toml::Value>) {
        let mut table = &mut self.config;
        for part in section.split('.') {
            let inner = table.entry(part).or_insert_with(|| toml::Table::new().into());
            table = inner.as_table_mut().unwrap();
        }
        table.insert(key.to_owned(), value.into());
    }

    /// Makes a name known to the program.
    pub(crate) fn host(&self, name: &str, address: &str) {
        let known = fs::read_to_string(self.path("hosts")).unwrap();
        fs::write(self.path("hosts"), format!("{known}{address} {name}\n")).unwrap();
    }

    /// Replaces text of a policy file; panics where it is not there.
    pub(crate) fn amend(&self, file: &str, from: &str, to: &str) {
        let path = self.path("policies").join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not say {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Appends text to a policy file, which is made where it is missing.
    pub(crate) fn append(&self, file: &str, more: &str) {
        let path = self.path("policies").join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{text}\n{more}\n")).unwrap();
    }

    /// A command of the program on this site.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let file = self.path("wardgate.toml");
        fs::write(&file, self.config.to_string()).unwrap();
        // Another build of the same program, where one is named: the soak of a release.
        let program = std::env::var_os("WARDGATE_BIN").unwrap_or(env!("CARGO_BIN_EXE_wardgate").into());
        let mut command = Command::new(program);
        command.arg("--config").arg(file).args(arguments).current_dir(self.dir.path()).kill_on_drop(true);
        command
    }

    /// Runs a command of the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> Ran {
        tools::run(&mut self.command(arguments), input).await
    }

    /// Adds an account.
    pub(crate) async fn add_user(&self, name: &str, groups: &str, password: &str) {
        let arguments = ["users", "add", name, "--groups", groups, "--password-stdin"];
        self.run(&arguments, &format!("{password}\n")).await.succeeded();
    }

    /// Starts serving and waits until it is ready.
    pub(crate) async fn start(&self) -> Wardgate {
        Wardgate::start(self.command(&["serve"])).await
    }

    /// Starts serving in namespaces of its own (arguments of `unshare`), where `prepare` is run by the shell before.
    pub(crate) async fn start_within(&self, unshare: &[&str], prepare: &str) -> Wardgate {
        let serve = self.command(&["serve"]);
        let serve = serve.as_std();
        let mut command = Command::new(tools::find("unshare"));
        command.args(unshare).args(["sh", "-c", &format!("{prepare} && exec \"$@\""), "sh"]);
        command
            .arg(serve.get_program())
            .args(serve.get_args())
            .current_dir(self.dir.path())
            .kill_on_drop(true);
        Wardgate::start(command).await
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The running program. Killed when dropped; what it printed is shown where a test fails.
pub(crate) struct Wardgate {
    /// Where the proxy listens.
    pub(crate) proxy: SocketAddr,
    /// What it printed at its start, by the first word of each line.
    pub(crate) printed: BTreeMap<String, String>,
    child: Child,
    stdout: Printed,
    stderr: Printed,
}

type Printed = Arc<Mutex<String>>;

impl Wardgate {
    /// Starts a command that serves and waits until it is ready.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !stdout.lock().unwrap().lines().any(|line| line.trim() == "ready") {
            let exited = child.try_wait().unwrap();
            let late = Instant::now() > deadline;
            assert!(exited.is_none() && !late, "it does not start ({exited:?}): {}", stderr.lock().unwrap());
            sleep(GLANCE).await;
        }
        let printed: BTreeMap<String, String> = stdout
            .lock()
            .unwrap()
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let proxy = printed["proxy"].trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        Self { proxy, printed, child, stdout, stderr }
    }

    /// A client behind this proxy that trusts its authority, as a school's device does.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.proxy, &self.ca_pem())
    }

    /// The certificate of the authority.
    pub(crate) fn ca_pem(&self) -> String {
        fs::read_to_string(&self.printed["ca"]).unwrap()
    }

    /// A URL on the proxy's own port.
    pub(crate) fn own_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy)
    }

    /// Everything printed to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Every complete line of the access log so far, oldest first.
    pub(crate) fn lines(&self) -> Vec<Value> {
        read_log(Path::new(&self.printed["log"]))
    }

    /// Waits until there are at least so many lines whose URL contains `part`, checks that each is complete, and
    /// returns them. More than so many are a failure: one exchange, one line.
    pub(crate) async fn lines_about(&self, part: &str, count: usize) -> Vec<Value> {
        let about = || -> Vec<Value> {
            let said = |line: &Value| line["url.full"].as_str().is_some_and(|url| url.contains(part));
            self.lines().into_iter().filter(said).collect()
        };
        let _ = eventually_within(PATIENCE / 4, || about().len() >= count).await;
        let lines = about();
        assert_eq!(lines.len(), count, "lines about {part}: {lines:#?}");
        lines.iter().for_each(assert_complete);
        lines
    }

    /// The only line whose URL contains `part`.
    pub(crate) async fn line_about(&self, part: &str) -> Value {
        self.lines_about(part, 1).await.remove(0)
    }

    /// Waits until the log holds so many lines in all.
    pub(crate) async fn wait_for_lines(&self, count: usize) -> Vec<Value> {
        let _ = eventually_within(PATIENCE / 4, || self.lines().len() >= count).await;
        let lines = self.lines();
        assert_eq!(lines.len(), count, "lines in all: {:#?}", lines.iter().rev().take(8).collect::<Vec<_>>());
        lines.iter().for_each(assert_complete);
        lines
    }

    /// Sends a signal such as `HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it is running").to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success(), "no signal {signal}");
    }

    /// SIGTERM; waits for the end.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it does not end").unwrap()
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// What the kernel says of the running program.
    pub(crate) fn proc(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.child.id().expect("it is running")))
    }

    /// The root of the file system as the program sees it.
    pub(crate) fn root(&self) -> PathBuf {
        self.proc().join("root")
    }

    /// How many descriptors the program has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc().join("fd")).unwrap().count()
    }

    /// The resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Wardgate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("wardgate printed:\n{}{}", self.stdout.lock().unwrap(), self.stderr.lock().unwrap());
        }
    }
}

/// Waits until a condition holds; panics with `what` where it does not within [`PATIENCE`].
pub(crate) async fn eventually(what: &'static str, condition: impl FnMut() -> bool) {
    assert!(eventually_within(PATIENCE, condition).await, "it never happened: {what}");
}

async fn eventually_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(GLANCE).await;
    }
    true
}

/// Reads every complete line of the access log; `place` is its directory or the file of the day.
pub(crate) fn read_log(place: &Path) -> Vec<Value> {
    let dir = if place.is_dir() { place } else { place.parent().unwrap() };
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("access.") && name.ends_with(".jsonl")
    };
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(is_log).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        lines.extend(whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    lines
}

/// Checks that a line has every key and says how we know who it was.
pub(crate) fn assert_complete(line: &Value) {
    for key in KEYS {
        assert!(line.get(key).is_some(), "a line without {key}: {line:#}");
    }
    assert!(line["wardgate.policy_hash"].as_str().is_some_and(|hash| hash.len() == 64), "{line:#}");
}

fn collect(stream: impl AsyncRead + Send + Unpin + 'static) -> Printed {
    let printed = Printed::default();
    let into = Arc::clone(&printed);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut into = into.lock().unwrap();
            into.push_str(&line);
            into.push('\n');
        }
    });
    printed
}
