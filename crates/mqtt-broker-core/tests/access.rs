//! Tests of listener policies in the core: passwords, mount points, ACLs, session expiry and the owners of sessions,
//! also after a reload or a restart of the broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_broker_core::{Broker, ConnectionId, Limits, ListenerPolicy, Snapshot};
use mqtt_codec::{
    Connack, Connect, Decoder, Delivery, Disconnect, MAXIMUM_PACKET_SIZE, Message,
    PacketIdentifier, PacketRef, ProtocolVersion, QoS, ReasonCode, Subscribe, SubscribeProperties,
    Subscription, SubscriptionOptions, TopicFilter, TopicName, Will,
};

struct World {
    broker: Broker,
    now: Instant,
}

struct Peer {
    id: ConnectionId,
    decoder: Decoder,
    received: Vec<u8>,
}

impl World {
    fn new(limits: Limits, access: Vec<ListenerPolicy>) -> Self {
        let mut broker = Broker::new(limits, Box::new(|| 7));
        broker.set_policies(access);
        broker.record_mutations();
        let now = Instant::now();
        Self { broker, now }
    }

    fn open(&mut self, listener: u32, connect: &Connect) -> Peer {
        let peer = Peer {
            id: self.broker.open(self.now, "peer".into(), listener),
            decoder: Decoder::client(connect.protocol_version, MAXIMUM_PACKET_SIZE),
            received: Vec::new(),
        };
        self.send(&peer, &PacketRef::Connect(Box::new(connect.clone())));
        peer
    }

    fn connect(&mut self, listener: u32, connect: &Connect) -> (Peer, Connack) {
        let mut peer = self.open(listener, connect);
        match self.next(&mut peer, |packet| match packet {
            PacketRef::Connack(connack) => Some(*connack),
            _ => None,
        }) {
            Some(connack) => (peer, connack),
            None => panic!("no CONNACK"),
        }
    }

    fn send(&mut self, peer: &Peer, packet: &PacketRef<'_>) {
        let mut bytes = Vec::new();
        packet
            .encode(ProtocolVersion::V5_0, u32::MAX, &mut bytes)
            .unwrap();
        self.broker.handle_input(self.now, peer.id, &mut &bytes[..]);
    }

    /// Returns the result of `pick` for the first packet for which it returns `Some`. Packets before it are discarded.
    fn next<T>(&mut self, peer: &mut Peer, pick: impl Fn(PacketRef<'_>) -> Option<T>) -> Option<T> {
        // This test has no store, so each commit ends immediately.
        self.broker.begin_commit();
        self.broker.end_commit();
        let output = self.broker.output(peer.id).to_vec();
        self.broker.consume_output(self.now, peer.id, output.len());
        peer.received.extend(output);
        let bytes = std::mem::take(&mut peer.received);
        let mut rest = &bytes[..];
        let mut found = None;
        while found.is_none() {
            match peer.decoder.decode(&mut rest).unwrap() {
                Some(packet) => found = pick(packet),
                None => break,
            }
        }
        peer.received = rest.to_vec();
        found
    }

    fn topic_received(&mut self, peer: &mut Peer) -> Option<String> {
        self.next(peer, |packet| match packet {
            PacketRef::Publish(publish) => Some(publish.topic_name.to_owned()),
            _ => None,
        })
    }

    fn publish(&mut self, peer: &Peer, topic: &str, retain: bool) {
        let mut message = Message::new(TopicName::new(topic).unwrap(), "x");
        message.retain = retain;
        let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
        self.send(peer, &PacketRef::Publish(message.publish(delivery)));
    }

    fn subscribe(&mut self, peer: &Peer, filter: &str) {
        let subscribe = Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            properties: SubscribeProperties::default(),
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new(filter).unwrap(),
                options: SubscriptionOptions::new(QoS::AtLeastOnce),
            }],
        };
        self.send(peer, &PacketRef::Subscribe(subscribe));
    }

    fn close(&mut self, peer: &Peer) {
        self.broker.remove(self.now, peer.id);
    }

    fn restarted(self, access: Vec<ListenerPolicy>) -> Self {
        let saved: Snapshot = self.broker.save(self.now);
        let mut next = Self::new(Limits::default(), access);
        next.now = self.now;
        next.broker.restore(self.now, saved);
        next
    }
}

fn connect(identifier: &str, expiry: u32) -> Connect {
    let mut connect = Connect::new(ProtocolVersion::V5_0, identifier);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(expiry);
    connect
}

/// Returns the policy of a listener whose password file has these users.
fn with_users(names: &[&str]) -> ListenerPolicy {
    let users = names.iter().map(|name| (*name).to_owned()).collect();
    ListenerPolicy {
        users: Some(Arc::new(users)),
        ..ListenerPolicy::everyone()
    }
}

fn mounted() -> ListenerPolicy {
    ListenerPolicy {
        mount_point: Some("m/".into()),
        ..ListenerPolicy::everyone()
    }
}

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

#[test]
fn mount_points_apply_after_a_restart() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), mounted()],
    );
    let (away, _) = world.connect(1, &connect("away", u32::MAX));
    world.subscribe(&away, "a");
    world.close(&away);
    let mut world = world.restarted(vec![ListenerPolicy::everyone(), mounted()]);
    let (publisher, _) = world.connect(0, &connect("p", 0));
    world.publish(&publisher, "m/a", false);
    let (mut back, connack) = world.connect(1, &connect("away", u32::MAX));
    assert!(connack.session_present);
    assert_eq!(world.topic_received(&mut back).as_deref(), Some("a"));
}

#[test]
fn rejects_topics_that_exceed_the_limit_with_the_mount_point() {
    let mut world = World::new(Limits::default(), vec![mounted()]);
    let (mut peer, _) = world.connect(0, &connect("c", 0));
    let long = "x".repeat(65534);
    world.subscribe(&peer, &long);
    let reason_code = world.next(&mut peer, |packet| match packet {
        PacketRef::Suback(suback) => suback.reason_codes.first().copied(),
        _ => None,
    });
    assert_eq!(reason_code, Some(ReasonCode::TopicFilterInvalid));
    world.publish(&peer, &long, false);
    assert!(world.broker.has_ended(peer.id));
}

#[test]
fn permissions_of_a_publisher_are_those_of_its_listener() {
    let list = ListenerPolicy {
        list: Some(Arc::default()), // an empty list denies everything
        ..ListenerPolicy::everyone()
    };
    for (listener, expected) in [(0, Some("kept".to_owned())), (1, None)] {
        let mut world = World::new(
            Limits::default(),
            vec![ListenerPolicy::everyone(), ListenerPolicy::everyone()],
        );
        let (publisher, _) = world.connect(listener, &connect("p", 0));
        world.publish(&publisher, "kept", true);
        // After the restart the second listener has an ACL. The message of its publisher must not be sent.
        let mut world = world.restarted(vec![ListenerPolicy::everyone(), list.clone()]);
        let (mut subscriber, _) = world.connect(0, &connect("s", 0));
        world.subscribe(&subscriber, "#");
        assert_eq!(world.topic_received(&mut subscriber), expected);
    }
}

#[test]
fn will_of_a_client_of_a_removed_listener_is_not_delivered() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), ListenerPolicy::everyone()],
    );
    let mut dying = connect("w", 60);
    let will = Message::new(TopicName::new("will").unwrap(), "x");
    dying.will = Some(Will::new(will, QoS::AtLeastOnce));
    world.connect(1, &dying);
    let (heir, _) = world.connect(0, &connect("heir", u32::MAX));
    world.subscribe(&heir, "will");
    world.close(&heir);
    let mut world = world.restarted(vec![ListenerPolicy::everyone()]);
    let (mut heir, _) = world.connect(0, &connect("heir", u32::MAX));
    assert_eq!(world.topic_received(&mut heir), None);
}

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

#[test]
fn does_not_resend_messages_in_flight_after_the_permission_is_revoked() {
    let mut world = World::new(Limits::default(), vec![ListenerPolicy::everyone()]);
    let mut connect = Connect::new(ProtocolVersion::V5_0, "c");
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(100);
    let (mut peer, _) = world.connect(0, &connect);
    world.subscribe(&peer, "a/#");
    world.publish(&peer, "a/secret", false);
    world.publish(&peer, "a/open", false);
    let mut topics = vec![
        world.topic_received(&mut peer),
        world.topic_received(&mut peer),
    ];
    topics.sort();
    assert_eq!(topics, [Some("a/open".into()), Some("a/secret".into())]);
    world.close(&peer);
    let list = mqtt_broker_core::AccessList::parse(b"topic readwrite a/open\n").unwrap();
    world.broker.set_policies(vec![ListenerPolicy {
        list: Some(Arc::new(list)),
        ..ListenerPolicy::everyone()
    }]);
    let (mut peer, connack) = world.connect(0, &connect);
    assert!(connack.session_present);
    assert_eq!(world.topic_received(&mut peer).as_deref(), Some("a/open"));
    assert_eq!(world.topic_received(&mut peer), None);
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

#[test]
fn topic_that_is_empty_without_the_mount_point_is_not_delivered() {
    for filter in ["#", "$share/g/#", "+/#"] {
        for retain in [true, false] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                let mut world = World::new(
                    Limits::default(),
                    vec![ListenerPolicy::everyone(), mounted()],
                );
                let (publisher, _) = world.connect(0, &connect("p", 0));
                let (mut inside, _) = world.connect(1, &connect("inside", 0));
                if !retain {
                    world.subscribe(&inside, filter);
                }
                for topic_name in ["m", "m/", "m/a"] {
                    let mut message = Message::new(TopicName::new(topic_name).unwrap(), "x");
                    message.retain = retain;
                    let delivery = Delivery::first(qos, PacketIdentifier::FIRST);
                    world.send(&publisher, &PacketRef::Publish(message.publish(delivery)));
                }
                if retain {
                    world.subscribe(&inside, filter);
                }
                let gets_it = !retain || !filter.starts_with("$share");
                let received = world.topic_received(&mut inside);
                assert_eq!(
                    received.as_deref(),
                    gets_it.then_some("a"),
                    "{filter} {qos:?}"
                );
                assert_eq!(world.topic_received(&mut inside), None, "{filter} {qos:?}");
            }
        }
    }
}

#[test]
fn topics_of_the_broker_are_reserved_for_mounted_clients() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), mounted()],
    );
    let (mut witness, _) = world.connect(0, &connect("witness", 0));
    world.subscribe(&witness, "m/#");
    let mut dying = connect("w", 0);
    let will = Message::new(TopicName::new("$SYS/will").unwrap(), "x");
    dying.will = Some(Will::new(will, QoS::AtLeastOnce));
    let (mut inside, _) = world.connect(1, &dying);
    world.publish(&inside, "$SYS/x", true);
    let reason_code = world.next(&mut inside, |packet| match packet {
        PacketRef::Puback(ack) => Some(ack.reason_code),
        _ => None,
    });
    assert_eq!(reason_code, Some(ReasonCode::NotAuthorized));
    world.close(&inside);
    assert_eq!(world.topic_received(&mut witness), None);
}

#[test]
fn a_will_is_mounted_and_a_topic_that_equals_the_mount_point_is_not_delivered() {
    let mut world = World::new(
        Limits::default(),
        vec![ListenerPolicy::everyone(), mounted()],
    );
    let (mut inside, _) = world.connect(1, &connect("inside", 0));
    world.subscribe(&inside, "#");
    for (listener, topic_name) in [(0, "m/"), (0, "m"), (1, "a")] {
        let mut dying = connect("w", 0);
        let will = Message::new(TopicName::new(topic_name).unwrap(), "x");
        dying.will = Some(Will::new(will, QoS::AtLeastOnce));
        let (peer, _) = world.connect(listener, &dying);
        world.close(&peer);
    }
    assert_eq!(world.topic_received(&mut inside).as_deref(), Some("a"));
    assert_eq!(world.topic_received(&mut inside), None);
}
