//! wine, which runs the programs for Windows.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{run, setup, target};

/// The source of a library of Windows 10 that wine 8 lacks. The standard library of Rust takes random numbers from it.
const RANDOM_NUMBERS: &str = "\
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T length)
{
    return SystemFunction036(bytes, (ULONG)length);
}
";

/// A Windows system in a folder of its own, whose server runs. Dropping this value ends the server.
///
/// The server starts before the tests and stays until their end. Otherwise the first program of a test starts it and the
/// services of Windows, which takes seconds. All sockets belong to the server, so a server that another program has
/// started may be in another network namespace.
pub(super) struct Wine {
    folder: PathBuf,
}

impl Wine {
    /// Creates the system and starts its server.
    pub(super) fn start() -> Result<Self> {
        let folder = super::absolute(&target().join("emulate/wine"))?;
        std::fs::create_dir_all(&folder)?;
        let wine = Self { folder };
        for (program, option) in [("wineserver", "--persistent"), ("wineboot", "--init")] {
            let succeeds = setup::succeeds(wine.command(program).arg(option));
            ensure!(succeeds, "{program} {option} failed");
        }
        Ok(wine)
    }

    /// Makes a command and its children use this system.
    pub(super) fn set_environment(&self, command: &mut Command) {
        command
            .env("WINEPREFIX", &self.folder)
            .env("WINEDEBUG", "-all");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.set_environment(&mut command);
        command
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        setup::succeeds(self.command("wineserver").arg("--kill"));
    }
}

/// Builds the library that wine lacks, next to the programs, where Windows searches first.
pub(super) fn add_missing_library(folder: &Path) -> Result<()> {
    let source = folder.join("bcryptprimitives.c");
    std::fs::write(&source, RANDOM_NUMBERS)?;
    let mut compiler = Command::new("x86_64-w64-mingw32-gcc");
    compiler.arg("-shared").arg(&source);
    compiler
        .arg("-o")
        .arg(folder.join("bcryptprimitives.dll"))
        .arg("-ladvapi32");
    run(&mut compiler)
}
