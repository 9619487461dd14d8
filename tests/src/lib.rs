//! The helpers of the tests of whole programs: brokers on free ports, programs with a deadline, raw connections,
//! proxies and certificates. No helper sleeps to wait for another process: each waits for a condition, and fails the
//! test with a message after a timeout.

mod broker;
mod certificates;
mod collected;
mod openssl;
mod peer;
mod program;
mod proxy;
mod raw;
mod slow_link;
mod tunnels;
mod usage;

pub use broker::{Broker, Kind, Stopped, free_port, stored_in};
pub use certificates::{Certificates, Validity};
pub use openssl::{Issue, OpenSsl};
pub use peer::{Acknowledge, PEER_TIMEOUT, Peer, subscribe};
pub use program::{Finished, Program, Running};
pub use proxy::{From, Proxy};
pub use raw::{FakeServer, RawClient, Script};
pub use slow_link::SlowLink;
pub use tunnels::{HttpProxy, SocksProxy, TlsFront};
pub use usage::{peak_memory, resident_memory};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Maximum time of every wait. Then the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the folder with `rpub`, `rsub`, `rrr` and `rbroker`, which are built from the present sources at the first
/// call. `RPUBSUB_PROGRAMS` names another folder: `cargo xtask emulate` tests the programs of other platforms.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("RPUBSUB_PROGRAMS") {
            return folder.into();
        }
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "mqtt-cli", "--bins"]);
        // cargo sets these variables for the package of the test. With them, the build scripts of other packages would
        // run again.
        let of_package =
            |name: &str| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR";
        for (name, _) in std::env::vars().filter(|(name, _)| of_package(name)) {
            build.env_remove(name);
        }
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "the programs can be built");
        let test = std::env::current_exe().expect("a test knows its file");
        test.ancestors()
            .nth(2)
            .expect("tests are in target/PROFILE/deps")
            .to_owned()
    })
}

/// Returns a program of another project, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Makes a pipe with a name in a folder. A process that opens the pipe for reading waits until another process opens it
/// for writing.
#[cfg(unix)]
pub fn named_pipe(folder: &Path) -> PathBuf {
    let pipe = folder.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is installed").success());
    pipe
}

/// Returns `true` if mosquitto and its clients are installed. Otherwise reports that the test is skipped.
pub fn has_mosquitto(test: &str) -> bool {
    let there = ["mosquitto", "mosquitto_pub", "mosquitto_sub"]
        .iter()
        .all(|name| find(name).is_some());
    if !there {
        skip(test, "mosquitto and mosquitto-clients are not installed");
    }
    there
}

/// Returns a Python with paho-mqtt: the Python that `RPUBSUB_PAHO_PYTHON` names, or `python3`.
pub fn paho_python(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("RPUBSUB_PAHO_PYTHON").map(PathBuf::from);
    let python = named.or_else(|| find("python3"));
    let has_paho = |python: &PathBuf| {
        let check = Command::new(python)
            .args(["-c", "import paho.mqtt.client"])
            .output();
        check.is_ok_and(|output| output.status.success())
    };
    let python = python.filter(has_paho);
    if python.is_none() {
        skip(test, "Python with paho-mqtt is not installed");
    }
    python
}

/// Returns a Python and the folder of paho-mqtt 1.6, which `RPUBSUB_PAHO_1_6` names. The caller must put the folder
/// into `PYTHONPATH`.
pub fn paho_1_6(test: &str) -> Option<(PathBuf, String)> {
    let packages = std::env::var("RPUBSUB_PAHO_1_6").ok();
    let found = paho_python(test).zip(packages);
    if found.is_none() {
        skip(test, "paho-mqtt 1.6 is not installed");
    }
    found
}

/// Returns Node.js and the folder with the versions of MQTT.js, which `RPUBSUB_NODE_MODULES` names.
pub fn mqtt_js(test: &str) -> Option<(PathBuf, PathBuf)> {
    let modules = std::env::var_os("RPUBSUB_NODE_MODULES").map(PathBuf::from);
    let found = find("node").zip(modules);
    if found.is_none() {
        skip(test, "Node.js or MQTT.js is not installed");
    }
    found
}

/// Reports that a test is skipped. `cargo xtask test` counts the lines in the file that `RPUBSUB_SKIPPED` names.
pub fn skip(test: &str, reason: &str) {
    println!("skipped: {test}: {reason}");
    if let Some(path) = std::env::var_os("RPUBSUB_SKIPPED") {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        let _ = file.and_then(|mut file| writeln!(file, "{test}: {reason}"));
    }
}
