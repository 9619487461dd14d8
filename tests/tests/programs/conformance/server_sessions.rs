//! The session state in the server: its content, its expiry, and the packets that the server resends.

use super::bytes::*;
use super::server::World;

#[test]
fn server_resumes_session_and_sends_queued_messages() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.try_connect(connect(version, "c").lasting());
        world.shows(
            peer,
            "3.1.1:MQTT-3.2.2-3 3.1.1:MQTT-3.1.2-4 5.0:MQTT-3.1.2-6 5.0:MQTT-3.2.2-3",
            &[accepted(version, false)],
        );
        world.send(peer, subscribe(version, 1, &[("a", 2)]));
        world.take(peer);
        world.send(peer, disconnect());
        world.lose(peer);
        let sender = world.connect(connect(version, "sender"));
        for (qos, payload) in [(1, "one"), (2, "two")] {
            world.send(sender, publish(version, "a", payload).qos(qos, qos.into()));
        }
        world.wait(1_000_000.0);
        let peer = world.try_connect(connect(version, "c").lasting());
        world.shows(
            peer,
            "3.1.1:MQTT-3.2.2-2 3.1.1:MQTT-3.1.2-4 3.1.1:MQTT-3.1.2-5 3.1.1:MQTT-3.1.4-3 \
             3.1.1:MQTT-3.1.3-2 3.1.1:MQTT-4.1.0-1 5.0:MQTT-3.1.2-5 5.0:MQTT-3.1.2-23 5.0:MQTT-3.1.4-4 \
             5.0:MQTT-3.2.2-3 5.0:MQTT-3.1.3-2 3.1.1:MQTT-4.5.0-1 5.0:MQTT-4.5.0-1",
            &[
                accepted(version, true),
                publish(version, "a", "one").qos(1, 1).into(),
                publish(version, "a", "two").qos(2, 2).into(),
            ],
        );
    }
}

#[test]
fn clean_session_discards_earlier_state_and_ends_with_its_connection() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c").lasting(), &[("a", 1)]);
        world.lose(peer);
        let clean = world.try_connect(connect(version, "c"));
        world.shows(
            clean,
            "3.1.1:MQTT-3.1.2-6 3.1.1:MQTT-3.2.2-1 3.1.1:MQTT-3.1.4-3 5.0:MQTT-3.1.2-4 \
             5.0:MQTT-3.2.2-2 5.0:MQTT-3.1.4-4",
            &[accepted(version, false)],
        );
        world.send(clean, subscribe(version, 1, &[("b", 1)]));
        world.send(clean, publish(version, "a", "x"));
        world.shows(
            clean,
            "3.1.1:MQTT-3.1.2-6 5.0:MQTT-3.1.2-4",
            &[suback(version, 1, &[1])],
        );
        world.lose(clean);
        // In 5.0 a session without a Session Expiry Interval ends with its connection.
        let again = world.try_connect(connect(version, "c").lasting());
        world.send(again, publish(version, "b", "x"));
        world.shows(
            again,
            "3.1.1:MQTT-3.1.2-6 3.1.1:MQTT-3.2.2-3 5.0:MQTT-4.1.0-2",
            &[accepted(version, false)],
        );
    }
}

#[test]
fn a_session_ends_when_its_expiry_interval_has_passed() {
    for (seconds, lives) in [(9.0, true), (10.0, false), (11.0, false)] {
        let mut world = World::new();
        let limited = connect(5, "c").not_clean().property(&four(0x11, 10));
        let peer = world.connect(limited.clone());
        world.wait(1000.0); // the session of a connected client does not expire
        world.shows::<Vec<u8>>(peer, "", &[]);
        world.lose(peer);
        world.wait(seconds);
        let peer = world.try_connect(limited);
        world.shows(
            peer,
            "5.0:MQTT-4.1.0-2 5.0:MQTT-3.1.2-23 5.0:MQTT-3.2.2-3",
            &[accepted(5, lives)],
        );
    }
}

#[test]
fn disconnect_may_change_the_expiry_interval_but_not_from_zero() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c").lasting());
    world.send(peer, disconnect_with(0, &four(0x11, 5)));
    world.lose(peer);
    world.wait(6.0);
    let peer = world.try_connect(connect(5, "c").lasting());
    world.shows(peer, "5.0:MQTT-4.1.0-2", &[accepted(5, false)]);
    let peer = world.connect(connect(5, "d"));
    world.send(peer, disconnect_with(0, &four(0x11, 5)));
    world.shows_closed(peer, "5.0:U5-14", &disconnect_code(0x82));
}

#[test]
fn session_lasts_at_least_as_long_as_its_connection() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c"), &[("a", 1)]);
        world.wait(1_000_000.0);
        let sender = world.connect(connect(version, "sender"));
        world.send(sender, publish(version, "a", "x"));
        world.shows(
            peer,
            "3.1.1:MQTT-4.1.0-1 3.1.1:MQTT-4.1.0-2 5.0:MQTT-4.1.0-1",
            &[publish(version, "a", "x")],
        );
    }
}

/// The server resends unacknowledged PUBLISH and PUBREL packets in order, with their packet identifiers and DUP, and no
/// other packets.
#[test]
fn server_resends_unacknowledged_packets_on_the_next_connection_only() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c").lasting(), &[("a", 2)]);
        let sender = world.connect(connect(version, "sender"));
        for (number, qos) in [(1, 1), (2, 2), (3, 2), (4, 1), (5, 0)] {
            let payload = number.to_string();
            world.send(sender, publish(version, "a", &payload).qos(qos, number));
        }
        world.take(peer);
        world.send(peer, ack(PUBACK, 4));
        world.send(peer, ack(PUBREC, 3));
        world.shows(peer, "", &[ack(PUBREL, 3)]);
        world.wait(1_000_000.0);
        world.shows::<Vec<u8>>(peer, "5.0:MQTT-4.4.0-1", &[]); // nothing is resent on the same connection
        world.lose(peer);
        let peer = world.try_connect(connect(version, "c").lasting());
        world.shows(
            peer,
            "3.1.1:MQTT-4.4.0-1 5.0:MQTT-4.4.0-1 3.1.1:MQTT-3.3.1-1 5.0:MQTT-3.3.1-1 \
             3.1.1:MQTT-2.3.1-4 5.0:MQTT-4.4.0-2 3.1.1:MQTT-4.3.3-1 5.0:MQTT-4.3.3-5 5.0:MQTT-4.3.3-6 \
             5.0:MQTT-4.3.3-3 5.0:MQTT-4.3.2-3 3.1.1:MQTT-4.3.2-1 3.1.1:MQTT-4.6.0-6",
            &[
                accepted(version, true),
                publish(version, "a", "1").qos(1, 1).dup().into(),
                publish(version, "a", "2").qos(2, 2).dup().into(),
                ack(PUBREL, 3),
            ],
        );
        world.send(
            peer,
            [
                ack(PUBACK, 1),
                ack(PUBREC, 2),
                ack(PUBCOMP, 2),
                ack(PUBCOMP, 3),
            ]
            .concat(),
        );
        world.shows(peer, "", &[ack(PUBREL, 2)]);
        world.lose(peer);
        let peer = world.try_connect(connect(version, "c").lasting());
        world.shows(
            peer,
            "3.1.1:MQTT-4.4.0-1 5.0:MQTT-4.4.0-1",
            &[accepted(version, true)],
        );
    }
}

/// A PUBACK or PUBREC with a reason code of 0x80 or more also ends the exchange.
#[test]
fn server_does_not_resend_rejected_messages() {
    let mut world = World::new();
    let peer = world.subscriber(connect(5, "c").lasting(), &[("a", 2)]);
    let sender = world.connect(connect(5, "sender"));
    for qos in [1, 2] {
        world.send(sender, publish(5, "a", "x").qos(qos, qos.into()));
    }
    world.take(peer);
    world.send(peer, ack_code(PUBACK, 1, 0x97));
    world.send(peer, ack_code(PUBREC, 2, 0x97));
    world.shows::<Vec<u8>>(peer, "5.0:MQTT-4.3.3-4", &[]); // PUBREL is not sent
    world.lose(peer);
    let peer = world.try_connect(connect(5, "c").lasting());
    world.shows(peer, "5.0:MQTT-4.4.0-2", &[accepted(5, true)]);
}

/// The packet identifiers of received QoS 2 messages are session state, too.
#[test]
fn duplicate_on_the_next_connection_is_not_delivered_again() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 0)]);
        let peer = world.connect(connect(version, "c").lasting());
        world.send(peer, publish(version, "a", "x").qos(2, 7));
        world.shows(peer, "", &[ack(PUBREC, 7)]);
        world.lose(peer);
        let peer = world.connect(connect(version, "c").lasting());
        world.send(peer, publish(version, "a", "x").qos(2, 7).dup());
        world.shows(
            peer,
            "3.1.1:MQTT-4.1.0-1 5.0:MQTT-4.1.0-1 3.1.1:MQTT-4.3.3-2 5.0:MQTT-4.3.3-10",
            &[ack(PUBREC, 7)],
        );
        world.shows(watcher, "", &[publish(version, "a", "x")]);
    }
}

#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "kept").retain());
        world.lose(peer);
        world.wait(1000.0);
        let other = world.connect(connect(version, "other"));
        world.send(other, subscribe(version, 1, &[("a", 0)]));
        world.shows(
            other,
            "3.1.1:MQTT-3.1.2-7",
            &[
                suback(version, 1, &[0]),
                publish(version, "a", "kept").retain().into(),
            ],
        );
    }
}

/// Topic aliases belong to one connection, in both directions.
#[test]
fn topic_aliases_do_not_outlive_the_connection() {
    let mut world = World::new();
    let watcher = world.subscriber(connect(5, "watcher"), &[("#", 0)]);
    let aliases = connect(5, "c").lasting().property(&two(0x22, 3));
    let peer = world.subscriber(aliases.clone(), &[("a", 1)]);
    world.send(peer, publish(5, "a", "1").property(&two(0x23, 1)).qos(1, 1));
    world.take(watcher);
    world.shows(
        peer,
        "",
        &[
            publish(5, "a", "1")
                .qos(1, 1)
                .property(&two(0x23, 1))
                .into(),
            ack(PUBACK, 1),
        ],
    );
    world.lose(peer);
    let peer = world.try_connect(aliases);
    world.shows(
        peer,
        "5.0:MQTT-3.3.2-7",
        &[
            accepted(5, true),
            publish(5, "a", "1").qos(1, 1).dup().into(), // with its topic name
        ],
    );
    world.send(peer, publish(5, "", "2").property(&two(0x23, 1)));
    world.shows_closed(peer, "5.0:MQTT-3.3.2-7 5.0:U5-08", &disconnect_code(0x82));
    world.shows::<Vec<u8>>(watcher, "", &[]);
}
