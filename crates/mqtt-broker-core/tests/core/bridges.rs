//! Tests of bridges of mosquitto that connect to the broker: a bridge of 3.x does not receive its own messages and gets
//! RETAIN as published, and a bridge may publish its own connection state.

use mqtt_codec::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

use crate::world::{World, connect, message, qos, retained};

fn bridge(version: ProtocolVersion, identifier: &str) -> Connect {
    Connect {
        is_bridge: true,
        clean_start: false,
        ..connect(version, identifier)
    }
}

#[test]
fn a_bridge_of_3_x_gets_no_echo_and_retain_as_published() {
    for version in [V3_1, V3_1_1] {
        let mut world = World::new();
        let (mut client, _) = world.connect(&connect(V3_1_1, "client"));
        let (mut peer, _) = world.connect(&bridge(version, "bridge"));
        peer.subscribe(&mut world, "#", qos(1));
        peer.publish(&mut world, &retained("a", "own"), QoS::AtLeastOnce);
        assert_eq!(peer.messages(&mut world), [""; 0], "{version}");
        client.publish(&mut world, &retained("a", "other"), QoS::AtLeastOnce);
        client.publish(&mut world, &message("b", "plain"), QoS::AtMostOnce);
        let expected = ["a other q1 retained", "b plain q0"];
        assert_eq!(peer.messages(&mut world), expected, "{version}");
    }
}

#[test]
fn a_client_of_3_1_1_gets_its_own_messages_without_retain() {
    let mut world = World::new();
    let (mut client, _) = world.connect(&connect(V3_1_1, "client"));
    client.subscribe(&mut world, "#", qos(1));
    client.publish(&mut world, &retained("a", "own"), QoS::AtMostOnce);
    assert_eq!(client.messages(&mut world), ["a own q0"]);
}

/// A bridge of 5.0 sets No Local and Retain As Published itself, so the broker must not add them.
#[test]
fn bridge_of_5_0_gets_messages_by_its_subscription_options() {
    let mut world = World::new();
    let (mut peer, _) = world.connect(&bridge(V5_0, "bridge"));
    peer.subscribe(&mut world, "#", qos(1));
    peer.publish(&mut world, &retained("a", "own"), QoS::AtMostOnce);
    assert_eq!(peer.messages(&mut world), ["a own q0"]);
}

#[test]
fn a_client_publishes_the_state_of_the_bridge_that_has_its_identifier_and_of_no_other() {
    for (version, is_bridge) in [(V3_1_1, true), (V5_0, false)] {
        let mut world = World::new();
        let (mut client, _) = world.connect(&connect(V5_0, "client"));
        client.subscribe(&mut world, "$SYS/broker/connection/#", qos(1));
        let state = |identifier: &str, payload| {
            retained(
                &format!("$SYS/broker/connection/{identifier}/state"),
                payload,
            )
        };
        let will = Will::new(state("host.cloud", "0"), QoS::AtLeastOnce);
        let (mut peer, _) = world.connect(&Connect {
            is_bridge,
            will: Some(will),
            ..connect(version, "host.cloud")
        });
        peer.publish(&mut world, &state("host.cloud", "1"), QoS::AtLeastOnce);
        let forged = ["other", "host", "host.cloud/state"];
        for identifier in forged {
            peer.publish(&mut world, &state(identifier, "1"), QoS::AtLeastOnce);
        }
        let topic = "$SYS/broker/connection/host.cloud/state";
        assert_eq!(client.messages(&mut world), [format!("{topic} 1 q1")]);
        peer.die(&mut world);
        assert_eq!(client.messages(&mut world), [format!("{topic} 0 q1")]);
        // The state is retained, so a later subscriber receives it too.
        let (mut late, _) = world.connect(&connect(V5_0, "late"));
        late.subscribe(&mut world, "$SYS/#", qos(1));
        let expected = [format!("{topic} 0 q1 retained")];
        assert_eq!(late.messages(&mut world), expected);
    }
}
