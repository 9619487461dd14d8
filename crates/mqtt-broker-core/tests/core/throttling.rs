//! Tests of throttling: a connection waits if it makes mutations while too many of them wait for a commit, or if its
//! peer does not read. Other connections must not wait.

use mqtt_broker_core::{Backlog, InputProgress, Limits, Mutation};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::work::{BUDGET, bytes, publish, small_budget};
use crate::world::{Peer, World, connect, lasting, message, qos, retained};

const SOFT: usize = 50;
const HARD: usize = 100;

fn small_backlog() -> Limits {
    let mutations = |mutations| Backlog {
        mutations,
        bytes: usize::MAX,
    };
    Limits {
        commit_backlog: mutations(SOFT),
        maximum_commit_backlog: mutations(HARD),
        ..small_budget()
    }
}

/// Sends `count` retained messages of QoS 0 to different topics. Returns the bytes that the broker has not handled.
fn flood(world: &mut World, peer: &Peer, count: usize) -> Vec<u8> {
    let messages: Vec<_> = (0..count)
        .map(|number| retained(&format!("{:?}/{number}", peer.id), "x"))
        .collect();
    let packets: Vec<_> = messages
        .iter()
        .map(|message| publish(message, QoS::AtMostOnce))
        .collect();
    let packets = bytes(peer, &packets);
    handle(world, peer, &packets)
}

fn handle(world: &mut World, peer: &Peer, bytes: &[u8]) -> Vec<u8> {
    let mut input = bytes;
    while world.broker.handle_input(world.now, peer.id, &mut input) == InputProgress::Yielded {}
    input.to_vec()
}

fn commit(world: &mut World) -> Vec<Mutation> {
    let mutations = world.broker.take_mutations();
    world.broker.begin_commit();
    world.broker.end_commit();
    mutations
}

#[test]
fn publisher_of_retained_messages_waits_for_the_commit_queue_and_others_do_not() {
    let mut world = World::with(small_backlog());
    world.broker.record_mutations();
    let (publisher, _) = world.connect(&connect(V5_0, "pub"));
    let mut left = flood(&mut world, &publisher, 500);
    assert!(!left.is_empty());
    assert!(world.broker.backlog().mutations <= SOFT + BUDGET);
    // The publisher still waits when the mutations were taken, because they are not durable yet.
    let taken = world.broker.take_mutations();
    world.broker.begin_commit();
    left = handle(&mut world, &publisher, &left);
    assert_eq!(world.broker.poll_resumable(), None);
    assert!(world.broker.backlog().mutations <= SOFT + BUDGET);
    // A client that has made no mutations is served.
    let (mut bystander, _) = world.connect(&connect(V5_0, "bystander"));
    bystander.subscribe(&mut world, "b", qos(1));
    bystander.publish(&mut world, &message("x", "x"), QoS::AtLeastOnce);
    world.broker.end_commit();
    // With each commit the publisher may make some more mutations, until all messages are stored.
    let mut stored = taken.len();
    while !left.is_empty() {
        assert_eq!(world.broker.poll_resumable(), Some(publisher.id));
        left = handle(&mut world, &publisher, &left);
        assert!(world.broker.backlog().mutations <= SOFT + BUDGET);
        stored += commit(&mut world).len();
    }
    assert_eq!(stored, 500);
}

#[test]
fn above_the_hard_limit_no_mutations_are_made_and_pings_are_answered() {
    let mut world = World::with(small_backlog());
    world.broker.record_mutations();
    // Each publisher stays below the soft limit, but together they exceed the hard limit.
    let publishers: Vec<_> = (0..80)
        .map(|number| world.connect(&connect(V5_0, &format!("p{number}"))).0)
        .collect();
    let (mut bystander, _) = world.connect(&connect(V3_1_1, "bystander"));
    for publisher in &publishers {
        flood(&mut world, publisher, 30);
    }
    assert!(world.broker.backlog().mutations <= HARD + BUDGET);
    let full = world.broker.backlog();
    let retained = retained("r", "x");
    let packets = bytes(
        &bystander,
        &[PacketRef::Pingreq, publish(&retained, QoS::AtMostOnce)],
    );
    let left = handle(&mut world, &bystander, &packets);
    bystander.take(&mut world);
    // The PINGREQ is answered with PINGRESP, and the retained message waits.
    assert_eq!(bystander.received, [0xD0, 0]);
    assert!(!left.is_empty());
    assert_eq!(world.broker.backlog(), full);
    // A CONNECT whose session must be stored waits for the commit.
    let id = world.broker.open(world.now, "peer".into(), 0);
    let packet = PacketRef::Connect(Box::new(lasting("new", 60)));
    let packet = bytes(&bystander_of(id), &[packet]);
    let mut input = &packet[..];
    let progress = world.broker.handle_input(world.now, id, &mut input);
    assert_eq!(progress, InputProgress::Blocked);
    commit(&mut world);
    let resumed: Vec<_> = std::iter::from_fn(|| world.broker.poll_resumable()).collect();
    assert!(resumed.contains(&bystander.id) && resumed.contains(&id));
    world.broker.handle_input(world.now, id, &mut &[][..]);
    commit(&mut world);
    assert_eq!(world.broker.output(id)[0], 0x20);
}

fn bystander_of(id: mqtt_broker_core::ConnectionId) -> Peer {
    Peer {
        id,
        version: V5_0,
        decoder: Decoder::client(V5_0, MAXIMUM_PACKET_SIZE),
        received: Vec::new(),
    }
}

#[test]
fn throttled_connection_misses_no_keep_alive() {
    let mut world = World::with(small_backlog());
    world.broker.record_mutations();
    let (publisher, _) = world.connect(&Connect {
        keep_alive: 1,
        ..connect(V5_0, "pub")
    });
    let left = flood(&mut world, &publisher, 500);
    assert!(!left.is_empty());
    world.wait(60);
    assert!(!world.broker.has_ended(publisher.id));
    // The keep alive begins anew when the connection resumes, and expires if the client sends nothing.
    commit(&mut world);
    world
        .broker
        .handle_input(world.now, publisher.id, &mut &[][..]);
    world.wait(2);
    assert!(world.broker.has_ended(publisher.id));
}

/// The will waits although the session of its client ends with the connection.
#[test]
fn will_waits_while_the_store_is_behind_and_is_not_lost() {
    let mut world = World::with(small_backlog());
    world.broker.record_mutations();
    let mut dying = connect(V5_0, "dying");
    dying.will = Some(Will::new(retained("will", "gone"), QoS::AtLeastOnce));
    let (dying, _) = world.connect(&dying);
    let (publisher, _) = world.connect(&connect(V5_0, "pub"));
    flood(&mut world, &publisher, 500);
    dying.die(&mut world);
    world.broker.run_background(world.now);
    let is_will = |record: &Mutation| matches!(record, Mutation::Retained { topic_name, .. } if &**topic_name == "will");
    assert!(!commit(&mut world).iter().any(is_will));
    assert!(world.broker.has_background_work());
    world.broker.run_background(world.now);
    assert!(commit(&mut world).iter().any(is_will));
}

const LARGE: usize = 1000;

/// Returns a message that is large enough to fill the output. Its payload is `number` with leading zeros.
fn large(number: usize) -> Message {
    let payload = format!("{number:0LARGE$}");
    Message::new(TopicName::new("t").unwrap(), payload)
}

fn small_output() -> Limits {
    Limits {
        maximum_unwritten: LARGE,
        ..Limits::default()
    }
}

/// Reads `window` bytes at a time, and acknowledges each message. Returns the numbers of the messages.
fn read_slowly(world: &mut World, peer: &mut Peer, window: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    for _ in 0..500 {
        let output = world.broker.output(peer.id);
        assert!(output.len() <= 2 * LARGE + 100, "{} bytes", output.len());
        let count = output.len().min(window);
        peer.received.extend_from_slice(&output[..count]);
        world.broker.consume_output(world.now, peer.id, count);
        let messages = peer.decode_messages(world);
        let number = |line: &String| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        numbers.extend(messages.iter().map(number));
    }
    numbers
}

#[test]
fn messages_of_each_qos_wait_for_room_in_the_output() {
    for qos_value in 0..3 {
        let mut world = World::with(small_output());
        let (mut subscriber, _) = world.connect(&connect(V5_0, "sub"));
        subscriber.subscribe(&mut world, "t", qos(qos_value));
        let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
        let delivery = match qos_value {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        for number in 0..10 {
            publisher.publish(&mut world, &large(number), delivery);
        }
        let numbers = read_slowly(&mut world, &mut subscriber, 100);
        assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "QoS {qos_value}");
    }
}

/// The connection drops repeatedly, each time after the client has read one message and a half.
#[test]
fn slow_client_that_reconnects_gets_later_messages() {
    let mut world = World::with(small_output());
    let (mut subscriber, _) = world.connect(&lasting("sub", u32::MAX));
    subscriber.subscribe(&mut world, "t", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for number in 0..10 {
        publisher.publish(&mut world, &large(number), QoS::AtLeastOnce);
    }
    let mut numbers = Vec::new();
    for _ in 0..11 {
        let mut rest = LARGE * 3 / 2;
        while rest > 0 {
            let output = world.broker.output(subscriber.id);
            assert!(output.len() <= 2 * LARGE + 100, "{} bytes", output.len());
            let count = output.len().min(100).min(rest);
            rest -= count;
            subscriber.received.extend_from_slice(&output[..count]);
            world.broker.consume_output(world.now, subscriber.id, count);
            let messages = subscriber.decode_messages(&mut world);
            numbers.extend(
                messages
                    .iter()
                    .map(|line| line[2..LARGE + 2].parse::<usize>().unwrap()),
            );
            if count == 0 {
                break;
            }
        }
        subscriber.die(&mut world);
        subscriber = world.connect(&lasting("sub", u32::MAX)).0;
    }
    // A message that was read but not acknowledged is resent, so a number may occur twice in a row.
    numbers.dedup();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[test]
fn full_output_stops_publishes_and_not_pings_or_acknowledgements() {
    let mut world = World::with(small_output());
    let (mut peer, _) = world.connect(&Connect {
        keep_alive: 10,
        ..connect(V3_1_1, "c")
    });
    peer.subscribe(&mut world, "t", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &large(1), QoS::AtLeastOnce);
    let before = world.broker.output(peer.id).len();
    // Although the output is full, each PINGREQ is answered and restarts the keep alive.
    let pings = bytes(&peer, &[PacketRef::Pingreq]);
    for _ in 0..20 {
        world.wait(10);
        assert_eq!(handle(&mut world, &peer, &pings), []);
    }
    assert_eq!(world.broker.output(peer.id).len(), before + 20 * 2);
    let own = message("x", "x");
    let packets = [publish(&own, QoS::AtMostOnce), PacketRef::Pingreq];
    let packets = bytes(&peer, &packets);
    assert_eq!(handle(&mut world, &peer, &packets), packets);
    // While bytes of the peer wait for the broker, the keep alive must not expire.
    world.wait(1000);
    assert!(!world.broker.has_ended(peer.id));
    world.broker.consume_output(world.now, peer.id, before);
    assert_eq!(world.broker.poll_resumable(), Some(peer.id));
    assert_eq!(handle(&mut world, &peer, &packets), []);
}

#[test]
fn peer_that_reads_nothing_gets_a_limited_number_of_answers() {
    let mut world = World::with(small_output());
    let (mut peer, _) = world.connect(&connect(V3_1_1, "c"));
    peer.subscribe(&mut world, "t", qos(1));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &large(1), QoS::AtLeastOnce);
    let before = world.broker.output(peer.id).len();
    let pings = bytes(&peer, &vec![PacketRef::Pingreq; 10_000]);
    let left = handle(&mut world, &peer, &pings);
    assert!(!left.is_empty());
    // At most 1000 packets are handled, and a PINGRESP has two bytes.
    assert!(world.broker.output(peer.id).len() <= before + 1000 * 2);
    assert_eq!(world.broker.poll_resumable(), None);
    world.broker.consume_output(world.now, peer.id, 1);
    assert_eq!(world.broker.poll_resumable(), Some(peer.id));
    assert!(handle(&mut world, &peer, &left).len() < left.len());
}
