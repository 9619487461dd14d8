//! `cargo xtask sim`: the simulation of clients, broker and network.

use anyhow::{Result, bail};

use crate::{cargo, run as run_command, target};

/// `--quick` is what CI runs: a million faulted handshakes, and each planted defect found. Else one
/// seed (`--seed N`, with `--trace` every step of it), or seeds until so many faulted handshakes are
/// done (`--handshakes N`, from seed `--first N`).
pub(crate) fn run(options: &[&str]) -> Result<()> {
    match options {
        ["--quick"] => {
            simulate("--handshakes 1000000")?;
            find_defects()
        }
        [] => bail!("say --quick, --seed N [--trace], or --handshakes N [--first N]"),
        _ => simulate(&options.join(" ")),
    }
}

fn simulate(options: &str) -> Result<()> {
    run_command(&mut cargo(&format!(
        "run --release --quiet --locked --package mqtt-sim -- {options}"
    )))
}

/// In a folder of its own: the programs must not be built with defects in them.
fn find_defects() -> Result<()> {
    let build = "run --release --quiet --locked --package mqtt-sim --features planted-defects";
    let mut command = cargo(&format!("{build} -- --defects"));
    run_command(command.env("CARGO_TARGET_DIR", target().join("planted-defects")))
}
