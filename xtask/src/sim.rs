//! `cargo xtask sim`: runs the simulation of clients, broker and network.

use anyhow::{Result, bail};

use crate::{cargo, run as run_command};

/// CI runs `--quick`: a million faulted handshakes, a fault at each byte, and two thousand crashes of the broker.
/// `--seed N` runs one seed, with `--store` for a broker with a store, and with `--trace` to print each step.
/// `--handshakes N` and `--crashes N` run seeds, from `--first N` on, until this many faulted handshakes or crashes
/// have happened. `--cuts` and `--all-cuts` run a fault at each byte.
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
