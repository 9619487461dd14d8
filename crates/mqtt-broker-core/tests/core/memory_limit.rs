//! Tests of `memory_limit`: what the broker rejects while the process uses more memory than this limit.

use mqtt_broker_core::Limits;
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::world::*;

const LIMIT: u64 = 1_000_000;

fn world() -> World {
    World::with(Limits {
        maximum_memory: Some(LIMIT),
        ..Limits::default()
    })
}

fn dropped(world: &mut World) -> String {
    let mut values = world.broker.statistics(world.now).into_iter();
    let value = values.find(|value| value.name == "publish/messages/dropped/memory_limit");
    value.unwrap().text
}

fn send(world: &mut World, peer: &Peer, message: &Message, qos: QoS) {
    let delivery = Delivery::first(qos, PacketIdentifier::FIRST);
    peer.send(world, &PacketRef::Publish(message.publish(delivery)));
}

#[test]
fn rejects_acknowledged_messages_until_memory_falls() {
    let mut world = world();
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.subscribe(&mut world, "#", qos(2));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    world.broker.set_memory_used(LIMIT);
    let refused = message("t", "refused");
    send(&mut world, &publisher, &refused, QoS::AtLeastOnce);
    let Some(PacketRef::Puback(ack)) = publisher.next(&mut world) else {
        panic!("no PUBACK")
    };
    assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
    send(&mut world, &publisher, &refused, QoS::ExactlyOnce);
    let Some(PacketRef::Pubrec(ack)) = publisher.next(&mut world) else {
        panic!("no PUBREC")
    };
    assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
    world.broker.set_memory_used(LIMIT - 1);
    publisher.publish(&mut world, &message("t", "accepted"), QoS::ExactlyOnce);
    assert_eq!(sub.messages(&mut world), ["t accepted q2"]);
}

#[test]
fn publishers_of_3_x_are_disconnected_while_memory_is_short() {
    let mut world = world();
    let (publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    world.broker.set_memory_used(LIMIT);
    send(&mut world, &publisher, &message("t", "x"), QoS::AtLeastOnce);
    assert!(world.broker.has_ended(publisher.id));
}

#[test]
fn messages_of_qos_0_are_dropped_and_counted_while_memory_is_short() {
    for version in [V3_1_1, V5_0] {
        let mut world = world();
        let (mut sub, _) = world.connect(&connect(version, "sub"));
        sub.subscribe(&mut world, "#", qos(0));
        let (publisher, _) = world.connect(&connect(version, "pub"));
        world.broker.set_memory_used(LIMIT);
        send(&mut world, &publisher, &message("t", "x"), QoS::AtMostOnce);
        assert_eq!(sub.messages(&mut world), [""; 0]);
        assert!(!world.broker.has_ended(publisher.id));
        assert_eq!(dropped(&mut world), "1");
    }
}

#[test]
fn a_retained_message_without_memory_removes_the_previous_one() {
    let mut world = world();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for topic_name in ["a", "b", "c"] {
        publisher.publish(&mut world, &retained(topic_name, "old"), QoS::AtLeastOnce);
    }
    world.broker.set_memory_used(LIMIT);
    send(
        &mut world,
        &publisher,
        &retained("a", "new"),
        QoS::AtMostOnce,
    );
    // A message of QoS 1 is rejected with a reason code, so the older retained message stays. The same is true for a
    // message that would only remove the retained message.
    publisher.publish(&mut world, &retained("b", "new"), QoS::AtLeastOnce);
    publisher.publish(&mut world, &retained("c", ""), QoS::AtLeastOnce);
    world.broker.set_memory_used(0);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.subscribe(&mut world, "#", qos(0));
    assert_eq!(sub.messages(&mut world), ["b old q0 retained"]);
}

#[test]
fn a_will_is_not_queued_while_memory_is_short() {
    let mut world = world();
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "#", qos(1));
    sub.die(&mut world);
    let mut with_will = connect(V5_0, "pub");
    with_will.will = Some(Will::new(message("t", "will"), QoS::AtLeastOnce));
    let (publisher, _) = world.connect(&with_will);
    world.broker.set_memory_used(LIMIT);
    publisher.die(&mut world);
    assert_eq!(dropped(&mut world), "1");
    let (mut sub, is_present) = world.connect(&lasting("sub", u32::MAX));
    assert!(is_present, "a client with a session may come back");
    assert_eq!(sub.messages(&mut world), [""; 0]);
}

#[test]
fn rejects_new_clients_and_subscriptions_while_memory_is_short() {
    for version in [V3_1_1, V5_0] {
        let mut world = world();
        let (mut client, _) = world.connect(&connect(version, "here"));
        client.subscribe(&mut world, "t", qos(0));
        world.broker.set_memory_used(LIMIT);
        let (_, connack) = world.try_connect(&connect(version, "new"));
        // `ServerUnavailable` is return code 3 in 3.x.
        let expected = match version {
            V5_0 => ReasonCode::ServerBusy,
            _ => ReasonCode::ServerUnavailable,
        };
        assert_eq!(connack.reason_code, expected);
        let subscription = |filter| Subscription {
            topic_filter: TopicFilter::new(filter).unwrap(),
            options: qos(0),
        };
        let subscribe = Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![subscription("new"), subscription("t")],
            properties: SubscribeProperties::default(),
        };
        client.send(&mut world, &PacketRef::Subscribe(subscribe));
        let Some(PacketRef::Suback(suback)) = client.next(&mut world) else {
            panic!("no SUBACK")
        };
        let [new, known] = suback.reason_codes[..] else {
            panic!("{suback:?}")
        };
        assert!(new.is_error() && !known.is_error(), "{suback:?}");
        world.broker.set_memory_used(0);
        world.connect(&connect(version, "new"));
    }
}
