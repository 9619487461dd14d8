//! Builds the programs for a platform. If rustup has the standard library of the platform, its toolchain builds the
//! programs. Otherwise a compiler from Debian's packages builds the standard library as well.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::targets::{Linker, Target};
use crate::{cargo, debian_rust, root, run, setup, target};

/// Packages of Debian 12: a compiler with the source code of the standard library, and shared libraries that the
/// compiler and cargo need.
const PACKAGES: [&str; 13] = [
    "cargo-web=1.96.0+dfsg1-1~deb12u2",
    "libcurl4",
    "libgit2-1.5",
    "libhttp-parser2.9",
    "libllvm22",
    "libmbedcrypto7",
    "libmbedtls14",
    "libmbedx509-1",
    "libssh2-1",
    "libstd-rust-web-1.96=1.96.0+dfsg1-1~deb12u2",
    "libstd-rust-web-dev=1.96.0+dfsg1-1~deb12u2",
    "rust-web-src=1.96.0+dfsg1-1~deb12u2",
    "rustc-web=1.96.0+dfsg1-1~deb12u2",
];

/// Packages of PyPI. zig is a C compiler and linker for all these platforms, and cargo-zigbuild makes cargo use zig.
const ZIG: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// The arguments of each build, without target and profile.
const BUILD: &str = "--package mqtt-cli --bins --locked";

/// Builds the programs into the folder that [`Target::build_folder`] returns.
pub(crate) fn build(platform: &Target, profile: &str) -> Result<()> {
    println!("Building for {} …", platform.name);
    if platform.linker == Linker::Mingw && !setup::has("x86_64-w64-mingw32-gcc") {
        setup::install(&["gcc-mingw-w64-x86-64-posix"]);
    }
    let is_complete = has_standard_library(platform);
    let mut command = match platform.linker {
        Linker::Zig => zig(platform)?,
        Linker::Host | Linker::Mingw => {
            let mut command = cargo("build --target");
            command.arg(platform.name);
            command
        }
    };
    if !is_complete {
        use_debian(&mut command, platform)?;
    }
    if platform.name.starts_with("aarch64") {
        // The page size of jemalloc is fixed at build time. Linux on this processor has pages of 4, 16 (Raspberry Pi 5)
        // or 64 KiB. A build for 64 KiB also works with smaller pages, but not the other way round.
        command.env("JEMALLOC_SYS_WITH_LG_PAGE", "16");
    }
    command.args(["--profile", profile]);
    command.args(BUILD.split_whitespace());
    run(&mut command)
}

/// Returns `true` if the toolchain of rustup has the standard library of the platform, after rustup has tried to add
/// it.
fn has_standard_library(platform: &Target) -> bool {
    let rustup = |words: [&str; 2]| {
        let mut command = Command::new("rustup");
        command.arg("target").args(words);
        command
    };
    let installed = rustup(["list", "--installed"]).output();
    let list = installed.map_or_else(|_| Vec::new(), |output| output.stdout);
    let is_installed = String::from_utf8_lossy(&list)
        .lines()
        .any(|line| line == platform.name);
    is_installed
        || platform.linker == Linker::Host
        || setup::succeeds(&mut rustup(["add", platform.name]))
}

/// Returns the command that builds with zig. zig is installed below `target` if it is not there.
fn zig(platform: &Target) -> Result<Command> {
    let tools = tools();
    if !tools.join("bin/cargo-zigbuild").is_file() {
        println!("Installing zig into {} …", tools.display());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
        run(pip.arg(&tools).args(ZIG)).context("cannot install zig with pip")?;
    }
    let mut command = Command::new(tools.join("bin/cargo-zigbuild"));
    command
        .current_dir(root())
        .args(["zigbuild", "--target", &platform.zig_name()])
        .env("PYTHONPATH", &tools);
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&rest));
    command.env("PATH", std::env::join_paths(path)?);
    Ok(command)
}

/// Returns a command that runs a task of Debian's cargo, set to build the standard library too.
pub(crate) fn debian_cargo(task: &str) -> Result<Command> {
    let toolchain = debian_toolchain()?;
    let mut command = debian_rust::cargo(&toolchain)?;
    // Unstable options before the task would have no effect if others follow it.
    command.arg(task);
    build_standard_library(&mut command);
    Ok(command)
}

/// Returns the folder of Debian's compiler. The packages are unpacked if they are not there.
fn debian_toolchain() -> Result<PathBuf> {
    let toolchain = target().join("dist-tools/rust");
    debian_rust::unpack(&PACKAGES.map(String::from), &toolchain)?;
    let sources = toolchain.join("usr/lib/rustlib/src/rust/library");
    if !sources.is_dir() {
        bail!(
            "{} has no sources of the standard library",
            toolchain.display()
        );
    }
    Ok(toolchain)
}

fn build_standard_library(command: &mut Command) {
    command
        // `-Z build-std` is an unstable feature. With this variable a stable compiler accepts it.
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["-Z", "build-std=std,panic_abort"]);
}

/// Makes a build use Debian's compiler and build the standard library.
fn use_debian(command: &mut Command, platform: &Target) -> Result<()> {
    let toolchain = debian_toolchain()?;
    // `Command` cannot replace its program, so a new command starts Debian's cargo instead of rustup's.
    if platform.linker != Linker::Zig {
        let mut debian = debian_rust::cargo(&toolchain)?;
        debian.args(command.get_args());
        *command = debian;
    }
    debian_rust::set_environment(command, &toolchain, &[tools().join("bin")])?;
    command.env("CARGO", toolchain.join("usr/bin/cargo"));
    build_standard_library(command);
    if platform.is_musl() {
        // zig provides musl and its start files. By default the compiler would link copies of its own, which Debian's
        // packages do not contain.
        command.env("RUSTFLAGS", "-C link-self-contained=no");
    }
    Ok(())
}

fn tools() -> PathBuf {
    target().join("dist-tools/python")
}
