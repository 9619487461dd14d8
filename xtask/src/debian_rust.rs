//! Compilers from Debian's packages, unpacked below `target`. Nothing is installed on the system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup;

/// Folders with shared libraries, below the folder where the packages are unpacked.
const LIBRARY_FOLDERS: [&str; 3] = [
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
];

/// Returns Debian's cargo in `root`, with its environment.
pub(crate) fn cargo(root: &Path) -> Result<Command> {
    let mut command = Command::new(root.join("usr/bin/cargo"));
    command.current_dir(crate::root());
    set_environment(&mut command, root, &[])?;
    Ok(command)
}

/// Lets a command use the compiler in `root`, and finds programs in `root` and the folders first.
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
    // The task itself runs below cargo, whose variables name the newer compiler.
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

/// Unpacks packages of Debian's into `root`, unless its cargo is there already.
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
        // Lists of packages are often missing or old in containers.
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

/// Returns `true` if all packages are in `folder` now.
fn download(packages: &[String], folder: &Path) -> bool {
    let mut command = Command::new("apt-get");
    command
        .args(["download", "--quiet"])
        .args(packages.iter().map(OsString::from))
        .current_dir(folder);
    setup::succeeds(&mut command)
}
