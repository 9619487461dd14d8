//! Tests of the retained messages for new subscriptions: their order relative to live messages, updates during the
//! replay, and restarts of the broker.

use std::collections::{BTreeSet, VecDeque};

use mqtt_broker_core::{Broker, Limits};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::world::*;

/// Returns a SUBSCRIBE with these filters, all with the same options.
pub(super) fn subscribe_packet(
    filters: &[&str],
    options: SubscriptionOptions,
) -> PacketRef<'static> {
    let subscription = |filter: &&str| Subscription {
        topic_filter: TopicFilter::new(filter).unwrap(),
        options,
    };
    PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: filters.iter().map(subscription).collect(),
        properties: SubscribeProperties::default(),
    })
}

/// Publishes retained messages to `home/0`, `home/1` and so on. Returns the publisher.
fn retain_many(world: &mut World, count: usize) -> Peer {
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    for number in 0..count {
        let topic_name = format!("home/{number}");
        publisher.publish(world, &retained(&topic_name, "old"), QoS::AtLeastOnce);
    }
    publisher
}

#[test]
fn live_message_is_kept_after_more_retained_messages_than_the_queue_holds() {
    let mut world = World::new();
    let mut publisher = retain_many(&mut world, 3000);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.send(&mut world, &subscribe_packet(&["home/#"], qos(1)));
    publisher.publish(&mut world, &retained("home/2500", "NEW"), QoS::AtLeastOnce);
    publisher.publish(&mut world, &message("home/2600", "live"), QoS::AtLeastOnce);
    assert!(matches!(sub.next(&mut world), Some(PacketRef::Suback(_))));
    let messages = sub.messages(&mut world);
    assert_eq!(messages.len(), 3001);
    let of_topic = |topic: &str| -> Vec<_> {
        let starts = |message: &&String| message.starts_with(&format!("{topic} "));
        messages.iter().filter(starts).cloned().collect()
    };
    // The new retained message was received live, so the replay skips it.
    assert_eq!(of_topic("home/2500"), ["home/2500 NEW q1"]);
    let expected = ["home/2600 old q1 retained", "home/2600 live q1"];
    assert_eq!(of_topic("home/2600"), expected);
}

#[test]
fn topic_cleared_during_a_replay_ends_cleared() {
    let mut world = World::new();
    let mut publisher = retain_many(&mut world, 100);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.send(&mut world, &subscribe_packet(&["home/#"], qos(1)));
    publisher.publish(&mut world, &retained("home/99", ""), QoS::AtLeastOnce);
    assert!(matches!(sub.next(&mut world), Some(PacketRef::Suback(_))));
    let messages = sub.messages(&mut world);
    // The retained message was removed before the replay reached it. The client gets the empty message instead.
    let cleared = messages
        .iter()
        .filter(|message| message.starts_with("home/99 "));
    assert_eq!(cleared.collect::<Vec<_>>(), ["home/99  q1"]);
    assert_eq!(messages.len(), 100);
}

#[test]
fn repeated_filter_is_replayed_once() {
    let mut world = World::new();
    retain_many(&mut world, 50);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    let filters = vec!["home/#"; 1000];
    sub.send(&mut world, &subscribe_packet(&filters, qos(1)));
    assert!(matches!(sub.next(&mut world), Some(PacketRef::Suback(_))));
    let messages = sub.messages(&mut world);
    // Each repetition starts the replay again. At most one window of messages was sent before the last repetition.
    assert!(
        messages.len() <= 50 + usize::from(Limits::default().maximum_in_flight),
        "{}",
        messages.len()
    );
}

#[test]
fn unsubscribe_ends_the_replay() {
    let mut world = World::new();
    retain_many(&mut world, 50);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.send(&mut world, &subscribe_packet(&["home/#"], qos(1)));
    let unsubscribe = Unsubscribe {
        packet_identifier: PacketIdentifier::FIRST,
        topic_filters: vec![TopicFilter::new("home/#").unwrap()],
        properties: UnsubscribeProperties::default(),
    };
    sub.send(&mut world, &PacketRef::Unsubscribe(unsubscribe));
    // A new subscription with Retain Handling 2 must not continue the old replay.
    let not_wanted = SubscriptionOptions {
        retain_handling: RetainHandling::DoNotSend,
        ..qos(1)
    };
    sub.send(&mut world, &subscribe_packet(&["home/#"], not_wanted));
    assert!(matches!(sub.next(&mut world), Some(PacketRef::Suback(_))));
    let received = sub.received.len();
    assert!(received > 0);
    let window = usize::from(Limits::default().maximum_in_flight);
    let mut count = 0;
    // `received` has the messages of the first window, UNSUBACK and the second SUBACK.
    let mut input = &sub.received[..];
    while let Some(packet) = sub.decoder.decode(&mut input).unwrap() {
        count += usize::from(matches!(packet, PacketRef::Publish(_)));
        if let PacketRef::Publish(publish) = packet {
            let identifier = publish.delivery.packet_identifier().unwrap();
            let ack = Ack::new(identifier, ReasonCode::Success);
            sub.send(&mut world, &PacketRef::Puback(ack));
        }
    }
    sub.received.clear();
    assert_eq!(count, window);
    assert_eq!(sub.messages(&mut world), [""; 0]);
}

/// If a client reconnects and subscribes again, its queued messages are sent before the retained messages.
#[test]
fn messages_queued_before_the_subscription_precede_the_retained_message() {
    let limits = Limits {
        maximum_in_flight: 1,
        maximum_queued: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    sub.die(&mut world);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for payload in ["1", "2", "3, for which the queue has no room"] {
        publisher.publish(&mut world, &retained("a", payload), QoS::AtLeastOnce);
    }
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.send(&mut world, &subscribe_packet(&["a"], qos(1)));
    sub.take(&mut world);
    let mut input = &sub.received[..];
    let mut messages = Vec::new();
    while let Some(packet) = sub.decoder.decode(&mut input).unwrap() {
        if let PacketRef::Publish(publish) = packet {
            messages.push(line(&publish));
            let identifier = publish.delivery.packet_identifier().unwrap();
            let ack = Ack::new(identifier, ReasonCode::Success);
            sub.send(&mut world, &PacketRef::Puback(ack));
        }
    }
    sub.received.clear();
    messages.extend(sub.messages(&mut world));
    // The queue was full, so the third message is received only as the retained message.
    let newest = "a 3, for which the queue has no room q1 retained";
    assert_eq!(messages, ["a 1 q1", "a 2 q1", newest]);
}

/// Replaces the broker with a new one that restores the stored state of the old one.
pub(super) fn restart(world: &mut World) {
    let saved = world.broker.save(world.now);
    world.broker = Broker::new(world.broker_limits(), Box::new(|| 7));
    world.broker.record_mutations();
    world.broker.restore(world.now, saved);
}

#[test]
fn replay_resumes_after_a_restart_without_loss_or_duplicates() {
    let mut world = World::new();
    world.broker.record_mutations();
    let mut publisher = retain_many(&mut world, 100);
    let (sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.send(&mut world, &subscribe_packet(&["home/#"], qos(1)));
    publisher.publish(&mut world, &retained("home/50", "NEW"), QoS::AtLeastOnce);
    restart(&mut world);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &retained("home/60", "NEWER"), QoS::AtLeastOnce);
    let (mut sub, present) = world.connect(&lasting("sub", u32::MAX));
    assert!(present);
    let messages = sub.messages(&mut world);
    let topics: BTreeSet<_> = messages
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!((messages.len(), topics.len()), (100, 100), "{messages:?}");
    assert!(
        messages
            .iter()
            .any(|line| line.starts_with("home/50 NEW q1"))
    );
    assert!(
        messages
            .iter()
            .any(|line| line.starts_with("home/60 NEWER q1"))
    );
}

/// Returns the packet identifier and DUP of each message that the peer has received, in order.
fn identifiers(world: &mut World, peer: &mut Peer) -> Vec<(PacketIdentifier, bool)> {
    peer.take(world);
    let mut input = &peer.received[..];
    let mut identifiers = Vec::new();
    while let Some(packet) = peer.decoder.decode(&mut input).unwrap() {
        if let PacketRef::Publish(publish) = packet {
            let identifier = publish.delivery.packet_identifier().unwrap();
            identifiers.push((identifier, publish.delivery.dup()));
        }
    }
    peer.received.clear();
    identifiers
}

/// [MQTT-4.6.0-6]: retained messages may overtake queued messages of other topics, and queued messages may overtake
/// retained ones. After a restart the broker must resend them in the order in which it sent them.
#[test]
fn messages_are_resent_in_the_order_in_which_they_were_sent_after_a_restart() {
    let limits = Limits {
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits.clone());
    world.broker.record_mutations();
    let mut publisher = retain_many(&mut world, 10);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.send(&mut world, &subscribe_packet(&["home/#", "live"], qos(1)));
    for _ in 0..5 {
        publisher.publish(&mut world, &message("live", "."), QoS::AtLeastOnce);
    }
    let mut in_flight = VecDeque::new();
    for step in 0..10 {
        for (identifier, _) in identifiers(&mut world, &mut sub) {
            in_flight.push_back(identifier);
        }
        // After each acknowledgement, a second broker is restored from the stored state. The first one continues.
        let mut next = World::with(limits.clone());
        next.broker.record_mutations();
        next.broker.restore(world.now, world.broker.save(world.now));
        let (mut again, _) = next.connect(&lasting("sub", u32::MAX));
        let mut resent = identifiers(&mut next, &mut again);
        // Messages without DUP are sent for the first time.
        resent.retain(|(_, is_dup)| *is_dup);
        let resent: Vec<_> = resent.iter().map(|(identifier, _)| *identifier).collect();
        assert_eq!(in_flight, resent, "step {step}");
        let ack = Ack::new(in_flight.pop_front().unwrap(), ReasonCode::Success);
        sub.send(&mut world, &PacketRef::Puback(ack));
    }
}
