//! `cargo xtask release-check`: runs the checks that a release must pass in addition to CI. They take hours, so CI does
//! not run them. The task installs emulators and RabbitMQ.

use anyhow::Result;

use crate::dist::targets::TARGETS;
use crate::{check_platforms, cluster, debian_check, dist, emulate};

pub(crate) fn run() -> Result<()> {
    check_platforms::run(&[])?;
    dist::run(&["--all"])?;
    for target in TARGETS {
        emulate::run(&["--target", target.name, "--built"])?;
    }
    debian_check::run()?;
    cluster::run()
}
