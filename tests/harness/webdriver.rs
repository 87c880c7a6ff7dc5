//! Headless Chromium through chromedriver: the few commands of WebDriver that the tests need, spoken over HTTP.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::tools;

/// How long the browser may take for one command.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the driver may choose a port.
const ATTEMPTS: u32 = 10;

/// Flags that make Chromium quiet, not trusting: it verifies certificates as anybody's does.
const FLAGS: &[&str] = &[
    "--headless=new",
    // As root, and without a GPU, on a build machine.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    // Calls home that would only be refused.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    // Traffic that a proxy cannot carry.
    "--disable-quic",
];

/// A browser with a profile of its own.
pub(crate) struct Browser {
    driver: SocketAddr,
    session: String,
    _process: Child,
    _home: TempDir,
}

impl Browser {
    /// Starts a browser that knows of the proxy only by its PAC file and trusts the authority in `ca`.
    pub(crate) async fn start(pac_url: &str, ca: &Path) -> Self {
        let chromium = tools::find("chromium");
        let home = tempfile::tempdir().unwrap();
        trust(home.path(), ca).await;
        let (driver, process) = start_driver(home.path()).await;
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--proxy-pac-url={pac_url}"));
        flags.push(format!("--user-data-dir={}", home.path().join("profile").display()));
        let options = json!({"binary": chromium, "args": flags});
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let created = call(driver, Method::POST, "/session", &wanted).await;
        let session =
            created["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {created}")).to_owned();
        Self { driver, session, _process: process, _home: home }
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) {
        let answer = self.command("/url", &json!({"url": url})).await;
        assert!(answer.is_null(), "{url} does not open: {answer}");
    }

    /// Runs the body of a function in the page and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({"script": script, "args": []})).await
    }

    /// Runs the body of a function that calls its last argument, `done`, with the result.
    pub(crate) async fn run_until_done(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.command("/execute/async", &json!({"script": script, "args": []})).await
    }

    /// The text of the page as a person reads it.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Closes the browser, which gives back its processes at once.
    pub(crate) async fn quit(self) {
        call(self.driver, Method::DELETE, &format!("/session/{}", self.session), &Value::Null).await;
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        call(self.driver, Method::POST, &format!("/session/{}{path}", self.session), body).await
    }
}

/// Puts the authority where Chromium on Linux looks for what its owner trusts.
async fn trust(home: &Path, ca: &Path) {
    let certutil = tools::find("certutil");
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap();
    let store = format!("sql:{}", store.display());
    tools::run(Command::new(&certutil).args(["-d", &store, "-N", "--empty-password"]), "").await.succeeded();
    let mut add = Command::new(&certutil);
    add.args(["-d", &store, "-A", "-t", "C,,", "-n", "Wardgate", "-i"]).arg(ca);
    tools::run(&mut add, "").await.succeeded();
}

/// Starts chromedriver at a port of its choice. It wants the same port for IPv4 and IPv6 and gives up where its first
/// choice is taken for one of them: then it may choose again.
async fn start_driver(home: &Path) -> (SocketAddr, Child) {
    let chromedriver = tools::find("chromedriver");
    for _ in 0..ATTEMPTS {
        let mut process = Command::new(&chromedriver)
            .arg("--port=0")
            .env("HOME", home)
            .env_remove("XDG_DATA_HOME")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address =
            timeout(PATIENCE, driver_address(&mut process)).await.expect("chromedriver does not start");
        if let Some(address) = address {
            return (address, process);
        }
    }
    panic!("chromedriver ended at its start, {ATTEMPTS} times");
}

/// Where the driver listens: it says so once it does. Nothing where it ended.
async fn driver_address(process: &mut Child) -> Option<SocketAddr> {
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((_, port)) = line.split_once("started successfully on port ") else { continue };
        // Its output is read on, so that it never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let port: u16 = port.trim_end_matches('.').parse().unwrap();
        return Some(([127, 0, 0, 1], port).into());
    }
    None
}

/// Sends a command and returns its `value`.
async fn call(driver: SocketAddr, method: Method, path: &str, body: &Value) -> Value {
    let exchange = async {
        let stream = TcpStream::connect(driver).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, driver.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    let bytes = timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("chromedriver hangs at {path}"));
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
    answer["value"].take()
}
