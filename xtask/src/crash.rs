//! `cargo xtask crash`: runs the test that kills real broker processes at random times, for the given number of
//! seconds.

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
