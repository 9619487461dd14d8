//! How long the programs wait, compared with what the user has asked for.
#![cfg(unix)]

use std::time::{Duration, Instant};

use tests::{FakeServer, Program};

const CONNECT: usize = 14; // of a client without identifier, 3.1.1
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn a_missing_answer_to_subscribe_or_unsubscribe_is_the_end() {
    for (program, arguments, length, answer, missing) in [
        ("rsub", "-t a", 8, &b""[..], "SUBACK"),
        ("rsub", "-t a -E", 8, b"\x90\x03\x00\x09\x00", "SUBACK"),
        ("rsub", "-U a", 7, b"", "UNSUBACK"),
        ("rsub", "-U a -E", 7, b"\xB0\x02\x00\x09", "UNSUBACK"),
        ("rrr", "-V 311 -t a -e b -m x", 8, b"", "SUBACK"),
    ] {
        let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (length, answer)];
        let server = FakeServer::start(&[script], false);
        let command = Program::new(program).args(&server.options());
        let finished = command
            .args(arguments)
            .args("--connect-timeout 300ms")
            .run();
        assert_eq!(finished.status, 7, "{program} {arguments} {finished:?}");
        let expected = format!("{} sent no {missing} in time", server.address);
        assert!(finished.errors.contains(&expected), "{finished:?}");
    }
}

#[test]
fn a_subscriber_reconnects_if_a_later_answer_is_missing() {
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let second: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"")];
    let broker = FakeServer::start(&[first], true);
    let address = broker.address;
    let subscriber = Program::new("rsub").args(&broker.options());
    let subscriber = subscriber.args("-t a --connect-timeout 2").start();
    broker.received();
    let silent = FakeServer::start_at(address, &[second], false);
    subscriber.wait_for_error("sent no SUBACK in time (see --connect-timeout). Trying again");
    drop(silent);
    subscriber.signal("INT");
    subscriber.wait().success();
}

/// Runs a program that was asked to give up after this time; returns its status.
fn status_after(asked: Duration, command: Program) -> i32 {
    let start = Instant::now();
    let finished = command.run();
    let took = start.elapsed();
    assert!(took >= asked, "{took:?} instead of {asked:?}: {finished:?}");
    let late = asked * 3 / 2;
    assert!(took < late, "{took:?} instead of {asked:?}: {finished:?}");
    finished.status
}

#[test]
fn programs_give_up_after_the_time_that_was_asked_for() {
    let asked = Duration::from_secs(3);
    for (program, arguments) in [
        ("rpub", "-m x --wait 3s"),
        ("rpub", "-l --wait 3"),
        ("rsub", "--wait 3s"),
        ("rrr", "-e b -m x --wait 3s"),
    ] {
        let command = Program::new(program).args("-h 127.0.0.1 -p 1 -t a");
        assert_eq!(status_after(asked, command.args(arguments)), 1);
    }
    // The broker accepts connections, and does not answer.
    for (arguments, status) in [("--wait 3s", 7), ("--connect-timeout 3s", 7), ("-W 3", 27)] {
        let server = FakeServer::start(&[&[]], false);
        let command = Program::new("rrr").args(&server.options());
        let command = command.args("-t a -e b -m x").args(arguments);
        assert_eq!(status_after(asked, command), status, "{arguments}");
    }
}

#[test]
fn a_lost_connection_is_given_up_after_the_time_that_was_asked_for() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let server = FakeServer::start(&[script], true);
    let subscriber = Program::new("rsub").args(&server.options());
    let subscriber = subscriber.args("-t a --reconnect-max 3s");
    assert_eq!(status_after(Duration::from_secs(3), subscriber), 1);
}
