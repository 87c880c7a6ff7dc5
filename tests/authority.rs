//! The school's certificate authority: shown, handed out in every form that devices take, followed by another one without
//! a day of trouble, held to its constraints, and its key safe on the disk.

use std::path::Path;

use base64::Engine as _;
use hyper::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::process::Command;

use crate::harness::chains::{Authority, ChainOrigin};
use crate::harness::{ALLOWED, Client, Failure, Wardgate, World, eventually, raw, request, tools};

async fn served_bundle(wardgate: &Wardgate) -> String {
    let get = format!("GET /ca.crt HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", wardgate.proxy);
    let talk = raw::talk(wardgate.proxy, get.as_bytes()).await;
    assert_eq!(talk.status(), Some(200));
    talk.received.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Has the running program read its certificates again.
async fn reload(wardgate: &Wardgate) {
    let reloaded = |wardgate: &Wardgate| wardgate.stderr().matches("certificates were reloaded").count();
    let before = reloaded(wardgate);
    wardgate.signal("HUP");
    eventually("the certificates are reloaded", || reloaded(wardgate) > before).await;
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

/// Asks for the allowed host as a device that trusts these roots alone.
async fn trusting(wardgate: &Wardgate, world: &World, roots: &str) -> Result<u16, Failure> {
    let client = Client::new(wardgate.proxy, roots);
    let reply = client.try_send(request(Method::GET, &world.https(ALLOWED, "/"), "")).await?;
    Ok(reply.status.as_u16())
}

#[tokio::test]
async fn the_authority_is_shown_and_handed_out() {
    let (world, wardgate) = World::running().await;
    let der = certificates(&wardgate.ca_pem()).remove(0);
    let path = world.site.path("certs/ca.crt");

    let told = world.site.run(&["ca", "show", "--json"], "").await.succeeded().stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let mut openssl = Command::new(tools::find("openssl"));
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&path);
    let printed = tools::run(&mut openssl, "").await.succeeded().stdout;
    let fingerprint = printed.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(told[0]["fingerprint"], format!("sha256:{fingerprint}"), "{told:#}");
    assert_eq!((&told[0]["role"], &told[0]["path_length"]), (&"signing".into(), &0.into()));
    assert_eq!(told.as_array().unwrap().len(), 1);
    let told = world.site.run(&["ca", "show"], "").await.succeeded().stdout;
    assert!(told.contains(&fingerprint) && told.contains("Wardgate filter CA"), "{told}");
    assert!(told.contains("key          not encrypted"), "{told}");

    let pem = world.site.run(&["ca", "export"], "").await.succeeded().stdout;
    assert_eq!(pem, wardgate.ca_pem());
    assert_eq!(served_bundle(&wardgate).await, pem);
    let mut export = world.site.command(&["ca", "export", "--der"]);
    let bytes = export.output().await.unwrap().stdout;
    assert_eq!(bytes, der.to_vec());
    assert_eq!(world.site.run(&["ca", "export", "--only", "next"], "").await.code, Some(1));

    // As Apple's devices read it: a property list with a root in it.
    let profile = world.site.run(&["ca", "mobileconfig"], "").await.succeeded().stdout;
    let mut python = Command::new(tools::find("python3"));
    python.args(["-c", PLIST]);
    let read = tools::run(&mut python, &profile).await.succeeded().stdout;
    let read: serde_json::Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["type"], "Configuration");
    assert_eq!(read["payloads"][0]["type"], "com.apple.security.root");
    let content = read["payloads"][0]["content"].as_str().unwrap();
    assert_eq!(base64::engine::general_purpose::STANDARD.decode(content).unwrap(), der.to_vec());
    assert_eq!(world.site.run(&["ca", "mobileconfig"], "").await.stdout, profile, "the same again");
}

const PLIST: &str = "
import base64, json, plistlib, sys
profile = plistlib.loads(sys.stdin.buffer.read())
payloads = [
    {'type': p['PayloadType'], 'content': base64.b64encode(p['PayloadContent']).decode(), 'id': p['PayloadUUID']}
    for p in profile['PayloadContent']
]
assert profile['PayloadUUID'] not in [p['id'] for p in payloads]
print(json.dumps({'type': profile['PayloadType'], 'payloads': payloads}))
";

#[tokio::test]
async fn one_authority_follows_another_without_a_day_of_trouble() {
    let (world, wardgate) = World::running().await;
    let old = wardgate.ca_pem();
    let mut open = wardgate.client().session(&world.https(ALLOWED, "/").parse().unwrap()).await.unwrap();
    let get = || request(Method::GET, &world.https(ALLOWED, "/"), "");

    // Prepared: devices are offered both, and the old one signs.
    world.site.run(&["ca", "rotate"], "").await.succeeded();
    assert_eq!(world.site.run(&["ca", "rotate"], "").await.code, Some(1), "a second one is out of turn");
    assert_eq!(world.site.run(&["ca", "rotate", "--finish"], "").await.code, Some(1));
    reload(&wardgate).await;
    let next = world.site.run(&["ca", "export", "--only", "next"], "").await.succeeded().stdout;
    let bundle = served_bundle(&wardgate).await;
    assert_eq!(certificates(&bundle), [certificates(&old), certificates(&next)].concat());
    assert_eq!(world.site.run(&["ca", "export"], "").await.stdout, bundle);
    assert_eq!(trusting(&wardgate, &world, &old).await.unwrap(), 200);
    assert!(trusting(&wardgate, &world, &next).await.is_err(), "the next one signs already");
    assert_eq!(mode(&world.site.path("certs/next.key")), 0o600);

    // Active: the new one signs, devices that know both notice nothing, and what was open stays open.
    world.site.run(&["ca", "rotate", "--activate"], "").await.succeeded();
    assert_eq!(trusting(&wardgate, &world, &old).await.unwrap(), 200, "not before the reload");
    reload(&wardgate).await;
    assert_eq!(open.send(get()).await.unwrap().status, 200, "the open connection was dropped");
    assert_eq!(trusting(&wardgate, &world, &next).await.unwrap(), 200);
    assert_eq!(trusting(&wardgate, &world, &bundle).await.unwrap(), 200);
    assert!(trusting(&wardgate, &world, &old).await.is_err(), "the old one signs still");
    let bundle = served_bundle(&wardgate).await;
    assert_eq!(certificates(&bundle), [certificates(&next), certificates(&old)].concat());

    // Not ready after all: back, and forward again.
    world.site.run(&["ca", "rotate", "--undo"], "").await.succeeded();
    reload(&wardgate).await;
    assert_eq!(trusting(&wardgate, &world, &old).await.unwrap(), 200);
    world.site.run(&["ca", "rotate", "--activate"], "").await.succeeded();
    reload(&wardgate).await;

    // Finished: nothing of the old one is left, its key least of all.
    world.site.run(&["ca", "rotate", "--finish"], "").await.succeeded();
    reload(&wardgate).await;
    assert_eq!(served_bundle(&wardgate).await, next);
    let mut left: Vec<_> =
        std::fs::read_dir(world.site.path("certs")).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["ca.crt", "ca.key"]);
    assert_eq!(open.send(get()).await.unwrap().status, 200, "the open connection was dropped");
}

/// The one of tomorrow is ours already, and so is that of yesterday: no origin may show what they signed.
#[tokio::test]
async fn the_next_and_the_former_authority_vouch_for_no_origin() {
    let mut world = World::new().await;
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    world.site.run(&["ca", "export"], "").await.succeeded();
    world.site.run(&["ca", "rotate"], "").await.succeeded();
    let certs = world.site.path("certs");
    let own = ["ca", "next"].map(|name| {
        Authority::load(&read(&certs.join(format!("{name}.crt"))), &read(&certs.join(format!("{name}.key"))))
    });
    let roots = world.site.path("roots.pem");
    std::fs::write(&roots, own.each_ref().map(|one| one.pem.clone()).concat()).unwrap();
    world.site.set("upstream", "extra_roots", vec![roots.to_str().unwrap().to_owned()]);
    let wardgate = world.site.start().await;
    let origin = ChainOrigin::start().await;
    for stage in ["prepared", "active"] {
        for (number, authority) in own.iter().enumerate() {
            origin.show(ALLOWED, authority.leaf(ALLOWED, &[], |_| {}));
            let path = format!("/{stage}-{number}");
            let reply = wardgate.client().get(&origin.url(ALLOWED, &path)).await;
            let line = wardgate.line_about(&path).await;
            assert_eq!(reply.status, 502, "{stage}, {number}: {line:#}");
            assert_eq!(
                line["wardgate.tls.problems"],
                serde_json::json!(["own-authority"]),
                "{stage}: {line:#}"
            );
        }
        if stage == "prepared" {
            world.site.run(&["ca", "rotate", "--activate"], "").await.succeeded();
            reload(&wardgate).await;
        }
    }
}

#[tokio::test]
async fn a_key_can_be_encrypted_on_the_disk() {
    let mut world = World::new().await;
    let passphrase = world.site.path("passphrase");
    std::fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    set_mode(&passphrase, 0o600);
    // A CA that is there already: its key is encrypted where it lies.
    let old = world.site.run(&["ca", "export"], "").await.succeeded().stdout;
    assert_eq!(world.site.run(&["ca", "encrypt-key"], "").await.code, Some(1), "no passphrase is set");
    world.site.set("certs", "key_passphrase_file", passphrase.to_str().unwrap());
    world.site.run(&["ca", "encrypt-key"], "").await.succeeded();
    let key = world.site.path("certs/ca.key");
    let pem = std::fs::read_to_string(&key).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{pem}");
    assert_eq!(mode(&key), 0o600);
    {
        let mut wardgate = world.site.start().await;
        assert_eq!(wardgate.ca_pem(), old);
        assert_eq!(trusting(&wardgate, &world, &old).await.unwrap(), 200);
        wardgate.terminate().await;
    }
    // What OpenSSL writes can be read as well: a school may encrypt a key by itself.
    let mut openssl = Command::new(tools::find("openssl"));
    std::fs::copy(&passphrase, world.site.path("passphrase-out")).unwrap();
    openssl.args(["pkcs8", "-topk8", "-passin", "file:passphrase", "-passout", "file:passphrase-out"]);
    openssl.args(["-in", "certs/ca.key", "-out", "by-openssl.key"]).current_dir(world.site.path(""));
    tools::run(&mut openssl, "").await.succeeded();
    std::fs::copy(world.site.path("by-openssl.key"), &key).unwrap();
    set_mode(&key, 0o600);
    let told = world.site.run(&["ca", "show"], "").await.succeeded().stdout;
    assert!(told.contains("key          encrypted"), "{told}");

    for (case, content, file_mode, said) in [
        ("another passphrase", "wrong\n", 0o600, "cannot be decrypted with the passphrase in"),
        ("no passphrase", "\n", 0o600, "is empty or too long"),
        ("one that others read", "correct horse battery staple\n", 0o644, "chmod 600"),
    ] {
        std::fs::write(&passphrase, content).unwrap();
        set_mode(&passphrase, file_mode);
        let ran = world.site.run(&["serve"], "").await;
        assert_eq!(ran.code, Some(3), "{case}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{case}: {}", ran.stderr);
        assert!(!ran.stderr.contains("correct horse"), "{case}: {}", ran.stderr);
    }
    std::fs::remove_file(&passphrase).unwrap();
    let ran = world.site.run(&["serve"], "").await;
    assert!(ran.code == Some(3) && ran.stderr.contains("cannot read"), "{}", ran.stderr);
    let without = world.site.path("without.toml");
    std::fs::write(&without, format!("[certs]\ndir = {:?}\n", world.site.path("certs"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardgate"));
    command.arg("--config").arg(&without).args(["ca", "show"]);
    let ran = tools::run(&mut command, "").await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("is encrypted: set [certs] key_passphrase_file"), "{}", ran.stderr);
}

/// Written into the certificate, so that devices hold the authority to it.
#[tokio::test]
async fn an_authority_is_held_to_its_constraints() {
    let mut world = World::new().await;
    world.site.set("certs", "permitted", vec!["example.test".to_owned(), "127.0.0.0/8".to_owned()]);
    world.site.set("certs", "excluded", vec!["another.example.test".to_owned()]);
    let wardgate = world.site.start().await;
    let told = world.site.run(&["ca", "show"], "").await.succeeded().stdout;
    assert!(told.contains("permitted    example.test, 127.0.0.0/8"), "{told}");
    assert!(told.contains("excluded     another.example.test"), "{told}");
    for (host, allowed) in [
        (ALLOWED, true),
        ("127.0.0.1", true),
        ("another.example.test", false),
        ("elsewhere.test", false),
        ("[::1]", false),
    ] {
        let path = format!("/{}", host.replace(['.', '[', ']', ':'], "-"));
        let asked = request(Method::GET, &world.https(host, &path), "");
        let reply = wardgate.client().try_send(asked).await;
        assert_eq!(reply.is_ok(), allowed, "{host}");
        if !allowed {
            let lines = wardgate.lines_about(&format!("https://{host}:"), 1).await;
            let said = lines[0]["wardgate.detail"].as_str().unwrap();
            assert!(said.contains("name constraints do not allow"), "{host}: {said}");
        }
    }
    // A slip is found before a CA is made of it.
    world.site.set("certs", "permitted", vec!["*.example.test".to_owned()]);
    let ran = world.site.run(&["ca", "show"], "").await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("`*.example.test` is neither a domain"), "{}", ran.stderr);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
