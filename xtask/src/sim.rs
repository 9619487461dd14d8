//! `cargo xtask sim`: the simulation of clients, broker and network.

use anyhow::{Result, bail};

use crate::{cargo, run as run_command, target};

/// `--quick` is what CI runs: a million faulted handshakes, a cut at each byte, two thousand deaths of
/// the broker, and each planted defect found. Else one seed (`--seed N`, with `--store` for a broker
/// that dies, with `--trace` every step of it), seeds until so many faulted handshakes or deaths are
/// done (`--handshakes N`, `--crashes N`, from seed `--first N`), or faults at each byte (`--cuts`,
/// `--all-cuts`).
pub(crate) fn run(options: &[&str]) -> Result<()> {
    match options {
        ["--quick"] => {
            simulate("--handshakes 1000000")?;
            simulate("--cuts")?;
            simulate("--crashes 2000")?;
            find_defects()
        }
        [] => bail!("say --quick, --seed N, --handshakes N, --crashes N, --cuts or --all-cuts"),
        _ => simulate(&options.join(" ")),
    }
}

fn simulate(options: &str) -> Result<()> {
    run_command(&mut cargo(&format!(
        "run --release --locked --package mqtt-sim -- {options}"
    )))
}

/// In a folder of its own: the programs must not be built with defects in them.
fn find_defects() -> Result<()> {
    let build = "run --release --locked --package mqtt-sim --features planted-defects";
    let mut command = cargo(&format!("{build} -- --defects"));
    run_command(command.env("CARGO_TARGET_DIR", target().join("planted-defects")))
}
