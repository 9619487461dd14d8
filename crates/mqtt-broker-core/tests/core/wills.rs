//! Tests of wills: how the end of a connection decides about them, their delay, and the store.

use mqtt_broker_core::{Limits, Mutation};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::world::*;

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

/// Adds a retained will with the payload `offline` to a CONNECT.
pub(super) fn with_will(mut connect: Connect, delay: u32) -> Connect {
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
