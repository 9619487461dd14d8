//! `cargo xtask siege`: attacks a running rbroker, and mosquitto if it is installed, and writes
//! `docs/generated/siege.md`. The attacks are in `tests/examples/siege/`.

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run as run_command};

/// The page with the table, relative to the workspace.
const REPORT: &str = "docs/generated/siege.md";

/// Without options, all attacks run and the page is written. `--quick` runs the short form against rbroker only; its
/// bounds are counts and bytes. `--only NAME` runs one attack and `--long` uses slow links at their real rate; both
/// print the table. `--list` prints the names. The exit status is 1 if a row exceeds a bound.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let is_page = options.is_empty();
    if options != ["--list"] {
        run_command(&mut cargo(
            "build --release --locked --package mqtt-cli --bins",
        ))?;
    }
    let mut siege = cargo("run --release --locked --package tests --example siege --");
    siege.args(options);
    if !is_page {
        return run_command(&mut siege);
    }
    // Standard error goes to the terminal, which shows a line when a row is done.
    let output = siege
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run the attacks")?;
    let table = String::from_utf8(output.stdout)?;
    if !table.is_empty() {
        let path = root().join(REPORT);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, table).with_context(|| format!("cannot write {REPORT}"))?;
    }
    if !output.status.success() {
        bail!("a row exceeds a bound; {REPORT} has the table");
    }
    Ok(())
}
