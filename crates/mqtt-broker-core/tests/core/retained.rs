//! Tests of retained messages.

use mqtt_broker_core::{Limits, Mutation};
use mqtt_codec::*;

use ProtocolVersion::V5_0;

use crate::world::*;

/// [MQTT-3.3.1-9 to MQTT-3.3.1-13]
#[test]
fn retained_messages_follow_the_options_of_the_subscription() {
    let mut world = World::new();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &retained("r", "1"), QoS::AtLeastOnce);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    let handling = |retain_handling| SubscriptionOptions {
        retain_handling,
        ..qos(1)
    };
    sub.subscribe(&mut world, "r", handling(RetainHandling::SendIfNew));
    assert_eq!(sub.messages(&mut world), ["r 1 q1 retained"]);
    // The subscription exists, so it is not new.
    sub.subscribe(&mut world, "r", handling(RetainHandling::SendIfNew));
    assert_eq!(sub.messages(&mut world), [""; 0]);
    sub.subscribe(&mut world, "r", handling(RetainHandling::SendAtSubscribe));
    assert_eq!(sub.messages(&mut world), ["r 1 q1 retained"]);
    sub.subscribe(&mut world, "#", handling(RetainHandling::DoNotSend));
    assert_eq!(sub.messages(&mut world), [""; 0]);
    publisher.publish(&mut world, &retained("r", "2"), QoS::AtMostOnce);
    assert_eq!(
        sub.messages(&mut world),
        ["r 2 q0"],
        "it was published just now"
    );
    sub.subscribe(
        &mut world,
        "r",
        SubscriptionOptions {
            retain_as_published: true,
            ..qos(0)
        },
    );
    sub.messages(&mut world);
    publisher.publish(&mut world, &retained("r", "3"), QoS::AtMostOnce);
    assert_eq!(sub.messages(&mut world), ["r 3 q0 retained"]);
}

/// [MQTT-4.6.0-5]: the last message of a topic that a client receives must be the newest one.
#[test]
fn a_live_message_does_not_overtake_the_retained_one_of_its_topic() {
    let limits = Limits {
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for topic_name in ["r/1", "r/2", "r/3"] {
        publisher.publish(&mut world, &retained(topic_name, "."), QoS::AtLeastOnce);
    }
    publisher.publish(&mut world, &retained("r/z", "old"), QoS::AtMostOnce);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.send(
        &mut world,
        &PacketRef::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new("r/#").unwrap(),
                options: qos(1),
            }],
            properties: SubscribeProperties::default(),
        }),
    );
    publisher.publish(&mut world, &message("r/z", "new"), QoS::AtMostOnce);
    assert!(matches!(sub.next(&mut world), Some(PacketRef::Suback(_))));
    let messages = sub.messages(&mut world);
    // The window is full, so the replay has not reached `r/z` when the live message is published.
    assert_eq!(messages[3..], ["r/z old q0 retained", "r/z new q0"]);
    publisher.publish(&mut world, &message("r/z", "later"), QoS::AtMostOnce);
    assert_eq!(
        sub.messages(&mut world),
        ["r/z later q0"],
        "nothing waits any more"
    );
}

#[test]
fn expired_retained_messages_are_removed_from_memory_and_store() {
    let mut world = World::new();
    world.broker.record_mutations();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    let expires = Message {
        retain: true,
        ..expiring("r/1", "1", 10)
    };
    publisher.publish(&mut world, &expires, QoS::AtLeastOnce);
    publisher.publish(&mut world, &retained("r/2", "2"), QoS::AtLeastOnce);
    assert_eq!(world.broker.save(world.now).retained.len(), 2);
    world.broker.take_mutations();
    // Expired messages are removed once an hour.
    world.wait(4000);
    let saved = world.broker.save(world.now).retained;
    assert_eq!(saved.len(), 1);
    let mutations = world.broker.take_mutations();
    let is_removal = |record: &Mutation| match record {
        Mutation::Retained {
            topic_name,
            retained,
        } => &**topic_name == "r/1" && retained.is_none(),
        _ => false,
    };
    assert!(mutations.iter().any(is_removal), "{mutations:?}");
}
