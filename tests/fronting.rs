//! CONNECT, the name in TLS and the host of the request must agree; where they do not, the strictest of them decides,
//! and the log says so.

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::hello::{greet, hello, is_for, is_minted};
use crate::harness::{ALLOWED, BLOCKED, Client, Failure, World, raw};

const BANK: &str = "bank.example.test";
const HELP: &str = "help.example.test";
const OTHER: &str = "another.example.test";

/// What becomes of a tunnel with these names.
#[derive(Debug, PartialEq)]
enum Fate {
    /// The origin's own certificate is shown.
    Unread,
    /// A certificate for this host is minted.
    Opened(&'static str),
    /// An alert, and the end.
    Denied,
}

async fn fate(client: &Client, connect: &str, sni: Option<&str>) -> (Fate, Option<TlsStream<TcpStream>>) {
    let tunnel = client.connect(connect).await.unwrap();
    match greet(tunnel, sni, &["http/1.1"]).await {
        Ok(stream) if is_minted(&stream) => {
            let host = [ALLOWED, BANK, BLOCKED, HELP, OTHER].into_iter().find(|host| is_for(&stream, host));
            (Fate::Opened(host.unwrap_or("an address")), Some(stream))
        }
        Ok(stream) => (Fate::Unread, Some(stream)),
        Err(Failure::Broken(how)) => {
            assert!(how.contains("AccessDenied"), "{how}");
            (Fate::Denied, None)
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Sends a request for `path` at `host` and returns the whole answer.
async fn ask(stream: &mut TlsStream<TcpStream>, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_strictest_name_decides_what_becomes_of_a_tunnel() {
    let world = World::new().await;
    world.site.add_user("ulla", "unopened", "correct horse").await;
    let wardgate = world.site.start().await;
    let port = world.origin.https.port();
    let learner = wardgate.client();
    let unopened = wardgate.client().user("ulla", "correct horse");
    for (number, (case, client, connect, sni, expected, route)) in [
        ("all agree", &learner, ALLOWED, Some(ALLOWED), Fate::Opened(ALLOWED), "intercept"),
        ("all agree on a bank", &learner, BANK, Some(BANK), Fate::Unread, "tunnel"),
        ("a bank in front of a page", &learner, BANK, Some(ALLOWED), Fate::Opened(BANK), "intercept"),
        ("a bank in front of a blocked page", &learner, BANK, Some(BLOCKED), Fate::Opened(BANK), "intercept"),
        ("a bank in front of nobody", &learner, BANK, None, Fate::Opened(BANK), "intercept"),
        ("a page in front of a bank", &learner, ALLOWED, Some(BANK), Fate::Opened(ALLOWED), "intercept"),
        ("a page in front of nobody", &learner, ALLOWED, None, Fate::Opened(ALLOWED), "intercept"),
        ("help in front of a page", &learner, HELP, Some(ALLOWED), Fate::Opened(HELP), "intercept"),
        ("help in front of help", &learner, HELP, Some("www.help.example.test"), Fate::Unread, "tunnel"),
        ("help in front of nobody", &learner, HELP, None, Fate::Unread, "tunnel"),
        (
            "a page in front of a blocked one",
            &learner,
            ALLOWED,
            Some(BLOCKED),
            Fate::Opened(ALLOWED),
            "intercept",
        ),
        ("an address alone", &learner, "127.0.0.1", None, Fate::Opened("an address"), "intercept"),
        (
            "an address in front of a page",
            &learner,
            "127.0.0.1",
            Some(OTHER),
            Fate::Opened(OTHER),
            "intercept",
        ),
        ("an address in front of a bank", &learner, "127.0.0.1", Some(BANK), Fate::Opened(BANK), "intercept"),
        ("unopened, all agree", &unopened, ALLOWED, Some(ALLOWED), Fate::Unread, "tunnel"),
        ("unopened, another page", &unopened, ALLOWED, Some(OTHER), Fate::Unread, "tunnel"),
        ("unopened, nobody", &unopened, ALLOWED, None, Fate::Unread, "tunnel"),
        ("unopened, a blocked page", &unopened, ALLOWED, Some(BLOCKED), Fate::Denied, "refuse"),
        ("unopened, an address", &unopened, "127.0.0.1", Some(BLOCKED), Fate::Denied, "refuse"),
    ]
    .into_iter()
    .enumerate()
    {
        let (fate, _) = fate(client, &format!("{connect}:{port}"), sni).await;
        assert_eq!(fate, expected, "{case}");
        let line = wardgate.wait_for_lines(number + 1).await.pop().unwrap();
        assert_eq!(
            (&line["http.request.method"], &line["wardgate.route"]),
            (&"CONNECT".into(), &route.into()),
            "{case}"
        );
        let agree = sni == Some(connect) || (sni.is_none() && connect == "127.0.0.1");
        let names = if agree { Value::Null } else { json!({ "connect": connect, "sni": sni }) };
        assert_eq!(line["wardgate.fronting"], names, "{case}: {line:#}");
        let decision = if route == "refuse" { "block" } else { "allow" };
        assert_eq!(line["wardgate.decision"], decision, "{case}");
        if route == "refuse" {
            assert_eq!(
                (&line["rule.name"], &line["wardgate.category"]),
                (&"no-gambling".into(), &"gambling".into()),
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn a_host_that_is_refused_by_name_receives_nothing() {
    let world = World::new().await;
    world.site.add_user("ulla", "unopened", "correct horse").await;
    let wardgate = world.site.start().await;
    let origin = crate::harness::bytes::ByteOrigin::start(crate::harness::bytes::Manner::Echo).await;
    let client = wardgate.client().user("ulla", "correct horse");
    let mut tunnel = client.connect(&format!("{ALLOWED}:{}", origin.address.port())).await.unwrap();
    tunnel.write_all(&hello(BLOCKED)).await.unwrap();
    let mut answer = Vec::new();
    tunnel.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 49], "the TLS alert access_denied");
    assert!(origin.received().is_empty(), "the greeting reached the origin");
}

#[tokio::test]
async fn requests_in_a_tunnel_of_two_names_are_decided_under_both() {
    let (world, wardgate) = World::running().await;
    let port = world.origin.https.port();
    for (case, connect, sni, host, status, rule) in [
        ("allowed under both", ALLOWED, OTHER, ALLOWED, 200, "<default>"),
        ("blocked by the name in TLS", ALLOWED, BLOCKED, ALLOWED, 403, "no-gambling"),
        ("blocked by the name of the CONNECT", BLOCKED, ALLOWED, BLOCKED, 403, "no-gambling"),
        ("a bank in front of a blocked page", BANK, BLOCKED, BANK, 403, "no-gambling"),
        (
            "a service that must work in front of a blocked page",
            "must-work.example.test",
            BLOCKED,
            "must-work.example.test",
            403,
            "no-gambling",
        ),
        ("an address in front of an allowed page", "127.0.0.1", ALLOWED, ALLOWED, 200, "<default>"),
        ("an address in front of a blocked page", "127.0.0.1", BLOCKED, BLOCKED, 403, "no-gambling"),
    ] {
        let (_, stream) = fate(&wardgate.client(), &format!("{connect}:{port}"), Some(sni)).await;
        let mark = format!("/?{}", case.replace(' ', "-"));
        let answer = ask(&mut stream.unwrap(), &format!("{host}:{port}"), &mark).await;
        assert_eq!(raw::status_of(&answer), Some(status), "{case}: {answer}");
        let line = wardgate.line_about(&mark).await;
        assert_eq!(line["rule.name"], rule, "{case}: {line:#}");
        assert_eq!(
            line["wardgate.fronting"],
            json!({ "connect": connect, "sni": sni, "host": host }),
            "{case}"
        );
        assert_eq!(world.origin.seen(&mark).len(), usize::from(status == 200), "{case}");
    }
}

#[tokio::test]
async fn a_request_for_another_host_than_the_tunnels_is_turned_away() {
    let (world, wardgate) = World::running().await;
    let port = world.origin.https.port();
    for (case, connect, sni, host) in [
        ("the-host-differs", ALLOWED, ALLOWED, OTHER),
        ("the-name-in-TLS-and-the-host-differ", ALLOWED, OTHER, OTHER),
        ("an-address-in-front-of-a-third", "127.0.0.1", ALLOWED, OTHER),
    ] {
        let (_, stream) = fate(&wardgate.client(), &format!("{connect}:{port}"), Some(sni)).await;
        let answer = ask(&mut stream.unwrap(), &format!("{host}:{port}"), &format!("/?{case}")).await;
        assert_eq!(raw::status_of(&answer), Some(421), "{case}: {answer}");
        let line = wardgate.line_about(case).await;
        let names = json!({ "connect": connect, "sni": sni, "host": host });
        assert_eq!(
            (&line["wardgate.fronting"], &line["rule.name"]),
            (&names, &"<malformed>".into()),
            "{case}"
        );
        assert!(world.origin.seen(&format!("/?{case}")).is_empty(), "{case}");
    }
}

#[tokio::test]
async fn an_authority_of_http2_counts_as_the_host() {
    let (world, wardgate) = World::running().await;
    let port = world.origin.https.port();
    let tunnel = wardgate.client().connect(&format!("{ALLOWED}:{port}")).await.unwrap();
    let stream = greet(tunnel, Some(ALLOWED), &["h2"]).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    for (host, status) in [(OTHER, StatusCode::MISDIRECTED_REQUEST), (ALLOWED, StatusCode::OK)] {
        let request = Request::get(format!("https://{host}:{port}/?coalesced"));
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
        answer.collect().await.unwrap();
    }
    let lines = wardgate.lines_about("?coalesced", 2).await;
    let misdirected = lines.iter().find(|line| line["http.response.status_code"] == 421).unwrap();
    assert_eq!(misdirected["wardgate.fronting"]["host"], OTHER, "{misdirected:#}");
}

#[tokio::test]
async fn openssl_sees_the_same() {
    let (world, wardgate) = World::running().await;
    let port = world.origin.https.port();
    for (case, connect, sni, issuer) in [
        ("a bank by its own name", BANK, &["-servername", BANK][..], "Wardgate test root"),
        ("a bank by another name", BANK, &["-servername", ALLOWED], "Wardgate filter CA"),
        ("a bank by no name", BANK, &["-noservername"], "Wardgate filter CA"),
        ("a page", ALLOWED, &["-servername", ALLOWED], "Wardgate filter CA"),
        (
            "a page with the groups of 2026",
            ALLOWED,
            &["-servername", ALLOWED, "-tls1_3"],
            "Wardgate filter CA",
        ),
        (
            "a page in small segments",
            ALLOWED,
            &["-servername", ALLOWED, "-max_send_frag", "512"],
            "Wardgate filter CA",
        ),
    ] {
        let mut command = tokio::process::Command::new(crate::harness::tools::find("openssl"));
        command.args(["s_client", "-proxy", &wardgate.proxy.to_string(), "-connect"]);
        command.arg(format!("{connect}:{port}")).args(sni);
        let ran = crate::harness::tools::run(&mut command, "").await;
        let shown = ran.stdout.lines().find(|line| line.starts_with("issuer=")).unwrap_or_default();
        assert!(shown.contains(issuer), "{case}: {shown:?} in {}{}", ran.stdout, ran.stderr);
    }
}
