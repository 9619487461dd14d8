//! The platforms that releases are built for.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// A platform, by the name that rustc has for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) linker: Linker,
    /// The words that run a program of this platform under emulation here, before the path of the program; empty if
    /// this machine runs the program itself.
    pub(crate) emulator: &'static [&'static str],
}

/// The linker and C compiler of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linker {
    /// Those of this machine.
    Host,
    /// zig, which brings the C library of the platform along.
    Zig,
    /// Debian's gcc for Windows.
    Mingw,
}

/// All platforms. There is no static build with glibc: its name look-ups crash without the NSS libraries of the same
/// version.
pub(crate) const TARGETS: [Target; 7] = [
    Target {
        name: "x86_64-unknown-linux-gnu",
        linker: Linker::Host,
        emulator: &[],
    },
    Target {
        name: "x86_64-unknown-linux-musl",
        linker: Linker::Zig,
        emulator: &[],
    },
    Target {
        name: "aarch64-unknown-linux-gnu",
        linker: Linker::Zig,
        emulator: &["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"],
    },
    Target {
        name: "aarch64-unknown-linux-musl",
        linker: Linker::Zig,
        emulator: &["qemu-aarch64-static"],
    },
    Target {
        name: "armv7-unknown-linux-gnueabihf",
        linker: Linker::Zig,
        emulator: &["qemu-arm-static", "-L", "/usr/arm-linux-gnueabihf"],
    },
    // ARMv6: Raspberry Pi Zero and 1. The emulated processor rejects instructions that those do not have.
    Target {
        name: "arm-unknown-linux-musleabihf",
        linker: Linker::Zig,
        emulator: &["qemu-arm-static", "-cpu", "arm1176"],
    },
    Target {
        name: "x86_64-pc-windows-gnu",
        linker: Linker::Mingw,
        emulator: &["wine"],
    },
];

/// The oldest glibc that builds with zig run with: that of Debian 11 and of Raspberry Pi OS of the same year.
const GLIBC: &str = "2.31";

impl Target {
    /// Returns the platform with this name.
    pub(crate) fn find(name: &str) -> Result<Self> {
        let found = TARGETS.iter().find(|target| target.name == name);
        let Some(target) = found else {
            let names = TARGETS.map(|target| target.name).join(", ");
            bail!("unknown target '{name}': expected one of {names}");
        };
        Ok(*target)
    }

    /// Returns the name with the version of glibc, as zig expects it.
    pub(crate) fn zig_name(&self) -> String {
        match self.name.contains("-gnu") {
            true => format!("{}.{GLIBC}", self.name),
            false => self.name.to_owned(),
        }
    }

    pub(crate) fn is_windows(&self) -> bool {
        self.name.contains("windows")
    }

    pub(crate) fn is_musl(&self) -> bool {
        self.name.contains("musl")
    }

    /// Returns the file name of a program.
    pub(crate) fn program(&self, name: &str) -> String {
        match self.is_windows() {
            true => format!("{name}.exe"),
            false => name.to_owned(),
        }
    }

    /// Returns the folder that cargo builds the programs in.
    pub(crate) fn build_folder(&self, profile: &str) -> PathBuf {
        crate::target().join(self.name).join(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_builds_for_glibc_with_zig_have_its_version() {
        let name = |name| Target::find(name).unwrap().zig_name();
        let gnu = name("armv7-unknown-linux-gnueabihf");
        assert_eq!(gnu, "armv7-unknown-linux-gnueabihf.2.31");
        let musl = name("arm-unknown-linux-musleabihf");
        assert_eq!(musl, "arm-unknown-linux-musleabihf");
    }
}
