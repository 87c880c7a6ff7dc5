//! The peer benchmark: Squid, e2guardian, a minimal relay (the floor) and Wardgate, each alone on one processor and
//! asked the same from the other one. `benches/peers/run` installs what it needs and starts it; `benches/README.md` says
//! what is measured and how to read it.

mod cost;
mod growth;
mod load;
mod measure;
mod mode;
mod names;
mod oha;
mod origin;
mod pages;
mod peer;
mod pki;
mod table;
mod words;
mod world;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::growth::{Curve, Steps};
use crate::measure::{Extent, Measured};
use crate::mode::Mode;
use crate::peer::Peer;
use crate::table::Results;
use crate::world::World;

/// Measures proxies side by side. Started by benches/peers/run
#[derive(Parser)]
struct Arguments {
    /// What is measured [default: everything]
    #[arg(long, value_delimiter = ',', value_enum, hide_default_value = true, default_values_t = Mode::value_variants().to_vec())]
    modes: Vec<Mode>,
    /// Which proxies [default: all]
    #[arg(long, value_delimiter = ',', value_enum, hide_default_value = true, default_values_t = Peer::value_variants().to_vec())]
    peers: Vec<Peer>,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// How long each case is looked at, at a modest rate and again at full speed
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Measure everything once only
    #[arg(long)]
    quick: bool,
    /// Does it run at all? The figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Wardgate's shipped policy
    #[arg(long, default_value = "policies")]
    policy: PathBuf,
    /// Pages of these sentences, one a line, in place of made-up ones
    #[arg(long)]
    sentences: Option<PathBuf>,
    /// The program oha
    #[arg(long, default_value = "target/peers/oha/bin/oha")]
    oha: PathBuf,
    /// Where the tables go
    #[arg(long, default_value = "target/peers/table.md")]
    table: PathBuf,
}

/// How much is measured.
struct Plan {
    modes: Vec<Mode>,
    peers: Vec<Peer>,
    repeats: usize,
    extent: Extent,
    steps: &'static Steps,
}

impl Plan {
    fn of(arguments: &Arguments) -> Result<Self> {
        let full = Duration::try_from_secs_f64(if arguments.smoke { 0.2 } else { arguments.seconds })?;
        let mut peers = arguments.peers.clone();
        peers.sort();
        peers.dedup();
        Ok(Self {
            modes: arguments.modes.clone(),
            peers,
            repeats: if arguments.quick || arguments.smoke { 1 } else { arguments.repeats },
            extent: Extent { warm: full / 5, full },
            steps: if arguments.smoke { &growth::SMOKE } else { &growth::WHOLE },
        })
    }
}

// One thread: everything but the proxies shares one processor anyway.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan::of(&arguments)?;
    if let Some(sentences) = &arguments.sentences {
        pages::write_with(sentences)?;
    }
    let world = World::new(arguments.policy, arguments.oha).await?;
    let before = machine();
    let mut results = Results::default();
    for repeat in 0..plan.repeats {
        eprintln!("repeat {} of {}", repeat + 1, plan.repeats);
        cases(&world, &plan, repeat, &mut results).await;
        second_opinion(&world, &plan, repeat, &mut results).await;
        curves(&world, &plan, repeat, &mut results).await;
        // Also what was measured so far is worth having where the rest is broken off.
        let text = format!("{before}{}", results.tables(&plan.peers));
        fs::write(&arguments.table, text).with_context(|| arguments.table.display().to_string())?;
    }
    print!("{}", fs::read_to_string(&arguments.table)?);
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn cases(world: &World, plan: &Plan, repeat: usize, results: &mut Results) {
    for case in mode::CASES.iter().filter(|case| plan.modes.contains(&case.mode)) {
        for peer in plan.peers.iter().filter(|peer| peer.can(case.work(), case.http2)) {
            let measured = measure::measure(world, *peer, case, plan.extent).await;
            keep(measured, format!("{case}, {peer}"), repeat, results);
        }
    }
}

async fn second_opinion(world: &World, plan: &Plan, repeat: usize, results: &mut Results) {
    for case in oha::CASES.iter().filter(|case| plan.modes.contains(&case.mode)) {
        for peer in plan.peers.iter().filter(|peer| peer.can(case.work(), case.http2)) {
            let measured = oha::measure(world, *peer, case, plan.extent.full).await;
            keep(measured, format!("{case}, {peer}"), repeat, results);
        }
    }
}

fn keep(measured: Result<Measured>, what: String, repeat: usize, results: &mut Results) {
    match measured {
        Ok(measured) => {
            eprintln!("  {what}: {:.1} µs, {:.0}/s", measured.cpu_us, measured.per_second);
            results.cases.push((repeat, measured));
        }
        Err(error) => fail(&error, &what, results),
    }
}

async fn curves(world: &World, plan: &Plan, repeat: usize, results: &mut Results) {
    let wanted = |mode: Mode, peers: &[Peer]| -> Vec<Peer> {
        let peers = plan.peers.iter().copied().filter(|peer| peers.contains(peer));
        peers.filter(|_| plan.modes.contains(&mode)).collect()
    };
    for peer in wanted(Mode::Start, &[Peer::Squid, Peer::E2guardian, Peer::Wardgate]) {
        let points = growth::start(world, peer, plan.steps.start).await;
        keep_points(points.map(Vec::from), &format!("start, {peer}"), repeat, results);
    }
    for peer in wanted(Mode::Growth, &[Peer::Floor, Peer::Wardgate]) {
        for curve in Curve::of(peer) {
            let points = curve.measure(world, peer, plan.steps, plan.extent).await;
            keep_points(points, &format!("{curve:?}, {peer}"), repeat, results);
        }
        if peer == Peer::Wardgate {
            match peer::most_memory(world).await {
                Ok(bounds) => results.most_memory = bounds,
                Err(error) => fail(&error, "the most memory", results),
            }
        }
    }
}

fn keep_points(points: Result<Vec<growth::Point>>, what: &str, repeat: usize, results: &mut Results) {
    match points {
        Ok(points) => {
            for point in &points {
                eprintln!("  {what}: {}, {}: {:.3} {}", point.what, point.count, point.value, point.unit);
            }
            results.points.extend(points.into_iter().map(|point| (repeat, point)));
        }
        Err(error) => fail(&error, what, results),
    }
}

fn fail(error: &anyhow::Error, what: &str, results: &mut Results) {
    eprintln!("  {what}: {error:#}");
    let cause = error.root_cause().to_string();
    results.failures.push(format!("{what}: {}", cause.lines().next().unwrap_or_default()));
}

/// What the figures were taken on, and with what.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let programs =
        [("squid", "-v"), ("e2guardian", "-v"), ("nginx", "-v")].map(|(name, flag)| said(name, flag));
    format!(
        "{}, {model}, Linux {}, load {} at the start; {}.\n\n",
        said("date", "+%-d %B %Y, %H:%M"),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
        programs.join("; "),
    )
}

/// The first line that a program prints.
fn said(program: &str, argument: &str) -> String {
    let Ok(ran) = Command::new(program).arg(argument).output() else { return format!("no {program}") };
    let text = [ran.stdout, ran.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}
