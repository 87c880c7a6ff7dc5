//! The account of every exchange: what its client knows of it, and what the log and the origins say. At the end each must
//! stand in the log once, however it ended.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Before `kill -9`, exchanges that had ended within this time may still have had their lines in memory: the log says that
/// those are lost. Far longer than the 20 ms that lines are gathered for: a busy machine stops for longer.
const IN_MEMORY: Duration = Duration::from_secs(2);
/// What must not be is told so many times; the rest is counted.
const TOLD: usize = 40;

/// A kind of exchange.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How it may stand in the log where all went as it should: status and outcome.
    recorded: &'static [(u16, &'static str)],
    /// What it may suffer from, beside the proxy's being killed.
    suffers: Option<Trouble>,
    /// Whether it is to be answered at once: how long it takes is looked at.
    prompt: bool,
}

impl Kind {
    /// An exchange that takes as long as its client or a fault makes it last.
    pub(super) const fn new(name: &'static str, recorded: &'static [(u16, &'static str)]) -> Self {
        Self { name, recorded, suffers: None, prompt: false }
    }

    /// An exchange that is answered at once.
    pub(super) const fn prompt(name: &'static str, recorded: &'static [(u16, &'static str)]) -> Self {
        Self { name, recorded, suffers: None, prompt: true }
    }

    /// One that may go wrong while this lasts.
    pub(super) const fn suffering(self, trouble: Trouble) -> Self {
        Self { suffers: Some(trouble), ..self }
    }
}

/// A time of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// From `kill -9` until the proxy is ready again.
    Killed,
    /// From when the log's disk is full until the proxy takes exchanges again.
    DiskFull,
    /// While an origin that has moved is no longer at its former address.
    Moved,
    /// While the name servers fail, and a while after.
    DnsFails,
}

/// Why an exchange was not as it should be.
#[derive(Debug)]
pub(super) enum Miss {
    /// It was refused because it could not be recorded.
    Unrecordable,
    /// Anything else.
    Otherwise(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    UnderWay,
    AsItShould,
    Unrecordable,
    Otherwise,
}

struct Entry {
    kind: &'static Kind,
    began: Duration,
    ended: Duration,
    ending: Ending,
    lines: u8,
    /// The last line said something else than its kind should.
    odd: bool,
    reached_origin: bool,
}

struct Window {
    from: Duration,
    to: Duration,
}

/// All exchanges.
pub(super) struct Ledger {
    began: Instant,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    entries: Vec<Entry>,
    windows: BTreeMap<Trouble, Vec<Window>>,
    /// What went otherwise, and what the log said otherwise, by exchange.
    otherwise: HashMap<u32, String>,
    odd: HashMap<u32, String>,
    /// Which of two answers was given by a policy that changes, and when: changes are asked for and take effect.
    toggled: Vec<(u32, bool)>,
    changes: Vec<Change>,
    verdicts: HashMap<String, String>,
    ids: HashSet<u128>,
    tally: BTreeMap<(&'static str, u64, String, String), u64>,
    faults: Vec<String>,
    alerted: HashSet<u32>,
    hashes: HashSet<String>,
}

struct Change {
    blocked: bool,
    asked: Duration,
    taken: Duration,
}

/// An exchange under way; it has ended when this is dropped.
pub(super) struct Ticket {
    ledger: Arc<Ledger>,
    pub(super) id: u32,
}

impl Ledger {
    pub(super) fn open() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), books: Mutex::default() })
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    /// Begins an exchange.
    pub(super) fn begin(self: &Arc<Self>, kind: &'static Kind) -> Ticket {
        self.begun(kind, self.now())
    }

    /// An exchange that has begun already.
    pub(super) fn begun(self: &Arc<Self>, kind: &'static Kind, began: Duration) -> Ticket {
        let mut books = self.books();
        let id = u32::try_from(books.entries.len()).unwrap();
        books.entries.push(Entry {
            kind,
            began,
            ended: Duration::MAX,
            ending: Ending::UnderWay,
            lines: 0,
            odd: false,
            reached_origin: false,
        });
        Ticket { ledger: Arc::clone(self), id }
    }

    /// A time of trouble begins.
    pub(super) fn trouble_begins(&self, trouble: Trouble) {
        let from = self.now();
        self.books().windows.entry(trouble).or_default().push(Window { from, to: Duration::MAX });
    }

    /// The last time of this trouble ended so long ago.
    pub(super) fn trouble_ends(&self, trouble: Trouble, later: Duration) {
        let to = self.now() + later;
        let mut books = self.books();
        books.windows.get_mut(&trouble).unwrap().last_mut().unwrap().to = to;
    }

    /// Whether an exchange that began after this was refused because it could not be recorded.
    pub(super) fn has_refused_since(&self, from: Duration) -> bool {
        let books = self.books();
        let mut lately = books.entries.iter().rev().take_while(|entry| entry.began > from);
        lately.any(|entry| entry.ending == Ending::Unrecordable)
    }

    /// The policy is about to say this of the host about which it changes its mind.
    pub(super) fn change_asked(&self, blocked: bool) {
        let asked = self.now();
        self.books().changes.push(Change { blocked, asked, taken: Duration::MAX });
    }

    /// The last change is in force.
    pub(super) fn change_taken(&self) {
        let taken = self.now();
        self.books().changes.last_mut().unwrap().taken = taken;
    }

    /// What the policy said of that host.
    pub(super) fn note_verdict(&self, ticket: &Ticket, blocked: bool) {
        self.books().toggled.push((ticket.id, blocked));
    }

    /// An origin saw a request of this path.
    pub(super) fn note_seen(&self, path: &str) {
        if let Some(id) = marked(path) {
            let mut books = self.books();
            let entry = books.entries.get_mut(id as usize);
            entry.expect("an origin sees what a client asked").reached_origin = true;
        }
    }

    /// Takes a line of the log into account.
    pub(super) fn note_line(&self, line: &Value) {
        self.books().note_line(line);
    }

    /// The people about whom a line in the log must alert.
    pub(super) fn alerted(&self) -> HashSet<u32> {
        self.books().alerted.clone()
    }

    /// How many exchanges that must have a line have none yet.
    pub(super) fn missing(&self) -> usize {
        let books = self.books();
        books.entries.iter().filter(|entry| entry.lines == 0 && books.bounds(entry).0 == 1).count()
    }

    /// Checks everything against everything.
    pub(super) fn close(&self) -> Account {
        self.books().close()
    }
}

impl Books {
    fn fault(&mut self, said: String) {
        self.faults.push(said);
    }

    fn note_line(&mut self, line: &Value) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let event = u128::from_str_radix(&text("event.id").replace('-', ""), 16).unwrap();
        if !self.ids.insert(event) {
            self.fault(format!("a decision id came twice: {event:x}"));
        }
        let (url, hash) = (text("url.full"), text("wardgate.policy_hash"));
        // Those whose line has no query have an address of their own.
        let id = marked(&url).or_else(|| named(&text("source.ip")));
        let Some(entry) = id.and_then(|id| self.entries.get_mut(id as usize)) else {
            self.fault(format!("a line of no exchange: {line}"));
            return;
        };
        let id = id.expect("there is such an entry");
        entry.lines = entry.lines.saturating_add(1);
        let doubled = entry.lines > 1;
        let status = line["http.response.status_code"].as_u64().unwrap_or(0);
        let outcome = text("wardgate.outcome");
        let kind = entry.kind;
        entry.odd = !kind.recorded.iter().any(|(s, o)| u64::from(*s) == status && *o == outcome);
        let odd = entry.odd;
        if odd {
            self.odd.insert(id, format!("{status} {outcome} {}", text("wardgate.detail")));
        }
        if doubled {
            self.fault(format!("an exchange stands in the log twice: {} {id}: {line}", kind.name));
        }
        if kind.name == TOGGLED_NAME && !outcome.is_empty() && status != 503 {
            let verdict = text("wardgate.decision");
            if *self.verdicts.entry(hash.clone()).or_insert_with(|| verdict.clone()) != verdict {
                self.fault(format!("one policy said two things of one host: {hash}"));
            }
        }
        if let Some(person) = text("user.name").strip_prefix("person-") {
            if line["wardgate.concerns"].is_array() {
                self.alerted.insert(person.parse().unwrap());
            } else {
                self.fault(format!("words that alert raised no concern: {line}"));
            }
        }
        self.hashes.insert(hash);
        *self.tally.entry((kind.name, status, outcome, text("wardgate.detail"))).or_default() += 1;
    }

    fn overlaps(&self, trouble: Trouble, before: Duration, entry: &Entry) -> bool {
        self.windows
            .get(&trouble)
            .into_iter()
            .flatten()
            .any(|window| entry.began <= window.to && entry.ended >= window.from.saturating_sub(before))
    }

    /// How many lines an exchange must have, and may have.
    fn bounds(&self, entry: &Entry) -> (u8, u8) {
        if entry.ending == Ending::Unrecordable {
            return (0, 0);
        }
        (u8::from(!self.overlaps(Trouble::Killed, IN_MEMORY, entry)), 1)
    }

    /// What an exchange did wrong, by itself.
    fn wrong(&self, id: u32, entry: &Entry) -> Option<String> {
        let killed = self.overlaps(Trouble::Killed, Duration::ZERO, entry);
        let suffers = entry.kind.suffers.is_some_and(|trouble| self.overlaps(trouble, Duration::ZERO, entry));
        let (least, _) = self.bounds(entry);
        if entry.lines < least {
            return Some(format!("has no line in the log ({:?})", entry.ending));
        }
        match entry.ending {
            Ending::UnderWay => Some("never ended".to_owned()),
            Ending::Unrecordable if entry.lines > 0 => {
                Some("was refused as unrecordable, and is recorded".to_owned())
            }
            Ending::Unrecordable if entry.reached_origin => {
                Some("was refused as unrecordable, and passed".to_owned())
            }
            Ending::Unrecordable if !self.overlaps(Trouble::DiskFull, Duration::ZERO, entry) => {
                Some("was refused as unrecordable while it could be recorded".to_owned())
            }
            Ending::Otherwise if !killed && !suffers => Some(self.otherwise[&id].clone()),
            Ending::AsItShould if entry.odd && !killed && !suffers => {
                Some(format!("is recorded otherwise: {}", self.odd[&id]))
            }
            _ => None,
        }
    }

    /// Whether the policy said what it had been told to say at the time.
    fn wavered(&self, id: u32, blocked: bool) -> Option<String> {
        let entry = &self.entries[id as usize];
        let in_force = self.changes.iter().enumerate().any(|(place, change)| {
            let until = self.changes.get(place + 1).map_or(Duration::MAX, |next| next.taken);
            change.blocked == blocked && change.asked <= entry.ended && entry.began <= until
        });
        (!in_force).then(|| {
            format!("{} {id}: a policy that was not in force was asked (blocked: {blocked})", entry.kind.name)
        })
    }

    fn close(&mut self) -> Account {
        let mut faults = std::mem::take(&mut self.faults);
        for (id, entry) in self.entries.iter().enumerate() {
            let id = u32::try_from(id).unwrap();
            if let Some(wrong) = self.wrong(id, entry) {
                faults.push(format!(
                    "{} {id} at {:.1} s: {wrong}",
                    entry.kind.name,
                    entry.began.as_secs_f64()
                ));
            }
        }
        faults.extend(self.toggled.iter().filter_map(|(id, blocked)| self.wavered(*id, *blocked)));
        let mut kinds: BTreeMap<&'static str, Counts> = BTreeMap::new();
        let mut waits = Vec::new();
        let mut lost = 0;
        for entry in &self.entries {
            let counts = kinds.entry(entry.kind.name).or_default();
            counts.all += 1;
            counts.lines += u64::from(entry.lines);
            match entry.ending {
                Ending::AsItShould => counts.as_it_should += 1,
                Ending::Unrecordable => counts.refused += 1,
                Ending::Otherwise | Ending::UnderWay => counts.troubled += 1,
            }
            lost += usize::from(entry.lines == 0 && entry.ending == Ending::AsItShould);
            let killed = self.overlaps(Trouble::Killed, Duration::ZERO, entry);
            if entry.kind.prompt && entry.ending == Ending::AsItShould && !killed {
                waits.push(entry.ended.saturating_sub(entry.began));
            }
        }
        waits.sort_unstable();
        Account {
            faults,
            kinds,
            waits,
            lost_to_kills: lost,
            tally: std::mem::take(&mut self.tally),
            lines: self.ids.len(),
            policies: self.hashes.len(),
            troubles: self.windows.iter().map(|(trouble, windows)| (*trouble, lasted(windows))).collect(),
        }
    }
}

fn lasted(windows: &[Window]) -> (usize, Duration) {
    (windows.len(), windows.iter().map(|window| window.to.saturating_sub(window.from)).sum())
}

/// What it all comes to.
pub(super) struct Account {
    /// What must not be.
    pub(super) faults: Vec<String>,
    pub(super) kinds: BTreeMap<&'static str, Counts>,
    /// How long exchanges took that are answered at once, in order.
    pub(super) waits: Vec<Duration>,
    /// Exchanges that were as they should be, and lost their lines to `kill -9`.
    pub(super) lost_to_kills: usize,
    /// Lines by kind, status, outcome and detail.
    pub(super) tally: BTreeMap<(&'static str, u64, String, String), u64>,
    pub(super) lines: usize,
    /// Under how many policies something was decided.
    pub(super) policies: usize,
    /// How often there was trouble, and how long in all.
    pub(super) troubles: BTreeMap<Trouble, (usize, Duration)>,
}

/// How many exchanges of a kind there were.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) all: u64,
    pub(super) as_it_should: u64,
    pub(super) refused: u64,
    pub(super) troubled: u64,
    pub(super) lines: u64,
}

impl Account {
    /// What must not be, as far as anybody reads on.
    pub(super) fn told(&self) -> String {
        let mut said = self.faults.iter().take(TOLD).cloned().collect::<Vec<_>>();
        if self.faults.len() > said.len() {
            said.push(format!("… and {} more", self.faults.len() - said.len()));
        }
        said.join("\n")
    }
}

impl Ticket {
    /// What its path must say.
    pub(super) fn mark(&self) -> String {
        format!("soak={}.", self.id)
    }

    /// An address that is its own: where its CONNECT comes from, which has no path.
    pub(super) fn address(&self) -> IpAddr {
        let [high, middle, low] = self.id.to_be_bytes()[1..].try_into().unwrap();
        assert!(high < 191, "more exchanges than addresses");
        Ipv4Addr::new(127, 64 + high, middle, low).into()
    }

    /// It has ended, with this.
    pub(super) fn settle(self, result: Result<(), Miss>) {
        let ending = match result {
            Ok(()) => Ending::AsItShould,
            Err(Miss::Unrecordable) => Ending::Unrecordable,
            Err(Miss::Otherwise(why)) => {
                self.ledger.books().otherwise.insert(self.id, why);
                Ending::Otherwise
            }
        };
        self.end(ending);
    }

    fn end(&self, ending: Ending) {
        let ended = self.ledger.now();
        let entry = &mut self.ledger.books().entries[self.id as usize];
        if entry.ending == Ending::UnderWay {
            (entry.ended, entry.ending) = (ended, ending);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Ending::AsItShould);
    }
}

/// The name of the kind of which the policy says now this, now that.
pub(super) const TOGGLED_NAME: &str = "policy changes its mind";

/// The exchange that a path names.
fn marked(path: &str) -> Option<u32> {
    path.split("soak=").nth(1)?.split('.').next()?.parse().ok()
}

/// The exchange that an address is of.
fn named(address: &str) -> Option<u32> {
    let [127, high, middle, low] = address.parse::<Ipv4Addr>().ok()?.octets() else { return None };
    Some(u32::from_be_bytes([0, high.checked_sub(64)?, middle, low]))
}

/// Reads the log as it grows.
pub(super) struct Reader {
    dir: PathBuf,
    read: BTreeMap<PathBuf, u64>,
    /// Lines that are none: torn by `kill -9`.
    pub(super) torn: u64,
    pub(super) bytes: u64,
}

impl Reader {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, read: BTreeMap::new(), torn: 0, bytes: 0 }
    }

    /// Takes every whole line that has been written since into account.
    pub(super) fn read_on(&mut self, ledger: &Ledger) {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        for file in files {
            self.read_file(file, ledger);
        }
    }

    fn read_file(&mut self, path: PathBuf, ledger: &Ledger) {
        let at = self.read.entry(path.clone()).or_default();
        let (mut file, mut bytes) = (File::open(path).unwrap(), Vec::new());
        file.seek(SeekFrom::Start(*at)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        *at += whole as u64;
        self.bytes += whole as u64;
        for line in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice::<Value>(line) {
                Ok(line) if line.is_object() => ledger.note_line(&line),
                _ => self.torn += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static PAGE: Kind = Kind::prompt("page", &[(200, "completed")]);

    /// A line about an exchange; each call has a decision id of its own.
    fn line(id: u32, status: u16, outcome: &str) -> Value {
        static EVENTS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let event = EVENTS.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        json!({
            "event.id": format!("00000000-0000-7000-8000-{event:012x}"),
            "http.request.method": "GET",
            "url.full": format!("http://a.example.test/?soak={id}."),
            "http.response.status_code": status,
            "wardgate.outcome": outcome,
        })
    }

    #[test]
    fn what_does_not_add_up_is_told() {
        type Story = fn(&Arc<Ledger>);
        let stories: [(&str, Story, Option<&str>); 12] = [
            (
                "one exchange, one line",
                |ledger| {
                    ledger.begin(&PAGE).settle(Ok(()));
                    ledger.note_line(&line(0, 200, "completed"));
                },
                None,
            ),
            ("no line", |ledger| ledger.begin(&PAGE).settle(Ok(())), Some("has no line")),
            (
                "two lines",
                |ledger| {
                    ledger.begin(&PAGE).settle(Ok(()));
                    ledger.note_line(&line(0, 200, "completed"));
                    ledger.note_line(&line(0, 200, "completed"));
                },
                Some("twice"),
            ),
            (
                "a line that says something else",
                |ledger| {
                    ledger.begin(&PAGE).settle(Ok(()));
                    ledger.note_line(&line(0, 502, "upstream-failed"));
                },
                Some("is recorded otherwise: 502"),
            ),
            (
                "a line of nobody",
                |ledger| ledger.note_line(&line(7, 200, "completed")),
                Some("of no exchange"),
            ),
            (
                "an exchange that went wrong",
                |ledger| {
                    ledger.begin(&PAGE).settle(Err(Miss::Otherwise("it broke off".to_owned())));
                    ledger.note_line(&line(0, 200, "client-closed"));
                },
                Some("it broke off"),
            ),
            (
                "one that never ends",
                |ledger| {
                    std::mem::forget(ledger.begin(&PAGE));
                    ledger.note_line(&line(0, 200, "completed"));
                },
                Some("never ended"),
            ),
            (
                "refused, though the disk was not full",
                |ledger| ledger.begin(&PAGE).settle(Err(Miss::Unrecordable)),
                Some("while it could be recorded"),
            ),
            (
                "refused, as the disk was full",
                |ledger| {
                    ledger.trouble_begins(Trouble::DiskFull);
                    ledger.begin(&PAGE).settle(Err(Miss::Unrecordable));
                },
                None,
            ),
            (
                "refused, but passed on",
                |ledger| {
                    ledger.trouble_begins(Trouble::DiskFull);
                    ledger.begin(&PAGE).settle(Err(Miss::Unrecordable));
                    ledger.note_seen("/?soak=0.");
                },
                Some("and passed"),
            ),
            (
                "under way when it was killed",
                |ledger| {
                    let ticket = ledger.begin(&PAGE);
                    ledger.trouble_begins(Trouble::Killed);
                    ticket.settle(Err(Miss::Otherwise("it broke off".to_owned())));
                },
                None,
            ),
            (
                "begun when the next life was there",
                |ledger| {
                    ledger.trouble_begins(Trouble::Killed);
                    ledger.trouble_ends(Trouble::Killed, Duration::ZERO);
                    std::thread::sleep(Duration::from_millis(2));
                    ledger.begin(&PAGE).settle(Ok(()));
                },
                Some("has no line"),
            ),
        ];
        for (name, story, expected) in stories {
            let ledger = Ledger::open();
            story(&ledger);
            let told = ledger.close().told();
            match expected {
                None => assert_eq!(told, "", "{name}"),
                Some(said) => assert!(told.contains(said), "{name}: {told:?}"),
            }
        }
    }

    #[test]
    fn a_policy_that_is_not_in_force_is_told() {
        for (blocked, fine) in [(false, true), (true, false)] {
            let ledger = Ledger::open();
            ledger.change_asked(false);
            ledger.change_taken();
            let ticket = ledger.begin(&PAGE);
            ledger.note_verdict(&ticket, blocked);
            ledger.note_line(&line(ticket.id, 200, "completed"));
            drop(ticket);
            assert_eq!(ledger.close().faults.is_empty(), fine, "blocked: {blocked}");
        }
    }
}
