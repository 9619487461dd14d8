//! Debian's `mosquitto_pub` for other architectures. The packages are unpacked below `target`, and nothing is installed
//! on the system.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::dist::targets::Target;
use crate::{run, target};

/// A processor architecture with a build of mosquitto in Debian.
pub(super) struct Architecture {
    /// The name of the architecture in Debian.
    pub(super) name: &'static str,
    /// The emulator that runs its programs.
    pub(super) emulator: &'static str,
}

impl Architecture {
    /// Returns the architecture of a platform, or `None` for Windows. Debian has no programs with hardware floating
    /// point for ARMv6, so those for ARMv7 stand in for them.
    pub(super) fn of(platform: &Target) -> Option<Self> {
        let (name, emulator) = match platform.name.split_once('-')?.0 {
            _ if platform.is_windows() => return None,
            "x86_64" => ("amd64", "qemu-x86_64-static"),
            "aarch64" => ("arm64", "qemu-aarch64-static"),
            _ => ("armhf", "qemu-arm-static"),
        };
        Some(Self { name, emulator })
    }
}

/// Unpacks Debian's `mosquitto_pub` and the libraries that it needs, and returns the folder with the tree.
pub(super) fn install(architecture: &Architecture) -> Result<PathBuf> {
    let folder = super::absolute(&target().join("emulate/mosquitto").join(architecture.name))?;
    let tree = folder.join("tree");
    let cache = tree.join("etc/ld.so.cache");
    if cache.is_file() {
        return Ok(tree);
    }
    println!("Unpacking mosquitto_pub for {} …", architecture.name);
    let packages = download(&folder, architecture)?;
    for entry in std::fs::read_dir(packages)? {
        let package = entry?.path();
        if package.extension().is_some_and(|end| end == "deb") {
            run(Command::new("dpkg").arg("-x").arg(package).arg(&tree))?;
        }
    }
    // The cache makes the dynamic linker find libraries as it does on an installed system. It needs the architecture's
    // own ldconfig, because the one of this machine ignores libraries of other architectures.
    let mut ldconfig = Command::new(architecture.emulator);
    ldconfig.arg(tree.join("sbin/ldconfig")).arg("-r");
    run(ldconfig.arg(&tree)).context("cannot list the libraries; ldconfig needs root")?;
    if !cache.is_file() {
        bail!("ldconfig has not written {}", cache.display());
    }
    Ok(tree)
}

/// Downloads the packages with package lists of their own, so that the architectures of this system stay unchanged.
/// Returns the folder with the packages.
fn download(folder: &Path, architecture: &Architecture) -> Result<PathBuf> {
    let _ = std::fs::remove_dir_all(folder);
    let packages = folder.join("cache/archives");
    std::fs::create_dir_all(packages.join("partial"))?;
    std::fs::create_dir_all(folder.join("state/lists/partial"))?;
    let status = folder.join("status");
    std::fs::write(&status, "").context("cannot write the status of no packages")?;
    let apt = || {
        let mut apt = Command::new("apt-get");
        let name = architecture.name;
        apt.args(["--quiet=2", "-o", "Debug::NoLocking=1", "-o"]);
        apt.arg(format!("APT::Architecture={name}")).arg("-o");
        apt.arg(format!("APT::Architectures::={name}")).arg("-o");
        apt.arg(format!("Dir::State={}", folder.join("state").display()));
        apt.arg("-o");
        apt.arg(format!("Dir::State::status={}", status.display()));
        apt.arg("-o");
        apt.arg(format!("Dir::Cache={}", folder.join("cache").display()));
        apt
    };
    // Sources without this architecture make apt-get fail, so only the installation decides.
    let _ = apt().arg("update").status();
    run(apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(["--download-only", "mosquitto-clients", "libc-bin"]))
    .context("cannot download mosquitto-clients: run this on Debian 12")?;
    Ok(packages)
}
