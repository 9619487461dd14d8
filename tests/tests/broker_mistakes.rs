//! Mistakes that operators of `rbroker` make on the command line, in its configuration and with its files: the error
//! says which one it is and what to write. Mistakes with the client programs are in `mistakes.rs`.
#![cfg(unix)]

use tests::{Broker, Kind, Program};

/// Runs rbroker, which must not start, and returns what it printed to standard error.
fn error_of(words: &[&str], status: i32) -> String {
    let command = words.iter().fold(Program::new("rbroker"), Program::arg);
    let finished = command.run();
    assert_eq!(finished.status, status, "{finished:?}");
    assert_eq!(finished.text(), "", "{finished:?}");
    finished.errors
}

/// Slides and text processors replace hyphens.
#[test]
fn an_option_with_another_dash_than_a_hyphen_names_the_character() {
    for (word, hint) in [
        (
            "\u{2013}v",
            "'\u{2013}' is U+2013 (en dash), which starts no option: write '-v'.",
        ),
        (
            "\u{2014}check-config",
            "'\u{2014}' is U+2014 (em dash), which starts no option: write '--check-config'.",
        ),
        (
            "\u{2212}\u{2212}port=1",
            "'\u{2212}' is U+2212 (minus sign), which starts no option: write '--port'.",
        ),
    ] {
        let shown = word.split('=').next().unwrap();
        let expected = format!(
            "Error: Unknown option '{shown}'.\n{hint} Use 'rbroker --help' to see usage.\n"
        );
        assert_eq!(error_of(&[word], 3), expected);
    }
    let finished = Program::new("rpub").arg("\u{2013}t").args("a -m x").run();
    let expected = "Error: Unknown option '\u{2013}t'.\n'\u{2013}' is U+2013 (en dash), which starts no option: \
                    write '-t'. Use 'rpub --help' to see usage.\n";
    assert_eq!((finished.status, finished.errors.as_str()), (1, expected));
}

#[test]
fn a_listener_of_this_machine_is_not_open_to_others() {
    let broker = Broker::start("");
    let log = broker.wait_for_log(" running.");
    let line = ": Every program on this machine can use the broker without a password.\n";
    assert!(log.contains(line), "{log}");
    assert!(!log.contains("Open to everyone"), "{log}");
}

#[test]
fn a_client_without_identifier_has_one_name_in_the_log() {
    let lines = "allow_anonymous false\nlog_type all";
    let broker = Broker::start_silent(Kind::Rbroker, lines);
    let client = Program::new("rsub").args(&broker.options());
    let finished = client.args("-V 5 -t t").run();
    assert_eq!(finished.status, 135, "{finished:?}");
    let log = broker
        .running
        .wait_for_error("Sending CONNACK to <unknown> (0, 135)");
    assert!(log.contains(": Client <unknown> [127.0.0.1:"), "{log}");
    assert!(!log.contains("null"), "{log}");
    assert!(!log.contains("Client  ["), "{log}");
}
