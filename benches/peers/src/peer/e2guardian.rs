//! Debian's e2guardian: the configuration that the package ships, with interception switched on as its notes say.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{Task, Work};
use crate::world::World;
use crate::{growth, pki};

const SHIPPED: &str = "/etc/e2guardian";

pub(super) fn command(world: &World, task: Task, log: &Path) -> Result<Command> {
    let dir = world.directory("e2guardian")?;
    let minted = world.directory("e2guardian/minted")?;
    for key in [pki::SCHOOL_KEY, pki::LEAF_KEY] {
        fs::copy(world.path(key), dir.join(key))?;
        fs::set_permissions(dir.join(key), fs::Permissions::from_mode(0o644))?;
    }
    let (port, on) = (crate::world::PROXY.rsplit(':').next().unwrap_or_default(), "on");
    let intercept = if task.work == Work::Tunnel { "off" } else { on };
    let in_dir = |name: &str| format!("'{}'", dir.join(name).display());
    let main = [
        ("filterip", "127.0.0.1".to_owned()),
        ("filterports", port.to_owned()),
        ("loglocation", in_dir("access.log")),
        ("pidfilename", in_dir("e2guardian.pid")),
        ("filecachedir", in_dir("")),
        ("enablessl", intercept.to_owned()),
        ("cacertificatepath", format!("'{}'", world.path(pki::SCHOOL).display())),
        ("caprivatekeypath", in_dir(pki::SCHOOL_KEY)),
        ("certprivatekeypath", in_dir(pki::LEAF_KEY)),
        ("generatedcertpath", format!("'{}/'", minted.display())),
        // Ten years from then; the default ended in 2024.
        ("generatedcertstart", yesterday()?.to_string()),
        // 2 is the shipped mode: each phrase counts once. 0 looks for no phrases at all.
        ("weightedphrasemode", if task.work == Work::Scan { "2" } else { "0" }.to_owned()),
    ];
    let mut group = vec![("sslmitm", intercept.to_owned())];
    if task.domains > 0 {
        let file = growth::domains_file(&dir.join("domains.txt"), 0..task.domains)?;
        group.push(("sitelist", format!("'name=banned,messageno=500,path={}'", file.display())));
    }
    write("e2guardian.conf", &dir, &main)?;
    write("e2guardianf1.conf", &dir, &group)?;
    let mut command = world.on_proxy_core(Path::new("/usr/sbin/e2guardian"), log)?;
    command.arg("-N").arg("-c").arg(dir.join("e2guardian.conf"));
    // Where OpenSSL looks for the roots of origins when nothing else is said.
    command.env("SSL_CERT_FILE", world.path(pki::ORIGIN_ROOT));
    Ok(command)
}

/// In seconds since 1970.
fn yesterday() -> Result<u64> {
    const DAY: u64 = 24 * 60 * 60;
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() - DAY)
}

/// The shipped file with some of its keys set to something else. Lists, which may come many times, are added.
fn write(name: &str, dir: &Path, settings: &[(&str, String)]) -> Result<()> {
    let path = Path::new(SHIPPED).join(name);
    let shipped = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let replaced = |line: &&str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        key != "sitelist" && settings.iter().any(|(name, _)| *name == key)
    };
    let mut text: Vec<String> = shipped.lines().filter(|line| !replaced(line)).map(str::to_owned).collect();
    text.extend(settings.iter().map(|(name, value)| format!("{name} = {value}")));
    Ok(fs::write(dir.join(name), text.join("\n") + "\n")?)
}
