//! The proxy's own port answers what devices and technicians ask of it.

use crate::harness::{World, raw};

#[tokio::test]
async fn the_pac_file_leads_to_the_proxy_and_never_around_it() {
    let (_world, wardgate) = World::running().await;
    for path in ["/proxy.pac", "/wpad.dat"] {
        let get = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", wardgate.proxy);
        let talk = raw::talk(wardgate.proxy, get.as_bytes()).await;
        let (head, script) = talk.received.split_once("\r\n\r\n").unwrap();
        assert_eq!(talk.status(), Some(200), "{path}");
        assert!(head.to_lowercase().contains("content-type: application/x-ns-proxy-autoconfig"), "{head}");
        assert!(script.contains("function FindProxyForURL(url, host)"), "{script}");
        assert!(script.contains(&format!("PROXY {}", wardgate.proxy)), "{script}");
        assert!(!script.contains("; DIRECT"), "a way around the proxy: {script}");
    }
}

#[tokio::test]
async fn the_certificate_of_the_authority_and_never_its_key() {
    let (_world, wardgate) = World::running().await;
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", wardgate.proxy);
    let talk = raw::talk(wardgate.proxy, get("/ca.crt").as_bytes()).await;
    assert_eq!(talk.status(), Some(200));
    assert!(talk.received.contains(wardgate.ca_pem().trim()) && !talk.received.contains("PRIVATE KEY"));
    for path in ["/ca.key", "/certs/ca.key", "/../certs/ca.key", "/nothing"] {
        let talk = raw::talk(wardgate.proxy, get(path).as_bytes()).await;
        assert!(matches!(talk.status(), Some(400 | 404)), "{path}: {}", talk.received);
    }
}

#[tokio::test]
async fn health_and_metrics() {
    let (world, wardgate) = World::running().await;
    wardgate.client().get(&world.http(crate::harness::ALLOWED, "/")).await;
    for (path, said) in [("/healthz", "ok"), ("/metrics", "wardgate_")] {
        let get = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", wardgate.proxy);
        let talk = raw::talk(wardgate.proxy, get.as_bytes()).await;
        assert!(talk.status() == Some(200) && talk.received.contains(said), "{path}: {}", talk.received);
    }
    let ran = world.site.run(&["health"], "").await;
    assert!(ran.code != Some(0), "port 0 of the file is nobody's: {ran:?}");
    let mut health = world.site.command(&["health"]);
    health.env("WARDGATE_PROXY__LISTEN", wardgate.proxy.to_string());
    crate::harness::tools::run(&mut health, "").await.succeeded();
}

#[tokio::test]
async fn a_request_for_the_proxy_through_the_proxy_does_not_go_round_in_circles() {
    let (_world, wardgate) = World::running().await;
    let reply = wardgate.client().get(&wardgate.own_url("/healthz")).await;
    assert!(reply.status == 200 || reply.status.is_client_error() || reply.status.is_server_error());
    assert!(wardgate.lines().len() <= 2, "it goes round: {}", wardgate.lines().len());
}
