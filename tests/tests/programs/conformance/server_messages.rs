//! PUBLISH in the server: QoS, order and windows.

use super::bytes::*;
use super::server::World;

/// The server answers each QoS with its acknowledgement and echoes the packet identifier.
#[test]
fn server_answers_each_publish_with_the_handshake_of_its_qos() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 2)]);
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "0"));
        world.shows::<Vec<u8>>(peer, "3.1.1:MQTT-3.3.4-1 5.0:MQTT-3.3.4-1", &[]);
        world.send(peer, publish(version, "a", "1").qos(1, 258));
        world.shows(
            peer,
            "3.1.1:MQTT-3.3.4-1 5.0:MQTT-3.3.4-1 3.1.1:MQTT-2.3.1-6 5.0:MQTT-2.2.1-5 \
             3.1.1:MQTT-4.3.2-2 5.0:MQTT-4.3.2-4 5.0:MQTT-3.4.2-1",
            &[ack(PUBACK, 258)],
        );
        world.send(peer, publish(version, "a", "2").qos(2, 259));
        world.shows(
            peer,
            "3.1.1:MQTT-3.3.4-1 5.0:MQTT-3.3.4-1 3.1.1:MQTT-2.3.1-6 5.0:MQTT-2.2.1-5 \
             5.0:MQTT-4.3.3-8 5.0:MQTT-3.5.2-1",
            &[ack(PUBREC, 259)],
        );
        world.send(peer, ack(PUBREL, 259));
        world.shows(
            peer,
            "5.0:MQTT-4.3.3-11 5.0:MQTT-2.2.1-5 3.1.1:MQTT-4.3.3-2 5.0:MQTT-3.7.2-1",
            &[ack(PUBCOMP, 259)],
        );
        // The subscriber gets all three messages for the first time: with DUP 0, and with a packet identifier only for
        // QoS 1 and 2.
        world.shows(
            watcher,
            "3.1.1:MQTT-2.3.1-5 5.0:MQTT-2.2.1-2 3.1.1:MQTT-4.3.1-1 5.0:MQTT-4.3.1-1 \
             3.1.1:MQTT-4.3.2-1 5.0:MQTT-4.3.2-1 5.0:MQTT-4.3.2-2 3.1.1:MQTT-4.3.3-1 5.0:MQTT-4.3.3-1 \
             5.0:MQTT-4.3.3-2 3.1.1:MQTT-2.3.1-1 3.1.1:MQTT-2.3.1-4 5.0:MQTT-2.2.1-4 3.1.1:MQTT-3.3.1-2 \
             5.0:MQTT-3.3.1-2 5.0:MQTT-2.2.2-1 3.1.1:MQTT-4.5.0-1 5.0:MQTT-4.5.0-1",
            &[
                publish(version, "a", "0"),
                publish(version, "a", "1").qos(1, 1),
                publish(version, "a", "2").qos(2, 2),
            ],
        );
    }
}

#[test]
fn publish_after_puback_is_a_new_message_even_with_dup() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 0)]);
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "1").qos(1, 1));
        world.send(peer, publish(version, "a", "2").qos(1, 1).dup());
        world.shows(
            peer,
            "3.1.1:MQTT-4.3.2-2 5.0:MQTT-4.3.2-5",
            &[ack(PUBACK, 1), ack(PUBACK, 1)],
        );
        world.shows(
            watcher,
            "3.1.1:MQTT-4.3.2-2 5.0:MQTT-4.3.2-5 3.1.1:MQTT-3.3.1-3 5.0:MQTT-3.3.1-3",
            &[publish(version, "a", "1"), publish(version, "a", "2")],
        );
    }
}

#[test]
fn duplicates_of_qos_2_are_delivered_once() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 2)]);
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "x").qos(2, 7).dup()); // new in spite of DUP
        for repeat in 0..10 {
            let again = publish(version, "a", "x").qos(2, 7);
            world.send(peer, if repeat % 2 == 0 { again.dup() } else { again });
        }
        world.shows(
            peer,
            "3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-10",
            &vec![ack(PUBREC, 7); 11],
        );
        world.shows(
            watcher,
            "3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-10 3.1.1:MQTT-3.3.1-3 5.0:MQTT-3.3.1-3",
            &[publish(version, "a", "x").qos(2, 1)],
        );
        world.send(peer, ack(PUBREL, 7));
        world.send(peer, publish(version, "a", "y").qos(2, 7));
        world.shows(
            peer,
            "3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-12",
            &[ack(PUBCOMP, 7), ack(PUBREC, 7)],
        );
        world.shows(
            watcher,
            "3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-12",
            &[publish(version, "a", "y").qos(2, 2)],
        );
        // A PUBREL with an unknown packet identifier is answered, so that the peer can finish the exchange.
        world.send(peer, ack(PUBREL, 9));
        let unknown = if version == 5 {
            ack_code(PUBCOMP, 9, 0x92)
        } else {
            ack(PUBCOMP, 9)
        };
        world.shows(peer, "5.0:MQTT-3.7.2-1 5.0:MQTT-4.3.3-11", &[unknown]);
    }
}

#[test]
fn sender_of_qos_2_sends_pubrel_after_pubrec() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c"), &[("a", 2)]);
        world.send(peer, publish(version, "a", "x").qos(1, 1));
        world.send(peer, publish(version, "a", "y").qos(2, 2));
        world.take(peer);
        world.send(peer, ack(PUBREC, 2));
        world.shows(
            peer,
            "3.1.1:MQTT-4.3.3-1 5.0:MQTT-4.3.3-4 3.1.1:MQTT-2.3.1-6 5.0:MQTT-2.2.1-5 5.0:MQTT-3.6.2-1 \
             3.1.1:MQTT-3.6.1-1 5.0:MQTT-3.6.1-1 3.1.1:MQTT-2.2.2-1",
            &[ack(PUBREL, 2)],
        );
        // The server answers each further PUBREC. For an unknown message the answer has its own reason code.
        world.send(peer, ack(PUBREC, 2));
        world.send(peer, ack(PUBCOMP, 2));
        world.send(peer, ack(PUBREC, 2));
        let unknown = if version == 5 {
            ack_code(PUBREL, 2, 0x92)
        } else {
            ack(PUBREL, 2)
        };
        world.shows(
            peer,
            "5.0:MQTT-4.3.3-4 5.0:MQTT-3.6.2-1",
            &[ack(PUBREL, 2), unknown],
        );
    }
}

#[test]
fn messages_keep_their_order() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 2)]);
        let peer = world.connect(connect(version, "c"));
        let numbers = 1..=9;
        for number in numbers.clone() {
            world.send(
                peer,
                publish(version, "a", &number.to_string()).qos(1, number),
            );
        }
        let answers: Vec<_> = numbers.clone().map(|number| ack(PUBACK, number)).collect();
        world.shows(peer, "", &answers);
        let expected: Vec<_> = numbers
            .map(|number| publish(version, "a", &number.to_string()).qos(1, number))
            .collect();
        world.shows(
            watcher,
            "3.1.1:MQTT-4.6.0-5 3.1.1:MQTT-4.6.0-6 5.0:MQTT-4.6.0-5 5.0:MQTT-4.6.0-6",
            &expected,
        );
    }
}

/// A message that is never acknowledged keeps its packet identifier. Other messages use other identifiers.
#[test]
fn skips_packet_identifiers_in_use() {
    let mut world = World::new();
    let peer = world.subscriber(connect(5, "c"), &[("a", 1)]);
    let sender = world.connect(connect(5, "sender"));
    world.send(sender, publish(5, "a", "0").qos(1, 1));
    world.shows(peer, "", &[publish(5, "a", "0").qos(1, 1)]);
    let mut send = |number: u16, statements: &str| {
        world.send(sender, publish(5, "a", "x").qos(1, 1));
        world.shows(peer, statements, &[publish(5, "a", "x").qos(1, number)]);
        world.send(peer, ack(PUBACK, number));
    };
    (2..=65535).for_each(|number| send(number, ""));
    // Packet identifier 1 is in use.
    send(2, "5.0:MQTT-2.2.1-4 5.0:MQTT-4.3.2-1");
    (3..=65535).for_each(|number| send(number, ""));
    send(2, "5.0:MQTT-2.2.1-4");
    world.send(peer, ack(PUBACK, 1));
    for number in (3..=65535).chain([1]) {
        world.send(sender, publish(5, "a", "x").qos(1, 1));
        world.shows(peer, "", &[publish(5, "a", "x").qos(1, number)]);
        world.send(peer, ack(PUBACK, number));
    }
}

/// The server sends no more messages than Receive Maximum, but delays no other packets.
#[test]
fn receive_maximum_of_a_client_limits_only_publish() {
    let mut world = World::new();
    let peer = world.subscriber(connect(5, "c").property(&two(0x21, 2)), &[("a", 2)]);
    let sender = world.connect(connect(5, "sender"));
    for number in 1..=4 {
        world.send(sender, publish(5, "a", &number.to_string()).qos(2, number));
    }
    world.shows(
        peer,
        "5.0:MQTT-3.3.4-9 5.0:MQTT-4.9.0-1 5.0:MQTT-4.9.0-2",
        &[
            publish(5, "a", "1").qos(2, 1),
            publish(5, "a", "2").qos(2, 2),
        ],
    );
    // Messages of QoS 0 and all other packets are sent.
    world.send(sender, publish(5, "a", "now"));
    world.send(
        peer,
        [pingreq(), subscribe(5, 7, &[("b", 0)]), ack(PUBREC, 1)].concat(),
    );
    world.shows(
        peer,
        "5.0:MQTT-3.3.4-10 5.0:MQTT-4.9.0-3",
        &[
            publish(5, "a", "now").into(),
            pingresp(),
            suback(5, 7, &[0]),
            ack(PUBREL, 1),
        ],
    );
    // PUBCOMP, and a PUBREC with an error, end an exchange. An acknowledgement of an unknown identifier does not.
    world.send(peer, ack(PUBCOMP, 9));
    world.send(peer, ack(PUBACK, 9));
    world.shows::<Vec<u8>>(peer, "5.0:MQTT-4.9.0-2", &[]);
    world.send(peer, ack(PUBCOMP, 1));
    world.shows(peer, "5.0:MQTT-4.9.0-2", &[publish(5, "a", "3").qos(2, 3)]);
    world.send(peer, ack_code(PUBREC, 2, 0x83));
    world.shows(
        peer,
        "5.0:MQTT-4.9.0-2 5.0:MQTT-3.3.4-9",
        &[publish(5, "a", "4").qos(2, 4)],
    );
}

#[test]
fn client_that_exceeds_receive_maximum_is_disconnected_with_0x93() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    for number in 1..=20 {
        world.send(peer, publish(5, "a", "x").qos(2, number));
    }
    world.take(peer);
    world.send(peer, publish(5, "a", "x").qos(2, 20).dup()); // a duplicate does not count
    world.shows(peer, "", &[ack(PUBREC, 20)]);
    world.send(peer, publish(5, "a", "x").qos(2, 21));
    world.shows_closed(peer, "5.0:U5-16 5.0:MQTT-4.13.1-1", &disconnect_code(0x93));
}

/// Without a subscriber the reason code is 0x10, No matching subscribers.
#[test]
fn publish_without_subscribers_is_acknowledged_with_0x10() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    world.send(peer, publish(5, "a", "x").qos(1, 1));
    world.send(peer, publish(5, "a", "x").qos(2, 2));
    world.shows(
        peer,
        "5.0:MQTT-3.4.2-1 5.0:MQTT-3.5.2-1",
        &[ack_code(PUBACK, 1, 0x10), ack_code(PUBREC, 2, 0x10)],
    );
}

/// The DUP flag of the publisher does not determine the DUP flag towards subscribers.
#[test]
fn dup_of_the_publisher_is_not_copied_to_subscribers() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 1)]);
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "x").qos(1, 1).dup());
        world.shows(
            watcher,
            "3.1.1:MQTT-3.3.1-3 5.0:MQTT-3.3.1-3",
            &[publish(version, "a", "x").qos(1, 1)],
        );
    }
}

/// In 3.1.1 an acknowledgement cannot reject a message. The server must acknowledge the message or close the
/// connection.
#[test]
fn publish_without_permission_is_acknowledged_and_dropped() {
    let mut world = World::new();
    let watcher = world.subscriber(connect(4, "watcher"), &[("$SYS/#", 0)]);
    let peer = world.connect(connect(4, "c"));
    world.send(peer, publish(4, "$SYS/x", "x").qos(1, 1));
    world.shows(peer, "3.1.1:MQTT-3.3.5-2", &[ack(PUBACK, 1)]);
    world.shows::<Vec<u8>>(watcher, "", &[]);
}
