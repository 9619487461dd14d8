//! Invalid packets in the server: the server ends the connection, and in 5.0 sends the reason.

use mqtt_broker_core::Limits;

use super::bytes::*;
use super::server::World;

/// Sends the bytes on an accepted connection. In 5.0 the server must end the connection with this reason code.
#[track_caller]
fn refuses(version: u8, statements: &str, bytes: impl Into<Vec<u8>>, code: u8) {
    let mut world = World::new();
    let bystander = world.subscriber(connect(version, "bystander"), &[("#", 0)]);
    let peer = world.connect(connect(version, "c"));
    world.send(peer, bytes);
    world.shows_closed(peer, statements, &goodbye(version, code));
    // The other client notices nothing.
    world.shows::<Vec<u8>>(bystander, "", &[]);
}

#[test]
fn reserved_flags_of_the_fixed_header_are_malformed() {
    for version in [4, 5] {
        let general = "3.1.1:MQTT-2.2.2-1 3.1.1:MQTT-2.2.2-2 5.0:MQTT-2.1.3-1 3.1.1:MQTT-4.8.0-1";
        for first in [
            0x41, 0x52, 0x60, 0x63, 0x78, 0x80, 0x83, 0xA0, 0xA6, 0xC1, 0xE2,
        ] {
            let statement = match first & 0xF0 {
                0x60 => " 3.1.1:MQTT-3.6.1-1 5.0:MQTT-3.6.1-1",
                0x80 => " 3.1.1:MQTT-3.8.1-1 5.0:MQTT-3.8.1-1",
                0xA0 => " 3.1.1:MQTT-3.10.1-1 5.0:MQTT-3.10.1-1",
                0xE0 => " 3.1.1:MQTT-3.14.1-1 5.0:MQTT-3.14.1-1",
                _ => "",
            };
            // The server rejects the first byte without waiting for the rest of the packet.
            refuses(version, &format!("{general}{statement}"), vec![first], 0x81);
        }
        if version == 5 {
            refuses(5, "5.0:MQTT-3.15.1-1", vec![0xF1], 0x81);
        }
    }
}

#[test]
fn server_rejects_reserved_packet_types_and_those_of_servers() {
    for version in [4, 5] {
        let mut wrong = vec![
            vec![0x00, 0],
            connack(version, false, 0),
            suback(version, 1, &[0]),
            unsuback(version, 1, &[0]),
            pingresp(),
        ];
        if version == 4 {
            wrong.push(vec![0xF0, 0]);
        }
        for bytes in wrong {
            refuses(version, "3.1.1:U3-02 5.0:U5-02", bytes, 0x82);
        }
    }
}

#[test]
fn qos_3_and_dup_with_qos_0_are_malformed() {
    for version in [4, 5] {
        let message: Vec<u8> = publish(version, "a", "x").qos(1, 1).into();
        let qos_3 = [vec![0x36], message[1..].to_vec()].concat();
        refuses(version, "3.1.1:MQTT-3.3.1-4 5.0:MQTT-3.3.1-4", qos_3, 0x81);
        let dup = publish(version, "a", "x").dup();
        refuses(version, "3.1.1:MQTT-3.3.1-2 5.0:MQTT-3.3.1-2", dup, 0x81);
    }
}

#[test]
fn rejects_packet_identifier_0_where_one_is_required() {
    for version in [4, 5] {
        let wrong: [Vec<u8>; 8] = [
            publish(version, "a", "x").qos(1, 0).into(),
            publish(version, "a", "x").qos(2, 0).into(),
            ack(PUBACK, 0),
            ack(PUBREC, 0),
            ack(PUBREL, 0),
            ack(PUBCOMP, 0),
            subscribe(version, 0, &[("a", 0)]),
            unsubscribe(version, 0, &["a"]),
        ];
        for bytes in wrong {
            let statements = "3.1.1:U3-01 3.1.1:MQTT-2.3.1-1 5.0:U5-01";
            refuses(version, statements, bytes, 0x82);
        }
    }
}

#[test]
fn a_packet_that_is_too_short_or_too_long_is_malformed() {
    for version in [4, 5] {
        let long: [Vec<u8>; 3] = [
            vec![0xC0, 1, 0],
            packet(0x62, &[0, 1, 0, 0, 0]),
            vec![0x40, 1, 0],
        ];
        for bytes in long {
            refuses(version, "3.1.1:U3-03", bytes, 0x81);
        }
        // The length of the topic name exceeds the packet.
        refuses(
            version,
            "3.1.1:U3-03 5.0:U5-25",
            vec![0x30, 3, 0, 2, b'a'],
            0x81,
        );
    }
    refuses(4, "3.1.1:U3-03", ack_code(PUBACK, 1, 0), 0x81);
    refuses(4, "3.1.1:U3-03", vec![0xE0, 1, 0], 0x81);
}

#[test]
fn a_remaining_length_of_five_bytes_or_more_than_needed_is_malformed() {
    for version in [4, 5] {
        refuses(version, "", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF], 0x81);
    }
    refuses(5, "5.0:MQTT-1.5.5-1", vec![0xC0, 0x80, 0x00], 0x81);
    // A Property Length and a Subscription Identifier that have more bytes than necessary.
    let long_length = [&[0, 1, b'a'][..], &[0x80, 0], b"x"].concat();
    refuses(5, "5.0:MQTT-1.5.5-1", packet(0x30, &long_length), 0x81);
    let long_identifier = subscribe_with(5, 1, &[0x0B, 0x81, 0], &[("a", 0)]);
    refuses(5, "5.0:MQTT-1.5.5-1", long_identifier, 0x81);
}

#[test]
fn rejects_empty_topic_names_and_topic_names_with_wildcards() {
    for version in [4, 5] {
        for topic in ["#", "+", "a/#", "a/+/b", "a+"] {
            refuses(
                version,
                "3.1.1:MQTT-3.3.2-2 3.1.1:MQTT-4.7.1-1 5.0:MQTT-3.3.2-2 5.0:MQTT-4.7.0-1",
                publish(version, topic, "x"),
                0x90,
            );
        }
        let code = if version == 5 { 0x82 } else { 0 };
        refuses(
            version,
            "3.1.1:U3-04 3.1.1:MQTT-4.7.3-1 5.0:U5-08 5.0:MQTT-4.7.3-1",
            publish(version, "", "x"),
            code,
        );
    }
}

#[test]
fn rejects_empty_topic_filters_and_wildcards_within_a_level() {
    for version in [4, 5] {
        for filter in ["a#", "a/#/b", "#/", "##"] {
            let statements = "3.1.1:MQTT-4.7.1-2 3.1.1:U3-09 5.0:MQTT-4.7.1-1";
            refuses(
                version,
                statements,
                subscribe(version, 1, &[(filter, 0)]),
                0x8F,
            );
            refuses(version, "", unsubscribe(version, 1, &[filter]), 0x8F);
        }
        for filter in ["a+", "+a", "a/+b", "++"] {
            let statements = "3.1.1:MQTT-4.7.1-3 5.0:MQTT-4.7.1-2";
            refuses(
                version,
                statements,
                subscribe(version, 1, &[(filter, 0)]),
                0x8F,
            );
        }
        let statements = "3.1.1:MQTT-4.7.3-1 3.1.1:U3-09 5.0:MQTT-4.7.3-1";
        refuses(version, statements, subscribe(version, 1, &[("", 0)]), 0x8F);
    }
    for filter in [
        "$share/g",
        "$share/g/",
        "$share//x",
        "$share/+/x",
        "$share/#/x",
    ] {
        refuses(5, "", subscribe(5, 1, &[(filter, 0)]), 0x8F);
    }
}

#[test]
fn subscribe_and_unsubscribe_have_at_least_one_filter() {
    for version in [4, 5] {
        refuses(version, "5.0:U5-11", subscribe(version, 1, &[]), 0x82);
        refuses(version, "5.0:U5-11", unsubscribe(version, 1, &[]), 0x82);
    }
}

#[test]
fn rejects_reserved_bits_and_values_of_subscription_options() {
    for options in [3, 4, 8, 0x10, 0x40, 0x80] {
        refuses(
            4,
            "3.1.1:MQTT-3.8.3-4",
            subscribe(4, 1, &[("a", options)]),
            0,
        );
    }
    for options in [0x40, 0x80, 0xC0] {
        refuses(
            5,
            "5.0:MQTT-3.8.3-5",
            subscribe(5, 1, &[("a", options)]),
            0x81,
        );
    }
    for options in [0x03, 0x30] {
        refuses(5, "5.0:U5-10", subscribe(5, 1, &[("a", options)]), 0x82);
    }
    refuses(
        5,
        "5.0:MQTT-3.8.3-4",
        subscribe(5, 1, &[("$share/g/a", 4)]),
        0x82,
    );
}

#[test]
fn rejects_an_acknowledgement_of_the_wrong_kind() {
    for version in [4, 5] {
        for (qos, wrong) in [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)] {
            let mut world = World::new();
            let peer = world.subscriber(connect(version, "c"), &[("a", 2)]);
            let sender = world.connect(connect(version, "sender"));
            world.send(sender, publish(version, "a", "x").qos(qos, 1));
            world.take(peer);
            world.send(peer, ack(wrong, 1));
            world.shows_closed(peer, "3.1.1:U3-08 5.0:U5-28", &goodbye(version, 0x82));
        }
    }
}

#[test]
fn rejects_unknown_misplaced_and_repeated_properties() {
    let with = |property: &[u8]| publish(5, "a", "x").property(property);
    refuses(5, "5.0:U5-03", with(&[0x01, 1, 0x01, 1]), 0x82);
    refuses(
        5,
        "5.0:U5-03",
        with(&[two(0x23, 1), two(0x23, 1)].concat()),
        0x82,
    );
    refuses(5, "5.0:U5-04", with(&[0x7E, 1]), 0x81);
    refuses(5, "5.0:U5-04", with(&two(0x21, 1)), 0x81);
    refuses(5, "5.0:U5-06", with(&[0x01, 2]), 0x82);
    refuses(5, "5.0:U5-07", with(&two(0x23, 0)), 0x94);
    refuses(5, "5.0:U5-09 5.0:MQTT-4.13.1-1", with(&[0x0B, 1]), 0x82);
    refuses(5, "5.0:U5-25", packet(0x30, &[0, 1, b'a', 9, 1, 1]), 0x81);
    refuses(
        5,
        "5.0:U5-25",
        packet(0x30, &[0, 1, b'a', 2, 0x02, 0]),
        0x81,
    );
    for topic in ["", "a/+", "#"] {
        let answer = with(&text_property(0x08, topic));
        refuses(5, "5.0:MQTT-3.3.2-14", answer, 0x82);
    }
    let zero = subscribe_with(5, 1, &[0x0B, 0], &[("a", 0)]);
    refuses(5, "5.0:U5-05", zero, 0x82);
    refuses(
        5,
        "5.0:U5-15",
        disconnect_with(0, &text_property(0x1C, "other")),
        0x82,
    );
}

#[test]
fn rejects_property_values_of_connect_that_the_standard_forbids() {
    let wrong = [
        ("5.0:U5-05", two(0x21, 0)),
        ("5.0:U5-05", four(0x27, 0)),
        ("5.0:U5-06", vec![0x17, 2]),
        ("5.0:U5-06", vec![0x19, 2]),
        ("5.0:U5-03", [four(0x11, 1), four(0x11, 1)].concat()),
        ("5.0:U5-12", text_property(0x16, "data")),
    ];
    for (statements, property) in wrong {
        let mut world = World::new();
        let peer = world.try_connect(connect(5, "c").property(&property));
        world.shows_closed(peer, statements, &connack(5, false, 0x82));
    }
}

#[test]
fn rejects_reason_codes_of_another_packet_or_sender() {
    let statements = "5.0:U5-21 5.0:MQTT-4.13.1-1";
    for (first, code) in [
        (PUBACK, 0x92),
        (PUBREC, 0x01),
        (PUBREL, 0x10),
        (PUBCOMP, 0x80),
    ] {
        refuses(5, statements, ack_code(first, 1, code), 0x82);
    }
    for code in [0x01, 0x87, 0x8E] {
        refuses(5, statements, disconnect_code(code), 0x82); // only a server may send this code
    }
}

#[test]
fn rejects_auth_without_a_method_in_connect() {
    refuses(5, "5.0:U5-13", auth(0x18, "M", ""), 0x82);
    refuses(5, "5.0:U5-12", vec![0xF0, 0], 0x82);
    refuses(5, "5.0:U5-12", packet(0xF0, &[0x18, 0]), 0x82);
    refuses(5, "5.0:MQTT-3.15.2-1", auth(0x00, "M", ""), 0x82); // only a server may send this code
}

#[test]
fn rejects_a_packet_above_maximum_packet_size_at_its_fixed_header() {
    for version in [4, 5] {
        let limits = Limits {
            maximum_packet_size: 100,
            ..Limits::default()
        };
        let mut world = World::with(limits);
        let peer = world.connect(connect(version, "c"));
        world.send(peer, packet(0x30, &[0, 1, b'a', 0]));
        assert!(!world.has_ended(peer));
        world.send(peer, vec![0x30, 99]);
        world.shows_closed(peer, "5.0:U5-17", &goodbye(version, 0x95));
    }
}

/// A packet that announces 256 MiB closes its connection, as a broker without enough memory would do.
#[test]
fn packet_above_the_limit_closes_only_its_own_connection() {
    let mut world = World::new();
    let bystander = world.connect(connect(4, "bystander"));
    let peer = world.connect(connect(4, "c"));
    world.send(peer, vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
    world.shows_closed(peer, "3.1.1:MQTT-4.8.0-2", &[]);
    world.send(bystander, pingreq());
    world.shows(bystander, "3.1.1:MQTT-4.8.0-2", &[pingresp()]);
}
