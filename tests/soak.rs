//! A soak: mixed traffic for a minute or an hour, while origins fail, names do not resolve, the log's disk is full, the
//! policy changes and the program is killed. Memory stays flat, descriptors come back, each exchange has one line, and
//! each alert is delivered once. `tests/soak/run` starts it; what is asserted is said in tests/README.md.

mod dns;
mod faulty;
mod ledger;
mod report;
mod traffic;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::harness::smtp::Smtp;
use crate::harness::webhook::Webhook;
use crate::harness::{Client, Origin, Wardgate, World};
use dns::{Dns, Said, TTL};
use faulty::Faulty;
use ledger::{Ledger, Reader, Trouble};
use report::Report;
use traffic::{FAILING_NAME, FLAKY, Ground, MOVING, NO_SUCH_NAME, SILENT_NAME, STEADY, TOGGLED};

/// Where `tests/soak/run` has made the system's resolver ask.
const NAME_SERVER: &str = "127.0.0.1:53";
/// The same after each restart, as at a school.
const PROXY: &str = "127.0.0.1:3128";
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Where the origin is that changes its address, in turn.
const PLACES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(127, 0, 2, 2)];
const MOVING_HTTP: u16 = 8080;
const MOVING_HTTPS: u16 = 8443;

/// How often everything is looked at.
const GLANCE: Duration = Duration::from_millis(100);
const SAMPLED_EVERY: Duration = Duration::from_secs(1);
const RELOADED_EVERY: Duration = Duration::from_secs(10);
const MOVED_EVERY: Duration = Duration::from_secs(20);
const DNS_FAILS_EVERY: Duration = Duration::from_secs(20);
const DNS_FAILS_FOR: Duration = Duration::from_secs(4);
/// A question that was never answered is given up after this time at the latest, and with it those that waited for the
/// same answer.
const DNS_GIVES_UP: Duration = Duration::from_secs(16);
/// How long the origin is at both addresses: who has looked the former one up connects within this.
const MOVING_TAKES: Duration = Duration::from_secs(TTL as u64 + 4);
/// Requests under way at an address that is left may break, for this long.
const LEFT: Duration = Duration::from_secs(2);
/// How long after a restart somebody may still find that a connection to the former life is gone.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(1);
/// How long the disk is full, in a run of a few minutes and in a longer one.
const FULL_FOR: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(15)];
/// The size of the log's disk: an hour's log is some 600 MB. It takes memory only for what is written.
const DISK: &str = "3g";
/// Room that a full disk still has, in bytes: the first lines are written.
const LAST_ROOM: u64 = 64 * 1024;

const HALF_A_DAY: Duration = Duration::from_secs(12 * 3600);
/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long nothing may come after everything has come.
const QUIET: Duration = Duration::from_secs(3);
/// Descriptors that a life may have open in the end beyond those it began with: connections to the records are opened
/// when they are first needed, three files each.
const KEPT: usize = 16;

/// Begins and ends in a namespace of its own, which is why it is not run with the other tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by tests/soak/run"]
async fn an_hour_of_mixed_traffic_and_faults() {
    let minutes = std::env::var("WARDGATE_SOAK_MINUTES").expect("start it with tests/soak/run");
    let minutes: u64 = minutes.parse().expect("WARDGATE_SOAK_MINUTES is a number of minutes");
    let mut soak = Soak::prepare(Duration::from_secs(60 * minutes)).await;
    let workers = traffic::start(&soak.ground);
    soak.go_on().await;
    soak.ground.stop.store(true, Ordering::SeqCst);
    tokio::time::timeout(PATIENCE, workers.join_all()).await.expect("a worker hangs");
    let report = soak.end().await;
    fs::create_dir_all(report_dir()).unwrap();
    fs::write(report_dir().join("report.md"), &report.text).unwrap();
    println!("{}", report.text);
    assert!(report.faults.is_empty(), "{}", report.faults.join("\n"));
}

fn report_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/soak")
}

/// What happens beside the traffic.
#[derive(Clone, Copy, Debug)]
enum Act {
    Reload,
    Move,
    Leave,
    FailDns(Said),
    MendDns(Said),
    FillDisk,
    EmptyDisk,
    Kill,
}

/// One life of the proxy, from a start to its end.
struct Life {
    began: Duration,
    /// When, resident memory in bytes, and open descriptors.
    samples: Vec<(Duration, u64, usize)>,
}

struct Soak {
    world: World,
    wardgate: Wardgate,
    ground: Arc<Ground>,
    ledger: Arc<Ledger>,
    reader: Reader,
    dns: Dns,
    mail: Smtp,
    hook: Webhook,
    _faulty: Faulty,
    /// The origin that moves, at its present place and, for a while, its former one.
    here: Origin,
    there: Option<Origin>,
    place: usize,
    log: PathBuf,
    /// What is to be done, in order.
    acts: Vec<(Duration, Act)>,
    lives: Vec<Life>,
    descriptors: usize,
    reloads: usize,
    blocked: bool,
    /// How many messages had come just behind each kill, and by the time that the next life was ready: what was under way
    /// at the kill may be among those.
    mails_at_kills: Vec<(usize, usize)>,
    calls_at_kills: Vec<(usize, usize)>,
    lasts: Duration,
}

impl Soak {
    async fn prepare(lasts: Duration) -> Self {
        let mut world = World::alone().await;
        let dns = Dns::start(NAME_SERVER.parse().unwrap()).await;
        for (name, said) in [
            (STEADY, Said::At(LOOPBACK)),
            (FLAKY, Said::At(LOOPBACK)),
            (MOVING, Said::At(PLACES[0])),
            (NO_SUCH_NAME, Said::NoSuchName),
            (FAILING_NAME, Said::Failed),
            (SILENT_NAME, Said::Nothing),
        ] {
            dns.say(name, said);
        }
        world.site.host(TOGGLED, "127.0.0.1");
        let faulty = Faulty::start(&world.pki).await;
        let here = origin_at(&world, PLACES[0]).await;
        let any = "127.0.0.1:0".parse().unwrap();
        let (mail, hook) = (Smtp::start(any, None).await, Webhook::start(any).await);
        crate::alerts::configure(&mut world, mail.address, "none", hook.address);
        // A digest is half a day away, so that every message is an alert.
        world.site.set("alerts", "time_zone", "UTC");
        world.site.set(
            "alerts.digest",
            "at",
            format!("{:02}:00", hour_of_day(SystemTime::now() + HALF_A_DAY)),
        );
        let people = u32::try_from(lasts.as_secs() / 2).unwrap();
        let seats = (1..=people).map(|person| {
            format!("[[address]]\naddress = \"{}\"\nuser = \"person-{person}\"\n", traffic::seat(person))
        });
        world.site.append("identity.toml", &seats.collect::<String>());
        world.site.set("proxy", "listen", PROXY);
        world.site.set("upstream", "response_timeout_secs", 10);
        world.site.set("upstream", "idle_timeout_secs", 10);
        world.site.set("upstream", "keep_alive_secs", 5);
        let log = world.site.path("data/log");
        fs::create_dir_all(&log).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={DISK}"), "none", log.to_str().unwrap()]);

        let wardgate = world.site.start().await;
        let ledger = Ledger::open();
        let ground = Arc::new(Ground {
            ledger: Arc::clone(&ledger),
            client: wardgate.client(),
            stranger: Client::new(wardgate.proxy, &world.pki.root_pem),
            proxy: wardgate.proxy,
            http: world.origin.http.port(),
            https: world.origin.https.port(),
            faulty_http: faulty.http.port(),
            faulty_https: faulty.https.port(),
            moving_http: MOVING_HTTP,
            moving_https: MOVING_HTTPS,
            people,
            stop: AtomicBool::new(false),
            lives: AtomicU64::new(0),
        });
        assert!(traffic::is_healthy(&ground).await);
        ledger.change_asked(false);
        ledger.change_taken();
        let descriptors = wardgate.descriptors();
        Self {
            reader: Reader::new(log.clone()),
            world,
            wardgate,
            ground,
            ledger,
            dns,
            mail,
            hook,
            _faulty: faulty,
            here,
            there: None,
            place: 0,
            log,
            acts: acts(lasts),
            lives: vec![Life { began: Duration::ZERO, samples: Vec::new() }],
            descriptors,
            reloads: 0,
            blocked: false,
            mails_at_kills: Vec::new(),
            calls_at_kills: Vec::new(),
            lasts,
        }
    }

    /// Does what is due and looks at everything, until the time is over.
    async fn go_on(&mut self) {
        let (mut sampled, mut told) = (Duration::ZERO, Duration::ZERO);
        while self.ledger.now() < self.lasts || !self.acts.is_empty() {
            let now = self.ledger.now();
            while self.acts.first().is_some_and(|(due, _)| *due <= now) {
                let (_, act) = self.acts.remove(0);
                self.act(act).await;
            }
            if now >= sampled + SAMPLED_EVERY {
                sampled = now;
                self.sample();
            }
            if now >= told + Duration::from_secs(60) {
                told = now;
                eprintln!("soak: {} s, {} MiB", now.as_secs(), self.wardgate.memory() >> 20);
            }
            self.look();
            sleep(GLANCE).await;
        }
    }

    fn sample(&mut self) {
        let sample = (self.ledger.now(), self.wardgate.memory(), self.wardgate.descriptors());
        self.lives.last_mut().unwrap().samples.push(sample);
    }

    /// Reads on in the log, and in what the origins saw.
    fn look(&mut self) {
        for origin in [Some(&self.world.origin), Some(&self.here), self.there.as_ref()].into_iter().flatten()
        {
            origin.take_seen().iter().for_each(|seen| self.ledger.note_seen(&seen.path));
        }
        self.reader.read_on(&self.ledger);
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Reload => self.reload().await,
            Act::Move => self.move_on().await,
            Act::Leave => self.leave().await,
            Act::FailDns(said) => {
                self.ledger.trouble_begins(Trouble::DnsFails);
                self.dns.say(FLAKY, said);
            }
            Act::MendDns(said) => {
                self.dns.say(FLAKY, Said::At(LOOPBACK));
                let later = if said == Said::Nothing { DNS_GIVES_UP } else { LEFT };
                self.ledger.trouble_ends(Trouble::DnsFails, later);
            }
            Act::FillDisk => self.fill_disk().await,
            Act::EmptyDisk => self.empty_disk().await,
            Act::Kill => self.kill().await,
        }
    }

    /// Puts another policy into force, and waits until it is.
    async fn reload(&mut self) {
        self.reloads += 1;
        self.blocked = !self.blocked;
        let host = if self.blocked { TOGGLED } else { "nowhere.example.test" };
        let list = format!(
            "blocked.example.test\nexample.test/gambling-room\n{host}\nreload-{}.example.test\n",
            self.reloads
        );
        let (new, place) =
            (self.world.site.path("new.txt"), self.world.site.path("policies/lists/gambling.txt"));
        fs::write(&new, list).unwrap();
        fs::rename(new, place).unwrap();
        let done = || self.wardgate.stderr().matches("the policy was reloaded").count();
        let before = done();
        self.ledger.change_asked(self.blocked);
        self.wardgate.signal("HUP");
        until("the policy is reloaded", || done() > before).await;
        self.ledger.change_taken();
    }

    /// The origin is at another address from now on, and for a while still at its former one.
    async fn move_on(&mut self) {
        self.place = (self.place + 1) % PLACES.len();
        let next = origin_at(&self.world, PLACES[self.place]).await;
        self.there = Some(std::mem::replace(&mut self.here, next));
        self.dns.say(MOVING, Said::At(PLACES[self.place]));
    }

    async fn leave(&mut self) {
        self.look();
        self.ledger.trouble_begins(Trouble::Moved);
        let left = self.there.take().expect("it has moved");
        sleep(GLANCE).await;
        left.take_seen().iter().for_each(|seen| self.ledger.note_seen(&seen.path));
        drop(left);
        self.ledger.trouble_ends(Trouble::Moved, LEFT);
    }

    /// Leaves the log's disk next to no room, and waits until an exchange is refused.
    async fn fill_disk(&mut self) {
        let from = self.ledger.now();
        self.ledger.trouble_begins(Trouble::DiskFull);
        // What is written in between can make the size too small, which is refused: tried again.
        let shrink = || {
            let size = used(&self.log) + LAST_ROOM;
            mount(&["-o", &format!("remount,size={size}"), self.log.to_str().unwrap()])
        };
        until("the disk is full", shrink).await;
        let refused = || self.ledger.has_refused_since(from);
        until("an exchange is refused while the log cannot be written", refused).await;
        assert!(!traffic::is_healthy(&self.ground).await, "/healthz says that all is fine");
    }

    /// Gives the disk its room back, and waits until exchanges are taken again.
    async fn empty_disk(&mut self) {
        run("mount", &["-o", &format!("remount,size={DISK}"), self.log.to_str().unwrap()]);
        let deadline = self.ledger.now() + PATIENCE;
        while !traffic::is_healthy(&self.ground).await {
            assert!(self.ledger.now() < deadline, "it does not recover from a full disk");
            sleep(GLANCE).await;
        }
        self.ledger.trouble_ends(Trouble::DiskFull, Duration::ZERO);
    }

    /// `kill -9`, and a new start.
    async fn kill(&mut self) {
        self.sample();
        self.ledger.trouble_begins(Trouble::Killed);
        self.ground.lives.fetch_add(1, Ordering::SeqCst);
        self.wardgate.kill().await;
        let (mails, calls) = (self.mail.mails().len(), self.hook.calls().len());
        self.wardgate = self.world.site.start().await;
        self.mails_at_kills.push((mails, self.mail.mails().len()));
        self.calls_at_kills.push((calls, self.hook.calls().len()));
        self.lives.push(Life { began: self.ledger.now(), samples: Vec::new() });
        self.ledger.trouble_ends(Trouble::Killed, FORGOTTEN_AFTER);
    }

    /// Waits until everything is quiet, and draws the account.
    async fn end(mut self) -> Report {
        let mut faults = Vec::new();
        let deadline = self.ledger.now() + PATIENCE;
        while self.ledger.missing() > 0 && self.ledger.now() < deadline {
            self.look();
            sleep(GLANCE).await;
        }
        let people = self.ledger.alerted();
        let deadline = self.ledger.now() + PATIENCE;
        while self.ledger.now() < deadline
            && (self.mailed().keys().len() < people.len() || self.posted().keys().len() < people.len())
        {
            sleep(GLANCE * 5).await;
        }
        sleep(QUIET).await;
        self.look();
        let deadline = self.ledger.now() + PATIENCE;
        while self.wardgate.descriptors() > self.descriptors + KEPT && self.ledger.now() < deadline {
            sleep(GLANCE).await;
        }
        self.sample();
        let descriptors = self.wardgate.descriptors();
        if descriptors > self.descriptors + KEPT {
            faults.push(format!(
                "descriptors leak: {} at the start, {descriptors} in the end",
                self.descriptors
            ));
        }
        let status = self.wardgate.terminate().await;
        if status.code() != Some(0) {
            faults.push(format!("it does not stop as it should: {status}: {}", self.wardgate.stderr()));
        }
        self.look();
        if self.reader.torn > self.mails_at_kills.len() as u64 {
            faults.push(format!(
                "{} lines are torn, over {} kills",
                self.reader.torn,
                self.mails_at_kills.len()
            ));
        }
        let mails = deliveries("mail", &people, self.mailed(), &self.mails_at_kills, &mut faults);
        let calls = deliveries("webhook", &people, self.posted(), &self.calls_at_kills, &mut faults);
        Report::draw(self, faults, [mails, calls], descriptors)
    }

    /// The ids under which each person's alert was mailed, with the places of those messages among all.
    fn mailed(&self) -> HashMap<u32, Vec<(usize, String)>> {
        let mails = self.mail.mails();
        by_person(mails.iter().map(|mail| (mail.text(), mail.header("Message-ID").unwrap())))
    }

    fn posted(&self) -> HashMap<u32, Vec<(usize, String)>> {
        let calls = self.hook.calls();
        let id = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
        by_person(calls.iter().map(|call| (call.body.clone(), id(&call.headers["wardgate-delivery"]))))
    }
}

/// When what happens, in order.
fn acts(lasts: Duration) -> Vec<(Duration, Act)> {
    let part = |part: f64| lasts.mul_f64(part);
    let long = lasts > Duration::from_secs(300);
    // Early, so that the last life is long enough for its memory to be looked at.
    let kills: &[f64] = if long { &[0.06, 0.11, 0.17, 0.24] } else { &[0.35] };
    let full: &[f64] = if long { &[0.30, 0.45, 0.65, 0.85] } else { &[0.60] };
    let mut acts: Vec<(Duration, Act)> = kills.iter().map(|at| (part(*at), Act::Kill)).collect();
    for at in full {
        acts.extend([(part(*at), Act::FillDisk), (part(*at) + FULL_FOR[usize::from(long)], Act::EmptyDisk)]);
    }
    let every = |first: u64, every: Duration| {
        (0..).map(move |number| Duration::from_secs(first) + every * number).take_while(move |at| *at < lasts)
    };
    acts.extend(every(4, RELOADED_EVERY).map(|at| (at, Act::Reload)));
    for at in every(7, MOVED_EVERY) {
        acts.extend([(at, Act::Move), (at + MOVING_TAKES, Act::Leave)]);
    }
    let failures = [Said::NoSuchName, Said::Failed, Said::Nothing];
    for (at, said) in every(9, DNS_FAILS_EVERY).zip(failures.into_iter().cycle()) {
        acts.extend([(at, Act::FailDns(said)), (at + DNS_FAILS_FOR, Act::MendDns(said))]);
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

/// By UTC.
fn hour_of_day(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 3600 % 24
}

async fn origin_at(world: &World, place: Ipv4Addr) -> Origin {
    let (http, https) = (SocketAddr::from((place, MOVING_HTTP)), SocketAddr::from((place, MOVING_HTTPS)));
    Origin::start_on(http, https, &world.pki, &["h2", "http/1.1"]).await
}

fn by_person(messages: impl Iterator<Item = (String, String)>) -> HashMap<u32, Vec<(usize, String)>> {
    let mut people: HashMap<u32, Vec<(usize, String)>> = HashMap::new();
    for (place, (text, id)) in messages.enumerate() {
        let person = text.split("person-").nth(1).unwrap_or_else(|| panic!("about nobody: {text}"));
        let end = person.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(person.len());
        people.entry(person[..end].parse().unwrap()).or_default().push((place, id));
    }
    people
}

/// What became of the alerts on one way.
struct Deliveries {
    way: &'static str,
    people: usize,
    messages: usize,
    repeated: usize,
}

/// Every alert must have come, under one id, and once; again only where a kill fell in between: the receiver had
/// acknowledged, and the note of that was not yet made.
fn deliveries(
    way: &'static str,
    alerted: &HashSet<u32>,
    delivered: HashMap<u32, Vec<(usize, String)>>,
    at_kills: &[(usize, usize)],
    faults: &mut Vec<String>,
) -> Deliveries {
    let mut told = Deliveries { way, people: delivered.len(), messages: 0, repeated: 0 };
    for person in alerted {
        let Some(messages) = delivered.get(person) else {
            faults.push(format!("the alert about person-{person} was not delivered by {way}"));
            continue;
        };
        told.messages += messages.len();
        for pair in messages.windows(2) {
            told.repeated += 1;
            let ((first, id), (again, id_again)) = (&pair[0], &pair[1]);
            let killed_between = at_kills.iter().any(|(killed, ready)| first < ready && killed <= again);
            if id != id_again || !killed_between {
                faults.push(format!("{way} about person-{person} came twice: {id}, {id_again}"));
            }
        }
    }
    let unfounded = delivered.keys().filter(|person| !alerted.contains(person));
    faults.extend(
        unfounded.map(|person| format!("an alert by {way} about person-{person}, of whom no line says why")),
    );
    if told.repeated > at_kills.len() {
        faults.push(format!("{} messages by {way} came twice, over {} kills", told.repeated, at_kills.len()));
    }
    told
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "it never happened: {what}");
        sleep(GLANCE / 5).await;
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}; start the soak with tests/soak/run");
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount").args(arguments).stderr(std::process::Stdio::null()).status().unwrap().success()
}

/// How many bytes of a file system are in use.
fn used(path: &Path) -> u64 {
    let told = Command::new("stat").args(["-f", "-c", "%S %b %f"]).arg(path).output().unwrap();
    let numbers: Vec<u64> = String::from_utf8(told.stdout)
        .unwrap()
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    numbers[0] * (numbers[1] - numbers[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_that_come_twice_or_not_at_all_are_told() {
        for (name, ids, kills, fine) in [
            ("once", &["a"][..], &[][..], true),
            ("never", &[], &[], false),
            ("twice", &["a", "a"], &[], false),
            ("again behind a kill", &["a", "a"], &[(1, 1)], true),
            ("under another id behind a kill", &["a", "b"], &[(1, 1)], false),
            ("twice behind a kill", &["a", "a"], &[(0, 0)], false),
            ("under way at a kill, and again", &["a", "a"], &[(0, 1)], true),
        ] {
            let messages: Vec<(usize, String)> =
                ids.iter().enumerate().map(|(place, id)| (place, (*id).to_owned())).collect();
            let delivered = (!messages.is_empty()).then_some((1, messages)).into_iter().collect();
            let mut faults = Vec::new();
            deliveries("mail", &HashSet::from([1]), delivered, kills, &mut faults);
            assert_eq!(faults.is_empty(), fine, "{name}: {faults:?}");
        }
        let mut faults = Vec::new();
        let unfounded = HashMap::from([(2, vec![(0, "a".to_owned())])]);
        deliveries("mail", &HashSet::new(), unfounded, &[], &mut faults);
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
