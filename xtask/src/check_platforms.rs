//! `cargo xtask check-platforms`: checks that the programs compile for systems on which CI does not run. Nothing is linked,
//! so the task needs no C compiler and no libraries of these systems.

use anyhow::{Result, bail};

use crate::dist::build;
use crate::run as run_command;

/// A platform of each family of systems that has code of its own.
const PLATFORMS: [&str; 4] = [
    "aarch64-apple-darwin",
    "x86_64-unknown-freebsd",
    "aarch64-linux-android",
    "x86_64-pc-windows-gnu",
];

/// Checks the given platforms, or all of them.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !PLATFORMS.contains(name)) {
        let names = PLATFORMS.join(", ");
        bail!("unknown platform '{unknown}': expected one of {names}");
    }
    let selected = PLATFORMS
        .iter()
        .filter(|name| names.is_empty() || names.contains(name));
    for name in selected {
        println!("Checking for {name} …");
        let mut check = build::debian_cargo("check")?;
        check.args(["--locked", "--package", "mqtt-cli", "--bins"]);
        check.args(["--target", name]);
        // Warnings of this workspace are errors. A setting of the compiler would also apply to the standard library.
        check.args(["-Z", "warnings", "--config", "build.warnings='deny'"]);
        // ring compiles C code even for a check. The check needs no result of it, so a program that does nothing
        // replaces the compiler and the archiver.
        let suffix = name.replace('-', "_");
        check.env(format!("CC_{suffix}"), "true");
        check.env(format!("AR_{suffix}"), "true");
        // The check needs no debugging information, which takes most of the disk space.
        check.env("CARGO_PROFILE_DEV_DEBUG", "0");
        run_command(&mut check)?;
    }
    Ok(())
}
