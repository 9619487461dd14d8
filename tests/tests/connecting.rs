//! What the options say to the broker: CONNECT, byte for byte, and how much is under way.

use tests::{FakeServer, Program};

const ACCEPT: &[u8] = &[0x20, 2, 0, 0];

/// The CONNECT packet that a program sends, but for its fixed header.
fn connect(program: &str, arguments: &str, length: usize) -> Vec<u8> {
    let server = FakeServer::start(&[&[(length, &[0x20, 2, 0, 5])]], false);
    let finished = Program::new(program)
        .args(&server.options())
        .args(arguments)
        .run();
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
    // With -C the broker is asked for no more than will be printed.
    let sent = connect("rsub", "-i me -V 5 -t a -C 3", 20);
    assert_eq!(sent[11..14], *b"\x21\x00\x03");
    // A prefix, and the process number behind it.
    let sent = connect("rpub", "-I pre -t a -m x", 18);
    assert_eq!(sent[12..15], *b"pre");
    assert!(sent[15..].iter().all(u8::is_ascii_digit));
}

/// Publishes 30 lines to a server that acknowledges nothing; how many of them it gets.
fn under_way(arguments: &str, connect_length: usize, connack: &[u8]) -> usize {
    let message = 9 + usize::from(arguments.contains("-V 5"));
    let server = FakeServer::start(&[&[(connect_length, connack)]], false);
    let (publisher, mut input) = Program::new("rpub")
        .args(&server.options())
        .args(&format!("-t a -l -k 5 -d {arguments}"))
        .start_with_input();
    use std::io::Write;
    input.write_all("xx\n".repeat(30).as_bytes()).unwrap();
    publisher.wait_for_error("PINGREQ");
    drop(publisher);
    let received = server.received().remove(0);
    // The ping behind them, if it has left, is shorter than a message.
    (received.len() - connect_length) / message
}

#[test]
fn at_most_20_messages_are_under_way_unless_something_else_is_said() {
    let with_maximum = b"\x20\x06\x00\x00\x03\x21\x00\x07";
    let without = b"\x20\x03\x00\x00\x00";
    let table: [(&str, usize, &[u8], usize); 4] = [
        ("-q 1", 14, ACCEPT, 20),
        ("-q 2 -M 5", 14, ACCEPT, 5),
        ("-q 1 -V 5", 18, with_maximum, 7), // the broker's Receive Maximum
        ("-q 1 -V 5", 18, without, 30),
    ];
    // Each waits for a ping, which takes five seconds.
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

/// Accepting is no progress: a server that closes for what comes next is asked less and less often,
/// and in the end not at all.
#[test]
fn a_server_that_closes_after_each_connack_is_asked_less_often() {
    let script: tests::Script<'_> = &[(14, ACCEPT), (8, b"")];
    let server = FakeServer::start(&[script, script], true);
    let publisher = Program::new("rpub")
        .args(&server.options())
        .args("-t a -l -q 1")
        .input("1\n");
    let publisher = publisher.start();
    server.received(); // both connections are over
    // Nobody listens any more: the third wait has begun when it is told of that.
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
