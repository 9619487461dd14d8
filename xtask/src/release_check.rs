//! `cargo xtask release-check`: runs the checks that a release must pass in addition to CI. They take hours, so CI does
//! not run them. The task installs emulators and RabbitMQ.

use anyhow::Result;

use crate::dist::targets::TARGETS;
use crate::{check_platforms, cluster, debian_check, dist, emulate};

pub(crate) fn run() -> Result<()> {
    check_platforms::run(&[])?;
    dist::run(&["--all"])?;
    // Under wine some tests exceed their time limits, so 'emulate' runs by hand for Windows.
    for target in TARGETS.iter().filter(|target| !target.is_windows()) {
        emulate::run(&["--target", target.name, "--built"])?;
    }
    debian_check::run()?;
    cluster::run()
}
