//! What passes, what is refused, and that the borders of reads make no difference.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn limits() -> Limits {
    let second = Duration::from_secs(1);
    Limits { head_bytes: 1024, head_time: second, idle_time: second, stall_time: second }
}

/// What hyper would read of these bytes, sent in pieces of `step`, and the violation of the first request.
async fn read(bytes: &[u8], step: usize) -> (io::Result<Vec<u8>>, Option<Violation>) {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let mut framed = Framed::new(server, limits());
    let framing = framed.framing();
    for piece in bytes.chunks(step) {
        client.write_all(piece).await.unwrap();
    }
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    let mut buffer = [0u8; 64];
    let result = loop {
        let reading = tokio::time::timeout(Duration::from_millis(20), framed.read(&mut buffer));
        match reading.await {
            Ok(Ok(0)) | Err(_) => break Ok(got),
            Ok(Ok(count)) => got.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) => break Err(error),
        }
    };
    (result, framing.violation(0))
}

#[tokio::test]
async fn sound_messages_pass_unchanged() {
    for (name, bytes) in [
        ("plain", "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        ("pipelined", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/1.0 without host", "GET http://a.example/ HTTP/1.0\r\n\r\n"),
        ("length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        (
            "length, then another",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "chunked with trailers, then another",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0A\r\n0123456789\r\n\
             0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("tunnel", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03\nanything\r\n\n"),
        (
            "upgrade",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\n\nframes",
        ),
    ] {
        for step in [1, 3, 7, 1000] {
            let (got, violation) = read(bytes.as_bytes(), step).await;
            assert_eq!(violation, None, "{name}, pieces of {step}");
            assert_eq!(String::from_utf8(got.unwrap()).unwrap(), bytes, "{name}, pieces of {step}");
        }
    }
}

#[tokio::test]
async fn unsound_heads_never_reach_the_parser() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(2000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X:\r\n".repeat(130));
    let late = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\n\r\n", "a".repeat(2000));
    for (name, status, bytes) in [
        ("a bare line feed behind the limit", 431, &*late),
        ("bare line feed", 400, "GET / HTTP/1.1\nHost: a\n\n"),
        ("bare line feed in fields", 400, "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        ("bare carriage return", 400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        ("carriage return in the request line", 400, "GET /\rX HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("folded field", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"),
        ("space before colon", 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (
            "a length beyond all use",
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
        ),
        ("NUL", 400, "GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n"),
        ("two lengths", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        ("length list", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n"),
        ("signed length", 400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
        (
            "length and chunked",
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "chunked and length",
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        ),
        ("coding list", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("odd coding", 400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("other coding", 501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
        ("HTTP/1.0 chunked", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("no host", 400, "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("HTTP/0.9", 400, "GET /\r\n\r\n"),
        ("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("connect with a body", 400, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc"),
        ("large head", 431, &long),
        ("many fields", 431, &many),
    ] {
        for step in [1, 5, 4096] {
            let (got, violation) = read(bytes.as_bytes(), step).await;
            assert_eq!(violation.map(|violation| violation.status), Some(status), "{name}, pieces of {step}");
            assert_eq!(got.unwrap(), STAND_IN, "{name}, pieces of {step}");
        }
    }
}

#[tokio::test]
async fn unsound_chunks_are_errors() {
    for (name, body) in [
        ("no size", "\r\nabc\r\n"),
        ("size with sign", "+3\r\nabc\r\n"),
        ("size with prefix", "0x3\r\nabc\r\n"),
        ("bare line feed in an extension", "3;a\nabc\r\n0\r\n\r\n"),
        ("a space in a size", "3 0\r\nabc\r\n0\r\n\r\n"),
        ("trailer without a colon", "0\r\nx\r\n\r\n"),
        ("bare line feed", "3\nabc\r\n"),
        ("data too long", "3\r\nabcd\r\n"),
        ("huge size", "fffffffffffffffff\r\n"),
        ("bad trailer", "0\r\n: x\r\n\r\n"),
        ("trailer without a colon", "0\r\nx\r\n\r\n"),
        ("space before a trailer's colon", "0\r\nx : y\r\n\r\n"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        for step in [1, 4096] {
            let (got, _) = read(request.as_bytes(), step).await;
            assert_eq!(got.unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}, pieces of {step}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_refused_in_time() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut framed = Framed::new(server, limits());
    let framing = framed.framing();
    client.write_all(b"GET / HT").await.unwrap();
    let mut buffer = [0u8; 256];
    let count = framed.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..count], STAND_IN);
    assert_eq!(framing.violation(0).map(|violation| violation.status), Some(408));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends() {
    let (_client, server) = tokio::io::duplex(64);
    let mut framed = Framed::new(server, limits());
    assert_eq!(framed.read(&mut [0u8; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn empty_lines_are_few() {
    for (lines, expected) in [(1, None), (8, None), (9, Some(EMPTY_LINES))] {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bytes = format!("{}{request}", "\r\n".repeat(lines));
        for step in [1, 3, 1000] {
            let (got, violation) = read(bytes.as_bytes(), step).await;
            assert_eq!(violation, expected, "{lines} in pieces of {step}");
            let passed = if expected.is_none() { request.as_bytes() } else { STAND_IN };
            assert_eq!(got.unwrap(), passed, "{lines} in pieces of {step}");
        }
        let between = format!("{request}{}", "\r\n".repeat(lines)).repeat(2);
        let (got, _) = read(between.as_bytes(), 1000).await;
        let passed = if expected.is_none() { request.as_bytes() } else { STAND_IN };
        assert!(got.unwrap().ends_with(passed), "{lines} between two requests");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_though_halves_of_empty_lines_come() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut framed = Framed::new(server, limits());
    let halves = async {
        for half in [b"\r", b"\n"].iter().cycle().take(6) {
            client.write_all(*half).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        panic!("it is kept for as long as something comes");
    };
    let mut buffer = [0u8; 16];
    tokio::select! {
        read = framed.read(&mut buffer) => assert_eq!(read.unwrap(), 0),
        () = halves => {}
    }
}

/// What hyper would read of an origin's bytes, sent in pieces of `step` once this request was written.
async fn answer(request: &str, switch: Switch, bytes: &[u8], step: usize) -> (Vec<u8>, Option<io::Error>) {
    let (mut origin, proxy) = tokio::io::duplex(1 << 20);
    let mut answers = Answers::new(proxy, switch);
    answers.write_all(request.as_bytes()).await.unwrap();
    for piece in bytes.chunks(step) {
        origin.write_all(piece).await.unwrap();
    }
    origin.shutdown().await.unwrap();
    let mut got = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match answers.read(&mut buffer).await {
            Ok(0) => return (got, None),
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) => return (got, Some(error)),
        }
    }
}

#[tokio::test]
async fn sound_answers_pass_unchanged() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (name, request, switch, bytes) in [
        ("length", get, Switch::Unasked, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("no reason", get, Switch::Unasked, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        (
            "equal lengths",
            get,
            Switch::Unasked,
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi",
        ),
        (
            "chunked with padding, extensions and trailers",
            get,
            Switch::Unasked,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\nA;b=\"c\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        (
            "until the end",
            get,
            Switch::Unasked,
            "HTTP/1.0 200 OK\r\n\r\nanything\0\r\n\r\nHTTP/1.1 200 OK\r\n",
        ),
        ("of a HEAD", head, Switch::Unasked, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("without content", get, Switch::Unasked, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        (
            "not modified",
            get,
            Switch::Unasked,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "interim answers",
            get,
            Switch::Unasked,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        ),
        ("switch", get, Switch::Asked, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\n\nframes"),
    ] {
        for step in [1, 3, 7, 1000] {
            let (got, error) = answer(request, switch, bytes.as_bytes(), step).await;
            assert!(error.is_none(), "{name}, pieces of {step}: {error:?}");
            assert_eq!(String::from_utf8(got).unwrap(), bytes, "{name}, pieces of {step}");
        }
    }
}

#[tokio::test]
async fn unsound_answers_never_reach_the_parser() {
    let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    for (name, bytes, reason) in [
        ("no HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", "the answer does not begin with a status line"),
        ("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "the answer does not begin with a status line"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "the answer does not begin with a status line"),
        ("two spaces", "HTTP/1.1  200 OK\r\n\r\n", "the answer does not begin with a status line"),
        ("an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", "the first line is empty"),
        (
            "bare line feeds",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "a line of the head does not end in CR LF",
        ),
        ("a folded field", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "a header field is folded over lines"),
        (
            "unequal lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
            "there are two Content-Lengths that differ",
        ),
        (
            "length and chunked",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "there is both a Transfer-Encoding and a Content-Length",
        ),
        (
            "another coding",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "the Transfer-Encoding is not understood",
        ),
        (
            "HTTP/1.0 chunked",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 has no Transfer-Encoding",
        ),
        (
            "a switch",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "a switch of protocols that nobody asked for",
        ),
        ("a flood", &flood, "there are too many interim answers"),
        (
            "an interim body",
            "HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc",
            "an interim answer says that it has a body",
        ),
    ] {
        for step in [1, 5, 4096] {
            let (got, error) =
                answer("GET / HTTP/1.1\r\n\r\n", Switch::Unasked, bytes.as_bytes(), step).await;
            let error = error.unwrap_or_else(|| panic!("{name}, pieces of {step}: passed as {got:?}"));
            assert_eq!(error.to_string(), reason, "{name}, pieces of {step}");
            let got = String::from_utf8(got).unwrap();
            assert!(got.is_empty() || name == "a flood", "{name}, pieces of {step}: {got:?}");
        }
    }
}

#[tokio::test]
async fn what_nobody_asked_for_is_an_error() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let more = format!("{whole}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    for step in [1, 7, 4096] {
        let (got, error) = answer("GET / HTTP/1.1\r\n\r\n", Switch::Unasked, more.as_bytes(), step).await;
        assert_eq!(
            (String::from_utf8(got).unwrap().as_str(), error.is_some()),
            (whole, true),
            "pieces of {step}"
        );
        let (got, error) = answer("", Switch::Unasked, whole.as_bytes(), step).await;
        assert_eq!(
            (got.as_slice(), error.is_some()),
            (&b""[..], true),
            "before any request, pieces of {step}"
        );
    }
}
