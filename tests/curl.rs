//! curl, as a technician uses it: plain, through CONNECT in both protocols, blocked, and with a complete line each.

use tokio::process::Command;

use crate::harness::tools::{self, Ran};
use crate::harness::{ALLOWED, BLOCKED, GAMBLING_WORDS, Wardgate, World};

const PASSWORD: &str = "correct horse";

/// Runs curl through the proxy as anna; prints the body, then a line with status and protocol.
async fn curl(wardgate: &Wardgate, arguments: &[&str]) -> Ran {
    let mut command = Command::new(tools::find("curl"));
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--write-out",
            "\n%{http_code} %{http_version}",
        ])
        .args(["--proxy", &wardgate.own_url(""), "--proxy-user", &format!("anna:{PASSWORD}")])
        .args(["--cacert", &wardgate.printed["ca"]])
        .args(arguments);
    tools::run(&mut command, "").await
}

async fn world() -> (World, Wardgate) {
    let world = World::new().await;
    world.site.add_user("anna", "learners", PASSWORD).await;
    let wardgate = world.site.start().await;
    (world, wardgate)
}

#[tokio::test]
async fn allowed_pages_in_every_protocol() {
    let (world, wardgate) = world().await;
    for (way, arguments, url, ends) in [
        ("plain", &[][..], world.http(ALLOWED, "/curl-plain"), "200 1.1"),
        ("HTTP/1.1 through CONNECT", &["--http1.1"], world.https(ALLOWED, "/curl-tls1"), "200 1.1"),
        ("HTTP/2 through CONNECT", &["--http2"], world.https(ALLOWED, "/curl-tls2"), "200 2"),
        ("a tunnel for plain HTTP", &["--proxytunnel"], world.http(ALLOWED, "/curl-tunnel"), "200 1.1"),
    ] {
        let ran = curl(&wardgate, &[arguments, &[&url]].concat()).await.succeeded();
        assert!(
            ran.stdout.contains("A plain page about rivers") && ran.stdout.ends_with(ends),
            "{way}: {ran:?}"
        );
        let line = wardgate.line_about(&url[url.rfind('/').unwrap()..]).await;
        assert_eq!(
            (&line["user.name"], &line["wardgate.identity_source"]),
            (&"anna".into(), &"basic".into()),
            "{way}"
        );
        assert_eq!(
            (&line["wardgate.decision"], &line["rule.name"]),
            (&"allow".into(), &"<default>".into()),
            "{way}"
        );
        assert_eq!(line["http.response.status_code"], 200, "{way}");
    }
}

#[tokio::test]
async fn blocked_by_list_and_by_words() {
    let (world, wardgate) = world().await;
    let words = format!("/compressed?padding=5000&late={}", GAMBLING_WORDS.replace(' ', "+"));
    for (case, url, rule) in [
        ("a listed host", world.http(BLOCKED, "/list-plain"), "no-gambling"),
        ("a listed host over TLS", world.https(BLOCKED, "/list-tls"), "no-gambling"),
        ("words in a page", world.http(ALLOWED, &format!("{words}&words-plain")), "no-gambling"),
        ("words in a page over TLS", world.https(ALLOWED, &format!("{words}&words-tls")), "no-gambling"),
    ] {
        let ran = curl(&wardgate, &["--compressed", &url]).await.succeeded();
        assert!(ran.stdout.contains("Gambling") && ran.stdout.contains("\n403 "), "{case}: {ran:?}");
        let part = url.rsplit(['/', '&']).next().unwrap();
        let line = wardgate.line_about(part).await;
        assert_eq!(
            (&line["wardgate.decision"], &line["rule.name"]),
            (&"block".into(), &rule.into()),
            "{case}"
        );
        assert!(
            ran.stdout.contains(line["event.id"].as_str().unwrap()),
            "{case}: the page names its decision"
        );
    }
}

#[tokio::test]
async fn uploads_and_downloads() {
    let (world, wardgate) = world().await;
    let file = world.site.path("upload.bin");
    std::fs::write(&file, vec![b'x'; 5_000_000]).unwrap();
    let from = format!("@{}", file.display());
    for url in [world.http(ALLOWED, "/upload"), world.https(ALLOWED, "/upload")] {
        // curl asks with Expect: 100-continue for a body of this size.
        let arguments = ["--data-binary", &from, "--header", "Content-Type: application/octet-stream", &url];
        let ran = curl(&wardgate, &arguments).await.succeeded();
        assert!(ran.stdout.starts_with("5000000\n200 "), "{ran:?}");
    }
    let to = world.site.path("download.bin");
    let arguments = ["--output", to.to_str().unwrap(), &world.https(ALLOWED, "/download?bytes=5000000")];
    curl(&wardgate, &arguments).await.succeeded();
    assert_eq!(std::fs::metadata(&to).unwrap().len(), 5_000_000);
}

#[tokio::test]
async fn an_origin_that_does_not_verify_is_not_covered_up() {
    let (world, wardgate) = world().await;
    let ran = curl(&wardgate, &[&world.https("expired.example.test", "/")]).await.succeeded();
    assert!(ran.stdout.contains("\n502 ") && ran.stdout.to_lowercase().contains("expired"), "{ran:?}");
    // Whoever does not trust the school's authority sees that somebody is in between.
    let mut command = Command::new(tools::find("curl"));
    command.args(["--silent", "--proxy", &wardgate.own_url(""), "--cacert"]);
    command.arg(world.site.path("root.pem")).arg(world.https(ALLOWED, "/"));
    assert_eq!(
        tools::run(&mut command, "").await.code,
        Some(60),
        "curl's code for a certificate it does not trust"
    );
}
