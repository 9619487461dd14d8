//! A file with secrets that every user of the machine can read causes one warning.
#![cfg(unix)]

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tests::Broker;

const WARNING: &str = "can be read by every user of this machine";

fn set_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn warns_of_a_readable_password_file_of_the_broker_at_start_and_reload() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = format!("password_file {}", file.path().display());
    set_mode(file.path(), 0o640);
    let broker = Broker::start(&settings);
    assert!(!broker.wait_for_log("running.").contains(WARNING));
    set_mode(file.path(), 0o644);
    broker.running.signal("HUP");
    broker.wait_for_log(WARNING);
    broker.wait_for_log("Config reloaded.");
    let log = Broker::start(&settings).wait_for_log("running.");
    assert_eq!(log.matches(WARNING).count(), 1, "{log}");
}

#[test]
fn warns_of_readable_password_and_options_files_of_clients() {
    let broker = Broker::start("");
    let file = tempfile::NamedTempFile::new().unwrap();
    let errors = |content: &str, mode: u32, option: &str| {
        std::fs::write(file.path(), content).unwrap();
        set_mode(file.path(), mode);
        let publisher = broker.program("rpub");
        let publisher = publisher.args("-u me -t a -n").arg(option);
        publisher.arg(file.path()).run().success().errors
    };
    for (content, option) in [
        ("secret\n", "--password-file"),
        ("-P secret\n", "-o"),
        ("--pw secret\n", "-o"),
    ] {
        let told = errors(content, 0o644, option);
        assert_eq!(told.matches(WARNING).count(), 1, "{told}");
        assert_eq!(errors(content, 0o600, option), "");
    }
    // This file contains no secret.
    assert_eq!(errors("-q 1\n", 0o644, "-o"), "");
}
