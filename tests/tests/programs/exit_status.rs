//! The exit status of rpub, rsub and rrr after rejections, with input that does not end, and with brokers that never
//! answer. No program may hang.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpListener;

use tests::{Broker, FakeServer, Program};

pub(super) const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
pub(super) const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn unacknowledged_messages_are_counted_when_rpub_gives_up() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (8, b"")]], true);
    let publisher = server.program("rpub");
    let finished = publisher.args("-t x -m y -q 1").run();
    assert_eq!(finished.status, 7, "{finished:?}");
    let count = "0 of 1 message acknowledged, 1 unknown, 0 rejected.";
    assert!(finished.errors.contains(count), "{finished:?}");
}

#[test]
fn time_limit_applies_before_connack_and_while_the_response_is_missing() {
    let broker = Broker::start("");
    let asked = broker.program("rrr");
    let finished = asked.args("-t x -e y -m z -W 500ms").run();
    assert_eq!(
        (finished.status, finished.errors.as_str()),
        (27, "Timed out\n")
    );
    let server = FakeServer::start(&[&[]], false);
    let asked = server.program("rrr");
    let finished = asked.args("-t x -e y -m z -W 500ms").run();
    assert_eq!(
        (finished.status, finished.errors.as_str()),
        (27, "Timed out\n")
    );
}

#[test]
fn program_gives_up_on_a_server_that_never_sends_connack() {
    for (program, arguments) in [
        ("rpub", "-t a -m x --connect-timeout 300ms"),
        ("rpub", "-t a -l --connect-timeout 0.3"),
        ("rrr", "-t a -e b -m x --connect-timeout 300ms"),
    ] {
        let server = FakeServer::start(&[&[]], false);
        let command = server.program(program);
        let finished = command.args(arguments).run();
        assert_eq!(finished.status, 7, "{program} {finished:?}");
        assert!(finished.errors.contains("no answer from"), "{finished:?}");
    }
}

#[test]
fn lines_of_endless_input_are_published_as_they_arrive() {
    let broker = Broker::start("");
    let subscriber = broker.program("rsub");
    let subscriber = subscriber.args("-i s -t x -v").start();
    broker.wait_for_log("Sending SUBACK to s");
    let publisher = broker.program("rpub");
    let (publisher, mut input) = publisher.args("-t x -l").start_with_input();
    for line in ["1", "2"] {
        writeln!(input, "{line}").unwrap();
        subscriber.wait_for_output(&format!("x {line}\n"));
    }
    input.write_all(b"in the middle of a li").unwrap();
    drop(input);
    publisher.wait().success();
    subscriber.wait_for_output("x in the middle of a li\n");
}

#[test]
fn rpub_and_rrr_report_why_the_broker_ended_the_connection() {
    for (program, arguments, length) in [
        ("rpub", "-t a -m x -q 1 -V 5", 9),
        ("rrr", "-t a -e b -m x", 9),
    ] {
        let script: tests::Script<'_> =
            &[(18, b"\x20\x03\x00\x00\x00"), (length, b"\xE0\x02\x8B\x00")];
        let server = FakeServer::start(&[script], false);
        let command = server.program(program);
        let finished = command.args(arguments).run();
        assert_eq!(finished.status, 4, "{program} {finished:?}");
        assert!(
            finished.errors.contains("Server shutting down"),
            "{finished:?}"
        );
    }
}

#[test]
fn rrr_fails_when_its_subscription_is_denied() {
    let script: tests::Script<'_> = &[
        (18, b"\x20\x03\x00\x00\x00"),
        (9, b"\x90\x04\x00\x01\x00\x87"),
    ];
    let server = FakeServer::start(&[script], false);
    let command = server.program("rrr");
    let finished = command.args("-t a -e b -m x").run();
    assert_eq!(finished.status, 135, "{finished:?}");
}

#[test]
fn repetitions_and_requests_end_when_the_connection_is_lost() {
    let publishing: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"")];
    let asking: tests::Script<'_> = &[
        (18, b"\x20\x03\x00\x00\x00"),
        (9, b"\x90\x04\x00\x01\x00\x00"),
        (11, b""),
    ];
    for (program, arguments, script) in [
        (
            "rpub",
            "-t a -m x -q 1 --repeat 10 --repeat-delay 0.3",
            publishing,
        ),
        ("rrr", "-t a -e b -m x", asking),
    ] {
        let server = FakeServer::start(&[script], true);
        let command = server.program(program);
        let finished = command.args(arguments).run();
        assert_eq!(finished.status, 7, "{program} {finished:?}");
    }
}

#[test]
fn message_of_qos_0_is_complete_when_it_is_written() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (6, b"")]], true);
    let publisher = server.program("rpub");
    publisher.args("-t a -m x").run().success();
}

#[test]
fn reports_messages_that_connack_does_not_permit() {
    for (connack, arguments, text) in [
        // CONNACK with Maximum Packet Size 10, Maximum QoS 0 or Retain Available 0.
        (
            &b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x0A"[..],
            "-m 0123456789",
            "Message payload is too large.",
        ),
        (b"\x20\x05\x00\x00\x02\x24\x00", "-m x -q 1", "QoS"),
        (b"\x20\x05\x00\x00\x02\x25\x00", "-m x -r", "etain"),
    ] {
        let server = FakeServer::start(&[&[(18, connack)]], false);
        let publisher = server.program("rpub");
        let finished = publisher.args("-V 5 -t a").args(arguments).run();
        assert_eq!(finished.status, 7, "{arguments} {finished:?}");
        assert!(finished.errors.contains(text), "{arguments} {finished:?}");
        let received = server.received();
        assert!(
            received[0].ends_with(&[0xE0, 0]),
            "it says good-bye: {received:?}"
        );
        assert!(
            !received[0].contains(&b'9') && received[0].len() <= 18 + 4,
            "{received:?}"
        );
    }
}

#[test]
fn packet_above_the_limit_of_the_broker_ends_the_connection() {
    let broker = Broker::start("");
    let publisher = broker.program("rpub");
    let finished = publisher
        .args("-t a -s -q 1")
        .input(vec![b'x'; 3_000_000])
        .run();
    assert_eq!(finished.status, 7, "{finished:?}");
}

#[test]
fn rejects_a_payload_above_the_protocol_limit_before_connecting() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(268_435_456).unwrap();
    let publisher = Program::new("rpub").args("-h 127.0.0.1 -p 1 -t a -f");
    let finished = publisher.arg(file.path()).run();
    assert_eq!(finished.status, 1, "{finished:?}");
    let expected = "Error: File must be less than 268435455 bytes.\nError loading input file";
    assert!(finished.errors.starts_with(expected), "{finished:?}");
}

#[test]
fn disconnects_from_a_server_that_reports_a_session_after_clean_start() {
    let server = FakeServer::start(&[&[(CONNECT, &[0x20, 2, 1, 0])]], false);
    let publisher = server.program("rpub");
    assert_eq!(publisher.args("-t a -m x").run().status, 2);
}

/// CONNACK and SUBACK of 5.0, for one subscription to a filter of one letter.
const ACCEPT_5: &[u8] = b"\x20\x03\x00\x00\x00";
const SUBACK_5: &[u8] = b"\x90\x04\x00\x01\x00\x00";

#[test]
fn a_request_waits_for_its_subscription() {
    let server = FakeServer::start(&[&[(18, ACCEPT_5), (9, b"")]], false);
    let asking = server.program("rrr");
    assert_eq!(asking.args("-t a -e b -m x -W 300ms").run().status, 27);
    let received = server.received();
    assert_eq!(
        received[0].len(),
        18 + 9 + 3,
        "and DISCONNECT: {received:?}"
    );
}

#[test]
fn rrr_sends_its_request_again_after_a_lost_connection() {
    let lost: tests::Script<'_> = &[(18, ACCEPT_5), (9, SUBACK_5), (11, b"")];
    let answer = b"\x30\x07\x00\x01b\x00yes";
    let answered: tests::Script<'_> = &[(18, ACCEPT_5), (9, SUBACK_5), (11, answer)];
    let server = FakeServer::start(&[lost, answered], true);
    let asking = server.program("rrr");
    let finished = asking.args("-t a -e b -m x --reconnect-max 30").run();
    assert_eq!(finished.success().text(), "yes\n");
}

#[test]
fn rejected_removal_determines_the_exit_status() {
    let retained = b"\x31\x05\x00\x01a\x001";
    let script: tests::Script<'_> = &[
        (18, ACCEPT_5),
        (9, &[SUBACK_5, retained].concat()),
        (8, b"\x40\x03\x00\x02\x87"),
    ];
    let server = FakeServer::start(&[script], false);
    let subscriber = server.program("rsub");
    let finished = subscriber.args("-V 5 -t a --remove-retained -C 1").run();
    assert_eq!(
        (finished.status, finished.text().as_str()),
        (135, "1\n"),
        "{finished:?}"
    );
}

#[test]
fn removal_that_the_broker_does_not_acknowledge_is_no_success() {
    let retained = b"\x31\x05\x00\x01a\x001";
    let script: tests::Script<'_> = &[
        (18, ACCEPT_5),
        (9, &[SUBACK_5, retained].concat()),
        (8, b""), // and the connection ends
    ];
    let server = FakeServer::start(&[script], false);
    let subscriber = server.program("rsub");
    let finished = subscriber
        .args("-V 5 -t a --remove-retained -C 1 -W 0.5")
        .run();
    assert_eq!(finished.status, 27, "{finished:?}");
}

/// A socket that is closed with unread bytes resets the connection. If the server notices the reset before it has read
/// the last acknowledgements and DISCONNECT, they are lost.
#[test]
fn closes_without_reset_while_messages_keep_coming() {
    let mut answer = vec![0x90, 3, 0, 1, 1];
    for identifier in 1..=20_000u16 {
        answer.extend([0x32, 105, 0, 1, b'a']);
        answer.extend(identifier.to_be_bytes());
        answer.extend([b'x'; 100]);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(tests::PATIENCE)).unwrap();
        stream.read_exact(&mut [0; CONNECT]).unwrap();
        stream.write_all(ACCEPT).unwrap();
        stream.read_exact(&mut [0; 8]).unwrap(); // SUBSCRIBE
        let written = stream.write_all(&answer);
        let mut received = Vec::new();
        let read = stream.read_to_end(&mut received);
        (written.and(read).map_err(|error| error.kind()), received)
    });
    let subscriber = Program::new("rsub").args(&format!("-h 127.0.0.1 -p {port}"));
    subscriber.args("-t a -q 1 -C 3").run().success();
    let (end, received) = server.join().unwrap();
    let expected = b"\x40\x02\x00\x01\x40\x02\x00\x02\x40\x02\x00\x03\xE0\x00";
    assert_eq!((end, &received[..]), (Ok(expected.len()), &expected[..]));
}
