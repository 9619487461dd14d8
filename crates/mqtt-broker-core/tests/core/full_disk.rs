//! Tests of `end_uncommitted`: if the disk has no room for the mutations of a client, the client must get the reason
//! and must not get the acknowledgement that waits for them.

use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::world::*;

const DISCONNECT: [u8; 3] = [0xE0, 1, 0x97];

fn world() -> World {
    let mut world = World::new();
    world.broker.record_mutations();
    world
}

/// Ends a connection because its mutations cannot be stored. Returns the bytes that may be written to it.
fn last_words(world: &mut World, peer: &Peer) -> Vec<u8> {
    world.broker.begin_commit();
    world.broker.end_uncommitted(world.now, &[peer.id]);
    assert!(world.broker.has_ended(peer.id));
    let output = world.broker.output(peer.id);
    assert_eq!(output, world.broker.whole_output(peer.id));
    output.to_vec()
}

fn publish_once_acknowledged(world: &mut World, peer: &Peer) {
    let delivery = Delivery::AtLeastOnce {
        packet_identifier: PacketIdentifier::FIRST,
        dup: false,
    };
    let message = message("kept", "payload");
    peer.send(world, &PacketRef::Publish(message.publish(delivery)));
}

/// Connects a publisher of this version. Also makes a stored session that subscribes to its topic, so that its messages
/// make mutations.
fn publisher(world: &mut World, version: ProtocolVersion) -> Peer {
    let (mut keeper, _) = world.connect(&lasting("keeper", 1000));
    keeper.subscribe(world, "kept", qos(1));
    world.connect(&connect(version, "publisher")).0
}

#[test]
fn client_gets_a_reason_instead_of_an_acknowledgement_that_cannot_be_persisted() {
    for (version, expected) in [(V5_0, &DISCONNECT[..]), (V3_1_1, &[])] {
        let mut world = world();
        let publisher = publisher(&mut world, version);
        publish_once_acknowledged(&mut world, &publisher);
        assert_eq!(world.broker.output(publisher.id), []);
        assert_eq!(last_words(&mut world, &publisher), expected);
        // A second call, after the connection has ended, changes nothing.
        world.broker.end_uncommitted(world.now, &[publisher.id]);
        assert_eq!(world.broker.output(publisher.id), expected);
    }
}

#[test]
fn partly_written_packet_is_completed_before_the_reason() {
    let mut world = world();
    let mut publisher = publisher(&mut world, V5_0);
    publisher.subscribe(&mut world, "passing", qos(0));
    let passing = message("passing", "a message that is on its way");
    let (mut other, _) = world.connect(&connect(V5_0, "other"));
    other.publish(&mut world, &passing, QoS::AtMostOnce);
    let whole = world.broker.output(publisher.id).to_vec();
    world.broker.consume_output(world.now, publisher.id, 10);
    publish_once_acknowledged(&mut world, &publisher);
    let rest = last_words(&mut world, &publisher);
    assert_eq!(rest, [&whole[10..], &DISCONNECT].concat());
}

/// [MQTT-3.14.0-1]
#[test]
fn rejects_a_client_whose_session_cannot_be_persisted() {
    for (version, expected) in [
        (V5_0, &[0x20, 3, 0, 0x97, 0][..]),
        (V3_1_1, &[0x20, 2, 0, 3]),
    ] {
        let mut world = world();
        let id = world.broker.open(world.now, "peer".into(), 0);
        let peer = Peer {
            id,
            version,
            decoder: Decoder::client(version, MAXIMUM_PACKET_SIZE),
            received: Vec::new(),
        };
        let connect = Connect {
            protocol_version: version,
            ..lasting("durable", 1000)
        };
        peer.send(&mut world, &PacketRef::Connect(Box::new(connect)));
        assert_eq!(world.broker.output(id), []);
        assert_eq!(last_words(&mut world, &peer), expected);
    }
}
