//! The first start makes what it needs and says where it is; a start that cannot succeed says what to do in one line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::tools::{self, Ran};
use crate::harness::{Wardgate, World, raw};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_first_start_makes_what_it_needs_and_says_where() {
    let (world, wardgate) = World::running().await;
    for name in ["proxy", "pac", "ca", "log", "policy"] {
        assert!(wardgate.printed.contains_key(name), "{name} is not printed: {:?}", wardgate.printed);
    }
    assert_eq!(mode(&world.site.path("certs/ca.key")), 0o600, "the key is its owner's");
    assert!(wardgate.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(wardgate.printed["pac"].ends_with("/proxy.pac"));
    let line_mode = fs::read_dir(world.site.path("data/log")).unwrap().next().unwrap().unwrap();
    assert_eq!(mode(&line_mode.path()), 0o600, "the access log is its owner's");
}

#[tokio::test]
async fn an_empty_directory_is_enough() {
    let _world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let command = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_wardgate"));
        command
            .args(arguments)
            .current_dir(&dir)
            .env("WARDGATE_PROXY__LISTEN", "127.0.0.1:0")
            .kill_on_drop(true);
        command
    };
    let wardgate = Wardgate::start(command(&[])).await;
    // The policy that ships blocks the test entries of its categories, and was written out to be edited.
    for scheme in ["http", "https"] {
        let reply =
            wardgate.client().get(&format!("{scheme}://gambling.test.wardgate.internal/{scheme}")).await;
        assert_eq!(reply.status, 403, "{}", reply.text());
        let line = wardgate.line_about(&format!("/{scheme}")).await;
        assert_eq!(
            (&line["wardgate.decision"], &line["wardgate.category"]),
            (&"block".into(), &"gambling".into())
        );
    }
    assert!(dir.path().join("policies/rules.toml").exists());
    tools::run(&mut command(&["check"]), "").await.succeeded();
    let exported = tools::run(&mut command(&["ca", "export"]), "").await.succeeded().stdout;
    assert_eq!(exported, wardgate.ca_pem());
}

#[tokio::test]
async fn the_policy_that_ships_is_sound() {
    let world = World::new().await;
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    world.site.run(&["check", shipped.to_str().unwrap()], "").await.succeeded();
}

#[tokio::test]
async fn the_authority_stays_the_same() {
    let (world, mut wardgate) = World::running().await;
    let first = wardgate.ca_pem();
    wardgate.terminate().await;
    let again: Wardgate = world.site.start().await;
    assert_eq!(again.ca_pem(), first);
}

/// A start that must fail: its exit code, and what is printed to standard error besides operational logs.
async fn fails(world: &World, code: i32, said: &[&str]) -> Ran {
    let ran = world.site.run(&["serve"], "").await;
    assert_eq!(ran.code, Some(code), "stdout: {}\nstderr: {}", ran.stdout, ran.stderr);
    for part in said {
        assert!(ran.stderr.contains(part), "{part:?} is missing from: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("ready"), "{}", ran.stdout);
    ran
}

#[tokio::test]
async fn a_broken_policy_stops_the_start_with_its_diagnostics() {
    let world = World::new().await;
    world
        .site
        .append("rules.toml", "[[rule]]\nname = \"odd\"\ncategories = [\"gamblign\"]\naction = \"block\"");
    world.site.append("groups.toml", "[[group]]\nname = \"x\"\nuser = [\"anna\"]");
    fails(
        &world,
        1,
        &["rules.toml:", "gamblign", "did you mean `gambling`?", "groups.toml:", "did you mean `users`?"],
    )
    .await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let mut world = World::new().await;
    let taken = world.origin.http;
    world.site.set("proxy", "listen", taken.to_string());
    let ran = fails(&world, 3, &[&taken.to_string(), "in use"]).await;
    assert_one_line(&ran);
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_named() {
    let world = World::new().await;
    let mut wardgate = world.site.start().await;
    wardgate.terminate().await;
    let key = world.site.path("certs/ca.key");
    let good = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_one_line(&fails(&world, 3, &["ca.key", "chmod 600"]).await);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "no key at all").unwrap();
    assert_one_line(&fails(&world, 3, &["ca.key"]).await);
    // Root reads everything, so a file without permissions would prove nothing: a directory in its place cannot be read.
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    assert_one_line(&fails(&world, 3, &["ca.key"]).await);
    fs::remove_dir(&key).unwrap();
    // A certificate without its key must not be quietly replaced: every device would have to be visited again.
    assert_one_line(&fails(&world, 3, &["ca.key"]).await);
    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    drop(world.site.start().await);
}

#[tokio::test]
async fn wrong_configuration_is_named() {
    for (case, section, key, value, said) in [
        ("an unknown key", "proxy", "lissten", "127.0.0.1:0", "lissten"),
        ("an unknown section", "poxy", "listen", "127.0.0.1:0", "poxy"),
        ("an address that is none", "proxy", "listen", "here", "wardgate.toml:"),
        ("a root file that is missing", "upstream", "hosts_file", "/nonexistent/hosts", "/nonexistent/hosts"),
        ("a policy where none can be", "policy", "dir", "wardgate.toml/policies", "wardgate.toml/policies"),
    ] {
        let mut world = World::new().await;
        world.site.set(section, key, value);
        let ran = world.site.run(&["serve"], "").await;
        assert!(matches!(ran.code, Some(1..=3)), "{case}: {ran:?}");
        assert!(ran.stderr.contains(said), "{case}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{case}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_configuration_file_that_is_missing_is_named() {
    let world = World::new().await;
    let mut command = world.site.command(&["serve"]);
    fs::remove_file(world.site.path("wardgate.toml")).unwrap();
    let ran = tools::run(&mut command, "").await;
    assert!(matches!(ran.code, Some(1..=3)) && ran.stderr.contains("wardgate.toml"), "{ran:?}");
}

#[tokio::test]
async fn it_listens_on_ipv6_where_told() {
    let mut world = World::new().await;
    world.site.set("proxy", "listen", "[::1]:0");
    let wardgate = world.site.start().await;
    let get = format!(
        "GET {} HTTP/1.1\r\nHost: allowed.example.test\r\nConnection: close\r\n\r\n",
        world.http("allowed.example.test", "/six")
    );
    let talk = raw::talk(wardgate.proxy, get.as_bytes()).await;
    assert_eq!(talk.status(), Some(200), "{}", talk.received);
    assert_eq!(wardgate.line_about("/six").await["source.ip"], "::1");
}

#[tokio::test]
async fn the_environment_overrides_the_file() {
    let mut world = World::new().await;
    world.site.set("proxy", "listen", world.origin.http.to_string());
    let mut command = world.site.command(&["serve"]);
    command.env("WARDGATE_PROXY__LISTEN", "127.0.0.1:0");
    let wardgate = Wardgate::start(command).await;
    assert!(wardgate.proxy.ip().is_loopback());
}

/// What a person reads is one line; operational logs (which begin with a time) may come before it.
fn assert_one_line(ran: &Ran) {
    let said: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with(|first: char| first.is_ascii_digit()))
        .collect();
    assert_eq!(said.len(), 1, "{}", ran.stderr);
}
