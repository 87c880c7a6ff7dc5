//! SIGHUP puts a new policy into force: whole, without a failed request, and not at all where it is wrong.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::Method;
use tokio::task::JoinSet;

use crate::harness::{ALLOWED, BLOCKED, Client, Wardgate, World, eventually, request};

/// Asks until the answer has this status.
async fn until_status(client: &Client, url: &str, status: u16) {
    for _ in 0..500 {
        if client.get(url).await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{url} is never answered {status}");
}

#[tokio::test]
async fn a_new_policy_counts_at_once_for_open_connections_too() {
    let (world, wardgate) = World::running().await;
    let client = wardgate.client();
    let url = world.https(ALLOWED, "/open");
    let mut session = client.session(&url.parse().unwrap()).await.unwrap();
    assert_eq!(session.send(request(Method::GET, &url, "")).await.unwrap().status, 200);

    world.site.append("lists/gambling.txt", ALLOWED);
    world.site.amend("tests/expectations.toml", "verdict = \"allow\"", "verdict = \"block\"");
    wardgate.signal("HUP");
    until_status(&client, &world.http(ALLOWED, "/fresh"), 403).await;
    assert_eq!(session.send(request(Method::GET, &url, "")).await.unwrap().status, 403, "an open tunnel");
    eventually("the lines name the policy they were decided under", || {
        let hashes: std::collections::HashSet<String> =
            wardgate.lines().iter().map(|line| line["wardgate.policy_hash"].to_string()).collect();
        hashes.len() == 2
    })
    .await;
}

/// Reloads with this policy file, which is wrong, and checks that nothing changes but the console log.
async fn assert_kept(wardgate: &Wardgate, world: &World, case: &str, said: &str) {
    let before = wardgate.stderr().len();
    wardgate.signal("HUP");
    let told = || wardgate.stderr()[before..].contains(said);
    eventually("the console log says what is wrong", told).await;
    let client = wardgate.client();
    assert_eq!(client.get(&world.http(BLOCKED, "/")).await.status, 403, "{case}");
    assert_eq!(client.get(&world.http(ALLOWED, "/")).await.status, 200, "{case}");
}

#[tokio::test]
async fn a_wrong_policy_leaves_the_last_good_one_in_force() {
    let (world, wardgate) = World::running().await;
    let rules = world.site.path("policies/rules.toml");
    let good = fs::read_to_string(&rules).unwrap();
    for (case, text, said) in [
        ("a syntax error", "[[rule]\n".to_owned(), "rules.toml:1"),
        ("an unknown key", format!("{good}\nblok = true\n"), "blok"),
        ("an unknown category", good.replace("[\"gambling\"]", "[\"gamblign\"]"), "gamblign"),
        (
            "a broken expectation",
            good.replace("name = \"no-gambling\"", "name = \"no-gambling\"\ngroups = [\"staff\"]"),
            "blocked.example.test",
        ),
    ] {
        fs::write(&rules, text).unwrap();
        assert_kept(&wardgate, &world, case, said).await;
    }
    fs::write(&rules, good).unwrap();
    fs::rename(world.site.path("policies"), world.site.path("elsewhere")).unwrap();
    assert_kept(&wardgate, &world, "no directory at all", "policies").await;
    let hashes: std::collections::HashSet<String> =
        wardgate.lines().iter().map(|line| line["wardgate.policy_hash"].to_string()).collect();
    assert_eq!(hashes.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_request() {
    const RELOADS: usize = 20;
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for worker in 0..6 {
        let client = if worker % 2 == 0 { wardgate.client() } else { wardgate.client().http1() };
        let url = if worker < 2 { world.http(ALLOWED, "/") } else { world.https(ALLOWED, "/") };
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        workers.spawn(async move {
            let mut session = client.session(&url.parse().unwrap()).await.unwrap();
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                let reply = session.send(request(Method::GET, &url, "")).await;
                assert!(reply.as_ref().is_ok_and(|reply| reply.status == 200 && reply.complete), "{reply:?}");
                answered.fetch_add(1, Ordering::SeqCst);
                number += 1;
                if number % 50 == 0 {
                    session = client.session(&url.parse().unwrap()).await.unwrap();
                }
            }
        });
    }
    let memory = wardgate.memory();
    for number in 0..RELOADS {
        let before = answered.load(Ordering::SeqCst);
        world.site.append("lists/gaming.txt", &format!("game-{number}.example.test"));
        wardgate.signal("HUP");
        eventually("requests go on", || answered.load(Ordering::SeqCst) > before + 30).await;
    }
    stop.store(true, Ordering::SeqCst);
    workers.join_all().await;
    let lines = wardgate.lines();
    let hashes: std::collections::HashSet<String> =
        lines.iter().map(|line| line["wardgate.policy_hash"].to_string()).collect();
    assert!(hashes.len() > RELOADS / 4, "{} policies were in force", hashes.len());
    let grown = wardgate.memory().saturating_sub(memory);
    assert!(grown < 64 << 20, "memory grew by {} MiB over {RELOADS} reloads", grown >> 20);
}
