//! Debian's squid-openssl: `ssl_bump` as its documentation has it, no cache, an access log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::{Task, Work};
use crate::world::{PROXY, World};
use crate::{growth, pki};

const CERTIFICATES: &str = "/usr/lib/squid/security_file_certgen";
/// How much of minted certificates is remembered, in memory and by the program that mints them.
const REMEMBERED: &str = "64MB";

pub(super) async fn command(world: &World, task: Task, log: &Path) -> Result<Command> {
    let dir = world.directory("squid")?;
    fs::copy(world.path(pki::SCHOOL_KEY), dir.join(pki::SCHOOL_KEY))?;
    readable(&dir.join(pki::SCHOOL_KEY))?;
    let database = dir.join("certificates");
    // Made as the user that will use it.
    let made = Command::new("runuser")
        .args(["-u", "proxy", "--", CERTIFICATES, "-c", "-s"])
        .arg(&database)
        .args(["-M", REMEMBERED])
        .stdout(Stdio::null())
        .status()
        .await;
    ensure!(made.context("cannot run runuser")?.success(), "squid's store of certificates cannot be made");
    let domains = match task.domains {
        0 => None,
        count => Some(growth::domains_file(&dir.join("domains.txt"), 0..count)?),
    };
    let config = dir.join("squid.conf");
    fs::write(&config, configuration(world, &dir, task, domains.as_deref()))?;
    let mut command = world.on_proxy_core(Path::new("/usr/sbin/squid"), log)?;
    command.args(["-N", "-f"]).arg(config);
    Ok(command)
}

fn configuration(world: &World, dir: &Path, task: Task, domains: Option<&Path>) -> String {
    let root = world.path(pki::ORIGIN_ROOT).display().to_string();
    let authority = world.path(pki::SCHOOL).display().to_string();
    let banned = domains.map_or(String::new(), |file| {
        format!("acl listed dstdomain \"{}\"\nhttp_access deny listed\n", file.display())
    });
    let (key, dir) = (pki::SCHOOL_KEY, dir.display());
    let port = if task.work == Work::Tunnel {
        format!("http_port {PROXY}\n")
    } else {
        format!(
            "http_port {PROXY} ssl-bump tls-cert={authority} tls-key={dir}/{key} \
             generate-host-certificates=on dynamic_cert_mem_cache_size={REMEMBERED}\n\
             sslcrtd_program {CERTIFICATES} -s {dir}/certificates -M {REMEMBERED}\n\
             sslcrtd_children 5 startup=1 idle=1\n\
             acl first at_step SslBump1\n\
             ssl_bump peek first\n\
             ssl_bump bump all\n"
        )
    };
    format!(
        "{port}tls_outgoing_options cafile={root}\n\
         {banned}http_access allow all\n\
         cache deny all\n\
         cache_mem 0 MB\n\
         access_log stdio:{dir}/access.log squid\n\
         cache_log {dir}/cache.log\n\
         cache_store_log none\n\
         pid_filename {dir}/squid.pid\n\
         coredump_dir {dir}\n\
         max_filedescriptors 60000\n\
         visible_hostname proxy.peers.test\n\
         pinger_enable off\n\
         client_idle_pconn_timeout 10 minutes\n"
    )
}

fn readable(key: &PathBuf) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(key, fs::Permissions::from_mode(0o644))?)
}
