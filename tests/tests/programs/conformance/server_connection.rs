//! The connection of a server after CONNACK: take-over, keep alive, its end, and the Maximum Packet Size of the client.

use mqtt_broker_core::Limits;

use super::bytes::*;
use super::server::World;

#[test]
fn second_connection_with_the_same_identifier_takes_over_the_session() {
    for version in [4, 5] {
        let mut world = World::new();
        let old = world.connect(connect(version, "c").lasting());
        let other = world.connect(connect(version, "other"));
        let new = world.try_connect(connect(version, "c").lasting());
        world.shows_closed(
            old,
            "3.1.1:MQTT-3.1.4-2 5.0:MQTT-3.1.4-3",
            &goodbye(version, 0x8E),
        );
        world.shows(new, "", &[accepted(version, true)]);
        world.shows::<Vec<u8>>(other, "", &[]);
    }
}

#[test]
fn silence_of_one_and_a_half_times_keep_alive_ends_the_connection() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(5, "watcher"), &[("w", 0)]);
        let peer = world.connect(connect(version, "c").keep_alive(10).will("w", "gone", 0));
        world.wait(14.9);
        world.send(peer, pingreq());
        world.wait(14.9);
        world.shows(peer, "5.0:MQTT-3.2.2-22", &[pingresp()]);
        world.wait(0.2);
        world.shows_closed(
            peer,
            "3.1.1:MQTT-3.1.2-24 5.0:MQTT-3.1.2-22",
            &goodbye(version, 0x8D),
        );
        // The server acts as if the network had failed, so it publishes the will.
        world.shows(watcher, "", &[publish(5, "w", "gone")]);
    }
}

#[test]
fn without_keep_alive_silence_is_allowed() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.wait(1_000_000.0);
        world.shows::<Vec<u8>>(peer, "", &[]);
    }
}

#[test]
fn connection_without_connect_is_closed_after_a_time_limit() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.open(version);
        world.send(peer, vec![0x10]);
        world.wait(60.0);
        world.shows_closed(peer, "3.1.1:U3-07", &[]);
    }
}

#[test]
fn pingreq_is_answered() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, pingreq());
        world.shows(peer, "3.1.1:MQTT-3.12.4-1 5.0:MQTT-3.12.4-1", &[pingresp()]);
    }
}

/// A server of 5.0 sends DISCONNECT before it ends a connection, and nothing after it.
#[test]
fn server_sends_nothing_after_disconnect() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    let sender = world.connect(connect(5, "sender"));
    world.send(peer, subscribe(5, 1, &[("a", 0)]));
    world.take(peer);
    world.send(peer, connect(5, "c"));
    world.send(sender, publish(5, "a", "x"));
    world.shows_closed(
        peer,
        "5.0:MQTT-3.14.4-1 5.0:MQTT-3.14.4-2 5.0:MQTT-3.14.2-1 5.0:MQTT-3.14.2-2 5.0:MQTT-4.13.2-1",
        &disconnect_code(0x82),
    );
}

/// The server sends no reason strings and user properties, so its answers fit into any Maximum Packet Size.
#[test]
fn answers_fit_into_a_tiny_maximum_packet_size() {
    let mut world = World::with(Limits::default());
    let peer = world.try_connect(connect(5, "c").property(&four(0x27, 20)));
    world.shows(peer, "5.0:MQTT-3.1.2-24", &[accepted(5, false)]);
    let long = "a".repeat(50);
    world.send(peer, subscribe(5, 1, &[("a", 1), (&long, 1)]));
    world.shows(peer, "5.0:MQTT-3.1.2-24", &[suback(5, 1, &[1, 1])]);
    world.send(peer, publish(5, "a", "0123456789").qos(1, 1));
    // This PUBLISH has 1 + 1 + 3 + 2 + 1 + 10 = 18 bytes, with properties. The next one has 21 bytes, and the limit is
    // 20.
    world.shows(
        peer,
        "5.0:MQTT-3.1.2-24",
        &[
            publish(5, "a", "0123456789").qos(1, 1).into(),
            ack(PUBACK, 1),
        ],
    );
    world.send(peer, ack(PUBACK, 1));
    world.send(peer, publish(5, "a", "0123456789012").qos(1, 2));
    world.shows(
        peer,
        "5.0:MQTT-3.1.2-24 5.0:MQTT-3.1.2-25",
        &[ack(PUBACK, 2)],
    );
    // The server discards the large message as if it had delivered it [MQTT-3.1.2-25], and sends the next one.
    world.send(peer, publish(5, "a", "y").qos(1, 3));
    world.shows(
        peer,
        "5.0:MQTT-3.1.2-25",
        &[publish(5, "a", "y").qos(1, 2).into(), ack(PUBACK, 3)],
    );
}

/// If the CONNACK exceeds the Maximum Packet Size of the client, the server can only close the connection: it may send
/// no other packet first.
#[test]
fn connection_is_closed_if_connack_exceeds_maximum_packet_size() {
    let mut world = World::new();
    let peer = world.try_connect(connect(5, "c").property(&four(0x27, 15)));
    world.shows_closed(peer, "5.0:MQTT-3.2.0-1 5.0:MQTT-3.1.2-24", &[]);
}

/// A topic alias takes three bytes, and this topic name only one. The server sends the name if the message would be too
/// large with the alias.
#[test]
fn topic_alias_is_not_used_if_it_makes_the_message_too_large() {
    let mut world = World::new();
    let limits = [four(0x27, 20), two(0x22, 1)].concat();
    let small = connect(5, "c").property(&limits);
    let peer = world.subscriber(small, &[("a", 0)]);
    world.send(peer, publish(5, "a", "x"));
    world.send(peer, publish(5, "a", "01234567890123"));
    world.shows(
        peer,
        "5.0:MQTT-3.1.2-24",
        &[
            publish(5, "a", "x").property(&two(0x23, 1)),
            publish(5, "a", "01234567890123"), // 20 bytes; 22 with the alias instead of the name
        ],
    );
}
