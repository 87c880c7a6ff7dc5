//! What policy blocks is answered with the block page, or cut where the words come too late for one; what is never
//! blocked passes; and the log says which rule it was.

use hyper::StatusCode;

use crate::harness::client::Reply;
use crate::harness::{ALLOWED, BLOCKED, Failure, GAMBLING_WORDS, SELF_HARM_WORDS, World, request};

/// Checks that this is the block page of this exchange: who runs the filter, why, whom to ask, which decision.
fn assert_block_page(reply: &Reply, line: &serde_json::Value, category: &str) {
    let page = reply.text();
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{page}");
    assert!(reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let id = line["event.id"].as_str().unwrap();
    for part in ["Example College", "help desk in room 12", "filtered", category, id] {
        assert!(page.contains(part), "{part:?} is missing from {page}");
    }
    assert_eq!(line["wardgate.decision"], "block");
    assert_eq!(line["http.response.status_code"], 403);
}

#[tokio::test]
async fn a_listed_host_is_blocked_in_every_protocol() {
    let (world, wardgate) = World::running().await;
    let client = wardgate.client();
    for (way, client, url) in [
        ("plain", client.clone(), world.http(BLOCKED, "/plain")),
        ("HTTP/1.1 over TLS", client.http1(), world.https(BLOCKED, "/tls1")),
        ("HTTP/2", client.clone(), world.https(BLOCKED, "/tls2")),
    ] {
        let reply = client.get(&url).await;
        let line = wardgate.line_about(url.rsplit('/').next().unwrap()).await;
        assert_block_page(&reply, &line, "Gambling");
        assert_eq!(line["rule.name"], "no-gambling", "{way}");
        assert_eq!(line["wardgate.category"], "gambling", "{way}");
        assert_eq!(line["wardgate.findings"][0]["list"], "gambling-hosts", "{way}");
    }
    assert!(world.origin.seen("/").is_empty(), "a blocked request reached the origin");
}

#[tokio::test]
async fn words_in_a_compressed_chunked_page_are_found() {
    let (world, wardgate) = World::running().await;
    let words = GAMBLING_WORDS.replace(' ', "+");
    for (way, client, base) in world.ways(&wardgate) {
        let reply = client.get(&format!("{base}/compressed?padding=20000&mark={way}&late={words}")).await;
        let line = wardgate.line_about(&format!("mark={way}&")).await;
        assert_block_page(&reply, &line, "Gambling");
        assert!(!reply.text().contains("meadow"), "{way}: a part of the page came through");
        let phrase = &line["wardgate.findings"][0]["phrases"][0];
        assert_eq!((&phrase["phrase"], &phrase["weight"]), (&GAMBLING_WORDS.into(), &60.0.into()), "{way}");
        assert!(phrase["offset"].as_u64().is_some_and(|offset| offset > 10_000), "{way}: {phrase}");
    }
}

#[tokio::test]
async fn a_page_is_cut_where_the_words_come_late() {
    let (world, wardgate) = World::running().await;
    let words = GAMBLING_WORDS.replace(' ', "+");
    for (way, client, base) in world.ways(&wardgate) {
        let reply = client.get(&format!("{base}/compressed?padding=1500000&mark={way}&late={words}")).await;
        let line = wardgate.line_about(&format!("mark={way}&")).await;
        assert_eq!(reply.status, 200, "{way}: the head had long gone out");
        assert!(!reply.complete, "{way}: a cut page must not end cleanly");
        assert!(reply.text().contains("meadow"), "{way}: nothing of the harmless part arrived");
        assert!(!reply.text().contains(GAMBLING_WORDS), "{way}: the words arrived");
        assert_eq!(line["wardgate.outcome"], "cut", "{way}");
        assert_eq!(line["wardgate.decision"], "block", "{way}");
        assert!(line["http.response.body.bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{way}: {line:#}");
    }
}

#[tokio::test]
async fn bytes_of_scanned_pages_pass_unchanged() {
    let (world, wardgate) = World::running().await;
    let reply = wardgate.client().get(&world.https(ALLOWED, "/compressed?padding=400000&late=the+end")).await;
    assert!(reply.complete);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert!(reply.text().ends_with("<p>the end</p>"));
}

#[tokio::test]
async fn words_that_a_person_sends_are_found() {
    let (world, wardgate) = World::running().await;
    let form = format!("comment={}&send=1", SELF_HARM_WORDS.replace(' ', "+"));
    let url = world.https(ALLOWED, "/echo?comment-form");
    let reply = wardgate.client().post(&url, "application/x-www-form-urlencoded", form).await;
    let line = wardgate.line_about("comment-form").await;
    assert_block_page(&reply, &line, "Self-harm");
    assert!(reply.text().contains("Samaritans"), "the theme's help is missing");
    assert_eq!(line["wardgate.concerns"][0]["theme"], "self-harm");
    assert_eq!(line["wardgate.findings"][0]["kind"], "post");
    assert!(world.origin.seen("/echo").is_empty(), "the words reached the origin");
}

#[tokio::test]
async fn help_is_never_blocked() {
    let (world, wardgate) = World::running().await;
    let url = world.http("help.example.test", &format!("/words?say={}", SELF_HARM_WORDS.replace(' ', "+")));
    let reply = wardgate.client().get(&url).await;
    assert_eq!(reply.status, 200);
    let line = wardgate.line_about("help.example.test").await;
    assert_eq!(line["wardgate.decision"], "allow");
    assert!(line.get("wardgate.concerns").is_none(), "help is held against nobody: {line:#}");
}

#[tokio::test]
async fn what_must_work_works() {
    let (world, wardgate) = World::running().await;
    let url =
        world.https("must-work.example.test", &format!("/words?say={}", GAMBLING_WORDS.replace(' ', "+")));
    assert_eq!(wardgate.client().get(&url).await.status, 200);
    assert_eq!(wardgate.line_about("/words").await["wardgate.decision"], "allow");
}

#[tokio::test]
async fn a_watched_group_is_recorded_and_not_stopped() {
    let world = World::new().await;
    world.site.add_user("wanda", "watched", "correct horse").await;
    let wardgate = world.site.start().await;
    let client = wardgate.client().user("wanda", "correct horse");
    assert_eq!(client.get(&world.https(BLOCKED, "/watched-list")).await.status, 200);
    let words = GAMBLING_WORDS.replace(' ', "+");
    let reply = client.get(&world.https(ALLOWED, &format!("/words?watched-words&say={words}"))).await;
    assert!(reply.complete && reply.text().contains(GAMBLING_WORDS));
    for part in ["/watched-list", "watched-words"] {
        let line = wardgate.line_about(part).await;
        assert_eq!(
            (&line["wardgate.decision"], &line["wardgate.spared"]),
            (&"allow".into(), &"block".into())
        );
        assert_eq!(line["wardgate.group"], "watched");
    }
}

#[tokio::test]
async fn a_group_without_the_certificate_is_filtered_by_host() {
    let world = World::new().await;
    world.site.add_user("ulla", "unopened", "correct horse").await;
    let wardgate = world.site.start().await;
    // This client trusts the origin's authority, not the school's: what it accepts was not intercepted.
    let client =
        crate::harness::Client::new(wardgate.proxy, &world.pki.root_pem).user("ulla", "correct horse");
    assert_eq!(client.get(&world.https(ALLOWED, "/")).await.status, 200);
    match client.try_send(request(hyper::Method::GET, &world.https(BLOCKED, "/"), "")).await {
        Err(Failure::Refused(403, _)) => {}
        other => panic!("CONNECT to a blocked host was not refused: {other:?}"),
    }
    let line = wardgate.line_about(BLOCKED).await;
    assert_eq!((&line["wardgate.route"], &line["wardgate.decision"]), (&"refuse".into(), &"block".into()));
    assert_eq!(line["rule.name"], "no-gambling");
}

#[tokio::test]
async fn a_host_that_is_never_intercepted_shows_its_own_certificate() {
    let (world, wardgate) = World::running().await;
    let client = crate::harness::Client::new(wardgate.proxy, &world.pki.root_pem);
    assert_eq!(client.get(&world.https("bank.example.test", "/")).await.status, 200);
    let line = wardgate.line_about("bank.example.test").await;
    assert_eq!(
        (&line["http.request.method"], &line["wardgate.route"]),
        (&"CONNECT".into(), &"tunnel".into())
    );
    assert!(line["http.response.body.bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{line:#}");
}
