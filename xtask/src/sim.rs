//! `cargo xtask sim`: runs the simulation of clients, broker and network.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cargo, run as run_command, target};

/// CI runs `--quick`: a million faulted handshakes, a fault at each byte, and two thousand crashes of the broker.
/// `--seed N` runs one seed, with `--store` for a broker with a store, and with `--trace` to print each step.
/// `--handshakes N` and `--crashes N` run seeds, from `--first N` on, until this many faulted handshakes or crashes
/// have happened. `--cuts` and `--all-cuts` run a fault at each byte.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    match options {
        ["--quick"] => {
            run_command(&mut cargo("build --release --locked --package mqtt-sim"))?;
            simulate_together(["--handshakes 500000", "--handshakes 500000 --first 1000000"])?;
            simulate_together(["--cuts", "--crashes 2000"])
        }
        [] => bail!("say --quick, --seed N, --handshakes N, --crashes N, --cuts or --all-cuts"),
        _ => simulate(&options.join(" ")),
    }
}

/// Runs the simulator once for each of these options at the same time, because one run uses one core.
fn simulate_together(runs: [&str; 2]) -> Result<()> {
    let name = format!("mqtt-sim{}", std::env::consts::EXE_SUFFIX);
    let program = target().join("release").join(name);
    let start = |options: &str| {
        let mut command = Command::new(&program);
        command.args(options.split(' ')).spawn()
    };
    let children: Vec<_> = runs.into_iter().map(start).collect();
    let mut results = Vec::new();
    // Every run is waited for, also if another one has failed.
    for (child, options) in children.into_iter().zip(runs) {
        results.push((child.and_then(|mut child| child.wait()), options));
    }
    for (status, options) in results {
        if !status.context("cannot run the simulator")?.success() {
            bail!("the simulation {options} failed");
        }
    }
    Ok(())
}

fn simulate(options: &str) -> Result<()> {
    run_command(&mut cargo(&format!(
        "run --release --locked --package mqtt-sim -- {options}"
    )))
}
