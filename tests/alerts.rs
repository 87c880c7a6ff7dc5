//! Concerning access is brought to people: by mail and webhook, once, though the program is killed in between and the
//! receivers are away for a while.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::Method;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::harness::smtp::{Mail, Smtp};
use crate::harness::webhook::{Call, Webhook};
use crate::harness::{ALLOWED, SELF_HARM_WORDS, Wardgate, World, eventually, request, tools};

const SECRET: &str = "a secret of the tests";
/// How long nothing may come after everything has come, before it counts as delivered once.
const QUIET: Duration = Duration::from_secs(3);

/// Tells a site where its mail and its webhook go.
pub(crate) fn configure(world: &mut World, mail: SocketAddr, tls: &str, hook: SocketAddr) {
    let root = world.site.path("root.pem").to_str().unwrap().to_owned();
    world.site.set("alerts.smtp", "server", mail.ip().to_string());
    world.site.set("alerts.smtp", "port", i64::from(mail.port()));
    world.site.set("alerts.smtp", "tls", tls);
    world.site.set("alerts.smtp", "from", "Wardgate <wardgate@example.test>");
    world.site.set("alerts.smtp", "to", vec!["dsl@example.test"]);
    world.site.set("alerts.smtp", "ca", root);
    world.site.set("alerts.webhook", "url", format!("http://{hook}/hook"));
    world.site.set("alerts.webhook", "secret", SECRET);
}

/// Addresses at which nobody listens yet.
async fn addresses_of_the_absent() -> (SocketAddr, SocketAddr) {
    let any = "127.0.0.1:0".parse().unwrap();
    (Smtp::start(any, None).await.address, Webhook::start(any).await.address)
}

/// Maps 127.0.1.n to the user `person-n`, so that alerts are about as many people as a test wants.
fn people(world: &World, count: u8) -> Vec<(IpAddr, String)> {
    let people: Vec<(IpAddr, String)> =
        (1..=count).map(|n| (IpAddr::from([127, 0, 1, n]), format!("person-{n}"))).collect();
    for (address, user) in &people {
        world
            .site
            .append("identity.toml", &format!("[[address]]\naddress = \"{address}\"\nuser = \"{user}\""));
    }
    people
}

/// Somebody sends words that alert at once; the answer is the block page, so the event is recorded.
async fn write_something_worrying(world: &World, wardgate: &Wardgate, from: IpAddr, mark: &str) -> bool {
    let client = wardgate.client().at(from);
    let url = world.http(ALLOWED, &format!("/echo?{mark}"));
    let mut asked = request(Method::POST, &url, format!("comment={}", SELF_HARM_WORDS.replace(' ', "+")));
    asked.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    client.try_send(asked).await.is_ok_and(|reply| reply.status == 403)
}

fn assert_signed(call: &Call) {
    let header = call.headers["wardgate-signature"].to_str().unwrap();
    let (time, signature) =
        header.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("t=…,v1=…");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.{}", call.body).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, expected);
}

fn assert_names_the_event(mail: &Mail, call: &Call, line: &serde_json::Value) {
    let id = line["event.id"].as_str().unwrap();
    let text = mail.text();
    for part in [id, "Self-harm", "Content-Type: text/plain", "text/html", "person-1"] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part:?} is missing from {text}");
    }
    assert_eq!(
        (mail.from.as_str(), &mail.to[..]),
        ("wardgate@example.test", &["dsl@example.test".to_owned()][..])
    );
    assert!(mail.header("Message-ID").is_some() && mail.header("Subject").is_some());
    assert!(call.body.contains(id), "{}", call.body);
    assert!(call.json().is_object());
    assert_signed(call);
}

#[tokio::test]
async fn an_alert_is_delivered_at_once_over_tls() {
    let mut world = World::new().await;
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (mail, hook) = (Smtp::start(any, Some(&world.pki)).await, Webhook::start(any).await);
    configure(&mut world, mail.address, "required", hook.address);
    let people = people(&world, 1);
    let wardgate = world.site.start().await;
    assert!(write_something_worrying(&world, &wardgate, people[0].0, "first").await);
    let line = wardgate.line_about("?first").await;
    assert_eq!(line["user.name"], "person-1");
    eventually("mail and webhook are delivered", || mail.mails().len() == 1 && hook.calls().len() == 1).await;
    assert_names_the_event(&mail.mails()[0], &hook.calls()[0], &line);
    assert!(mail.mails()[0].encrypted);

    // More of the same within minutes is the same alert: nobody gets a second message.
    assert!(write_something_worrying(&world, &wardgate, people[0].0, "second").await);
    wardgate.line_about("?second").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!((mail.mails().len(), hook.calls().len()), (1, 1));
}

#[tokio::test]
async fn an_alert_survives_a_kill_while_nobody_receives() {
    let mut world = World::new().await;
    let (mail, hook) = addresses_of_the_absent().await;
    configure(&mut world, mail, "none", hook);
    let people = people(&world, 1);
    let mut wardgate = world.site.start().await;
    assert!(write_something_worrying(&world, &wardgate, people[0].0, "before-the-kill").await);
    let line = wardgate.line_about("before-the-kill").await;
    wardgate.kill().await;

    let wardgate = world.site.start().await;
    let (mail, hook) = (Smtp::start(mail, None).await, Webhook::start(hook).await);
    eventually("mail and webhook are delivered", || !mail.mails().is_empty() && !hook.calls().is_empty())
        .await;
    tokio::time::sleep(QUIET).await;
    assert_eq!((mail.mails().len(), hook.calls().len()), (1, 1), "delivered more than once");
    assert_names_the_event(&mail.mails()[0], &hook.calls()[0], &line);

    // And a later start finds nothing left to send.
    drop(wardgate);
    let _wardgate = world.site.start().await;
    tokio::time::sleep(QUIET).await;
    assert_eq!((mail.mails().len(), hook.calls().len()), (1, 1), "delivered again after a restart");
}

#[tokio::test]
async fn alerts_survive_kills_at_any_moment() {
    const ROUNDS: u8 = 10;
    let mut world = World::new().await;
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (mail, hook) = (Smtp::start(any, None).await, Webhook::start(any).await);
    configure(&mut world, mail.address, "none", hook.address);
    let people = people(&world, ROUNDS);
    let mut worrying = HashSet::new();
    for (round, (address, user)) in people.iter().enumerate() {
        let mut wardgate = world.site.start().await;
        // From "before the line is written" to "after everything is delivered".
        let delay = Duration::from_millis(15 * u64::try_from(round * round).unwrap());
        if write_something_worrying(&world, &wardgate, *address, &format!("round-{round}.")).await {
            worrying.insert(user.clone());
        }
        tokio::time::sleep(delay).await;
        wardgate.kill().await;
        // What was answered but died before its line was on disk left no record to alert from; the test below
        // therefore expects an alert for each line, and no line may be missing but the last one's.
        let lines = crate::harness::wardgate::read_log(&world.site.path("data/log"));
        if !lines.iter().any(|line| line["user.name"] == user.as_str()) {
            worrying.remove(user);
        }
    }
    assert!(worrying.len() >= usize::from(ROUNDS) / 2, "too few lines survived: {worrying:?}");

    let _wardgate = world.site.start().await;
    let told = |texts: Vec<String>| worrying.iter().all(|user| texts.iter().any(|text| mentions(text, user)));
    eventually("every alert is mailed", || told(mail.mails().iter().map(Mail::text).collect())).await;
    eventually("every alert is posted", || told(hook.calls().iter().map(|call| call.body.clone()).collect()))
        .await;
    tokio::time::sleep(QUIET).await;

    // A receiver that has acknowledged may hear of it again only where the kill fell between its acknowledgement and
    // our note of it; then the id is the same, so that it can tell. No alert may come under two ids.
    let mails = mail.mails();
    let calls = hook.calls();
    let mailed: HashSet<String> = mails.iter().map(|mail| mail.header("Message-ID").unwrap()).collect();
    let posted: HashSet<_> = calls.iter().map(|call| call.headers["wardgate-delivery"].clone()).collect();
    for (_, user) in &people {
        let ids: HashSet<_> = mails
            .iter()
            .filter(|mail| mentions(&mail.text(), user))
            .map(|mail| mail.header("Message-ID"))
            .collect();
        assert!(ids.len() <= 1, "{user}'s alert was mailed under several ids: {ids:?}");
    }
    assert!(posted.len() <= people.len(), "an alert was posted under several ids: {posted:?}");
    let repeated = (mails.len() - mailed.len()) + (calls.len() - posted.len());
    eprintln!("{repeated} of {} deliveries were repeated over {ROUNDS} kills", mailed.len() + posted.len());
    assert!(repeated <= usize::from(ROUNDS), "{repeated} deliveries were repeated over {ROUNDS} kills");
}

#[tokio::test]
async fn alerts_wait_for_a_locked_database() {
    let mut world = World::new().await;
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let (mail, hook) = (Smtp::start(any, None).await, Webhook::start(any).await);
    configure(&mut world, mail.address, "none", hook.address);
    let people = people(&world, 1);
    let wardgate = world.site.start().await;
    let lock = hold_lock(&world.site.path("data/wardgate.db")).await;

    // What happens is recorded in the log, so it may go on; who would change a record is told.
    assert!(write_something_worrying(&world, &wardgate, people[0].0, "while-locked").await);
    wardgate.line_about("while-locked").await;
    let ran = world
        .site
        .run(&["users", "add", "anna", "--groups", "learners", "--password-stdin"], "correct horse\n")
        .await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("locked"), "{}", ran.stderr);
    assert!(mail.mails().is_empty());

    drop(lock);
    eventually("the alert is delivered", || mail.mails().len() == 1 && hook.calls().len() == 1).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!((mail.mails().len(), hook.calls().len()), (1, 1));
}

/// Keeps everybody else from writing to a database, until dropped.
async fn hold_lock(database: &std::path::Path) -> tokio::process::Child {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  db.execute('BEGIN EXCLUSIVE')\n\
                  print('locked', flush=True)\n\
                  sys.stdin.read()\n";
    let mut child = tokio::process::Command::new(tools::find("python3"))
        .args(["-c", script])
        .arg(database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).await.unwrap();
    assert_eq!(said.trim(), "locked");
    child
}

/// Whether a text names this very person: `person-1` is not in `person-10`.
fn mentions(text: &str, user: &str) -> bool {
    text.match_indices(user)
        .any(|(at, _)| !text[at + user.len()..].starts_with(|next: char| next.is_ascii_digit()))
}
