//! The log of the broker: its destinations, its subscribers, and the words on which other programs match.
#![cfg(unix)]

use std::path::Path;

use tests::{Broker, Kind, Program};

#[test]
fn log_is_written_to_its_destination_and_reopened_after_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    let wait_for = |text: &str| {
        let start = std::time::Instant::now();
        while !read().contains(text) {
            assert!(start.elapsed() < tests::PATIENCE, "{}", read());
            std::thread::yield_now();
        }
    };
    let broker = Broker::start_silent(
        Kind::Rbroker,
        &format!(
            "log_dest stderr\nlog_dest file {}\nlog_timestamp_format %Y|\nconnection_messages false",
            log.display()
        ),
    );
    wait_for("|: rbroker version");
    let publish = format!("{} -t a -m x -q 1", broker.options());
    Program::new("rpub").args(&publish).run().success();
    std::fs::rename(&log, folder.path().join("old")).unwrap();
    broker.running.signal("HUP");
    wait_for("Config reloaded.");
    let old = std::fs::read_to_string(folder.path().join("old")).unwrap();
    assert!(!old.contains("connect"), "{old}");
}

#[test]
fn log_without_a_destination_is_written_to_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/log");
    let file = format!("log_dest file {}", missing.display());
    let broker = Broker::start(&file);
    let said = broker.wait_for_log(" running.");
    let words = format!("Unable to open log file {} for writing", missing.display());
    assert_eq!(said.matches(&words).count(), 1, "{said}");
    // With several destinations, each destination gets each line once.
    let broker = Broker::start(&format!(
        "{file}\nlog_dest stderr\n{file}2\nlog_dest syslog"
    ));
    broker.running.signal("TERM");
    let said = broker.running.wait().errors;
    assert_eq!(said.matches(" running.").count(), 1, "{said}");
    if !Path::new("/dev/log").exists() {
        assert!(
            said.contains("Cannot reach the system's log at /dev/log"),
            "{said}"
        );
    }
}

#[test]
fn the_log_is_published_to_subscribers() {
    let broker = Broker::start("log_dest topic\nlog_dest stderr\nlog_type all");
    let options = format!("{} -d -v -t $SYS/broker/log/# -i reader", broker.options());
    let reader = Program::new("rsub").args(&options).start();
    reader.wait_for_error("Subscribed");
    let publish = format!("{} -i writer -t a -m x -q 1", broker.options());
    Program::new("rpub").args(&publish).run().success();
    reader.wait_for_output(" as writer (p4, c1, k60).\n");
    broker.running.signal("HUP");
    reader.wait_for_output(": Config reloaded.\n");
    let output = reader.wait_for_output(": Reloading config.\n");
    let topic_of = |text: &str| {
        let line = output.lines().find(|line| line.contains(text)).unwrap();
        line.split_once(' ').unwrap().0.to_owned()
    };
    assert_eq!(topic_of(" as writer ("), "$SYS/broker/log/N");
    assert_eq!(topic_of("Reloading config."), "$SYS/broker/log/I");
    // Log lines about packets would cause further packets, so topics do not get them.
    assert!(!output.contains("Sending PUBLISH"), "{output}");
}

/// Filters of fail2ban match the address and the words after it in these lines.
#[test]
fn rejected_logins_and_lost_clients_are_logged_with_the_text_of_mosquitto() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "").unwrap();
    let lines = format!("allow_anonymous false\npassword_file {}", users.display());
    let broker = Broker::start_silent(Kind::Rbroker, &lines);
    for options in ["-u me -P guess", ""] {
        let options = format!("{} -i visitor -t a -m x {options}", broker.options());
        assert_eq!(Program::new("rpub").args(&options).run().status, 5);
    }
    broker
        .running
        .wait_for_errors(" disconnected: not authorised.\n", 2);
    let said = broker.running.error_so_far();
    let refused = said
        .lines()
        .filter(|line| line.ends_with("not authorised."));
    for line in refused {
        let (_, rest) = line.split_once(": Client visitor [127.0.0.1:").unwrap();
        let (port, words) = rest.split_once(']').unwrap();
        assert!(port.parse::<u16>().is_ok(), "{line}");
        assert_eq!(words, " disconnected: not authorised.");
    }
    assert!(said.contains(": New connection from 127.0.0.1:"), "{said}");
    assert!(
        said.contains(&format!(" on port {}.\n", broker.port)),
        "{said}"
    );
}
