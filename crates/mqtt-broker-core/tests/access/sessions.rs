//! Tests of the owner and the expiry of a session.

use std::time::Duration;

use mqtt_broker_core::{Limits, ListenerPolicy};
use mqtt_codec::{Connect, Disconnect, PacketRef, ProtocolVersion, ReasonCode};

use crate::world::{World, connect, mounted, with_users};

#[test]
fn session_expiry_is_limited_by_the_broker_and_announced_in_connack() {
    let limits = Limits {
        longest_session: Some(Duration::from_secs(100)),
        ..Limits::default()
    };
    let mut world = World::new(limits, Vec::new());
    for (asked, told) in [
        (50, None),
        (100, None),
        (101, Some(100)),
        (u32::MAX, Some(100)),
    ] {
        let (peer, connack) = world.connect(0, &connect("c", asked));
        assert_eq!(connack.properties.session_expiry_interval, told, "{asked}");
        world.close(&peer);
    }
    // The interval in DISCONNECT must not make the session last longer than `persistent_client_expiration`.
    let (peer, _) = world.connect(0, &connect("c", 50));
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    disconnect.properties.session_expiry_interval = Some(u32::MAX);
    world.send(&peer, &PacketRef::Disconnect(Box::new(disconnect)));
    world.close(&peer);
    world.now += Duration::from_secs(101);
    world.broker.handle_timeout(world.now);
    let (_, connack) = world.connect(0, &connect("c", 50));
    assert!(!connack.session_present);
}

/// Returns the CONNECT of a client of this user, whose session does not expire.
fn connect_as(user: Option<&str>, identifier: &str, version: ProtocolVersion) -> Connect {
    let mut connect = connect(identifier, u32::MAX);
    connect.protocol_version = version;
    if version != ProtocolVersion::V5_0 {
        connect.properties.session_expiry_interval = None;
    }
    connect.user_name = user.map(Into::into);
    connect
}

#[test]
fn a_client_is_rejected_while_a_session_of_another_user_has_its_identifier() {
    use ProtocolVersion::{V3_1_1, V5_0};
    for is_connected in [true, false] {
        let mut world = World::new(
            Limits::default(),
            vec![ListenerPolicy::everyone(), mounted()],
        );
        let (mut owner, _) = world.connect(0, &connect_as(Some("me"), "same", V5_0));
        world.subscribe(&owner, "a");
        if !is_connected {
            world.close(&owner);
        }
        let (publisher, _) = world.connect(0, &connect("p", 0));
        for (listener, user, version) in [
            (0, Some("you"), V5_0),
            (0, Some("you"), V3_1_1),
            (0, None, V5_0),
            (1, Some("me"), V5_0), // the same user with another mount point
        ] {
            for clean_start in [true, false] {
                let mut other = connect_as(user, "same", version);
                other.clean_start = clean_start;
                let (peer, connack) = world.connect(listener, &other);
                // The bytes are 0x85 in 5.0, and return code 2 in 3.x.
                assert_eq!(
                    connack.reason_code,
                    ReasonCode::ClientIdentifierNotValid,
                    "{listener} {user:?} {version:?}"
                );
                assert!(world.broker.has_ended(peer.id));
                world.close(&peer);
            }
        }
        // The owner still has its session, and receives its messages.
        world.publish(&publisher, "a", false);
        if !is_connected {
            let (again, connack) = world.connect(0, &connect_as(Some("me"), "same", V5_0));
            assert!(connack.session_present);
            owner = again;
        }
        assert_eq!(world.topic_received(&mut owner).as_deref(), Some("a"));
        assert!(!world.broker.has_ended(owner.id));
    }
}

#[test]
fn anonymous_clients_share_their_identifiers_and_an_identifier_is_free_when_its_session_ends() {
    let mut world = World::new(Limits::default(), vec![ListenerPolicy::everyone()]);
    let v5 = ProtocolVersion::V5_0;
    let (first, _) = world.connect(0, &connect_as(None, "same", v5));
    let (second, connack) = world.connect(0, &connect_as(None, "same", v5));
    assert!(connack.session_present && world.broker.has_ended(first.id));
    world.close(&second);
    // The client identifier belongs to the owner until its session expires after 10 seconds.
    let (last, _) = world.connect(0, &connect("same", 10));
    world.close(&last);
    world.now += Duration::from_secs(9);
    let (_, connack) = world.connect(0, &connect_as(Some("you"), "same", v5));
    assert_eq!(connack.reason_code, ReasonCode::ClientIdentifierNotValid);
    // The session has expired, although `handle_timeout` was not called.
    world.now += Duration::from_secs(1);
    let (_, connack) = world.connect(0, &connect_as(Some("you"), "same", v5));
    assert_eq!(
        (connack.reason_code, connack.session_present),
        (ReasonCode::Success, false)
    );
}

#[test]
fn session_keeps_its_owner_after_a_restart() {
    let v5 = ProtocolVersion::V5_0;
    let mut world = World::new(Limits::default(), vec![ListenerPolicy::everyone()]);
    let (owner, _) = world.connect(0, &connect_as(Some("me"), "same", v5));
    world.close(&owner);
    let mut world = world.restarted(vec![ListenerPolicy::everyone()]);
    let (_, connack) = world.connect(0, &connect_as(Some("you"), "same", v5));
    assert_eq!(connack.reason_code, ReasonCode::ClientIdentifierNotValid);
    let (_, connack) = world.connect(0, &connect_as(Some("me"), "same", v5));
    assert!(connack.session_present);
}

#[test]
fn session_of_a_removed_user_ends_when_another_user_connects_with_its_identifier() {
    let mut world = World::new(Limits::default(), vec![with_users(&["me", "you"])]);
    let come = |world: &mut World, user: &str| {
        let mut connect = connect_as(Some(user), "same", ProtocolVersion::V5_0);
        connect.password = Some("secret".into());
        let mut peer = world.open(0, &connect);
        let (id, _) = world.broker.poll_check().unwrap();
        world.broker.handle_checked(world.now, id, Ok(()));
        let connack = world.next(&mut peer, |packet| match packet {
            PacketRef::Connack(connack) => Some(*connack),
            _ => None,
        });
        world.close(&peer);
        connack.unwrap()
    };
    come(&mut world, "me");
    let rejected = come(&mut world, "you").reason_code;
    assert_eq!(rejected, ReasonCode::ClientIdentifierNotValid);
    world.broker.set_policies(vec![with_users(&["you"])]);
    let connack = come(&mut world, "you");
    assert_eq!(
        (connack.reason_code, connack.session_present),
        (ReasonCode::Success, false)
    );
}
