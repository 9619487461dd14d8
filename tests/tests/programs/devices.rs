//! Devices and servers that deviate from the standard, and details in which brokers differ. Whole programs are tested.

use tests::{Broker, FakeServer, RawClient, Script};

/// The length of the CONNECT of `-i i`, and the version for `-V`.
const CONNECT: [(usize, &str); 2] = [(15, "311"), (19, "5")];

/// Runs rsub with the filters `a` and `b` against a server that answers CONNECT and SUBSCRIBE with these bytes.
fn subscribe_to(version: usize, connack: &[u8], answer: &[u8]) -> (i32, String, String) {
    let (connect, name) = CONNECT[version];
    let script: Script<'_> = &[(connect, connack), (12 + version, answer)];
    let server = FakeServer::start(&[script], false);
    let rsub = server.program("rsub");
    let rsub = rsub.args(&format!("-i i -V {name} -t a -t b -C 2 -W 30"));
    let finished = rsub.run();
    (finished.status, finished.text(), finished.errors)
}

const DUP: &str = "Warning: the server sent a QoS 0 message with the DUP flag set.\n";

#[test]
fn rsub_warns_once_of_each_tolerated_violation_of_a_server() {
    let dup = b"\x38\x04\x00\x01ax";
    for (codes, warning) in [
        (
            &[0][..],
            "Warning: wrong number of reason codes from the server: expected 2, received 1.\n",
        ),
        (
            &[0, 0, 0],
            "Warning: wrong number of reason codes from the server: expected 2, received 3.\n",
        ),
        (&[0, 0], ""),
    ] {
        let suback = [&[0x90, 2 + codes.len() as u8, 0, 1], codes].concat();
        let answer = [&suback[..], dup, dup].concat();
        let (status, output, errors) = subscribe_to(0, b"\x20\x02\x00\x00", &answer);
        assert_eq!((status, output.as_str()), (0, "x\nx\n"), "{errors}");
        assert_eq!(errors, format!("{warning}{DUP}"));
        let suback = [&[0x90, 3 + codes.len() as u8, 0, 1, 0], codes].concat();
        let dup = b"\x38\x05\x00\x01a\x00x";
        let answer = [&suback[..], dup, dup].concat();
        let (status, output, errors) = subscribe_to(1, b"\x20\x03\x00\x00\x00", &answer);
        assert_eq!((status, output.as_str()), (0, "x\nx\n"), "{errors}");
        assert_eq!(errors, format!("{warning}{DUP}"));
    }
}

#[test]
fn rsub_accepts_a_padded_remaining_length() {
    let connack = b"\x20\x82\x00\x00\x00";
    let answer =
        b"\x90\x84\x80\x80\x00\x00\x01\x00\x00\x30\x84\x00\x00\x01ax\x30\x84\x80\x00\x00\x01bx";
    let (status, output, errors) = subscribe_to(0, connack, answer);
    assert_eq!(
        (status, output.as_str(), errors.as_str()),
        (0, "x\nx\n", "")
    );
}

#[test]
fn rbroker_accepts_a_padded_remaining_length() {
    let broker = Broker::start("");
    let rsub = broker.program("rsub");
    let rsub = rsub.args("-i sub -t a -C 1").start();
    broker.wait_for_log("Sending SUBACK to sub");
    let mut device = RawClient::open(broker.address());
    device.send(b"\x10\x8E\x80\x80\x00\x00\x04MQTT\x04\x02\x00\x3C\x00\x02d1");
    assert_eq!(device.read(4), [0x20, 2, 0, 0]);
    device.send(b"\x30\x84\x00\x00\x01ax\xC0\x80\x00");
    assert_eq!(device.read(2), [0xD0, 0]);
    assert_eq!(rsub.wait().success().text(), "x\n");
}

#[test]
fn rbroker_logs_the_reason_for_rejecting_a_connect_of_5_0() {
    let broker = Broker::start("");
    let head = b"\x00\x04MQTT\x05";
    for (rest, code) in [
        (&b"\x03\x00\x3C\x00\x00\x01c"[..], 0x81), // reserved connect flag
        (b"\x02\x00\x3C\x00\x00\x02\xC3\x28", 0x81), // client identifier that is not UTF-8
        (b"\x02\x00\x3C\x03\x21\x00\x00\x00\x01c", 0x82), // Receive Maximum 0
        (b"\x02\x00\x3C\x00\x00\x01\x07", 0x85),   // client identifier with a control character
    ] {
        let body = [&head[..], rest].concat();
        let mut device = RawClient::open(broker.address());
        device.send(&[&[0x10, body.len() as u8], &body[..]].concat());
        let connack = device.read_to_end();
        assert_eq!(connack[..4], [0x20, connack.len() as u8 - 2, 0, code]);
    }
    // MQTT 3.1.1 has no return code for a malformed packet, so the connection is closed without CONNACK.
    let mut device = RawClient::open(broker.address());
    device.send(b"\x10\x0D\x00\x04MQTT\x04\x03\x00\x3C\x00\x01c");
    assert_eq!(device.read_to_end(), b"");
}

#[test]
fn topics_of_200_slashes_are_delivered() {
    let broker = Broker::start("");
    let topic = "/".repeat(200);
    let rsub = broker.program("rsub");
    let rsub = rsub.args("-i sub -C 1 -t").arg(&topic).start();
    broker.wait_for_log("Sending SUBACK to sub");
    let rpub = broker.program("rpub");
    rpub.args("-q 1 -m x -t").arg(&topic).run().success();
    assert_eq!(rsub.wait().success().text(), "x\n");
}

#[test]
fn rsub_prints_topic_aliases() {
    let named = b"\x30\x08\x00\x01a\x03\x23\x00\x05x";
    let alone = b"\x30\x07\x00\x00\x03\x23\x00\x05x";
    // CONNECT also has a Topic Alias Maximum.
    let answer = [b"\x90\x04\x00\x01\x00\x00", &named[..], alone].concat();
    let script: Script<'_> = &[(22, b"\x20\x03\x00\x00\x00"), (9, &answer)];
    let server = FakeServer::start(&[script], false);
    let rsub = server.program("rsub");
    let rsub = rsub.args("-i i -t a -C 2 -D connect topic-alias-maximum 9 -F");
    let text = rsub.arg("%A %t %j").run().success().text();
    for line in text.lines() {
        assert!(line.starts_with("5 a {"), "{text}");
        assert!(
            line.contains("\"properties\":{\"topic-alias\":5}"),
            "{text}"
        );
    }
    assert_eq!(text.lines().count(), 2);
}

const PROPERTIES: &str = "-D publish user-property a 1 -D publish message-expiry-interval 60 \
    -D publish content-type t -D publish user-property b 2 -D publish payload-format-indicator 1";

#[test]
fn properties_of_a_message_keep_the_order_of_the_command_line() {
    let broker = Broker::start("");
    let rpub = broker.program("rpub");
    let rpub = rpub.args("-V 5 -q 1 -r -t a -m x").args(PROPERTIES);
    rpub.run().success();
    let rsub = broker.program("rsub");
    let rsub = rsub.args("-V 5 -t a -C 1 -D subscribe subscription-identifier 7 -F %j");
    let text = rsub.run().success().text();
    let expected = "\"properties\":{\"subscription-identifier\":7,\"user-properties\":[{\"a\":\"1\"},\
        {\"b\":\"2\"}],\"message-expiry-interval\":60,\"content-type\":\"t\",\
        \"payload-format-indicator\":1}";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn properties_are_sent_in_the_order_of_the_command_line() {
    let connect = b"\x26\x00\x01k\x00\x01v\x21\x00\x05\x11\x00\x00\x00\x09\x26\x00\x01l\x00\x01w";
    let script: Script<'_> = &[(16 + connect.len(), b"\x20\x03\x00\x00\x00")];
    let server = FakeServer::start(&[script], false);
    let rpub = server.program("rpub");
    let rpub = rpub
        .args("-i i -c -t a -m x -D connect user-property k v -D connect receive-maximum 5")
        .args("-D connect session-expiry-interval 9 -D connect user-property l w")
        .args(PROPERTIES)
        .args("-D disconnect user-property k v -D disconnect reason-string r")
        .args("-D disconnect session-expiry-interval 1");
    rpub.run().success();
    let sent = server.received().concat();
    let publish =
        b"\x26\x00\x01a\x00\x011\x02\x00\x00\x00\x3C\x03\x00\x01t\x26\x00\x01b\x00\x012\x01\x01";
    let disconnect = b"\x26\x00\x01k\x00\x01v\x1F\x00\x01r\x11\x00\x00\x00\x01";
    for expected in [&connect[..], publish, disconnect] {
        let is_there = sent.windows(expected.len()).any(|bytes| bytes == expected);
        assert!(is_there, "{expected:x?} is not in {sent:x?}");
    }
}
