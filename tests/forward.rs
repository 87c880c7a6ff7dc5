//! What is allowed passes: methods, heads, bodies and trailers arrive as they were sent, except for what concerns
//! one connection alone.

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::client::Reply;
use crate::harness::origin::PAGE;
use crate::harness::{ALLOWED, Origin, World, raw, request};

/// The value that the origin saw of a header field, or nothing.
fn arrived<'a>(echo: &'a serde_json::Value, name: &str) -> Option<&'a str> {
    let fields = echo["headers"].as_array().unwrap();
    fields.iter().find(|field| field[0] == name).and_then(|field| field[1].as_str())
}

#[tokio::test]
async fn pages_arrive_unchanged_whatever_the_protocol() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let reply = client.get(&format!("{base}/")).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, PAGE), "{way}");
        assert!(reply.complete, "{way}");
    }
}

#[tokio::test]
async fn each_side_negotiates_by_itself() {
    let (world, wardgate) = World::running().await;
    let http1_only = Origin::start_at([127, 0, 0, 1].into(), &world.pki, &["http/1.1"]).await;
    let silent = Origin::start_at([127, 0, 0, 1].into(), &world.pki, &[]).await;
    let client = wardgate.client();
    for (case, origin, client, towards_client, towards_origin) in [
        ("both HTTP/2", &world.origin, client.clone(), Version::HTTP_2, Version::HTTP_2),
        ("an old client", &world.origin, client.http1(), Version::HTTP_11, Version::HTTP_2),
        ("an old origin", &http1_only, client.clone(), Version::HTTP_2, Version::HTTP_11),
        ("an origin without ALPN", &silent, client.clone(), Version::HTTP_2, Version::HTTP_11),
        ("both old", &http1_only, client.http1(), Version::HTTP_11, Version::HTTP_11),
    ] {
        let path = format!("/negotiated?{}", case.replace(' ', "-"));
        let reply = client.get(&origin.https_url(ALLOWED, &path)).await;
        assert_eq!((reply.version, origin.only(&path).version), (towards_client, towards_origin), "{case}");
    }
}

#[tokio::test]
async fn request_bodies_arrive_unchanged() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let reply = client.post(&format!("{base}/echo"), "text/plain", "körper with ünicode").await;
        let echo = reply.json();
        assert_eq!(echo["method"], "POST", "{way}");
        assert_eq!(echo["body"], "körper with ünicode", "{way}");
        assert_eq!(arrived(&echo, "content-type"), Some("text/plain"), "{way}");
    }
}

#[tokio::test]
async fn request_bodies_of_unknown_length_arrive_too() {
    let (world, wardgate) = World::running().await;
    let http1_only = Origin::start_at([127, 0, 0, 1].into(), &world.pki, &["http/1.1"]).await;
    let old = ("http2 to an old origin", wardgate.client(), http1_only.https_url(ALLOWED, ""));
    for (way, client, base) in world.ways(&wardgate).into_iter().chain([old]) {
        let pieces =
            ["one ", "two ", "three"].map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
        let mut asked = request(Method::POST, &format!("{base}/echo"), "");
        *asked.body_mut() = StreamBody::new(futures_util::stream::iter(pieces)).boxed();
        let echo = client.send(asked).await.json();
        assert_eq!(echo["body"], "one two three", "{way}");
        assert_eq!(arrived(&echo, "content-length"), None, "{way}");
    }
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind() {
    let world = World::new().await;
    world.site.add_user("anna", "learners", "correct horse").await;
    let wardgate = world.site.start().await;
    let mut asked = request(Method::GET, &world.http(ALLOWED, "/echo"), "");
    for (name, value) in [
        ("connection", "x-private, keep-alive"),
        ("x-private", "for the proxy"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip"),
        ("x-kept", "for the origin"),
    ] {
        asked.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let echo = wardgate.client().user("anna", "correct horse").send(asked).await.json();
    for name in ["x-private", "keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert_eq!(arrived(&echo, name), None, "{name} reached the origin");
    }
    assert_eq!(arrived(&echo, "x-kept"), Some("for the origin"));
}

#[tokio::test]
async fn an_http2_origin_gets_no_field_of_http1() {
    let (world, wardgate) = World::running().await;
    let url = world.https(ALLOWED, "/downgraded");
    let mut asked = request(Method::GET, &url, "");
    asked.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    asked.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
    let reply = wardgate.client().http1().send(asked).await;
    let seen = world.origin.only("/downgraded");
    assert_eq!((reply.version, seen.version), (Version::HTTP_11, Version::HTTP_2));
    assert_eq!(seen.headers.get("te").map(HeaderValue::as_bytes), Some(&b"trailers"[..]));
    for name in ["host", "connection"] {
        assert_eq!(seen.headers.get(name), None, "{name} reached the origin");
    }
}

#[tokio::test]
async fn an_origins_hop_by_hop_fields_stay_behind() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let reply = client.get(&format!("{base}/hop-by-hop")).await;
        assert_eq!(reply.text(), "hops", "{way}");
        for name in ["x-named", "keep-alive", "proxy-authenticate"] {
            assert_eq!(reply.header(name), None, "{way}: {name} reached the client");
        }
        assert_eq!(reply.header("x-keep"), Some("end to end"), "{way}");
    }
}

#[tokio::test]
async fn credentials_for_the_proxy_never_go_upstream() {
    let world = World::new().await;
    world.site.add_user("anna", "learners", "correct horse").await;
    let wardgate = world.site.start().await;
    for (way, client, base) in world.ways(&wardgate) {
        let client = client.user("anna", "correct horse");
        // A client that repeats them inside the tunnel must not leak them either.
        let mut asked = request(Method::GET, &format!("{base}/echo"), "");
        let sent = HeaderValue::from_static("Basic YW5uYTpjb3JyZWN0IGhvcnNl");
        asked.headers_mut().insert(header::PROXY_AUTHORIZATION, sent);
        let echo = client.send(asked).await.json();
        assert_eq!(arrived(&echo, "proxy-authorization"), None, "{way}");
    }
}

#[tokio::test]
async fn via_names_the_proxy_both_ways() {
    let (world, wardgate) = World::running().await;
    let reply = wardgate.client().get(&world.http(ALLOWED, "/echo")).await;
    let echo = reply.json();
    let upstream = arrived(&echo, "via").expect("Via towards the origin");
    assert!(upstream.starts_with("1.1 "), "{upstream}");
    assert!(reply.header("via").expect("Via towards the client").starts_with("1.1 "));

    let mut asked = request(Method::GET, &world.http(ALLOWED, "/echo"), "");
    asked.headers_mut().insert(header::VIA, HeaderValue::from_static("1.0 earlier"));
    let echo = wardgate.client().send(asked).await.json();
    let fields = echo["headers"].as_array().unwrap();
    let via: Vec<&str> = fields.iter().filter(|f| f[0] == "via").filter_map(|f| f[1].as_str()).collect();
    assert!(via.join(", ").starts_with("1.0 earlier, 1.1 "), "{via:?}");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        for (case, method, code, length) in [
            ("HEAD", Method::HEAD, 200, Some("6")),
            ("204", Method::GET, 204, None),
            ("304", Method::GET, 304, Some("6")),
        ] {
            let reply = client.send(request(method, &format!("{base}/status?code={code}"), "")).await;
            assert_eq!(reply.status, code, "{way}, {case}");
            assert!(reply.body.is_empty() && reply.complete, "{way}, {case}");
            assert_eq!(reply.header("etag"), Some("\"a-tag\""), "{way}, {case}");
            if case == "HEAD" {
                assert_eq!(reply.header("content-length"), length, "{way}, {case}");
            }
        }
    }
}

#[tokio::test]
async fn ranges_pass_both_ways() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let mut asked = request(Method::GET, &format!("{base}/range"), "");
        asked.headers_mut().insert(header::RANGE, HeaderValue::from_static("bytes=2-4"));
        let reply = client.send(asked).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (206, "cde"), "{way}");
        assert_eq!(reply.header("content-range"), Some("bytes 2-4/10"), "{way}");
    }
}

#[tokio::test]
async fn trailers_arrive() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let mut asked = request(Method::GET, &format!("{base}/trailers"), "");
        asked.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        let reply = client.send(asked).await;
        assert_eq!(reply.text(), "the body", "{way}");
        assert_eq!(reply.trailers.get("x-checksum").map(HeaderValue::as_bytes), Some(&b"12345"[..]), "{way}");
    }
}

#[tokio::test]
async fn redirects_and_cookies_are_the_browsers_business() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let reply = client.get(&format!("{base}/redirect")).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (302, Some("/landing")), "{way}");
        let reply = client.get(&format!("{base}/cookies")).await;
        let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(cookies, [&b"a=1; Path=/"[..], b"b=2; Path=/; HttpOnly"], "{way}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it_from_the_origin() {
    let (world, wardgate) = World::running().await;
    let authority = format!("{ALLOWED}:{}", world.origin.http.port());
    let head = |path: &str| {
        format!(
            "POST http://{authority}{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: text/plain\r\n\
             Content-Length: 9\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = tokio::net::TcpStream::connect(wardgate.proxy).await.unwrap();
    stream.write_all(head("/upload").as_bytes()).await.unwrap();
    let interim = raw::read_head(&mut stream).await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim:?}");
    stream.write_all(b"nine byte").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(raw::status_of(&answer), Some(200), "{answer}");
    assert!(answer.ends_with("9"), "{answer}");
}

#[tokio::test]
async fn an_origin_that_does_not_want_the_body_never_gets_it() {
    let (world, wardgate) = World::running().await;
    let authority = format!("{ALLOWED}:{}", world.origin.http.port());
    let head = format!(
        "POST http://{authority}/unwanted HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 9\r\n\
         Content-Type: application/octet-stream\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = tokio::net::TcpStream::connect(wardgate.proxy).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = raw::read_head(&mut stream).await;
    assert_eq!(raw::status_of(&answer), Some(403), "{answer}");
}

#[tokio::test]
async fn connections_to_origins_are_used_again() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        let before = world.origin.connections();
        for _ in 0..5 {
            let reply: Reply = client.get(&format!("{base}/")).await;
            assert!(reply.complete);
        }
        let opened = world.origin.connections() - before;
        assert!(opened <= 1, "{way}: {opened} connections for five requests one after the other");
    }
}

#[tokio::test]
async fn one_browsers_connection_serves_many_origins() {
    let (world, wardgate) = World::running().await;
    let url = world.http(ALLOWED, "/echo");
    let mut session = wardgate.client().session(&url.parse().unwrap()).await.unwrap();
    for host in [ALLOWED, "another.example.test", ALLOWED] {
        let asked = request(Method::GET, &world.http(host, "/echo"), "");
        let echo = session.send(asked).await.unwrap().json();
        let expected = format!("{host}:{}", world.origin.http.port());
        assert_eq!(arrived(&echo, "host"), Some(expected.as_str()));
    }
}

#[tokio::test]
async fn many_requests_at_once_on_one_http2_connection() {
    let (world, wardgate) = World::running().await;
    let base = world.https(ALLOWED, "");
    let session = wardgate.client().session(&base.parse().unwrap()).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..60 {
        let (mut session, base) = (session.another(), base.clone());
        waiting.spawn(async move {
            // Slow and quick ones mixed, bodies in both directions.
            let url = format!("{base}/slow?number={number}&ms={}", number % 7 * 50);
            let slow = session.send(request(Method::GET, &url, "")).await.unwrap();
            let url = format!("{base}/download?number={number}&bytes={}", number * 10_000);
            let reply = session.send(request(Method::GET, &url, "")).await.unwrap();
            slow.text() == "at last" && reply.complete && reply.body.len() == number * 10_000
        });
    }
    assert!(waiting.join_all().await.into_iter().all(|fine| fine));
    assert_eq!(wardgate.lines_about("number=", 120).await.len(), 120);
}

#[tokio::test]
async fn addresses_get_certificates_too() {
    let (world, wardgate) = World::running().await;
    // The client verifies the minted certificate against the address: it must be an IP entry, not a name.
    for client in [wardgate.client(), wardgate.client().http1()] {
        let reply = client.get(&world.https("127.0.0.1", "/")).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, PAGE));
    }
}
