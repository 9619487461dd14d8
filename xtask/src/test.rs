//! `cargo xtask test`: all tests, with what they need.

use anyhow::{Context, Result};

use crate::{cargo, run as run_command, setup, target};

pub(crate) fn run() -> Result<()> {
    setup::mosquitto();
    let folder = target();
    std::fs::create_dir_all(&folder).context("cannot make the target folder")?;
    let skipped = folder.join("skipped-tests");
    let _ = std::fs::remove_file(&skipped);
    let mut command = cargo("test --workspace --locked --no-fail-fast");
    command.env("RPUBSUB_SKIPPED", &skipped);
    if let Some(python) = setup::paho_python() {
        command.env("RPUBSUB_PAHO_PYTHON", python);
    }
    let result = run_command(&mut command);
    let list = std::fs::read_to_string(&skipped).unwrap_or_default();
    match list.lines().count() {
        0 => println!("No test was skipped."),
        count => println!("{count} tests were skipped, wholly or in part:\n{list}"),
    }
    result
}
