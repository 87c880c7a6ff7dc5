//! What scripts have without any library: Python's urllib and http.client, and Node's http, http2 and tls. The
//! libraries are in `clients.rs`.

use tokio::process::Command;

use crate::harness::tools;
use crate::harness::{ALLOWED, BLOCKED, GAMBLING_WORDS, Wardgate, World};

/// Runs a script of `tests/clients`, which checks everything by itself and prints `fine`.
async fn runs(program: &str, script: &str, world: &World, wardgate: &Wardgate) {
    let mut command = Command::new(tools::find(program));
    command
        .arg(tools::script(script))
        // What the machine has configured for its own sake is not part of the test.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", world.site.path(""))
        .env("PYENV_ROOT", std::env::var_os("PYENV_ROOT").unwrap_or_default())
        .env("PROXY", wardgate.own_url(""))
        .env("CA", &wardgate.printed["ca"])
        .env("ALLOWED_HTTP", world.http(ALLOWED, ""))
        .env("ALLOWED_HTTPS", world.https(ALLOWED, ""))
        .env("BLOCKED_HTTPS", world.https(BLOCKED, ""))
        .env("WORDS", GAMBLING_WORDS);
    let ran = tools::run(&mut command, "").await.succeeded();
    assert!(ran.stdout.trim_end().ends_with("fine"), "{ran:?}");
}

#[tokio::test]
async fn python() {
    let (world, wardgate) = World::running().await;
    runs("python3", "client.py", &world, &wardgate).await;
}

#[tokio::test]
async fn node() {
    let (world, wardgate) = World::running().await;
    runs("node", "client.mjs", &world, &wardgate).await;
}
