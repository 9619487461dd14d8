//! Links the stack unwinder into the programs, where they would load it as a library (libgcc_s) at each start:
//! that is a good part of what a program costs that sends one message. Elsewhere nothing changes.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name| std::env::var(name).unwrap_or_default();
    let is_gnu_linux = variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu"
        && variable("HOST") == variable("TARGET");
    if !is_gnu_linux {
        return;
    }
    // The linker of Rust on such a system is its C compiler, which knows where its libraries are.
    let asked = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output();
    let path = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let path = path.unwrap_or_default();
    if let Some(folder) = Path::new(path.trim())
        .parent()
        .filter(|folder| folder.is_absolute())
    {
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static:+whole-archive=gcc_eh");
    }
}
