//! The properties of messages that a server forwards: topic aliases, the order of properties, and expiry.

use super::bytes::*;
use super::server::World;

#[test]
fn a_client_may_use_topic_aliases_up_to_the_maximum() {
    let mut world = World::new();
    let watcher = world.subscriber(connect(5, "watcher"), &[("#", 0)]);
    let peer = world.connect(connect(5, "c"));
    for alias in 1..=10 {
        let topic = format!("t/{alias}");
        world.send(peer, publish(5, &topic, "x").property(&two(0x23, alias)));
        world.send(peer, publish(5, "", "y").property(&two(0x23, alias)));
        world.shows(
            watcher,
            "5.0:MQTT-3.3.2-12",
            &[publish(5, &topic, "x"), publish(5, &topic, "y")],
        );
    }
    world.send(peer, publish(5, "new", "x").property(&two(0x23, 1)));
    world.send(peer, publish(5, "", "y").property(&two(0x23, 1)));
    world.shows(
        watcher,
        "5.0:MQTT-3.3.2-12",
        &[publish(5, "new", "x"), publish(5, "new", "y")],
    );
    world.send(peer, publish(5, "t", "x").property(&two(0x23, 11)));
    world.shows_closed(peer, "5.0:U5-07", &disconnect_code(0x94));
}

#[test]
fn the_server_uses_topic_aliases_only_as_the_client_allows() {
    let mut world = World::new();
    let none = world.subscriber(connect(5, "none"), &[("#", 0)]);
    let zero = world.subscriber(connect(5, "zero").property(&two(0x22, 0)), &[("#", 0)]);
    let one = world.subscriber(connect(5, "one").property(&two(0x22, 1)), &[("#", 0)]);
    for topic in ["a", "b", "a"] {
        world.send(none, publish(5, topic, "x"));
    }
    let plain = ["a", "b", "a"].map(|topic| publish(5, topic, "x"));
    world.shows(none, "5.0:MQTT-3.1.2-27", &plain);
    world.shows(zero, "5.0:MQTT-3.1.2-27 5.0:MQTT-3.3.2-8", &plain);
    world.shows(
        one,
        "5.0:MQTT-3.1.2-26 5.0:MQTT-3.3.2-11 5.0:MQTT-3.3.2-8",
        &[
            publish(5, "a", "x").property(&two(0x23, 1)),
            publish(5, "b", "x"),
            publish(5, "", "x").property(&two(0x23, 1)),
        ],
    );
}

#[test]
fn properties_of_a_message_are_passed_on_unaltered_and_in_order() {
    let mut world = World::new();
    let watcher = world.subscriber(connect(5, "watcher"), &[("a", 0)]);
    let peer = world.connect(connect(5, "c"));
    let all = [
        vec![0x01, 1],
        text_property(0x03, "text/plain"),
        text_property(0x08, "answers"),
        text_property(0x09, [0, 255, 7]),
        user_property("b", "1"),
        user_property("a", "2"),
        user_property("b", "1"),
    ]
    .concat();
    world.send(peer, publish(5, "a", "x").property(&all));
    world.shows(
        watcher,
        "5.0:MQTT-3.3.2-4 5.0:MQTT-3.3.2-15 5.0:MQTT-3.3.2-16 5.0:MQTT-3.3.2-17 5.0:MQTT-3.3.2-18 \
         5.0:MQTT-3.3.2-20",
        &[publish(5, "a", "x").property(&all)],
    );
}

#[test]
fn expired_messages_are_not_delivered_and_others_have_the_remaining_interval() {
    let mut world = World::new();
    let lasting = connect(5, "c").lasting();
    let peer = world.subscriber(lasting.clone(), &[("a", 1)]);
    world.lose(peer);
    let sender = world.connect(connect(5, "sender"));
    world.send(
        sender,
        publish(5, "a", "short").property(&four(0x02, 10)).qos(1, 1),
    );
    world.send(
        sender,
        publish(5, "a", "long").property(&four(0x02, 100)).qos(1, 2),
    );
    world.send(sender, publish(5, "a", "kept").qos(1, 3));
    world.wait(30.0);
    let peer = world.try_connect(lasting);
    world.shows(
        peer,
        "5.0:MQTT-3.3.2-5 5.0:MQTT-3.3.2-6",
        &[
            accepted(5, true),
            publish(5, "a", "long")
                .qos(1, 1)
                .property(&four(0x02, 70))
                .into(),
            publish(5, "a", "kept").qos(1, 2).into(),
        ],
    );
}

/// After PUBLISH was sent, the exchange is finished even if the message has expired.
#[test]
fn message_in_flight_does_not_expire() {
    let mut world = World::new();
    let lasting = connect(5, "c").lasting();
    let peer = world.subscriber(lasting.clone(), &[("a", 2)]);
    let sender = world.connect(connect(5, "sender"));
    for number in 1..=2 {
        world.send(
            sender,
            publish(5, "a", "x")
                .property(&four(0x02, 10))
                .qos(2, number),
        );
    }
    world.take(peer);
    world.send(peer, ack(PUBREC, 2));
    world.take(peer);
    world.lose(peer);
    world.wait(1000.0);
    let peer = world.try_connect(lasting);
    world.shows(
        peer,
        "5.0:MQTT-4.3.3-7",
        &[
            accepted(5, true),
            publish(5, "a", "x")
                .qos(2, 1)
                .dup()
                .property(&four(0x02, 1)) // the remaining time is rounded up
                .into(),
            ack(PUBREL, 2),
        ],
    );
    // The receiver also answers a message that has expired when it arrives.
    world.send(
        sender,
        publish(5, "a", "y").property(&four(0x02, 0)).qos(2, 9),
    );
    world.send(sender, ack(PUBREL, 9));
    let answers = world.take(sender);
    let last = answers[answers.len() - 8..].to_vec();
    let expected = [ack(PUBREC, 9), ack(PUBCOMP, 9)].concat();
    world.proves(sender, "5.0:MQTT-4.3.3-13", last, expected);
}
