//! The floor: `benches/peers/floor`, this project's own minimal relay.

use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::{Task, Work, phrases};
use crate::pki;
use crate::world::{PROXY, World};

pub(super) fn command(world: &World, task: Task, log: &Path) -> Result<Command> {
    let mut command = world.on_proxy_core(&world.program("floor")?, log)?;
    command.args(["--listen", PROXY]);
    command.arg("--ca").arg(world.path(pki::SCHOOL)).arg("--ca-key").arg(world.path(pki::SCHOOL_KEY));
    command.arg("--roots").arg(world.path(pki::ORIGIN_ROOT));
    match task.work {
        Work::Tunnel => command.arg("--tunnel"),
        Work::Intercept => &mut command,
        Work::Scan => command.arg("--scan").arg(phrases::of_e2guardian(&world.path("phrases.txt"))?),
    };
    Ok(command)
}
