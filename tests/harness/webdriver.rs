//! Headless browsers and the few commands that the tests need: Chromium through chromedriver, spoken to over HTTP as
//! WebDriver says, and Firefox through Marionette.

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
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::marionette::Firefox;
use super::tools;

/// How long the browser may take for one command.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

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
    engine: Engine,
    _home: TempDir,
}

enum Engine {
    Chromium(Chromium),
    Firefox(Mutex<Firefox>),
}

struct Chromium {
    driver: SocketAddr,
    session: String,
    _process: Child,
}

impl Browser {
    /// Starts Chromium, which knows of the proxy only by its PAC file and trusts the authority in `ca`.
    pub(crate) async fn start(pac_url: &str, ca: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { engine: Engine::Chromium(Chromium::start(home.path(), pac_url, ca).await), _home: home }
    }

    /// Starts Firefox, which knows and trusts the same.
    pub(crate) async fn firefox(pac_url: &str, ca: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let firefox = Firefox::start(home.path(), pac_url, ca).await;
        Self { engine: Engine::Firefox(Mutex::new(firefox)), _home: home }
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) {
        let asked = json!({"url": url});
        let answer = match &self.engine {
            Engine::Chromium(chromium) => chromium.command("/url", &asked).await,
            Engine::Firefox(firefox) => {
                firefox.lock().await.command("WebDriver:Navigate", &asked).await["value"].take()
            }
        };
        assert!(answer.is_null(), "{url} does not open: {answer}");
    }

    /// Runs the body of a function in the page and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.execute("sync", "WebDriver:ExecuteScript", script).await
    }

    /// Runs the body of a function that calls its last argument, `done`, with the result.
    pub(crate) async fn run_until_done(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.execute("async", "WebDriver:ExecuteAsyncScript", &script).await
    }

    async fn execute(&self, way: &str, name: &str, script: &str) -> Value {
        let asked = json!({"script": script, "args": []});
        match &self.engine {
            Engine::Chromium(chromium) => chromium.command(&format!("/execute/{way}"), &asked).await,
            Engine::Firefox(firefox) => firefox.lock().await.command(name, &asked).await["value"].take(),
        }
    }

    /// The text of the page as a person reads it.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Closes the browser, which gives back its processes at once.
    pub(crate) async fn quit(self) {
        match self.engine {
            Engine::Chromium(chromium) => {
                call(
                    chromium.driver,
                    Method::DELETE,
                    &format!("/session/{}", chromium.session),
                    &Value::Null,
                )
                .await;
            }
            Engine::Firefox(firefox) => {
                firefox.into_inner().command("Marionette:Quit", &json!({"flags": ["eForceQuit"]})).await;
            }
        }
    }
}

impl Chromium {
    async fn start(home: &Path, pac_url: &str, ca: &Path) -> Self {
        let chromium = tools::find("chromium");
        trust(&home.join(".pki/nssdb"), ca).await;
        let (driver, process) = start_driver(home).await;
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--proxy-pac-url={pac_url}"));
        flags.push(format!("--user-data-dir={}", home.join("profile").display()));
        let options = json!({"binary": chromium, "args": flags});
        let millis = PATIENCE.as_millis() as u64;
        let time = json!({"pageLoad": millis, "script": millis});
        let wanted = json!({"browserName": "chrome", "goog:chromeOptions": options, "timeouts": time});
        let wanted = json!({"capabilities": {"alwaysMatch": wanted}});
        let created = call(driver, Method::POST, "/session", &wanted).await;
        let session =
            created["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {created}")).to_owned();
        Self { driver, session, _process: process }
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        call(self.driver, Method::POST, &format!("/session/{}{path}", self.session), body).await
    }
}

/// Puts the authority into a new store of certificates, where a browser looks for what its owner trusts.
pub(crate) async fn trust(store: &Path, ca: &Path) {
    let certutil = tools::find("certutil");
    fs::create_dir_all(store).unwrap();
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
