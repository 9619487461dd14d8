//! The tasks of this workspace. `cargo xtask` lists them, and each module has one task. The tasks need no shell and
//! install what they need.

mod bench;
mod check_platforms;
mod cluster;
mod conformance;
mod crash;
mod debian_check;
mod debian_rust;
mod demo;
mod dist;
mod emulate;
mod figures;
mod fuzz;
#[cfg(all(test, unix))]
mod hooks;
mod libraries;
mod msrv;
mod mutants;
mod reference;
mod release_check;
mod setup;
mod siege;
mod sim;
mod test;
mod texts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
Usage: cargo xtask TASK

  bench  measure programs and libraries beside others and write docs/performance.md;
         --instructions counts instructions only, --check compares them with docs/generated/instructions.tsv
  check-platforms
         check that the programs compile for macOS, FreeBSD, Android and Windows: [TARGET ...]
  cluster
         publish to three nodes of RabbitMQ and kill one of them
  conformance
         run the tests that name statements of the standard and write docs/generated/conformance.md; --check
  crash  kill a broker with publishers and subscribers again and again: --seconds N (600)
  crowd  measure what idle connections and slow consumers cost, beside mosquitto
  debian-check
         install, use, upgrade and purge the Debian packages of 'dist' in a tree of Debian; needs root
  demo   build, start a broker, exchange messages at each QoS, and show what a user sees
  dist   build the release folder target/dist: --target T (repeat it; this machine's without), --all,
         --trial builds without optimisation
  emulate
         test the programs of another platform under emulation, and measure a publish: --target T [--trial]
         [TEST ...]; --built tests what 'dist' has built, --cost only measures
  figures
         count functions, comments, types and circles of modules; TREE counts another checkout,
         --check fails if there is a circle
  libraries
         compare mqtt-client with rumqttc, and write the tables of crates/mqtt-client/README.md;
         --programs: only the six programs of both, --load: only time and CPU time under load,
         --check: only run the programs of mqtt-client, which writes nothing
  msrv   check that everything compiles with the oldest supported Rust
  mutants
         build copies of the tree with one bug each, and check that the simulation finds it:
         --all, --subset N/M, NAME ..., or the subset of this commit; --thorough; --check
  test   run all tests with the peers that are there; --install: install missing peers before
  texts  list the texts that users meet, with file and line: error, log, help, other
  reference
         check and count the list of what the mosquitto tools do; --source FILE
  release-check
         build and test all targets, check the Debian packages, and kill a node of a cluster; takes hours
  siege  attack rbroker and mosquitto while a bystander measures, and write docs/generated/siege.md;
         --quick, --long, --only NAME, --list
  sim    simulate clients, broker and network: --quick, --seed N [--store] [--trace],
         --handshakes N, --crashes N, --cuts, --all-cuts
  fuzz   --seconds N [TARGET ...]: run the fuzz targets, each so long
";

fn main() -> ExitCode {
    let tasks: Vec<_> = std::env::args().skip(1).collect();
    let result = match tasks.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bench", ref options @ ..] => bench::run_with(options),
        ["check-platforms", ref names @ ..] => check_platforms::run(names),
        ["cluster"] => cluster::run(),
        ["conformance", ref options @ ..] => conformance::run(options),
        ["crash", ref options @ ..] => crash::run_for(options),
        ["crowd"] => run(&mut cargo("run --release --package tests --example crowd")),
        ["debian-check"] => debian_check::run(),
        ["demo"] => demo::run(),
        ["dist", ref options @ ..] => dist::run(options),
        ["emulate", ref options @ ..] => emulate::run(options),
        ["figures", ref options @ ..] => figures::run(options),
        ["libraries", ref options @ ..] => libraries::run_with(options),
        ["msrv"] => msrv::run(),
        ["mutants", ref options @ ..] => mutants::run(options),
        ["test", ref options @ ..] => test::run(options),
        ["texts", ref options @ ..] => texts::run(options),
        ["reference", ref options @ ..] => reference::run(options),
        ["release-check"] => release_check::run(),
        ["siege", ref options @ ..] => siege::run(options),
        ["fuzz", ref options @ ..] => fuzz::run(options),
        ["sim", ref options @ ..] => sim::run(options),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}.");
            ExitCode::FAILURE
        }
    }
}

/// Returns the folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or_else(|| Path::new("."))
}

/// Returns the folder for builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Returns a command that runs cargo in the workspace.
fn cargo(arguments: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(arguments.split_whitespace());
    command
}

/// Runs a command.
///
/// # Errors
/// If the command cannot be run or does not succeed.
fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
