//! Tests of sessions: their expiry, take-over, and the reasons to reject a CONNECT.

use mqtt_broker_core::Limits;
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::wills::with_will;
use crate::world::*;

/// [MQTT-3.1.2-23, MQTT-3.1.2-4]
#[test]
fn session_ends_after_its_expiry_interval() {
    for (seconds, present) in [(9, true), (10, false), (11, false)] {
        let mut world = World::new();
        world.connect(&lasting("c", 10)).0.die(&mut world);
        world.wait(seconds);
        assert_eq!(
            world.connect(&lasting("c", 10)).1,
            present,
            "after {seconds} s"
        );
    }
    let mut world = World::new();
    world.connect(&lasting("c", u32::MAX)).0.die(&mut world);
    world.wait(1_000_000);
    assert!(world.connect(&lasting("c", 0)).1);
    world.connect(&lasting("c", 0)).0.die(&mut world);
    assert!(
        !world.connect(&lasting("c", 0)).1,
        "0 ends it with the connection"
    );
    let clean = Connect {
        clean_start: true,
        ..lasting("c", 100)
    };
    assert!(
        !world.connect(&clean).1,
        "a clean start ends what was there"
    );
    assert!(world.connect(&lasting("c", 100)).1);
}

#[test]
fn disconnect_changes_the_expiry_interval_unless_it_was_zero() {
    let with_interval = |seconds| Disconnect {
        properties: DisconnectProperties {
            session_expiry_interval: Some(seconds),
            ..DisconnectProperties::default()
        },
        ..normal()
    };
    for (at_connect, at_end, present) in [(100, 0, false), (100, 200, true), (0, 100, false)] {
        let mut world = World::new();
        let (peer, _) = world.connect(&lasting("c", at_connect));
        peer.leave(&mut world, with_interval(at_end));
        world.wait(150);
        assert_eq!(
            world.connect(&lasting("c", 0)).1,
            present,
            "{at_connect} {at_end}"
        );
    }
}

/// [MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-4.6.0-6]
#[test]
fn resends_unacknowledged_messages_before_queued_ones() {
    let limits = Limits {
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(2));
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    for payload in ["1", "2", "3"] {
        publisher.publish(&mut world, &message("a", payload), QoS::AtLeastOnce);
    }
    sub.take(&mut world);
    sub.die(&mut world);
    let (mut sub, present) = world.connect(&lasting("sub", u32::MAX));
    assert!(present);
    assert_eq!(
        sub.messages(&mut world),
        ["a 1 q1 again", "a 2 q1 again", "a 3 q1"]
    );
}

/// DISCONNECT must not set a Session Expiry Interval if that of CONNECT was 0 (MQTT 5.0, 3.14.2.2.2). The DISCONNECT is
/// invalid, so the will is published.
#[test]
fn raising_the_expiry_interval_from_zero_is_a_protocol_error() {
    let mut world = World::new();
    let (mut witness, _) = world.connect(&connect(V5_0, "witness"));
    witness.subscribe(&mut world, "will", qos(0));
    let mut asking = connect(V5_0, "c");
    asking.will = Some(Will::new(message("will", "x"), QoS::AtMostOnce));
    let (mut peer, _) = world.connect(&asking);
    let properties = DisconnectProperties {
        session_expiry_interval: Some(100),
        ..DisconnectProperties::default()
    };
    let disconnect = Disconnect {
        properties,
        ..normal()
    };
    peer.send(&mut world, &PacketRef::Disconnect(Box::new(disconnect)));
    let Some(PacketRef::Disconnect(answer)) = peer.next(&mut world) else {
        panic!()
    };
    assert_eq!(answer.reason_code, ReasonCode::ProtocolError);
    assert_eq!(witness.messages(&mut world), ["will x q0"]);
}

#[test]
fn unsupported_requests_are_rejected_with_their_reason_code() {
    let mut world = World::new();
    let mut asking = connect(V5_0, "c");
    asking.properties.authentication_method = Some("SCRAM".into());
    let (_, connack) = world.try_connect(&asking);
    assert_eq!(connack.reason_code, ReasonCode::BadAuthenticationMethod);

    let (mut client, _) = world.connect(&connect(V5_0, "c"));
    let subscription = |filter| Subscription {
        topic_filter: TopicFilter::new(filter).unwrap(),
        options: qos(1),
    };
    let deep = "a/".repeat(201);
    client.send(
        &mut world,
        &PacketRef::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![subscription("a"), subscription(&deep)],
            properties: SubscribeProperties::default(),
        }),
    );
    let Some(PacketRef::Suback(suback)) = client.next(&mut world) else {
        panic!()
    };
    assert_eq!(
        suback.reason_codes,
        [ReasonCode::GrantedQoS1, ReasonCode::TopicFilterInvalid]
    );
}

/// [MQTT-3.1.3-6 to MQTT-3.1.3-8 of 3.1.1, MQTT-3.2.2-16]
#[test]
fn assigns_an_identifier_to_a_client_without_one_if_the_version_permits() {
    let mut world = World::new();
    let mut connack = |version, clean_start| {
        world
            .try_connect(&Connect {
                clean_start,
                ..connect(version, "")
            })
            .1
    };
    let refused = ReasonCode::ClientIdentifierNotValid;
    assert_eq!(connack(ProtocolVersion::V3_1, true).reason_code, refused);
    assert_eq!(connack(V3_1_1, false).reason_code, refused);
    assert_eq!(connack(V3_1_1, true).reason_code, ReasonCode::Success);
    let assigned = connack(V5_0, false).properties.assigned_client_identifier;
    assert!(assigned.is_some_and(|identifier| identifier.starts_with("auto-")));
}

/// A thousand clients whose sessions end with their connections leave no state behind.
#[test]
fn clients_with_clean_start_leave_no_state() {
    let mut world = World::new();
    for number in 0..1000 {
        let (mut client, _) = world.connect(&connect(V3_1_1, &format!("c{number}")));
        client.subscribe(&mut world, &format!("a/{number}/#"), qos(1));
        client.die(&mut world);
    }
    assert_eq!(
        format!("{:?}", world.broker),
        "Broker { connections: 0, clients: 0, .. }"
    );
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.send(
        &mut world,
        &PacketRef::Publish(message("a/7/x", "x").publish(Delivery::AtLeastOnce {
            packet_identifier: PacketIdentifier::FIRST,
            dup: false,
        })),
    );
    let Some(PacketRef::Puback(ack)) = publisher.next(&mut world) else {
        panic!()
    };
    assert_eq!(ack.reason_code, ReasonCode::NoMatchingSubscribers);
}

#[test]
fn counts_only_sessions_that_expire() {
    let mut world = World::new();
    let expired = |world: &mut World| {
        let values = world.broker.statistics(world.now);
        let value = values.iter().find(|value| value.name == "clients/expired");
        value.unwrap().text.clone()
    };
    // The first session is ended by the clean start of the second client, and the second one ends with its connection.
    // Neither counts as expired.
    world.connect(&lasting("c", 10)).0.die(&mut world);
    world.connect(&connect(V5_0, "c")).0.die(&mut world);
    assert_eq!(expired(&mut world), "0");
    world.connect(&lasting("c", 10)).0.die(&mut world);
    world.wait(10);
    assert_eq!(expired(&mut world), "1");
}

#[test]
fn store_above_its_limit_delivers_stored_messages_and_rejects_new_ones() {
    let mut world = World::new();
    world.broker.record_mutations();
    let (mut stored, _) = world.connect(&lasting("stored", 1000));
    stored.subscribe(&mut world, "t", qos(1));
    stored.die(&mut world);
    world.broker.set_store_above_limit(true);
    let refused = |world: &mut World, connect: &Connect| {
        let (_, connack) = world.try_connect(connect);
        connack.reason_code == ReasonCode::QuotaExceeded
    };
    assert!(refused(&mut world, &lasting("new", 1000)));
    let dying = with_will(connect(V5_0, "dying"), 0);
    assert!(refused(&mut world, &dying));
    let (mut plain, _) = world.connect(&connect(V5_0, "plain"));
    plain.subscribe(&mut world, "t", qos(1));
    // A stored session can be resumed, but its client cannot add subscriptions.
    let (mut stored, is_present) = world.connect(&lasting("stored", 1000));
    assert!(is_present);
    stored.send(
        &mut world,
        &PacketRef::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new("more").unwrap(),
                options: qos(1),
            }],
            properties: SubscribeProperties::default(),
        }),
    );
    world.broker.begin_commit();
    world.broker.end_commit();
    let Some(PacketRef::Suback(suback)) = stored.next(&mut world) else {
        panic!("no SUBACK")
    };
    assert_eq!(suback.reason_codes, [ReasonCode::QuotaExceeded]);
    world.broker.set_store_above_limit(false);
    assert!(!refused(&mut world, &lasting("new", 1000)));
}
