//! Headless Firefox through Marionette, its own remote control: JSON messages over TCP, each with its length in front
//! (Debian 12 has no geckodriver, which would only translate).

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::tools;
use super::wardgate::eventually;
use super::webdriver::{PATIENCE, trust};

/// Settings that make Firefox quiet, not trusting: it verifies certificates as anybody's does.
const QUIET: &[(&str, &str)] = &[
    // Marionette listens where there is room, and says where.
    ("marionette.port", "0"),
    // Calls home that would only be refused.
    ("app.update.disabledForTesting", "true"),
    ("browser.safebrowsing.downloads.remote.enabled", "false"),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("services.settings.server", "\"data:,\""),
    // Names are the proxy's business.
    ("network.trr.mode", "5"),
];

/// A Firefox under remote control.
pub(crate) struct Firefox {
    control: BufReader<TcpStream>,
    commands: u64,
    _process: Child,
}

impl Firefox {
    /// Starts it with a profile in `home`: it knows of the proxy only by its PAC file and trusts the authority in `ca`.
    pub(crate) async fn start(home: &Path, pac_url: &str, ca: &Path) -> Self {
        let profile = home.join("firefox");
        trust(&profile, ca).await;
        let mut settings = String::new();
        let proxy = [("network.proxy.type", "2"), ("network.proxy.autoconfig_url", &*format!("{pac_url:?}"))];
        for (name, value) in QUIET.iter().chain(&proxy) {
            settings.push_str(&format!("user_pref(\"{name}\", {value});\n"));
        }
        fs::write(profile.join("user.js"), settings).unwrap();
        let process = Command::new(tools::find("firefox-esr"))
            .args(["--headless", "--marionette", "--no-remote", "--profile"])
            .arg(&profile)
            .env("HOME", home)
            .env_remove("XDG_CONFIG_HOME")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let port = port(&profile.join("MarionetteActivePort")).await;
        let control = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        let mut firefox = Self { control, commands: 0, _process: process };
        timeout(PATIENCE, firefox.message()).await.expect("Firefox does not greet");
        let millis = PATIENCE.as_millis() as u64;
        let capabilities = json!({"timeouts": {"pageLoad": millis, "script": millis}});
        firefox
            .command("WebDriver:NewSession", &json!({ "capabilities": {"alwaysMatch": capabilities} }))
            .await;
        firefox
    }

    /// Sends a command and returns its result; panics where it fails.
    pub(crate) async fn command(&mut self, name: &str, parameters: &Value) -> Value {
        let exchange = async {
            self.commands += 1;
            let message = json!([0, self.commands, name, parameters]).to_string();
            self.control.write_all(format!("{}:{message}", message.len()).as_bytes()).await.unwrap();
            self.message().await
        };
        let mut answer =
            timeout(PATIENCE, exchange).await.unwrap_or_else(|_| panic!("Firefox hangs at {name}"));
        assert!(answer[2].is_null(), "Firefox refuses {name}: {}", answer[2]);
        answer[3].take()
    }

    async fn message(&mut self) -> Value {
        let mut length = 0;
        loop {
            match self.control.read_u8().await.unwrap() {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        self.control.read_exact(&mut message).await.unwrap();
        serde_json::from_slice(&message).unwrap()
    }
}

/// The port that Firefox writes down once it listens.
async fn port(file: &Path) -> u16 {
    let read = || fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    eventually("Firefox listens", || read().is_some()).await;
    read().unwrap()
}
