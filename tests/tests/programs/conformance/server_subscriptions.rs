//! SUBSCRIBE and UNSUBSCRIBE in the server, the messages that subscribers get, and shared subscriptions.

use super::bytes::*;
use super::server::World;

#[test]
fn subscribe_is_answered_with_a_code_for_each_filter_in_order() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        // The server rejects a topic filter with too many levels, and accepts the other filters of the packet.
        let deep = "a/".repeat(300);
        let filters = [("a", 2), ("b/+", 0), (&deep, 1), ("c/#", 1)];
        world.send(peer, subscribe(version, 258, &filters));
        let refused = if version == 5 { 0x8F } else { 0x80 };
        world.shows(
            peer,
            "3.1.1:MQTT-3.8.4-1 3.1.1:MQTT-3.8.4-2 3.1.1:MQTT-3.8.4-4 3.1.1:MQTT-3.8.4-5 \
             3.1.1:MQTT-3.9.3-1 3.1.1:MQTT-3.9.3-2 3.1.1:MQTT-2.3.1-7 3.1.1:U3-09 5.0:MQTT-3.8.4-1 \
             5.0:MQTT-3.8.4-2 5.0:MQTT-3.8.4-5 5.0:MQTT-3.8.4-6 5.0:MQTT-3.8.4-7 5.0:MQTT-3.9.3-1 \
             5.0:MQTT-3.9.3-2 5.0:MQTT-2.2.1-6",
            &[suback(version, 258, &[2, 0, refused, 1])],
        );
        world.send(peer, publish(version, "c/d", "x"));
        world.shows(peer, "", &[publish(version, "c/d", "x")]);
    }
}

#[test]
fn delivers_matching_messages_with_the_lower_qos() {
    for version in [4, 5] {
        for granted in 0..=2 {
            let mut world = World::new();
            let peer = world.subscriber(connect(version, "c"), &[("a/+", granted)]);
            let sender = world.connect(connect(version, "sender"));
            world.send(sender, publish(version, "b", "no"));
            let mut expected = Vec::new();
            for qos in 0..=2 {
                world.send(sender, publish(version, "a/x", "x").qos(qos, 7));
                let delivered = qos.min(granted);
                let identifier =
                    expected.len() as u16 + 1 + u16::from(granted == 0) - u16::from(granted > 0);
                expected.push(publish(version, "a/x", "x").qos(delivered, identifier));
            }
            world.shows(
                peer,
                "3.1.1:MQTT-3.8.4-6 5.0:MQTT-3.8.4-8 3.1.1:MQTT-3.3.2-3 5.0:MQTT-3.3.2-3",
                &expected,
            );
        }
    }
}

#[test]
fn subscribing_again_replaces_the_subscription() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "kept").retain().qos(1, 1));
        world.take(peer);
        let kept = publish(version, "a", "kept").retain();
        world.send(peer, subscribe(version, 1, &[("a", 0)]));
        world.shows(peer, "", &[suback(version, 1, &[0]), kept.clone().into()]);
        world.send(peer, publish(version, "a", "between"));
        world.send(peer, subscribe(version, 2, &[("a", 1)]));
        world.send(peer, publish(version, "a", "x").qos(1, 2));
        world.shows(
            peer,
            "3.1.1:MQTT-3.8.4-3 5.0:MQTT-3.8.4-3 5.0:MQTT-3.8.4-4",
            &[
                publish(version, "a", "between").into(),
                suback(version, 2, &[1]),
                kept.qos(1, 1).into(),
                publish(version, "a", "x").qos(1, 2).into(), // one message, with the new QoS
                ack(PUBACK, 2),
            ],
        );
    }
}

#[test]
fn overlapping_subscriptions_give_one_message_with_the_highest_qos() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c"), &[("a/#", 0), ("a/+", 2), ("a/b", 1)]);
        let sender = world.connect(connect(version, "sender"));
        world.send(sender, publish(version, "a/b", "x").qos(2, 1));
        world.shows(
            peer,
            "3.1.1:MQTT-3.3.5-1 5.0:MQTT-3.3.4-2",
            &[publish(version, "a/b", "x").qos(2, 1)],
        );
    }
}

#[test]
fn message_has_the_identifiers_of_all_matching_subscriptions() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    for (identifier, filter) in [(1, "a/#"), (200, "a/+")] {
        let property = [vec![0x0B], length(identifier)].concat();
        world.send(peer, subscribe_with(5, 1, &property, &[(filter, 0)]));
    }
    world.send(peer, subscribe(5, 1, &[("a/b", 0)]));
    world.take(peer);
    world.send(peer, publish(5, "a/b", "x"));
    let message = world.take(peer);
    let body = &message[2..];
    let mut properties = body[6..body.len() - 1].to_vec();
    if properties[0] == 0x0B && properties[1] == 200 {
        properties.rotate_left(3); // the order is not specified
    }
    world.proves(
        peer,
        "5.0:MQTT-3.3.4-3 5.0:MQTT-3.3.4-4",
        (body[5], properties),
        (5, vec![0x0B, 1, 0x0B, 200, 1]),
    );
    // A subscription that replaces another one also replaces its Subscription Identifier.
    world.send(peer, subscribe(5, 1, &[("a/#", 0)]));
    world.take(peer);
    world.send(peer, publish(5, "a/b/c", "x"));
    world.shows(peer, "5.0:MQTT-3.8.4-3", &[publish(5, "a/b/c", "x")]);
}

#[test]
fn no_local_keeps_a_message_from_its_publisher() {
    let mut world = World::new();
    let peer = world.subscriber(connect(5, "c"), &[("a", 4)]);
    let other = world.subscriber(connect(5, "other"), &[("a", 4)]);
    world.send(peer, publish(5, "a", "x"));
    world.shows::<Vec<u8>>(peer, "5.0:MQTT-3.8.3-3", &[]);
    world.shows(other, "5.0:MQTT-3.8.3-3", &[publish(5, "a", "x")]);
}

#[test]
fn unsubscribe_ends_exactly_that_subscription() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c"), &[("a/+", 0), ("b", 0), ("c", 0)]);
        world.send(peer, unsubscribe(version, 258, &["a/b", "b", "B", "c"]));
        world.shows(
            peer,
            "3.1.1:MQTT-3.10.4-1 3.1.1:MQTT-3.10.4-4 3.1.1:MQTT-3.10.4-5 3.1.1:MQTT-3.10.4-6 \
             3.1.1:MQTT-2.3.1-7 5.0:MQTT-3.10.4-4 5.0:MQTT-3.10.4-5 5.0:MQTT-3.10.4-6 \
             5.0:MQTT-3.11.3-1 5.0:MQTT-3.11.3-2 5.0:MQTT-2.2.1-6",
            &[unsuback(version, 258, &[0x11, 0, 0x11, 0])],
        );
        for topic in ["a/b", "b", "c"] {
            world.send(peer, publish(version, topic, "x"));
        }
        world.shows(
            peer,
            "3.1.1:MQTT-3.10.4-1 3.1.1:MQTT-3.10.4-2 5.0:MQTT-3.10.4-1 5.0:MQTT-3.10.4-2",
            &[publish(version, "a/b", "x")],
        );
    }
}

#[test]
fn messages_in_flight_are_completed_after_unsubscribe() {
    for version in [4, 5] {
        let mut world = World::new();
        let lasting = connect(version, "c").lasting();
        let peer = world.subscriber(lasting.clone(), &[("a", 2)]);
        world.send(peer, publish(version, "a", "1").qos(1, 1));
        world.send(peer, publish(version, "a", "2").qos(2, 2));
        world.take(peer);
        world.send(peer, unsubscribe(version, 3, &["a"]));
        world.send(peer, ack(PUBREC, 2));
        world.shows(
            peer,
            "3.1.1:MQTT-3.10.4-3 5.0:MQTT-3.10.4-3",
            &[unsuback(version, 3, &[0]), ack(PUBREL, 2)],
        );
        world.lose(peer);
        let peer = world.try_connect(lasting);
        world.shows(
            peer,
            "3.1.1:MQTT-3.10.4-3 5.0:MQTT-3.10.4-3",
            &[
                accepted(version, true),
                publish(version, "a", "1").qos(1, 1).dup().into(),
                ack(PUBREL, 2),
            ],
        );
    }
}

#[test]
fn topics_are_compared_byte_by_byte() {
    for version in [4, 5] {
        let mut world = World::new();
        let filters = [("a/b", 0), ("\u{e9}", 0), ("/+", 0), (" x", 0)];
        let peer = world.subscriber(connect(version, "c"), &filters);
        let sender = world.connect(connect(version, "sender"));
        for topic in ["A/b", "a/b/", "/a/b", "e\u{301}", "x", "a"] {
            world.send(sender, publish(version, topic, "x"));
        }
        world.shows::<Vec<u8>>(peer, "3.1.1:MQTT-4.7.3-4 5.0:MQTT-4.7.3-4", &[]);
        for topic in ["a/b", "\u{e9}", "/", "/x", " x"] {
            world.send(sender, publish(version, topic, "x"));
            world.shows(
                peer,
                "3.1.1:MQTT-4.7.3-4 5.0:MQTT-4.7.3-4",
                &[publish(version, topic, "x")],
            );
        }
    }
}

#[test]
fn leading_wildcards_do_not_match_topics_that_start_with_a_dollar() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.subscriber(connect(version, "c"), &[("#", 0), ("+/x", 0)]);
        let exact = world.subscriber(connect(version, "exact"), &[("$app/#", 0)]);
        world.send(peer, publish(version, "$app/x", "x"));
        world.shows::<Vec<u8>>(peer, "3.1.1:MQTT-4.7.2-1 5.0:MQTT-4.7.2-1", &[]);
        world.shows(
            exact,
            "3.1.1:MQTT-4.7.2-1 5.0:MQTT-4.7.2-1",
            &[publish(version, "$app/x", "x")],
        );
    }
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_member() {
    let mut world = World::new();
    let one = world.subscriber(connect(5, "one"), &[("$share/g/a", 0)]);
    let two = world.subscriber(connect(5, "two"), &[("$share/g/a", 2)]);
    let sender = world.connect(connect(5, "sender"));
    for number in 1..=4 {
        world.send(sender, publish(5, "a", &number.to_string()).qos(2, number));
    }
    // Each member gets the message with the QoS that it was granted.
    world.shows(
        one,
        "5.0:MQTT-4.8.2-3",
        &[publish(5, "a", "1"), publish(5, "a", "3")],
    );
    world.shows(
        two,
        "5.0:MQTT-4.8.2-3",
        &[
            publish(5, "a", "2").qos(2, 1),
            publish(5, "a", "4").qos(2, 2),
        ],
    );
    // A shared and a plain subscription to the same filter are two subscriptions, and UNSUBSCRIBE ends only one of
    // them.
    world.send(one, subscribe(5, 1, &[("a", 0)]));
    world.send(one, unsubscribe(5, 2, &["$share/g/a"]));
    world.take(one);
    world.send(sender, publish(5, "a", "5"));
    world.shows(one, "5.0:MQTT-3.10.4-1", &[publish(5, "a", "5")]);
    world.shows(two, "5.0:MQTT-3.10.4-1", &[publish(5, "a", "5")]);
}

#[test]
fn retained_messages_are_not_sent_to_shared_subscriptions() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    world.send(peer, publish(5, "a", "kept").retain());
    world.send(peer, subscribe(5, 1, &[("$share/g/a", 0)]));
    world.shows(peer, "", &[suback(5, 1, &[0])]);
}

#[test]
fn message_in_flight_of_a_shared_subscription_stays_with_its_member() {
    let mut world = World::new();
    let lasting = connect(5, "one").not_clean().property(&four(0x11, 100));
    let one = world.subscriber(lasting.clone(), &[("$share/g/a", 2)]);
    let two = world.subscriber(connect(5, "two"), &[("$share/g/a", 2)]);
    let sender = world.connect(connect(5, "sender"));
    world.send(sender, publish(5, "a", "x").qos(2, 1));
    world.shows(one, "", &[publish(5, "a", "x").qos(2, 1)]);
    world.lose(one);
    let one = world.try_connect(lasting.clone());
    world.shows(
        one,
        "5.0:MQTT-4.8.2-4",
        &[
            accepted(5, true),
            publish(5, "a", "x").qos(2, 1).dup().into(),
        ],
    );
    world.shows::<Vec<u8>>(two, "5.0:MQTT-4.8.2-4", &[]);
    // The session of this member ends before the exchange is finished. No other member gets the message.
    world.lose(one);
    world.wait(101.0);
    world.shows::<Vec<u8>>(two, "5.0:MQTT-4.8.2-5", &[]);
    let one = world.try_connect(lasting);
    world.shows(one, "5.0:MQTT-4.8.2-5", &[accepted(5, false)]);
}

#[test]
fn message_that_a_member_of_a_shared_subscription_rejects_is_dropped() {
    let mut world = World::new();
    let one = world.subscriber(connect(5, "one"), &[("$share/g/a", 2)]);
    let two = world.subscriber(connect(5, "two"), &[("$share/g/a", 2)]);
    let sender = world.connect(connect(5, "sender"));
    world.send(sender, publish(5, "a", "x").qos(1, 1));
    world.take(one);
    world.send(one, ack_code(PUBACK, 1, 0x80));
    world.shows::<Vec<u8>>(one, "5.0:MQTT-4.8.2-6", &[]);
    world.shows::<Vec<u8>>(two, "5.0:MQTT-4.8.2-6", &[]);
    world.send(sender, publish(5, "a", "y").qos(2, 2));
    world.take(two);
    world.send(two, ack_code(PUBREC, 1, 0x80));
    world.shows::<Vec<u8>>(one, "5.0:MQTT-4.8.2-6", &[]);
    world.shows::<Vec<u8>>(two, "5.0:MQTT-4.8.2-6", &[]);
}
