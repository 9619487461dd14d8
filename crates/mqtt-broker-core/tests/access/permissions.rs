//! Tests of the permissions of listeners and users, also after they have changed.

use std::sync::Arc;

use mqtt_broker_core::{Limits, ListenerPolicy};
use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, TopicName, Will};

use crate::world::{World, connect};

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
