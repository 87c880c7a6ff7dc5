//! Counts the instructions of the pieces that every exchange passes: deciding, looking up, reading, recording,
//! minting. Cachegrind counts them, so that the figures are the same however busy the machine is.
//!
//! ```text
//! benches/instructions/run             prints the table beside the committed figures
//! benches/instructions/run --check     fails where a piece takes a tenth more than its committed figure
//! benches/instructions/run --write     commits to what was counted: writes figures.txt
//! ```

mod pieces;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

use crate::pieces::{PIECES, Piece};

/// How much more than its committed figure a piece may take, in percent. What is left to chance (the keys of hash
/// tables) is far below it.
const TOLERANCE_PERCENT: u64 = 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => report(Purpose::Show),
        ["--check"] => report(Purpose::Check),
        ["--write"] => report(Purpose::Write),
        ["--repeat", piece, times] => repeat(piece, times),
        _ => Err(anyhow::anyhow!("usage: instructions [--check | --write]")),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::from(3)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Show,
    Check,
    Write,
}

fn report(purpose: Purpose) -> anyhow::Result<ExitCode> {
    let committed = committed()?;
    let mut counted = BTreeMap::new();
    let mut grown = Vec::new();
    println!("| piece | instructions | committed |\n|---|---:|---:|");
    for piece in PIECES {
        let count = count(piece)?;
        let before = committed.get(piece.name).copied();
        println!(
            "| {} | {count} | {} |",
            piece.name,
            before.map_or("-".to_owned(), |before| before.to_string())
        );
        if before.is_none_or(|before| count * 100 > before * (100 + TOLERANCE_PERCENT)) {
            grown.push(piece.name);
        }
        counted.insert(piece.name, count);
    }
    match purpose {
        Purpose::Show => {}
        Purpose::Check if grown.is_empty() => {}
        Purpose::Check => {
            eprintln!(
                "instructions: more than {TOLERANCE_PERCENT} % over the committed figure: {}; make it cheaper, or say \
                 why it must cost more and commit to it with benches/instructions/run --write",
                grown.join(", ")
            );
            return Ok(ExitCode::FAILURE);
        }
        Purpose::Write => {
            let lines: String =
                counted.iter().map(|(name, count)| format!("{count:>10}  {name}\n")).collect();
            fs::write(figures(), lines)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn figures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/figures.txt"))
}

fn committed() -> anyhow::Result<BTreeMap<String, u64>> {
    let Ok(text) = fs::read_to_string(figures()) else { return Ok(BTreeMap::new()) };
    let line = |line: &str| {
        let (count, name) =
            line.trim().split_once("  ").context("figures.txt: a line is not `count  name`")?;
        Ok((name.to_owned(), count.parse()?))
    };
    text.lines().map(line).collect()
}

/// The instructions of one pass: those of many passes, without those of getting ready.
fn count(piece: &Piece) -> anyhow::Result<u64> {
    let (ready, done) = (total(piece, 1)?, total(piece, 1 + piece.passes)?);
    ensure!(done > ready, "cachegrind counted nothing for {}", piece.name);
    Ok((done - ready) / u64::from(piece.passes))
}

fn total(piece: &Piece, times: u32) -> anyhow::Result<u64> {
    let this = std::env::current_exe()?;
    let run = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(this)
        .args(["--repeat", piece.name, &times.to_string()])
        .output()
        .context("valgrind cannot be run: apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        bail!("{} failed under valgrind: {said}", piece.name);
    }
    let line = said.lines().find(|line| line.contains("I   refs:") || line.contains("I refs:"));
    let digits = line.and_then(|line| line.rsplit(':').next()).map(|count| count.trim().replace(',', ""));
    digits.context("cachegrind names no count")?.parse().context("cachegrind's count is no number")
}

fn repeat(name: &str, times: &str) -> anyhow::Result<ExitCode> {
    let piece = PIECES.iter().find(|piece| piece.name == name).context("no such piece")?;
    (piece.run)(times.parse()?)?;
    Ok(ExitCode::SUCCESS)
}
