//! Tests of the queue and the results of password checks.

use std::time::Duration;

use mqtt_broker_core::Limits;
use mqtt_codec::{PacketRef, ProtocolVersion};

use crate::world::{World, connect, with_users};

#[test]
fn password_result_after_the_connect_timeout_is_ignored() {
    let mut world = World::new(Limits::default(), vec![with_users(&["me"])]);
    let mut connect = connect("c", u32::MAX);
    connect.user_name = Some("me".into());
    connect.password = Some("secret".into());
    for is_late in [true, false] {
        let mut peer = world.open(0, &connect);
        let (id, check) = world.broker.poll_check().unwrap();
        assert!(world.broker.is_password_pending(id));
        assert_eq!((check.listener, &*check.user_name), (0, "me"));
        assert_eq!(check.password, "secret");
        if is_late {
            world.now += Duration::from_secs(10);
            world.broker.handle_timeout(world.now);
            assert!(world.broker.has_ended(id));
        }
        world.broker.handle_checked(world.now, id, Ok(()));
        let connack = world.next(&mut peer, |packet| match packet {
            PacketRef::Connack(connack) => Some(*connack),
            _ => None,
        });
        // If the password was verified after the connection had ended, no session may exist.
        match connack {
            None => assert!(is_late),
            Some(connack) => assert_eq!((is_late, connack.session_present), (false, false)),
        }
    }
}

#[test]
fn a_flood_of_logins_from_one_address_delays_another_one_by_one_hash() {
    let mut world = World::new(Limits::default(), vec![with_users(&["me"])]);
    let mut connect = connect("", 0);
    connect.clean_start = true;
    connect.user_name = Some("me".into());
    connect.password = Some("guess".into());
    let open = |world: &mut World, peer: String| {
        let mut bytes = Vec::new();
        let packet = PacketRef::Connect(Box::new(connect.clone()));
        packet
            .encode(ProtocolVersion::V5_0, u32::MAX, &mut bytes)
            .unwrap();
        let id = world.broker.open(world.now, peer, 0);
        world.broker.handle_input(world.now, id, &mut &bytes[..]);
        id
    };
    let flood: Vec<_> = (1..=300)
        .map(|port| open(&mut world, format!("192.0.2.1:{port}")))
        .collect();
    // At most 256 checks of one address wait. The broker rejects the other connections.
    let refused = flood.iter().filter(|id| world.broker.has_ended(**id));
    assert_eq!(refused.count(), 300 - 256);
    let other = open(&mut world, "192.0.2.2:1".into());
    let next = |world: &mut World| world.broker.poll_check().map(|(id, _)| id);
    assert_eq!(next(&mut world), Some(flood[0]));
    assert_eq!(next(&mut world), Some(other));
    // After the connections of the flood are closed, a login from the same address is the next one.
    for id in &flood {
        world.broker.remove(world.now, *id);
    }
    let honest = open(&mut world, "192.0.2.1:999".into());
    assert_eq!(next(&mut world), Some(honest));
    assert_eq!(next(&mut world), None);
}
