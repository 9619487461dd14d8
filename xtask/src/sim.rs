//! `cargo xtask sim`: the simulation of clients, broker and network.

use anyhow::{Result, bail};

use crate::{cargo, run as run_command};

/// `--quick` is what CI runs: a million faulted handshakes, a cut at each byte, and two thousand deaths of
/// the broker. Else one seed (`--seed N`, with `--store` for a broker
/// that dies, with `--trace` every step of it), seeds until so many faulted handshakes or deaths are
/// done (`--handshakes N`, `--crashes N`, from seed `--first N`), or faults at each byte (`--cuts`,
/// `--all-cuts`).
pub(crate) fn run(options: &[&str]) -> Result<()> {
    match options {
        ["--quick"] => {
            simulate("--handshakes 1000000")?;
            simulate("--cuts")?;
            simulate("--crashes 2000")
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
