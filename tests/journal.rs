//! One line for each exchange, whatever became of it; never one less, under load, at shutdown, or with a full disk.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Body as _;
use hyper::{Method, Uri};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::wardgate::read_log;
use crate::harness::{ALLOWED, BLOCKED, Client, World, eventually, raw, request};

#[tokio::test]
async fn a_line_for_every_way_to_end() {
    let world = World::new().await;
    world.site.add_user("anna", "learners", "correct horse").await;
    let wardgate = world.site.start().await;
    let client = wardgate.client().user("anna", "correct horse");
    client.get(&world.http(ALLOWED, "/fine")).await;
    client.get(&world.https(ALLOWED, "/fine-tls")).await;
    client.get(&world.http(BLOCKED, "/blocked")).await;
    client.get("http://nowhere.example.test/unresolved").await;
    client.get(&world.http(ALLOWED, "/broken?length=1000")).await;
    for (part, outcome, decision, status) in [
        ("/fine-tls", "completed", "allow", 200),
        ("/blocked", "completed", "block", 403),
        ("/unresolved", "upstream-failed", "allow", 502),
        ("/broken", "upstream-failed", "allow", 200),
    ] {
        let line = wardgate.line_about(part).await;
        assert_eq!(line["wardgate.outcome"], outcome, "{line:#}");
        assert_eq!(line["wardgate.decision"], decision, "{line:#}");
        assert_eq!(line["http.response.status_code"], status, "{line:#}");
        assert_eq!(
            (&line["user.name"], &line["wardgate.identity_source"]),
            (&"anna".into(), &"basic".into()),
            "{line:#}"
        );
        assert!(line["rule.name"].is_string(), "no rule: {line:#}");
        assert!(line["wardgate.group"].is_string(), "no group: {line:#}");
    }
    // The CONNECT is an exchange of its own: where it led and what became of it.
    let lines = wardgate.lines();
    let connect =
        lines.iter().find(|line| line["http.request.method"] == "CONNECT").expect("a line of the CONNECT");
    assert_eq!(connect["wardgate.route"], "intercept", "{connect:#}");
    assert_eq!(connect["user.name"], "anna");
}

#[tokio::test]
async fn a_client_that_goes_away_is_recorded_as_such() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let path = format!("/download?{way}&bytes=500000000");
        let answer = client.open(request(Method::GET, &format!("{base}{path}"), "")).await.unwrap();
        assert!(!answer.body().is_end_stream());
        drop(answer);
        let line = wardgate.line_about(&path).await;
        assert_eq!(line["wardgate.outcome"], "client-closed", "{way}: {line:#}");
        assert_eq!(line["event.outcome"], "unknown", "{way}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_the_answer_is_recorded_too() {
    let (world, wardgate) = World::running().await;
    let plain = world.http(ALLOWED, "/slow?plain&ms=60000");
    let host = format!("{ALLOWED}:{}", world.origin.http.port());
    let mut stream = TcpStream::connect(wardgate.proxy).await.unwrap();
    stream.write_all(format!("GET {plain} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    eventually("the request reached the origin", || world.origin.seen("/slow?plain").len() == 1).await;
    drop(stream);
    assert_eq!(wardgate.line_about("/slow?plain").await["wardgate.outcome"], "client-closed");

    let secure: Uri = world.https(ALLOWED, "/slow?secure&ms=60000").parse().unwrap();
    let mut stream = wardgate.client().http1().tls(&secure).await.unwrap();
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
        secure.path_and_query().unwrap(),
        secure.authority().unwrap()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the request reached the origin", || world.origin.seen("/slow?secure").len() == 1).await;
    drop(stream);
    assert_eq!(wardgate.line_about("/slow?secure").await["wardgate.outcome"], "client-closed");
}

/// Runs workers that send requests until told to stop; returns the paths that were answered.
async fn load(
    client: Client,
    url: String,
    workers: usize,
    each: usize,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let answered = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let (client, url, stop, answered) =
            (client.clone(), url.clone(), Arc::clone(&stop), Arc::clone(&answered));
        tasks.spawn(async move {
            let Ok(mut session) = client.session(&url.parse().unwrap()).await else { return };
            for number in 0..each {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let path = format!("/load-{worker}-{number}.");
                match session.send(request(Method::GET, &format!("{url}{path}"), "")).await {
                    Ok(reply) if reply.complete => answered.lock().unwrap().push(path),
                    _ => return,
                }
            }
        });
    }
    tasks.join_all().await;
    Arc::into_inner(answered).unwrap().into_inner().unwrap()
}

/// How often each path of the load is in the log.
fn recorded(lines: &[serde_json::Value]) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for url in lines.iter().filter_map(|line| line["url.full"].as_str()) {
        if let Some(at) = url.find("/load-") {
            *counts.entry(url[at..].to_owned()).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_lines_are_as_many_under_load() {
    let (world, wardgate) = World::running().await;
    let never = Arc::new(AtomicBool::new(false));
    let (workers, each) = (8, 150);
    let plain = load(wardgate.client(), world.http(ALLOWED, ""), workers, each, Arc::clone(&never)).await;
    assert_eq!(plain.len(), workers * each);
    wardgate.wait_for_lines(workers * each).await;
    let intercepted = load(wardgate.client(), world.https(ALLOWED, ""), workers, each, never).await;
    assert_eq!(intercepted.len(), workers * each);
    // A CONNECT's line comes when its tunnel has ended.
    let lines = wardgate.wait_for_lines(2 * workers * each + workers).await;
    assert!(recorded(&lines).values().all(|count| *count == 2), "each path once plain and once intercepted");
    let ids: std::collections::HashSet<&str> =
        lines.iter().filter_map(|line| line["event.id"].as_str()).collect();
    assert_eq!(ids.len(), lines.len(), "decision ids repeat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_lost_when_it_is_stopped_under_load() {
    for scheme in ["http", "https"] {
        let (world, mut wardgate) = World::running().await;
        let stop = Arc::new(AtomicBool::new(false));
        let base = if scheme == "http" { world.http(ALLOWED, "") } else { world.https(ALLOWED, "") };
        let working = tokio::spawn(load(wardgate.client(), base, 8, 100_000, Arc::clone(&stop)));
        eventually("some load", || world.origin.seen("/load-").len() > 300).await;
        let status = wardgate.terminate().await;
        assert_eq!(status.code(), Some(0), "{}", wardgate.stderr());
        stop.store(true, Ordering::SeqCst);
        let answered = working.await.unwrap();
        let counts = recorded(&wardgate.lines());
        for path in &answered {
            assert_eq!(
                counts.get(path),
                Some(&1),
                "{scheme}: answered, but recorded {:?} times: {path}",
                counts.get(path)
            );
        }
        for seen in world.origin.seen("/load-") {
            assert_eq!(
                counts.get(&seen.path),
                Some(&1),
                "{scheme}: reached the origin unrecorded: {}",
                seen.path
            );
        }
    }
}

/// A program of which the log lies on a file system of one mebibyte, in a mount namespace of its own, so that nothing
/// stays behind. Root needs no user namespace; others do, and where the kernel grants none the test fails and says so.
async fn with_small_log(world: &World) -> (crate::harness::Wardgate, PathBuf) {
    let log = world.site.path("data/log");
    fs::create_dir_all(&log).unwrap();
    let unshare: &[&str] =
        match fs::metadata("/proc/self").map(|about| std::os::unix::fs::MetadataExt::uid(&about)) {
            Ok(0) => &["--mount"],
            _ => &["--mount", "--map-root-user"],
        };
    let wardgate =
        world.site.start_within(unshare, &format!("mount -t tmpfs -o size=1m none {}", log.display())).await;
    let seen_from_here = wardgate.root().join(log.strip_prefix("/").unwrap());
    (wardgate, seen_from_here)
}

#[tokio::test]
async fn nothing_passes_unrecorded_while_the_disk_is_full() {
    let world = World::new().await;
    let (wardgate, log) = with_small_log(&world).await;
    let client = wardgate.client();
    assert_eq!(client.get(&world.http(ALLOWED, "/before")).await.status, 200);

    let filler = log.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[b'f'; 4096]).is_ok() {}
    drop(file);

    // Lines that were promised room are kept in memory; once one cannot be written, no exchange begins.
    let refused = AtomicU64::new(0);
    for number in 0..200 {
        let reply = client.get(&world.http(ALLOWED, &format!("/full-{number}."))).await;
        if reply.status == 503 {
            refused.store(1, Ordering::SeqCst);
            break;
        }
        assert_eq!(reply.status, 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused.into_inner(), 1, "exchanges go on while the log cannot be written");
    let health =
        raw::talk(wardgate.proxy, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(health.status(), Some(503), "{}", health.received);
    let said = || wardgate.stderr().to_lowercase().contains("access log");
    eventually("the console log says what is wrong", said).await;

    fs::remove_file(&filler).unwrap();
    let mut recovered = false;
    for _ in 0..200 {
        recovered = client.get(&world.http(ALLOWED, "/recovered")).await.status == 200;
        if recovered {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(recovered, "it does not recover");
    let written = || {
        let lines = read_log(&log);
        let all: Vec<&str> = lines.iter().filter_map(|line| line["url.full"].as_str()).collect();
        world.origin.seen("/").iter().all(|seen| all.iter().any(|url| url.ends_with(&seen.path)))
    };
    eventually("every request that reached the origin is recorded", written).await;
}
