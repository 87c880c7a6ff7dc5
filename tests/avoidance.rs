//! Ways around the filter, under the policy that ships: look-ups over HTTPS, odd ports, bare addresses, and other
//! protocols. What is behind them is never reached.

use crate::harness::raw::{self, RawOrigin};
use crate::harness::{ALLOWED, World};

/// A query for www.example.com (RFC 8484, section 4.1.1).
const QUERY: &str = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";

/// A world under the shipped policy, in which these ports count as usual.
async fn shipped(usual: &[u16]) -> (World, crate::harness::Wardgate) {
    let mut world = World::new().await;
    let policy = world.site.path("shipped");
    wardgate_policy::write_embedded(&policy).unwrap();
    let rules = std::fs::read_to_string(policy.join("rules.toml")).unwrap();
    let ports =
        usual.iter().fold("ports_other_than = [".to_owned(), |list, port| list + &format!("{port}, "));
    std::fs::write(policy.join("rules.toml"), rules.replace("ports_other_than = [", &ports)).unwrap();
    world.site.set("policy", "dir", policy.to_str().unwrap());
    let wardgate = world.site.start().await;
    (world, wardgate)
}

#[tokio::test]
async fn look_ups_over_https_are_found_by_their_form() {
    let origin = RawOrigin::polite().await;
    let (world, wardgate) = shipped(&[origin.address.port()]).await;
    let host = format!("{ALLOWED}:{}", origin.address.port());
    for (case, head, body) in [
        ("a GET", format!("GET http://{host}/dns-query?dns={QUERY} HTTP/1.1\r\n"), ""),
        ("a GET at another path", format!("GET http://{host}/x?a=1&dns={QUERY} HTTP/1.1\r\n"), ""),
        (
            "a POST",
            format!(
                "POST http://{host}/q HTTP/1.1\r\nContent-Type: application/dns-message\r\nContent-Length: 4\r\n"
            ),
            "\0\0\u{1}\0",
        ),
    ] {
        let request = format!("{head}Host: {host}\r\nConnection: close\r\n\r\n{body}");
        let talk = raw::talk(wardgate.proxy, request.as_bytes()).await;
        assert_eq!(talk.status(), Some(403), "{case}: {}", talk.received);
    }
    let lines = wardgate.wait_for_lines(3).await;
    for line in &lines {
        assert_eq!(
            (&line["rule.name"], &line["wardgate.category"]),
            (&"security".into(), &"dns-over-https".into()),
            "{line:#}"
        );
        assert_eq!(line["wardgate.findings"][0]["stage"], "avoidance", "{line:#}");
        assert!(line.get("wardgate.concerns").is_none(), "browsers ask by themselves: {line:#}");
    }
    assert!(origin.received().is_empty(), "{}", origin.received());
    drop(world);
}

#[tokio::test]
async fn odd_ports_and_bare_addresses_are_policy() {
    let origin = RawOrigin::polite().await;
    let (world, wardgate) = shipped(&[]).await;
    let odd = format!("{ALLOWED}:{}", origin.address.port());
    for (case, host, rule) in
        [("an odd port", odd.as_str(), "odd-ports"), ("a bare address", "203.0.113.7", "bare-addresses")]
    {
        let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let talk = raw::talk(wardgate.proxy, request.as_bytes()).await;
        assert_eq!(talk.status(), Some(403), "{case}: {}", talk.received);
        let line = wardgate.line_about(&format!("http://{host}/")).await;
        assert_eq!(
            (&line["rule.name"], &line["wardgate.decision"]),
            (&rule.into(), &"block".into()),
            "{case}: {line:#}"
        );
    }
    assert!(origin.received().is_empty());
    drop(world);
}
