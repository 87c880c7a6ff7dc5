//! The way in for devices off site: TLS to the proxy itself, so that nobody on the way reads names or passwords.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::header::PROXY_AUTHORIZATION;
use hyper::{Request, StatusCode, Uri, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::webdriver::Browser;
use crate::harness::{ALLOWED, BLOCKED, Wardgate, World, pki, raw, tools};

const PASSWORD: &str = "correct horse";
/// `anna:correct horse`, as Basic has it.
const ANNA: &str = "Basic YW5uYTpjb3JyZWN0IGhvcnNl";
/// A host that is never intercepted.
const BANK: &str = "bank.example.test";

/// A world with Wardgate listening for TLS under the name `localhost`, where who is at home need not log in.
async fn world(at_home: &str) -> (World, Wardgate, SocketAddr) {
    let mut world = World::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.site.set("proxy", "tls_listen", free.to_string());
    world.site.set("proxy", "tls_public", format!("localhost:{}", free.port()));
    world
        .site
        .append("identity.toml", &format!("[[range]]\naddresses = [\"{at_home}\"]\nlogin = \"optional\"\n"));
    world.site.add_user("anna", "learners", PASSWORD).await;
    let wardgate = world.site.start().await;
    assert_eq!(wardgate.printed["tls"], format!("https://{free}"));
    (world, wardgate, free)
}

/// Nobody who connects in these tests.
const ELSEWHERE: &str = "192.0.2.0/24";
/// Everybody who does.
const HERE: &str = "127.0.0.0/8";

async fn open(wardgate: &Wardgate, proxy: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let connector = TlsConnector::from(pki::client(&wardgate.ca_pem(), alpn));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// Opens a page of the test origin inside a stream that leads there, trusting the roots in this text.
async fn browse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    roots: &str,
    authority: &str,
    path: &str,
) -> String {
    let host = authority.split(':').next().unwrap().to_owned();
    let connector = TlsConnector::from(pki::client(roots, &["http/1.1"]));
    let mut inside = connector.connect(ServerName::try_from(host).unwrap(), stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    inside.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = inside.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn curl(wardgate: &Wardgate, proxy: SocketAddr, arguments: &[&str]) -> tools::Ran {
    let mut command = tokio::process::Command::new(tools::find("curl"));
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--write-out",
            "\n%{http_code} %{http_connect}",
        ])
        .args(["--proxy", &format!("https://localhost:{}", proxy.port())])
        .args(["--proxy-cacert", &wardgate.printed["ca"], "--cacert", &wardgate.printed["ca"]])
        .args(arguments);
    tools::run(&mut command, "").await
}

#[tokio::test]
async fn curl_from_home() {
    let (world, wardgate, proxy) = world(ELSEWHERE).await;
    let login = format!("anna:{PASSWORD}");
    for (case, url, ends) in [
        ("plain HTTP", world.http(ALLOWED, "/?home-plain"), "\n200 000"),
        ("HTTPS", world.https(ALLOWED, "/?home-https"), "\n200 200"),
        ("a blocked page", world.https(BLOCKED, "/?home-blocked"), "\n403 200"),
    ] {
        let ran = curl(&wardgate, proxy, &["--proxy-user", &login, &url]).await.succeeded();
        assert!(ran.stdout.ends_with(ends), "{case}: {ran:?}");
        let line = wardgate.line_about(&url[url.rfind('?').unwrap()..]).await;
        assert_eq!(
            (&line["user.name"], &line["wardgate.identity_source"]),
            (&"anna".into(), &"basic".into()),
            "{case}"
        );
    }
}

#[tokio::test]
async fn who_is_off_site_must_log_in() {
    let (world, wardgate, proxy) = world(ELSEWHERE).await;
    let plain = world.http(ALLOWED, "/?nobody");
    let ran = curl(&wardgate, proxy, &[&plain]).await.succeeded();
    assert!(ran.stdout.ends_with("\n407 000"), "{ran:?}");
    let ran = curl(&wardgate, proxy, &[&world.https(ALLOWED, "/?nobody-https")]).await;
    assert!(ran.stdout.ends_with("\n000 407"), "{ran:?}");
    let line = wardgate.line_about("?nobody").await;
    assert_eq!((&line["wardgate.outcome"], &line["rule.name"]), (&"unidentified".into(), &"<login>".into()));
    assert!(world.origin.seen("/?nobody").is_empty());
    // The same client on the plain port is on site.
    assert_eq!(wardgate.client().get(&world.http(ALLOWED, "/?on-site")).await.status, 200);
}

#[tokio::test]
async fn who_is_at_home_in_a_range_need_not() {
    let (world, wardgate, proxy) = world(HERE).await;
    let ran = curl(&wardgate, proxy, &[&world.https(ALLOWED, "/?range")]).await.succeeded();
    assert!(ran.stdout.ends_with("\n200 200"), "{ran:?}");
}

#[tokio::test]
async fn many_tunnels_in_one_connection_of_http2() {
    let (world, wardgate, proxy) = world(ELSEWHERE).await;
    let stream = open(&wardgate, proxy, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let port = world.origin.https.port();
    let (schools, origins): (Arc<str>, Arc<str>) =
        (wardgate.ca_pem().into(), world.pki.root_pem.as_str().into());
    let mut tunnels = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut sender = sender.clone();
        let (host, roots) =
            if number % 2 == 0 { (ALLOWED, schools.clone()) } else { (BANK, origins.clone()) };
        tunnels.spawn(async move {
            let authority = format!("{host}:{port}");
            let request = Request::connect(&authority).header(PROXY_AUTHORIZATION, ANNA);
            let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
            let upgraded = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
            let page =
                browse(upgraded, &roots, &authority, &format!("/download?bytes=300000&h2-{number}.")).await;
            assert_eq!(raw::status_of(&page), Some(200), "{page}");
            assert!(page.len() > 300_000, "{} bytes", page.len());
        });
    }
    tunnels.join_all().await;
    let line = wardgate.line_about("&h2-0.").await;
    assert_eq!(
        (&line["user.name"], &line["http.version"]),
        (&"anna".into(), &"1.1".into()),
        "inside the tunnel"
    );
    let connects = wardgate.lines_about(&format!("https://{BANK}"), 10).await;
    assert!(connects.iter().all(|line| line["http.version"] == "2" && line["wardgate.route"] == "tunnel"));

    // Requests in the clear, refusals and the proxy's own pages come the same way.
    for (url, status) in [
        (world.http(ALLOWED, "/?h2-plain"), 200),
        (world.http(BLOCKED, "/?h2-blocked"), 403),
        (format!("https://localhost:{}/proxy.pac", proxy.port()), 200),
    ] {
        let request = Request::get(url.parse::<Uri>().unwrap()).header(PROXY_AUTHORIZATION, ANNA);
        let answer = sender.clone().send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{url}");
        answer.collect().await.unwrap();
    }
}

#[tokio::test]
async fn tunnels_in_one_connection_count_as_connections() {
    let mut world = World::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.site.set("proxy", "tls_listen", free.to_string());
    world.site.set("proxy", "tls_public", format!("localhost:{}", free.port()));
    world.site.set("proxy", "max_connections_per_client", 4);
    world
        .site
        .append("identity.toml", &format!("[[range]]\naddresses = [\"{HERE}\"]\nlogin = \"optional\"\n"));
    let wardgate = world.site.start().await;
    let stream = open(&wardgate, free, &["h2"]).await;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let mut held = Vec::new();
    for expected in [200, 200, 200, 429] {
        let request = Request::connect(format!("{BANK}:{}", world.origin.https.port()));
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected);
        held.push(answer);
    }
    let line = wardgate.line_about(BANK).await;
    assert_eq!(
        (&line["wardgate.outcome"], &line["rule.name"]),
        (&"limited".into(), &"<limit>".into()),
        "{line:#}"
    );
}

#[tokio::test]
async fn the_pac_file_sends_nobody_back_to_the_plain_port() {
    let (_world, wardgate, proxy) = world(ELSEWHERE).await;
    let https = format!("return \"HTTPS localhost:{}\";", proxy.port());
    let get = b"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let over_tls = raw::talk_over(open(&wardgate, proxy, &["http/1.1"]).await, get).await;
    let plain = raw::talk(wardgate.proxy, get).await;
    for (case, talk) in [("over TLS", over_tls), ("over the plain port", plain)] {
        assert!(talk.received.contains(&https), "{case}: {}", talk.received);
        assert!(
            !talk.received.contains("PROXY") && !talk.received.contains(';'.to_string().repeat(2).as_str()),
            "{case}"
        );
    }
}

#[tokio::test]
async fn the_pac_file_on_site_names_the_plain_port_where_that_is_public() {
    let mut world = World::new().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.site.set("proxy", "tls_listen", free.to_string());
    world.site.set("proxy", "public", "localhost:3128");
    let wardgate = world.site.start().await;
    let get = b"GET /proxy.pac HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let plain = raw::talk(wardgate.proxy, get).await;
    assert!(plain.received.contains("return \"PROXY localhost:3128\";"), "{}", plain.received);
    let over_tls = raw::talk_over(open(&wardgate, free, &["http/1.1"]).await, get).await;
    let expected = format!("return \"HTTPS localhost:{}\";", free.port());
    assert!(over_tls.received.contains(&expected), "{}", over_tls.received);
}

#[tokio::test]
async fn a_certificate_of_its_own_is_read_again_when_it_was_renewed() {
    let mut world = World::new().await;
    let (cert, key) = (world.site.path("own.crt"), world.site.path("own.key"));
    let write = || {
        let pair = rcgen::KeyPair::generate().unwrap();
        let signed =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
        std::fs::write(&cert, signed.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        signed.pem()
    };
    let first = write();
    world.site.set("proxy", "tls_listen", "127.0.0.1:0");
    world.site.set("proxy", "tls_certificate", cert.to_str().unwrap());
    world.site.set("proxy", "tls_key", key.to_str().unwrap());
    let wardgate = world.site.start().await;
    let proxy: SocketAddr = wardgate.printed["tls"].trim_start_matches("https://").parse().unwrap();
    let accepts = async |pem: &str| {
        let stream = TcpStream::connect(proxy).await.unwrap();
        let connector = TlsConnector::from(pki::client(pem, &["http/1.1"]));
        connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.is_ok()
    };
    assert!(accepts(&first).await);
    let second = write();
    wardgate.signal("HUP");
    for attempt in 0.. {
        if accepts(&second).await {
            break;
        }
        assert!(attempt < 200, "the renewed certificate is not taken up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!accepts(&first).await);
    std::fs::write(&cert, "nothing").unwrap();
    wardgate.signal("HUP");
    crate::harness::eventually("the broken one is told of", || wardgate.stderr().contains("tls_certificate"))
        .await;
    assert!(accepts(&second).await, "the last good one is not in use");
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_given_up() {
    let mut world = World::new().await;
    world.site.set("proxy", "tls_listen", "127.0.0.1:0");
    world.site.set("proxy", "tls_public", "localhost:3129");
    world.site.set("proxy", "head_timeout_secs", 1);
    let wardgate = world.site.start().await;
    let proxy: SocketAddr = wardgate.printed["tls"].trim_start_matches("https://").parse().unwrap();
    for (case, bytes) in [
        ("nothing at all", &b""[..]),
        ("a request in the clear", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("half a greeting", &[22, 3, 1, 2, 0, 1, 0]),
    ] {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{case}: it waits for ever");
        assert!(!answer.starts_with(b"HTTP"), "{case}: it was answered in the clear");
    }
    assert!(wardgate.lines().is_empty(), "nothing was asked");
}

#[tokio::test]
async fn what_does_not_fit_together_is_told_at_the_start() {
    for (case, settings, said) in [
        ("no name", &[][..], "set [proxy] tls_public"),
        (
            "half a certificate",
            &[("tls_certificate", "a.pem")][..],
            "tls_certificate and tls_key belong together",
        ),
        (
            "no such file",
            &[("tls_certificate", "/nowhere/a.pem"), ("tls_key", "/nowhere/b.pem")][..],
            "/nowhere/a.pem",
        ),
    ] {
        let mut world = World::new().await;
        world.site.set("proxy", "tls_listen", "127.0.0.1:0");
        for (key, value) in settings {
            world.site.set("proxy", key, *value);
        }
        let ran = world.site.run(&["serve"], "").await;
        assert_eq!(ran.code, Some(3), "{case}: {ran:?}");
        assert!(ran.stderr.to_lowercase().contains(said), "{case}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn chromium_from_home() {
    let (world, wardgate, proxy) = world(HERE).await;
    let browser = Browser::start(&wardgate.printed["pac"], wardgate.printed["ca"].as_ref()).await;
    browser.open(&world.https(ALLOWED, "/?chromium-home")).await;
    assert!(browser.text().await.contains("A plain page about rivers"), "{}", browser.text().await);
    browser.open(&world.https(BLOCKED, "/?chromium-blocked")).await;
    assert!(browser.text().await.contains("Gambling"));
    browser.quit().await;
    let connect = wardgate
        .lines()
        .into_iter()
        .find(|line| line["http.request.method"] == "CONNECT" && line["url.domain"] == ALLOWED);
    assert_eq!(connect.unwrap()["http.version"], "2", "Chromium speaks HTTP/2 to {proxy}");
}
