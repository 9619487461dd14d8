//! How a test names the statements it proves: as an argument of the assertion, such as
//! `"3.1.1:MQTT-3.12.4-1 5.0:MQTT-3.12.4-1 5.0:U5-02"`. An assertion that holds records those of the
//! version it ran with, in the file that `RPUBSUB_CONFORMANCE` names; `cargo xtask conformance` makes
//! docs/generated/conformance.md from it. What is named and never recorded is an error there.

use std::fs::OpenOptions;
use std::io::Write;

/// Which end of the connection is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// The statements hold at this end in this version; the test is the thread's.
pub(crate) fn record(end: End, version: u8, statements: &str) {
    let version = match version {
        4 => "3.1.1",
        5 => "5.0",
        _ => return, // 3.1 has no numbered statements
    };
    let mut lines = String::new();
    for named in statements.split_whitespace() {
        let (of_version, statement) = named.split_once(':').expect("VERSION:STATEMENT");
        assert!(["3.1.1", "5.0"].contains(&of_version), "{named}");
        if of_version == version {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("unnamed");
            let test = test.strip_prefix("conformance::").unwrap_or(test);
            lines += &format!("{version}\t{statement}\t{end:?}\t{test}\n");
        }
    }
    if let Some(path) = std::env::var_os("RPUBSUB_CONFORMANCE") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let mut file = file.expect("the record can be written");
        file.write_all(lines.as_bytes())
            .expect("the record can be written");
    }
}

/// Bytes as the specification writes them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(" ")
}

/// Asserts that both are the same, and records the statements.
#[track_caller]
pub(crate) fn proves<T: PartialEq + std::fmt::Debug>(
    end: End,
    version: u8,
    statements: &str,
    actual: T,
    expected: T,
) {
    assert_eq!(actual, expected, "MQTT level {version}: {statements}");
    record(end, version, statements);
}
