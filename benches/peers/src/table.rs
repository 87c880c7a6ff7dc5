//! What was measured, as Markdown: medians with the least and the greatest of all repeats, and ratios taken within
//! each repeat.

use std::fmt::{self, Write as _};

use crate::growth::{self, Point};
use crate::measure::Measured;
use crate::mode::{self, Case, Mode};
use crate::oha;
use crate::pages::Page;
use crate::peer::Peer;

/// All that was measured, with the number of the repeat.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) cases: Vec<(usize, Measured)>,
    pub(crate) points: Vec<(usize, Point)>,
    /// The most memory that Wardgate's settings allow, in its own words.
    pub(crate) most_memory: Vec<String>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// Of the repeats of one thing.
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: lower.midpoint(upper), least, greatest })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.greatest {
            return f.write_str(&digits(self.median));
        }
        write!(f, "{} ({}–{})", digits(self.median), digits(self.least), digits(self.greatest))
    }
}

/// Three digits that matter, and no more zeros than needed.
fn digits(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn shown(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |spread| spread.to_string())
}

/// What the cost of a case may be, as a ratio.
struct Target {
    case: Case,
    to: Peer,
    /// The case of the other; the same unless the target says so.
    to_case: Case,
    at_most: f64,
}

impl Target {
    fn all() -> Vec<Self> {
        let mut targets = Vec::new();
        for case in mode::CASES {
            let mut of = |to, to_case, at_most| targets.push(Self { case: *case, to, to_case, at_most });
            match case.mode {
                Mode::M1 | Mode::M3 => {
                    of(Peer::Floor, *case, 1.2);
                    if case.page != Page::Html(256) {
                        of(Peer::Squid, *case, 1.0 / 3.0); // what follows for the pages that it was set for
                    }
                }
                Mode::M2 if *case == mode::BULK => of(Peer::Floor, *case, 0.6),
                Mode::M2 => of(Peer::Floor, *case, 1.0),
                Mode::M4 if *case == mode::RESUMED => of(Peer::Floor, mode::FULL_HANDSHAKE, 0.6),
                Mode::M4 => of(Peer::Floor, *case, 0.9),
                Mode::M5 => {
                    of(Peer::Floor, *case, 0.5);
                    of(Peer::E2guardian, *case, 1.0 / 40.0);
                }
                _ => of(Peer::Floor, *case, 0.85),
            }
        }
        targets
    }
}

impl Results {
    /// Everything as Markdown.
    pub(crate) fn tables(&self, peers: &[Peer]) -> String {
        let mut text = String::new();
        self.cpu(&mut text, peers);
        self.targets(&mut text);
        self.others(&mut text, peers);
        self.oha(&mut text, peers);
        self.growth(&mut text, peers);
        for failure in &self.failures {
            let _ = writeln!(text, "Not measured: {failure}\n");
        }
        text
    }

    fn spread(&self, peer: Peer, case: &Case, value: fn(&Measured) -> f64) -> Option<Spread> {
        Spread::of(self.of(peer, case).map(|(_, measured)| value(measured)))
    }

    fn of<'a>(&'a self, peer: Peer, case: &'a Case) -> impl Iterator<Item = (usize, &'a Measured)> {
        let wanted = move |measured: &Measured| measured.peer == peer && measured.case == *case;
        let cases = self.cases.iter().filter(move |(_, measured)| wanted(measured));
        cases.map(|(repeat, measured)| (*repeat, measured))
    }

    fn has(&self, case: &Case) -> bool {
        self.cases.iter().any(|(_, measured)| measured.case == *case)
    }

    /// Wardgate's cost divided by another's, repeat by repeat.
    fn ratio(&self, case: &Case, to: Peer, to_case: &Case) -> Option<Spread> {
        let ratios = self.of(Peer::Wardgate, case).filter_map(|(repeat, own)| {
            let (_, other) = self.of(to, to_case).find(|(theirs, _)| *theirs == repeat)?;
            Some(own.cpu_us / other.cpu_us)
        });
        Spread::of(ratios)
    }

    fn cpu(&self, text: &mut String, peers: &[Peer]) {
        let mut rows = Vec::new();
        for case in mode::CASES.iter().filter(|case| self.has(case)) {
            let mut row = vec![case.to_string()];
            row.extend(peers.iter().map(|peer| shown(self.spread(*peer, case, |m| m.cpu_us))));
            row.push(shown(self.ratio(case, Peer::Floor, case)));
            rows.push(row);
        }
        let mut head = vec!["mode".to_owned()];
        head.extend(peers.iter().map(Peer::to_string));
        head.push("Wardgate ÷ floor".to_owned());
        table(text, "Proxy CPU, µs per request", &head, &rows);
    }

    fn targets(&self, text: &mut String) {
        let mut rows = Vec::new();
        for target in Target::all() {
            let Some(ratio) = self.ratio(&target.case, target.to, &target.to_case) else { continue };
            let other = if target.case == target.to_case { "" } else { ", full handshake" };
            rows.push(vec![
                target.case.to_string(),
                format!("{}{other}", target.to),
                digits(target.at_most),
                ratio.to_string(),
                verdict(ratio.median <= target.at_most),
            ]);
        }
        for (what, unit, at_most) in [(growth::START_CPU, "s", 0.5), (growth::START_MEMORY, "MiB", 10.0)] {
            for count in self.counts(what) {
                let Some(spread) = self.point(Peer::Wardgate, what, count) else { continue };
                rows.push(vec![
                    format!("{what}: {count}"),
                    String::new(),
                    format!("{at_most} {unit}"),
                    spread.to_string(),
                    verdict(spread.median <= at_most),
                ]);
            }
        }
        for (what, at_most) in [(growth::EXCHANGE_CPU, 0.2), (growth::DOMAIN_CPU, 0.05)] {
            let Some(rise) = self.rise(what) else { continue };
            rows.push(vec![
                format!("{what}: greatest over least"),
                String::new(),
                format!("+{:.0} %", at_most * 100.0),
                format!("+{:.1} %", rise * 100.0),
                verdict(rise <= at_most),
            ]);
        }
        let head = ["Wardgate", "as a ratio of", "at most", "measured", ""].map(str::to_owned);
        table(text, "Targets", &head, &rows);
    }

    fn others(&self, text: &mut String, peers: &[Peer]) {
        let mut rows = Vec::new();
        for case in mode::CASES {
            rows.extend(peers.iter().filter_map(|peer| self.other(*peer, case)));
        }
        let head =
            ["mode", "proxy", "a second", "busy", "resumed", "p50 ms", "p99 ms", "at a second", "peak MiB"];
        table(text, "Speed, latency and memory", &head.map(str::to_owned), &rows);
    }

    fn other(&self, peer: Peer, case: &Case) -> Option<Vec<String>> {
        let share =
            |value| self.spread(peer, case, value).map(|share| format!("{:.0} %", share.median * 100.0));
        let is_new = case.reuse != crate::load::Reuse::Kept;
        Some(vec![
            case.to_string(),
            peer.to_string(),
            self.spread(peer, case, |m| m.per_second)?.to_string(),
            share(|m| m.busy)?,
            share(|m| m.resumed).filter(|_| is_new).unwrap_or("-".to_owned()),
            self.spread(peer, case, |m| m.p50_ms)?.to_string(),
            self.spread(peer, case, |m| m.p99_ms)?.to_string(),
            case.rate.to_string(),
            self.spread(peer, case, |m| m.peak_mib)?.to_string(),
        ])
    }

    fn oha(&self, text: &mut String, peers: &[Peer]) {
        let mut rows = Vec::new();
        for case in &oha::CASES {
            for peer in peers {
                let Some(cpu) = self.spread(*peer, case, |m| m.cpu_us) else { continue };
                rows.push(vec![
                    case.to_string(),
                    peer.to_string(),
                    cpu.to_string(),
                    shown(self.spread(*peer, case, |m| m.per_second)),
                    shown(self.spread(*peer, case, |m| m.p50_ms)),
                    shown(self.spread(*peer, case, |m| m.p99_ms)),
                ]);
            }
        }
        let head = ["asked by oha", "proxy", "CPU µs per request", "a second", "p50 ms", "p99 ms"];
        table(text, "A second opinion: oha", &head.map(str::to_owned), &rows);
    }

    fn growth(&self, text: &mut String, peers: &[Peer]) {
        let mut known: Vec<(&str, &str)> = Vec::new();
        for (_, point) in &self.points {
            if !known.contains(&(point.what, point.unit)) {
                known.push((point.what, point.unit));
            }
        }
        for (what, unit) in known {
            let mut rows = Vec::new();
            for count in self.counts(what) {
                let mut row = vec![count.to_string()];
                row.extend(peers.iter().map(|peer| shown(self.point(*peer, what, count))));
                rows.push(row);
            }
            let mut head = vec![String::new()];
            head.extend(peers.iter().map(Peer::to_string));
            table(text, &format!("Growth: {what}, {unit}"), &head, &rows);
        }
        if !self.most_memory.is_empty() {
            let _ = writeln!(text, "### The most memory that Wardgate's settings allow\n");
            for bound in &self.most_memory {
                let _ = writeln!(text, "- {bound}");
            }
            text.push('\n');
        }
    }

    /// The steps at which something was looked at.
    fn counts(&self, what: &str) -> Vec<usize> {
        let points = self.points.iter().filter(|(_, point)| point.what == what);
        let mut counts: Vec<usize> = points.map(|(_, point)| point.count).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    fn point(&self, peer: Peer, what: &str, count: usize) -> Option<Spread> {
        let wanted = |point: &&Point| point.peer == peer && point.what == what && point.count == count;
        Spread::of(self.points.iter().map(|(_, point)| point).filter(wanted).map(|point| point.value))
    }

    /// By how much the greatest median of Wardgate's curve is above the least.
    fn rise(&self, what: &str) -> Option<f64> {
        let medians =
            self.counts(what).into_iter().filter_map(|count| self.point(Peer::Wardgate, what, count));
        let spread = Spread::of(medians.map(|spread| spread.median))?;
        Some(spread.greatest / spread.least - 1.0)
    }
}

fn verdict(met: bool) -> String {
    if met { "met" } else { "**not met**" }.to_owned()
}

/// Nothing at all where there are no rows.
fn table(text: &mut String, title: &str, head: &[String], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "### {title}\n\n| {} |", head.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(head.len() - 1));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(peer: Peer, case: Case, cpu_us: f64) -> Measured {
        Measured {
            peer,
            case,
            cpu_us,
            per_second: 1.0,
            busy: 0.5,
            resumed: 0.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            peak_mib: 30.0,
        }
    }

    #[test]
    fn a_spread_has_the_value_in_the_middle() {
        let spread = Spread::of([30.0, 10.0, 200.0]).unwrap();
        assert_eq!(spread.to_string(), "30.0 (10.0–200)");
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().to_string(), "1.50 (1.00–2.00)");
        assert_eq!(Spread::of([0.25]).unwrap().to_string(), "0.250");
        assert!(Spread::of([]).is_none());
    }

    /// A machine that was slow in one repeat was so for both.
    #[test]
    fn ratios_are_taken_within_a_repeat() {
        let case = mode::PLAIN;
        let cases =
            [(0, 20.0, 30.0), (1, 200.0, 300.0), (2, 40.0, 60.0)].into_iter().flat_map(|(n, floor, own)| {
                [(n, measured(Peer::Floor, case, floor)), (n, measured(Peer::Wardgate, case, own))]
            });
        let results = Results { cases: cases.collect(), ..Results::default() };
        assert_eq!(results.ratio(&case, Peer::Floor, &case).unwrap().to_string(), "1.50");
        let text = results.tables(&[Peer::Floor, Peer::Wardgate]);
        assert!(
            text.contains("| M1 plain HTTP, 1 KiB | 40.0 (20.0–200) | 60.0 (30.0–300) | 1.50 |"),
            "{text}"
        );
        assert!(text.contains("| M1 plain HTTP, 1 KiB | floor | 1.20 | 1.50 | **not met** |"), "{text}");
    }

    #[test]
    fn resumed_sessions_are_compared_with_full_handshakes() {
        let cases = vec![
            (0, measured(Peer::Floor, mode::FULL_HANDSHAKE, 400.0)),
            (0, measured(Peer::Wardgate, mode::RESUMED, 200.0)),
        ];
        let text = Results { cases, ..Results::default() }.tables(&[Peer::Floor, Peer::Wardgate]);
        assert!(text.contains("resumed, 1 KiB | floor, full handshake | 0.600 | 0.500 | met |"), "{text}");
    }
}
