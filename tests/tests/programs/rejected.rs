//! A broker rejects some messages. The programs still send all others.

use tests::{Broker, FakeServer, Kind, has_mosquitto};

/// A broker that has not announced its Maximum Packet Size rejects a large message or closes the connection. rpub still
/// sends the lines after it.
#[test]
fn lines_after_one_that_is_too_large_are_sent() {
    for (kind, settings) in [
        (Kind::Rbroker, "message_size_limit 1000"),
        (Kind::Rbroker, "max_packet_size 1000"),
        (Kind::Mosquitto, "message_size_limit 1000"),
        (Kind::Mosquitto, "max_packet_size 1000"),
    ] {
        let test = "lines_after_one_that_is_too_large_are_sent";
        if kind == Kind::Mosquitto && !has_mosquitto(test) {
            continue;
        }
        for (version, qos) in [("311", 1), ("311", 2), ("5", 1), ("5", 2)] {
            let what = format!("{kind:?} {settings} {version} QoS {qos}");
            let broker = Broker::start_kind(kind, settings);
            let subscriber = broker.program("rsub");
            let subscriber = subscriber.args("-i s -t a -q 2").start();
            broker.wait_for_log("Sending SUBACK to s");
            let publisher = broker.program("rpub");
            // mosquitto discards a message of QoS 2 without PUBREL when a session ends with its connection.
            let session = match (qos, version) {
                (1, _) => "",
                (_, "5") => "-c -i p -x 100",
                _ => "-c -i p",
            };
            let publisher = publisher.args(session);
            let publisher = publisher.args(&format!("-t a -l -V {version} -q {qos}"));
            let large = "x".repeat(5000);
            let finished = publisher.input(format!("1\n2\n{large}\n3\n4\n")).run();
            // The subscriber ends at the last message and not after a count: QoS 1 permits duplicates when the
            // publisher reconnects after the rejected message.
            let last = broker.program("rpub");
            last.args("-t a -q 2 -m end").run().success();
            subscriber.wait_for_output("end");
            subscriber.signal("TERM");
            let printed = subscriber.wait().text();
            let mut distinct: Vec<&str> = Vec::new();
            for line in printed.lines() {
                if qos == 2 || !distinct.contains(&line) {
                    distinct.push(line);
                }
            }
            assert_eq!(distinct, ["1", "2", "3", "4", "end"], "{what}");
            // In 3.1.1 a PUBACK or PUBREC cannot say that the message was rejected.
            if settings.starts_with("message_size_limit") && version == "311" {
                continue;
            }
            // A broker of 3.1.1 closes the connection without a reason, so rpub does not know that the size is the
            // reason. Otherwise the reason code is 0x95, or 0x97 for the `message_size_limit` of rbroker.
            if version == "311" {
                assert_eq!(finished.status, 128, "{what} {finished:?}");
                let reason = "A message of 5000 bytes was given up: the broker closed the connection 3 times in a row";
                assert!(finished.errors.contains(reason), "{what} {finished:?}");
            } else {
                assert!([149, 151].contains(&finished.status), "{what} {finished:?}");
            }
            let count = "4 of 5 messages acknowledged, 0 unknown, 1 rejected.";
            assert!(finished.errors.contains(count), "{what} {finished:?}");
        }
    }
}

/// Some servers use reason codes that the standard does not list for the packet: here 0x95, and for the fifth line a
/// value that the standard does not define.
#[test]
fn message_with_an_unexpected_reason_code_is_the_only_one_that_fails() {
    for qos in [1, 2] {
        let (first, second) = if qos == 1 {
            (0x40, None)
        } else {
            (0x50, Some(0x70))
        };
        let mut answers = Vec::new();
        for (identifier, code) in [(1, 0), (2, 0x95), (3, 0), (4, 0), (5, 0xC3)] {
            answers.push((9, vec![first, 3, 0, identifier, code]));
            if let (Some(second), 0) = (second, code) {
                answers.push((4, vec![second, 2, 0, identifier]));
            }
        }
        // The Receive Maximum is 1, so that the server can follow a script.
        let connack: (usize, Vec<u8>) = (18, vec![0x20, 6, 0, 0, 3, 0x21, 0, 1]);
        let script: Vec<(usize, &[u8])> = std::iter::once(&connack)
            .chain(&answers)
            .map(|(count, bytes)| (*count, &bytes[..]))
            .collect();
        let server = FakeServer::start(&[&script], false);
        let publisher = server.program("rpub");
        let publisher = publisher.args(&format!("-V 5 -t a -l -q {qos}"));
        let finished = publisher.input("1\n2\n3\n4\n5\n").run();
        assert_eq!(finished.status, 128, "{finished:?}");
        for text in [
            "Publish 2 failed: Packet too large.",
            "Publish 5 failed: Unspecified error.",
            "3 of 5 messages acknowledged, 0 unknown, 2 rejected.",
        ] {
            assert!(finished.errors.contains(text), "{finished:?}");
        }
        assert!(server.received()[0].ends_with(&[0xE0, 0]));
    }
}

/// The broker loses the session and announces smaller limits after the reconnect. Only the lines above the limits fail.
#[test]
fn lines_above_the_limits_after_a_reconnect_are_the_only_ones_that_fail() {
    let large = "x".repeat(20);
    let packet_size = [0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 20];
    let maximum_qos = [0x20, 5, 0, 0, 2, 0x24, 0];
    let two = b"\x40\x02\x00\x01\x40\x02\x00\x02";
    let some: tests::Script<'_> = &[(18, &packet_size), (18, two), (2, b"")];
    let none: tests::Script<'_> = &[(18, &maximum_qos), (2, b"")];
    for (second, status, what, count) in [
        (
            some,
            149,
            "A message of 20 bytes is too large for the broker",
            "2 of 3 messages acknowledged, 0 unknown, 1 rejected.",
        ),
        (
            none,
            155,
            "A message of 20 bytes was given up: the server does not support the QoS",
            "0 of 3 messages acknowledged, 0 unknown, 3 rejected.",
        ),
    ] {
        // The first connection is lost while all lines are in flight.
        let first: tests::Script<'_> = &[(18, &[0x20, 3, 0, 0, 0]), (9 + 28 + 9, b"")];
        let server = FakeServer::start(&[first, second], true);
        let publisher = server.program("rpub").args("-V 5 -t a -l -q 1");
        let finished = publisher.input(format!("1\n{large}\n3\n")).run();
        assert_eq!(finished.status, status, "{finished:?}");
        assert!(finished.errors.contains(what), "{finished:?}");
        assert!(finished.errors.contains(count), "{finished:?}");
        server.received();
    }
}

/// The broker names the size as the reason when it closes the connection, so rpub gives up the line immediately.
#[test]
fn a_line_is_too_large_if_the_broker_closes_the_connection_with_this_reason() {
    let connack: &[u8] = b"\x20\x03\x00\x00\x00";
    let first: tests::Script<'_> = &[(15, connack), (9, b"\xe0\x01\x95")];
    let second: tests::Script<'_> = &[(15, connack), (2, b"")];
    let server = FakeServer::start(&[first, second], true);
    let publisher = server.program("rpub").args("-V 5 -t a -l -q 1");
    let finished = publisher.input("x\n").run();
    assert_eq!(finished.status, 149, "{finished:?}");
    let text = "A message of 1 byte is too large for the broker: the broker closed the connection.";
    assert!(finished.errors.contains(text), "{finished:?}");
}
