//! One case with one proxy: started for it alone, warmed, then asked at a modest rate and at full speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::sleep;

use crate::cost::Memory;
use crate::load::{Client, Load, Pace, Reuse, Route};
use crate::mode::{Case, Mode};
use crate::origin;
use crate::pages::Page;
use crate::peer::{Peer, Running, Task, Work};
use crate::world::{PROXY, World};

/// After the last answer: lines are still written, and connections closed.
pub(crate) const AFTERWARDS: Duration = Duration::from_millis(300);

/// How long things are looked at.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) warm: Duration,
    pub(crate) full: Duration,
}

/// What one case costs one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) peer: Peer,
    pub(crate) case: Case,
    /// CPU time of the proxy for each request (or MiB), in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    /// The share of its processor that the proxy had in use at full speed.
    pub(crate) busy: f64,
    /// Of the TLS handshakes with the proxy, the share that resumed a session.
    pub(crate) resumed: f64,
    /// At the modest rate, in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) peak_mib: f64,
}

/// Measures a case.
pub(crate) async fn measure(world: &World, peer: Peer, case: &Case, extent: Extent) -> Result<Measured> {
    let running = peer.start(world, case.work().into()).await?;
    let measured = with(world, peer, case, extent, &running).await.with_context(|| running.last_words());
    running.stop().await?;
    measured
}

async fn with(world: &World, peer: Peer, case: &Case, extent: Extent, running: &Running) -> Result<Measured> {
    let client = Arc::new(client(world, peer, case)?);
    prove(&client, peer, case).await?;
    let mut load = Load::open(&client, case.clients).await?;
    load.run(Pace::Full, extent.warm).await?;
    let modest = load.run(Pace::Rate(case.rate), case.modest_time(extent.full)).await?;
    let cost = full_speed(&mut load, case, extent.full, running).await?;
    // A tunnel is one exchange, whatever is asked for inside.
    if case.work() != Work::Tunnel || case.reuse != Reuse::Kept {
        all_logged(world, peer, modest.exchanges + cost.exchanges).await?;
    }
    let milliseconds =
        |of_hundred| modest.percentile(of_hundred).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3);
    Ok(Measured {
        peer,
        case: *case,
        cpu_us: cost.cpu_us,
        per_second: cost.per_second,
        busy: cost.busy,
        resumed: cost.resumed,
        p50_ms: milliseconds(50),
        p99_ms: milliseconds(99),
        peak_mib: running.memory(Memory::Peak)? as f64 / 1024.0,
    })
}

/// Makes sure that every exchange is in the access log, or will be in a moment.
async fn all_logged(world: &World, peer: Peer, exchanges: u64) -> Result<()> {
    const ATTEMPTS: usize = 20;
    let mut logged = None;
    for _ in 0..ATTEMPTS {
        logged = peer.logged(world)?;
        if logged.is_none_or(|lines| lines >= exchanges) {
            return Ok(());
        }
        sleep(AFTERWARDS).await;
    }
    bail!("{exchanges} exchanges, and the access log has {logged:?} lines")
}

/// What full speed costs.
pub(crate) struct Cost {
    exchanges: u64,
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) busy: f64,
    pub(crate) resumed: f64,
}

/// Runs a load at full speed and looks at the proxy's clock before and after.
pub(crate) async fn full_speed(
    load: &mut Load,
    case: &Case,
    lasting: Duration,
    running: &Running,
) -> Result<Cost> {
    let before = running.cpu()?;
    let done = load.run(Pace::Full, lasting).await?;
    sleep(AFTERWARDS).await;
    let used = running.cpu()?.since(&before)?;
    if case.reuse == Reuse::Kept && done.opened * 20 > done.exchanges {
        eprintln!("    it does not keep connections: {} for {} requests", done.opened, done.exchanges);
    }
    let units = done.exchanges as f64 * case.units();
    Ok(Cost {
        exchanges: done.exchanges,
        cpu_us: used.as_secs_f64() * 1e6 / units,
        per_second: units / done.took.as_secs_f64(),
        busy: used.as_secs_f64() / done.took.as_secs_f64(),
        resumed: done.resumed as f64 / done.opened.max(1) as f64,
    })
}

/// A client for a case.
pub(crate) fn client(world: &World, peer: Peer, case: &Case) -> Result<Client> {
    let route = if case.mode == Mode::M1 {
        Route::Plain
    } else {
        Route::connect(&peer.authority(world, case.work()), case.http2, case.resume)?
    };
    Ok(Client {
        proxy: PROXY.parse()?,
        from: Peer::client(case.work()),
        route,
        reuse: case.reuse,
        host: if case.http2 { origin::HTTP2_HOST } else { origin::HOST },
        path: case.page.path(),
        hosts: AtomicU64::new(0),
        length: AtomicUsize::new(0),
    })
}

/// Makes sure that the proxy does what is measured: that the page comes through whole, and that one which every filter
/// should object to does not where pages are scanned.
async fn prove(client: &Client, peer: Peer, case: &Case) -> Result<()> {
    let (answer, body) = client.fetch(&client.path).await?;
    ensure!(
        answer.status == 200 && body == case.page.bytes(),
        "the page comes with {answer:?}, and not as it is"
    );
    client.expect(answer.length);
    if case.work() != Work::Scan {
        return Ok(());
    }
    let (answer, body) = client.fetch(&Page::Control.path()).await?;
    let noticed = if peer == Peer::Floor { answer.phrases > 0 } else { body != Page::Control.bytes() };
    ensure!(noticed, "it does not scan: the page that it should object to comes with {answer:?}");
    Ok(())
}

/// Starts a proxy for a task and measures a case at full speed only.
pub(crate) async fn cost_of(
    world: &World,
    peer: Peer,
    case: &Case,
    task: Task,
    extent: Extent,
) -> Result<(Cost, Running)> {
    let running = peer.start(world, task).await?;
    let client = Arc::new(client(world, peer, case)?);
    prove(&client, peer, case).await.with_context(|| running.last_words())?;
    let mut load = Load::open(&client, case.clients).await?;
    load.run(Pace::Full, extent.warm).await?;
    let cost = full_speed(&mut load, case, extent.full, &running).await?;
    Ok((cost, running))
}
