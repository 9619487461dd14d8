//! `cargo xtask test`: runs all tests, with the peers that are installed. With `--install` missing peers are installed
//! first.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::{cargo, run as run_command, setup, target};

/// Runs all tests. `--install` installs missing peers before. Prints the tests that were skipped, and how to run them.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let install = match options {
        [] => false,
        ["--install"] => true,
        _ => bail!("the only option of 'test' is --install"),
    };
    if install {
        setup::mosquitto();
        setup::browser();
        setup::shells();
        setup::install_paho();
        setup::install_mqtt_js();
    }
    let folder = target();
    std::fs::create_dir_all(&folder).context("cannot make the target folder")?;
    // The tests would build the programs, too, but without any output.
    run_command(&mut cargo("build --locked --package mqtt-cli --bins"))?;
    let skipped = folder.join("skipped-tests");
    let _ = std::fs::remove_file(&skipped);
    let mut command = cargo("test --workspace --locked --no-fail-fast");
    command
        .env("RPUBSUB_SKIPPED", &skipped)
        .stdout(Stdio::piped());
    if let Some(python) = setup::paho_python() {
        command.env("RPUBSUB_PAHO_PYTHON", python);
    }
    if let Some(packages) = setup::paho_1_6() {
        command.env("RPUBSUB_PAHO_1_6", packages);
    }
    if let Some(modules) = setup::mqtt_js() {
        command.env("RPUBSUB_NODE_MODULES", modules);
    }
    let mut tests = command.spawn().context("cannot run the tests")?;
    let mut counts = Counts::default();
    let mut failures = Failures::default();
    let output = tests.stdout.take().context("piped")?;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("{line}");
        counts.add(&line);
        failures.add(&line);
    }
    let status = tests.wait()?;
    // A broker that a test has killed leaves its control socket here.
    let _ = std::fs::remove_dir_all(folder.join("debug/run"));
    let list = std::fs::read_to_string(&skipped).unwrap_or_default();
    let skipped = list.lines().count();
    if skipped > 0 {
        println!("Skipped, wholly or in part:\n{list}");
        if !install {
            println!(
                "`cargo xtask test --install` installs mosquitto, Python's paho-mqtt, MQTT.js, zsh and fish first; Debian's \
                 packages need root. With CI set in the environment it installs chromium too."
            );
        }
    }
    if !failures.lines.is_empty() {
        println!(
            "Output of the tests that failed:\n{}",
            failures.lines.join("\n")
        );
    }
    println!(
        "{} passed, {} failed, {skipped} skipped",
        counts.passed, counts.failed
    );
    if !status.success() {
        bail!("not all tests passed");
    }
    Ok(())
}

/// The sums of the lines `test result: ok. 3 passed; 0 failed; …`.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let number = |word: &str| {
            let before = result.split_once(word).map_or("", |(before, _)| before);
            before
                .split_whitespace()
                .last()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        self.passed += number(" passed");
        self.failed += number(" failed");
    }
}

/// The output of the tests that failed, which cargo prints between the other lines.
#[derive(Default)]
struct Failures {
    lines: Vec<String>,
    is_inside: bool,
}

impl Failures {
    /// Maximum number of lines to keep.
    const MOST: usize = 400;

    /// Keeps the lines from `---- NAME stdout ----` to the list of failed tests.
    fn add(&mut self, line: &str) {
        if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.is_inside = true;
        } else if line == "failures:" {
            self.is_inside = false;
        }
        if self.is_inside && self.lines.len() < Self::MOST {
            self.lines.push(line.to_owned());
        }
    }
}
