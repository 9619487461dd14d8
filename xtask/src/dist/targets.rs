//! The platforms for which releases are built.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// A platform, with the name that rustc uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) linker: Linker,
    /// The architecture of the Debian package for this build. `None` if there is no package.
    pub(crate) debian: Option<&'static str>,
    /// The command that runs a program of this platform under emulation, without the path of the program. Empty if this
    /// machine can run the program directly.
    pub(crate) emulator: &'static [&'static str],
}

/// The linker and C compiler of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linker {
    /// The linker and C compiler of this machine.
    Host,
    /// zig, which includes the C libraries of the platforms.
    Zig,
    /// Debian's gcc for Windows.
    Mingw,
}

/// The platforms of a release. A static build with glibc is not among them: its name resolution loads the NSS libraries
/// at run time, and crashes if their version differs.
pub(crate) const TARGETS: [Target; 7] = [
    Target {
        name: "x86_64-unknown-linux-gnu",
        linker: Linker::Host,
        debian: Some("amd64"),
        emulator: &[],
    },
    Target {
        name: "x86_64-unknown-linux-musl",
        linker: Linker::Zig,
        debian: None,
        emulator: &[],
    },
    Target {
        name: "aarch64-unknown-linux-gnu",
        linker: Linker::Zig,
        debian: Some("arm64"),
        emulator: &["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"],
    },
    Target {
        name: "aarch64-unknown-linux-musl",
        linker: Linker::Zig,
        debian: None,
        emulator: &["qemu-aarch64-static"],
    },
    Target {
        name: "armv7-unknown-linux-gnueabihf",
        linker: Linker::Zig,
        debian: None,
        emulator: &["qemu-arm-static", "-L", "/usr/arm-linux-gnueabihf"],
    },
    // ARMv6 is the processor of Raspberry Pi Zero and 1. The Debian package for armhf contains this build: armhf is
    // ARMv7 in Debian but ARMv6 in Raspberry Pi OS, and this build runs on both. The emulator is set to an ARMv6
    // processor, so that it rejects instructions of newer ones.
    Target {
        name: "arm-unknown-linux-musleabihf",
        linker: Linker::Zig,
        debian: Some("armhf"),
        emulator: &["qemu-arm-static", "-cpu", "arm1176"],
    },
    Target {
        name: "x86_64-pc-windows-gnu",
        linker: Linker::Mingw,
        debian: None,
        emulator: &["wine"],
    },
];

/// The oldest version of glibc on which builds with zig run. Debian 11 and the Raspberry Pi OS of 2021 have this
/// version.
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

    /// Returns the name of the platform with the version of glibc, in the form that zig expects.
    pub(crate) fn zig_name(&self) -> String {
        if self.name.contains("-gnu") {
            format!("{}.{GLIBC}", self.name)
        } else {
            self.name.to_owned()
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
        if self.is_windows() {
            format!("{name}.exe")
        } else {
            name.to_owned()
        }
    }

    /// Returns the folder into which cargo builds the programs.
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
