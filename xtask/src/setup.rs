//! Programs of other people's that the tests talk to: installed where that is possible.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::target;

/// Whether mosquitto and its clients are there, perhaps only now.
pub(crate) fn mosquitto() -> bool {
    if has_mosquitto() {
        return true;
    }
    println!("Installing mosquitto for the tests …");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        succeeds(
            command
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    let install = [
        "install",
        "--yes",
        "--quiet",
        "mosquitto",
        "mosquitto-clients",
    ];
    // Lists of packages are often missing or old in containers.
    if !apt(&install) && apt(&["update", "--quiet"]) {
        apt(&install);
    }
    has_mosquitto()
}

/// A Python with paho-mqtt, in a folder of its own below `target`.
pub(crate) fn paho_python() -> Option<PathBuf> {
    let folder = target().join("test-python");
    let python = folder.join("bin").join("python");
    if !has_paho(&python) {
        println!("Installing paho-mqtt for the tests …");
        let _ = std::fs::remove_dir_all(&folder);
        if !succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder)) {
            // Debian's Python has no venv of its own.
            let pip = ["-m", "pip", "install", "--quiet", "virtualenv"];
            succeeds(Command::new("python3").args(pip));
            succeeds(
                Command::new("python3")
                    .args(["-m", "virtualenv"])
                    .arg(&folder),
            );
        }
        succeeds(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "paho-mqtt==2.1.0",
        ]));
    }
    has_paho(&python).then_some(python)
}

fn has_mosquitto() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .collect();
    let is_there = |name: &str| folders.iter().any(|folder| folder.join(name).is_file());
    ["mosquitto", "mosquitto_pub", "mosquitto_sub"]
        .into_iter()
        .all(is_there)
}

fn has_paho(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-c", "import paho.mqtt.client"]))
}

/// Runs a command whose failure only means that tests are skipped.
fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
