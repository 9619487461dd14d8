//! Records the statements that a test proves. A test names them in an argument of an assertion, such as
//! `"3.1.1:MQTT-3.12.4-1 5.0:MQTT-3.12.4-1 5.0:U5-02"`. An assertion that holds appends the statements of the tested
//! version to the file that `RPUBSUB_CONFORMANCE` names. `cargo xtask conformance` writes docs/generated/conformance.md
//! from this file, and fails if a named statement was never recorded.

use std::fs::OpenOptions;
use std::io::Write;

/// The end of the connection that is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

/// Records that the statements hold at this end in this version. The test is named after its thread.
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

/// Returns the bytes in hexadecimal, as the specification writes them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(" ")
}

/// Asserts that both values are equal, and records the statements.
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
