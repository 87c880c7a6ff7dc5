//! What one client may take is bounded: connections, and time to make itself understood.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{ALLOWED, World, eventually, raw};

#[tokio::test]
async fn connections_of_one_client_are_limited() {
    let mut world = World::new().await;
    world.site.set("proxy", "max_connections_per_client", 4);
    let wardgate = world.site.start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(wardgate.proxy).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(raw::status_of(&raw::read_head(&mut stream).await), Some(200));
        held.push(stream);
    }
    let talk = raw::talk(wardgate.proxy, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(talk.closed, "a fifth connection is served");
    assert!(matches!(talk.status(), None | Some(429 | 503)), "{}", talk.received);

    // Another client is not held to it, and what is closed is free again.
    let other = wardgate.client().at("127.0.0.2".parse().unwrap());
    assert_eq!(other.get(&world.http(ALLOWED, "/")).await.status, 200);
    held.clear();
    let free = || std::net::TcpStream::connect(wardgate.proxy).is_ok();
    eventually("there is room again", free).await;
    for _ in 0..100 {
        let url = world.http(ALLOWED, "/");
        if wardgate
            .client()
            .try_send(crate::harness::request(hyper::Method::GET, &url, ""))
            .await
            .is_ok_and(|r| r.status == 200)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no room again");
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_is_given_up() {
    let mut world = World::new().await;
    world.site.set("proxy", "head_timeout_secs", 1);
    let wardgate = world.site.start().await;
    let mut stream = TcpStream::connect(wardgate.proxy).await.unwrap();
    // A byte now and then must not buy time.
    let (mut reader, mut writer) = stream.split();
    let drip = async {
        for byte in b"GET http://allowed.example.test/ HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaa" {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut answer = String::new();
    let read = reader.read_to_string(&mut answer);
    tokio::select! {
        () = drip => panic!("it waits for as long as something comes"),
        // What we still wrote after the answer may reset the connection: the answer counts.
        _ = timeout(Duration::from_secs(5), read) => {}
    }
    assert!(matches!(raw::status_of(&answer), Some(408)), "{answer:?}");
    let line = wardgate.wait_for_lines(1).await.remove(0);
    assert_eq!(line["http.response.status_code"], 408);
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let mut world = World::new().await;
    world.site.set("proxy", "idle_timeout_secs", 1);
    let wardgate = world.site.start().await;
    let talk = raw::talk(wardgate.proxy, b"").await;
    assert!(talk.closed && talk.received.is_empty(), "{talk:?}");
    assert!(wardgate.lines().is_empty(), "nothing was asked, so there is nothing to record");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let mut world = World::new().await;
    world.site.set("proxy", "stall_timeout_secs", 1);
    let wardgate = world.site.start().await;
    let authority = format!("{ALLOWED}:{}", world.origin.http.port());
    let head = format!(
        "POST http://{authority}/upload?stall HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 100\r\n\r\nsome"
    );
    let talk = raw::talk(wardgate.proxy, head.as_bytes()).await;
    assert!(talk.closed, "it waits for ever");
    let line = wardgate.line_about("?stall").await;
    assert!(matches!(line["wardgate.outcome"].as_str(), Some("timed-out")), "{line:#}");
}

#[tokio::test]
async fn the_most_memory_that_the_settings_allow_is_told() {
    let mut world = World::new().await;
    for (section, key) in [
        ("proxy", "max_connections"),
        ("proxy", "max_connections_per_client"),
        ("proxy", "max_exchanges_per_client"),
        ("proxy", "minted_hosts"),
        ("proxy", "scan_memory_mib"),
        ("log", "capacity"),
    ] {
        world.site.set(section, key, 100);
    }
    world.site.set("proxy", "scan_memory_per_client_mib", 10);
    let told = world.site.run(&["limits"], "").await.succeeded().stdout;
    // A hundred of each: 320 KiB for a connection, 1376 KiB for an exchange, 1 MiB, and 4 KiB for a certificate.
    for part in ["all together: 267 MiB", "of it for one client: 176 MiB", "[proxy] scan_memory_mib"] {
        assert!(told.contains(part), "{part:?} is missing from {told}");
    }
}
