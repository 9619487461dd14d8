//! Signals that end rpub, rsub and rrr: which work the programs still finish, whether the broker publishes the will,
//! and the exit status.
#![cfg(unix)]

use std::io::Write;
use std::net::TcpListener;

use tests::{Broker, FakeServer, Program};

const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn rpub_completes_its_messages_after_a_signal_and_reports_the_signal() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let broker = Broker::start("");
        let publisher = broker.program("rpub").args("-i p -t x -l -q 1 -d");
        let (publisher, mut input) = publisher.start_with_input();
        input.write_all(b"1\n2\nhalf a line").unwrap();
        publisher.wait_for_error("received PUBACK (Mid: 2");
        publisher.signal(name);
        let finished = publisher.wait();
        assert_eq!(finished.status, status, "{finished:?}");
        let counts = "Interrupted: 2 of 2 messages acknowledged, 0 unknown, 0 rejected.";
        assert!(finished.errors.contains(counts), "{finished:?}");
        assert!(
            finished.errors.contains("sending DISCONNECT\n"),
            "{finished:?}"
        );
        drop(input);
    }
}

#[test]
fn a_signal_lets_the_broker_publish_the_will_of_rpub_and_rrr() {
    for (program, arguments, wait_for) in [
        ("rpub", "-t x -l -q 1", "received PUBACK"),
        ("rrr", "-t x -e y -m z", "sending PUBLISH"),
    ] {
        for version in ["31", "311", "5"] {
            let broker = Broker::start("");
            let watcher = broker.program("rsub");
            let watcher = watcher.args("-i watcher -t will -C 1").start();
            broker.wait_for_log("Sending SUBACK to watcher");
            let command = broker.program(program);
            let command = command
                .args(arguments)
                .args(&format!("-i me -V {version} -d"));
            let command = command.args("--will-topic will --will-payload gone");
            let (running, mut input) = command.start_with_input();
            input.write_all(b"1\n").unwrap();
            running.wait_for_error(wait_for);
            running.signal("TERM");
            let finished = running.wait();
            let has_disconnect = finished.errors.contains("sending DISCONNECT");
            assert_eq!(has_disconnect, version == "5", "{finished:?}");
            assert_eq!(watcher.wait().success().text(), "gone\n");
        }
    }
}

#[test]
fn second_signal_ends_rpub_immediately() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT)]], false);
    let publisher = server.program("rpub");
    let publisher = publisher.args("-t x -m y -q 1 -d").start();
    publisher.wait_for_error("sending PUBLISH");
    publisher.signal("TERM");
    publisher.signal("INT"); // a second signal ends rpub without the acknowledgement
    let status = publisher.wait().status;
    assert!(status == 130 || status == 143, "{status}");
}

#[test]
fn signal_before_connecting_determines_the_exit_status() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        for (program, arguments) in [("rsub", "-t x -d"), ("rrr", "-t x -e y -m z -d")] {
            let server = FakeServer::start(&[&[]], false);
            let command = server.program(program);
            let running = command.args(arguments).start();
            running.wait_for_error("sending CONNECT");
            running.signal(name);
            assert_eq!(running.wait().status, status, "{program}");
        }
    }
}

#[test]
fn other_signals_end_rsub_by_their_default_action() {
    let broker = Broker::start("");
    let subscriber = broker.program("rsub");
    let subscriber = subscriber.args("-t x -d").start();
    subscriber.wait_for_error("Subscribed");
    subscriber.signal("ALRM");
    assert_eq!(subscriber.wait().status, 142);
}

#[test]
fn signal_while_an_acknowledgement_is_missing_determines_the_exit_status() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT)]], false);
    let publisher = server.program("rpub");
    let publisher = publisher.args("-t x -m y -q 1 -d").start();
    publisher.wait_for_error("sending PUBLISH");
    publisher.signal("INT");
    let finished = publisher.wait();
    assert_eq!(finished.status, 130, "{finished:?}");
    let counts = "Interrupted: 0 of 1 message acknowledged, 1 unknown, 0 rejected.";
    assert!(finished.errors.contains(counts), "{finished:?}");
}

#[test]
fn signal_during_reconnect_ends_rsub_with_success() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let server = FakeServer::start(&[script], true);
    let subscriber = server.program("rsub").args("-t a").start();
    subscriber.wait_for_error("Trying again");
    subscriber.signal("INT");
    subscriber.wait().success();
    server.received();
}

/// Accepts a client and reads everything that it sends, in a thread.
fn swallow() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(ACCEPT).unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    port
}

#[test]
fn signal_ends_rpub_while_a_fast_server_acknowledges_everything() {
    let options = format!("-h 127.0.0.1 -p {}", swallow());
    let publisher = Program::new("rpub").args(&options).args("-t x -l");
    let (publisher, mut input) = publisher.start_with_input();
    let lines = b"y\n".repeat(10_000);
    for _ in 0..10 {
        input.write_all(&lines).unwrap();
    }
    std::thread::spawn(move || while input.write_all(&lines).is_ok() {});
    publisher.signal("INT");
    assert_eq!(publisher.wait().status, 130);
    let options = format!("-h 127.0.0.1 -p {}", swallow());
    let publisher = Program::new("rpub").args(&options);
    let publisher = publisher.args("-t x -m y --repeat 4000000000 -d").start();
    publisher.wait_for_error("sending PUBLISH");
    publisher.signal("TERM");
    assert_eq!(publisher.wait().status, 143);
}

#[test]
fn signal_ends_rpub_while_the_server_does_not_read_its_message() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(100_000_000).unwrap();
    let publisher = Program::new("rpub").args(&format!("-h 127.0.0.1 -p {port} -t a -d -f"));
    let publisher = publisher.arg(file.path()).start();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(ACCEPT).unwrap();
    publisher.wait_for_error("sending PUBLISH");
    publisher.signal("TERM");
    let finished = publisher.wait();
    assert_eq!(finished.status, 143, "{finished:?}");
    assert!(
        finished.errors.contains(" bytes did not reach the broker."),
        "{finished:?}"
    );
}
