//! `cargo xtask fuzz`: runs each fuzz target for a given time. The task needs a nightly compiler and cargo-fuzz, and
//! installs them if they are missing.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run as run_command, target};

/// Runs the targets that are named, or all targets, for `--seconds N` each.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let ["--seconds", seconds, names @ ..] = options else {
        bail!("say --seconds N, and perhaps the names of targets");
    };
    let seconds: u32 = seconds
        .parse()
        .with_context(|| format!("{seconds} is no number of seconds"))?;
    let all = targets(&root().join("fuzz/corpus"))?;
    let chosen: Vec<_> = match names {
        [] => all.iter().map(String::as_str).collect(),
        names => names.to_vec(),
    };
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !all.iter().any(|known| known == *name))
    {
        bail!("{unknown} is none of the targets: {}", all.join(", "));
    }
    set_up()?;
    for name in chosen {
        println!("{name}:");
        // New inputs go to a folder below `target`, so that the small corpus in the repository does not grow.
        let found = target().join("fuzz-corpus").join(name);
        std::fs::create_dir_all(&found).context("cannot make a folder for what is found")?;
        let arguments = format!("+nightly fuzz run {name}");
        let mut fuzz = rustup_cargo(&arguments);
        fuzz.arg(&found)
            .arg(root().join("fuzz/corpus").join(name))
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .args(["-timeout=10", "-print_final_stats=1"]);
        run_command(&mut fuzz)?;
    }
    Ok(())
}

/// Returns the names of the targets. Each target has a corpus.
fn targets(corpora: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(corpora).context("there are no corpora")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Installs a nightly compiler and cargo-fuzz if they are missing.
fn set_up() -> Result<()> {
    let works = |arguments: &str| {
        let mut command = rustup_cargo(arguments);
        command.output().is_ok_and(|output| output.status.success())
    };
    if !works("+nightly --version") {
        let mut rustup = std::process::Command::new("rustup");
        run_command(rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]))?;
    }
    if !works("fuzz --version") {
        run_command(&mut cargo("install cargo-fuzz --locked"))?;
    }
    Ok(())
}

/// Returns the `cargo` of rustup, which accepts `+nightly`. The `cargo` that runs this task belongs to one toolchain.
fn rustup_cargo(arguments: &str) -> std::process::Command {
    let mut command = std::process::Command::new("cargo");
    command
        .current_dir(root())
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .args(arguments.split_whitespace());
    command
}
