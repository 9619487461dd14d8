//! Tests of sessions: their expiry, their wills, take-over, and the reasons to reject a CONNECT.

use mqtt_broker_core::{Limits, Mutation};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

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

/// The way in which a connection ends decides if and when its will is published.
#[test]
fn end_of_the_connection_decides_whether_the_will_is_published() {
    #[derive(Debug, Clone, Copy)]
    enum Ending {
        Dies,
        Leaves(ReasonCode),
        TakenOver,
        KeepAlive,
        Malformed,
    }
    use Ending::*;
    let with_will = ReasonCode::DisconnectWithWillMessage;
    // The columns: version, ending, Session Expiry Interval, Will Delay Interval, `true` if the will is published
    // immediately, and `true` if the will is published after a minute.
    let table = [
        (V3_1_1, Dies, 0, 0, true, true),
        (V3_1_1, Leaves(ReasonCode::Success), 0, 0, false, false),
        (V3_1_1, TakenOver, 0, 0, true, true),
        (V3_1_1, Malformed, 0, 0, true, true),
        (V5_0, Dies, 0, 0, true, true),
        (V5_0, Dies, 100, 30, false, true),
        (V5_0, Dies, 0, 30, true, true), // the session ends before the delay is over
        (V5_0, Leaves(ReasonCode::Success), 100, 0, false, false),
        (V5_0, Leaves(with_will), 100, 0, true, true),
        (
            V5_0,
            Leaves(ReasonCode::UnspecifiedError),
            100,
            30,
            false,
            true,
        ),
        (V5_0, TakenOver, 100, 0, true, true),
        (V5_0, TakenOver, 100, 30, false, false), // the new connection resumes the session and cancels the will
        (V5_0, TakenOver, 0, 30, true, true), // the session ends with the old connection, before the delay
        (V5_0, KeepAlive, 1000, 0, true, true),
        (V5_0, Malformed, 0, 0, true, true),
    ];
    for (version, ending, expiry, delay, at_once, later) in table {
        let what = format!("{version} {ending:?} {expiry} {delay}");
        let mut world = World::new();
        let (mut witness, _) = world.connect(&Connect {
            keep_alive: 0,
            ..connect(V5_0, "witness")
        });
        witness.subscribe(&mut world, "will", qos(1));
        let mut dying = Connect {
            keep_alive: 10,
            ..connect(version, "dying")
        };
        dying.will = Some(Will {
            will_delay_interval: Some(delay).filter(|_| version == V5_0),
            ..Will::new(message("will", "x"), QoS::AtLeastOnce)
        });
        if version == V5_0 {
            dying.properties.session_expiry_interval = Some(expiry);
            dying.clean_start = false;
        }
        let (peer, _) = world.connect(&dying);
        match ending {
            Dies => peer.die(&mut world),
            Leaves(reason_code) => peer.leave(&mut world, Disconnect::new(reason_code)),
            TakenOver => {
                let next = Connect {
                    will: None,
                    keep_alive: 0,
                    ..dying.clone()
                };
                let (new, _) = world.connect(&next);
                peer.die(&mut world); // the caller closes the old socket after the take-over
                assert!(!world.broker.has_ended(new.id), "{what}");
            }
            KeepAlive => world.wait(15),
            Malformed => {
                world
                    .broker
                    .handle_input(world.now, peer.id, &mut &[0xC1, 0][..]);
                peer.die(&mut world);
            }
        }
        let published = witness.messages(&mut world);
        assert_eq!(published.len(), usize::from(at_once), "{what}");
        world.wait(60);
        let afterwards = witness.messages(&mut world);
        assert_eq!(
            published.len() + afterwards.len(),
            usize::from(later),
            "{what}"
        );
    }
}

/// [MQTT-3.1.3-9]
#[test]
fn delayed_will_is_discarded_if_the_client_reconnects_in_time() {
    let mut world = World::new();
    let (mut witness, _) = world.connect(&Connect {
        keep_alive: 0,
        ..connect(V5_0, "witness")
    });
    witness.subscribe(&mut world, "will", qos(1));
    let mut dying = Connect {
        keep_alive: 0,
        ..lasting("dying", 100)
    };
    dying.will = Some(Will {
        will_delay_interval: Some(30),
        ..Will::new(message("will", "x"), QoS::AtMostOnce)
    });
    world.connect(&dying).0.die(&mut world);
    world.wait(29);
    let (peer, _) = world.connect(&dying);
    world.wait(60);
    assert_eq!(witness.messages(&mut world), [""; 0]);
    peer.die(&mut world);
    world.wait(30);
    assert_eq!(witness.messages(&mut world), ["will x q0"]);
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
fn will_to_a_topic_of_the_broker_is_not_published() {
    let mut world = World::new();
    let (mut witness, _) = world.connect(&connect(V5_0, "witness"));
    witness.subscribe(&mut world, "$SYS/#", qos(0));
    let mut dying = connect(V3_1_1, "c");
    dying.will = Some(Will::new(
        retained("$SYS/broker/version", "forged"),
        QoS::AtMostOnce,
    ));
    world.connect(&dying).0.die(&mut world);
    assert_eq!(witness.messages(&mut world), [""; 0]);
    witness.subscribe(&mut world, "$SYS/#", qos(0));
    assert_eq!(witness.messages(&mut world), [""; 0]);
}

#[test]
fn a_will_above_the_message_size_limit_is_rejected_at_connect() {
    let limits = Limits {
        maximum_payload: 4,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    for (version, payload, expected) in [
        (V5_0, "1234", ReasonCode::Success),
        (V3_1_1, "1234", ReasonCode::Success),
        (V5_0, "12345", ReasonCode::PacketTooLarge),
        (V3_1_1, "12345", ReasonCode::NotAuthorized), // return code 5 in 3.1.1
    ] {
        let mut dying = connect(version, "c");
        dying.will = Some(Will::new(message("w", payload), QoS::AtMostOnce));
        let (_, connack) = world.try_connect(&dying);
        assert_eq!(connack.reason_code, expected, "{version:?} {payload}");
    }
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

/// Adds a retained will with the payload `offline` to a CONNECT.
fn with_will(mut connect: Connect, delay: u32) -> Connect {
    connect.will = Some(Will {
        will_delay_interval: Some(delay),
        ..Will::new(retained("state", "offline"), QoS::AtLeastOnce)
    });
    connect
}

/// [MQTT-3.1.2-8]
#[test]
fn wills_survive_a_restart_and_are_published_unless_the_client_reconnects() {
    // The columns: Session Expiry Interval, Will Delay Interval, seconds from the restart until the client reconnects,
    // `true` if the will is published at the restart, and `true` if the will is published in the end.
    let cases = [
        (0, 0, None, true, true),
        (0, 60, None, true, true), // the session ends before the delay is over
        (100, 0, None, true, true),
        (100, 60, None, false, true),
        (100, 60, Some(59), false, false),
        (100, 60, Some(61), false, true),
        (30, 60, Some(31), false, true),
    ];
    for (expiry, delay, back, at_start, at_end) in cases {
        let case = format!("expiry {expiry}, delay {delay}, back after {back:?}");
        let mut world = World::new();
        world.broker.record_mutations();
        world.connect(&with_will(lasting("dying", expiry), delay));
        let mut world = world.restarted();
        let published = |world: &mut World| {
            let (mut reader, _) = world.connect(&connect(V5_0, "reader"));
            reader.subscribe(world, "state", qos(1));
            reader.messages(world)
        };
        let told = ["state offline q1 retained"];
        assert_eq!(published(&mut world) == told, at_start, "{case}");
        if let Some(seconds) = back {
            world.wait(seconds);
            world.connect(&lasting("dying", 1000));
        }
        world.wait(1000);
        assert_eq!(published(&mut world) == told, at_end, "{case}");
        // The will is not published again after another restart.
        let mut world = world.restarted();
        world.connect(&connect(V5_0, "remover")).0.publish(
            &mut world,
            &retained("state", ""),
            QoS::AtMostOnce,
        );
        assert!(published(&mut world.restarted()).is_empty(), "{case}");
    }
}

/// [MQTT-3.1.2-7], [MQTT-3.14.4-3]
#[test]
fn will_is_stored_before_connack_and_deleted_when_it_is_discarded() {
    let mut world = World::new();
    world.broker.record_mutations();
    let plain = connect(V5_0, "plain");
    world.connect(&plain).0.leave(&mut world, normal());
    assert!(!world.broker.has_mutations(), "there is nothing to store");
    let id = world.broker.open(world.now, "peer".into(), 0);
    let mut bytes = Vec::new();
    let dying = with_will(connect(V5_0, "dying"), 0);
    let packet = PacketRef::Connect(Box::new(dying));
    packet
        .encode(V5_0, MAXIMUM_PACKET_SIZE, &mut bytes)
        .unwrap();
    world.broker.handle_input(world.now, id, &mut &bytes[..]);
    assert!(world.broker.output(id).is_empty(), "CONNACK waits");
    let saved = world.broker.save(world.now);
    assert!(saved.clients[0].state.will.is_some());
    assert!(world.broker.has_mutations());
    world.broker.take_mutations();
    world.broker.begin_commit();
    world.broker.end_commit();
    assert!(!world.broker.output(id).is_empty());
    // DISCONNECT withdraws the will.
    world
        .broker
        .handle_input(world.now, id, &mut &b"\xe0\x00"[..]);
    let gone = Mutation::ClientRemoved {
        client: "dying".into(),
    };
    assert_eq!(world.broker.take_mutations().last(), Some(&gone));
    assert!(world.broker.save(world.now).clients.is_empty());
}

#[test]
fn a_will_is_published_and_deleted_in_one_commit() {
    for expiry in [0, 1000] {
        let mut world = World::new();
        world.broker.record_mutations();
        let (dying, _) = world.connect(&with_will(lasting("dying", expiry), 0));
        world.broker.take_mutations();
        dying.die(&mut world);
        let mutations = world.broker.take_mutations();
        let is_published = |record: &Mutation| matches!(record, Mutation::Retained { .. });
        let is_deleted = |record: &Mutation| match record {
            Mutation::Client { state, .. } => state.will.is_none(),
            record => matches!(record, Mutation::ClientRemoved { .. }),
        };
        assert!(mutations.iter().any(is_published), "{mutations:?}");
        assert!(mutations.last().is_some_and(is_deleted), "{mutations:?}");
    }
}

#[test]
fn wills_are_published_when_a_broker_without_a_store_stops() {
    for (has_store, published) in [(false, true), (true, false)] {
        let mut world = World::new();
        if has_store {
            world.broker.record_mutations();
        }
        world.connect(&with_will(lasting("dying", 100), 60));
        let (mut witness, _) = world.connect(&connect(V5_0, "witness"));
        witness.subscribe(&mut world, "state", qos(1));
        world.broker.shut_down(world.now);
        let output = world.broker.output(witness.id);
        let is_told = output.windows(7).any(|part| part == b"offline");
        assert_eq!(is_told, published);
    }
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
