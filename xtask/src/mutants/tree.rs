//! The copy of the tree in `target/mutants/` to which mutants are applied. The copy stays there between calls, so that
//! only changed crates are built again.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::mutant::Mutant;
use crate::{cargo, target};

/// Maximum time in which the simulator prints no line. A mutant may cause an endless loop within one step, and the simulation
/// checks its own limits only between steps.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The number of seeds that must pass in the copy of the sources without a mutant.
const CLEAN_SEEDS: &str = "50";

/// The copy of the tree, and its build folder.
pub(super) struct Tree {
    tree: PathBuf,
    target: PathBuf,
}

/// The first violation that the simulator found when it started at one seed.
pub(super) struct Finding {
    /// The broken invariant, such as `I2`, or `panic`. `none` if no seed failed.
    pub(super) invariant: String,
    /// The seed that broke the invariant.
    pub(super) seed: u64,
    /// The number of seeds that were run, this one included.
    pub(super) seeds: u64,
}

impl Tree {
    /// Brings the copy up to date with the tree in `root`, uncommitted changes included.
    pub(super) fn new(root: &Path) -> Result<Self> {
        let folder = target().join("mutants");
        let copy = Self {
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        let files = source_files(root)?;
        for file in &files {
            let from = root.join(file);
            // git still lists a file that was deleted without a commit.
            if from.is_file() {
                let content = std::fs::read(&from);
                let content = content.with_context(|| format!("cannot read '{file}'"))?;
                copy.write(file, &content)?;
            }
        }
        copy.remove_others(&copy.tree, root)?;
        Ok(copy)
    }

    /// Removes files from the copy that the tree does not have.
    fn remove_others(&self, folder: &Path, root: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.remove_others(&path, root)?;
            } else if !root.join(path.strip_prefix(&self.tree)?).is_file() {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Writes a file if its content differs. A new modification time alone would make cargo build the crate again.
    fn write(&self, file: &str, content: &[u8]) -> Result<()> {
        let path = self.tree.join(file);
        if std::fs::read(&path).is_ok_and(|before| before == content) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Writes these files with these contents.
    pub(super) fn write_all(&self, files: &[(String, String)]) -> Result<()> {
        let mut files = files.iter();
        files.try_for_each(|(file, text)| self.write(file, text.as_bytes()))
    }

    /// Applies a mutant. Returns the original contents of the files that it changes.
    pub(super) fn apply(&self, mutant: &Mutant) -> Result<Vec<(String, String)>> {
        let mutated = mutant.mutate(&self.tree)?;
        let original = |(file, _): &(String, String)| {
            let text = std::fs::read_to_string(self.tree.join(file))?;
            Ok((file.clone(), text))
        };
        let originals = mutated.iter().map(original).collect::<Result<_>>()?;
        self.write_all(&mutated)?;
        Ok(originals)
    }

    /// Builds the simulator.
    ///
    /// # Errors
    /// If the mutant does not compile.
    pub(super) fn build(&self) -> Result<()> {
        let output = cargo("build --profile mutants --locked --quiet --package mqtt-sim")
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .context("cannot run cargo")?;
        require_success(&output)
    }

    /// Checks the types of the simulator without building it.
    ///
    /// # Errors
    /// If the applied mutants do not compile.
    pub(super) fn check_types(&self) -> Result<()> {
        // The build folder of the workspace has the dependencies from other checks.
        let output = cargo("check --locked --quiet --package mqtt-sim")
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", target())
            .output()
            .context("cannot run cargo")?;
        require_success(&output)
    }

    /// Runs the simulator `starts` times, each time from another seed, until a seed fails or the simulator has passed
    /// 10,000 seeds. Skips seeds that also fail without a mutant.
    pub(super) fn find_violations(&self, with_store: bool, starts: u64) -> Result<Vec<Finding>> {
        let mut options = vec!["--starts".to_owned(), starts.to_string()];
        loop {
            let words: Vec<_> = options.iter().map(String::as_str).collect();
            let findings = self.simulate(with_store, &words)?;
            let mut has_skipped = false;
            for found in findings.iter().filter(|found| found.invariant != "none") {
                if !self.is_clean_seed(found.seed, with_store)? {
                    options.extend(["--skip".to_owned(), found.seed.to_string()]);
                    has_skipped = true;
                }
            }
            if !has_skipped {
                return Ok(findings);
            }
        }
    }

    /// Requires that the simulation without a mutant finds nothing, with and without a store. `cargo xtask sim` runs
    /// many more seeds. These few seeds show that the copy and its build profile do not cause violations themselves.
    /// Keeps this simulator for `is_clean_seed`.
    pub(super) fn expect_clean(&self) -> Result<()> {
        for with_store in [false, true] {
            let options = ["--starts", "1", "--seeds", CLEAN_SEEDS];
            let findings = self.simulate(with_store, &options)?;
            if let Some(found) = findings.iter().find(|found| found.invariant != "none") {
                let Finding {
                    invariant, seed, ..
                } = found;
                bail!("without a mutant seed {seed} breaks {invariant}");
            }
        }
        std::fs::copy(self.simulator(), self.unmutated())?;
        Ok(())
    }

    /// Returns `true` if a seed is clean without the mutant. Otherwise the seed shows a bug of the product and proves
    /// nothing about the mutant.
    pub(super) fn is_clean_seed(&self, seed: u64, with_store: bool) -> Result<bool> {
        let output = Command::new(self.unmutated())
            .args(with_store.then_some("--store"))
            .args(["--seed", &seed.to_string()])
            .output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let last = text.lines().last().unwrap_or_default();
            eprintln!("warning: skipped, as it fails without a mutant too: {last}");
        }
        Ok(output.status.success())
    }

    fn simulator(&self) -> PathBuf {
        self.target.join("mutants/mqtt-sim")
    }

    /// Returns the path of the simulator that was built without a mutant.
    fn unmutated(&self) -> PathBuf {
        self.target.join("mutants/mqtt-sim-unmutated")
    }

    fn simulate(&self, with_store: bool, options: &[&str]) -> Result<Vec<Finding>> {
        let mut command = Command::new(self.simulator());
        command.args(with_store.then_some("--store")).args(options);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let (sender, receiver) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut findings = Vec::new();
        let result = loop {
            match receiver.recv_timeout(LONGEST_WAIT) {
                Ok(line) => match parse_finding(&line) {
                    Some(finding) => findings.push(finding),
                    None => break Err(anyhow::anyhow!("unexpected line '{line}'")),
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => break Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    break Err(anyhow::anyhow!(
                        "the simulator prints nothing for {LONGEST_WAIT:?}"
                    ));
                }
            }
        };
        if result.is_err() {
            child.kill()?;
        }
        drop(receiver);
        let status = child.wait()?;
        let _ = reader.join();
        result?;
        if !status.success() {
            bail!("{command:?} failed: {status}");
        }
        Ok(findings)
    }
}

/// Returns the errors of the compiler if it failed.
fn require_success(output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = text
        .split("\n\n")
        .filter(|part| part.trim_start().starts_with("error"))
        .collect();
    bail!("it does not compile:\n{}", errors.join("\n\n"));
}

fn parse_finding(line: &str) -> Option<Finding> {
    let mut words = line.split(' ');
    Some(Finding {
        invariant: words.next()?.to_owned(),
        seed: words.next()?.parse().ok()?,
        seeds: words.next()?.parse().ok()?,
    })
}

/// Returns the files of the tree: those that git tracks, or would add.
pub(super) fn source_files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let list = String::from_utf8_lossy(&output.stdout);
    let files = list.split('\0').filter(|file| !file.is_empty());
    Ok(files.map(str::to_owned).collect())
}
