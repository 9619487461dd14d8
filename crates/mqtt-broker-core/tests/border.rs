//! Checks the border between the core and the process: the core must not depend on a crate that does I/O, and its
//! sources must not name a part of the standard library that does I/O or reads a clock. Otherwise the same input might
//! not give the same run in the simulation.

use std::fs;
use std::path::{Path, PathBuf};

/// The crates that the core may depend on.
const DEPENDENCIES: [&str; 5] = ["bytes", "log", "mqtt-codec", "mqtt-session", "slotmap"];

/// Names of the standard library that do I/O, read a clock, or use threads.
const FORBIDDEN: [&str; 9] = [
    "Instant::now",
    "SystemTime",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
];

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn core_depends_on_no_crate_that_does_io() {
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let table = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let lines = table.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    assert_eq!(names, DEPENDENCIES);
    assert!(!manifest.contains("[target."), "dependencies of a system");
}

#[test]
fn core_names_no_file_socket_thread_or_clock() {
    let mut files = Vec::new();
    sources(&package().join("src"), &mut files);
    assert!(files.len() > 30, "the sources were not found");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        // The unit tests, at the end of a file, may read the clock.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let code = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for (number, line) in code.enumerate() {
            let named = FORBIDDEN.iter().find(|name| line.contains(**name));
            assert_eq!(named, None, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}
