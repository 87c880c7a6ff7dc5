//! `wardgate serve`: set up, announce, serve, reload when asked, drain, record the last line, end.

use std::fs::{self, DirBuilder};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use wardgate_alert::{AlertSink, Guidance, LogSource};
use wardgate_core::{Journal, Severity};
use wardgate_identity::Accounts;
use wardgate_journal::{AccessLog, LogConfig};
use wardgate_proxy::{MAX_PIPES, Parts, Proxy, Rules};
use wardgate_store::Store;
use wardgate_tls::{Authorities, Minter, OriginTls, OwnCertificate};

use crate::config::Config;
use crate::exit::{Failure, print_diagnostics};
use crate::rules::{self, Compiled};

/// How long the last lines of the access log may take to be written at the end.
const LAST_LINES: Duration = Duration::from_secs(10);
/// How often it is looked whether certificates, roots or revocations were renewed.
const CERTIFICATES_LOOKED_AT: Duration = Duration::from_secs(10);
/// How long before its end the authority is warned of.
const WARNED_BEFORE: time::Duration = time::Duration::days(180);
/// How often the metrics clear away what nobody will ask for.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// Descriptors that a connection may take: the client's and the origin's.
const DESCRIPTORS_PER_CONNECTION: usize = 2;
/// Descriptors for everything else: listening, log, records, alerts, a policy being compiled, and the pipes of tunnels in
/// which much moves.
const OTHER_DESCRIPTORS: usize = 100 + 2 * MAX_PIPES;

/// Serves until SIGTERM or SIGINT.
pub(crate) fn serve(config: Config) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("WARDGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    prepare_directories(&config)?;
    let compiled = rules::compile(&config.policy.dir).map_err(Failure::Policy)?;
    print_diagnostics(&compiled.warnings);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::system)?;
    let served = runtime.block_on(run(config, compiled));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

fn prepare_directories(config: &Config) -> Result<(), Failure> {
    let data = &config.data.dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot make the data directory {}; set [data] dir", data.display()))
        .map_err(Failure::System)?;
    if !config.policy.dir.exists() {
        write_shipped_policy(&config.policy.dir).map_err(Failure::System)?;
    }
    Ok(())
}

/// The shipped policy goes beside its place first, so that a half-written one is never taken for a policy.
fn write_shipped_policy(dir: &Path) -> anyhow::Result<()> {
    let partial = dir.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    wardgate_policy::write_embedded(&partial)
        .and_then(|()| fs::rename(&partial, dir))
        .with_context(|| format!("cannot write the shipped policy to {}; set [policy] dir", dir.display()))?;
    tracing::info!(dir = %dir.display(), "there was no policy: the shipped one was written out");
    Ok(())
}

async fn run(config: Config, compiled: Compiled) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::system)?; // before anybody is told that we are here
    let metrics = install_metrics()?;
    let tls = Tls::set_up(&config)?;
    let in_force = Arc::new(Rules::new(compiled.ruleset));
    let store = Store::open(&config.store_url()).await.map_err(Failure::system)?;
    let rules = Arc::clone(&in_force);
    let accounts =
        Accounts::open(store.clone(), Box::new(move |address| rules.load().policy.address_user(address)));
    let accounts = Arc::new(accounts.await.map_err(Failure::system)?);
    let log = LogConfig {
        dir: config.log_dir(),
        retention_days: config.log.retention_days,
        capacity: config.log.capacity,
    };
    let log = Arc::new(AccessLog::open(log).map_err(Failure::system)?);

    let parts = Parts {
        rules: Arc::clone(&in_force),
        journal: Arc::clone(&log) as Arc<dyn Journal>,
        authenticate: Arc::clone(&accounts) as _,
        minter: Arc::clone(&tls.minter),
        origin_tls: Arc::clone(&tls.origins),
        metrics,
    };
    let proxy = Proxy::bind(config.proxy.clone(), &config.upstream, parts).await.map_err(Failure::system)?;
    let end_of_alerts = CancellationToken::new();
    let alerts = start_alerts(&config, store, &log, &in_force, end_of_alerts.clone()).await?;
    tokio::spawn(async move { accounts.follow().await });

    raise_descriptor_limit(config.proxy.max_connections); // late: a start that fails says only why
    let stop = CancellationToken::new();
    let (address, tls_address, certificate) = (proxy.address(), proxy.tls_address(), proxy.certificate());
    let proxy = tokio::spawn(proxy.run(stop.clone()));
    announce(address, tls_address, &tls.minter, &log, &in_force).map_err(Failure::system)?;
    signals.obey(&config, &in_force, &tls, certificate.as_deref()).await;

    tracing::info!("stopping: exchanges under way may finish");
    stop.cancel();
    let proxy = proxy.await;
    let closed = log.close(LAST_LINES).await;
    end_of_alerts.cancel();
    alerts.stopped().await;
    proxy.map_err(Failure::system)?;
    closed.map_err(Failure::system)?;
    tracing::info!("stopped");
    Ok(())
}

fn install_metrics() -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(Failure::system)?;
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}

async fn start_alerts(
    config: &Config,
    store: Store,
    log: &AccessLog,
    in_force: &Arc<Rules>,
    end: CancellationToken,
) -> Result<AlertSink, Failure> {
    let source = LogSource { dir: log.dir().to_owned(), written: log.written() };
    let rules = Arc::clone(in_force);
    let guidance = Guidance::new(move || rules.load_full());
    AlertSink::start(config.alerts.clone(), store, source, guidance, end).await.map_err(Failure::system)
}

/// Takes as many descriptors as the system lets us have, and says so where they are too few for what is configured.
fn raise_descriptor_limit(max_connections: usize) {
    let needed = descriptors_for(max_connections);
    match rlimit::increase_nofile_limit(rlimit::INFINITY) {
        Ok(limit) if limit >= needed => {}
        Ok(limit) => tracing::warn!(
            limit,
            needed,
            "too few open files are allowed for [proxy] max_connections: set LimitNOFILE= in the service's unit, \
             --ulimit nofile= for a container or `ulimit -n` in a shell, or lower max_connections"
        ),
        Err(error) => tracing::warn!(
            %error,
            needed,
            "the limit of open files cannot be raised: see that LimitNOFILE= or `ulimit -n` allows what is needed"
        ),
    }
}

fn descriptors_for(max_connections: usize) -> u64 {
    let needed = max_connections.saturating_mul(DESCRIPTORS_PER_CONNECTION).saturating_add(OTHER_DESCRIPTORS);
    u64::try_from(needed).unwrap_or(u64::MAX)
}

/// Tells a person, or the script that started us, where everything is.
fn announce(
    address: std::net::SocketAddr,
    tls_address: Option<std::net::SocketAddr>,
    minter: &Minter,
    log: &AccessLog,
    in_force: &Rules,
) -> std::io::Result<()> {
    let reached =
        if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
    let reached = if reached.contains(':') { format!("[{reached}]") } else { reached };
    let port = address.port();
    let ca = minter.authorities().signing.certificate().path.clone();
    let ca = ca.canonicalize().unwrap_or(ca);
    let file = log.current_file();
    let file = file.canonicalize().unwrap_or(file);
    let mut out = std::io::stdout().lock();
    writeln!(out, "proxy    http://{reached}:{port}")?;
    if let Some(address) = tls_address {
        writeln!(out, "tls      https://{address}")?;
    }
    writeln!(out, "pac      http://{reached}:{port}/proxy.pac")?;
    writeln!(out, "ca       {}", ca.display())?;
    writeln!(out, "log      {}", file.display())?;
    writeln!(out, "policy   {}", in_force.load().policy.hash())?;
    writeln!(out, "ready")?;
    out.flush()
}

/// Certificates on both sides: what is shown to clients, and what is believed of origins.
struct Tls {
    minter: Arc<Minter>,
    origins: Arc<OriginTls>,
}

impl Tls {
    fn set_up(config: &Config) -> Result<Self, Failure> {
        let authorities = Authorities::open_or_create(&config.certs.settings()).map_err(Failure::system)?;
        warn_of_the_end(&authorities);
        let origins = OriginTls::new(config.origins(), &authorities).map_err(Failure::system)?;
        let minter = Minter::new(authorities, config.proxy.minted_hosts).map_err(Failure::system)?;
        Ok(Self { minter: Arc::new(minter), origins: Arc::new(origins) })
    }

    /// Takes up what lies in the directory now, or says why what was there before stays. No connection is dropped.
    fn reload(&self, config: &Config) {
        if let Err(error) = self.try_reload(config) {
            tracing::error!(%error, "certificates are not reloaded: those of before stay in force");
        }
    }

    fn try_reload(&self, config: &Config) -> anyhow::Result<()> {
        let authorities = Authorities::open_or_create(&config.certs.settings())?;
        self.origins.reload(&authorities)?;
        if *authorities.signing.certificate().der != *self.minter.authorities().signing.certificate().der {
            let fingerprint = authorities.signing.certificate().fingerprint();
            tracing::info!(%fingerprint, "another authority signs from now on");
        }
        warn_of_the_end(&authorities);
        self.minter.renew(authorities);
        tracing::info!("certificates were reloaded");
        Ok(())
    }

    /// Looks whether the day has come on which the next authority signs, and whether roots or revocations were renewed.
    fn look(&self, config: &Config) {
        let (settings, authorities) = (config.certs.settings(), self.minter.authorities());
        if authorities.next.as_ref().is_some_and(|next| settings.is_due(next)) {
            self.reload(config);
        } else if self.origins.is_out_of_date() {
            match self.origins.reload(&authorities) {
                Ok(()) => tracing::info!("roots and revocations were reloaded"),
                Err(error) => {
                    tracing::error!(%error, "roots and revocations are not reloaded: those of before stay in force");
                }
            }
        }
    }
}

/// Says in good time that the authority ends: every device has to be visited.
fn warn_of_the_end(authorities: &Authorities) {
    let certificate = authorities.signing.certificate();
    let left = certificate.not_after - time::OffsetDateTime::now_utc();
    if left < WARNED_BEFORE {
        tracing::warn!(
            until = %certificate.not_after.date(),
            "the certificate authority ends soon: run `wardgate ca rotate` and bring the next one to the devices"
        );
    }
}

/// The signals that are obeyed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when Wardgate is told to stop; reloads the policy, certificates and revocation lists when told to.
    async fn obey(
        &mut self,
        config: &Config,
        in_force: &Rules,
        tls: &Tls,
        certificate: Option<&OwnCertificate>,
    ) {
        let mut look = tokio::time::interval(CERTIFICATES_LOOKED_AT);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = look.tick() => tls.look(config),
                _ = self.hang_up.recv() => {
                    tls.reload(config);
                    reload_certificate(certificate);
                    reload(config, in_force).await;
                }
            }
        }
    }
}

/// Takes up a renewed certificate of the proxy itself, or says why the last good one stays.
fn reload_certificate(certificate: Option<&OwnCertificate>) {
    if let Some(Err(error)) = certificate.map(OwnCertificate::reload) {
        tracing::error!(%error, "the certificate of [proxy] tls_listen is not reloaded: the last good one stays in use");
    }
}

/// Puts the policy directory's present contents in force, or says why the last good policy stays.
async fn reload(config: &Config, in_force: &Rules) {
    let dir = config.policy.dir.clone();
    let compiled = match tokio::task::spawn_blocking(move || rules::compile(&dir)).await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(diagnostics)) => {
            print_diagnostics(&diagnostics);
            let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
            tracing::error!(errors, "the policy is not reloaded: the last good policy stays in force");
            return;
        }
        Err(error) => {
            tracing::error!(%error, "the policy is not reloaded: the last good policy stays in force");
            return;
        }
    };
    print_diagnostics(&compiled.warnings);
    let hash = Arc::clone(compiled.ruleset.policy.hash());
    in_force.store(compiled.ruleset);
    tracing::info!(%hash, "the policy was reloaded");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_for_so_many_connections() {
        for (name, connections, needed) in [
            ("none", 0, 612),
            ("the default", 20_000, 40_612),
            ("more than can be counted", usize::MAX, usize::MAX as u64),
        ] {
            assert_eq!(descriptors_for(connections), needed, "{name}");
        }
    }

    #[test]
    fn the_descriptor_limit_is_raised_as_far_as_it_goes() {
        raise_descriptor_limit(1);
        let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
        assert_eq!(soft, hard);
    }
}
