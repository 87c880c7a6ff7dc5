//! What goes wrong on the way to an origin: the client gets a page with the right status that says whose fault it is,
//! a certificate that does not verify is never covered up, and what was cut short stays cut short.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::harness::pki::{EXPIRED, SELF_SIGNED, UNTRUSTED, WRONG_HOST};
use crate::harness::raw::{RawOrigin, Then, read_head};
use crate::harness::{ALLOWED, Origin, World, request};

/// An address that answers nothing at all: its queue of connections is full, so that the kernel drops what comes.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    async fn at(address: SocketAddr) -> Self {
        let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            queue.push(stream);
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

fn assert_upstream_failure(line: &Value, status: u16) {
    assert_eq!(line["http.response.status_code"], status, "{line:#}");
    let outcome = line["wardgate.outcome"].as_str().unwrap();
    assert!(matches!(outcome, "upstream-failed" | "timed-out"), "{line:#}");
    assert!(line["wardgate.detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line:#}");
}

#[tokio::test]
async fn certificates_that_do_not_verify_are_refused_with_the_reason() {
    let (world, wardgate) = World::running().await;
    for (host, reason) in
        [(EXPIRED, "expired"), (SELF_SIGNED, "trust"), (WRONG_HOST, "another"), (UNTRUSTED, "trust")]
    {
        for client in [wardgate.client(), wardgate.client().http1()] {
            let path = format!("/secret-{:?}", Instant::now()).replace([' ', '{', '}', ':'], "");
            let reply = client.get(&world.https(host, &path)).await;
            let page = reply.text();
            assert_eq!(reply.status, 502, "{host}: {page}");
            assert!(page.to_lowercase().contains(reason), "{host}: the page does not say {reason:?}: {page}");
            assert!(page.contains(host), "{host} is not named: {page}");
            assert_upstream_failure(&wardgate.line_about(&path).await, 502);
        }
    }
    assert!(world.origin.seen("/secret").is_empty(), "a request went to an origin that did not verify");
}

#[tokio::test]
async fn an_origin_that_is_not_there() {
    let (world, wardgate) = World::running().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (case, url, said) in [
        ("refused", format!("http://{ALLOWED}:{free}/refused"), ALLOWED),
        ("refused inside a tunnel", format!("https://{ALLOWED}:{free}/refused-tls"), ALLOWED),
        (
            "no such name",
            "http://no-such-name.example.test/unresolved".to_owned(),
            "no-such-name.example.test",
        ),
        (
            "plain HTTP where TLS was asked for",
            format!("https://{ALLOWED}:{}/not-tls", world.origin.http.port()),
            ALLOWED,
        ),
    ] {
        let reply = wardgate.client().get(&url).await;
        assert_eq!(reply.status, 502, "{case}: {}", reply.text());
        assert!(reply.text().contains(said), "{case}: {}", reply.text());
        assert_upstream_failure(&wardgate.line_about(url.rsplit('/').next().unwrap()).await, 502);
    }
}

#[tokio::test]
async fn an_origin_that_takes_too_long() {
    let mut world = World::new().await;
    world.site.set("upstream", "connect_timeout_secs", 1);
    world.site.set("upstream", "response_timeout_secs", 1);
    world.site.set("upstream", "idle_timeout_secs", 1);
    let wardgate = world.site.start().await;
    let hole = BlackHole::at("127.0.0.1:0".parse().unwrap()).await;
    let silent = RawOrigin::start(Then::Hang(String::new())).await;
    for (case, url) in [
        ("never connects", format!("http://{}/no-connection", hole.address)),
        ("never answers", format!("http://{}/no-answer", silent.address)),
        ("never shakes hands", format!("https://{}/no-handshake", silent.address)),
    ] {
        let reply = wardgate.client().get(&url).await;
        assert_eq!(reply.status, 504, "{case}: {}", reply.text());
        assert_upstream_failure(&wardgate.line_about(url.rsplit('/').next().unwrap()).await, 504);
    }
    let stalls =
        RawOrigin::start(Then::Hang("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome of it".to_owned()))
            .await;
    let reply = wardgate.client().get(&format!("http://{}/stalls", stalls.address)).await;
    assert!(!reply.complete, "a body that stalled ended cleanly");
    let line = wardgate.line_about("/stalls").await;
    assert_eq!(line["wardgate.outcome"], "timed-out", "{line:#}");
}

#[tokio::test]
async fn what_is_cut_short_upstream_is_cut_short_downstream() {
    let (world, wardgate) = World::running().await;
    for (way, client, base) in world.ways(&wardgate) {
        for (case, path) in
            [("against its length", "/broken?length=1000"), ("in a chunked body", "/broken?length=0")]
        {
            let mark = format!("{path}&mark={way}");
            let reply = client.get(&format!("{base}{mark}")).await;
            assert_eq!(reply.status, 200, "{way}, {case}");
            assert!(!reply.complete, "{way}, {case}: ended cleanly");
            let line = wardgate.line_about(&mark).await;
            assert_eq!(line["wardgate.outcome"], "upstream-failed", "{way}, {case}: {line:#}");
        }
    }
}

/// How an origin ends its side of a TLS connection.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// With close_notify (RFC 8446, section 6.1): this is all.
    Said,
    /// By closing TCP: nobody can tell whether there was more.
    Cut,
}

/// An HTTPS origin that reads a request, sends these bytes and ends.
async fn https_ending(world: &World, answer: String, ending: Ending) -> (SocketAddr, JoinSet<()>) {
    let acceptor = TlsAcceptor::from(world.pki.server(&["http/1.1"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            read_head(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.flush().await;
            match ending {
                Ending::Said => drop(stream.shutdown().await),
                Ending::Cut => drop(stream.into_inner().0.shutdown().await),
            }
        }
    });
    (address, tasks)
}

/// A truncation attack takes the end of an answer away (RFC 9112, section 8): where an end can be told from a cut, the
/// client must be able to tell it, too.
#[tokio::test]
async fn an_end_that_was_not_said_is_no_end() {
    let (world, wardgate) = World::running().await;
    let head = |kind: &str, more: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{more}\r\n");
    let mut number = 0;
    for kind in ["application/octet-stream", "text/html"] {
        let sized = |length: usize| head(kind, &format!("Content-Length: {length}\r\n")) + "some of it";
        let chunked =
            |rest: &str| head(kind, "Transfer-Encoding: chunked\r\n") + "a\r\nsome of it\r\n" + rest;
        let open = head(kind, "Connection: close\r\n") + "some of it";
        for (case, answer, ending, whole) in [
            ("a length not reached, said", sized(100), Ending::Said, false),
            ("a length not reached, cut", sized(100), Ending::Cut, false),
            ("a length reached, cut", sized(10), Ending::Cut, true),
            ("no last chunk, said", chunked(""), Ending::Said, false),
            ("no last chunk, cut", chunked(""), Ending::Cut, false),
            ("half a last chunk, cut", chunked("0\r\n"), Ending::Cut, false),
            ("a last chunk, cut", chunked("0\r\n\r\n"), Ending::Cut, true),
            ("until it ends, said", open.clone(), Ending::Said, true),
            ("until it ends, cut", open, Ending::Cut, false),
        ] {
            let (address, _tasks) = https_ending(&world, answer, ending).await;
            for client in [wardgate.client(), wardgate.client().http1()] {
                number += 1;
                let path = format!("/end-{number}-");
                let url = format!("https://{ALLOWED}:{}{path}", address.port());
                let reply = client.try_send(request(Method::GET, &url, "")).await;
                let line = wardgate.line_about(&path).await;
                if whole {
                    let reply = reply.unwrap();
                    assert!(reply.complete, "{kind}, {case}: {line:#}");
                    assert_eq!(
                        (reply.status.as_u16(), &*reply.text()),
                        (200, "some of it"),
                        "{kind}, {case}"
                    );
                    assert_eq!(line["wardgate.outcome"], "completed", "{kind}, {case}: {line:#}");
                } else {
                    // A stream that is reset at once may take its head with it.
                    let clean = reply.is_ok_and(|reply| reply.complete && reply.status != 502);
                    assert!(!clean, "{kind}, {case}: ended cleanly: {line:#}");
                    assert_eq!(line["wardgate.outcome"], "upstream-failed", "{kind}, {case}: {line:#}");
                }
            }
        }
    }
}

#[tokio::test]
async fn origins_with_ipv6_addresses() {
    let world = World::new().await;
    world.site.host("six.example.test", "::1");
    let wardgate = world.site.start().await;
    let origin = Origin::start_at("::1".parse().unwrap(), &world.pki, &["h2", "http/1.1"]).await;
    for url in [
        origin.http_url("[::1]", "/literal"),
        origin.https_url("[::1]", "/literal-tls"),
        origin.http_url("six.example.test", "/name"),
        origin.https_url("six.example.test", "/name-tls"),
    ] {
        assert_eq!(wardgate.client().get(&url).await.status, 200, "{url}");
    }
}

#[tokio::test]
async fn a_dead_address_costs_little_where_another_one_lives() {
    let world = World::new().await;
    for address in ["::1", "127.0.0.1"] {
        world.site.host("two.example.test", address);
    }
    let wardgate = world.site.start().await;
    // On this port 127.0.0.1 is the origin, and ::1 swallows every connection.
    let hole = BlackHole::at(SocketAddr::new("::1".parse().unwrap(), world.origin.http.port())).await;
    let began = Instant::now();
    let reply = wardgate.client().get(&world.http("two.example.test", "/")).await;
    assert_eq!(reply.status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "it took {:?} beside {}",
        began.elapsed(),
        hole.address
    );

    // And one that refuses costs nothing: nobody listens on ::1 here.
    let reply = wardgate.client().get(&world.https("two.example.test", "/")).await;
    assert_eq!(reply.status, 200);
}
