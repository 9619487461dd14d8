//! Tests of subscriptions and queued messages.

use std::sync::Arc;
use std::time::Duration;

use mqtt_broker_core::{Limits, ListenerPolicy, Mutation};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::world::*;

/// [MQTT-3.3.4-2, MQTT-3.3.4-3]
#[test]
fn overlapping_subscriptions_are_one_delivery_with_all_their_identifiers() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    sub.subscribe_with(&mut world, "a/+", qos(0), Some(1));
    sub.subscribe_with(&mut world, "a/#", qos(2), Some(200));
    sub.subscribe(&mut world, "#", qos(1));
    publisher.publish(&mut world, &message("a/b", "x"), QoS::AtLeastOnce);
    let messages = sub.messages(&mut world);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].starts_with("a/b x q1"), "{messages:?}");
    assert!(
        messages[0].contains("#1") && messages[0].contains("#200"),
        "{messages:?}"
    );
}

/// [MQTT-3.8.4-3, MQTT-3.10.4-1]
#[test]
fn subscription_is_replaced_by_the_same_filter_and_ended_by_unsubscribe() {
    let mut world = World::new();
    let (mut client, _) = world.connect(&connect(V3_1_1, "c"));
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    client.subscribe(&mut world, "a", qos(2));
    client.subscribe(&mut world, "a", qos(0));
    publisher.publish(&mut world, &message("a", "x"), QoS::AtLeastOnce);
    assert_eq!(client.messages(&mut world), ["a x q0"]);
    client.send(
        &mut world,
        &PacketRef::Unsubscribe(Unsubscribe {
            packet_identifier: PacketIdentifier::FIRST,
            topic_filters: vec![
                TopicFilter::new("a").unwrap(),
                TopicFilter::new("b").unwrap(),
            ],
            properties: UnsubscribeProperties::default(),
        }),
    );
    assert!(matches!(
        client.next(&mut world),
        Some(PacketRef::Unsuback(_))
    ));
    publisher.publish(&mut world, &message("a", "x"), QoS::AtLeastOnce);
    assert_eq!(client.messages(&mut world), [""; 0]);
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_omits_messages_of_the_subscriber_itself() {
    let mut world = World::new();
    let (mut one, _) = world.connect(&connect(V5_0, "one"));
    let (mut two, _) = world.connect(&connect(V5_0, "two"));
    one.subscribe(
        &mut world,
        "a",
        SubscriptionOptions {
            no_local: true,
            ..qos(0)
        },
    );
    one.publish(&mut world, &message("a", "own"), QoS::AtMostOnce);
    two.publish(&mut world, &message("a", "other"), QoS::AtMostOnce);
    assert_eq!(one.messages(&mut world), ["a other q0"]);
}

/// [MQTT-3.3.2-5, MQTT-3.3.2-6]
#[test]
fn queued_message_expires_or_has_its_remaining_interval() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    sub.leave(&mut world, normal());
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &expiring("a", "short", 5), QoS::AtLeastOnce);
    publisher.publish(&mut world, &expiring("a", "long", 60), QoS::AtLeastOnce);
    let mut kept = expiring("r", "kept", 20);
    kept.retain = true;
    publisher.publish(&mut world, &kept, QoS::AtMostOnce);
    world.wait(10);
    let (mut sub, present) = world.connect(&lasting("sub", u32::MAX));
    assert!(present);
    assert_eq!(sub.messages(&mut world), ["a long q1 50s"]);
    sub.subscribe(&mut world, "r", qos(1));
    assert_eq!(sub.messages(&mut world), ["r kept q0 retained 10s"]);
    world.wait(10);
    sub.subscribe(&mut world, "r", qos(1));
    assert_eq!(sub.messages(&mut world), [""; 0]);
}

/// [MQTT-3.3.2-6]
#[test]
fn remaining_interval_is_rounded_up_and_never_0() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    let (mut live, _) = world.connect(&connect(V5_0, "live"));
    live.subscribe(&mut world, "a", qos(0));
    sub.leave(&mut world, normal());
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &expiring("a", "x", 60), QoS::AtLeastOnce);
    publisher.publish(&mut world, &expiring("a", "y", 1), QoS::AtLeastOnce);
    publisher.publish(&mut world, &expiring("a", "z", 0), QoS::AtLeastOnce);
    assert_eq!(
        live.messages(&mut world),
        ["a x q0 60s", "a y q0 1s", "a z q0 1s"]
    );
    // After 0.999 s the first message has 59.001 s left, which is rounded up. The third one has expired.
    world.now += Duration::from_millis(999);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    assert_eq!(sub.messages(&mut world), ["a x q1 60s", "a y q1 1s"]);
}

#[test]
fn full_queue_drops_the_newest_message_and_the_window_delays_the_rest() {
    let limits = Limits {
        maximum_queued: 3,
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    sub.leave(&mut world, normal());
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    for payload in ["1", "2", "3", "4", "5"] {
        publisher.publish(&mut world, &message("a", payload), QoS::AtLeastOnce);
    }
    publisher.publish(&mut world, &message("a", "lost"), QoS::AtMostOnce);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.take(&mut world);
    // Fixed header, Topic Name with its length, Packet Identifier, Property Length and payload.
    let two_packets = 2 * (2 + 2 + 1 + 2 + 1 + 1);
    assert_eq!(sub.received.len(), two_packets, "the window is two");
    assert_eq!(sub.messages(&mut world), ["a 1 q1", "a 2 q1", "a 3 q1"]);
}

/// [MQTT-4.7.2-1], and topics to which only the broker publishes.
#[test]
fn wildcards_hide_dollar_topics_and_clients_may_publish_to_them() {
    let mut world = World::new();
    let (mut client, _) = world.connect(&connect(V5_0, "c"));
    client.subscribe(&mut world, "#", qos(0));
    client.subscribe(&mut world, "+/x", qos(0));
    client.publish(&mut world, &message("$x/x", "hidden"), QoS::AtMostOnce);
    assert_eq!(client.messages(&mut world), [""; 0]);
    client.subscribe(&mut world, "$SYS/#", qos(0));
    client.subscribe(&mut world, "$x/+", qos(0));
    client.publish(&mut world, &message("$SYS/x", "forged"), QoS::AtMostOnce);
    client.publish(&mut world, &message("$x/x", "seen"), QoS::AtMostOnce);
    assert_eq!(client.messages(&mut world), ["$x/x seen q0"]);
}

#[test]
fn a_message_to_a_topic_of_the_broker_is_denied_in_5_0_and_ignored_in_3_x() {
    for (version, expected) in [
        (V5_0, ReasonCode::NotAuthorized),
        (V3_1_1, ReasonCode::Success),
    ] {
        let mut world = World::new();
        let (mut client, _) = world.connect(&connect(version, "c"));
        for topic_name in ["$SYS/x", "$share/g/x", "$CONTROL/x"] {
            for delivery in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let delivery = Delivery::first(delivery, PacketIdentifier::FIRST);
                let forged = retained(topic_name, "forged");
                client.send(&mut world, &PacketRef::Publish(forged.publish(delivery)));
                let (Some(PacketRef::Puback(ack)) | Some(PacketRef::Pubrec(ack))) =
                    client.next(&mut world)
                else {
                    panic!("no acknowledgement")
                };
                assert_eq!(ack.reason_code, expected, "{topic_name} {delivery:?}");
                if (version, delivery.qos()) == (V3_1_1, QoS::ExactlyOnce) {
                    client.send(
                        &mut world,
                        &PacketRef::Pubrel(Ack::new(PacketIdentifier::FIRST, ReasonCode::Success)),
                    );
                    assert!(matches!(
                        client.next(&mut world),
                        Some(PacketRef::Pubcomp(_))
                    ));
                }
            }
            // A message of QoS 0 is ignored without an answer, and the connection stays open.
            client.publish(&mut world, &retained(topic_name, "forged"), QoS::AtMostOnce);
        }
        client.subscribe(&mut world, "$SYS/#", qos(0));
        client.subscribe(&mut world, "$CONTROL/#", qos(0));
        assert_eq!(client.messages(&mut world), [""; 0]);
    }
}

/// [MQTT-4.6.0-6]: a message of QoS 0 waits for the retained messages of its topic, and a later message of QoS 0 waits
/// for the earlier one.
#[test]
fn messages_of_qos_0_keep_their_order_when_some_of_them_wait() {
    let limits = Limits {
        maximum_in_flight: 1,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for topic_name in ["r/1", "r/2"] {
        publisher.publish(&mut world, &retained(topic_name, "."), QoS::AtLeastOnce);
    }
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    let subscription = Subscription {
        topic_filter: TopicFilter::new("r/#").unwrap(),
        options: qos(1),
    };
    sub.send(
        &mut world,
        &PacketRef::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![subscription],
            properties: SubscribeProperties::default(),
        }),
    );
    publisher.publish(&mut world, &message("r/x", "."), QoS::AtLeastOnce);
    publisher.publish(&mut world, &message("r/x", "first"), QoS::AtMostOnce);
    // The acknowledgement lets the broker send the second retained message. Only live messages wait now.
    let ack = Ack::new(PacketIdentifier::FIRST, ReasonCode::Success);
    sub.send(&mut world, &PacketRef::Puback(ack));
    publisher.publish(&mut world, &message("r/x", "second"), QoS::AtMostOnce);
    assert!(matches!(sub.next(&mut world), Some(PacketRef::Suback(_))));
    let mut messages = sub.messages(&mut world);
    messages.retain(|message| message.ends_with("q0"));
    assert_eq!(messages, ["r/x first q0", "r/x second q0"]);
}

#[test]
fn rejects_topics_that_strict_clients_reject() {
    for topic_name in ["a\u{1}", "a\u{FFFF}", "a\u{7F}", &"/".repeat(201)] {
        let mut world = World::new();
        let (mut client, _) = world.connect(&connect(V5_0, "c"));
        client.send(
            &mut world,
            &PacketRef::Publish(message(topic_name, "x").publish(Delivery::AtMostOnce)),
        );
        let Some(PacketRef::Disconnect(disconnect)) = client.next(&mut world) else {
            panic!()
        };
        assert_eq!(disconnect.reason_code, ReasonCode::TopicNameInvalid);
    }
}

#[test]
fn topics_of_up_to_200_slashes_are_accepted() {
    for slashes in [199, 200] {
        let mut world = World::new();
        let topic = "/".repeat(slashes);
        let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
        sub.subscribe(&mut world, &topic, qos(1));
        let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
        publisher.publish(&mut world, &message(&topic, "x"), QoS::AtLeastOnce);
        assert_eq!(sub.messages(&mut world), [format!("{topic} x q1")]);
    }
}

/// If messages in a full queue have expired, the broker removes them and adds the new message.
#[test]
fn expired_messages_make_room_in_a_full_queue() {
    let limits = Limits {
        maximum_queued: 3,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    sub.leave(&mut world, normal());
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for (payload, seconds) in [("1", 60), ("2", 5), ("3", 60)] {
        publisher.publish(
            &mut world,
            &expiring("a", payload, seconds),
            QoS::AtLeastOnce,
        );
    }
    publisher.publish(&mut world, &message("a", "dropped"), QoS::AtLeastOnce);
    world.wait(5);
    publisher.publish(&mut world, &message("a", "kept"), QoS::AtLeastOnce);
    publisher.publish(&mut world, &message("a", "dropped"), QoS::AtLeastOnce);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    let received = sub.messages(&mut world);
    assert_eq!(received, ["a 1 q1 55s", "a 3 q1 55s", "a kept q1"]);
}

#[test]
fn sessions_with_a_mount_point_share_a_message() {
    let mut world = World::new();
    let access = ListenerPolicy {
        mount_point: Some("m/".into()),
        ..ListenerPolicy::everyone()
    };
    world.broker.set_policies(vec![access]);
    world.broker.record_mutations();
    for name in ["a", "b", "c"] {
        let (mut peer, _) = world.connect(&lasting(name, 1000));
        peer.subscribe(&mut world, "t", qos(1));
        peer.leave(&mut world, normal());
    }
    let (mut publisher, _) = world.connect(&connect(V5_0, "publisher"));
    publisher.publish(&mut world, &message("t", "payload"), QoS::AtLeastOnce);
    let mutations = world.broker.take_mutations();
    let queued = mutations.iter().filter_map(|record| match record {
        Mutation::Queued { outgoing, .. } => Some(&outgoing.message),
        _ => None,
    });
    let queued: Vec<_> = queued.collect();
    assert_eq!(queued.len(), 3);
    assert_eq!(&*queued[0].topic_name, "t");
    assert!(queued.iter().all(|other| Arc::ptr_eq(other, queued[0])));
}
