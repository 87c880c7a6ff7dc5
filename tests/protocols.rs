//! The TLS that Wardgate speaks on both sides is today's: old versions and weak ciphers are neither offered nor taken, by
//! origins or by clients, and what is minted looks as a public authority would make it.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::harness::chains::{OpenSsl, SServer};
use crate::harness::{ALLOWED, Wardgate, World, pki, tools};

/// A directory with a root `root.pem` and a server's certificate `leaf.pem` for the allowed host.
async fn openssl() -> OpenSsl {
    let openssl = OpenSsl::new();
    openssl.root("root", "-newkey rsa:2048 -sha256").await;
    openssl.issue("leaf", "rsa:2048", "root", "-sha256", &format!("subjectAltName=DNS:{ALLOWED}\n")).await;
    openssl.issue("short", "rsa:1024", "root", "-sha256", &format!("subjectAltName=DNS:{ALLOWED}\n")).await;
    openssl
}

async fn trusting(openssl: &OpenSsl) -> (World, Wardgate) {
    let mut world = World::new().await;
    let root = openssl.path("root.pem").to_str().unwrap().to_owned();
    world.site.set("upstream", "extra_roots", vec![root]);
    let wardgate = world.site.start().await;
    (world, wardgate)
}

/// Asserts that the origin at this port is refused: with this problem, this sentence and this word of RFC 9209.
async fn refused(wardgate: &Wardgate, case: &str, port: u16, problem: &str, page: &str, error: &str) {
    let path = format!("/{}", case.replace([' ', '.'], "-"));
    let reply = wardgate.client().get(&format!("https://{ALLOWED}:{port}{path}")).await;
    let text = reply.text().replace("&#x27;", "'");
    let line = wardgate.line_about(&path).await;
    assert_eq!(reply.status, 502, "{case}: {line:#}");
    assert_eq!(line["wardgate.tls.problems"], serde_json::json!([problem]), "{case}: {line:#}");
    assert!(text.contains(page), "{case}: the page does not say {page:?}: {text}");
    let status = format!("wardgate; error={error}; details=\"{problem}\"");
    assert_eq!(reply.header("proxy-status"), Some(&*status), "{case}");
    assert_eq!(line["wardgate.outcome"], "upstream-failed", "{case}: {line:#}");
}

#[tokio::test]
async fn origins_with_old_tls_are_refused() {
    let openssl = openssl().await;
    openssl.run("dhparam -dsaparam -out dh1024.pem 1024").await;
    let (_world, wardgate) = trusting(&openssl).await;
    let (old, weak) =
        ("an old kind of secure connection", "no secure connection that meets today's standards");
    for (case, arguments, problem, page) in [
        ("TLS 1.0", "-tls1 -cipher ALL:@SECLEVEL=0", "old-protocol", old),
        ("TLS 1.1", "-tls1_1 -cipher ALL:@SECLEVEL=0", "old-protocol", old),
        ("CBC", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA", "no-common-cipher", weak),
        ("RSA key exchange", "-tls1_2 -cipher AES128-GCM-SHA256", "no-common-cipher", weak),
        (
            "a short Diffie-Hellman group",
            "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0 -dhparam dh1024.pem",
            "no-common-cipher",
            weak,
        ),
        ("no encryption", "-tls1_2 -cipher ECDHE-RSA-NULL-SHA:@SECLEVEL=0", "no-common-cipher", weak),
        ("no authentication", "-tls1_2 -cipher ADH-AES128-GCM-SHA256:@SECLEVEL=0", "no-common-cipher", weak),
        ("a group that nobody offers", "-tls1_3 -groups X448", "no-common-cipher", weak),
    ] {
        let server = SServer::start(&openssl, &format!("-cert leaf.pem -key leaf.key {arguments}")).await;
        refused(&wardgate, case, server.port, problem, page, "tls_protocol_error").await;
    }
    let server = SServer::start(&openssl, "-cert short.pem -key short.key -cipher ALL:@SECLEVEL=0").await;
    let page = "too short to be safe";
    refused(&wardgate, "a short key", server.port, "weak-key", page, "tls_certificate_error").await;
}

#[tokio::test]
async fn origins_with_todays_tls_are_opened() {
    let openssl = openssl().await;
    let (_world, wardgate) = trusting(&openssl).await;
    for (case, arguments) in [
        ("TLS 1.2", "-tls1_2"),
        ("TLS 1.3", "-tls1_3"),
        ("ChaCha20", "-tls1_2 -cipher ECDHE-RSA-CHACHA20-POLY1305"),
        ("P-384 alone", "-tls1_3 -groups P-384"),
        ("old versions beside", "-cipher ALL:@SECLEVEL=0"),
    ] {
        let server = SServer::start(&openssl, &format!("-cert leaf.pem -key leaf.key {arguments}")).await;
        let reply = wardgate.client().get(&format!("https://{ALLOWED}:{}/", server.port)).await;
        assert_eq!(reply.status, 200, "{case}: {}", reply.text());
        assert!(reply.text().contains("s_server"), "{case}");
    }
}

/// An origin that answers the first bytes with given ones.
async fn answering(bytes: Vec<u8>) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(&bytes).await;
                let mut rest = Vec::new();
                let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
            });
        }
    });
    (port, tasks)
}

/// A ServerHello of TLS 1.2 or older that picks this cipher suite.
fn server_hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]); // random
    body.push(0); // no session
    body.extend(suite);
    body.push(0); // no compression
    let mut handshake = vec![2, 0, 0, body.len() as u8];
    handshake.extend(body);
    let mut record = vec![22, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

/// What an origin picks although it was not offered, and what is no TLS at all.
#[tokio::test]
async fn answers_that_were_not_offered_are_refused() {
    let (_world, wardgate) = World::running().await;
    let (old, weak, none) = (
        "an old kind of secure connection",
        "no secure connection that meets today's standards",
        "does not offer a secure connection at this address",
    );
    for (case, answer, problem, page) in [
        ("3DES", server_hello([3, 3], [0x00, 0x0a]), "no-common-cipher", weak),
        ("RC4", server_hello([3, 3], [0x00, 0x05]), "no-common-cipher", weak),
        ("an export cipher", server_hello([3, 3], [0x00, 0x03]), "no-common-cipher", weak),
        ("an old ServerHello", server_hello([3, 1], [0xc0, 0x2f]), "old-protocol", old),
        ("SSL 3", server_hello([3, 0], [0xc0, 0x2f]), "old-protocol", old),
        ("plain HTTP", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), "not-tls", none),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "not-tls", none),
    ] {
        let (port, _tasks) = answering(answer).await;
        refused(&wardgate, case, port, problem, page, "tls_protocol_error").await;
    }
}

/// The extensions of a ClientHello (RFC 8446, section 4.1.2) in their order, and its cipher suites.
struct Hello {
    suites: Vec<u16>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// Parses the first record.
    fn parse(record: &[u8]) -> Self {
        let mut rest = &record[5 + 4 + 2 + 32..]; // record header, handshake header, version, random
        let session = take(&mut rest, 1);
        assert!(session.len() <= 32);
        let suites = pairs(&take(&mut rest, 2));
        assert_eq!(take(&mut rest, 1), [0], "compression is offered");
        let mut all = &take(&mut rest, 2)[..];
        let mut extensions = Vec::new();
        while !all.is_empty() {
            let kind = u16::from_be_bytes([all[0], all[1]]);
            all = &all[2..];
            extensions.push((kind, take(&mut all, 2)));
        }
        Self { suites, extensions }
    }

    fn extension(&self, kind: u16) -> &[u8] {
        &self
            .extensions
            .iter()
            .find(|(known, _)| *known == kind)
            .unwrap_or_else(|| panic!("no extension {kind}"))
            .1
    }
}

/// A vector with a length of so many bytes.
fn take(bytes: &mut &[u8], width: usize) -> Vec<u8> {
    let length = bytes[..width].iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    let content = bytes[width..width + length].to_vec();
    *bytes = &bytes[width + length..];
    content
}

fn pairs(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[tokio::test]
async fn what_is_offered_to_origins_is_todays() {
    const X25519MLKEM768: u16 = 0x11ec;
    let (_world, wardgate) = World::running().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        bytes.resize(5 + length, 0);
        stream.read_exact(&mut bytes[5..]).await.unwrap();
        bytes
    });
    assert_eq!(wardgate.client().get(&format!("https://{ALLOWED}:{port}/")).await.status, 502);
    let hello = Hello::parse(&received.await.unwrap());

    // TLS 1.3 and 1.2, in this order (RFC 8446, 4.2.1).
    assert_eq!(pairs(&hello.extension(43)[1..]), [0x0304, 0x0303]);
    // The post-quantum hybrid is the first group, and the first key share (draft-ietf-tls-ecdhe-mlkem).
    assert_eq!(pairs(&hello.extension(10)[2..])[0], X25519MLKEM768);
    assert_eq!(pairs(&hello.extension(51)[2..4])[0], X25519MLKEM768);
    // Groups: the hybrid, X25519, P-256, P-384 and nothing else.
    let mut groups = pairs(&hello.extension(10)[2..]);
    groups.sort_unstable();
    assert_eq!(groups, [0x0017, 0x0018, 0x001d, X25519MLKEM768]);
    // AEAD suites with forward secrecy only; 0x00ff says that renegotiation is secure (RFC 5746).
    let todays = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x00ff];
    assert!(hello.suites.iter().all(|suite| todays.contains(suite)), "{:04x?}", hello.suites);
    // ALPN (RFC 7301), server name, a stapled answer about revocation (RFC 6066).
    assert_eq!(
        hello.extension(16),
        [0, 12, 2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1']
    );
    assert!(String::from_utf8_lossy(hello.extension(0)).contains(ALLOWED));
    assert_eq!(hello.extension(5)[0], 1);
    // No signature with SHA-1 (0x0201, 0x0203) or MD5 (0x01xx).
    let signatures = pairs(&hello.extension(13)[2..]);
    assert!(signatures.iter().all(|scheme| *scheme >> 8 > 2), "{signatures:04x?}");
}

/// Runs `openssl s_client` through the proxy to the allowed host, and says whether the handshake came to an end and
/// what was printed.
async fn s_client(world: &World, wardgate: &Wardgate, arguments: &str) -> (bool, String) {
    let mut command = Command::new(tools::find("openssl"));
    let port = world.origin.https.port();
    command
        .args(["s_client", "-brief", "-verify_return_error", "-CAfile", &wardgate.printed["ca"]])
        .args(["-proxy", &wardgate.proxy.to_string(), "-connect", &format!("{ALLOWED}:{port}")])
        .args(["-servername", ALLOWED, "-verify_hostname", ALLOWED])
        .args(arguments.split_whitespace());
    let ran = tools::run(&mut command, "").await;
    let said = ran.stdout + &ran.stderr;
    (said.contains("CONNECTION ESTABLISHED"), said)
}

#[tokio::test]
async fn clients_get_todays_tls_or_none() {
    let (world, wardgate) = World::running().await;
    for (arguments, alert) in [
        ("-tls1 -cipher ALL:@SECLEVEL=0", ""),
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", ""),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA", "handshake failure"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES256-SHA384", "handshake failure"),
        ("-tls1_2 -cipher AES128-GCM-SHA256", "handshake failure"),
        ("-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256", "handshake failure"),
        ("-tls1_2 -cipher ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0", "handshake failure"),
        ("-tls1_2 -cipher ADH-AES128-GCM-SHA256:@SECLEVEL=0", "handshake failure"),
        ("-tls1_3 -groups X448", "handshake failure"),
    ] {
        let (established, said) = s_client(&world, &wardgate, arguments).await;
        assert!(!established, "{arguments}: {said}");
        assert!(said.contains(alert), "{arguments}: {said}");
    }
    for (arguments, version, suite) in [
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("", "TLSv1.3", "TLS_AES_"),
    ] {
        let (established, said) = s_client(&world, &wardgate, arguments).await;
        assert!(established, "{arguments}: {said}");
        assert!(said.contains(&format!("Protocol version: {version}")), "{arguments}: {said}");
        assert!(said.contains(&format!("Ciphersuite: {suite}")), "{arguments}: {said}");
        assert!(
            said.contains("Verification: OK") || said.contains("Verified peername"),
            "{arguments}: {said}"
        );
    }
}

/// What Wardgate shows to a client that goes to this host.
async fn shown(wardgate: &Wardgate, host: &str, port: u16) -> Vec<CertificateDer<'static>> {
    let tunnel = wardgate.client().connect(&format!("{host}:{port}")).await.unwrap();
    let connector = TlsConnector::from(pki::client(&wardgate.ca_pem(), &["http/1.1"]));
    let bare = host.trim_matches(['[', ']']).to_owned();
    let stream = connector.connect(ServerName::try_from(bare).unwrap(), tunnel).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().iter().map(|one| one.clone().into_owned()).collect()
}

/// As a public authority would make them: RFC 5280 and the CA/Browser Forum's Baseline Requirements (7.1).
#[tokio::test]
async fn minted_certificates_look_as_a_public_authority_would_make_them() {
    let (world, wardgate) = World::running().await;
    let port = world.origin.https.port();
    let mut serials = Vec::new();
    for (host, expected) in [
        (ALLOWED, GeneralName::DNSName(ALLOWED)),
        ("xn--bcher-kva.example.test", GeneralName::DNSName("xn--bcher-kva.example.test")),
        ("under_score.example.test", GeneralName::DNSName("under_score.example.test")),
        ("127.0.0.1", GeneralName::IPAddress(&[127, 0, 0, 1])),
        ("[::1]", GeneralName::IPAddress(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
    ] {
        let chain = shown(&wardgate, host, port).await;
        assert_eq!(chain.len(), 2, "{host}: the leaf and the authority");
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        let (_, authority) = X509Certificate::from_der(&chain[1]).unwrap();

        assert_eq!(leaf.version().0, 2, "{host}: X.509 version 3");
        assert_eq!(leaf.subject().iter().count(), 0, "{host}: the subject is empty");
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical, "{host}: RFC 5280, 4.2.1.6: critical beside an empty subject");
        assert_eq!(names.value.general_names, [expected], "{host}");

        let validity = leaf.validity();
        let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
        assert!(days <= 398, "{host}: {days} days");
        let age = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 - validity.not_before.timestamp();
        assert!((3_500..4_500).contains(&age), "{host}: back-dated by {age} s");
        assert!(validity.not_before >= authority.validity().not_before, "{host}");
        assert!(validity.not_after <= authority.validity().not_after, "{host}");

        let serial = leaf.raw_serial();
        assert_eq!(serial.len(), 16, "{host}: 128 bits");
        assert!(serial[0] & 0x80 == 0 && serial[0] != 0, "{host}: positive, in its shortest form");
        serials.push(serial.to_vec());

        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.flags == 1, "{host}: digitalSignature alone, critical");
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth && !extended.any && extended.other.is_empty());
        assert!(!leaf.is_ca(), "{host}");
        let key_id = |certificate: &X509Certificate<'_>| {
            certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            })
        };
        let issuer_id = leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
        assert!(key_id(&leaf).is_some_and(|id| !id.is_empty()), "{host}: a subject key identifier");
        assert_eq!(issuer_id, key_id(&authority), "{host}: the authority's key identifier");

        let constraints = authority.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca, "{host}");
        assert_eq!(constraints.value.path_len_constraint, Some(0), "{host}");
        let usage = authority.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && usage.flags.count_ones() == 2, "{host}");
    }
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 5, "serials are unlike each other");
}
