//! `cargo xtask crash`: real processes, the broker killed at random times for as long as it is told.

use anyhow::{Result, bail};

use crate::{cargo, run};

pub(crate) fn run_for(options: &[&str]) -> Result<()> {
    let seconds = match options {
        [] => "600",
        ["--seconds", seconds] if seconds.parse::<u64>().is_ok() => seconds,
        _ => bail!("the only option is --seconds N"),
    };
    let test = "test --release --package tests --test programs crash:: -- --nocapture";
    run(cargo(test).env("RPUBSUB_CRASH_SECONDS", seconds))
}
