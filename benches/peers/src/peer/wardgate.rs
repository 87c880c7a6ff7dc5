//! Wardgate as a school has it: the shipped policy with all its lists and phrases, accounts, identity by address, the
//! access log. Two groups are added, for what the shipped ones do not do: not scanning, and not intercepting.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Task, Work};
use crate::world::{PROXY, World};
use crate::{growth, pki};

/// Who sits where: the address, the account, its group.
const PEOPLE: [(Ipv4Addr, &str, &str); 3] = [
    (Ipv4Addr::new(127, 0, 0, 1), "office", "unscanned"),
    (Ipv4Addr::new(127, 0, 0, 2), "pupil", "learners"),
    (Ipv4Addr::new(127, 0, 0, 3), "guest", "tunnelled"),
];

const GROUPS: &str = "
[[group]]
name = \"unscanned\"
directory_groups = [\"unscanned\"]
settings = { scan = false }

[[group]]
name = \"tunnelled\"
directory_groups = [\"tunnelled\"]
settings = { intercept = false }
";

/// The address of a person in the group for this work.
pub(super) fn client(work: Work) -> Ipv4Addr {
    match work {
        Work::Intercept => PEOPLE[0].0,
        Work::Scan => PEOPLE[1].0,
        Work::Tunnel => PEOPLE[2].0,
    }
}

/// The files of the access log: one, or two when midnight has come.
pub(super) fn access_logs(world: &World) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(world.path("wardgate/data/log"))?.map(|entry| Ok(entry?.path()));
    let files = files.collect::<Result<Vec<PathBuf>>>()?;
    Ok(files.into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "jsonl")).collect())
}

pub(super) async fn command(world: &World, task: Task, log: &Path) -> Result<Command> {
    let program = world.program("wardgate")?;
    let dir = world.path("wardgate");
    if !dir.exists() {
        move_in(world, &program, &dir).await?;
    }
    write_policy(&world.policy, &dir.join("policies"), task)?;
    let _ = fs::remove_dir_all(dir.join("data/log")); // each start begins its log
    let mut command = world.on_proxy_core(&program, log)?;
    command.arg("--config").arg(dir.join("wardgate.toml")).arg("serve").current_dir(&dir);
    Ok(command)
}

/// The most memory that its settings allow, in its own words.
pub(crate) async fn most_memory(world: &World) -> Result<Vec<String>> {
    let dir = world.path("wardgate");
    let mut command = Command::new(world.program("wardgate")?);
    command.arg("--config").arg(dir.join("wardgate.toml")).args(["limits", "--json"]).current_dir(&dir);
    let told = command.output().await?;
    ensure!(told.status.success(), "it tells no limits: {}", String::from_utf8_lossy(&told.stderr));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout)?;
    let kinds = told["limits"].as_array().context("no limits")?;
    let kind = kinds.iter().find(|kind| kind["name"] == "memory").context("no limit of memory")?;
    let entries = kind["entries"].as_array().context("no entries")?;
    let word = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    Ok(entries
        .iter()
        .map(|entry| format!("{} ({})", word(entry, "subject"), word(entry, "reason")))
        .collect())
}

/// Configuration, authority and accounts, which stay for the whole run.
async fn move_in(world: &World, program: &Path, dir: &Path) -> Result<()> {
    let certificates = dir.join("certs");
    fs::create_dir_all(&certificates)?;
    for file in [pki::SCHOOL, pki::SCHOOL_KEY] {
        fs::copy(world.path(file), certificates.join(file))?;
    }
    let root = world.path(pki::ORIGIN_ROOT);
    let config = format!(
        "[proxy]\nlisten = \"{PROXY}\"\nmax_connections = 40000\nmax_connections_per_client = 40000\n\
         max_exchanges_per_client = 40000\n\
         [upstream]\nextra_roots = [\"{}\"]\n",
        root.display()
    );
    fs::write(dir.join("wardgate.toml"), config)?;
    write_policy(&world.policy, &dir.join("policies"), Work::Scan.into())?;
    for (_, name, group) in PEOPLE {
        add_account(program, dir, name, group).await?;
    }
    Ok(())
}

async fn add_account(program: &Path, dir: &Path, name: &str, group: &str) -> Result<()> {
    let mut adding = Command::new(program)
        .arg("--config")
        .arg(dir.join("wardgate.toml"))
        .args(["users", "add", name, "--groups", group, "--password-stdin"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut password = adding.stdin.take().context("it reads the password")?;
    password.write_all(b"correct horse battery staple\n").await?;
    drop(password);
    let added = adding.wait_with_output().await?;
    ensure!(added.status.success(), "no account {name}: {}", String::from_utf8_lossy(&added.stderr));
    Ok(())
}

/// The shipped policy, with what this task has more.
fn write_policy(shipped: &Path, policy: &Path, task: Task) -> Result<()> {
    let _ = fs::remove_dir_all(policy);
    copy(shipped, policy)?;
    append(&policy.join("groups.toml"), GROUPS)?;
    let devices = PEOPLE
        .map(|(address, user, _)| format!("\n[[address]]\naddress = \"{address}\"\nuser = \"{user}\"\n"));
    append(&policy.join("identity.toml"), &devices.concat())?;
    for (number, range) in growth::parts(task.domains).enumerate() {
        let file = format!("lists/growth-{number}.txt");
        growth::domains_file(&policy.join(&file), range)?;
        let list = format!(
            "\n[[list]]\nname = \"growth-{number}\"\ncategory = \"gaming\"\nfile = \"{file}\"\nformat = \"domains\"\n"
        );
        append(&policy.join("lists.toml"), &list)?;
    }
    if task.phrases > 0 {
        fs::write(policy.join("phrases/growth-en.toml"), growth::phrase_file(task.phrases))?;
    }
    Ok(())
}

fn append(file: &Path, more: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(fs::write(file, format!("{text}{more}"))?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
