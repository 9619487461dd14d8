//! Tests of the work budget: a packet or a deadline that causes much work is handled in several calls, and each call
//! does about one budget of work.

use mqtt_broker_core::{InputProgress, Limits, Mutation};
use mqtt_codec::*;

use ProtocolVersion::V5_0;

use crate::world::{Peer, World, connect, lasting, message, normal, qos, retained};

/// The work budget of a connection in these tests.
pub(crate) const BUDGET: usize = 20;

/// The work by which a call may exceed its budget, because a piece of work is not interrupted.
const PIECE: usize = 4;

pub(crate) fn small_budget() -> Limits {
    Limits {
        work_per_connection: BUDGET,
        work_per_turn: BUDGET,
        ..Limits::default()
    }
}

pub(crate) fn bytes(peer: &Peer, packets: &[PacketRef<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.encode(peer.version, u32::MAX, &mut bytes).unwrap();
    }
    bytes
}

/// Handles the bytes in several calls, and checks the work of each call. Returns the number of calls that yielded.
fn handle_all(world: &mut World, peer: &Peer, bytes: &[u8]) -> usize {
    let mut input = bytes;
    for yielded in 0.. {
        let progress = world.broker.handle_input(world.now, peer.id, &mut input);
        assert!(world.broker.work_done() <= BUDGET + PIECE);
        if progress != InputProgress::Yielded {
            assert_eq!(progress, InputProgress::Drained);
            assert!(input.is_empty());
            return yielded;
        }
    }
    unreachable!()
}

fn subscribe(filters: impl IntoIterator<Item = String>, qos: QoS) -> PacketRef<'static> {
    let subscription = |filter: String| Subscription {
        topic_filter: TopicFilter::new(&filter).unwrap(),
        options: SubscriptionOptions::new(qos),
    };
    PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: filters.into_iter().map(subscription).collect(),
        properties: SubscribeProperties::default(),
    })
}

pub(crate) fn publish(message: &Message, qos: QoS) -> PacketRef<'_> {
    PacketRef::Publish(message.publish(Delivery::first(qos, PacketIdentifier::FIRST)))
}

/// Makes sessions with a subscription to `t` whose clients are not connected.
fn sleepers(world: &mut World, count: usize, qos_value: u8) {
    for number in 0..count {
        let (mut sleeper, _) = world.connect(&lasting(&format!("s{number}"), u32::MAX));
        sleeper.subscribe(world, "t", qos(qos_value));
        sleeper.leave(world, normal());
    }
}

fn commit(world: &mut World) -> Vec<Mutation> {
    let mutations = world.broker.take_mutations();
    if !mutations.is_empty() {
        world.broker.begin_commit();
        world.broker.end_commit();
    }
    mutations
}

fn queued(mutations: &[Mutation]) -> usize {
    let is_queued = |record: &&Mutation| matches!(record, Mutation::Queued { .. });
    mutations.iter().filter(is_queued).count()
}

#[test]
fn packets_beyond_the_budget_wait_for_the_next_turn() {
    let mut world = World::with(small_budget());
    let (mut peer, _) = world.connect(&connect(V5_0, "c"));
    let pings = bytes(&peer, &vec![PacketRef::Pingreq; 50]);
    let mut input = &pings[..];
    let progress = world.broker.handle_input(world.now, peer.id, &mut input);
    assert_eq!(progress, InputProgress::Yielded);
    // A PINGREQ costs one unit and has two bytes.
    assert_eq!(pings.len() - input.len(), BUDGET * 2);
    assert_eq!(handle_all(&mut world, &peer, input), 1);
    peer.take(&mut world);
    assert_eq!(peer.received.len(), 50 * 2);
}

#[test]
fn subscribe_with_many_filters_yields_and_is_answered_once_at_its_end() {
    let mut world = World::with(small_budget());
    let (mut peer, _) = world.connect(&connect(V5_0, "c"));
    let filters = (0..100).map(|number| format!("a/{number}"));
    let packet = bytes(
        &peer,
        &[subscribe(filters, QoS::AtMostOnce), PacketRef::Pingreq],
    );
    let mut input = &packet[..];
    let progress = world.broker.handle_input(world.now, peer.id, &mut input);
    assert_eq!(progress, InputProgress::Yielded);
    assert_eq!(world.broker.output(peer.id), []);
    assert!(handle_all(&mut world, &peer, input) >= 3);
    let Some(PacketRef::Suback(suback)) = peer.next(&mut world) else {
        panic!("no SUBACK")
    };
    assert_eq!(suback.reason_codes.len(), 100);
    assert_eq!(peer.received, [0xD0, 0], "the next packet comes after it");
}

#[test]
fn filter_repeated_in_a_subscribe_replays_its_retained_messages_once() {
    let mut world = World::with(small_budget());
    world.broker.record_mutations();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &retained("r", "1"), QoS::AtLeastOnce);
    let (mut peer, _) = world.connect(&lasting("c", u32::MAX));
    commit(&mut world);
    // The repeated filters change nothing, so they must neither make mutations nor start the replay again.
    let filters = std::iter::repeat_n("#".to_owned(), 1000);
    let packet = bytes(&peer, &[subscribe(filters, QoS::AtMostOnce)]);
    handle_all(&mut world, &peer, &packet);
    let is_subscribed = |record: &&Mutation| matches!(record, Mutation::Subscribed { .. });
    let mutations = commit(&mut world);
    assert_eq!(mutations.iter().filter(is_subscribed).count(), 1);
    assert!(matches!(peer.next(&mut world), Some(PacketRef::Suback(_))));
    assert_eq!(peer.messages(&mut world), ["r 1 q0 retained"]);
}

#[test]
fn unsubscribe_with_many_filters_yields_and_is_answered_once_at_its_end() {
    let mut world = World::with(small_budget());
    let (mut peer, _) = world.connect(&connect(V5_0, "c"));
    let filters = (0..100).map(|number| format!("a/{number}"));
    let packet = bytes(&peer, &[subscribe(filters, QoS::AtMostOnce)]);
    handle_all(&mut world, &peer, &packet);
    peer.next(&mut world);
    let filter = |number| TopicFilter::new(&format!("a/{number}")).unwrap();
    let packet = PacketRef::Unsubscribe(Unsubscribe {
        packet_identifier: PacketIdentifier::FIRST,
        topic_filters: (0..100).map(filter).collect(),
        properties: UnsubscribeProperties::default(),
    });
    let packet = bytes(&peer, &[packet]);
    assert!(handle_all(&mut world, &peer, &packet) >= 4);
    let Some(PacketRef::Unsuback(unsuback)) = peer.next(&mut world) else {
        panic!("no UNSUBACK")
    };
    assert_eq!(unsuback.reason_codes, vec![ReasonCode::Success; 100]);
}

#[test]
fn session_with_many_subscriptions_ends_in_slices_and_matches_nobody() {
    let mut world = World::with(small_budget());
    let (mut peer, _) = world.connect(&connect(V5_0, "c"));
    let filters = (0..100).map(|number| format!("+/{number}"));
    let packet = bytes(&peer, &[subscribe(filters, QoS::AtLeastOnce)]);
    handle_all(&mut world, &peer, &packet);
    peer.next(&mut world);
    peer.die(&mut world);
    assert!(world.broker.work_done() <= BUDGET + PIECE);
    assert!(world.broker.has_background_work());
    // The subscriptions are still in the topic tree, but must match neither the old client nor the new one.
    let (mut new, present) = world.connect(&lasting("c", u32::MAX));
    assert!(!present, "the session has ended immediately");
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for number in 0..100 {
        let message = message(&format!("a/{number}"), "x");
        publisher.send(&mut world, &publish(&message, QoS::AtLeastOnce));
        let Some(PacketRef::Puback(ack)) = publisher.next(&mut world) else {
            panic!("no PUBACK")
        };
        assert_eq!(ack.reason_code, ReasonCode::NoMatchingSubscribers);
    }
    assert_eq!(new.messages(&mut world), [""; 0]);
    while world.broker.has_background_work() {
        world.broker.run_background(world.now);
        assert!(world.broker.work_done() <= BUDGET + PIECE);
    }
}

#[test]
fn many_deadlines_at_once_are_handled_in_slices() {
    let mut world = World::with(small_budget());
    let connect = |number| Connect {
        keep_alive: 10,
        ..connect(V5_0, &format!("c{number}"))
    };
    let peers: Vec<_> = (0..100)
        .map(|number| world.connect(&connect(number)).0)
        .collect();
    world.now += std::time::Duration::from_secs(15);
    let ended = |world: &World| {
        let has_ended = |peer: &&Peer| world.broker.has_ended(peer.id);
        peers.iter().filter(has_ended).count()
    };
    world.broker.handle_timeout(world.now);
    assert!(ended(&world) <= BUDGET);
    // `poll_timeout` is due immediately while deadlines are left.
    let mut calls = 1;
    while world
        .broker
        .poll_timeout()
        .is_some_and(|due| due <= world.now)
    {
        world.broker.handle_timeout(world.now);
        calls += 1;
    }
    assert_eq!(ended(&world), 100);
    assert!(calls >= 100 / BUDGET);
}

#[test]
fn publication_to_many_sessions_is_delivered_in_slices_and_acknowledged_after_the_last() {
    let mut world = World::with(small_budget());
    world.broker.record_mutations();
    sleepers(&mut world, 200, 2);
    commit(&mut world);
    let (mut publisher, _) = world.connect(&lasting("pub", u32::MAX));
    commit(&mut world);
    let message = message("t", "x");
    let packets = bytes(
        &publisher,
        &[publish(&message, QoS::ExactlyOnce), PacketRef::Pingreq],
    );
    let mut input = &packets[..];
    let progress = world
        .broker
        .handle_input(world.now, publisher.id, &mut input);
    assert_eq!(progress, InputProgress::Blocked);
    assert_eq!(input, [0xC0, 0], "the next packet waits");
    let mut turns = 0;
    // During the delivery, neither the mutations nor the acknowledgement may leave the broker.
    while world.broker.has_background_work() {
        assert_eq!(world.broker.poll_resumable(), None);
        let taken = world.broker.take_mutations();
        assert_eq!(taken, [], "a part of a publication is not committed");
        assert_eq!(world.broker.whole_output(publisher.id), []);
        world.broker.run_background(world.now);
        assert!(world.broker.work_done() <= BUDGET + PIECE);
        turns += 1;
    }
    assert!(turns >= 200 / BUDGET);
    assert_eq!(world.broker.poll_resumable(), Some(publisher.id));
    assert_eq!(world.broker.output(publisher.id), [], "PUBREC waits for it");
    // One commit has the messages for all sessions and the mutation of the held packet identifier.
    let mutations = commit(&mut world);
    assert_eq!(queued(&mutations), 200);
    let is_held = |record: &&Mutation| matches!(record, Mutation::Held { .. });
    assert_eq!(mutations.iter().filter(is_held).count(), 1);
    assert!(matches!(
        publisher.next(&mut world),
        Some(PacketRef::Pubrec(_))
    ));
    let progress = world
        .broker
        .handle_input(world.now, publisher.id, &mut input);
    assert_eq!(progress, InputProgress::Drained);
    publisher.take(&mut world);
    assert_eq!(publisher.received, [0xD0, 0]);
}

/// The new CONNECT replaces the stored will, so the messages of the old will must be in the same commit. Otherwise a
/// crash would lose the old will.
#[test]
fn will_of_a_client_that_reconnects_is_not_lost_behind_a_publication_in_slices() {
    let mut world = World::with(small_budget());
    world.broker.record_mutations();
    sleepers(&mut world, 100, 2);
    let mut dying = lasting("dying", 1000);
    dying.will = Some(Will::new(message("t", "gone"), QoS::AtLeastOnce));
    world.connect(&dying);
    let (publisher, _) = world.connect(&lasting("pub", u32::MAX));
    commit(&mut world);
    publisher.send(&mut world, &publish(&message("t", "x"), QoS::ExactlyOnce));
    assert!(
        world.broker.has_background_work(),
        "the publication is delivered in slices"
    );
    // The second CONNECT ends the older connection of the client, and its will is due.
    world.connect(&dying);
    let mut mutations = commit(&mut world);
    while mutations.is_empty() {
        world.broker.run_background(world.now);
        mutations = commit(&mut world);
    }
    // The first commit removes the stored will. It must also have both messages, the will and `x`, for each session.
    assert_eq!(queued(&mutations), 200);
}

#[test]
fn publication_of_a_lost_publisher_is_delivered_once() {
    let mut world = World::with(small_budget());
    world.broker.record_mutations();
    sleepers(&mut world, 100, 2);
    let (publisher, _) = world.connect(&lasting("pub", u32::MAX));
    commit(&mut world);
    let message = message("t", "x");
    publisher.send(&mut world, &publish(&message, QoS::ExactlyOnce));
    world.broker.run_background(world.now);
    publisher.die(&mut world);
    let (mut again, present) = world.connect(&lasting("pub", u32::MAX));
    assert!(present);
    // The client resends the message before the first one is completely delivered. The resent message must wait.
    let delivery = Delivery::ExactlyOnce {
        packet_identifier: PacketIdentifier::FIRST,
        dup: true,
    };
    let packet = bytes(&again, &[PacketRef::Publish(message.publish(delivery))]);
    let mut input = &packet[..];
    let progress = world.broker.handle_input(world.now, again.id, &mut input);
    assert_eq!(progress, InputProgress::Blocked);
    // The first delivery ends, and its packet identifier is recorded in the session. So the resent message is a
    // duplicate, and each session has the message once.
    while world.broker.has_background_work() {
        world.broker.run_background(world.now);
    }
    assert_eq!(world.broker.poll_resumable(), Some(again.id));
    let progress = world.broker.handle_input(world.now, again.id, &mut input);
    assert_eq!(progress, InputProgress::Drained);
    assert!(matches!(again.next(&mut world), Some(PacketRef::Pubrec(_))));
    assert_eq!(queued(&commit(&mut world)), 100);
}

#[test]
fn publications_to_many_sessions_take_turns_with_the_commits() {
    let mut world = World::with(small_budget());
    world.broker.record_mutations();
    sleepers(&mut world, 100, 1);
    let publishers: Vec<_> = (0..3)
        .map(|number| world.connect(&connect(V5_0, &format!("p{number}"))).0)
        .collect();
    commit(&mut world);
    let message = message("t", "x");
    for publisher in &publishers {
        publisher.send(&mut world, &publish(&message, QoS::AtLeastOnce));
    }
    for _ in &publishers {
        while world.broker.has_background_work() {
            assert_eq!(world.broker.take_mutations(), []);
            world.broker.run_background(world.now);
        }
        // The next publication begins after `take_mutations` has returned the mutations of this one.
        assert_eq!(queued(&commit(&mut world)), 100);
    }
}

#[test]
fn publication_to_many_connections_is_delivered_in_slices_in_order() {
    let mut world = World::with(small_budget());
    let mut subscribers: Vec<_> = (0..50)
        .map(|number| {
            let (mut peer, _) = world.connect(&connect(V5_0, &format!("c{number}")));
            peer.subscribe(&mut world, "t", qos(number % 3));
            peer
        })
        .collect();
    let (publisher, _) = world.connect(&connect(V5_0, "pub"));
    let messages = [message("t", "1"), message("t", "2"), message("t", "3")];
    let packets = messages
        .each_ref()
        .map(|message| publish(message, QoS::AtMostOnce));
    let packets = bytes(&publisher, &packets);
    let mut input = &packets[..];
    while world
        .broker
        .handle_input(world.now, publisher.id, &mut input)
        != InputProgress::Drained
    {
        while world.broker.has_background_work() {
            world.broker.run_background(world.now);
            assert!(world.broker.work_done() <= BUDGET + PIECE);
        }
        assert_eq!(world.broker.poll_resumable(), Some(publisher.id));
    }
    for subscriber in &mut subscribers {
        assert_eq!(
            subscriber.messages(&mut world),
            ["t 1 q0", "t 2 q0", "t 3 q0"]
        );
    }
}
