//! What two parsers could read in two ways is refused before anybody acts on it: a 4xx (or what fits better), a
//! closed connection, nothing upstream, and one line in the log. Never a hang.

use std::ops::RangeInclusive;

use hyper::Method;

use crate::harness::raw::{self, RawOrigin, Talk, Then};
use crate::harness::{ALLOWED, World, request};

/// A name, the statuses that will do, and the bytes; `{host}` stands for the origin's authority.
type Case = (&'static str, RangeInclusive<u16>, &'static str);

const BAD: RangeInclusive<u16> = 400..=400;
const REFUSED: RangeInclusive<u16> = 400..=499;
/// 501 where a transfer coding is unknown, 505 where a version is.
const UNSERVED: RangeInclusive<u16> = 400..=505;

/// Heads that are wrong by themselves: nothing of them may reach an origin.
const HEADS: &[Case] = &[
    // Two ways to say where the body ends.
    (
        "length and chunked",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        "chunked and length",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        "two lengths that differ",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "two lengths that agree",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "a list of lengths",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2, 2\r\n\r\nab",
    ),
    ("a signed length", BAD, "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: +2\r\n\r\nab"),
    (
        "a negative length",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: -2\r\n\r\nab",
    ),
    (
        "a length in hexadecimal",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x2\r\n\r\nab",
    ),
    ("an empty length", BAD, "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length:\r\n\r\nab"),
    (
        "a length beyond 64 bits",
        BAD,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18446744073709551617\r\n\r\na",
    ),
    (
        "an unknown coding",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip\r\n\r\nab",
    ),
    (
        "chunked but not last",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "identity and chunked",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding in disguise",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding behind a vertical tab",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "an empty coding",
        UNSERVED,
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\r\nContent-Length: 1\r\n\r\na",
    ),
    (
        "chunked in HTTP/1.0",
        UNSERVED,
        "POST http://{host}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    // Fields that are read in two ways.
    (
        "a space before the colon",
        BAD,
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length : 4\r\n\r\nabcd",
    ),
    ("a tab before the colon", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A\t: b\r\n\r\n"),
    ("a folded field", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n c\r\n\r\n"),
    ("a first field that is folded", BAD, "GET http://{host}/ HTTP/1.1\r\n Host: {host}\r\n\r\n"),
    ("a field without a colon", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A\r\n\r\n"),
    ("a field without a name", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n: b\r\n\r\n"),
    ("a NUL in a value", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\0c\r\n\r\n"),
    ("a NUL in a name", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-\0A: b\r\n\r\n"),
    (
        "a carriage return in a value",
        BAD,
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\rX-C: d\r\n\r\n",
    ),
    ("bare line feeds", BAD, "GET http://{host}/ HTTP/1.1\nHost: {host}\n\n"),
    ("one bare line feed", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\nX-A: b\r\n\r\n"),
    ("a name with a slash", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX/A: b\r\n\r\n"),
    // Request lines.
    ("no host", BAD, "GET http://{host}/ HTTP/1.1\r\n\r\n"),
    ("two hosts", BAD, "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nHost: other.example.test\r\n\r\n"),
    ("HTTP/0.9", REFUSED, "GET http://{host}/\r\n\r\n"),
    ("the preface of HTTP/2", UNSERVED, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a version of the future", UNSERVED, "GET http://{host}/ HTTP/3.0\r\nHost: {host}\r\n\r\n"),
    ("a version without a dot", UNSERVED, "GET http://{host}/ HTTP/11\r\nHost: {host}\r\n\r\n"),
    ("a version in lower case", UNSERVED, "GET http://{host}/ http/1.1\r\nHost: {host}\r\n\r\n"),
    ("two spaces in the request line", BAD, "GET  http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("a space in the target", BAD, "GET http://{host}/a b HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("a method that is no token", BAD, "GE(T http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("a carriage return in the request line", BAD, "GET http://{host}/\rX HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("TLS where HTTP is spoken", REFUSED, "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03\r\n\r\n"),
    ("SSH where HTTP is spoken", REFUSED, "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    // Targets.
    ("an unknown scheme", REFUSED, "GET ftp://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("a user name in the target", REFUSED, "GET http://me@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("an empty host in the target", REFUSED, "GET http:///a HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("port zero", REFUSED, "GET http://127.0.0.1:0/ HTTP/1.1\r\nHost: 127.0.0.1:0\r\n\r\n"),
    (
        "a port beyond the last",
        REFUSED,
        "GET http://127.0.0.1:65536/ HTTP/1.1\r\nHost: 127.0.0.1:65536\r\n\r\n",
    ),
    ("an asterisk for GET", REFUSED, "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("CONNECT without a port", REFUSED, "CONNECT foo HTTP/1.1\r\nHost: foo\r\n\r\n"),
    ("CONNECT without a host", REFUSED, "CONNECT :443 HTTP/1.1\r\nHost: foo\r\n\r\n"),
    ("CONNECT with port zero", REFUSED, "CONNECT foo:0 HTTP/1.1\r\nHost: foo\r\n\r\n"),
    ("CONNECT with a large port", REFUSED, "CONNECT foo:65536 HTTP/1.1\r\nHost: foo\r\n\r\n"),
    ("CONNECT with two ports", REFUSED, "CONNECT foo:443:443 HTTP/1.1\r\nHost: foo\r\n\r\n"),
    ("CONNECT with a URL", REFUSED, "CONNECT http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("CONNECT with a path", REFUSED, "CONNECT {host}/path HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("CONNECT with a user", REFUSED, "CONNECT me@{host} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    ("CONNECT with half an address", REFUSED, "CONNECT [::1:443 HTTP/1.1\r\nHost: foo\r\n\r\n"),
    ("CONNECT with an asterisk", REFUSED, "CONNECT * HTTP/1.1\r\nHost: foo\r\n\r\n"),
    (
        "CONNECT with a body",
        REFUSED,
        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
    ),
];

/// Bodies that go wrong once the head was fine: the origin may have heard of the request, but never gets a whole one.
const BODIES: &[(&str, &str)] = &[
    ("a chunk size that is no number", "zz\r\nab\r\n0\r\n\r\n"),
    ("a chunk size with a prefix", "0x2\r\nab\r\n0\r\n\r\n"),
    ("a negative chunk size", "-2\r\nab\r\n0\r\n\r\n"),
    ("a chunk size beyond 64 bits", "10000000000000002\r\nab\r\n0\r\n\r\n"),
    ("no chunk size", "\r\nab\r\n0\r\n\r\n"),
    ("a chunk longer than it says", "2\r\nabc\r\n0\r\n\r\n"),
    ("a chunk size ended by a line feed", "2\nab\r\n0\r\n\r\n"),
    ("a chunk without its line end", "2\r\nab0\r\n\r\n"),
    (
        "a smuggled request after a short chunk",
        "1\r\nZ\r\nQ\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("a space before the chunk size", " 2\r\nab\r\n0\r\n\r\n"),
    ("a trailer without a colon", "0\r\nX-A\0\r\n\r\n"),
];

/// What is wrong with the answer to a head that is wrong, if anything.
fn fault(talk: &Talk, statuses: &RangeInclusive<u16>) -> Option<String> {
    let Some(status) = talk.status() else { return Some(format!("no answer but {:?}", talk.received)) };
    if !talk.closed {
        return Some(format!("the connection stays open after {status}"));
    }
    if !statuses.contains(&status) {
        return Some(format!("answered {status}"));
    }
    (talk.responses() != 1).then(|| format!("{} answers", talk.responses()))
}

#[tokio::test]
async fn heads_that_are_wrong_reach_nobody() {
    let (_world, wardgate) = World::running().await;
    let origin = RawOrigin::polite().await;
    let host = origin.address.to_string();
    let mut faults = Vec::new();
    for (number, (name, statuses, bytes)) in HEADS.iter().enumerate() {
        let talk = raw::talk(wardgate.proxy, bytes.replace("{host}", &host).as_bytes()).await;
        faults.extend(fault(&talk, statuses).map(|fault| format!("{name}: {fault}")));
        let line = wardgate.wait_for_lines(number + 1).await.pop().unwrap();
        if line["wardgate.outcome"] != "malformed"
            || line["http.response.status_code"].as_u64() != talk.status().map(u64::from)
        {
            faults.push(format!("{name}: recorded as {line:#}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(origin.received(), "", "something reached the origin");
}

#[tokio::test]
async fn heads_that_are_wrong_are_refused_inside_an_intercepted_tunnel() {
    let (world, wardgate) = World::running().await;
    let client = wardgate.client().http1();
    let base: hyper::Uri = world.https(ALLOWED, "/").parse().unwrap();
    let host = base.authority().unwrap().as_str();
    let mut faults = Vec::new();
    for (name, statuses, bytes) in HEADS {
        // The same heads in origin form, as they are written inside a tunnel.
        let bytes = bytes.replace("http://{host}", "").replace("{host}", host);
        let stream = client.tls(&base).await.unwrap();
        let talk = raw::talk_over(stream, bytes.as_bytes()).await;
        faults.extend(fault(&talk, statuses).map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(world.origin.seen("").is_empty(), "the origin saw {:?}", world.origin.seen(""));
}

#[tokio::test]
async fn bodies_that_are_wrong_are_never_passed_on_whole() {
    let (_world, wardgate) = World::running().await;
    for (number, (name, body)) in BODIES.iter().enumerate() {
        let origin = RawOrigin::start(Then::Hang(String::new())).await;
        let host = origin.address;
        let head =
            format!("POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let talk = raw::talk(wardgate.proxy, format!("{head}{body}").as_bytes()).await;
        assert!(talk.closed, "{name}: the connection hangs after {:?}", talk.received);
        assert_eq!(talk.status(), Some(400), "{name}: {:?}", talk.received);
        let reached = origin.received();
        assert!(!reached.ends_with("0\r\n\r\n"), "{name}: a whole request reached the origin: {reached:?}");
        assert!(!reached.contains("SMUGGLED"), "{name}: {reached:?}");
        let line = wardgate.wait_for_lines(number + 1).await.pop().unwrap();
        assert_eq!(line["wardgate.outcome"], "malformed", "{name}: {line:#}");
    }
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let (_world, wardgate) = World::running().await;
    let origin = RawOrigin::polite().await;
    let host = origin.address;
    for (number, (name, statuses, head)) in [
        ("one long field", 431..=431, format!("X-A: {}\r\n", "a".repeat(128 * 1024))),
        ("many fields", 431..=431, "X-A: b\r\n".repeat(2_000)),
        ("many names", 431..=431, (0..500).map(|n| format!("X-{n}: b\r\n")).collect()),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{head}\r\n");
        let talk = raw::talk(wardgate.proxy, bytes.as_bytes()).await;
        assert!(talk.closed, "{name}: the connection hangs");
        let status = talk.status().unwrap_or_else(|| panic!("{name}: no answer but {:?}", talk.received));
        assert!(statuses.contains(&status), "{name}: answered {status}");
        let line = wardgate.wait_for_lines(number + 1).await.pop().unwrap();
        assert_eq!(line["http.response.status_code"], status, "{name}: {line:#}");
    }
    let long_target =
        format!("GET http://{host}/{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "a".repeat(128 * 1024));
    let talk = raw::talk(wardgate.proxy, long_target.as_bytes()).await;
    assert!(talk.closed && matches!(talk.status(), Some(414 | 431)), "a long target: {:?}", talk.status());
    assert_eq!(origin.received(), "", "something reached the origin");
}

#[tokio::test]
async fn a_refused_request_takes_what_follows_it_along() {
    let (_world, wardgate) = World::running().await;
    let origin = RawOrigin::polite().await;
    let host = origin.address;
    let bytes = format!(
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2, 2\r\n\r\nab\
         GET http://{host}/SMUGGLED HTTP/1.1\r\nHost: {host}\r\n\r\n"
    );
    let talk = raw::talk(wardgate.proxy, bytes.as_bytes()).await;
    assert!(talk.closed);
    assert_eq!((talk.status(), talk.responses()), (Some(400), 1));
    assert_eq!(origin.received(), "");
}

#[tokio::test]
async fn the_host_field_cannot_contradict_the_target() {
    let (world, wardgate) = World::running().await;
    // RFC 9112, section 3.2.2: in absolute form the target counts, and what goes on carries the target's host.
    let authority = format!("{ALLOWED}:{}", world.origin.http.port());
    let bytes = format!(
        "GET http://{authority}/contradiction HTTP/1.1\r\nHost: blocked.example.test\r\nConnection: close\r\n\r\n"
    );
    let talk = raw::talk(wardgate.proxy, bytes.as_bytes()).await;
    match talk.status() {
        Some(200) => assert_eq!(world.origin.only("/contradiction").headers["host"], authority.as_str()),
        Some(400) => assert!(world.origin.seen("/contradiction").is_empty()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tunnel_leads_only_where_connect_said() {
    let (world, wardgate) = World::running().await;
    let base: hyper::Uri = world.https(ALLOWED, "/").parse().unwrap();
    let stream = wardgate.client().http1().tls(&base).await.unwrap();
    let bytes = "GET /elsewhere HTTP/1.1\r\nHost: blocked.example.test\r\nConnection: close\r\n\r\n";
    let talk = raw::talk_over(stream, bytes.as_bytes()).await;
    assert!(talk.status().is_some_and(|status| (400..500).contains(&status)), "{:?}", talk.status());

    let mut session = wardgate.client().session(&base).await.unwrap();
    for host in ["blocked.example.test", "another.example.test"] {
        let reply = session.send(request(Method::GET, &world.https(host, "/elsewhere"), "")).await.unwrap();
        assert!(reply.status.is_client_error(), "HTTP/2 to {host}: {}", reply.status);
    }
    // The connection itself is none the worse for it.
    let reply = session.send(request(Method::GET, &world.https(ALLOWED, "/here"), "")).await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(world.origin.seen("/elsewhere").is_empty());
}
