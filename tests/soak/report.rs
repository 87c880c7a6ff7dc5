//! What a soak found, for people: figures of everything, and what must not be.

use std::fmt::Write as _;
use std::time::Duration;

use super::ledger::Account;
use super::{Deliveries, KEPT, Life, Soak};

/// Of a life, this much at its beginning is not looked at: caches fill, the allocator takes what it will need.
const WARM_UP: f64 = 0.25;
/// At most so long.
const LONGEST_WARM_UP: Duration = Duration::from_secs(300);
/// A life with fewer samples behind its warm-up says nothing about memory.
const ENOUGH_SAMPLES: usize = 20;
/// By how much the median of the last quarter of a life may lie above that of its first, behind the warm-up: a tenth,
/// for what is learnt late (names, certificates, pages of the records), and the noise. Traffic of one moment takes more
/// than that of another, and the allocator gives it back later: lives of a minute were seen between 63 and 97 MiB. A
/// median of few samples may catch such a moment; that of many does not.
const GROWTH_PART: u64 = 10;
const NOISE: Noise = Noise { many: 60, of_few: 32 << 20, of_many: 8 << 20 };

/// What medians may differ by, in bytes.
struct Noise {
    /// So many samples are many.
    many: usize,
    of_few: u64,
    of_many: u64,
}

/// What a soak found.
pub(super) struct Report {
    /// What must not be.
    pub(super) faults: Vec<String>,
    /// All of it, as Markdown.
    pub(super) text: String,
}

/// What a life's memory was.
struct Memory {
    first: u64,
    last: u64,
    /// Of how many samples each is the median.
    samples: usize,
}

impl Memory {
    fn has_grown(&self) -> bool {
        let noise = if self.samples >= NOISE.many { NOISE.of_many } else { NOISE.of_few };
        self.last > self.first + self.first / GROWTH_PART + noise
    }
}

impl Report {
    pub(super) fn draw(
        soak: Soak,
        mut faults: Vec<String>,
        deliveries: [Deliveries; 2],
        descriptors: usize,
    ) -> Self {
        let account = soak.ledger.close();
        let grown = soak.lives.iter().filter_map(memory).filter(Memory::has_grown);
        faults.extend(grown.map(|memory| {
            format!("memory grows: from {} to {} MiB in one life", memory.first >> 20, memory.last >> 20)
        }));
        if !account.faults.is_empty() {
            faults.push(account.told());
        }
        let mut text = String::new();
        write(&mut text, &soak, &account, &deliveries, descriptors, &faults).unwrap();
        Self { faults, text }
    }
}

fn write(
    out: &mut String,
    soak: &Soak,
    account: &Account,
    deliveries: &[Deliveries],
    descriptors: usize,
    faults: &[String],
) -> std::fmt::Result {
    let exchanges: u64 = account.kinds.values().map(|counts| counts.all).sum();
    writeln!(out, "# Soak of {} minutes: {}\n", soak.lasts.as_secs() / 60, verdict(faults))?;
    for fault in faults {
        writeln!(out, "- {fault}")?;
    }
    writeln!(
        out,
        "\n{exchanges} exchanges, {} lines ({} MiB), {} of them torn by kills; {} exchanges lost their line to a kill.",
        account.lines,
        soak.reader.bytes >> 20,
        soak.reader.torn,
        account.lost_to_kills
    )?;
    let (answered, failed) = soak.dns.counts();
    writeln!(
        out,
        "{} policies in force over {} reloads; {answered} names resolved, {failed} did not.",
        account.policies, soak.reloads
    )?;
    for (trouble, (times, lasted)) in &account.troubles {
        writeln!(out, "{trouble:?}: {times} times, {:.1} s.", lasted.as_secs_f64())?;
    }
    for told in deliveries {
        writeln!(
            out,
            "Alerts by {}: about {} people, {} messages, {} repeated under their id behind a kill.",
            told.way, told.people, told.messages, told.repeated
        )?;
    }
    let wait = |part: f64| {
        account.waits.get((account.waits.len() as f64 * part) as usize).copied().unwrap_or_default()
    };
    writeln!(
        out,
        "Sound exchanges took {:.0} ms (median), {:.0} ms (99 of 100), {:.0} ms (the longest).",
        wait(0.5).as_secs_f64() * 1000.0,
        wait(0.99).as_secs_f64() * 1000.0,
        account.waits.last().copied().unwrap_or_default().as_secs_f64() * 1000.0
    )?;
    lives(out, soak, descriptors)?;
    kinds(out, account)?;
    tally(out, account)
}

fn verdict(faults: &[String]) -> &'static str {
    if faults.is_empty() { "all fine" } else { "FAILED" }
}

fn lives(out: &mut String, soak: &Soak, descriptors: usize) -> std::fmt::Result {
    writeln!(
        out,
        "\n| life of | samples | MiB at first | in the middle | at last | at most | first quarter | last quarter | descriptors at most |"
    )?;
    writeln!(out, "|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
    for life in &soak.lives {
        let mib: Vec<u64> = life.samples.iter().map(|sample| sample.1 >> 20).collect();
        let (Some(first), Some(last)) = (mib.first(), mib.last()) else { continue };
        let quarters = memory(life).map_or(["n/a".to_owned(), "n/a".to_owned()], |memory| {
            [memory.first, memory.last].map(|bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)))
        });
        let lasted = life.samples.last().map_or(0, |sample| sample.0.saturating_sub(life.began).as_secs());
        writeln!(
            out,
            "| {lasted} s | {} | {first} | {} | {last} | {} | {} | {} | {} |",
            mib.len(),
            mib[mib.len() / 2],
            mib.iter().max().unwrap_or(&0),
            quarters[0],
            quarters[1],
            life.samples.iter().map(|sample| sample.2).max().unwrap_or(0)
        )?;
    }
    writeln!(
        out,
        "\nDescriptors: {} before any traffic, {descriptors} behind it (at most {KEPT} more are fine).",
        soak.descriptors
    )
}

fn kinds(out: &mut String, account: &Account) -> std::fmt::Result {
    writeln!(out, "\n| kind | exchanges | as they should | refused, disk full | in trouble | lines |")?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
    for (name, counts) in &account.kinds {
        writeln!(
            out,
            "| {name} | {} | {} | {} | {} | {} |",
            counts.all, counts.as_it_should, counts.refused, counts.troubled, counts.lines
        )?;
    }
    Ok(())
}

fn tally(out: &mut String, account: &Account) -> std::fmt::Result {
    writeln!(out, "\n| kind | status | outcome | detail | lines |")?;
    writeln!(out, "|---|---:|---|---|---:|")?;
    for ((kind, status, outcome, detail), lines) in &account.tally {
        writeln!(out, "| {kind} | {status} | {outcome} | {} | {lines} |", detail.replace('|', "/"))?;
    }
    Ok(())
}

/// The medians of the first and the last quarter of a life, behind its warm-up.
fn memory(life: &Life) -> Option<Memory> {
    let (first, last) = (life.samples.first()?.0, life.samples.last()?.0);
    let warm = first + last.saturating_sub(first).mul_f64(WARM_UP).min(LONGEST_WARM_UP);
    let samples: Vec<u64> =
        life.samples.iter().filter(|sample| sample.0 >= warm).map(|sample| sample.1).collect();
    if samples.len() < ENOUGH_SAMPLES {
        return None;
    }
    let quarter = samples.len() / 4;
    Some(Memory {
        first: median(&samples[..quarter]),
        last: median(&samples[samples.len() - quarter..]),
        samples: quarter,
    })
}

fn median(samples: &[u64]) -> u64 {
    let mut samples = samples.to_vec();
    samples.sort_unstable();
    samples[samples.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_is_told() {
        const MIB: u64 = 1 << 20;
        let rising = |second: u64| 80 + second;
        for (name, seconds, samples, expected) in [
            ("flat", 100, (|_| 80) as fn(u64) -> u64, Some(false)),
            ("taken while it warms up", 100, |second| (second * 4).min(80), Some(false)),
            ("up and down", 100, |second| 70 + second % 30, Some(false)),
            ("a mebibyte a second", 100, rising, Some(true)),
            ("a mebibyte in ten seconds", 400, |second| 80 + second / 10, Some(true)),
            ("too short to be told", 20, rising, None),
        ] {
            let sample = |second| (Duration::from_secs(second), samples(second) * MIB, 30);
            let life = Life { began: Duration::ZERO, samples: (0..seconds).map(sample).collect() };
            assert_eq!(memory(&life).map(|memory| memory.has_grown()), expected, "{name}");
        }
    }
}
