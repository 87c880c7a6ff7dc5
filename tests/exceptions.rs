//! Certificates that policy overlooks: one host, for a time, with a reason, and nothing else of it; the access log says when
//! it was needed.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};
use serde_json::json;

use crate::harness::chains::{Authority, Chain, ChainOrigin, SECRET};
use crate::harness::{Wardgate, World, eventually};

fn as_is(_: &mut CertificateParams) {}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 1, 1);
}

fn device(params: &mut CertificateParams) {
    params.distinguished_name.push(DnType::CommonName, "A device");
}

/// The day after tomorrow, as TOML writes it.
fn soon() -> String {
    day(2)
}

fn day(from_now: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let at = time::OffsetDateTime::from_unix_timestamp(now + from_now * 86_400).unwrap().date();
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

fn exception(host: &str, accept: &[&str], chain: Option<&Chain>) -> String {
    let accept = accept.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let pin = chain.map_or(String::new(), |chain| format!("fingerprint = \"{}\"\n", chain.fingerprint()));
    format!(
        "[[exception]]\nhost = \"{host}\"\naccept = [{accept}]\n{pin}reason = \"It is replaced soon.\"\nuntil = {}\n",
        soon()
    )
}

async fn trusting(root: &Authority) -> World {
    let mut world = World::new().await;
    std::fs::write(world.site.path("a-root.pem"), &root.pem).unwrap();
    let file = world.site.path("a-root.pem").to_str().unwrap().to_owned();
    world.site.set("upstream", "extra_roots", vec![file]);
    world
}

/// Asks for a host, and says what came: the status, and the line of the access log.
async fn ask(wardgate: &Wardgate, origin: &ChainOrigin, host: &str, path: &str) -> (u16, serde_json::Value) {
    let reply = wardgate.client().get(&origin.url(host, path)).await;
    assert_eq!(reply.status == 200, reply.text() == SECRET, "{host}: {}", reply.text());
    (reply.status.as_u16(), wardgate.line_about(path).await)
}

#[tokio::test]
async fn what_is_excepted_is_opened_and_recorded_and_nothing_else_is() {
    let root = Authority::root("Trusted root");
    let between = root.under("Between", as_is);
    let stranger = Authority::root("Stranger");
    let flat = root.under("No authority", |params| params.is_ca = IsCa::ExplicitNoCa);
    let name = |case: &str| format!("{case}.exceptions.example.test");
    let printer = Chain::self_signed(&name("printer"), |params| {
        device(params);
        expired(params);
    });
    let other_printer = Chain::self_signed(&name("replaced"), device);
    let on_an_address = Chain::self_signed("127.0.0.1", device);
    let unknown = stranger.leaf(&name("stranger"), &[&stranger], as_is);
    let by_a_leaf = flat.leaf(&name("by-a-leaf"), &[&flat], as_is);

    // (host, what is shown, what policy accepts, the problems that were overlooked or why it is refused)
    struct Case {
        name: &'static str,
        chain: Chain,
        exception: Option<String>,
        opened: bool,
        problems: &'static [&'static str],
        detail: &'static str,
    }
    let case = |name, chain, exception, opened, problems, detail| Case {
        name,
        chain,
        exception,
        opened,
        problems,
        detail,
    };
    let accept = |case: &str, what: &[&str]| Some(exception(&name(case), what, None));
    let pinned = |case: &str, what: &[&str], chain: &Chain| Some(exception(&name(case), what, Some(chain)));
    let cases = vec![
        case(
            "expired",
            between.leaf(&name("expired"), &[&between], expired),
            accept("expired", &["expired"]),
            true,
            &["expired"],
            "",
        ),
        case(
            "expired-and-named-otherwise",
            between.leaf(&name("elsewhere"), &[&between], expired),
            accept("expired-and-named-otherwise", &["expired", "wrong-name"]),
            true,
            &["expired", "wrong-name"],
            "",
        ),
        case(
            "more-than-accepted",
            between.leaf(&name("elsewhere"), &[&between], expired),
            accept("more-than-accepted", &["expired"]),
            false,
            &["wrong-name"],
            "it is for elsewhere",
        ),
        case(
            "not-needed",
            between.leaf(&name("not-needed"), &[&between], as_is),
            accept("not-needed", &["expired"]),
            true,
            &[],
            "",
        ),
        case(
            "clients-only",
            between.leaf(&name("clients-only"), &[&between], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            accept("clients-only", &["wrong-usage"]),
            true,
            &["wrong-usage"],
            "",
        ),
        case(
            "printer",
            printer.clone(),
            pinned("printer", &["self-signed", "expired"], &printer),
            true,
            &["expired", "self-signed"],
            "",
        ),
        case(
            "replaced",
            other_printer.clone(),
            pinned("replaced", &["self-signed"], &printer),
            false,
            &["self-signed"],
            "the exception at certificates.toml:",
        ),
        case(
            "stranger",
            unknown.clone(),
            pinned("stranger", &["untrusted-root"], &unknown),
            true,
            &["untrusted-root"],
            "",
        ),
        case(
            "by-a-leaf",
            by_a_leaf.clone(),
            pinned("by-a-leaf", &["not-an-authority"], &by_a_leaf),
            true,
            &["not-an-authority"],
            "",
        ),
        case(
            "neighbour",
            between.leaf(&name("neighbour"), &[&between], expired),
            None,
            false,
            &["expired"],
            "",
        ),
    ];
    let world = trusting(&root).await;
    for case in &cases {
        world.site.host(&name(case.name), "127.0.0.1");
        if let Some(exception) = &case.exception {
            world.site.append("certificates.toml", exception);
        }
    }
    world.site.append("certificates.toml", &exception("127.0.0.1", &["self-signed"], Some(&on_an_address)));
    let wardgate = world.site.start().await;
    let origin = ChainOrigin::start().await;
    origin.show("127.0.0.1", on_an_address);
    let (status, line) = ask(&wardgate, &origin, "127.0.0.1", "/address").await;
    assert_eq!((status, &line["wardgate.tls.problems"]), (200, &json!(["self-signed"])), "{line:#}");
    for Case { name: case, chain, opened, problems, detail, .. } in cases {
        origin.show(&name(case), chain);
        // Twice: the second time over the connection that was kept.
        for round in ["once", "again"] {
            let (status, line) = ask(&wardgate, &origin, &name(case), &format!("/{case}-{round}")).await;
            assert_eq!(status, if opened { 200 } else { 502 }, "{case}, {round}: {line:#}");
            let noted = line.get("wardgate.tls.problems").cloned().unwrap_or_else(|| json!([]));
            assert_eq!(noted, json!(problems), "{case}, {round}: {line:#}");
            let exception = line["wardgate.tls.exception"].as_str();
            assert_eq!(
                exception.is_some_and(|place| place.starts_with("certificates.toml:")),
                opened && !problems.is_empty(),
                "{case}, {round}: {line:#}"
            );
            let said = line["wardgate.detail"].as_str().unwrap_or_default();
            assert!(said.contains(detail), "{case}, {round}: {line:#}");
        }
    }
}

#[tokio::test]
async fn an_exception_that_is_taken_back_counts_no_longer() {
    let root = Authority::root("Trusted root");
    let host = "old.exceptions.example.test";
    let world = trusting(&root).await;
    world.site.host(host, "127.0.0.1");
    world.site.append("certificates.toml", &exception(host, &["expired"], None));
    let wardgate = world.site.start().await;
    let origin = ChainOrigin::start().await;
    origin.show(host, root.leaf(host, &[], expired));
    assert_eq!(ask(&wardgate, &origin, host, "/before").await.0, 200);

    // The connection of before is open still, and its session could be resumed: neither serves any more.
    std::fs::remove_file(world.site.path("policies/certificates.toml")).unwrap();
    wardgate.signal("HUP");
    eventually("the policy is reloaded", || wardgate.stderr().contains("the policy was reloaded")).await;
    let (status, line) = ask(&wardgate, &origin, host, "/after").await;
    assert_eq!(status, 502, "{line:#}");
    assert_eq!(line["wardgate.tls.problems"], json!(["expired"]));
    assert!(line.get("wardgate.tls.exception").is_none(), "{line:#}");
}

#[tokio::test]
async fn limits_tell_every_exception_and_when_it_ends() {
    let world = World::new().await;
    let host = "old.exceptions.example.test";
    world.site.append("certificates.toml", &exception(host, &["expired", "wrong-name"], None));
    let told = world.site.run(&["limits"], "").await.succeeded().stdout;
    for part in [
        format!("{host}: expired, wrong-name (until "),
        "It is replaced soon. [certificates.toml:".to_owned(),
        "bank.example.test".to_owned(),
        "never-intercept.toml:".to_owned(),
        "WebSocket".to_owned(),
        "root.pem".to_owned(),
    ] {
        assert!(told.contains(&part), "{part:?} is missing from {told}");
    }
    let told = world.site.run(&["limits", "--json"], "").await.succeeded().stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let kinds = told["limits"].as_array().unwrap();
    let kind = kinds.iter().find(|kind| kind["name"] == "certificate-exceptions").unwrap();
    assert_eq!(kind["entries"][0]["place"], "certificates.toml:2", "{kind:#}");
    assert!(kind["entries"][0]["until"].as_str().unwrap().starts_with(&day(3)), "{kind:#}");

    world.site.append("certificates.toml", "[[exeption]]");
    assert_eq!(world.site.run(&["limits"], "").await.code, Some(1), "a policy that does not check");
}

#[tokio::test]
async fn exceptions_that_are_wrong_stop_the_policy_and_those_that_are_over_do_not_count() {
    let world = World::new().await;
    let over = exception("old.example.test", &["expired"], None).replace(&soon(), &day(-3));
    world.site.append("certificates.toml", &over);
    let ran = world.site.run(&["check"], "").await.succeeded();
    assert!(ran.stderr.contains("warning: the exception is over; it is not applied"), "{}", ran.stderr);

    let file = world.site.path("policies/certificates.toml");
    for (accept, said) in [
        ("revoked", "`revoked` is never accepted"),
        ("own-authority", "`own-authority` is never accepted"),
        ("bad-signature", "`bad-signature` is never accepted"),
        ("self-signed", "`self-signed` needs the `fingerprint`"),
    ] {
        std::fs::write(&file, exception("old.example.test", &[accept], None)).unwrap();
        let ran = world.site.run(&["check"], "").await;
        assert_eq!(ran.code, Some(1), "{accept}");
        assert!(
            ran.stderr.contains("certificates.toml:3:11: error: ") && ran.stderr.contains(said),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("help: "), "{}", ran.stderr);
    }
}
