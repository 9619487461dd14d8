//! Failures on the way to the broker: rejections, lost connections, and brokers that are started again. Scripts must
//! not hang, and must see the exit status.

use tests::{Broker, FakeServer, Program, free_port};

pub(super) const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

pub(super) fn run(program: &str, server: &FakeServer, arguments: &str) -> tests::Finished {
    server.program(program).args(arguments).run()
}

#[test]
fn rejected_connect_is_reported_and_determines_the_exit_status() {
    let table: [(&[u8], i32, &str); 6] = [
        (
            &[0x20, 2, 0, 1],
            1,
            "Connection Refused: unacceptable protocol version",
        ),
        (
            &[0x20, 2, 0, 2],
            2,
            "Connection Refused: identifier rejected",
        ),
        (
            &[0x20, 2, 0, 3],
            3,
            "Connection Refused: broker unavailable",
        ),
        (
            &[0x20, 2, 0, 4],
            4,
            "Connection Refused: bad user name or password",
        ),
        (&[0x20, 2, 0, 5], 5, "Connection Refused: not authorised"),
        (
            &[0x20, 2, 0, 200],
            200,
            "Connection Refused: unknown reason",
        ),
    ];
    for (connack, status, text) in table {
        for (program, arguments) in [("rpub", "-t a -m x"), ("rpub", "-t a -l"), ("rsub", "-t a")] {
            let script: tests::Script<'_> = &[(CONNECT, connack)];
            let server = FakeServer::start(&[script], false);
            let finished = run(program, &server, arguments);
            assert_eq!(
                finished.status, status,
                "{program} {connack:?} {finished:?}"
            );
            assert!(finished.errors.contains(text), "{program} {finished:?}");
            assert_eq!(finished.errors.lines().count(), 1);
        }
    }
}

#[test]
fn rejected_connect_of_5_0_is_reported_with_its_reason() {
    let connack = b"\x20\x0E\x00\x87\x0B\x1F\x00\x08go\x1B away";
    let server = FakeServer::start(&[&[(18, connack)]], false);
    let finished = run("rpub", &server, "-t a -m x -V 5");
    assert_eq!(finished.status, 135, "{finished:?}");
    assert_eq!(
        finished.errors,
        "Connection error: Not authorized (go\\u{1b} away).\n"
    );
    let server = FakeServer::start(&[&[(18, &[0x20, 2, 0, 1])]], false);
    let finished = run("rpub", &server, "-t a -m x -V 5");
    assert_eq!(finished.status, 132, "{finished:?}");
    assert!(
        finished.errors.contains("Unsupported Protocol Version"),
        "{finished:?}"
    );
}

#[test]
fn closed_port_is_reported_immediately() {
    let port = free_port();
    for (program, arguments) in [("rpub", "-t a -m x"), ("rpub", "-t a -l"), ("rsub", "-t a")] {
        let target = format!("-h 127.0.0.1 -p {port}");
        let finished = Program::new(program).args(&target).args(arguments).run();
        let expected =
            format!("Error: Connection refused. Is there a broker on 127.0.0.1:{port}?\n");
        assert_eq!((finished.status, finished.errors), (1, expected));
    }
    let finished = Program::new("rpub")
        .args("-h no.such.host.invalid -t a -m x")
        .run();
    assert_eq!(finished.status, 1);
    assert!(
        finished
            .errors
            .starts_with("Unable to connect (Lookup error).")
    );
}

#[test]
fn quiet_prints_nothing_and_keeps_the_exit_status() {
    let server = FakeServer::start(&[&[(CONNECT, &[0x20, 2, 0, 5])]], false);
    let finished = run("rpub", &server, "-t a -m x --quiet");
    assert_eq!((finished.status, finished.errors.as_str()), (5, ""));
}

#[test]
fn rpub_with_one_message_fails_when_the_connection_is_lost() {
    let scripts: [tests::Script<'_>; 2] = [&[(CONNECT, b"")], &[(CONNECT, ACCEPT), (8, b"")]];
    for script in scripts {
        let server = FakeServer::start(&[script], true);
        let finished = run("rpub", &server, "-t a -m x -q 1");
        assert_eq!(finished.status, 7, "{finished:?}");
        assert!(
            finished
                .errors
                .starts_with("Error: The connection was lost"),
            "{finished:?}"
        );
    }
    // With `-l` rpub reconnects after a lost connection, but not if the server closes the first connection before
    // CONNACK.
    let server = FakeServer::start(&[&[(CONNECT, b"")]], true);
    assert_eq!(run("rpub", &server, "-t a -l").status, 7);
}

#[test]
fn lines_are_resent_after_a_lost_connection() {
    // The first connection is lost while both lines are in flight. The second connection acknowledges them.
    let second: tests::Script<'_> = &[(CONNECT, ACCEPT), (16, b"\x40\x02\x00\x01\x40\x02\x00\x02")];
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (16, b"")], second], true);
    let finished = server
        .program("rpub")
        .args("-t a -l -q 1")
        .input("1\n2\n")
        .run()
        .success();
    assert!(
        finished
            .errors
            .contains("Resending 2 unacknowledged messages.")
    );
    let received = server.received();
    // The server has no session, so the messages are sent as new ones with DUP 0.
    assert_eq!(
        received[1][CONNECT..],
        *b"\x32\x06\x00\x01a\x00\x011\x32\x06\x00\x01a\x00\x022"
    );
}

#[test]
fn resumes_session_after_a_lost_connection() {
    // With a session the message is resent with the same packet identifier and DUP 1. After PUBREC, PUBREL is resent
    // instead of the message.
    let first: tests::Script<'_> = &[(15, ACCEPT), (16, b"\x50\x02\x00\x01")];
    let rest = b"\x70\x02\x00\x01\x50\x02\x00\x02\x70\x02\x00\x02";
    let second: tests::Script<'_> = &[(15, &[0x20, 2, 1, 0]), (12, rest)];
    let server = FakeServer::start(&[first, second], true);
    let publisher = server.program("rpub").args("-t a -l -q 2 -c -i c");
    publisher.input("1\n2\n").run().success();
    let received = server.received();
    assert_eq!(
        received[1][15..],
        *b"\x62\x02\x00\x01\x3C\x06\x00\x01a\x00\x022"
    );
}

/// The broker is killed in the middle of the input and started again.
#[test]
fn lines_survive_a_broker_that_is_killed_and_started_again() {
    let broker = Broker::start("max_queued_messages 0");
    let (publisher, mut input) = broker
        .program("rpub")
        .args("-t l -l -q 1 -i pub -d")
        .start_with_input();
    use std::io::Write;
    input.write_all(b"before\n").unwrap();
    publisher.wait_for_error("received PUBACK");
    let broker = broker.restart();
    let subscriber = broker.program("rsub").args("-i s -t l -q 1 -C 2").start();
    broker.wait_for_log("Sending SUBACK to s");
    input.write_all(b"after 1\nafter 2\n").unwrap();
    drop(input);
    let finished = publisher.wait().success();
    assert!(finished.errors.contains("Trying again in"), "{finished:?}");
    assert!(
        finished.errors.contains("\nReconnected to "),
        "{finished:?}"
    );
    assert_eq!(subscriber.wait().success().text(), "after 1\nafter 2\n");
}

#[test]
fn rsub_reconnects_and_subscribes_again() {
    let broker = Broker::start("");
    let subscriber = broker.program("rsub").args("-i s -t x -C 1 -d").start();
    subscriber.wait_for_error("Subscribed");
    let broker = broker.restart();
    broker.wait_for_log("Sending SUBACK to s");
    broker.program("rpub").args("-t x -m back").run().success();
    let finished = subscriber.wait().success();
    assert_eq!(finished.text(), "back\n");
    assert!(
        finished.errors.contains("Warning: The connection was lost"),
        "{finished:?}"
    );
    let again = format!("\nReconnected to {}.\n", broker.address());
    assert_eq!(finished.errors.matches(&again).count(), 1, "{finished:?}");
}

#[test]
fn time_limit_ends_rsub_in_each_phase() {
    let broker = Broker::start("");
    let finished = broker.program("rsub").args("-t x -W 1").run();
    assert_eq!(
        (finished.status, finished.errors.as_str()),
        (27, "Timed out\n")
    );
    // The time is over before the server has answered.
    let server = FakeServer::start(&[&[]], false);
    assert_eq!(run("rsub", &server, "-t x -W 500ms --quiet").status, 27);
}

#[test]
#[cfg(unix)]
fn rsub_ends_with_success_after_a_signal() {
    let broker = Broker::start("");
    for name in ["INT", "TERM"] {
        let subscriber = broker.program("rsub").args("-t x -d").start();
        subscriber.wait_for_error("Subscribed");
        subscriber.signal(name);
        let finished = subscriber.wait().success();
        assert!(
            finished.errors.ends_with("sending DISCONNECT\n"),
            "{finished:?}"
        );
    }
}

#[test]
fn rejected_message_is_reported_and_determines_the_exit_status() {
    let script: tests::Script<'_> = &[(18, b"\x20\x03\x00\x00\x00"), (9, b"\x40\x03\x00\x01\x97")];
    let server = FakeServer::start(&[script], false);
    let finished = run("rpub", &server, "-t a -m x -q 1 -V 5");
    assert_eq!(finished.status, 151, "{finished:?}");
    assert_eq!(
        finished.errors,
        "Warning: Publish 1 failed: Quota exceeded.\n"
    );
}

#[test]
fn rejected_subscriptions_are_reported_and_determine_the_exit_status() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x80")];
    let server = FakeServer::start(&[script], false);
    let finished = run("rsub", &server, "-t a");
    assert_eq!(finished.status, 128, "{finished:?}");
    assert!(
        finished
            .errors
            .contains("All subscription requests were denied.")
    );
    let script: tests::Script<'_> = &[
        (CONNECT, ACCEPT),
        (12, b"\x90\x04\x00\x01\x00\x80\x30\x04\x00\x01a1"),
    ];
    let server = FakeServer::start(&[script], false);
    let finished = run("rsub", &server, "-t a -t b -C 1").success();
    assert_eq!(finished.text(), "1\n");
    assert!(
        finished.errors.contains("Subscription to 'b' was denied"),
        "{finished:?}"
    );
}

#[test]
fn disconnects_from_a_server_that_violates_the_protocol() {
    let cases: [&[u8]; 3] = [
        &[0x30, 5, 0, 3, 0xED, 0xA0, 0x80], // not UTF-8
        &[0x36, 5, 0, 1, b'a', 0, 1],       // QoS 3
        &[0x82, 6, 0, 1, 0, 1, b'a', 0],    // SUBSCRIBE to a client
    ];
    let cases = cases.into_iter().chain([&b"\x90\x03\x00\x01\x03"[..]]); // an invalid reason code
    for bytes in cases {
        let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, bytes)];
        let server = FakeServer::start(&[script], false);
        let finished = run("rsub", &server, "-t a");
        assert_eq!(finished.status, 2, "{finished:?}");
        assert!(
            finished
                .errors
                .contains("A network protocol error occurred"),
            "{finished:?}"
        );
    }
}

/// The message arrives together with the packet that ends the connection. It cannot be printed, because standard output
/// is full.
#[test]
#[cfg(target_os = "linux")]
fn a_message_that_cannot_be_printed_is_not_acknowledged() {
    use std::process::{Command, Stdio};
    let bytes = b"\x90\x03\x00\x01\x01\x32\x06\x00\x01a\x00\x07x\x30\x02\x00\x00";
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (8, bytes)]], false);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = Command::new(tests::programs().join("rsub"));
    command
        .args(server.options().split(' '))
        .args(["-t", "a", "-q", "1"]);
    let status = command.stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(
        server.received()[0].len(),
        CONNECT + 8,
        "CONNECT and SUBSCRIBE, no PUBACK"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn write_error_is_a_failure_and_a_closed_pipe_is_not() {
    use std::process::{Command, Stdio};
    let broker = Broker::start("");
    for (output, status) in [("/dev/full", 1), ("", 0)] {
        let mut command = Command::new(tests::programs().join("rsub"));
        command
            .args(broker.options().split(' '))
            .args(["-i", "o", "-t", "o", "-q", "1"]);
        let mut child = match output {
            "" => {
                let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
                drop(child.stdout.take()); // the reader closes the pipe
                child
            }
            path => {
                let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                command.stdout(file).stderr(Stdio::null()).spawn().unwrap()
            }
        };
        broker.wait_for_log("Sending SUBACK to o");
        // The subscriber has the name of the one before, so its SUBACK cannot be seen in the log. Messages are
        // published until it ends.
        while child.try_wait().unwrap().is_none() {
            broker
                .program("rpub")
                .args("-t o -m x -q 1")
                .run()
                .success();
        }
        assert_eq!(child.wait().unwrap().code(), Some(status), "{output:?}");
    }
}

#[test]
fn rpub_ends_if_the_first_connection_is_closed_before_connack() {
    let server = FakeServer::start(&[&[(CONNECT, b"")]], true);
    let publisher = server.program("rpub");
    let finished = publisher.args("-t a -l").input("hi\n").run();
    assert_eq!(finished.status, 7, "{finished:?}");
}
