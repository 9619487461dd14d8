//! `cargo xtask msrv`: checks that the workspace compiles with the oldest Rust version that Cargo.toml promises.
//!
//! The task uses rustup's toolchain of that version if it is installed. Otherwise it unpacks packages of Debian 12,
//! which ships this version, below `target`. Nothing is installed on the system.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{debian_rust, run as run_command, setup, target};

/// `rust-version` in Cargo.toml.
const VERSION: &str = "1.85";

/// Debian's version of the compiler, the package manager and the standard library.
const DEBIAN_VERSION: &str = "1.85.0+dfsg3-1~deb12u3";

/// The packages that have the version [`DEBIAN_VERSION`].
const RUST: [&str; 4] = [
    "cargo-web",
    "libstd-rust-web-1.85",
    "libstd-rust-web-dev",
    "rustc-web",
];

/// Libraries that the compiler and cargo are linked with.
const LIBRARIES: [&str; 3] = ["libhttp-parser2.9", "libllvm19", "libpcre3"];

/// Checks all targets of the workspace with the oldest supported compiler.
pub(crate) fn run() -> Result<()> {
    let folder = target().join("msrv");
    let mut check = if has_rustup_toolchain() {
        rustup_cargo()
    } else {
        debian_cargo(&folder.join("root"))?
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

/// Returns Debian's cargo. The packages are unpacked into `root` if they are not there.
fn debian_cargo(root: &Path) -> Result<Command> {
    let rust = RUST.map(|name| format!("{name}={DEBIAN_VERSION}"));
    let packages: Vec<_> = rust
        .into_iter()
        .chain(LIBRARIES.map(String::from))
        .collect();
    debian_rust::unpack(&packages, root).with_context(|| {
        format!("cannot get Rust {VERSION} (try 'rustup toolchain install {VERSION}')")
    })?;
    debian_rust::cargo(root)
}
