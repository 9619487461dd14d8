//! Tests of the mount points of listeners.

use mqtt_broker_core::{Limits, ListenerPolicy};
use mqtt_codec::{
    Delivery, Message, PacketIdentifier, PacketRef, QoS, ReasonCode, TopicName, Will,
};

use crate::world::{World, connect, mounted};

#[test]
fn mount_points_apply_after_a_restart() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), mounted()],
    );
    let (away, _) = world.connect(1, &connect("away", u32::MAX));
    world.subscribe(&away, "a");
    world.close(&away);
    let mut world = world.restarted(vec![ListenerPolicy::everyone(), mounted()]);
    let (publisher, _) = world.connect(0, &connect("p", 0));
    world.publish(&publisher, "m/a", false);
    let (mut back, connack) = world.connect(1, &connect("away", u32::MAX));
    assert!(connack.session_present);
    assert_eq!(world.topic_received(&mut back).as_deref(), Some("a"));
}

#[test]
fn rejects_topics_that_exceed_the_limit_with_the_mount_point() {
    let mut world = World::new(Limits::default(), vec![mounted()]);
    let (mut peer, _) = world.connect(0, &connect("c", 0));
    let long = "x".repeat(65534);
    world.subscribe(&peer, &long);
    let reason_code = world.next(&mut peer, |packet| match packet {
        PacketRef::Suback(suback) => suback.reason_codes.first().copied(),
        _ => None,
    });
    assert_eq!(reason_code, Some(ReasonCode::TopicFilterInvalid));
    world.publish(&peer, &long, false);
    assert!(world.broker.has_ended(peer.id));
}

#[test]
fn topic_that_is_empty_without_the_mount_point_is_not_delivered() {
    for filter in ["#", "$share/g/#", "+/#"] {
        for retain in [true, false] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                let mut world = World::new(
                    Limits::default(),
                    vec![ListenerPolicy::everyone(), mounted()],
                );
                let (publisher, _) = world.connect(0, &connect("p", 0));
                let (mut inside, _) = world.connect(1, &connect("inside", 0));
                if !retain {
                    world.subscribe(&inside, filter);
                }
                for topic_name in ["m", "m/", "m/a"] {
                    let mut message = Message::new(TopicName::new(topic_name).unwrap(), "x");
                    message.retain = retain;
                    let delivery = Delivery::first(qos, PacketIdentifier::FIRST);
                    world.send(&publisher, &PacketRef::Publish(message.publish(delivery)));
                }
                if retain {
                    world.subscribe(&inside, filter);
                }
                let gets_it = !retain || !filter.starts_with("$share");
                let received = world.topic_received(&mut inside);
                assert_eq!(
                    received.as_deref(),
                    gets_it.then_some("a"),
                    "{filter} {qos:?}"
                );
                assert_eq!(world.topic_received(&mut inside), None, "{filter} {qos:?}");
            }
        }
    }
}

#[test]
fn topics_of_the_broker_are_reserved_for_mounted_clients() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), mounted()],
    );
    let (mut witness, _) = world.connect(0, &connect("witness", 0));
    world.subscribe(&witness, "m/#");
    let mut dying = connect("w", 0);
    let will = Message::new(TopicName::new("$SYS/will").unwrap(), "x");
    dying.will = Some(Will::new(will, QoS::AtLeastOnce));
    let (mut inside, _) = world.connect(1, &dying);
    world.publish(&inside, "$SYS/x", true);
    let reason_code = world.next(&mut inside, |packet| match packet {
        PacketRef::Puback(ack) => Some(ack.reason_code),
        _ => None,
    });
    assert_eq!(reason_code, Some(ReasonCode::NotAuthorized));
    world.close(&inside);
    assert_eq!(world.topic_received(&mut witness), None);
}

#[test]
fn a_will_is_mounted_and_a_topic_that_equals_the_mount_point_is_not_delivered() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), mounted()],
    );
    let (mut inside, _) = world.connect(1, &connect("inside", 0));
    world.subscribe(&inside, "#");
    for (listener, topic_name) in [(0, "m/"), (0, "m"), (1, "a")] {
        let mut dying = connect("w", 0);
        let will = Message::new(TopicName::new(topic_name).unwrap(), "x");
        dying.will = Some(Will::new(will, QoS::AtLeastOnce));
        let (peer, _) = world.connect(listener, &dying);
        world.close(&peer);
    }
    assert_eq!(world.topic_received(&mut inside).as_deref(), Some("a"));
    assert_eq!(world.topic_received(&mut inside), None);
}
