//! Malformed packets end their own connection, with the reason, and affect no other client.

use tests::{Broker, Program, RawClient};

/// Connects a client that must survive every case.
fn bystander(broker: &Broker) -> RawClient {
    RawClient::connect(broker.address(), 4, "bystander")
}

#[test]
fn malformed_packets_end_only_their_own_connection_with_a_reason() {
    let broker = Broker::start("");
    let mut bystander = bystander(&broker);
    let table: [(&[u8], u8); 9] = [
        (&[0xC1, 0], 0x81),                             // reserved flags
        (&[0xC0, 1, 0], 0x81),                          // PINGREQ with a body
        (&[0x36, 6, 0, 1, b'a', 0, 1, 0], 0x81),        // QoS 3
        (&[0x30, 6, 0, 3, 0xED, 0xA0, 0x80, 0], 0x81),  // not UTF-8
        (&[0x30, 4, 0, 1, b'#', 0], 0x90),              // wildcard
        (&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 11], 0x94), // topic alias above the maximum
        (&[0x32, 6, 0, 1, b'a', 0, 0, 0], 0x82),        // packet identifier zero
        (&[0x20, 3, 0, 0, 0], 0x82),                    // CONNACK from a client
        (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 3], 0x82),     // subscription with QoS 3
    ];
    for (bytes, reason) in table {
        let mut client = RawClient::connect(broker.address(), 5, "bad");
        client.send(bytes);
        assert_eq!(client.read_to_end(), [0xE0, 1, reason], "{bytes:x?}");
        if reason == 0x94 {
            continue; // in 3.1.1 these bytes are a valid payload
        }
        // In 3.1.1 the connection is closed without a reason.
        let mut client = RawClient::connect(broker.address(), 4, "bad");
        client.send(bytes);
        assert_eq!(client.read_to_end(), [], "{bytes:x?}");
        bystander.ping();
    }
}

#[test]
fn closes_the_connection_if_the_first_packet_is_not_connect() {
    let broker = Broker::start("");
    let mut bystander = bystander(&broker);
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00",
        b"\xC0\x00",
        b"\x30\x03",
    ] {
        let mut client = RawClient::open(broker.address());
        client.send(bytes);
        assert_eq!(client.read_to_end(), []);
    }
    bystander.ping();
}

#[test]
fn packets_that_are_too_large_are_rejected_at_their_first_bytes() {
    let broker = Broker::start("max_packet_size 1000");
    let mut bystander = bystander(&broker);
    // A client of 5.0 knows the limit from CONNACK, and gets the reason.
    let mut client = RawClient::connect(broker.address(), 5, "large");
    client.send(&[0x30, 0xE5, 0x07]); // 1000 bytes are within the limit
    let mut body = b"\x00\x01a\x00".to_vec();
    body.resize(997, b'x');
    client.send(&body);
    client.ping();
    client.send(&[0x30, 0xE6, 0x07]); // 1001 bytes are rejected at the header
    assert_eq!(client.read_to_end(), [0xE0, 1, 0x95]);
    bystander.ping();
}

/// Announced bytes use no memory. Only bytes that arrive do.
#[test]
#[cfg(target_os = "linux")]
fn memory_is_not_allocated_for_announced_lengths() {
    let broker = Broker::start("max_packet_size 268435460");
    let mut bystander = bystander(&broker);
    let resident = || -> u64 {
        let path = format!("/proc/{}/status", broker.running.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = resident();
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let mut client = RawClient::connect(broker.address(), 4, &format!("c{number}"));
            client.send(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b'a']); // announces 256 MiB
            client
        })
        .collect();
    // Before CONNECT, a packet may not even announce this length.
    let mut first = RawClient::open(broker.address());
    first.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert_eq!(first.read_to_end(), []);
    bystander.ping();
    let grown = resident() - before;
    assert!(
        grown < 100 * 256,
        "{grown} KiB for {} clients",
        clients.len()
    );
}

#[test]
fn connection_that_is_taken_over_gets_disconnect_and_leaves_the_new_one_unchanged() {
    let broker = Broker::start("");
    let mut old = RawClient::connect(broker.address(), 5, "same");
    let mut new = RawClient::connect(broker.address(), 5, "same");
    assert_eq!(old.read_to_end(), [0xE0, 1, 0x8E]);
    new.send(&[0x82, 7, 0, 1, 0, 0, 1, b'a', 0]);
    assert_eq!(new.read(6), [0x90, 4, 0, 1, 0, 0]);
    broker.program("rpub").args("-t a -m x").run().success();
    assert_eq!(new.read(7), [0x30, 5, 0, 1, b'a', 0, b'x']);
}

#[test]
fn rejects_anonymous_clients_unless_they_are_allowed() {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"listener 0 127.0.0.1\n").unwrap();
    let broker = Program::new("rbroker").arg("-c").arg(file.path()).start();
    let log = broker.wait_for_error("running.");
    assert!(log.contains("Nobody can connect"), "{log}");
    let port = log
        .split_once("127.0.0.1:")
        .unwrap()
        .1
        .split_once('.')
        .unwrap()
        .0;
    for (version, status) in [("311", 5), ("5", 135)] {
        let arguments = format!("-h 127.0.0.1 -p {port} -t a -m x -V {version}");
        let finished = Program::new("rpub").args(&arguments).run();
        assert_eq!(finished.status, status, "{finished:?}");
    }
}

/// A client that does not read gets only the messages that fit into its queue, and does not delay others.
#[test]
fn a_client_that_does_not_read_loses_only_its_own_messages() {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_queued_messages 10");
    let mut stalled = RawClient::connect(broker.address(), 4, "stalled");
    stalled.send(&[0x82, 6, 0, 1, 0, 1, b'a', 0]);
    assert_eq!(stalled.read(5), [0x90, 3, 0, 1, 0]);
    let reader = broker.program("rsub").args("-t a -N -q 1 -C 30 -d").start();
    reader.wait_for_error("Subscribed");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("megabyte");
    std::fs::write(&file, vec![b'x'; 1_000_000]).unwrap();
    for _ in 0..30 {
        let command = broker.program("rpub").args("-t a -q 1 -f");
        command.arg(&file).run().success();
    }
    assert_eq!(reader.wait().success().output.len(), 30_000_000);
    broker.wait_for_log("Outgoing messages are being dropped for client stalled.");
}
