//! `cargo xtask msrv`: checks that the workspace compiles with the oldest Rust version that Cargo.toml promises.
//!
//! The task uses rustup's toolchain of that version if it is installed. Otherwise it unpacks packages of Debian 12,
//! which ships this version, below `target`. Nothing is installed on the system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{run as run_command, setup, target};

/// `rust-version` in Cargo.toml.
const VERSION: &str = "1.85";

/// Debian's version of the compiler, the package manager and the standard library.
const DEBIAN_VERSION: &str = "1.85.0+dfsg3-1~deb12u3";

/// The packages that come in Debian's version of Rust.
const RUST: [&str; 4] = [
    "cargo-web",
    "libstd-rust-web-1.85",
    "libstd-rust-web-dev",
    "rustc-web",
];

/// Libraries that the compiler and cargo are linked with.
const LIBRARIES: [&str; 3] = ["libhttp-parser2.9", "libllvm19", "libpcre3"];

/// Folders with shared libraries, below the folder where the packages are unpacked.
const LIBRARY_FOLDERS: [&str; 3] = [
    "usr/lib",
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
];

/// Checks all targets of the workspace with the oldest supported compiler.
pub(crate) fn run() -> Result<()> {
    let folder = target().join("msrv");
    let mut check = match has_rustup_toolchain() {
        true => rustup_cargo(),
        false => debian_cargo(&folder.join("root"))?,
    };
    // The check has its own build folder. In a shared folder, each change of the compiler would make cargo build
    // everything again.
    check.env("CARGO_TARGET_DIR", folder.join("build"));
    run_command(check.args(["check", "--workspace", "--all-targets", "--locked"]))?;
    println!("The workspace compiles with Rust {VERSION}.");
    Ok(())
}

fn has_rustup_toolchain() -> bool {
    let mut command = Command::new("rustup");
    setup::succeeds(command.args(["run", VERSION, "rustc", "--version"]))
}

fn rustup_cargo() -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", VERSION, "cargo"])
        .current_dir(crate::root());
    // The compiler that runs this task must not be inherited.
    command.env_remove("RUSTC").env_remove("RUSTDOC");
    command.env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Returns Debian's cargo with the environment that it needs outside of `/usr`.
fn debian_cargo(root: &Path) -> Result<Command> {
    if !root.join("usr/bin/cargo").is_file() {
        unpack_packages(root)?;
    }
    let mut path = OsString::from(root.join("usr/bin"));
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    let libraries: Vec<PathBuf> = LIBRARY_FOLDERS.iter().map(|name| root.join(name)).collect();
    let mut command = Command::new(root.join("usr/bin/cargo"));
    command
        .current_dir(crate::root())
        .env("PATH", path)
        .env("RUSTC", root.join("usr/bin/rustc"))
        .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?)
        .env_remove("RUSTUP_TOOLCHAIN");
    // The task itself runs below cargo, whose variables name the newer compiler.
    for name in ["CARGO", "RUSTDOC", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
    Ok(command)
}

/// Downloads the packages and unpacks them into `root`.
fn unpack_packages(root: &Path) -> Result<()> {
    println!("Unpacking Rust {VERSION} from Debian's packages …");
    let packages = root.with_file_name("packages");
    std::fs::create_dir_all(&packages).context("cannot make the folder for the packages")?;
    if !download(&packages) {
        // Lists of packages are often missing or old in containers.
        setup::succeeds(Command::new("apt-get").args(["update", "--quiet"]));
        ensure!(
            download(&packages),
            "cannot get Rust {VERSION}: install it with 'rustup toolchain install {VERSION}', or run this on Debian 12"
        );
    }
    for entry in std::fs::read_dir(&packages)? {
        let package = entry?.path();
        let is_unpacked = setup::succeeds(Command::new("dpkg").arg("-x").arg(&package).arg(root));
        if !is_unpacked {
            bail!("cannot unpack {}", package.display());
        }
    }
    Ok(())
}

/// Returns `true` if all packages are in `folder` now.
fn download(folder: &Path) -> bool {
    let rust = RUST.map(|name| format!("{name}={DEBIAN_VERSION}"));
    let mut command = Command::new("apt-get");
    command
        .args(["download", "--quiet"])
        .args(rust)
        .args(LIBRARIES)
        .current_dir(folder);
    setup::succeeds(&mut command)
}
