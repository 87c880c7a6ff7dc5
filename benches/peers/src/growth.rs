//! How the cost grows: with tunnels that lie idle, with exchanges under way, with entries of lists, with phrases. And
//! what a million listed domains cost at the start.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::cost::Memory;
use crate::load::{Client, Load, Pace, Reuse};
use crate::measure::{Extent, client, cost_of, full_speed};
use crate::mode::{self, Case};
use crate::pages::{Dice, Page};
use crate::peer::{Peer, Task, Work};
use crate::words;
use crate::world::World;

const MILLION: usize = 1_000_000;
/// A file of a policy may hold so many domains; more are spread over several.
const DOMAINS_IN_FILE: usize = MILLION;

/// The steps of each kind of growth.
pub(crate) struct Steps {
    pub(crate) tunnels: &'static [usize],
    pub(crate) exchanges: &'static [usize],
    pub(crate) unread: &'static [usize],
    pub(crate) domains: &'static [usize],
    pub(crate) phrases: &'static [usize],
    /// Domains that a start is looked at with.
    pub(crate) start: usize,
}

pub(crate) const WHOLE: Steps = Steps {
    tunnels: &[10, 100, 1_000, 10_000],
    exchanges: &[1, 10, 100, 1_000],
    unread: &[10, 100],
    domains: &[100, 10_000, MILLION, 5 * MILLION],
    phrases: &[100, 1_000, 10_000, 100_000],
    start: MILLION,
};
pub(crate) const SMOKE: Steps = Steps {
    tunnels: &[10],
    exchanges: &[1, 10],
    unread: &[2],
    domains: &[100],
    phrases: &[100],
    start: 1_000,
};

/// One point of a curve.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) peer: Peer,
    pub(crate) what: &'static str,
    pub(crate) count: usize,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

pub(crate) const TUNNEL_MEMORY: &str = "memory of an idle tunnel";
const UNREAD_MEMORY: &str = "memory of an HTTP/2 exchange whose answer nobody reads";
pub(crate) const EXCHANGE_CPU: &str = "CPU of a request, by exchanges under way";
pub(crate) const DOMAIN_CPU: &str = "CPU of a request, by listed domains";
pub(crate) const PHRASE_CPU: &str =
    "CPU of a scanned 32 KiB page in gzip, by phrases beside the shipped ones";
pub(crate) const START_CPU: &str = "CPU of a start, for the listed domains alone";
pub(crate) const START_MEMORY: &str = "memory after a start, for the listed domains alone";
const MORE_START_CPU: &str = "CPU of a start, by listed domains";
const MORE_START_MEMORY: &str = "memory after a start, by listed domains";
const PHRASE_START_CPU: &str = "CPU of a start, by phrases beside the shipped ones";
const PHRASE_START_MEMORY: &str = "memory after a start, by phrases beside the shipped ones";

/// The curves of a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curve {
    Tunnels,
    Exchanges,
    Unread,
    Domains,
    Phrases,
}

impl Curve {
    /// HTTP/2 on both sides, lists and phrases are Wardgate's alone.
    pub(crate) fn of(peer: Peer) -> &'static [Self] {
        match peer {
            Peer::Wardgate => &[Self::Tunnels, Self::Exchanges, Self::Unread, Self::Domains, Self::Phrases],
            _ => &[Self::Tunnels, Self::Exchanges],
        }
    }

    pub(crate) async fn measure(
        self,
        world: &World,
        peer: Peer,
        steps: &Steps,
        extent: Extent,
    ) -> Result<Vec<Point>> {
        match self {
            Self::Tunnels => tunnels(world, peer, steps.tunnels).await,
            Self::Exchanges => exchanges(world, peer, steps.exchanges, extent).await,
            Self::Unread => unread(world, peer, steps.unread).await,
            Self::Domains => domains(world, peer, steps.domains, extent).await,
            Self::Phrases => phrases(world, peer, steps.phrases, extent).await,
        }
    }
}

/// What listed domains cost at the start, beside what a start costs anyway.
pub(crate) async fn start(world: &World, peer: Peer, domains: usize) -> Result<[Point; 2]> {
    let task = Task { domains, ..Work::Intercept.into() };
    let bare = peer.start(world, Work::Intercept.into()).await?;
    let without = bare.started;
    bare.stop().await?;
    let full = peer.start(world, task).await?;
    let with = full.started;
    full.stop().await?;
    let point = |what, value, unit| Point { peer, what, count: domains, value, unit };
    let memory = with.memory_kib as f64 - without.memory_kib as f64;
    Ok([
        point(START_CPU, with.cpu.as_secs_f64() - without.cpu.as_secs_f64(), "s"),
        point(START_MEMORY, memory / 1024.0, "MiB"),
    ])
}

async fn tunnels(world: &World, peer: Peer, steps: &[usize]) -> Result<Vec<Point>> {
    /// What was taken while they opened is given back after a moment.
    const SETTLED: Duration = Duration::from_secs(1);
    let running = peer.start(world, Work::Tunnel.into()).await?;
    let client = client(world, peer, &mode::NEW_TUNNEL)?;
    let mut open: Vec<TcpStream> = vec![client.tunnel().await?];
    sleep(SETTLED).await;
    let before = running.memory(Memory::Now)?;
    let mut points = Vec::new();
    for count in steps.iter().map(|count| *count.min(&world.most_tunnels)) {
        open_up_to(&mut open, count + 1, &client).await.with_context(|| format!("{count} tunnels"))?;
        sleep(SETTLED).await;
        let more = running.memory(Memory::Now)?.saturating_sub(before);
        let value = more as f64 / count as f64;
        points.push(Point { peer, what: TUNNEL_MEMORY, count, value, unit: "KiB" });
    }
    running.stop().await?;
    Ok(points)
}

async fn open_up_to(open: &mut Vec<TcpStream>, count: usize, client: &Client) -> Result<()> {
    while open.len() < count {
        open.push(client.tunnel().await?);
    }
    Ok(())
}

async fn exchanges(world: &World, peer: Peer, steps: &[usize], extent: Extent) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    let running = peer.start(world, Work::Intercept.into()).await?;
    for &count in steps {
        let case = Case { clients: count, ..mode::INTERCEPTED };
        let client = Arc::new(client(world, peer, &case)?);
        client.expect(client.fetch(&client.path).await?.0.length);
        let mut load = Load::open(&client, count).await.with_context(|| format!("{count} exchanges"))?;
        load.run(Pace::Full, extent.warm).await?;
        let cost = full_speed(&mut load, &case, extent.full, &running).await?;
        points.push(Point { peer, what: EXCHANGE_CPU, count, value: cost.cpu_us, unit: "µs" });
    }
    running.stop().await?;
    Ok(points)
}

async fn unread(world: &World, peer: Peer, steps: &[usize]) -> Result<Vec<Point>> {
    /// As much as can come has come by then.
    const FILLED: Duration = Duration::from_secs(1);
    let running = peer.start(world, Work::Intercept.into()).await?;
    let case = Case { page: Page::Bulk, reuse: Reuse::New, ..mode::INTERCEPTED_HTTP2 };
    let client = client(world, peer, &case)?;
    let mut held = vec![client.ask().await?];
    sleep(FILLED).await;
    let before = running.memory(Memory::Now)?;
    let mut points = Vec::new();
    for &count in steps {
        while held.len() < count + 1 {
            held.push(client.ask().await.with_context(|| format!("{count} exchanges that nobody reads"))?);
        }
        sleep(FILLED).await;
        let more = running.memory(Memory::Now)?.saturating_sub(before);
        points.push(Point {
            peer,
            what: UNREAD_MEMORY,
            count,
            value: more as f64 / count as f64,
            unit: "KiB",
        });
    }
    running.stop().await?;
    Ok(points)
}

async fn domains(world: &World, peer: Peer, steps: &[usize], extent: Extent) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for &domains in steps {
        let task = Task { domains, ..Work::Intercept.into() };
        let what = [DOMAIN_CPU, MORE_START_CPU, MORE_START_MEMORY];
        points.extend(with(world, peer, &mode::PLAIN, task, extent, what, domains).await?);
    }
    Ok(points)
}

async fn phrases(world: &World, peer: Peer, steps: &[usize], extent: Extent) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for &phrases in steps {
        let task = Task { phrases, ..Work::Scan.into() };
        let what = [PHRASE_CPU, PHRASE_START_CPU, PHRASE_START_MEMORY];
        points.extend(with(world, peer, &mode::SCANNED, task, extent, what, phrases).await?);
    }
    Ok(points)
}

/// A request's CPU, and the start's CPU and memory.
async fn with(
    world: &World,
    peer: Peer,
    case: &Case,
    task: Task,
    extent: Extent,
    what: [&'static str; 3],
    count: usize,
) -> Result<[Point; 3]> {
    let (cost, running) = cost_of(world, peer, case, task, extent).await?;
    let started = running.started;
    running.stop().await?;
    let values =
        [(cost.cpu_us, "µs"), (started.cpu.as_secs_f64(), "s"), (started.memory_kib as f64 / 1024.0, "MiB")];
    let mut points = what.into_iter().zip(values);
    Ok(std::array::from_fn(|_| {
        let (what, (value, unit)) = points.next().expect("three names and three values");
        Point { peer, what, count, value, unit }
    }))
}

/// So many domains, cut into files that a policy takes.
pub(crate) fn parts(domains: usize) -> impl Iterator<Item = Range<usize>> {
    (0..domains).step_by(DOMAINS_IN_FILE).map(move |start| start..domains.min(start + DOMAINS_IN_FILE))
}

/// Writes a file of domains, one a line, such as a list of a category has. None is asked for in the benchmark.
pub(crate) fn domains_file(path: &Path, numbers: Range<usize>) -> Result<PathBuf> {
    const ENDS: [&str; 8] = ["com", "net", "org", "co.uk", "info", "de", "xyz", "ru"];
    let mut file = BufWriter::new(fs::File::create(path)?);
    let words: Vec<&str> = words::NOUNS.split_whitespace().collect();
    let mut dice = Dice(1 + numbers.start as u64);
    for number in numbers {
        let (word, end) = (words[dice.below(words.len())], ENDS[dice.below(ENDS.len())]);
        writeln!(file, "{word}{number}.{end}")?;
    }
    file.flush()?;
    Ok(path.to_owned())
}

/// A file of phrases, three words each, such as pages might have and mostly do not.
pub(crate) fn phrase_file(count: usize) -> String {
    const IN_ENTRY: usize = 50;
    let mut dice = Dice(7);
    let mut text =
        "category = \"gaming\"\nlanguage = \"en\"\nsource = \"generated for the benchmark\"\n".to_owned();
    for first in (0..count).step_by(IN_ENTRY) {
        text.push_str("\n[[phrase]]\nweight = 1\ntext = \"\"\"\n");
        let phrases: Vec<String> = (first..count.min(first + IN_ENTRY))
            .map(|number| {
                let (adjective, noun) = (dice.word(words::ADJECTIVES), dice.word(words::NOUNS));
                format!("{adjective} {noun} {}", spelled(number))
            })
            .collect();
        let _ = writeln!(text, "{}\n\"\"\"", phrases.join(" |\n"));
    }
    text
}

/// A number in letters, so that no two phrases are the same.
fn spelled(mut number: usize) -> String {
    let mut letters = String::new();
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return letters;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn domains_are_all_different() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = HashSet::new();
        for (part, numbers) in [0..500, 500..1000].into_iter().enumerate() {
            let path = domains_file(&dir.path().join(part.to_string()), numbers).unwrap();
            known.extend(fs::read_to_string(path).unwrap().lines().map(str::to_owned));
        }
        assert_eq!(known.len(), 1000);
    }

    #[test]
    fn files_have_room_for_their_part() {
        let parts: Vec<Range<usize>> = parts(2 * MILLION + 5).collect();
        assert_eq!(parts, [0..MILLION, MILLION..2 * MILLION, 2 * MILLION..2 * MILLION + 5]);
        assert_eq!(super::parts(0).count(), 0);
    }

    #[test]
    fn phrases_are_as_many_as_asked_for() {
        let text = phrase_file(120);
        assert_eq!(text.matches("[[phrase]]").count(), 3);
        assert_eq!(text.matches(" |\n").count() + 3, 120);
    }
}
