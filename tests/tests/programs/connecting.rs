//! The effect of options on the broker: CONNECT byte for byte, and the number of messages in flight.

use tests::{Broker, FakeServer, Program};

const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

/// Returns the CONNECT packet that a program sends, without its fixed header.
fn connect(program: &str, arguments: &str, length: usize) -> Vec<u8> {
    let server = FakeServer::start(&[&[(length, &[0x20, 2, 0, 5])]], false);
    let finished = server.program(program).args(arguments).run();
    assert_ne!(finished.status, 0);
    server.received().remove(0)[2..].to_vec()
}

#[test]
fn each_option_of_the_connection_is_in_connect() {
    let table: &[(&str, &[u8])] = &[
        ("-i me", b"\x00\x04MQTT\x04\x02\x00\x3C\x00\x02me"),
        ("-i me -k 300", b"\x00\x04MQTT\x04\x02\x01\x2C\x00\x02me"),
        ("-i me -k 2m", b"\x00\x04MQTT\x04\x02\x00\x78\x00\x02me"),
        ("-i me -c", b"\x00\x04MQTT\x04\x00\x00\x3C\x00\x02me"),
        (
            "-i me -u u -P p",
            b"\x00\x04MQTT\x04\xC2\x00\x3C\x00\x02me\x00\x01u\x00\x01p",
        ),
        (
            "-i me --will-topic w --will-payload x --will-qos 2 --will-retain",
            b"\x00\x04MQTT\x04\x36\x00\x3C\x00\x02me\x00\x01w\x00\x01x",
        ),
        ("-i me -V 31", b"\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x02me"),
        (
            "-i me -V mqttv5",
            b"\x00\x04MQTT\x05\x02\x00\x3C\x03\x21\x00\x14\x00\x02me",
        ),
        (
            "-i me -c -V 5",
            b"\x00\x04MQTT\x05\x00\x00\x3C\x08\x11\xFF\xFF\xFF\xFF\x21\x00\x14\x00\x02me",
        ),
    ];
    for (arguments, expected) in table {
        for (program, rest) in [("rpub", "-t a -m x"), ("rsub", "-t a")] {
            let sent = connect(program, &format!("{arguments} {rest}"), expected.len() + 2);
            assert_eq!(sent, *expected, "{program} {arguments}");
        }
    }
    // With -C the Receive Maximum is the number of messages to print.
    let sent = connect("rsub", "-i me -V 5 -t a -C 3", 20);
    assert_eq!(sent[11..14], *b"\x21\x00\x03");
    // The client identifier is the prefix followed by the process number.
    let sent = connect("rpub", "-I pre -t a -m x", 18);
    assert_eq!(sent[12..15], *b"pre");
    assert!(sent[15..].iter().all(u8::is_ascii_digit));
}

/// Publishes 30 lines to a server that acknowledges nothing. Returns the number of messages that the server gets.
fn under_way(arguments: &str, connect_length: usize, connack: &[u8]) -> usize {
    let message = 9 + usize::from(arguments.contains("-V 5"));
    let server = FakeServer::start(&[&[(connect_length, connack)]], false);
    let (publisher, mut input) = server
        .program("rpub")
        .args(&format!("-t a -l -k 5 -d {arguments}"))
        .start_with_input();
    use std::io::Write;
    input.write_all("xx\n".repeat(30).as_bytes()).unwrap();
    publisher.wait_for_error("PINGREQ");
    drop(publisher);
    let received = server.received().remove(0);
    // A PINGREQ after the messages is shorter than a message, so the division drops it.
    (received.len() - connect_length) / message
}

#[test]
fn at_most_20_messages_are_in_flight_by_default() {
    let with_maximum = b"\x20\x06\x00\x00\x03\x21\x00\x07";
    let without = b"\x20\x03\x00\x00\x00";
    let table: [(&str, usize, &[u8], usize); 4] = [
        ("-q 1", 14, ACCEPT, 20),
        ("-q 2 -M 5", 14, ACCEPT, 5),
        ("-q 1 -V 5", 18, with_maximum, 7), // limited by Receive Maximum
        ("-q 1 -V 5", 18, without, 30),
    ];
    // Each case takes five seconds until a PINGREQ, so all cases run at the same time.
    std::thread::scope(|scope| {
        for (arguments, connect_length, connack, expected) in table {
            scope.spawn(move || {
                assert_eq!(
                    under_way(arguments, connect_length, connack),
                    expected,
                    "{arguments}"
                );
            });
        }
    });
}

/// An accepted connection alone is no progress. A client must wait longer after each connection that the server closes,
/// and give up in the end.
#[test]
fn reconnects_less_often_to_a_server_that_closes_after_each_connack() {
    let script: tests::Script<'_> = &[(14, ACCEPT), (8, b"")];
    let server = FakeServer::start(&[script, script], true);
    let publisher = server.program("rpub").args("-t a -l -q 1").input("1\n");
    let publisher = publisher.start();
    server.received(); // both connections have ended
    // The server has ended. When "Connection refused" is printed, the third wait has begun.
    let said = publisher.wait_for_error("Connection refused");
    let waits = said.split("Trying again in ").skip(1);
    let waits: Vec<f64> = waits
        .filter_map(|rest| rest.split(' ').next()?.parse().ok())
        .collect();
    assert!(
        waits.len() >= 2 && waits[0] < 1.3 && waits[1] >= 1.5,
        "{waits:?}"
    );
}

/// Returns a link-local address of this machine with its interface, such as `fe80::1%eth0`.
#[cfg(target_os = "linux")]
fn scoped_address() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let line = table.lines().find(|line| line.starts_with("fe80"))?;
    let digits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
    let address = std::net::Ipv6Addr::from(digits);
    Some(format!("{address}%{}", line.split_whitespace().last()?))
}

#[test]
#[cfg(target_os = "linux")]
fn a_link_local_address_works_for_both_ends_and_in_a_url() {
    let Some(address) = scoped_address() else {
        return tests::skip("link-local addresses", "this machine has none");
    };
    let port = tests::free_port();
    let broker = Broker::start(&format!("listener {port} ::"));
    let in_url = address.replace('%', "%25");
    for (index, target) in [
        format!("-h {address} -p {port} -t a"),
        format!("-h {address} -A {address} -p {port} -t a"),
        format!("-L mqtt://[{in_url}]:{port}/a"),
        format!("-L mqtt://[{address}]:{port}/a"),
    ]
    .iter()
    .enumerate()
    {
        let publisher = Program::new("rpub").args(target);
        let identifier = format!("-m x -q 1 -i me{index}");
        publisher.args(&identifier).run().success();
        broker.wait_for_log(&format!("Sending PUBACK to me{index}"));
    }
}

/// The mosquitto tools format times with the C library, so this test compares with the C library.
#[test]
#[cfg(target_os = "linux")]
fn time_zone_without_a_rule_is_that_of_glibc() {
    let broker = Broker::start("");
    let retained = format!("{} -t a -m x -r -q 1", broker.options());
    Program::new("rpub").args(&retained).run().success();
    for zone in [
        "CET-1CEST",
        ":CET-1CEST",
        "CET-1",
        "EST5EDT",
        "Europe/Berlin",
        "UTC",
    ] {
        let date = Program::new("date").env("TZ", zone).args("+%z_%Z").run();
        let subscriber = Program::new("rsub").env("TZ", zone).args(&broker.options());
        let printed = subscriber.args("-t a -C 1 -F @z_@Z").run().success();
        assert_eq!(printed.text(), date.success().text(), "{zone}");
    }
}
