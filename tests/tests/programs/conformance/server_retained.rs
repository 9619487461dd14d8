//! Retained messages, and the RETAIN flag of the messages that the server sends.

use super::bytes::*;
use super::server::World;

#[test]
fn the_last_retained_message_of_a_topic_goes_to_new_subscribers_with_retain_1() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "old").retain().qos(1, 1));
        world.send(peer, publish(version, "a", "new").retain()); // QoS 0 replaces the retained message, too
        world.send(peer, publish(version, "b", "other").retain().qos(1, 2));
        world.send(peer, publish(version, "a", "passing")); // RETAIN 0 does not change the retained message
        world.take(peer);
        world.send(peer, subscribe(version, 1, &[("+", 2)]));
        world.shows(
            peer,
            "3.1.1:MQTT-3.3.1-5 3.1.1:MQTT-3.3.1-6 3.1.1:MQTT-3.3.1-7 3.1.1:MQTT-3.3.1-8 \
             3.1.1:MQTT-3.3.1-12 5.0:MQTT-3.3.1-5 5.0:MQTT-3.3.1-8 5.0:MQTT-3.3.1-9",
            &[
                suback(version, 1, &[2]),
                publish(version, "a", "new").retain().into(),
                publish(version, "b", "other").retain().qos(1, 1).into(),
            ],
        );
    }
}

#[test]
fn empty_retained_message_is_delivered_and_removes_the_retained_one() {
    for version in [4, 5] {
        let mut world = World::new();
        let watcher = world.subscriber(connect(version, "watcher"), &[("a", 0)]);
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "kept").retain());
        world.send(peer, publish(version, "a", "").retain());
        world.shows(
            watcher,
            "3.1.1:MQTT-3.3.1-10 3.1.1:MQTT-3.3.1-9 5.0:MQTT-3.3.1-6 5.0:MQTT-3.3.1-12",
            &[publish(version, "a", "kept"), publish(version, "a", "")],
        );
        world.send(peer, publish(version, "b", "").retain());
        world.send(peer, subscribe(version, 1, &[("#", 0)]));
        world.shows(
            peer,
            "3.1.1:MQTT-3.3.1-10 3.1.1:MQTT-3.3.1-11 5.0:MQTT-3.3.1-6 5.0:MQTT-3.3.1-7",
            &[suback(version, 1, &[0])],
        );
    }
}

#[test]
fn message_without_retain_is_not_stored() {
    for version in [4, 5] {
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, publish(version, "a", "passing"));
        world.send(peer, publish(version, "b", "kept").retain());
        world.send(peer, publish(version, "b", "")); // RETAIN 0 removes no retained message
        world.send(peer, subscribe(version, 1, &[("#", 0)]));
        world.shows(
            peer,
            "3.1.1:MQTT-3.3.1-12 5.0:MQTT-3.3.1-8",
            &[
                suback(version, 1, &[0]),
                publish(version, "b", "kept").retain().into(),
            ],
        );
    }
}

#[test]
fn retain_handling_decides_when_retained_messages_are_sent() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    world.send(peer, publish(5, "a", "kept").retain());
    let kept: Vec<u8> = publish(5, "a", "kept").retain().into();
    let mut subscribe_with_handling = |handling: u8, statements, sent: bool| {
        world.send(peer, subscribe(5, 1, &[("a", handling << 4)]));
        let mut expected = vec![suback(5, 1, &[0])];
        expected.extend(sent.then(|| kept.clone()));
        world.shows(peer, statements, &expected);
    };
    subscribe_with_handling(2, "5.0:MQTT-3.3.1-11", false);
    subscribe_with_handling(1, "5.0:MQTT-3.3.1-10", false); // the subscription exists already
    subscribe_with_handling(0, "5.0:MQTT-3.3.1-9 5.0:MQTT-3.8.4-4", true);
    subscribe_with_handling(0, "5.0:MQTT-3.3.1-9 5.0:MQTT-3.8.4-4", true);
    world.send(peer, unsubscribe(5, 2, &["a"]));
    world.take(peer);
    world.send(peer, subscribe(5, 1, &[("a", 1 << 4)]));
    world.shows(peer, "5.0:MQTT-3.3.1-10", &[suback(5, 1, &[0]), kept]);
}

#[test]
fn retain_as_published_keeps_the_flag() {
    let mut world = World::new();
    let plain = world.subscriber(connect(5, "plain"), &[("a", 0)]);
    let keeping = world.subscriber(connect(5, "keeping"), &[("a", 8)]);
    world.send(plain, publish(5, "a", "1").retain());
    world.send(plain, publish(5, "a", "2"));
    world.shows(
        plain,
        "5.0:MQTT-3.3.1-12",
        &[publish(5, "a", "1"), publish(5, "a", "2")],
    );
    world.shows(
        keeping,
        "5.0:MQTT-3.3.1-13",
        &[publish(5, "a", "1").retain(), publish(5, "a", "2")],
    );
}

#[test]
fn a_retained_message_expires() {
    let mut world = World::new();
    let peer = world.connect(connect(5, "c"));
    world.send(
        peer,
        publish(5, "a", "short").retain().property(&four(0x02, 10)),
    );
    world.send(
        peer,
        publish(5, "b", "long").retain().property(&four(0x02, 100)),
    );
    world.wait(10.0);
    world.send(peer, subscribe(5, 1, &[("#", 0)]));
    world.shows(
        peer,
        "5.0:MQTT-3.3.2-5 5.0:MQTT-3.3.2-6",
        &[
            suback(5, 1, &[0]),
            publish(5, "b", "long")
                .retain()
                .property(&four(0x02, 90))
                .into(),
        ],
    );
}
