//! `cargo xtask release-check`: what a release must pass beside CI, which has no time for it. It takes hours, and installs
//! emulators and RabbitMQ.

use anyhow::Result;

use crate::dist::targets::TARGETS;
use crate::{cluster, debian_check, dist, emulate};

pub(crate) fn run() -> Result<()> {
    dist::run(&["--all"])?;
    // wine 8 lacks a library that the programs for Windows need, so those are built only.
    for target in TARGETS.iter().filter(|target| !target.is_windows()) {
        emulate::run(&["--target", target.name])?;
    }
    debian_check::run()?;
    cluster::run()
}
