//! Tests of the limits of queued and retained messages, which count memory, and of the messages that are dropped.

use std::num::NonZeroU32;
use std::sync::Arc;

use mqtt_broker_core::{AccessList, Limits, ListenerPolicy, Mutation};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::world::*;

/// Returns a value of the statistics as a number.
fn value(world: &mut World, name: &str) -> usize {
    let values = world.broker.statistics(world.now);
    let value = values.into_iter().find(|value| value.name == name);
    value.expect(name).text.parse().expect("a number")
}

/// Returns the number of messages that were dropped for this reason.
fn dropped(world: &mut World, reason: &str) -> usize {
    value(world, &format!("publish/messages/dropped/{reason}"))
}

/// Adds a user property of `size` bytes to a message.
fn with_properties(message: Message, size: usize) -> Message {
    let properties = MessageProperties::new([Property::User("name", &"x".repeat(size))]);
    Message {
        properties: Some(Box::new(properties.unwrap())),
        ..message
    }
}

#[test]
fn properties_count_towards_the_bytes_of_a_queue() {
    let limits = Limits {
        maximum_queued_bytes: 100_000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "#", qos(1));
    sub.die(&mut world);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for number in 0..100 {
        let message = with_properties(message(&format!("t/{number}"), ""), 10_000);
        publisher.publish(&mut world, &message, QoS::AtLeastOnce);
    }
    // A message is queued while the queue is below its limit, so the last one exceeds the limit.
    assert_eq!(value(&mut world, "queued messages/count"), 10);
    let bytes = value(&mut world, "queued messages/bytes");
    assert!((100_000..110_000).contains(&bytes), "{bytes}");
    assert_eq!(dropped(&mut world, "queue_full"), 90);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    assert_eq!(sub.messages(&mut world).len(), 10);
    assert_eq!(value(&mut world, "queued messages/count"), 0);
    assert_eq!(value(&mut world, "queued messages/bytes"), 0);
}

#[test]
fn queue_of_an_ended_session_is_no_longer_counted() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&lasting("sub", 10));
    sub.subscribe(&mut world, "#", qos(1));
    sub.die(&mut world);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &message("t", "x"), QoS::AtLeastOnce);
    assert_eq!(value(&mut world, "queued messages/count"), 1);
    world.wait(20);
    assert_eq!(value(&mut world, "queued messages/count"), 0);
    assert_eq!(value(&mut world, "queued messages/bytes"), 0);
}

#[test]
fn topics_and_properties_count_towards_the_bytes_of_retained_messages() {
    let limits = Limits {
        maximum_retained_bytes: 10_000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for number in 0..100 {
        let topic_name = format!("{number}/{}", "t".repeat(1000));
        publisher.publish(&mut world, &retained(&topic_name, "x"), QoS::AtLeastOnce);
    }
    let large = with_properties(retained("large", "x"), 9000);
    publisher.publish(&mut world, &large, QoS::AtLeastOnce);
    let count = value(&mut world, "retained messages/count");
    assert!((5..10).contains(&count), "{count}");
    assert!(value(&mut world, "retained messages/bytes") <= 10_000);
}

#[test]
fn message_has_each_subscription_identifier_once_and_identifiers_are_limited() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.subscribe_with(&mut world, "a/#", qos(0), Some(2));
    sub.subscribe_with(&mut world, "a/+", qos(0), Some(1));
    sub.subscribe_with(&mut world, "a/b", qos(0), Some(2));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &message("a/b", "x"), QoS::AtMostOnce);
    assert_eq!(sub.messages(&mut world), ["a/b x q0 #1 #2"]);
    // With these subscriptions, the client has the maximum of 1024 different identifiers.
    for identifier in 3..=1024 {
        let filter = format!("x/{identifier}");
        sub.subscribe_with(&mut world, &filter, qos(0), Some(identifier));
    }
    let one_more = |sub: &mut Peer, world: &mut World, filter, identifier| {
        let subscribe = Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new(filter).unwrap(),
                options: qos(0),
            }],
            properties: SubscribeProperties {
                subscription_identifier: SubscriptionIdentifier::new(identifier),
                ..SubscribeProperties::default()
            },
        };
        sub.send(world, &PacketRef::Subscribe(subscribe));
        let Some(PacketRef::Suback(suback)) = sub.next(world) else {
            panic!("no SUBACK")
        };
        suback.reason_codes[0]
    };
    let quota = ReasonCode::QuotaExceeded;
    assert_eq!(one_more(&mut sub, &mut world, "y", 2000), quota);
    assert_eq!(one_more(&mut sub, &mut world, "y", 7), ReasonCode::Success);
    // When no subscription has an identifier any more, another identifier may be used.
    assert_eq!(
        one_more(&mut sub, &mut world, "x/9", 8),
        ReasonCode::Success
    );
    assert_eq!(
        one_more(&mut sub, &mut world, "z", 2000),
        ReasonCode::Success
    );
}

/// [MQTT-3.3.1-7] of 3.1.1.
#[test]
fn retained_message_above_the_limit_is_delivered_and_removes_its_predecessor() {
    let limits = Limits {
        maximum_retained_bytes: 2000,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    publisher.publish(&mut world, &retained("a", "old"), QoS::AtLeastOnce);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.subscribe(&mut world, "a", qos(0));
    assert_eq!(sub.messages(&mut world), ["a old q0 retained"]);
    let mut large = retained("a", "");
    large.payload = vec![b'x'; 5000].into();
    // The message exceeds the limit, so it is delivered but not retained. The older message is outdated and is removed.
    publisher.publish(&mut world, &large, QoS::AtMostOnce);
    assert_eq!(sub.messages(&mut world).len(), 1);
    assert_eq!(value(&mut world, "retained messages/count"), 0);
    sub.subscribe(&mut world, "a", qos(0));
    assert_eq!(sub.messages(&mut world), [""; 0]);
}

#[test]
fn with_a_full_disk_retained_messages_are_removed_and_recorded_once() {
    let mut world = World::new();
    world.broker.record_mutations();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for topic_name in ["a", "b", "c"] {
        publisher.publish(&mut world, &retained(topic_name, "old"), QoS::AtLeastOnce);
    }
    world.broker.take_mutations();
    world.broker.set_store_full(true);
    // The second message cannot be retained, so it removes the older one. The repetitions must not add mutations.
    for _ in 0..100 {
        publisher.publish(&mut world, &retained("a", ""), QoS::AtMostOnce);
        publisher.publish(&mut world, &retained("b", "new"), QoS::AtMostOnce);
    }
    // The message is rejected because it cannot be stored, but it still removes the retained message.
    let clear = retained("c", "");
    let first = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
    publisher.send(&mut world, &PacketRef::Publish(clear.publish(first)));
    let Some(PacketRef::Puback(ack)) = publisher.next(&mut world) else {
        panic!("no PUBACK")
    };
    assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
    assert_eq!(value(&mut world, "retained messages/count"), 0);
    let mutations = world.broker.take_mutations();
    let is_removal =
        |record: &Mutation| matches!(record, Mutation::Retained { retained: None, .. });
    assert!(
        mutations.len() == 3 && mutations.iter().all(is_removal),
        "{mutations:?}"
    );
}

#[test]
fn messages_above_the_maximum_packet_size_are_counted() {
    let mut world = World::new();
    let mut small = connect(V5_0, "sub");
    small.properties.maximum_packet_size = NonZeroU32::new(100);
    let (mut sub, _) = world.connect(&small);
    sub.subscribe(&mut world, "t/#", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    let mut large = message("t/1", "");
    large.payload = vec![b'x'; 200].into();
    // Messages of QoS 0 and 1 and a retained message take different paths to the client.
    publisher.publish(&mut world, &large, QoS::AtMostOnce);
    publisher.publish(&mut world, &large, QoS::AtLeastOnce);
    large.retain = true;
    large.topic_name = TopicName::new("r/1").unwrap();
    publisher.publish(&mut world, &large, QoS::AtLeastOnce);
    sub.subscribe(&mut world, "r/#", qos(1));
    assert_eq!(sub.messages(&mut world), [""; 0]);
    assert_eq!(dropped(&mut world, "packet_too_large"), 3);
    assert_eq!(value(&mut world, "publish/messages/dropped"), 3);
}

#[test]
fn messages_that_expire_in_a_queue_are_counted() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "t", qos(1));
    sub.die(&mut world);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &expiring("t", "x", 5), QoS::AtLeastOnce);
    world.wait(10);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    assert_eq!(sub.messages(&mut world), [""; 0]);
    assert_eq!(dropped(&mut world, "expired"), 1);
}

#[test]
fn messages_that_a_client_must_not_read_are_counted() {
    let mut world = World::new();
    let list = AccessList::parse(b"topic write #\ntopic read open\n").unwrap();
    world.broker.set_policies(vec![ListenerPolicy {
        list: Some(Arc::new(list)),
        ..ListenerPolicy::everyone()
    }]);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.subscribe(&mut world, "#", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &message("secret", "x"), QoS::AtMostOnce);
    publisher.publish(&mut world, &message("secret", "x"), QoS::AtLeastOnce);
    publisher.publish(&mut world, &message("open", "x"), QoS::AtLeastOnce);
    assert_eq!(sub.messages(&mut world), ["open x q1"]);
    assert_eq!(dropped(&mut world, "not_authorized"), 2);
}

#[test]
fn messages_of_qos_0_for_a_full_output_are_counted() {
    let mut world = World::with(Limits {
        maximum_queued: 2,
        ..Limits::default()
    });
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.subscribe(&mut world, "t", qos(0));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    let mut large = message("t", "");
    large.payload = vec![b'x'; 300_000].into();
    // Four messages fill the output, and two wait in the queue.
    for _ in 0..10 {
        publisher.publish(&mut world, &large, QoS::AtMostOnce);
    }
    while world.broker.poll_changed().is_some() {}
    assert_eq!(dropped(&mut world, "output_full"), 4);
    assert!(value(&mut world, "packet/out/bytes") >= 4 * 300_000);
    assert_eq!(sub.messages(&mut world).len(), 6);
    while world.broker.poll_changed().is_some() {}
    assert_eq!(value(&mut world, "packet/out/bytes"), 0);
}
