//! CONNECT and CONNACK in the server.

use super::bytes::*;
use super::server::World;

#[test]
fn a_connect_of_the_right_form_is_accepted_with_connack_first() {
    for version in [3, 4, 5] {
        let mut world = World::new();
        let peer = world.try_connect(connect(version, "c"));
        world.send(peer, pingreq());
        world.shows(
            peer,
            "3.1.1:MQTT-3.1.4-4 3.1.1:MQTT-3.2.0-1 3.1.1:MQTT-3.2.2-1 5.0:MQTT-3.1.4-5 5.0:MQTT-3.2.0-1 \
             5.0:MQTT-3.2.0-2 5.0:MQTT-3.2.2-1 5.0:MQTT-3.2.2-2 5.0:MQTT-3.2.2-8 5.0:MQTT-3.1.2-28 \
             5.0:MQTT-4.12.0-6 3.1.1:MQTT-3.12.4-1 5.0:MQTT-3.12.4-1",
            &[accepted(version, false), pingresp()],
        );
    }
}

/// A client may send packets before it has received CONNACK.
#[test]
fn packets_after_connect_are_answered_in_order() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.open(version);
        let burst = [
            connect(version, "c").into(),
            subscribe(version, 1, &[("a", 0)]),
            publish(version, "a", "x").into(),
        ];
        world.send(peer, burst.concat());
        world.shows(
            peer,
            "3.1.1:U3-05",
            &[
                accepted(version, false),
                suback(version, 1, &[0]),
                publish(version, "a", "x").into(),
            ],
        );
    }
}

#[test]
fn closes_the_connection_without_answer_if_connect_is_not_first() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.open(version);
        world.send(peer, publish(version, "a", "x"));
        world.shows_closed(peer, "3.1.1:U3-02 5.0:U5-02 5.0:MQTT-3.14.0-1", &[]);
    }
}

#[test]
fn a_second_connect_ends_the_connection() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, connect(version, "c"));
        world.shows_closed(
            peer,
            "3.1.1:MQTT-3.1.0-2 5.0:MQTT-3.1.0-2 3.1.1:MQTT-4.8.0-1 5.0:MQTT-4.13.1-1",
            &goodbye(version, 0x82),
        );
    }
}

#[test]
fn closes_the_connection_for_another_protocol_name() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.try_connect(Connect {
            name: "MQTX",
            ..connect(version, "c")
        });
        world.send(peer, pingreq());
        world.shows_closed(peer, "3.1.1:MQTT-3.1.2-1 5.0:MQTT-3.1.2-1", &[]);
    }
}

#[test]
fn unsupported_version_is_rejected_with_its_code() {
    let mut world = World::new();
    let old = world.try_connect(Connect {
        level: 2,
        ..connect(4, "c")
    });
    world.shows_closed(
        old,
        "3.1.1:MQTT-3.1.2-2 3.1.1:MQTT-3.2.2-4 3.1.1:MQTT-3.2.2-5",
        &[0x20, 2, 0, 1],
    );
    let new = world.try_connect(Connect {
        level: 6,
        ..connect(5, "c")
    });
    world.shows_closed(
        new,
        "5.0:MQTT-3.1.2-2 5.0:MQTT-3.2.2-6 5.0:MQTT-3.2.2-7",
        &[0x20, 3, 0, 0x84, 0],
    );
}

#[test]
fn reserved_and_impossible_connect_flags_are_malformed() {
    let wrong = [
        (
            "3.1.1:MQTT-3.1.2-3 5.0:MQTT-3.1.2-3 3.1.1:MQTT-3.1.4-1 5.0:MQTT-3.1.4-1",
            0x01,
        ),
        ("3.1.1:MQTT-3.1.2-11", 0x08), // will QoS 1 without a will
        ("3.1.1:MQTT-3.1.2-11", 0x20), // will retain without a will
        ("3.1.1:MQTT-3.1.4-1 5.0:MQTT-3.1.4-1", 0x1C), // will QoS 3
    ];
    for version in [4, 5] {
        for (statements, flags) in wrong {
            let mut world = World::new();
            let mut connect = connect(version, "c").flags(flags);
            if flags & 4 != 0 {
                connect = connect.will("w", "x", 0);
            }
            let peer = world.try_connect(connect);
            world.shows_closed(peer, statements, &refused(version, 0x81));
        }
    }
}

#[test]
fn bytes_after_the_last_field_of_connect_are_malformed() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.try_connect(connect(version, "c").more(b"x"));
        let statements = "3.1.1:MQTT-3.1.4-1 5.0:MQTT-3.1.4-1 3.1.1:U3-03 5.0:MQTT-3.14.0-1";
        world.shows_closed(peer, statements, &refused(version, 0x81));
    }
}

/// The connect flags and the fields of CONNECT must agree: each flagged field must exist, and no other field may exist.
#[test]
fn flags_and_fields_of_connect_must_agree() {
    for version in [4, 5] {
        for flags in [0x80, 0xC0] {
            let mut world = World::new();
            let peer = world.try_connect(connect(version, "c").flags(flags));
            let statements = "3.1.1:MQTT-3.1.4-1 5.0:MQTT-3.1.4-1";
            world.shows_closed(peer, statements, &refused(version, 0x81));
        }
        let mut world = World::new();
        let both = connect(version, "c")
            .flags(0xC0)
            .more(&[text("user"), text("pass")].concat());
        let peer = world.try_connect(both);
        world.shows(peer, "", &[accepted(version, false)]);
    }
    let mut world = World::new();
    let peer = world.try_connect(connect(4, "c").flags(0x40).more(&text("pass")));
    world.shows_closed(peer, "3.1.1:MQTT-3.1.4-1", &[]);
    let peer = world.try_connect(connect(5, "c").flags(0x40).more(&text("pass")));
    world.shows(peer, "", &[accepted(5, false)]);
}

/// MQTT 5.0, section 4.13.1: the CONNACK that rejects a malformed CONNECT has the reason code.
#[test]
fn connack_of_5_0_has_the_reason_code_of_the_error() {
    let twice = [four(0x11, 1), four(0x11, 1)].concat();
    for (property, code) in [
        (twice, 0x82),                  // a property twice
        (vec![0x21, 0, 0], 0x82),       // Receive Maximum 0
        (vec![0x17, 2], 0x82),          // Request Problem Information 2
        (vec![0x16, 0, 1, 0], 0x82),    // Authentication Data without a method
        (vec![0x7E, 0], 0x81),          // unknown property
        (vec![0x23, 0, 1], 0x81),       // a property of PUBLISH
        (vec![0x15, 0, 9, b'M'], 0x81), // longer than the properties
    ] {
        let mut world = World::new();
        let peer = world.try_connect(connect(5, "c").property(&property));
        let statements = "5.0:MQTT-3.1.4-1 5.0:MQTT-3.2.2-6 5.0:MQTT-3.2.2-7 5.0:MQTT-3.14.0-1";
        world.shows_closed(peer, statements, &connack(5, false, code));
    }
}

#[test]
fn client_identifiers_of_1_to_23_letters_and_digits_are_accepted() {
    for version in [4, 5] {
        for identifier in [
            "a",
            "Z9",
            "abcdefghijklmnopqrstuvw",
            "ABCDEFGHIJKLMNOPQRSTUVW",
        ] {
            let mut world = World::new();
            let peer = world.try_connect(connect(version, identifier));
            let statements = "3.1.1:MQTT-3.1.3-5 5.0:MQTT-3.1.3-5";
            world.shows(peer, statements, &[accepted(version, false)]);
        }
    }
}

#[test]
fn server_assigns_an_identifier_to_a_client_without_one() {
    let mut world = World::new();
    let peer = world.try_connect(connect(4, ""));
    world.shows(peer, "", &[accepted(4, false)]);
    // A second client without an identifier gets another identifier, so it takes over no session.
    let other = world.try_connect(connect(4, ""));
    world.shows(other, "3.1.1:MQTT-3.1.3-6", &[accepted(4, false)]);
    world.send(peer, pingreq());
    world.shows(peer, "3.1.1:MQTT-3.1.3-6", &[pingresp()]);
    let refused = world.try_connect(connect(4, "").not_clean());
    world.shows_closed(
        refused,
        "3.1.1:MQTT-3.1.3-8 3.1.1:MQTT-3.1.3-9 3.1.1:MQTT-3.2.2-4 3.1.1:MQTT-3.2.2-5",
        &[0x20, 2, 0, 2],
    );

    let mut world = World::new();
    let assigned = "auto-00000000-0000-4000-8000-000000000007";
    let peer = world.try_connect(connect(5, "").lasting());
    world.shows(
        peer,
        "5.0:MQTT-3.1.3-7",
        &[accepted_with(5, false, &text_property(0x12, assigned))],
    );
    let other = world.try_connect(connect(5, "").lasting());
    let of_other = "auto-00000000-0000-4000-8000-000000000008";
    world.shows(
        other,
        "5.0:MQTT-3.1.3-6 5.0:MQTT-3.2.2-16",
        &[accepted_with(5, false, &text_property(0x12, of_other))],
    );
    world.lose(peer);
    let again = world.try_connect(connect(5, assigned).lasting());
    world.shows(
        again,
        "5.0:MQTT-3.1.3-7 5.0:MQTT-3.1.3-2",
        &[accepted(5, true)],
    );
}

#[test]
fn rejected_client_identifier_has_its_own_code() {
    // The test above covers 3.1.1. In 5.0 this broker rejects an identifier only if its text is not permitted.
    let mut world = World::new();
    let peer = world.try_connect(connect(5, "a\u{1}"));
    world.shows_closed(
        peer,
        "5.0:MQTT-3.1.3-8 5.0:MQTT-3.2.2-7",
        &[0x20, 3, 0, 0x85, 0],
    );
}

/// Packets after a rejected CONNECT have no effect.
#[test]
fn packets_after_a_rejected_connect_have_no_effect() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("#", 0)]);
        let peer = world.open(version);
        let refused = match version {
            4 => connect(4, "").not_clean(),
            _ => connect(5, "c").property(&text_property(0x15, "M")),
        };
        let burst: [Vec<u8>; 2] = [refused.into(), publish(version, "a", "x").into()];
        world.send(peer, burst.concat());
        assert!(world.has_ended(peer));
        world.shows::<Vec<u8>>(watcher, "3.1.1:MQTT-3.1.4-5 5.0:MQTT-3.1.4-6", &[]);
    }
}

#[test]
fn rejects_and_closes_anonymous_clients_that_are_not_permitted() {
    // This listener rejects anonymous clients.
    for (version, connack) in [(4, &[0x20, 2, 0, 5][..]), (5, &[0x20, 3, 0, 0x87, 0])] {
        let mut world = World::strict();
        let peer = world.try_connect(connect(version, "c"));
        world.shows_closed(
            peer,
            "5.0:MQTT-3.1.4-2 5.0:MQTT-4.13.2-1 3.1.1:MQTT-3.2.2-5 5.0:MQTT-3.2.2-6 5.0:MQTT-3.2.2-7",
            connack,
        );
    }
}

#[test]
fn unknown_authentication_method_is_rejected() {
    let mut world = World::new();
    let peer = world.try_connect(connect(5, "c").property(&text_property(0x15, "M")));
    world.shows_closed(
        peer,
        "5.0:MQTT-4.12.0-1 5.0:MQTT-4.12.0-4",
        &[0x20, 3, 0, 0x8C, 0],
    );
}
