//! Compilers from Debian's packages, for builds that the toolchain of rustup cannot do: with the oldest supported
//! version of Rust, and for platforms without a prebuilt standard library. The packages are unpacked below `target`,
//! and nothing is installed on the system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup;

/// Folders with shared libraries, relative to the folder into which the packages are unpacked.
const LIBRARY_FOLDERS: [&str; 3] = [
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
];

/// Returns a command that runs Debian's cargo in `root`, with its environment.
pub(crate) fn cargo(root: &Path) -> Result<Command> {
    let mut command = Command::new(root.join("usr/bin/cargo"));
    command.current_dir(crate::root());
    set_environment(&mut command, root, &[])?;
    Ok(command)
}

/// Makes a command use the compiler in `root`. The command searches programs in `root` and `folders` before `PATH`.
pub(crate) fn set_environment(
    command: &mut Command,
    root: &Path,
    folders: &[PathBuf],
) -> Result<()> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let mut path = vec![root.join("usr/bin")];
    path.extend_from_slice(folders);
    path.extend(std::env::split_paths(&rest));
    let libraries: Vec<PathBuf> = LIBRARY_FOLDERS.iter().map(|name| root.join(name)).collect();
    // This task runs below the cargo of rustup, whose variables select the compiler of rustup.
    for name in [
        "CARGO",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTUP_TOOLCHAIN",
        "RUSTFLAGS",
    ] {
        command.env_remove(name);
    }
    command
        .env("PATH", std::env::join_paths(path)?)
        .env("RUSTC", root.join("usr/bin/rustc"))
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
    Ok(())
}

/// Unpacks Debian packages into `root`, unless `root` has a cargo already.
pub(crate) fn unpack(packages: &[String], root: &Path) -> Result<()> {
    if root.join("usr/bin/cargo").is_file() {
        return Ok(());
    }
    println!(
        "Unpacking Debian's packages of Rust into {} …",
        root.display()
    );
    let folder = root.with_file_name("packages");
    std::fs::create_dir_all(&folder).context("cannot create the folder for the packages")?;
    if !download(packages, &folder) {
        // In containers the lists of packages are often missing or outdated.
        setup::succeeds(Command::new("apt-get").args(["update", "--quiet"]));
        if !download(packages, &folder) {
            bail!("cannot download {packages:?}: run this on Debian 12");
        }
    }
    for entry in std::fs::read_dir(&folder)? {
        let package = entry?.path();
        let is_unpacked = setup::succeeds(Command::new("dpkg").arg("-x").arg(&package).arg(root));
        if !is_unpacked {
            bail!("cannot unpack {}", package.display());
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// Downloads packages into `folder`. Returns `true` if all downloads succeeded.
fn download(packages: &[String], folder: &Path) -> bool {
    let mut command = Command::new("apt-get");
    command
        .args(["download", "--quiet"])
        .args(packages.iter().map(OsString::from))
        .current_dir(folder);
    setup::succeeds(&mut command)
}
