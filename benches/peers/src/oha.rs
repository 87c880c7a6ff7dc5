//! oha as a second opinion on M1 and M3: another load generator, written by others, in place of our own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::sleep;

use crate::cost::Memory;
use crate::measure::{AFTERWARDS, Measured};
use crate::mode::{self, Case, Mode};
use crate::origin;
use crate::peer::Peer;
use crate::world::{PROXY, World};

/// What oha drives.
pub(crate) const CASES: [Case; 3] = [
    Case { mode: Mode::Oha, name: "plain HTTP", ..mode::PLAIN },
    Case { mode: Mode::Oha, ..mode::INTERCEPTED },
    Case { mode: Mode::Oha, ..mode::INTERCEPTED_HTTP2 },
];

/// HTTP/2 connections; each has a share of the clients as streams.
const HTTP2_CONNECTIONS: usize = 4;

/// Measures a case as [`crate::measure::measure`] does, with oha asking.
pub(crate) async fn measure(world: &World, peer: Peer, case: &Case, lasting: Duration) -> Result<Measured> {
    let running = peer.start(world, case.work().into()).await?;
    let warm = Duration::from_secs(1);
    run(world, peer, case, warm, None).await.with_context(|| running.last_words())?;
    let modest = run(world, peer, case, lasting, Some(case.rate)).await?;
    let before = running.cpu()?;
    let full = run(world, peer, case, lasting, None).await?;
    sleep(AFTERWARDS).await;
    let used = running.cpu()?.since(&before)?.as_secs_f64();
    let measured = Measured {
        peer,
        case: *case,
        cpu_us: used * 1e6 / full.exchanges,
        per_second: full.exchanges / full.seconds,
        busy: used / full.seconds,
        resumed: 0.0,
        p50_ms: modest.p50_ms,
        p99_ms: modest.p99_ms,
        peak_mib: running.memory(Memory::Peak)? as f64 / 1024.0,
    };
    running.stop().await?;
    Ok(measured)
}

/// What oha says of a run.
struct Report {
    exchanges: f64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
}

async fn run(world: &World, peer: Peer, case: &Case, lasting: Duration, rate: Option<u32>) -> Result<Report> {
    let mut oha = Command::new(&world.oha);
    oha.args(["--no-tui", "--output-format", "json", "--worker-threads", "1"]);
    oha.args(["-w", "-z", &format!("{}ms", lasting.as_millis()), "-x", &format!("http://{PROXY}")]);
    oha.arg("--cacert").arg(peer.authority(world, case.work()));
    let (connections, streams) =
        if case.http2 { (HTTP2_CONNECTIONS, case.clients / HTTP2_CONNECTIONS) } else { (case.clients, 1) };
    oha.args(["-c", &connections.to_string(), "-p", &streams.to_string()]);
    if let Some(rate) = rate {
        oha.args(["-q", &rate.to_string(), "--latency-correction"]);
    }
    let host = if case.http2 { origin::HTTP2_HOST } else { origin::HOST };
    if case.http2 {
        oha.arg("--http2");
    }
    oha.args(["--proxy-header", &format!("Host: {host}:443")]); // RFC 9112, section 3.2: it sends none by itself
    let scheme = if case.name == mode::PLAIN.name { "http" } else { "https" };
    oha.arg(format!("{scheme}://{host}{}", case.page.path()));
    let ran = oha.kill_on_drop(true).output().await.with_context(|| format!("{}", world.oha.display()))?;
    ensure!(ran.status.success(), "oha failed: {}", String::from_utf8_lossy(&ran.stderr));
    report(&serde_json::from_slice(&ran.stdout)?)
}

fn report(said: &Value) -> Result<Report> {
    let number =
        |of: &Value, name: &str| of[name].as_f64().with_context(|| format!("oha does not say {name}"));
    let (statuses, errors) = (&said["statusCodeDistribution"], &said["errorDistribution"]);
    let answered = number(statuses, "200").with_context(|| format!("{statuses} {errors}"))?;
    let all = number(&said["summary"], "requestsPerSec")? * number(&said["summary"], "total")?;
    // Requests under way at the end are broken off over HTTP/2, whatever it is told.
    let aborted = errors["aborted due to deadline"].as_f64().unwrap_or_default();
    ensure!(answered + aborted > 0.99 * all, "{answered} of {all:.0} were answered: {statuses} {errors}");
    Ok(Report {
        exchanges: answered,
        seconds: number(&said["summary"], "total")?,
        p50_ms: number(&said["latencyPercentiles"], "p50")? * 1e3,
        p99_ms: number(&said["latencyPercentiles"], "p99")? * 1e3,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(statuses: Value, errors: Value) -> Value {
        json!({
            "summary": { "requestsPerSec": 50.0, "total": 2.0 },
            "statusCodeDistribution": statuses,
            "errorDistribution": errors,
            "latencyPercentiles": { "p50": 0.001, "p99": 0.002 },
        })
    }

    #[test]
    fn what_was_answered_counts() {
        let whole = report(&said(json!({ "200": 92 }), json!({ "aborted due to deadline": 8 }))).unwrap();
        assert_eq!((whole.exchanges, whole.seconds, whole.p99_ms), (92.0, 2.0, 2.0));
        assert!(report(&said(json!({ "200": 92, "502": 8 }), json!({}))).is_err());
        assert!(report(&said(json!({}), json!({ "no upgrade available": 100 }))).is_err());
    }
}
