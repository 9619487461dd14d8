//! Programs of other people's that the tests talk to: installed where that is possible.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::target;

/// The version of MQTT.js that the tests use.
const MQTT_JS: &str = "mqtt@5.16.0";

/// Installs mosquitto and its clients, if they are not there and it can be done.
pub(crate) fn mosquitto() {
    let is_there = ["mosquitto", "mosquitto_pub", "mosquitto_sub"]
        .iter()
        .all(|name| has(name));
    if !is_there {
        println!("Installing mosquitto for the tests …");
        install(&["mosquitto", "mosquitto-clients"]);
    }
}

/// What counts instructions.
pub(crate) fn valgrind() {
    if !has("valgrind") {
        println!("Installing valgrind, which counts instructions …");
        install(&["valgrind"]);
    }
}

/// A browser, which is large: installed only where `CI` is set.
pub(crate) fn browser() {
    if !has("chromium") && std::env::var_os("CI").is_some() {
        println!("Installing chromium for the tests …");
        // Debian's npm does not go with a Node.js from elsewhere, which has its own.
        let packages = ["chromium", "npm"].into_iter();
        install(&packages.filter(|name| !has(name)).collect::<Vec<_>>());
    }
}

/// MQTT.js as one script for browsers, in a folder of its own below `target`; `None` without npm.
pub(crate) fn mqtt_js() -> Option<PathBuf> {
    let folder = target().join("test-js");
    let script = folder.join("node_modules/mqtt/dist/mqtt.min.js");
    if !script.is_file() && has("npm") && has("chromium") {
        println!("Installing MQTT.js for the tests …");
        std::fs::create_dir_all(&folder).ok()?;
        let arguments = ["install", "--silent", "--no-save", "--prefix", ".", MQTT_JS];
        succeeds(Command::new("npm").args(arguments).current_dir(&folder));
    }
    script.is_file().then_some(script)
}

/// Installs packages of Debian's, where that is allowed.
fn install(packages: &[&str]) {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        succeeds(&mut command)
    };
    let install = [&["install", "--yes", "--quiet"], packages].concat();
    // Lists of packages are often missing or old in containers.
    if !apt(&install) && apt(&["update", "--quiet"]) {
        apt(&install);
    }
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

/// Whether there is a program of this name.
fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .any(|folder| folder.join(name).is_file())
}

fn has_paho(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-c", "import paho.mqtt.client"]))
}

/// Runs a command without output; returns `true` if it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
