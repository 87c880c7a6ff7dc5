//! Certificates that their issuer has withdrawn are refused, by whatever Wardgate is told of it: lists of private
//! authorities, CRLite for public ones, and what a site staples to its own handshake.

use std::path::Path;

use clubcard::builder::{ApproximateRibbon, ClubcardBuilder, ExactRibbon};
use clubcard_crlite::builder::CRLiteBuilderItem;
use clubcard_crlite::{CRLiteClubcard, CRLiteCoverage, CRLiteQuery, Encoding, IssuerSpkiHash};
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData as _,
    SigningKey as _,
};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use sha1::Digest as _;

use crate::harness::chains::{Authority, Chain, ChainOrigin, OpenSsl, SECRET, der, serial};
use crate::harness::{Wardgate, World, eventually};

fn as_is(_: &mut CertificateParams) {}

/// A world that trusts this root.
async fn trusting(root: &Authority) -> World {
    let mut world = World::new().await;
    std::fs::write(world.site.path("a-root.pem"), &root.pem).unwrap();
    let file = world.site.path("a-root.pem").to_str().unwrap().to_owned();
    world.site.set("upstream", "extra_roots", vec![file]);
    world
}

fn name(case: &str) -> String {
    format!("{case}.revocation.example.test")
}

/// Asks for a host: the status and the line.
async fn ask(wardgate: &Wardgate, origin: &ChainOrigin, host: &str, path: &str) -> (u16, Value) {
    let reply = wardgate.client().get(&origin.url(host, path)).await;
    let text = reply.text();
    assert_eq!(reply.status == 200, text == SECRET, "{host}: {text}");
    let line = wardgate.line_about(path).await;
    if line["wardgate.tls.problems"] == json!(["revoked"]) {
        assert!(text.contains("was withdrawn by its issuer"), "{host}: {text}");
    }
    (reply.status.as_u16(), line)
}

/// Asserts what becomes of a host: opened, or refused for this problem with this detail.
async fn expect(
    wardgate: &Wardgate,
    origin: &ChainOrigin,
    case: &str,
    round: &str,
    refused: Option<(&str, &str)>,
) {
    let (status, line) = ask(wardgate, origin, &name(case), &format!("/{case}-{round}.")).await;
    match refused {
        None => assert_eq!(status, 200, "{case}, {round}: {line:#}"),
        Some((problem, detail)) => {
            assert_eq!(status, 502, "{case}, {round}: {line:#}");
            assert_eq!(line["wardgate.tls.problems"], json!([problem]), "{case}, {round}: {line:#}");
            let said = line["wardgate.detail"].as_str().unwrap();
            assert!(said.contains(detail), "{case}, {round}: {said}");
        }
    }
}

fn lists(world: &mut World, files: &[&str]) {
    let files: Vec<String> =
        files.iter().map(|file| world.site.path(file).to_str().unwrap().to_owned()).collect();
    world.site.set("upstream", "crls", files);
}

#[tokio::test]
async fn what_a_list_names_is_refused() {
    let root = Authority::root("Private root");
    let between = root.under("Between", as_is);
    let withdrawn = root.under("Withdrawn", as_is);
    let unlisted = root.under("Unlisted", as_is);
    let good = between.leaf(&name("good"), &[&between], as_is);
    let revoked = between.leaf(&name("revoked"), &[&between], as_is);
    let below = withdrawn.leaf(&name("below"), &[&withdrawn], as_is);
    let elsewhere = unlisted.leaf(&name("elsewhere"), &[&unlisted], as_is);

    let mut world = trusting(&root).await;
    std::fs::write(
        world.site.path("between.crl"),
        between.revoked(&[revoked.serial()], -1..30).pem().unwrap(),
    )
    .unwrap();
    let of_root = root.revoked(&[serial(&withdrawn.certificate)], -1..30);
    std::fs::write(world.site.path("root.crl"), of_root.der()).unwrap();
    lists(&mut world, &["between.crl", "root.crl"]);
    let origin = ChainOrigin::start().await;
    for (case, chain) in [("good", good), ("revoked", revoked), ("below", below), ("elsewhere", elsewhere)] {
        world.site.host(&name(case), "127.0.0.1");
        origin.show(&name(case), chain);
    }
    let wardgate = world.site.start().await;
    let by_list = Some(("revoked", "by a revocation list"));
    expect(&wardgate, &origin, "good", "pem", None).await;
    expect(&wardgate, &origin, "revoked", "pem", by_list).await;
    expect(&wardgate, &origin, "below", "der", by_list).await;
    expect(&wardgate, &origin, "elsewhere", "none", None).await;

    let told = world.site.run(&["limits"], "").await.succeeded().stdout;
    for part in [
        "between.crl",
        "certificates issued by CN=Between, as of ",
        "certificates of public authorities\n      Not looked at",
    ] {
        assert!(told.contains(part), "{part:?} is missing from {told}");
    }
    // No exception is made for what was revoked.
    let exception = "[[exception]]\nhost = \"revoked.revocation.example.test\"\naccept = [\"revoked\"]\nreason = \"R\"\nuntil = 2026-12-31";
    world.site.append("certificates.toml", exception);
    assert_eq!(world.site.run(&["check"], "").await.code, Some(1));
}

/// A certificate that is revoked while its session could be resumed: the resumed handshake is refused, too.
#[tokio::test]
async fn a_list_counts_as_soon_as_it_is_renewed() {
    let root = Authority::root("Private root");
    let chain = root.leaf(&name("later"), &[], as_is);
    let mut world = trusting(&root).await;
    world.site.host(&name("later"), "127.0.0.1");
    world.site.set("upstream", "keep_alive_secs", 1);
    let file = world.site.path("root.crl");
    std::fs::write(&file, root.revoked(&[], -1..30).pem().unwrap()).unwrap();
    lists(&mut world, &["root.crl"]);
    let origin = ChainOrigin::start().await;
    origin.show(&name("later"), chain.clone());
    let wardgate = world.site.start().await;
    for round in ["first", "second"] {
        expect(&wardgate, &origin, "later", round, None).await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await; // the connection is closed, its session is not forgotten
    }
    assert_eq!(origin.resumed(), 1, "the session was not resumed");

    // Something broken first: the list of before stays in force.
    std::fs::write(&file, "no list").unwrap();
    eventually("the broken list is noticed", || wardgate.stderr().contains("are not reloaded")).await;
    expect(&wardgate, &origin, "later", "broken", None).await;
    std::fs::write(&file, root.revoked(&[chain.serial()], -1..30).pem().unwrap()).unwrap();
    eventually("the list is read again", || wardgate.stderr().contains("revocations were reloaded")).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let before = origin.resumed();
    expect(&wardgate, &origin, "later", "third", Some(("revoked", "by a revocation list"))).await;
    assert!(origin.resumed() > before, "the refused handshake was not a resumed one");
}

#[tokio::test]
async fn an_expired_list_counts_for_a_week_and_no_longer() {
    let root = Authority::root("Private root");
    let (late, old) = (root.under("Late", as_is), root.under("Old", as_is));
    let impostor = Authority::root("Late");
    let cases = [
        ("late-good", late.leaf(&name("late-good"), &[&late], as_is)),
        ("late-revoked", late.leaf(&name("late-revoked"), &[&late], as_is)),
        ("old-good", old.leaf(&name("old-good"), &[&old], as_is)),
        ("old-revoked", old.leaf(&name("old-revoked"), &[&old], as_is)),
        ("old-excepted", old.leaf(&name("old-excepted"), &[&old], as_is)),
    ];
    let mut world = trusting(&root).await;
    let origin = ChainOrigin::start().await;
    for (case, chain) in &cases {
        world.site.host(&name(case), "127.0.0.1");
        origin.show(&name(case), chain.clone());
    }
    std::fs::write(world.site.path("late.crl"), late.revoked(&[cases[1].1.serial()], -9..-2).pem().unwrap())
        .unwrap();
    std::fs::write(world.site.path("old.crl"), old.revoked(&[cases[3].1.serial()], -30..-10).pem().unwrap())
        .unwrap();
    lists(&mut world, &["late.crl", "old.crl"]);
    let date = (time::OffsetDateTime::now_utc() + time::Duration::days(20)).date().to_string();
    let exception = format!(
        "[[exception]]\nhost = \"{}\"\naccept = [\"revocation-unknown\"]\nreason = \"R\"\nuntil = {date}",
        name("old-excepted")
    );
    world.site.append("certificates.toml", &exception);
    let wardgate = world.site.start().await;
    assert_eq!(
        wardgate.stderr().matches("a revocation list has expired").count(),
        2,
        "{}",
        wardgate.stderr()
    );
    let by_list = Some(("revoked", "by a revocation list"));
    expect(&wardgate, &origin, "late-good", "0", None).await;
    expect(&wardgate, &origin, "late-revoked", "0", by_list).await;
    expect(&wardgate, &origin, "old-good", "0", Some(("revocation-unknown", "old.crl ended on "))).await;
    expect(&wardgate, &origin, "old-revoked", "0", by_list).await;
    let (status, line) = ask(&wardgate, &origin, &name("old-excepted"), "/excepted").await;
    assert_eq!((status, &line["wardgate.tls.problems"]), (200, &json!(["revocation-unknown"])), "{line:#}");

    // A list that somebody else signed in the issuer's name says nothing, and is no reason to believe.
    std::fs::write(world.site.path("late.crl"), impostor.revoked(&[], -1..30).pem().unwrap()).unwrap();
    eventually("the list is read again", || wardgate.stderr().contains("revocations were reloaded")).await;
    origin.show(&name("late-good"), late.leaf(&name("late-good"), &[&late], as_is));
    let told = world.site.run(&["limits", "--json"], "").await.succeeded().stdout;
    assert!(told.contains("It is over: after a week"), "{told}");
    let problem = Some(("revocation-unknown", "is not the issuer's"));
    world.site.set("upstream", "keep_alive_secs", 1);
    drop(wardgate);
    let wardgate = world.site.start().await;
    expect(&wardgate, &origin, "late-good", "1", problem).await;

    std::fs::write(world.site.path("late.crl"), "nothing").unwrap();
    let ran = world.site.run(&["serve"], "").await;
    assert!(
        ran.code == Some(3) && ran.stderr.contains("[upstream] crls") && ran.stderr.contains("late.crl"),
        "{ran:?}"
    );
}

/// An answer of RFC 6960 about a certificate of `issuer`.
struct Answer<'a> {
    issuer: &'a Authority,
    serial: Vec<u8>,
    /// `good`, `revoked` or `unknown`.
    status: &'static str,
    /// Days from now on which it was made and ends.
    days: (i64, i64),
    /// Who signs, with the certificate that is sent along; the issuer itself where absent.
    responder: Option<(&'a rcgen::KeyPair, &'a CertificateDer<'static>)>,
}

impl Answer<'_> {
    fn encode(&self) -> Vec<u8> {
        let time = |days: i64| {
            let at = time::OffsetDateTime::now_utc() + time::Duration::days(days);
            let text = format!("{:04}{:02}{:02}000000Z", at.year(), u8::from(at.month()), at.day());
            der(0x18, text.as_bytes())
        };
        let (_, issuer) = <x509_parser::certificate::X509Certificate<'_> as x509_parser::prelude::FromDer<
            '_,
            _,
        >>::from_der(&self.issuer.certificate)
        .unwrap();
        let sha1 = [0x30, 9, 0x06, 5, 0x2b, 0x0e, 3, 2, 0x1a, 0x05, 0];
        let id = [
            sha1.to_vec(),
            der(0x04, &sha1::Sha1::digest(issuer.subject().as_raw())),
            der(0x04, &sha1::Sha1::digest(&issuer.public_key().subject_public_key.data)),
            der(0x02, &self.serial),
        ];
        let status = match self.status {
            "good" => der(0x80, &[]),
            "revoked" => der(0xa1, &time(-3)),
            _ => der(0x82, &[]),
        };
        let single = [der(0x30, &id.concat()), status, time(self.days.0), der(0xa0, &time(self.days.1))];
        let responder = der(0xa2, &der(0x04, &[7; 20]));
        let data = [responder, time(self.days.0), der(0x30, &der(0x30, &single.concat()))];
        let data = der(0x30, &data.concat());
        let key = self.responder.map_or_else(|| self.issuer.issuer().key(), |(key, _)| key);
        let ecdsa_with_sha256 = der(0x30, &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        let signature = [vec![0], key.sign(&data).unwrap()].concat();
        let certificates = self.responder.map_or_else(Vec::new, |(_, sent)| der(0xa0, &der(0x30, sent)));
        let basic = der(0x30, &[data, ecdsa_with_sha256, der(0x03, &signature), certificates].concat());
        let kind = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
        let bytes = der(0x30, &[kind.to_vec(), der(0x04, &basic)].concat());
        der(0x30, &[vec![0x0a, 1, 0], der(0xa0, &bytes)].concat())
    }
}

fn must_staple(params: &mut CertificateParams) {
    let features = der(0x30, &[2, 1, 5]);
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], features)];
}

#[tokio::test]
async fn a_stapled_answer_is_believed_where_the_issuer_gave_it() {
    let root = Authority::root("Trusted root");
    let between = root.under("Between", as_is);
    let stranger = Authority::root("Between"); // the same name, another key
    let responder = |by: &Authority, purpose: ExtendedKeyUsagePurpose| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, by.issuer()).unwrap().der().clone();
        (key, certificate)
    };
    let named = responder(&between, ExtendedKeyUsagePurpose::OcspSigning);
    let unnamed = responder(&between, ExtendedKeyUsagePurpose::ServerAuth);
    let of_another = responder(&root, ExtendedKeyUsagePurpose::OcspSigning);
    let sent = |pair: &'static str| match pair {
        "named" => Some((&named.0, &named.1)),
        "unnamed" => Some((&unnamed.0, &unnamed.1)),
        "of another" => Some((&of_another.0, &of_another.1)),
        _ => None,
    };
    let fresh = (-1, 6);
    let revoked = Some(("revoked", "the site itself brings its issuer's answer"));
    let demanded = |said| Some(("revocation-unknown", said));
    let (none, not_good) = (demanded("no answer is stapled"), demanded("does not say that it is good"));
    struct Case {
        name: &'static str,
        must: bool,
        answer: Option<(&'static str, (i64, i64), &'static str)>,
        refused: Option<(&'static str, &'static str)>,
    }
    let case = |name, must, answer, refused| Case { name, must, answer, refused };
    let cases = [
        case("good", false, Some(("good", fresh, "issuer")), None),
        case("revoked", false, Some(("revoked", fresh, "issuer")), revoked),
        case("revoked-long-ago", false, Some(("revoked", (-60, -50), "issuer")), revoked),
        case("revoked-by-a-named-responder", false, Some(("revoked", fresh, "named")), revoked),
        case("revoked-by-an-unnamed-responder", false, Some(("revoked", fresh, "unnamed")), None),
        case("revoked-by-anothers-responder", false, Some(("revoked", fresh, "of another")), None),
        case("revoked-by-a-stranger", false, Some(("revoked", fresh, "stranger")), None),
        case("revoked-another", false, Some(("revoked", fresh, "another serial")), None),
        case("revoked-tomorrow", false, Some(("revoked", (2, 6), "issuer")), None),
        case("unknown", false, Some(("unknown", fresh, "issuer")), None),
        case("garbage", false, Some(("good", fresh, "garbage")), None),
        case("must-staple-good", true, Some(("good", fresh, "issuer")), None),
        case("must-staple-good-by-responder", true, Some(("good", fresh, "named")), None),
        case("must-staple-none", true, None, none),
        case("must-staple-old", true, Some(("good", (-30, -20), "issuer")), not_good),
        case("must-staple-unknown", true, Some(("unknown", fresh, "issuer")), not_good),
        case("must-staple-stranger", true, Some(("good", fresh, "stranger")), not_good),
        case("must-staple-garbage", true, Some(("good", fresh, "garbage")), not_good),
        case("must-staple-revoked", true, Some(("revoked", fresh, "issuer")), revoked),
    ];
    let world = trusting(&root).await;
    let origin = ChainOrigin::start().await;
    for Case { name: case, must, answer, .. } in &cases {
        world.site.host(&name(case), "127.0.0.1");
        let mut chain = between.leaf(&name(case), &[&between], |params| {
            if *must {
                must_staple(params);
            }
        });
        chain.ocsp = answer.map(|(status, days, by)| {
            let serial = if by == "another serial" { vec![1, 2, 3] } else { chain.serial() };
            let issuer = &between;
            let stranger = (stranger.issuer().key(), &stranger.certificate);
            let responder = if by == "stranger" { Some(stranger) } else { sent(by) };
            let answer = Answer { issuer, serial, status, days, responder }.encode();
            if by == "garbage" { answer[..answer.len() - 7].to_vec() } else { answer }
        });
        origin.show(&name(case), chain);
    }
    let wardgate = world.site.start().await;
    for Case { name: case, refused, .. } in &cases {
        expect(&wardgate, &origin, case, "0", *refused).await;
    }
}

/// The same with OpenSSL's responder, which signs with RSA and writes what all of them write.
#[tokio::test]
async fn answers_of_openssls_responder_are_understood() {
    let openssl = OpenSsl::new();
    openssl.root("root", "-newkey rsa:2048 -sha256").await;
    let mut index = String::new();
    for (file, status) in [("good", "V\t300101000000Z\t"), ("gone", "R\t300101000000Z\t250101000000Z")] {
        openssl
            .issue(file, "rsa:2048", "root", "-sha256", &format!("subjectAltName=DNS:{}\n", name(file)))
            .await;
        let serial = openssl.run(&format!("x509 -in {file}.pem -noout -serial")).await;
        let serial = serial.trim().trim_start_matches("serial=").to_owned();
        index += &format!("{status}\t{serial}\tunknown\t/CN={file}\n");
    }
    std::fs::write(openssl.path("index.txt"), index).unwrap();
    let mut world = World::new().await;
    let root = openssl.path("root.pem").to_str().unwrap().to_owned();
    world.site.set("upstream", "extra_roots", vec![root]);
    let origin = ChainOrigin::start().await;
    for file in ["good", "gone"] {
        openssl
            .run(&format!("ocsp -issuer root.pem -cert {file}.pem -reqout {file}.request -no_nonce"))
            .await;
        openssl
            .run(&format!(
                "ocsp -index index.txt -CA root.pem -rsigner root.pem -rkey root.key -ndays 3 -reqin {file}.request \
                 -respout {file}.answer"
            ))
            .await;
        let mut chain =
            Chain::read(&openssl.path(&format!("{file}.pem")), &openssl.path(&format!("{file}.key")));
        chain.ocsp = Some(std::fs::read(openssl.path(&format!("{file}.answer"))).unwrap());
        origin.show(&name(file), chain);
        world.site.host(&name(file), "127.0.0.1");
    }
    let wardgate = world.site.start().await;
    expect(&wardgate, &origin, "good", "0", None).await;
    expect(&wardgate, &origin, "gone", "0", Some(("revoked", "its issuer's answer"))).await;
}

const LOG: [u8; 32] = [9; 32];
/// When the certificates were logged, in milliseconds.
const LOGGED: u64 = 1_780_000_000_000;

/// The extension in which public authorities put their proofs of logging (RFC 6962, section 3.3), with one in it.
fn logged(log: [u8; 32], at: u64) -> CustomExtension {
    let mut proof = vec![0]; // version 1
    proof.extend(log);
    proof.extend(at.to_be_bytes());
    proof.extend([0, 0]); // no extensions
    proof.extend([4, 3, 0, 4, 1, 2, 3, 4]); // a signature, which nobody here looks at
    let mut list = (proof.len() as u16).to_be_bytes().to_vec();
    list.extend(&proof);
    let mut all = (list.len() as u16).to_be_bytes().to_vec();
    all.extend(list);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], der(0x04, &all))
}

/// A filter as Mozilla publishes them, over a hundred certificates of this issuer beside the ones named.
fn filter(issuer: &Authority, revoked: &[Vec<u8>], good: &[Vec<u8>]) -> Vec<u8> {
    let issuer = IssuerSpkiHash(sha2::Sha256::digest(issuer.issuer().key().subject_public_key_info()).into());
    let others = (0..100u8).map(|n| (vec![1, n], n % 3 == 0));
    let named =
        revoked.iter().map(|one| (one.clone(), true)).chain(good.iter().map(|one| (one.clone(), false)));
    let all: Vec<(Vec<u8>, bool)> = others.chain(named).collect();
    let item = |(serial, revoked): &(Vec<u8>, bool)| match revoked {
        true => CRLiteBuilderItem::revoked(issuer, serial.clone()),
        false => CRLiteBuilderItem::not_revoked(issuer, serial.clone()),
    };
    let mut builder = ClubcardBuilder::new();
    let mut approximate = builder.new_approx_builder(&issuer.0);
    approximate.set_universe_size(all.len());
    all.iter().filter(|(_, revoked)| *revoked).for_each(|one| approximate.insert(item(one)));
    builder.collect_approx_ribbons(vec![ApproximateRibbon::from(approximate)]);
    let mut exact = builder.new_exact_builder(&issuer.0);
    all.iter().for_each(|one| exact.insert(item(one)));
    builder.collect_exact_ribbons(vec![ExactRibbon::from(exact)]);
    let log = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, LOG);
    let coverage = json!([{
        "LogID": log, "MinTimestamp": LOGGED - 1000, "MaxTimestamp": LOGGED + 1000, "MMD": 0, "MinEntry": 0
    }]);
    let coverage = CRLiteCoverage::from_mozilla_ct_logs_json(coverage.to_string().as_bytes());
    let filter = CRLiteClubcard::from(builder.build::<CRLiteQuery<'_>>(coverage, ()));
    filter.to_bytes(Encoding::V4).unwrap()
}

/// Writes what `upki fetch` would have.
fn publish(dir: &Path, filter: &[u8], made: u64) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("a.filter"), filter).unwrap();
    let hash: String = sha2::Sha256::digest(filter).iter().map(|byte| format!("{byte:02x}")).collect();
    let files = [json!({ "filename": "a.filter", "size": filter.len(), "hash": hash })];
    let manifest = json!({ "generated_at": made, "comment": "for tests", "files": files });
    std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
}

#[tokio::test]
async fn what_crlite_knows_to_be_revoked_is_refused() {
    let root = Authority::root("Public root");
    let public = root.under("Public", as_is);
    let with = |case: &str, log: [u8; 32], at: u64| {
        public.leaf(&name(case), &[&public], |params| params.custom_extensions = vec![logged(log, at)])
    };
    let (gone, good) = (with("gone", LOG, LOGGED), with("good", LOG, LOGGED));
    let cases = [
        ("good", good.clone(), None),
        ("gone", gone.clone(), Some(("revoked", "CRLite"))),
        // Nothing is said about what was logged elsewhere, too late, or nowhere.
        ("elsewhere", Chain { ..with("elsewhere", [8; 32], LOGGED) }, None),
        ("too-late", with("too-late", LOG, LOGGED + 10_000), None),
        ("unlogged", public.leaf(&name("unlogged"), &[&public], as_is), None),
    ];
    let revoked = ["gone", "elsewhere", "too-late", "unlogged"];
    let serials = |names: &[&str]| -> Vec<Vec<u8>> {
        cases.iter().filter(|(name, ..)| names.contains(name)).map(|(_, chain, _)| chain.serial()).collect()
    };
    let filter = filter(&public, &serials(&revoked), &[good.serial()]);

    let mut world = trusting(&root).await;
    let dir = world.site.path("crlite");
    world.site.set("upstream", "crlite_dir", dir.to_str().unwrap());
    world.site.set("upstream", "keep_alive_secs", 1);
    let origin = ChainOrigin::start().await;
    for (case, chain, _) in &cases {
        world.site.host(&name(case), "127.0.0.1");
        origin.show(&name(case), chain.clone());
    }
    // No data yet: nothing is checked, and that is said.
    let wardgate = world.site.start().await;
    assert!(wardgate.stderr().contains("crlite_dir holds no data"), "{}", wardgate.stderr());
    expect(&wardgate, &origin, "gone", "0", None).await;
    let told = world.site.run(&["limits"], "").await.succeeded().stdout;
    assert!(told.contains("there are no data of CRLite"), "{told}");

    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    publish(&dir, &filter, now);
    eventually("the data are read", || wardgate.stderr().contains("revocations were reloaded")).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    for (case, _, refused) in &cases {
        expect(&wardgate, &origin, case, "1", *refused).await;
    }
    let told = world.site.run(&["limits"], "").await.succeeded().stdout;
    assert!(told.contains("1 filters of CRLite, as of ") && !told.contains("no data of CRLite"), "{told}");
    drop(wardgate);

    // A file that is not the one of the manifest: said, and not used.
    std::fs::write(dir.join("a.filter"), &filter[..filter.len() - 1]).unwrap();
    let wardgate = world.site.start().await;
    assert!(wardgate.stderr().contains("not the file that the manifest names"), "{}", wardgate.stderr());
    expect(&wardgate, &origin, "gone", "2", None).await;
    drop(wardgate);

    // Data that nobody renews are worth a warning.
    publish(&dir, &filter, now - 20 * 86_400);
    let wardgate = world.site.start().await;
    assert!(wardgate.stderr().contains("CRLite's data are old"), "{}", wardgate.stderr());
    expect(&wardgate, &origin, "gone", "3", Some(("revoked", "CRLite"))).await;
}
