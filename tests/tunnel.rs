//! What passes unread passes untouched, cheaply, and is only what policy lets pass unread: TLS, unless it says more.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::bytes::{ByteOrigin, Manner, pattern};
use crate::harness::hello::{hello, in_records, with_extension};
use crate::harness::{ALLOWED, Failure, Wardgate, World, raw};

/// A host of the tests' policy that is never intercepted.
const BANK: &str = "bank.example.test";
/// How long a test waits for bytes that should come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn tunnel_to(wardgate: &Wardgate, host: &str, origin: &ByteOrigin) -> TcpStream {
    wardgate.client().connect(&format!("{host}:{}", origin.address.port())).await.unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    read.expect("the tunnel does not end").unwrap();
    all
}

#[tokio::test]
async fn a_greeting_passes_untouched_however_it_is_cut() {
    let (_world, wardgate) = World::running().await;
    let plain = hello(BANK);
    assert!(plain.len() > 1400, "{} bytes: no post-quantum key share", plain.len());
    let grease_ech = [0, 0, 1, 0, 1, 9, 0, 1, 5, 0, 1, 6];
    for (case, bytes, step) in [
        ("at once", plain.clone(), usize::MAX),
        ("byte by byte", plain.clone(), 1),
        ("in segments", plain.clone(), 536),
        ("in small records", in_records(&plain, 3), usize::MAX),
        ("in records and segments", in_records(&plain, 100), 7),
        ("with GREASE", with_extension(&plain, 0x0a0a, &[0]), usize::MAX),
        ("with GREASE ECH", with_extension(&plain, 0xfe0d, &grease_ech), usize::MAX),
    ] {
        let origin = ByteOrigin::start(Manner::AnswerAtTheEnd(10_000)).await;
        let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
        for piece in bytes.chunks(step) {
            stream.write_all(piece).await.unwrap();
        }
        stream.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, pattern(10_000), "{case}");
        assert!(origin.received() == bytes, "{case}: the origin received something else");
        let line = wardgate.line_about(&format!(":{}/", origin.address.port())).await;
        assert_eq!(
            (&line["wardgate.route"], &line["wardgate.outcome"], &line["rule.name"]),
            (&"tunnel".into(), &"completed".into(), &"<never-intercept>".into()),
            "{case}"
        );
        assert_eq!(line["http.request.body.bytes"], bytes.len(), "{case}");
        assert_eq!(line["http.response.body.bytes"], 10_000, "{case}");
        assert!(line.get("wardgate.fronting").is_none(), "{case}: {line:#}");
    }
}

#[tokio::test]
async fn much_passes_in_both_directions_at_once() {
    const LENGTH: usize = 24 << 20;
    let (_world, wardgate) = World::running().await;
    let origin = ByteOrigin::start(Manner::Echo).await;
    let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
    let sent = [hello(BANK), pattern(LENGTH)].concat();
    let (mut reader, mut writer) = stream.split();
    let send = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut echoed = Vec::with_capacity(sent.len());
    let (read, ()) = tokio::join!(reader.read_to_end(&mut echoed), send);
    read.unwrap();
    assert!(
        echoed == sent && origin.received() == sent,
        "{} of {} bytes came back",
        echoed.len(),
        sent.len()
    );
    let line = wardgate.line_about(BANK).await;
    assert_eq!(
        (&line["http.request.body.bytes"], &line["http.response.body.bytes"]),
        (&sent.len().into(), &sent.len().into())
    );
}

#[tokio::test]
async fn a_reader_that_is_slow_slows_the_writer() {
    let world = World::alone().await;
    let wardgate = world.site.start().await;
    let origin = ByteOrigin::start(Manner::AnswerAtTheEnd(64 << 20)).await;
    let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
    stream.write_all(&hello(BANK)).await.unwrap();
    stream.shutdown().await.unwrap();
    let before = wardgate.memory();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let grown = wardgate.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes are kept for a client that does not read");
    assert!(read_to_end(&mut stream).await == pattern(64 << 20));
}

#[tokio::test]
async fn either_side_may_end_first() {
    let (_world, wardgate) = World::running().await;
    for (case, manner, outcome, detail) in [
        ("the origin ends, the client goes on", Manner::EndFirst, "completed", None),
        ("the origin resets", Manner::Reset, "completed", Some("the tunnel was reset")),
    ] {
        let origin = ByteOrigin::start(manner.clone()).await;
        let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
        stream.write_all(&hello(BANK)).await.unwrap();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "{case}: the client is not told");
        if let Manner::EndFirst = manner {
            stream.write_all(b"and more").await.unwrap();
            stream.shutdown().await.unwrap();
        }
        let line = wardgate.line_about(&format!(":{}/", origin.address.port())).await;
        assert_eq!(line["wardgate.outcome"], outcome, "{case}");
        assert_eq!(line.get("wardgate.detail").and_then(|detail| detail.as_str()), detail, "{case}");
        if let Manner::EndFirst = manner {
            assert!(origin.received().ends_with(b"and more"), "{case}");
        }
    }
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let mut world = World::new().await;
    world.site.set("proxy", "tunnel_idle_timeout_secs", 1);
    let wardgate = world.site.start().await;
    let origin = ByteOrigin::start(Manner::Echo).await;
    let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
    let greeting = hello(BANK);
    stream.write_all(&greeting).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, greeting);
    let line = wardgate.line_about(BANK).await;
    assert_eq!(line["wardgate.outcome"], "timed-out", "{line:#}");
}

#[tokio::test]
async fn what_is_neither_tls_nor_http_is_refused() {
    let world = World::new().await;
    world.site.add_user("ulla", "unopened", "correct horse").await;
    let wardgate = world.site.start().await;
    let mut broken = hello(ALLOWED);
    broken[5] = 2; // a ServerHello
    for (protocol, rule, bytes) in [
        ("SSH", "<not-tls>", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("IRC", "<not-tls>", b"NICK somebody\r\nUSER a b c d\r\n".to_vec()),
        ("an old TLS greeting", "<not-tls>", vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10]),
        ("nonsense", "<not-tls>", vec![0, 1, 2, 3, 4, 5, 6, 7]),
        ("TLS that does not begin with a greeting", "<malformed>", broken),
    ] {
        for (way, host, client) in [
            ("opened", ALLOWED, wardgate.client()),
            ("never opened", BANK, wardgate.client()),
            ("a group without the certificate", ALLOWED, wardgate.client().user("ulla", "correct horse")),
        ] {
            let origin = ByteOrigin::start(Manner::Echo).await;
            let port = origin.address.port();
            let stream = client.connect(&format!("{host}:{port}")).await.unwrap();
            let talk = raw::talk_over(stream, &bytes).await;
            assert!(talk.closed && talk.received.is_empty(), "{protocol}, {way}: {talk:?}");
            assert!(origin.received().is_empty(), "{protocol}, {way}: it reached the origin");
            let line = wardgate.line_about(&format!(":{port}/")).await;
            assert_eq!(
                (&line["wardgate.decision"], &line["wardgate.route"], &line["rule.name"]),
                (&"block".into(), &"refuse".into(), &rule.into()),
                "{protocol}, {way}: {line:#}"
            );
            assert_eq!(line["wardgate.outcome"], "malformed", "{protocol}, {way}");
            assert!(line["wardgate.detail"].is_string(), "{protocol}, {way}");
        }
    }
}

#[tokio::test]
async fn a_client_that_waits_for_an_origin_to_greet_it_hears_nothing() {
    let (_world, wardgate) = World::running().await;
    let origin = ByteOrigin::start(Manner::Greet(b"220 mail.example.test ESMTP\r\n")).await;
    let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
    let mut buffer = [0; 64];
    let heard = timeout(Duration::from_secs(3), stream.read(&mut buffer)).await;
    assert!(heard.is_err(), "the origin's greeting came through: {heard:?}");
}

/// Gives SSH to one host, which other clients reach by TLS as ever, and any bytes to the bank's.
fn allow_other_protocols(world: &World) {
    let rule = "[[rule]]\nname = \"ssh\"\nhosts = [\"allowed.example.test\"]\ncarries = \"other\"\naction = \"allow\"\n";
    world.site.append("rules.toml", rule);
    let reason = "reason = \"Nobody opens a bank's connections.\"";
    world.site.amend("never-intercept.toml", reason, &format!("{reason}\ncarries = \"anything\""));
}

#[tokio::test]
async fn what_policy_lets_pass_unread_passes() {
    let world = World::new().await;
    allow_other_protocols(&world);
    let wardgate = world.site.start().await;
    for (host, rule) in [(ALLOWED, "ssh"), (BANK, "<never-intercept>")] {
        for (case, manner, first) in [
            ("the client speaks first", Manner::Echo, &b"SSH-2.0-OpenSSH_9.2\r\n"[..]),
            ("the origin speaks first", Manner::Greet(b"220 mail\r\n"), b""),
        ] {
            let origin = ByteOrigin::start(manner.clone()).await;
            let mut stream = tunnel_to(&wardgate, host, &origin).await;
            stream.write_all(first).await.unwrap();
            let expected = if let Manner::Greet(words) = manner { words } else { first };
            let mut heard = vec![0; expected.len()];
            timeout(PATIENCE, stream.read_exact(&mut heard)).await.expect(case).unwrap();
            assert_eq!(heard, expected, "{case}");
            stream.write_all(b"goodbye").await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, b"goodbye", "{case}");
            let line = wardgate.line_about(&format!(":{}/", origin.address.port())).await;
            assert_eq!(
                (&line["wardgate.route"], &line["wardgate.decision"], &line["rule.name"]),
                (&"tunnel".into(), &"allow".into(), &rule.into()),
                "{case}: {line:#}"
            );
        }
    }
}

#[tokio::test]
async fn tls_to_a_host_that_may_be_sent_other_things_is_opened_all_the_same() {
    let world = World::new().await;
    allow_other_protocols(&world);
    let wardgate = world.site.start().await;
    // The harness trusts the school's authority alone: what it accepts was opened.
    assert_eq!(wardgate.client().get(&world.https(ALLOWED, "/")).await.status, 200);
    let authority = format!("{ALLOWED}:{}", world.origin.https.port());
    let tunnel = wardgate.client().connect(&authority).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await; // whoever waits must not get past
    let stream = crate::harness::hello::greet(tunnel, Some(ALLOWED), &[]).await.unwrap();
    assert!(crate::harness::hello::is_minted(&stream));
}

#[tokio::test]
async fn a_failure_to_connect_is_told_before_the_tunnel_is_there() {
    let (_world, wardgate) = World::running().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    match wardgate.client().connect(&format!("{BANK}:{port}")).await {
        Err(Failure::Refused(502, _)) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn quiet_tunnels_cost_little() {
    const TUNNELS: usize = 1000;
    let mut world = World::alone().await;
    for limit in ["max_connections_per_client", "max_exchanges_per_client"] {
        world.site.set("proxy", limit, 2 * TUNNELS as i64);
    }
    let wardgate = world.site.start().await;
    let origin = ByteOrigin::start(Manner::Echo).await;
    let greeting = hello(BANK);
    let mut held = Vec::with_capacity(TUNNELS);
    let mut before = 0;
    for number in 0..TUNNELS + 50 {
        if number == 50 {
            before = wardgate.memory(); // the first warm the place up
        }
        let mut stream = tunnel_to(&wardgate, BANK, &origin).await;
        stream.write_all(&greeting).await.unwrap();
        stream.read_exact(&mut vec![0; greeting.len()]).await.unwrap();
        held.push(stream);
    }
    let each = wardgate.memory().saturating_sub(before) / TUNNELS as u64;
    assert!(each < 12 * 1024, "a quiet tunnel takes {each} bytes");
}
