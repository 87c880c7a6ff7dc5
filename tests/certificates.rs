//! An origin whose certificate a browser would have refused is refused here: with a page that names the reason, the same
//! reason in one word in the event, and nothing sent to the origin or shown of it. What a browser would have accepted is
//! opened.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

use crate::harness::chains::{Authority, Chain, ChainOrigin, OpenSsl, SECRET, issuer_lies_at};
use crate::harness::{Wardgate, World};

/// A world in which Wardgate trusts these roots, beside the tests' own.
async fn trusting(roots: &[&str]) -> World {
    let mut world = World::new().await;
    let all: String = roots.concat();
    std::fs::write(world.site.path("more-roots.pem"), all).unwrap();
    let files = ["root.pem", "more-roots.pem"].map(|file| world.site.path(file).to_str().unwrap().to_owned());
    world.site.set("upstream", "extra_roots", files.to_vec());
    world
}

/// One way of being wrong: what it is called in the event, what the page says, what the technician reads.
struct Wrong {
    case: &'static str,
    chain: Chain,
    problem: &'static str,
    page: &'static str,
    detail: &'static str,
}

impl Wrong {
    /// The name under which its chain is shown.
    fn host(case: &str) -> String {
        format!("{}.cases.example.test", case.replace(' ', "-").to_lowercase())
    }
}

/// Asks for each wrong host, over HTTP/1.1 and HTTP/2 towards the client, and checks everything that is promised.
async fn all_refused(world: &World, wardgate: &Wardgate, origin: &ChainOrigin, cases: Vec<Wrong>) {
    for (number, Wrong { case, chain, problem, page, detail }) in cases.into_iter().enumerate() {
        let host = if case == "an address" { "127.0.0.1".to_owned() } else { Wrong::host(case) };
        origin.show(&host, chain);
        let client = if number % 2 == 0 { wardgate.client() } else { wardgate.client().http1() };
        let path = format!("/wrong-{}.", case.replace(' ', "-"));
        let reply = client.get(&origin.url(&host, &path)).await;
        let text = reply.text().replace("&#x27;", "'");
        let line = wardgate.line_about(&path).await;
        assert_eq!(reply.status, 502, "{case}: {line:#}");
        assert!(text.contains(page), "{case}: the page does not say {page:?}: {text}\n{line:#}");
        assert!(!text.contains(SECRET), "{case}: the origin's page was shown");
        let status = format!("wardgate; error=tls_certificate_error; details=\"{problem}\"");
        assert_eq!(reply.header("proxy-status"), Some(&*status), "{case}");
        assert_eq!(line["wardgate.tls.problems"], serde_json::json!([problem]), "{case}: {line:#}");
        assert_eq!(line["wardgate.outcome"], "upstream-failed", "{case}: {line:#}");
        assert_eq!(line["http.response.status_code"], 502, "{case}: {line:#}");
        let said = line["wardgate.detail"].as_str().unwrap();
        assert!(said.contains(detail), "{case}: the event does not say {detail:?}: {said}");
    }
    assert!(origin.asked().is_empty(), "an origin was asked: {:?}", origin.asked());
    assert!(world.origin.seen("/").is_empty());
}

/// Maps the names of all cases to this machine.
fn name_them(world: &World, cases: &[Wrong]) {
    for wrong in cases {
        world.site.host(&Wrong::host(wrong.case), "127.0.0.1");
    }
}

fn as_is(_: &mut CertificateParams) {}

fn critical(oid: &[u64]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, vec![5, 0]);
    extension.set_criticality(true);
    extension
}

fn domain(name: &str) -> GeneralSubtree {
    GeneralSubtree::DnsName(name.to_owned())
}

#[tokio::test]
async fn what_a_browser_would_refuse_is_refused_with_the_reason() {
    let root = Authority::root("Trusted root");
    let between = root.under("Between", as_is);
    let stranger = Authority::root("Stranger");
    let below_stranger = stranger.under("Below the stranger", as_is);
    let impostor = Authority::root("Trusted root"); // the same name, another key
    let old = root.under("Old", |params| {
        params.not_before = date_time_ymd(2018, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let alone = root.under("Alone", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let too_deep = alone.under("Too deep", as_is);
    let fenced = root.under("Fenced", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![domain("school.example.test")],
            excluded_subtrees: Vec::new(),
        });
    });
    let barred = root.under("Barred", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![domain("cases.example.test")],
        });
    });
    let no_authority = root.under("No authority", |params| params.is_ca = IsCa::ExplicitNoCa);
    let unmarked = root.under("Unmarked", |params| params.is_ca = IsCa::NoCa);
    let no_signer = root.under("No signer", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let odd =
        root.under("Odd", |params| params.custom_extensions = vec![critical(&[1, 3, 6, 1, 4, 1, 99999, 1])]);
    let for_mail = root.under("For mail", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    });

    let young = root.under("Young", |params| {
        params.not_before = date_time_ymd(2150, 1, 1);
        params.not_after = date_time_ymd(2151, 1, 1);
    });
    let old_root = Authority::root_with("Old root", |params| {
        params.not_before = date_time_ymd(2018, 1, 1);
        params.not_after = date_time_ymd(2022, 1, 1);
    });
    let young_root = Authority::root_with("Young root", |params| {
        params.not_before = date_time_ymd(2150, 1, 1);
        params.not_after = date_time_ymd(2151, 1, 1);
    });
    let mute_root = Authority::root_with("Mute root", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature]
    });
    let code_root = Authority::root_with("Code root", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    });

    let wrong = |case, chain, problem, page, detail| Wrong { case, chain, problem, page, detail };
    let host = Wrong::host;
    let not_trusted = "comes from an issuer that is not trusted here";
    let cases = vec![
        // RFC 5280, 4.1.2.5
        wrong(
            "expired",
            between.leaf(&host("expired"), &[&between], |params| {
                params.not_before = date_time_ymd(2019, 1, 1);
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
            "expired",
            "has expired",
            "the site's own certificate ended on 2020-01-01",
        ),
        wrong(
            "an expired issuer",
            old.leaf(&host("an expired issuer"), &[&old], as_is),
            "expired",
            "has expired",
            "an issuing certificate ended on 2021-01-01",
        ),
        wrong(
            "not yet valid",
            between.leaf(&host("not yet valid"), &[&between], |params| {
                params.not_before = date_time_ymd(2150, 1, 1);
                params.not_after = date_time_ymd(2151, 1, 1);
            }),
            "not-yet-valid",
            "is not valid yet",
            "valid from 2150-01-01",
        ),
        wrong(
            "an issuer that is not valid yet",
            young.leaf(&host("an issuer that is not valid yet"), &[&young], as_is),
            "not-yet-valid",
            "is not valid yet",
            "valid from 2150-01-01",
        ),
        wrong(
            "an expired root",
            old_root.leaf(&host("an expired root"), &[], as_is),
            "expired",
            "has expired",
            "the root ended on 2022-01-01",
        ),
        wrong(
            "a root that is not valid yet",
            young_root.leaf(&host("a root that is not valid yet"), &[], as_is),
            "not-yet-valid",
            "is not valid yet",
            "the root is valid from 2150-01-01",
        ),
        // RFC 9525, RFC 6125
        wrong(
            "wrong name",
            between.leaf("elsewhere.example.test", &[&between], as_is),
            "wrong-name",
            "belongs to another site",
            "it is for elsewhere.example.test",
        ),
        wrong(
            "a wildcard over two labels",
            between.leaf("*.example.test", &[&between], as_is),
            "wrong-name",
            "belongs to another site",
            "it is for *.example.test",
        ),
        wrong(
            "a wildcard within a label",
            between.leaf("a-wild*.cases.example.test", &[&between], as_is),
            "wrong-name",
            "belongs to another site",
            "",
        ),
        wrong(
            "an address",
            between.leaf("cases.example.test", &[&between], as_is),
            "wrong-name",
            "belongs to another site",
            "it is for cases.example.test",
        ),
        wrong(
            "common name only",
            between.leaf("unused.example.test", &[&between], |params| {
                params.subject_alt_names.clear();
                params.distinguished_name.push(DnType::CommonName, host("common name only"));
            }),
            "common-name-only",
            "only in an old way that is not safe any more",
            "no subject alternative name; common name: common-name-only.cases.example.test",
        ),
        wrong(
            "no name at all",
            between.leaf("unused.example.test", &[&between], |params| params.subject_alt_names.clear()),
            "wrong-name",
            "belongs to another site",
            "no subject alternative name",
        ),
        // Who vouches for it
        wrong(
            "self-signed",
            Chain::self_signed(&host("self-signed"), |params| {
                params.distinguished_name.push(DnType::CommonName, "A device");
            }),
            "self-signed",
            "signed its security certificate itself",
            "its fingerprint is sha256:",
        ),
        wrong(
            "self-signed as an authority",
            Chain::self_signed(&host("self-signed as an authority"), |params| {
                params.distinguished_name.push(DnType::CommonName, "A device");
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            "self-signed",
            "signed its security certificate itself",
            "marked as an authority",
        ),
        wrong(
            "an untrusted root",
            below_stranger.leaf(&host("an untrusted root"), &[&below_stranger, &stranger], as_is),
            "untrusted-root",
            not_trusted,
            "the root CN=Stranger is not trusted here",
        ),
        wrong(
            "an untrusted root that is not sent",
            below_stranger.leaf(&host("an untrusted root that is not sent"), &[&below_stranger], as_is),
            "untrusted-root",
            not_trusted,
            "the issuer CN=Stranger is neither sent by the site nor trusted",
        ),
        wrong(
            "an incomplete chain",
            between.leaf(&host("an incomplete chain"), &[], |params| {
                params.custom_extensions = vec![issuer_lies_at("http://ca.example/between.cer")];
            }),
            "incomplete-chain",
            "does not send all of its security certificates",
            "the certificate of CN=Between is neither sent by the site nor trusted here; it lies at \
             http://ca.example/between.cer",
        ),
        wrong(
            "a forged signature",
            impostor.leaf(&host("a forged signature"), &[], as_is),
            "bad-signature",
            "does not match",
            "CN=Trusted root",
        ),
        // RFC 5280, 4.2.1.3 and 4.2.1.12
        wrong(
            "for clients only",
            between.leaf(&host("for clients only"), &[&between], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "wrong-usage",
            "is not meant for a website",
            "extended key usage without server authentication",
        ),
        wrong(
            "an issuer for mail only",
            for_mail.leaf(&host("an issuer for mail only"), &[&for_mail], as_is),
            "wrong-usage",
            "is not meant for a website",
            "extended key usage without server authentication",
        ),
        wrong(
            "a key that may not sign",
            between.leaf(&host("a key that may not sign"), &[&between], |params| {
                params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
            }),
            "wrong-usage",
            "is not meant for a website",
            "key usage without digital signature",
        ),
        wrong(
            "the certificate of an authority",
            root.leaf(&host("the certificate of an authority"), &[], |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            "wrong-usage",
            "is not meant for a website",
            "it is the certificate of an authority",
        ),
        // RFC 5280, 4.2.1.9
        wrong(
            "an issuer without the CA flag",
            no_authority.leaf(&host("an issuer without the CA flag"), &[&no_authority], as_is),
            "not-an-authority",
            "signed by somebody who may not sign certificates",
            "CA is not set",
        ),
        wrong(
            "an issuer without basic constraints",
            unmarked.leaf(&host("an issuer without basic constraints"), &[&unmarked], as_is),
            "not-an-authority",
            "signed by somebody who may not sign certificates",
            "CA is not set",
        ),
        wrong(
            "an issuer that may not sign",
            no_signer.leaf(&host("an issuer that may not sign"), &[&no_signer], as_is),
            "not-an-authority",
            "signed by somebody who may not sign certificates",
            "key usage does not allow it to sign certificates",
        ),
        wrong(
            "a root that may not sign",
            mute_root.leaf(&host("a root that may not sign"), &[], as_is),
            "not-an-authority",
            "signed by somebody who may not sign certificates",
            "the root: its key usage does not allow it to sign",
        ),
        wrong(
            "a root for code only",
            code_root.leaf(&host("a root for code only"), &[], as_is),
            "not-an-authority",
            "signed by somebody who may not sign certificates",
            "the root: its extended key usage",
        ),
        wrong(
            "a path that is too long",
            too_deep.leaf(&host("a path that is too long"), &[&too_deep, &alone], as_is),
            "path-length",
            "not allowed to issue it",
            "CN=Too deep by CN=Alone",
        ),
        // RFC 5280, 4.2.1.10
        wrong(
            "a name outside what is permitted",
            fenced.leaf(&host("a name outside what is permitted"), &[&fenced], as_is),
            "name-constraints",
            "may not issue certificates for this name",
            "a-name-outside-what-is-permitted.cases.example.test",
        ),
        wrong(
            "an excluded name",
            barred.leaf(&host("an excluded name"), &[&barred], as_is),
            "name-constraints",
            "may not issue certificates for this name",
            "an-excluded-name.cases.example.test",
        ),
        // RFC 5280, 4.2
        wrong(
            "an unknown critical extension",
            between.leaf(&host("an unknown critical extension"), &[&between], |params| {
                params.custom_extensions = vec![critical(&[1, 3, 6, 1, 4, 1, 99999, 2])];
            }),
            "critical-extension",
            "sets a condition that is not understood here",
            "1.3.6.1.4.1.99999.2",
        ),
        wrong(
            "an issuer with an unknown critical extension",
            odd.leaf(&host("an issuer with an unknown critical extension"), &[&odd], as_is),
            "critical-extension",
            "sets a condition that is not understood here",
            "1.3.6.1.4.1.99999.1",
        ),
        wrong(
            "a malformed extension",
            between.leaf(&host("a malformed extension"), &[&between], |params| {
                params.is_ca = IsCa::NoCa;
                params.custom_extensions =
                    vec![CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![1, 2, 3])];
            }),
            "malformed-certificate",
            "is faulty",
            "",
        ),
    ];

    let world = trusting(&[&root.pem, &old_root.pem, &young_root.pem, &mute_root.pem, &code_root.pem]).await;
    name_them(&world, &cases);
    let wardgate = world.site.start().await;
    let origin = ChainOrigin::start().await;
    all_refused(&world, &wardgate, &origin, cases).await;
}

/// What no library makes any more, made by OpenSSL: broken signatures, short keys, old formats.
#[tokio::test]
async fn old_cryptography_is_refused_with_the_reason() {
    let openssl = OpenSsl::new();
    openssl.root("root", "-newkey rsa:2048 -sha256").await;
    openssl.root("short-root", "-newkey rsa:1024 -sha256").await;
    let authority = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    openssl.issue("sha1-between", "rsa:2048", "root", "-sha1", authority).await;
    openssl.issue("short-between", "rsa:1024", "root", "-sha256", authority).await;
    let named = |case: &str| format!("subjectAltName=DNS:{}\n", Wrong::host(case));
    for (file, case, by, how) in [
        ("sha1", "a signature with SHA-1", "root", "-sha1"),
        ("md5", "a signature with MD5", "root", "-md5"),
        ("below-sha1", "an issuer signed with SHA-1", "sha1-between", "-sha256"),
        ("below-short", "an issuer with a short key", "short-between", "-sha256"),
        ("by-short-root", "a root with a short key", "short-root", "-sha256"),
    ] {
        openssl.issue(file, "rsa:2048", by, how, &named(case)).await;
    }
    openssl.issue("version-1", "rsa:2048", "root", "-sha256", "").await;
    openssl.issue("version-1-between", "rsa:2048", "root", "-sha256", "").await;
    let case = named("an issuer of version 1");
    openssl.issue("below-version-1", "rsa:2048", "version-1-between", "-sha256", &case).await;

    let chain = |file: &str, between: &[&str]| {
        let read = |name: &str| {
            Chain::read(&openssl.path(&format!("{name}.pem")), &openssl.path(&format!("{name}.key")))
        };
        between.iter().fold(read(file), |chain, name| chain.and(&read(name).certificates[0]))
    };
    let wrong = |case, chain, problem, page, detail| Wrong { case, chain, problem, page, detail };
    let (forgeable, short) = ("signed in a way that can be forged today", "too short to be safe");
    let cases = vec![
        wrong("a signature with SHA-1", chain("sha1", &[]), "weak-signature", forgeable, "SHA-1 with RSA"),
        wrong("a signature with MD5", chain("md5", &[]), "weak-signature", forgeable, "MD5 with RSA"),
        wrong(
            "an issuer signed with SHA-1",
            chain("below-sha1", &["sha1-between"]),
            "weak-signature",
            forgeable,
            "SHA-1 with RSA",
        ),
        wrong(
            "an issuer with a short key",
            chain("below-short", &["short-between"]),
            "weak-key",
            short,
            "RSA with 1024 bits",
        ),
        wrong(
            "a root with a short key",
            chain("by-short-root", &[]),
            "weak-key",
            short,
            "RSA with 1024 bits",
        ),
        wrong(
            "version 1 of X.509",
            chain("version-1", &[]),
            "malformed-certificate",
            "is faulty",
            "X.509 version 1",
        ),
        wrong(
            "an issuer of version 1",
            chain("below-version-1", &["version-1-between"]),
            "malformed-certificate",
            "is faulty",
            "X.509 version 1",
        ),
    ];
    let roots = ["root", "short-root"]
        .map(|name| std::fs::read_to_string(openssl.path(&format!("{name}.pem"))).unwrap());
    let world = trusting(&roots.each_ref().map(String::as_str)).await;
    name_them(&world, &cases);
    let wardgate = world.site.start().await;
    let origin = ChainOrigin::start().await;
    all_refused(&world, &wardgate, &origin, cases).await;
}

/// A chain that ends in Wardgate's own authority is never believed, whoever else trusts it: it is somebody who got hold of
/// what was minted here, or another filter of the same school in the way.
#[tokio::test]
async fn our_own_authority_vouches_for_no_origin() {
    let mut world = World::new().await;
    let own_pem = world.site.run(&["ca", "export"], "").await.succeeded().stdout;
    let own_key = std::fs::read_to_string(world.site.path("certs/ca.key")).unwrap();
    let own = Authority::load(&own_pem, &own_key);
    // Told to trust it, too, as a school does that puts it among the system's roots.
    std::fs::write(world.site.path("own.pem"), &own_pem).unwrap();
    let files = ["root.pem", "own.pem"].map(|file| world.site.path(file).to_str().unwrap().to_owned());
    let cases = |case| {
        vec![Wrong {
            case,
            chain: own.leaf(&Wrong::host(case), &[&own], as_is),
            problem: "own-authority",
            page: "of this network's own filter",
            detail: "signs for this proxy's clients",
        }]
    };
    for (case, roots) in [("trusted by us alone", vec![]), ("trusted by the school too", files.to_vec())] {
        if !roots.is_empty() {
            world.site.set("upstream", "extra_roots", roots);
        }
        let cases = cases(case);
        name_them(&world, &cases);
        let wardgate = world.site.start().await;
        let origin = ChainOrigin::start().await;
        all_refused(&world, &wardgate, &origin, cases).await;
    }
}

/// The other side of the promise: what a browser accepts is opened.
#[tokio::test]
async fn sound_certificates_are_accepted() {
    let root = Authority::root("Trusted root");
    let between = root.under("Between", as_is);
    let below = between.under("Below", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let fenced = root.under("Fenced", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![domain("cases.example.test")],
            excluded_subtrees: vec![domain("other.cases.example.test")],
        });
    });
    let openssl = OpenSsl::new();
    openssl.root("rsa", "-newkey rsa:3072 -sha384").await;
    let named = |case: &str| format!("subjectAltName=DNS:{}\n", Wrong::host(case));
    openssl.issue("rsa-leaf", "rsa:2048", "rsa", "-sha256", &named("rsa 2048")).await;
    let rsa = Chain::read(&openssl.path("rsa-leaf.pem"), &openssl.path("rsa-leaf.key"));
    let rsa_root = std::fs::read_to_string(openssl.path("rsa.pem")).unwrap();

    let host = Wrong::host;
    let cases = [
        ("directly below the root", root.leaf(&host("directly below the root"), &[], as_is)),
        ("with the root sent", between.leaf(&host("with the root sent"), &[&between, &root], as_is)),
        ("two between", below.leaf(&host("two between"), &[&below, &between], as_is)),
        ("in the wrong order", below.leaf(&host("in the wrong order"), &[&between, &below], as_is)),
        (
            "with a stranger among them",
            below.leaf(&host("with a stranger among them"), &[&fenced, &below, &between], as_is),
        ),
        ("within its constraints", fenced.leaf(&host("within its constraints"), &[&fenced], as_is)),
        ("a wildcard", between.leaf("*.cases.example.test", &[&between], as_is)),
        (
            "no usage at all",
            between.leaf(&host("no usage at all"), &[&between], |params| {
                params.key_usages.clear();
                params.extended_key_usages.clear();
            }),
        ),
        (
            "a common name beside",
            between.leaf(&host("a common name beside"), &[&between], |params| {
                params.distinguished_name.push(DnType::CommonName, "something else");
            }),
        ),
        ("rsa 2048", rsa),
    ];
    let world = trusting(&[&root.pem, &rsa_root]).await;
    for (case, _) in &cases {
        world.site.host(&host(case), "127.0.0.1");
    }
    let wardgate = world.site.start().await;
    let origin = ChainOrigin::start().await;
    origin.show("127.0.0.1", between.leaf("127.0.0.1", &[&between], as_is));
    let reply = wardgate.client().get(&origin.url("127.0.0.1", "/address")).await;
    assert_eq!((reply.status.as_u16(), &*reply.text()), (200, SECRET), "an address");
    for (number, (case, chain)) in cases.into_iter().enumerate() {
        origin.show(&host(case), chain);
        let path = format!("/right-{number}");
        let reply = wardgate.client().get(&origin.url(&host(case), &path)).await;
        assert_eq!(
            (reply.status.as_u16(), &*reply.text()),
            (200, SECRET),
            "{case}: {}",
            wardgate.line_about(&path).await
        );
        assert!(wardgate.line_about(&path).await.get("wardgate.tls.problems").is_none(), "{case}");
    }
}
