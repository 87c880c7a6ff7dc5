//! Who is asking, and how we know: accounts by Basic authentication, the address map, or nobody; on every line.

use std::net::IpAddr;
use std::time::Duration;

use hyper::Method;

use crate::harness::raw;
use crate::harness::{ALLOWED, Failure, World, request};

const PASSWORD: &str = "correct horse";

/// Everybody must log in.
fn require_login(world: &World) {
    world.site.amend("identity.toml", "login = \"optional\"", "login = \"required\"");
}

#[tokio::test]
async fn a_login_that_is_required_is_asked_for_and_used() {
    let world = World::new().await;
    require_login(&world);
    world.site.add_user("anna", "learners", PASSWORD).await;
    let wardgate = world.site.start().await;
    let client = wardgate.client();

    let reply = client.get(&world.http(ALLOWED, "/unknown")).await;
    assert_eq!(reply.status, 407);
    assert!(reply.header("proxy-authenticate").is_some_and(|scheme| scheme.starts_with("Basic ")));
    let line = wardgate.line_about("/unknown").await;
    assert_eq!(line["wardgate.outcome"], "unidentified");
    assert_eq!(
        (&line["user.name"], &line["wardgate.identity_source"]),
        (&serde_json::Value::Null, &"none".into())
    );

    match client.try_send(request(Method::GET, &world.https(ALLOWED, "/unknown-tls"), "")).await {
        Err(Failure::Refused(407, head)) => {
            assert!(head.to_lowercase().contains("proxy-authenticate: basic"))
        }
        other => panic!("CONNECT without credentials: {other:?}"),
    }

    let anna = client.user("anna", PASSWORD);
    for url in [world.http(ALLOWED, "/known"), world.https(ALLOWED, "/known-tls")] {
        assert_eq!(anna.get(&url).await.status, 200, "{url}");
        let line = wardgate.line_about(url.rsplit_once(':').unwrap().1).await;
        assert_eq!(
            (&line["user.name"], &line["wardgate.identity_source"]),
            (&"anna".into(), &"basic".into())
        );
        assert_eq!(line["wardgate.group"], "learners");
    }
    assert!(world.origin.seen("/unknown").is_empty());
}

#[tokio::test]
async fn credentials_that_are_wrong_are_refused_and_recorded() {
    let world = World::new().await;
    require_login(&world);
    world.site.add_user("anna", "learners", PASSWORD).await;
    let wardgate = world.site.start().await;
    for (number, (case, client)) in [
        ("a wrong password", wardgate.client().user("anna", "wrong")),
        ("an unknown user", wardgate.client().user("nobody", PASSWORD)),
        ("an empty password", wardgate.client().user("anna", "")),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(client.get(&world.http(ALLOWED, "/")).await.status, 407, "{case}");
        let line = wardgate.wait_for_lines(number + 1).await.pop().unwrap();
        assert_eq!(
            (&line["wardgate.outcome"], &line["wardgate.identity_source"]),
            (&"unidentified".into(), &"none".into())
        );
        assert!(
            line["user.name"].is_null(),
            "{case}: a name that was not proved is recorded as a user: {line:#}"
        );
    }
    assert!(world.origin.seen("/").is_empty());
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_refused() {
    let world = World::new().await;
    require_login(&world);
    let wardgate = world.site.start().await;
    let authority = format!("{ALLOWED}:{}", world.origin.http.port());
    for value in ["Basic", "Basic !!!", "Basic YW5uYQ==", "Bearer token", "", "Basic \u{ff}"] {
        let head = format!(
            "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: {value}\r\nConnection: close\r\n\r\n"
        );
        let talk = raw::talk(wardgate.proxy, head.as_bytes()).await;
        assert!(talk.closed && matches!(talk.status(), Some(400 | 407)), "{value:?}: {:?}", talk.received);
    }
}

#[tokio::test]
async fn without_a_login_the_strictest_group_applies() {
    let (world, wardgate) = World::running().await;
    assert_eq!(wardgate.client().get(&world.http(ALLOWED, "/nobody")).await.status, 200);
    let line = wardgate.line_about("/nobody").await;
    assert_eq!(
        (&line["wardgate.group"], &line["wardgate.identity_source"]),
        (&"visitors".into(), &"none".into())
    );
    assert!(line["user.name"].is_null());
}

#[tokio::test]
async fn an_address_can_stand_for_a_user() {
    let world = World::new().await;
    require_login(&world);
    world.site.append("identity.toml", "[[address]]\naddress = \"127.0.0.7\"\nuser = \"tess\"");
    let wardgate = world.site.start().await;
    let mapped = wardgate.client().at("127.0.0.7".parse::<IpAddr>().unwrap());
    for (way, url) in
        [("plain", world.http(ALLOWED, "/mapped")), ("tunnel", world.https(ALLOWED, "/mapped-tls"))]
    {
        assert_eq!(mapped.get(&url).await.status, 200, "{way}");
    }
    for part in ["/mapped-tls", "/mapped"] {
        let lines = wardgate.lines_about(part, if part == "/mapped" { 2 } else { 1 }).await;
        for line in lines {
            assert_eq!(
                (&line["user.name"], &line["wardgate.identity_source"]),
                (&"tess".into(), &"ip-map".into())
            );
            assert_eq!((&line["wardgate.group"], &line["source.ip"]), (&"staff".into(), &"127.0.0.7".into()));
        }
    }
    assert_eq!(wardgate.client().get(&world.http(ALLOWED, "/")).await.status, 407, "another address");
}

#[tokio::test]
async fn some_addresses_must_log_in_and_others_need_not() {
    let world = World::new().await;
    world.site.append("identity.toml", "[[range]]\naddresses = [\"127.0.0.8/31\"]\nlogin = \"required\"");
    let wardgate = world.site.start().await;
    for (address, status) in [("127.0.0.7", 200), ("127.0.0.8", 407), ("127.0.0.9", 407), ("127.0.0.10", 200)]
    {
        let client = wardgate.client().at(address.parse::<IpAddr>().unwrap());
        assert_eq!(client.get(&world.http(ALLOWED, "/")).await.status, status, "{address}");
    }
}

#[tokio::test]
async fn accounts_added_while_running_count_soon() {
    let world = World::new().await;
    require_login(&world);
    let wardgate = world.site.start().await;
    let anna = wardgate.client().user("anna", PASSWORD);
    assert_eq!(anna.get(&world.http(ALLOWED, "/before")).await.status, 407);
    world.site.add_user("anna", "learners", PASSWORD).await;
    for _ in 0..100 {
        if anna.get(&world.http(ALLOWED, "/after")).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the account never counts");
}
