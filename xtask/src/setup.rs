//! Installs the peers that the tests connect to: mosquitto, paho-mqtt, MQTT.js and a browser. Only `cargo xtask test
//! --install` and the benchmarks install them, if the machine permits that.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::target;

/// The versions of MQTT.js that the tests use: the last version of each major version in use, with the name of its
/// folder. The page for the browser uses the newest.
const MQTT_JS: [(&str, &str); 3] = [
    ("mqtt", "mqtt@5.16.0"),
    ("mqtt3", "mqtt3@npm:mqtt@3.0.0"),
    ("mqtt4", "mqtt4@npm:mqtt@4.3.8"),
];

/// Installs mosquitto and its clients, if they are missing and this user may install packages.
pub(crate) fn mosquitto() {
    let is_there = ["mosquitto", "mosquitto_pub", "mosquitto_sub"]
        .iter()
        .all(|name| has(name));
    if !is_there {
        println!("Installing mosquitto for the tests …");
        install(&["mosquitto", "mosquitto-clients"]);
    }
}

/// Installs the shells whose completions are tested, and the program that renders manual pages.
pub(crate) fn shells() {
    let missing: Vec<_> = ["zsh", "fish", "groff"]
        .into_iter()
        .filter(|name| !has(name))
        .collect();
    if !missing.is_empty() {
        println!("Installing {} for the tests …", missing.join(", "));
        install(&missing);
    }
}

/// Installs valgrind, which counts instructions.
pub(crate) fn valgrind() {
    if !has("valgrind") {
        println!("Installing valgrind, which counts instructions …");
        install(&["valgrind"]);
    }
}

/// Installs a browser. It is large, so it is installed only if `CI` is set.
pub(crate) fn browser() {
    if !has("chromium") && std::env::var_os("CI").is_some() {
        println!("Installing chromium for the tests …");
        // npm is installed only if it is missing: a Node.js from another source has its own npm, and Debian's does not
        // work with it.
        let packages = ["chromium", "npm"].into_iter();
        install(&packages.filter(|name| !has(name)).collect::<Vec<_>>());
    }
}

/// Returns the folder below `target` with each version of MQTT.js, if it was installed.
pub(crate) fn mqtt_js() -> Option<PathBuf> {
    let modules = target().join("test-js").join("node_modules");
    let mut names = MQTT_JS.iter();
    names
        .all(|(name, _)| modules.join(name).join("package.json").is_file())
        .then_some(modules)
}

/// Installs each version of MQTT.js in a folder of its own below `target`, if npm is there.
pub(crate) fn install_mqtt_js() {
    if mqtt_js().is_some() || !has("npm") {
        return;
    }
    println!("Installing MQTT.js for the tests …");
    let folder = target().join("test-js");
    if std::fs::create_dir_all(&folder).is_ok() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-save", "--prefix", "."]);
        npm.args(MQTT_JS.map(|(_, package)| package));
        succeeds(npm.current_dir(&folder));
    }
}

/// Installs packages of Debian, if this user may do so.
pub(crate) fn install(packages: &[&str]) {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        succeeds(&mut command)
    };
    let install = [&["install", "--yes", "--quiet"], packages].concat();
    // In containers the lists of packages are often missing or old.
    if !apt(&install) && apt(&["update", "--quiet"]) {
        apt(&install);
    }
}

/// Returns the Python below `target` that has paho-mqtt, if it was installed.
pub(crate) fn paho_python() -> Option<PathBuf> {
    let python = target().join("test-python").join("bin").join("python");
    has_paho(&python).then_some(python)
}

/// Returns the folder with paho-mqtt 1.6, which has another interface than paho-mqtt 2. The Python with paho-mqtt 2.1
/// can load it, too.
pub(crate) fn paho_1_6() -> Option<PathBuf> {
    let folder = target().join("test-python").join("paho-1.6");
    folder.join("paho").is_dir().then_some(folder)
}

/// Installs a Python with paho-mqtt in a folder of its own below `target`, and paho-mqtt 1.6 beside it.
pub(crate) fn install_paho() {
    let folder = target().join("test-python");
    let python = folder.join("bin").join("python");
    if !has_paho(&python) {
        println!("Installing paho-mqtt for the tests …");
        let _ = std::fs::remove_dir_all(&folder);
        make_environment(&folder);
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]);
        succeeds(pip.arg("paho-mqtt==2.1.0"));
    }
    if has_paho(&python) && paho_1_6().is_none() {
        println!("Installing paho-mqtt 1.6 for the tests …");
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--quiet", "--target"]);
        succeeds(pip.arg(folder.join("paho-1.6")).arg("paho-mqtt==1.6.1"));
    }
}

/// Makes a virtual environment of Python.
fn make_environment(folder: &Path) {
    let mut venv = Command::new("python3");
    if !succeeds(venv.args(["-m", "venv"]).arg(folder)) {
        // Debian's Python lacks the module venv, so virtualenv is used instead.
        let pip = ["-m", "pip", "install", "--quiet", "virtualenv"];
        succeeds(Command::new("python3").args(pip));
        let mut virtualenv = Command::new("python3");
        succeeds(virtualenv.args(["-m", "virtualenv"]).arg(folder));
    }
}

/// Returns `true` if there is a program of this name.
pub(crate) fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .any(|folder| folder.join(name).is_file())
}

fn has_paho(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-c", "import paho.mqtt.client"]))
}

/// Runs a command without output. Returns `true` if it succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
