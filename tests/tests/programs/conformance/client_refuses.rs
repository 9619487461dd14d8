//! Invalid packets in the client: the client ends the connection, and in 5.0 sends the reason.

use super::bytes::*;
use super::client::{Client, options};

/// Sends the bytes on an accepted connection. In 5.0 the client must end the connection with this reason code.
#[track_caller]
fn refuses(version: u8, statements: &str, bytes: impl Into<Vec<u8>>, code: u8) {
    let mut client = Client::connected(options(version));
    client.receive(bytes);
    client.shows_closed(statements, &goodbye(version, code));
}

#[test]
fn reserved_flags_of_the_fixed_header_are_malformed() {
    for version in [4, 5] {
        let general = "3.1.1:MQTT-2.2.2-1 3.1.1:MQTT-2.2.2-2 5.0:MQTT-2.1.3-1 3.1.1:MQTT-4.8.0-1";
        for first in [0x41, 0x52, 0x60, 0x63, 0x78, 0x91, 0xB2, 0xD1] {
            let statement = match first & 0xF0 {
                0x60 => " 3.1.1:MQTT-3.6.1-1 5.0:MQTT-3.6.1-1",
                _ => "",
            };
            refuses(version, &format!("{general}{statement}"), vec![first], 0x81);
        }
        if version == 5 {
            refuses(5, "5.0:MQTT-3.15.1-1", vec![0xF1], 0x81);
            refuses(5, "5.0:MQTT-3.14.1-1", vec![0xE1], 0x81);
        }
    }
}

#[test]
fn client_rejects_reserved_packet_types_and_those_of_clients() {
    for version in [4, 5] {
        let mut wrong = vec![
            vec![0x00, 0],
            connect(version, "c").into(),
            subscribe(version, 1, &[("a", 0)]),
            unsubscribe(version, 1, &["a"]),
            pingreq(),
        ];
        if version == 4 {
            wrong.extend([disconnect(), vec![0xF0, 0]]);
        }
        for bytes in wrong {
            refuses(version, "3.1.1:U3-02 5.0:U5-02", bytes, 0x82);
        }
        // A second CONNACK, and a first packet that is not CONNACK.
        refuses(version, "", connack(version, false, 0), 0x82);
        let mut client = Client::new(options(version));
        client.take();
        client.receive(publish(version, "a", "x"));
        client.shows_closed("3.1.1:U3-02", &[]);
    }
}

#[test]
fn client_rejects_malformed_messages() {
    for version in [4, 5] {
        let message: Vec<u8> = publish(version, "a", "x").qos(1, 1).into();
        let qos_3 = [vec![0x36], message[1..].to_vec()].concat();
        refuses(version, "3.1.1:MQTT-3.3.1-4 5.0:MQTT-3.3.1-4", qos_3, 0x81);
        for topic in ["#", "a/+"] {
            refuses(
                version,
                "3.1.1:MQTT-3.3.2-2 3.1.1:MQTT-4.7.1-1 5.0:MQTT-3.3.2-2 5.0:MQTT-4.7.0-1",
                publish(version, topic, "x"),
                0x90,
            );
        }
        refuses(
            version,
            "3.1.1:U3-04 3.1.1:MQTT-4.7.3-1 5.0:U5-08 5.0:MQTT-4.7.3-1",
            publish(version, "", "x"),
            0x82,
        );
    }
    let answer = publish(5, "a", "x").property(&text_property(0x08, "a/+"));
    refuses(5, "5.0:MQTT-3.3.2-14", answer, 0x82);
}

#[test]
fn client_rejects_packet_identifier_0() {
    for version in [4, 5] {
        let wrong: [Vec<u8>; 8] = [
            publish(version, "a", "x").qos(1, 0).into(),
            publish(version, "a", "x").qos(2, 0).into(),
            ack(PUBACK, 0),
            ack(PUBREC, 0),
            ack(PUBREL, 0),
            ack(PUBCOMP, 0),
            suback(version, 0, &[0]),
            unsuback(version, 0, &[0]),
        ];
        for bytes in wrong {
            refuses(
                version,
                "3.1.1:U3-01 3.1.1:MQTT-2.3.1-1 5.0:U5-01",
                bytes,
                0x82,
            );
        }
    }
}

#[test]
fn packets_that_are_too_short_or_too_long_are_malformed() {
    for version in [4, 5] {
        for bytes in [
            vec![0xD0, 1, 0],
            vec![0x40, 1, 0],
            packet(0x62, &[0, 1, 0, 0, 0]),
        ] {
            refuses(version, "3.1.1:U3-03", bytes, 0x81);
        }
        refuses(
            version,
            "3.1.1:U3-03 5.0:U5-25",
            vec![0x30, 3, 0, 2, b'a'],
            0x81,
        );
        refuses(version, "", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF], 0x81);
    }
    refuses(5, "5.0:MQTT-1.5.5-1", vec![0xD0, 0x80, 0x00], 0x81);
    refuses(4, "3.1.1:U3-03", ack_code(PUBACK, 1, 0), 0x81);
}

#[test]
fn rejects_a_packet_above_maximum_packet_size_at_its_fixed_header() {
    for version in [4, 5] {
        let mut small = options(version);
        small.limits.maximum_packet_size = 100;
        let mut client = Client::connected(small);
        client.receive(vec![0x30, 99]);
        client.shows_closed("5.0:U5-17 3.1.1:MQTT-4.8.0-2", &goodbye(version, 0x95));
    }
}

#[test]
fn client_rejects_more_messages_than_its_receive_maximum() {
    let mut small = options(5);
    small.limits.receive_maximum = 2;
    let mut client = Client::connected(small);
    for number in 1..=3 {
        client.receive(publish(5, "a", "x").qos(2, number));
    }
    let answers = [ack(PUBREC, 1), ack(PUBREC, 2), disconnect_code(0x93)].concat();
    client.shows_closed("5.0:U5-16", &answers);
}

#[test]
fn rejects_unknown_misplaced_and_repeated_properties() {
    let with = |property: &[u8]| publish(5, "a", "x").property(property);
    refuses(5, "5.0:U5-03", with(&[0x01, 1, 0x01, 1]), 0x82);
    refuses(5, "5.0:U5-04", with(&[0x7E, 1]), 0x81);
    refuses(5, "5.0:U5-04", with(&two(0x21, 1)), 0x81);
    refuses(5, "5.0:U5-06", with(&[0x01, 2]), 0x82);
    refuses(5, "5.0:U5-07", with(&two(0x23, 0)), 0x94);
    refuses(5, "5.0:U5-07", with(&two(0x23, 1)), 0x94); // the client permits no topic alias
    refuses(5, "5.0:U5-05", with(&[0x0B, 0]), 0x82);
    refuses(5, "5.0:U5-25", packet(0x30, &[0, 1, b'a', 9, 1, 1]), 0x81);
    refuses(5, "5.0:U5-14", disconnect_with(0, &four(0x11, 5)), 0x82);
    let wrong = [
        ("5.0:U5-05", two(0x21, 0)),
        ("5.0:U5-05", four(0x27, 0)),
        ("5.0:U5-06", vec![0x24, 2]),
        ("5.0:U5-06", vec![0x25, 2]),
        ("5.0:U5-03", [two(0x21, 1), two(0x21, 1)].concat()),
        ("5.0:U5-12", text_property(0x16, "data")),
    ];
    for (statements, property) in wrong {
        let mut client = Client::new(options(5));
        client.take();
        client.receive(connack_with(5, false, 0, &property));
        client.shows_closed(statements, &[]);
    }
}

/// The reason code of a PUBACK or PUBREC concerns one message, so it does not end the connection.
#[test]
fn rejects_reason_codes_of_another_packet_or_sender() {
    for (first, code) in [(PUBREL, 0x10), (PUBCOMP, 0x80)] {
        refuses(5, "5.0:U5-21", ack_code(first, 1, code), 0x82);
    }
    refuses(5, "5.0:U5-21", disconnect_code(0x04), 0x82); // only a client may send this code
    refuses(5, "5.0:U5-21", suback(5, 1, &[0x03]), 0x82);
}

#[test]
fn rejects_an_acknowledgement_of_the_wrong_kind() {
    for version in [4, 5] {
        for (qos, wrong) in [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)] {
            let mut client = Client::connected(options(version));
            client.publish("a", "x", qos).unwrap();
            client.take();
            client.receive(ack(wrong, 1));
            client.shows_closed("3.1.1:U3-08 5.0:U5-28", &goodbye(version, 0x82));
        }
    }
}

#[test]
fn client_rejects_an_answer_without_a_reason_code() {
    let mut client = Client::connected(options(5));
    client.subscribe(&["a", "b"]).unwrap();
    client.take();
    client.receive(suback(5, 1, &[]));
    client.shows_closed("5.0:U5-24", &disconnect_code(0x82));
    let mut client = Client::connected(options(5));
    client.unsubscribe(&["a", "b"]);
    client.take();
    client.receive(unsuback(5, 1, &[]));
    client.shows_closed("5.0:U5-24", &disconnect_code(0x82));
}

#[test]
fn an_answer_with_too_few_or_too_many_reason_codes_ends_no_connection() {
    for codes in [&[0][..], &[0, 0, 0]] {
        let mut client = Client::connected(options(5));
        client.subscribe(&["a", "b"]).unwrap();
        client.take();
        client.receive(suback(5, 1, codes));
        client.unsubscribe(&["a", "b"]);
        client.take();
        client.receive(unsuback(5, 2, codes));
        client.publish("a", "x", 0).unwrap();
        client.shows("5.0:U5-24", &[publish(5, "a", "x")]);
    }
}

#[test]
fn rejects_problem_information_that_the_client_did_not_request() {
    for property in [text_property(0x1F, "why"), user_property("a", "b")] {
        for wanted in [false, true] {
            let mut asking = options(5);
            asking.connect.properties.request_problem_information = Some(wanted);
            let mut client = Client::connected(asking);
            client.publish("a", "x", 1).unwrap();
            client.take();
            client.receive(ack_with(PUBACK, 1, 0x80, &property));
            if wanted {
                client.shows::<Vec<u8>>("5.0:U5-23", &[])
            } else {
                client.shows_closed("5.0:U5-23", &disconnect_code(0x82))
            }
        }
    }
}

#[test]
fn rejects_no_local_for_a_shared_subscription() {
    let mut client = Client::connected(options(5));
    let refused = client.subscribe_no_local("$share/g/a");
    client.proves("5.0:MQTT-3.8.3-4", refused, true);
    client.shows::<Vec<u8>>("5.0:MQTT-3.8.3-4", &[]);
}
