//! Where two parts must see the same thing: the wire and the service, the request and its record.

use crate::harness::raw::{self, RawOrigin, Then};
use crate::harness::{ALLOWED, World};

/// A head that two parsers would end in two places.
const AMBIGUOUS: &str = "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\
                         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

#[tokio::test]
async fn an_upgrade_that_is_not_served_leaves_the_connection_checked() {
    let (_world, wardgate) = World::running().await;
    for (name, fields) in [
        ("two protocols in two fields", "Upgrade: h2c\r\nUpgrade: websocket\r\n"),
        ("the other way round", "Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        ("two in one field", "Upgrade: websocket, h2c\r\n"),
        ("HTTP/2 in clear", "Upgrade: h2c\r\n"),
    ] {
        let page = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
        let origin = RawOrigin::start(Then::Answer(page)).await;
        let first = format!(
            "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nConnection: upgrade\r\n{fields}\r\n",
            origin.address
        );
        let talk = raw::talk(wardgate.proxy, format!("{first}{AMBIGUOUS}").as_bytes()).await;
        assert_eq!(talk.status(), Some(200), "{name}: {}", talk.received);
        assert!(
            talk.received.contains("HTTP/1.1 400 "),
            "{name}: what follows is not checked: {}",
            talk.received
        );
        assert!(!origin.received().to_lowercase().contains("upgrade"), "{name}: {}", origin.received());
    }
}

#[tokio::test]
async fn an_upgrade_that_comes_to_nothing_ends_the_connection() {
    let (_world, wardgate) = World::running().await;
    let port = wardgate.proxy.port();
    let fields = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let own = format!("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n");
    let talk = raw::talk(wardgate.proxy, format!("{own}{AMBIGUOUS}").as_bytes()).await;
    assert_eq!((talk.status(), talk.responses(), talk.closed), (Some(200), 1, true), "{}", talk.received);
}

#[tokio::test]
async fn a_request_for_another_host_in_a_tunnel_is_recorded_with_user_and_target() {
    let world = World::new().await;
    world.site.add_user("anna", "learners", "correct horse").await;
    let wardgate = world.site.start().await;
    let client = wardgate.client().user("anna", "correct horse").http1();
    let base: hyper::Uri = world.https(ALLOWED, "/").parse().unwrap();
    let stream = client.tls(&base).await.unwrap();
    let other = "GET /elsewhere HTTP/1.1\r\nHost: another.example.test\r\nConnection: close\r\n\r\n";
    let talk = raw::talk_over(stream, other.as_bytes()).await;
    assert_eq!(talk.status(), Some(421), "{}", talk.received);
    let line = wardgate.line_about("/elsewhere").await;
    assert_eq!(line["user.name"], "anna", "{line:#}");
    assert_eq!(line["url.full"], "https://another.example.test/elsewhere", "{line:#}");
}

#[tokio::test]
async fn an_answer_with_trailers_is_recorded_as_whole() {
    let (_world, wardgate) = World::running().await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let origin = RawOrigin::start(Then::Answer(answer.to_owned())).await;
    let reply = wardgate.client().get(&format!("http://{}/trailers", origin.address)).await;
    assert_eq!((reply.text().as_str(), reply.complete), ("hello", true));
    assert_eq!(wardgate.line_about("/trailers").await["wardgate.outcome"], "completed");
}

#[tokio::test]
async fn a_page_that_cannot_be_decoded_is_blocked_though_nothing_is_held() {
    let world = World::new().await;
    world.site.amend(
        "groups.toml",
        "[[group]]\nname = \"learners\"",
        "[[group]]\nname = \"learners\"\nsettings.hold = \"0 B\"",
    );
    let wardgate = world.site.start().await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: mystery\r\nContent-Length: 5\r\n\r\nhello";
    let origin = RawOrigin::start(Then::Answer(answer.to_owned())).await;
    let reply = wardgate.client().get(&format!("http://{}/coded", origin.address)).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert_eq!(wardgate.line_about("/coded").await["wardgate.fault"], "undecodable");
}
