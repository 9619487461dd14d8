//! The ends of the programs: signals, input that does not end, and brokers that start late or never. Each end has its
//! exit status, and no program hangs.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::TcpListener;

use tests::{Broker, FakeServer, Program, free_port};

const CONNECT: usize = 14; // the length of CONNECT in 3.1.1 without identifier
const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

#[test]
fn rpub_completes_its_messages_after_a_signal_and_reports_the_signal() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let broker = Broker::start("");
        let publisher = Program::new("rpub")
            .args(&broker.options())
            .args("-i p -t x -l -q 1 -d");
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
            let watcher = Program::new("rsub").args(&broker.options());
            let watcher = watcher.args("-i watcher -t will -C 1").start();
            broker.wait_for_log("Sending SUBACK to watcher");
            let command = Program::new(program).args(&broker.options());
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
fn a_second_signal_ends_rpub_at_once() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT)]], false);
    let publisher = Program::new("rpub").args(&server.options());
    let publisher = publisher.args("-t x -m y -q 1 -d").start();
    publisher.wait_for_error("sending PUBLISH");
    publisher.signal("TERM");
    publisher.signal("INT"); // a second signal ends rpub without the acknowledgement
    let status = publisher.wait().status;
    assert!(status == 130 || status == 143, "{status}");
}

#[test]
fn unacknowledged_messages_are_counted_when_rpub_gives_up() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (8, b"")]], true);
    let publisher = Program::new("rpub").args(&server.options());
    let finished = publisher.args("-t x -m y -q 1").run();
    assert_eq!(finished.status, 7, "{finished:?}");
    let count = "0 of 1 message acknowledged, 1 unknown, 0 rejected.";
    assert!(finished.errors.contains(count), "{finished:?}");
}

#[test]
fn signal_before_connecting_determines_the_exit_status() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        for (program, arguments) in [("rsub", "-t x -d"), ("rrr", "-t x -e y -m z -d")] {
            let server = FakeServer::start(&[&[]], false);
            let command = Program::new(program).args(&server.options());
            let running = command.args(arguments).start();
            running.wait_for_error("sending CONNECT");
            running.signal(name);
            assert_eq!(running.wait().status, status, "{program}");
        }
    }
}

#[test]
fn time_limit_applies_before_connack_and_while_the_response_is_missing() {
    let broker = Broker::start("");
    let asked = Program::new("rrr").args(&broker.options());
    let finished = asked.args("-t x -e y -m z -W 500ms").run();
    assert_eq!(
        (finished.status, finished.errors.as_str()),
        (27, "Timed out\n")
    );
    let server = FakeServer::start(&[&[]], false);
    let asked = Program::new("rrr").args(&server.options());
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
        let command = Program::new(program).args(&server.options());
        let finished = command.args(arguments).run();
        assert_eq!(finished.status, 7, "{program} {finished:?}");
        assert!(finished.errors.contains("no answer from"), "{finished:?}");
    }
}

#[test]
fn programs_wait_for_a_broker_that_starts_late() {
    let port = free_port();
    let target = format!("-h 127.0.0.1 -p {port}");
    let publisher = Program::new("rpub").args(&target);
    let publisher = publisher.args("-t x -m y -q 1 --wait 60").start();
    publisher.wait_for_error("Trying again");
    let port = port.to_string();
    let broker = Program::new("rbroker").arg("-p").arg(&port).start();
    broker.wait_for_error("running.");
    publisher.wait().success();
    // `--wait` ends in any case.
    let nobody = "-h 127.0.0.1 -p 1 -t x -m y --wait 200ms";
    let finished = Program::new("rpub").args(nobody).run();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(
        finished.errors.contains("Error: Connection refused"),
        "{finished:?}"
    );
}

#[test]
fn rsub_tries_again_until_the_time_of_reconnect_max() {
    let script: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let server = FakeServer::start(&[script], true);
    let subscriber = Program::new("rsub").args(&server.options());
    let subscriber = subscriber.args("-t a --reconnect-max 1").start();
    server.received(); // the server has ended
    let finished = subscriber.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    assert!(finished.errors.contains("Trying again"), "{finished:?}");
}

#[test]
fn client_does_not_reconnect_after_its_session_is_taken_over() {
    let broker = Broker::start("");
    let start = || {
        let command = Program::new("rsub").args(&broker.options());
        command.args("-i same -V 5 -t x -d").start()
    };
    let first = start();
    first.wait_for_error("Subscribed");
    let second = start();
    second.wait_for_error("Subscribed");
    let finished = first.wait();
    assert_eq!(finished.status, 4, "{finished:?}");
    assert!(
        finished.errors.contains("Session taken over"),
        "{finished:?}"
    );
}

#[test]
fn a_refusal_at_the_second_connection_ends_rsub() {
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let second: tests::Script<'_> = &[(CONNECT, &[0x20, 2, 0, 5])];
    let server = FakeServer::start(&[first, second], true);
    let finished = Program::new("rsub")
        .args(&server.options())
        .args("-t a")
        .run();
    assert_eq!(finished.status, 5, "{finished:?}");
}

#[test]
fn reconnects_if_the_server_is_busy_at_the_second_connection() {
    let first: tests::Script<'_> = &[(CONNECT, ACCEPT), (8, b"\x90\x03\x00\x01\x00")];
    let second: tests::Script<'_> = &[(CONNECT, &[0x20, 2, 0, 3])];
    let third: tests::Script<'_> = &[
        (CONNECT, ACCEPT),
        (8, b"\x90\x03\x00\x01\x00\x30\x04\x00\x01a1"),
    ];
    let server = FakeServer::start(&[first, second, third], true);
    let finished = Program::new("rsub")
        .args(&server.options())
        .args("-t a -C 1")
        .run();
    assert_eq!(finished.success().text(), "1\n");
}

#[test]
fn lines_of_endless_input_are_published_as_they_arrive() {
    let broker = Broker::start("");
    let subscriber = Program::new("rsub").args(&broker.options());
    let subscriber = subscriber.args("-i s -t x -v").start();
    broker.wait_for_log("Sending SUBACK to s");
    let publisher = Program::new("rpub").args(&broker.options());
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
        let command = Program::new(program).args(&server.options());
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
    let command = Program::new("rrr").args(&server.options());
    let finished = command.args("-t a -e b -m x").run();
    assert_eq!(finished.status, 135, "{finished:?}");
}

#[test]
fn lines_are_given_up_and_counted_when_the_broker_stays_down() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (8, b"")]], true);
    let publisher = Program::new("rpub").args(&server.options());
    let arguments = "-t x -l -q 1 --reconnect-max 1";
    let (publisher, mut input) = publisher.args(arguments).start_with_input();
    input.write_all(b"y\nz\n").unwrap();
    server.received(); // the server has ended
    let finished = publisher.wait();
    assert_eq!(finished.status, 1, "{finished:?}");
    let count = "0 of 2 messages acknowledged, ";
    assert!(finished.errors.contains(count), "{finished:?}");
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
        let command = Program::new(program).args(&server.options());
        let finished = command.args(arguments).run();
        assert_eq!(finished.status, 7, "{program} {finished:?}");
    }
}

#[test]
fn message_of_qos_0_is_complete_when_it_is_written() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT), (6, b"")]], true);
    let publisher = Program::new("rpub").args(&server.options());
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
        let publisher = Program::new("rpub").args(&server.options());
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
    let publisher = Program::new("rpub").args(&broker.options());
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
    let publisher = Program::new("rpub").args(&server.options());
    assert_eq!(publisher.args("-t a -m x").run().status, 2);
}

#[test]
fn other_signals_end_rsub_as_the_system_does() {
    let broker = Broker::start("");
    let subscriber = Program::new("rsub").args(&broker.options());
    let subscriber = subscriber.args("-t x -d").start();
    subscriber.wait_for_error("Subscribed");
    subscriber.signal("ALRM");
    assert_eq!(subscriber.wait().status, 142);
}

/// CONNACK and SUBACK of 5.0, for one subscription to a filter of one letter.
const ACCEPT_5: &[u8] = b"\x20\x03\x00\x00\x00";
const SUBACK_5: &[u8] = b"\x90\x04\x00\x01\x00\x00";

#[test]
fn a_request_waits_for_its_subscription() {
    let server = FakeServer::start(&[&[(18, ACCEPT_5), (9, b"")]], false);
    let asking = Program::new("rrr").args(&server.options());
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
    let asking = Program::new("rrr").args(&server.options());
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
    let subscriber = Program::new("rsub").args(&server.options());
    let finished = subscriber.args("-V 5 -t a --remove-retained -C 1").run();
    assert_eq!(
        (finished.status, finished.text().as_str()),
        (135, "1\n"),
        "{finished:?}"
    );
}

#[test]
fn signal_while_an_acknowledgement_is_missing_determines_the_exit_status() {
    let server = FakeServer::start(&[&[(CONNECT, ACCEPT)]], false);
    let publisher = Program::new("rpub").args(&server.options());
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
    let subscriber = Program::new("rsub")
        .args(&server.options())
        .args("-t a")
        .start();
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

/// Returns the CPU time of a process in hundredths of a second.
#[cfg(target_os = "linux")]
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn waiting_for_a_broker_uses_no_cpu_time() {
    for (program, arguments) in [
        ("rsub", "-t x -i c --message-rate"),
        (
            "rpub",
            "-t x -i c -m y -q 1 --repeat 100 --repeat-delay 0.1 --reconnect-max 60",
        ),
    ] {
        let mut broker = Broker::start("");
        let command = Program::new(program).args(&broker.options());
        let running = command.args(arguments).start();
        let sign = if program == "rsub" {
            "Sending SUBACK to c"
        } else {
            "Sending PUBACK to c"
        };
        broker.wait_for_log(sign);
        broker.running.kill();
        running.wait_for_errors("Connection refused", 2);
        let worked = ticks(running.id());
        assert!(worked < 30, "{program}: {worked}");
    }
}

#[test]
fn unlimited_times_are_treated_as_a_century() {
    for arguments in [
        "--connect-timeout 1e19",
        "--wait 0 --reconnect-max 1e300",
        "-A 127.0.0.1 --connect-timeout 1e19",
    ] {
        let publisher = Program::new("rpub").args("-h 127.0.0.1 -p 1 -t a -m x");
        let finished = publisher.args(arguments).run();
        assert_eq!(finished.status, 1, "{finished:?}");
    }
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
