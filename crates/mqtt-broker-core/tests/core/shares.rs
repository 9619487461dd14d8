//! Tests of shared subscriptions: if the session of a member ends, other members receive its messages (MQTT 5.0,
//! 4.8.2).

use std::sync::Arc;

use mqtt_broker_core::{AccessList, Limits, ListenerPolicy};
use mqtt_codec::*;

use ProtocolVersion::V5_0;
use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

use crate::world::*;

const SHARE: &str = "$share/g/a/+";

/// Returns the CONNECT of a member with a Session Expiry Interval of 100 seconds and a Receive Maximum of 2.
fn member(identifier: &str) -> Connect {
    let mut connect = lasting(identifier, 100);
    connect.keep_alive = 0;
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    connect
}

/// Receives messages without acknowledging them.
fn unacknowledged(peer: &mut Peer, world: &mut World) -> Vec<String> {
    peer.take(world);
    let bytes = std::mem::take(&mut peer.received);
    let mut input = &bytes[..];
    let mut lines = Vec::new();
    while let Some(packet) = peer.decoder.decode(&mut input).unwrap() {
        match packet {
            PacketRef::Publish(publish) => lines.push(line(&publish)),
            other => panic!("{other:?}"),
        }
    }
    lines
}

/// Ends the session with the connection, by a DISCONNECT with Session Expiry Interval 0.
fn end(peer: &Peer, world: &mut World) {
    let mut disconnect = normal();
    disconnect.properties.session_expiry_interval = Some(0);
    peer.leave(world, disconnect);
}

/// Publishes messages to a share with one member, and then adds a second member. Returns the first member, the second
/// member and the publisher.
fn left_behind(world: &mut World, messages: &[(&'static str, QoS)]) -> (Peer, Peer, Peer) {
    let (mut one, _) = world.connect(&member("one"));
    one.subscribe(world, SHARE, qos(2));
    let (mut publisher, _) = world.connect(&member("publisher"));
    for (payload, qos) in messages {
        publisher.publish(world, &message("a/b", payload), *qos);
    }
    let (mut two, _) = world.connect(&member("two"));
    two.subscribe(world, SHARE, qos(2));
    (one, two, publisher)
}

#[test]
fn another_member_gets_unacknowledged_and_waiting_messages_in_order() {
    let world = &mut World::new();
    let messages = [
        ("1", AtLeastOnce),
        ("2", AtLeastOnce),
        ("3", AtLeastOnce),
        ("4", ExactlyOnce),
    ];
    let (mut one, mut two, mut publisher) = left_behind(world, &messages);
    assert_eq!(unacknowledged(&mut one, world), ["a/b 1 q1", "a/b 2 q1"]);
    one.die(world);
    assert!(two.messages(world).is_empty(), "its session goes on");
    world.wait(101);
    // New messages for the other member follow after the redistributed ones.
    publisher.publish(world, &message("a/b", "5"), AtLeastOnce);
    let expected = ["a/b 1 q1", "a/b 2 q1", "a/b 3 q1", "a/b 4 q2", "a/b 5 q1"];
    assert_eq!(two.messages(world), expected);
    // The first member has no session any more, so it must not receive the messages too.
    let (mut one, present) = world.connect(&member("one"));
    assert!(!present && one.messages(world).is_empty());
}

#[test]
fn member_without_session_expiry_leaves_its_messages_to_another() {
    for ends in [end, Peer::die] {
        let world = &mut World::new();
        let (mut one, _) = world.connect(&connect(V5_0, "one"));
        one.subscribe(world, SHARE, qos(1));
        let (mut two, _) = world.connect(&connect(V5_0, "two"));
        two.subscribe(world, SHARE, qos(1));
        let (mut publisher, _) = world.connect(&connect(V5_0, "publisher"));
        for payload in ["1", "2", "3", "4"] {
            publisher.publish(world, &message("a/b", payload), AtLeastOnce);
        }
        assert_eq!(two.messages(world), ["a/b 2 q1", "a/b 4 q1"]);
        ends(&one, world);
        assert_eq!(two.messages(world), ["a/b 1 q1", "a/b 3 q1"]);
    }
}

#[test]
fn a_new_session_of_the_same_client_ends_the_old_one() {
    let world = &mut World::new();
    let (_one, mut two, _) = left_behind(world, &[("1", AtLeastOnce), ("2", AtLeastOnce)]);
    let (mut one, _) = world.connect(&Connect {
        clean_start: true,
        ..member("one")
    });
    assert_eq!(two.messages(world), ["a/b 1 q1", "a/b 2 q1"]);
    assert!(one.messages(world).is_empty());
}

/// [MQTT-4.8.2-5]
#[test]
fn message_of_qos_2_in_flight_is_not_redistributed() {
    let world = &mut World::new();
    let messages = [
        ("1", ExactlyOnce),
        ("2", AtLeastOnce),
        ("3", ExactlyOnce),
        ("0", AtMostOnce),
    ];
    let (one, mut two, _) = left_behind(world, &messages);
    // The window of two messages had the first two. The third one was never sent, so it may be moved with QoS 2.
    end(&one, world);
    assert_eq!(two.messages(world), ["a/b 2 q1", "a/b 3 q2"]);
}

#[test]
fn redistributed_messages_rotate_over_members_and_prefer_connected_ones() {
    let world = &mut World::new();
    let messages = ["1", "2", "3", "4"].map(|payload| (payload, AtLeastOnce));
    let (one, mut two, _) = left_behind(world, &messages);
    let (mut three, _) = world.connect(&member("three"));
    three.subscribe(world, SHARE, qos(1));
    let (mut away, _) = world.connect(&member("away"));
    away.subscribe(world, SHARE, qos(1));
    away.die(world);
    let (mut other, _) = world.connect(&member("other"));
    other.subscribe(world, "$share/h/a/+", qos(1));
    end(&one, world);
    assert_eq!(two.messages(world), ["a/b 1 q1", "a/b 3 q1"]);
    assert_eq!(three.messages(world), ["a/b 2 q1", "a/b 4 q1"]);
    assert!(other.messages(world).is_empty(), "another share");
    // When the sessions of these two members end too, their unacknowledged messages are queued for the last member.
    let (mut publisher, _) = world.connect(&connect(V5_0, "again"));
    publisher.publish(world, &message("a/b", "5"), AtLeastOnce);
    publisher.publish(world, &message("a/b", "6"), AtLeastOnce);
    end(&two, world);
    end(&three, world);
    let (mut away, present) = world.connect(&member("away"));
    assert!(present);
    let mut got = away.messages(world);
    got.sort();
    assert_eq!(got, ["a/b 5 q1", "a/b 6 q1"]);
}

#[test]
fn messages_of_the_last_member_are_discarded() {
    let world = &mut World::new();
    let (mut one, _) = world.connect(&member("one"));
    one.subscribe(world, SHARE, qos(1));
    one.subscribe(world, "plain", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "publisher"));
    publisher.publish(world, &message("a/b", "1"), AtLeastOnce);
    publisher.publish(world, &message("plain", "2"), AtLeastOnce);
    end(&one, world);
    let (mut two, _) = world.connect(&member("two"));
    two.subscribe(world, SHARE, qos(1));
    two.subscribe(world, "plain", qos(1));
    assert!(two.messages(world).is_empty());
}

#[test]
fn messages_of_plain_subscriptions_are_not_redistributed() {
    let world = &mut World::new();
    let (mut one, mut two, mut publisher) = left_behind(world, &[("1", AtLeastOnce)]);
    one.messages(world);
    one.subscribe(world, "plain", qos(1));
    // The first member gets this message by its plain subscription. When its session ends, the message must not move.
    two.subscribe(world, "$share/g/plain", qos(1));
    publisher.publish(world, &message("plain", "2"), AtLeastOnce);
    assert_eq!(two.messages(world), ["plain 2 q1"]);
    end(&one, world);
    assert!(two.messages(world).is_empty());
}

/// The broker continues to deliver the queued messages to a member that unsubscribes, until its session ends.
#[test]
fn a_member_that_unsubscribes_keeps_its_messages_until_its_session_ends() {
    let world = &mut World::new();
    let messages = ["1", "2", "3"].map(|payload| (payload, AtLeastOnce));
    let (mut one, mut two, _) = left_behind(world, &messages);
    assert_eq!(unacknowledged(&mut one, world).len(), 2);
    let unsubscribe = Unsubscribe {
        packet_identifier: PacketIdentifier::FIRST,
        topic_filters: vec![TopicFilter::new(SHARE).unwrap()],
        properties: UnsubscribeProperties::default(),
    };
    one.send(world, &PacketRef::Unsubscribe(unsubscribe));
    assert!(matches!(one.next(world), Some(PacketRef::Unsuback(_))));
    assert!(two.messages(world).is_empty());
    end(&one, world);
    assert_eq!(two.messages(world), ["a/b 1 q1", "a/b 2 q1", "a/b 3 q1"]);
}

#[test]
fn redistributed_message_has_the_options_of_the_new_member() {
    let world = &mut World::new();
    let (mut one, _) = world.connect(&member("one"));
    one.subscribe_with(world, SHARE, qos(2), Some(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "publisher"));
    publisher.publish(world, &retained("a/b", "1"), AtLeastOnce);
    publisher.publish(world, &expiring("a/b", "2", 50), ExactlyOnce);
    publisher.publish(world, &expiring("a/b", "3", 50), ExactlyOnce);
    publisher.publish(world, &expiring("a/b", "4", 5), ExactlyOnce);
    let (mut two, _) = world.connect(&member("two"));
    let mut options = qos(1);
    options.retain_as_published = true;
    two.subscribe_with(world, SHARE, options, Some(2));
    // Message 2 was sent with QoS 2 already, and message 4 has expired.
    world.wait(10);
    end(&one, world);
    assert_eq!(
        two.messages(world),
        ["a/b 1 q1 retained #2", "a/b 3 q1 #2 40s"]
    );
}

#[test]
fn a_member_whose_maximum_packet_size_is_too_small_gets_nothing() {
    let world = &mut World::new();
    let (one, mut two, _) = left_behind(
        world,
        &[("a long payload", AtLeastOnce), ("2", AtLeastOnce)],
    );
    let mut small = member("small");
    small.properties.maximum_packet_size = std::num::NonZeroU32::new(20);
    let (mut small, _) = world.connect(&small);
    small.subscribe(world, SHARE, qos(1));
    let mut last = two.messages(world);
    end(&one, world);
    last.extend(two.messages(world));
    assert_eq!(last, ["a/b a long payload q1"]);
    assert_eq!(small.messages(world), ["a/b 2 q1"]);
}

#[test]
fn a_member_that_may_not_read_the_topic_gets_nothing() {
    let world = &mut World::new();
    let rules = b"topic readwrite a/#\nuser denied\ntopic read b\n";
    world.broker.set_policies(vec![ListenerPolicy {
        list: Some(Arc::new(AccessList::parse(rules).unwrap())),
        ..ListenerPolicy::everyone()
    }]);
    let (one, mut two, _) = left_behind(world, &[("1", AtLeastOnce), ("2", AtLeastOnce)]);
    let mut denied = member("denied");
    denied.user_name = Some("denied".into());
    let (mut denied, _) = world.connect(&denied);
    denied.subscribe(world, SHARE, qos(1));
    end(&one, world);
    assert!(denied.messages(world).is_empty());
    assert_eq!(unacknowledged(&mut two, world), ["a/b 1 q1", "a/b 2 q1"]);
    end(&two, world);
    assert!(denied.messages(world).is_empty());
}

#[test]
fn members_with_and_without_a_mount_point_share_messages() {
    let world = &mut World::new();
    let access = |mount_point: Option<&str>| ListenerPolicy {
        mount_point: mount_point.map(Into::into),
        ..ListenerPolicy::everyone()
    };
    world
        .broker
        .set_policies(vec![access(None), access(Some("a/"))]);
    let (mut one, _) = world.try_connect_to(1, &member("one"));
    one.subscribe(world, "$share/g/+", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "publisher"));
    publisher.publish(world, &message("a/b", "1"), AtLeastOnce);
    // This member has the mount point `a/`, and sees the topic without it.
    assert_eq!(unacknowledged(&mut one, world), ["b 1 q1"]);
    let (mut two, _) = world.connect(&member("two"));
    two.subscribe(world, SHARE, qos(1));
    end(&one, world);
    assert_eq!(unacknowledged(&mut two, world), ["a/b 1 q1"]);
    let (mut three, _) = world.try_connect_to(1, &member("three"));
    three.subscribe(world, "$share/g/+", qos(1));
    end(&two, world);
    assert_eq!(three.messages(world), ["b 1 q1"]);
}

#[test]
fn redistributed_messages_without_room_in_any_queue_are_dropped() {
    let limits = Limits {
        maximum_queued: 2,
        ..Limits::default()
    };
    let world = &mut World::with(limits);
    let messages = ["1", "2", "3", "4"].map(|payload| (payload, AtLeastOnce));
    let (one, mut two, _) = left_behind(world, &messages);
    two.die(world);
    end(&one, world);
    (two, _) = world.connect(&member("two"));
    assert_eq!(two.messages(world), ["a/b 1 q1", "a/b 2 q1"]);
}

#[test]
fn messages_of_restored_sessions_are_redistributed() {
    let mut world = World::new();
    world.broker.record_mutations();
    let messages = ["1", "2", "3"].map(|payload| (payload, AtLeastOnce));
    let (mut one, two, _) = left_behind(&mut world, &messages);
    assert_eq!(unacknowledged(&mut one, &mut world).len(), 2);
    one.die(&mut world);
    two.die(&mut world);
    let saved = world.broker.save(world.now);
    let mut world = World::new();
    world.broker.record_mutations();
    world.broker.restore(world.now, saved);
    let (mut two, present) = world.connect(&member("two"));
    assert!(present && two.messages(&mut world).is_empty());
    world.wait(101);
    assert_eq!(
        two.messages(&mut world),
        ["a/b 1 q1", "a/b 2 q1", "a/b 3 q1"]
    );
}
