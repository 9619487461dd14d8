//! Wills in the server: the events that publish a will, and those that delete it.

use super::bytes::*;
use super::server::World;

/// Creates a server with a client that subscribes to all wills.
fn watched(version: u8) -> (World, super::server::Peer) {
    let mut world = World::new();
    let watcher = world.subscriber(connect(version, "watcher"), &[("w/#", 2)]);
    (world, watcher)
}

#[test]
fn a_will_is_published_when_the_connection_is_lost() {
    for version in [4, 5] {
        for qos in 0..=2 {
            let (mut world, watcher) = watched(version);
            let peer = world.connect(connect(version, "c").will("w/c", "gone", qos << 3));
            world.shows::<Vec<u8>>(watcher, "", &[]); // not while the client is connected
            world.lose(peer);
            world.shows(
                watcher,
                "3.1.1:MQTT-3.1.2-8 3.1.1:MQTT-3.1.2-9 5.0:MQTT-3.1.2-7 5.0:MQTT-3.1.2-8",
                &[publish(version, "w/c", "gone").qos(qos, 1)],
            );
            // The will is published once: the next connection has no will.
            let peer = world.connect(connect(version, "c"));
            world.lose(peer);
            world.shows::<Vec<u8>>(
                watcher,
                "3.1.1:MQTT-3.1.2-10 3.1.1:MQTT-3.1.2-12 5.0:MQTT-3.1.2-10",
                &[],
            );
        }
    }
}

#[test]
fn disconnect_discards_the_will() {
    for version in [4, 5] {
        let (mut world, watcher) = watched(version);
        let peer = world.connect(connect(version, "c").will("w/c", "gone", 0));
        world.send(peer, disconnect());
        world.lose(peer);
        world.wait(1000.0);
        world.shows::<Vec<u8>>(
            watcher,
            "3.1.1:MQTT-3.14.4-3 3.1.1:MQTT-3.1.2-8 3.1.1:MQTT-3.1.2-10 5.0:MQTT-3.14.4-3 \
             5.0:MQTT-3.1.2-8 5.0:MQTT-3.1.2-10",
            &[],
        );
    }
}

#[test]
fn disconnect_with_will_message_or_an_error_publishes_the_will() {
    for code in [0x04, 0x80, 0x81, 0x82] {
        let (mut world, watcher) = watched(5);
        let peer = world.connect(connect(5, "c").will("w/c", "gone", 0));
        world.send(peer, disconnect_code(code));
        world.shows(
            watcher,
            "5.0:U5-26 5.0:MQTT-3.1.2-8",
            &[publish(5, "w/c", "gone")],
        );
        world.lose(peer);
        world.shows::<Vec<u8>>(watcher, "5.0:MQTT-3.1.2-10", &[]);
    }
}

#[test]
fn an_error_of_the_client_publishes_its_will() {
    for version in [4, 5] {
        let (mut world, watcher) = watched(version);
        let peer = world.connect(connect(version, "c").will("w/c", "gone", 0));
        world.send(peer, vec![0xFF]);
        world.shows(
            watcher,
            "3.1.1:MQTT-3.1.2-8 5.0:MQTT-3.1.2-8",
            &[publish(version, "w/c", "gone")],
        );
    }
}

#[test]
fn take_over_publishes_the_will_unless_the_session_continues_with_a_will_delay() {
    for version in [4, 5] {
        let (mut world, watcher) = watched(version);
        world.connect(connect(version, "c").will("w/c", "gone", 0));
        world.connect(connect(version, "c"));
        world.shows(
            watcher,
            "3.1.1:MQTT-3.1.2-8 5.0:MQTT-3.1.2-8",
            &[publish(version, "w/c", "gone")],
        );
    }
    let (mut world, watcher) = watched(5);
    let delayed = connect(5, "c")
        .lasting()
        .will_with("w/c", "gone", 0, &four(0x18, 10));
    world.connect(delayed.clone());
    world.connect(delayed.clone()); // its CONNECT has the same will again
    world.wait(1000.0);
    world.shows::<Vec<u8>>(watcher, "5.0:MQTT-3.1.3-9", &[]);
    // A clean start ends the session, and so the will delay.
    world.connect(delayed);
    world.connect(connect(5, "c"));
    world.shows(watcher, "5.0:MQTT-3.1.2-8", &[publish(5, "w/c", "gone")]);
}

#[test]
fn will_is_published_after_its_delay_or_at_the_end_of_the_session() {
    // Session Expiry Interval, Will Delay Interval, and the time at which the will is due.
    for (expiry, delay, due) in [
        (100, 10, 10.0),
        (5, 10, 5.0),
        (u32::MAX, 10, 10.0),
        (0, 10, 0.0),
    ] {
        let (mut world, watcher) = watched(5);
        let peer = world.connect(
            connect(5, "c")
                .not_clean()
                .property(&four(0x11, expiry))
                .will_with("w/c", "gone", 0, &four(0x18, delay)),
        );
        world.lose(peer);
        if due > 0.0 {
            world.wait(due - 0.1);
            world.shows::<Vec<u8>>(watcher, "5.0:MQTT-3.1.2-8", &[]);
            world.wait(0.2);
        }
        world.shows(watcher, "5.0:MQTT-3.1.2-8", &[publish(5, "w/c", "gone")]);
        world.wait(1000.0);
        world.shows::<Vec<u8>>(watcher, "5.0:MQTT-3.1.2-10", &[]);
    }
}

#[test]
fn reconnecting_within_the_delay_discards_the_will() {
    let (mut world, watcher) = watched(5);
    let delay = four(0x18, 10);
    let with_will = connect(5, "c")
        .lasting()
        .will_with("w/c", "gone", 0, &delay);
    let peer = world.connect(with_will.clone());
    world.lose(peer);
    world.wait(9.0);
    world.connect(with_will); // the old will must not be published
    world.wait(1000.0);
    world.shows::<Vec<u8>>(watcher, "5.0:MQTT-3.1.3-9 5.0:MQTT-3.1.2-8", &[]);
}

#[test]
fn will_retain_makes_the_will_a_retained_message() {
    for version in [4, 5] {
        for (flag, kept) in [(0x00, false), (0x20, true)] {
            let mut world = World::new();
            let peer = world.connect(connect(version, "c").will("w", "gone", flag));
            world.lose(peer);
            let late = world.connect(connect(version, "late"));
            world.send(late, subscribe(version, 1, &[("w", 0)]));
            let mut expected = vec![suback(version, 1, &[0])];
            if kept {
                expected.push(publish(version, "w", "gone").retain().into());
                world.shows(late, "3.1.1:MQTT-3.1.2-17 5.0:MQTT-3.1.2-15", &expected);
            } else {
                world.shows(late, "3.1.1:MQTT-3.1.2-16 5.0:MQTT-3.1.2-14", &expected);
            }
        }
    }
}

#[test]
fn properties_of_a_will_are_published_in_order() {
    let (mut world, watcher) = watched(5);
    let kept = [
        vec![0x01, 1],
        text_property(0x03, "text/plain"),
        text_property(0x08, "answers"),
        text_property(0x09, "7"),
        user_property("b", "1"),
        user_property("a", "2"),
        user_property("b", "3"),
    ]
    .concat();
    let peer = world.connect(connect(5, "c").will_with("w/c", "gone", 0, &kept));
    world.lose(peer);
    world.shows(
        watcher,
        "5.0:MQTT-3.1.3-10",
        &[publish(5, "w/c", "gone").property(&kept)],
    );
}

/// The topic of the will is not permitted, and 3.1.1 has no return code for that.
#[test]
fn closes_without_connack_if_no_return_code_fits() {
    for (version, connack) in [(4, &[][..]), (5, &[0x20, 3, 0, 0x90, 0])] {
        let mut world = World::new();
        let peer = world.try_connect(connect(version, "c").will("w\u{1}", "x", 0));
        world.shows_closed(peer, "3.1.1:MQTT-3.2.2-6 5.0:MQTT-3.2.2-7", connack);
    }
}

#[test]
fn rejects_a_will_with_a_wildcard_or_without_a_topic() {
    for version in [4, 5] {
        for topic in ["", "w/+", "#"] {
            let mut world = World::new();
            let peer = world.try_connect(connect(version, "c").will(topic, "x", 0));
            world.shows_closed(
                peer,
                "3.1.1:MQTT-3.1.4-1 5.0:MQTT-3.1.4-1 3.1.1:MQTT-4.7.1-1 5.0:MQTT-4.7.0-1 \
                 3.1.1:MQTT-4.7.3-1 5.0:MQTT-4.7.3-1",
                &refused(version, 0x90),
            );
        }
    }
}
