//! Tests of the sender: packet identifiers, acknowledgements and resends.

use std::sync::Arc;

use mqtt_codec::{Message, TopicName};
use proptest::prelude::*;

use super::*;

fn outbound(qos: QoS) -> OutboundMessage {
    let message = Message::new(TopicName::new("t").unwrap(), "x");
    OutboundMessage::new(Arc::new(message), qos)
}

fn send(sender: &mut Sender, qos: QoS) -> Option<PacketIdentifier> {
    let identifier = sender.next_identifier(|_| false)?;
    sender.add(identifier, outbound(qos));
    Some(identifier)
}

/// The peer may not have received the PUBREL packets of the earlier connection, so all identifiers may be held again.
/// Without a free identifier nothing would start the next release.
#[test]
fn client_without_state_may_publish_to_release_identifiers_after_each_reconnect() {
    let mut sender = Sender::without_state();
    sender.limit_identifiers(PacketIdentifier::new(2).unwrap());
    for _ in 0..2 {
        assert!(sender.has_identifier(0));
        assert_eq!(sender.reclaim_identifiers().len(), 2);
        assert!(!sender.has_identifier(0));
        sender.resume();
    }
}

/// These messages were given up, for example because they are too large for the peer.
#[test]
fn given_up_exchange_is_released_or_dropped() {
    let mut sender = Sender::default();
    let released = send(&mut sender, QoS::ExactlyOnce).unwrap();
    let dropped = send(&mut sender, QoS::AtLeastOnce).unwrap();
    sender.release(released);
    sender.drop_exchange(dropped);
    let left: Vec<_> = sender
        .exchanges()
        .map(|(identifier, outbound)| (identifier, outbound.is_some()))
        .collect();
    assert_eq!(left, [(released, false)]);
    assert_eq!(sender.handle_pubcomp(released), AckOutcome::Finished);
}

#[test]
fn messages_of_the_last_connection_are_those_that_it_sent() {
    let mut sender = Sender::default();
    let first = send(&mut sender, QoS::ExactlyOnce).unwrap();
    send(&mut sender, QoS::AtLeastOnce);
    assert_eq!(sender.sent_by_last_connection().count(), 2);
    sender.handle_pubrec(first, false);
    assert_eq!(sender.sent_by_last_connection().count(), 1);
    sender.resume();
    assert_eq!(sender.sent_by_last_connection().count(), 0);
}

/// A packet identifier must be free when it is assigned [MQTT-2.2.1-3, MQTT-2.2.1-4].
#[test]
fn uses_all_65535_identifiers_and_none_twice() {
    let mut sender = Sender::default();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(identifier) = send(&mut sender, QoS::AtLeastOnce) {
        assert!(seen.insert(identifier));
    }
    assert_eq!(seen.len(), 65535);
    assert_eq!(
        sender.handle_puback(PacketIdentifier::FIRST),
        AckOutcome::Finished
    );
    assert_eq!(
        send(&mut sender, QoS::AtLeastOnce),
        Some(PacketIdentifier::FIRST)
    );
    assert_eq!(send(&mut sender, QoS::AtLeastOnce), None);
}

#[test]
fn skips_identifiers_of_requests() {
    let mut sender = Sender::default();
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let identifier = sender.next_identifier(|_| false).unwrap();
            sender.take_identifier(identifier);
            identifier
        })
        .collect();
    for turn in 0..3 {
        for expected in 4..=u16::MAX {
            let identifier = sender.next_identifier(|id| requests.contains(&id)).unwrap();
            assert_eq!(identifier.get(), expected, "in turn {turn}");
            sender.add(identifier, outbound(QoS::AtLeastOnce));
            assert_eq!(sender.handle_puback(identifier), AckOutcome::Finished);
        }
    }
}

#[test]
fn distinguishes_wrong_acknowledgements_from_unknown_ones() {
    let mut sender = Sender::default();
    let one = send(&mut sender, QoS::AtLeastOnce).unwrap();
    let two = send(&mut sender, QoS::ExactlyOnce).unwrap();
    let unknown = PacketIdentifier::new(9).unwrap();
    assert_eq!(sender.handle_pubrec(one, false), AckOutcome::WrongPacket);
    assert_eq!(sender.handle_pubcomp(one), AckOutcome::WrongPacket);
    assert_eq!(sender.handle_puback(two), AckOutcome::WrongPacket);
    assert_eq!(sender.handle_pubcomp(two), AckOutcome::WrongPacket);
    assert_eq!(sender.handle_puback(unknown), AckOutcome::Unknown);
    assert_eq!(sender.handle_pubrec(unknown, false), AckOutcome::Unknown);
    assert_eq!(sender.handle_pubcomp(unknown), AckOutcome::Unknown);
    assert_eq!(sender.in_flight, 2);
    assert_eq!(sender.handle_pubrec(two, false), AckOutcome::SendPubrel);
    assert_eq!(sender.handle_pubrec(two, false), AckOutcome::SendPubrel);
    assert_eq!(sender.handle_pubcomp(two), AckOutcome::Finished);
    assert_eq!(sender.handle_puback(one), AckOutcome::Finished);
    assert_eq!(sender.in_flight, 0);
}

/// After a reconnect messages are resent in their order and with their identifiers; after PUBREC, PUBREL is resent
/// instead of PUBLISH [MQTT-4.4.0-1, MQTT-4.6.0-1].
#[test]
fn resends_unfinished_exchanges_within_the_window_after_reconnect() {
    let mut sender = Sender::default();
    let identifiers: Vec<_> = (0..4)
        .map(|_| send(&mut sender, QoS::ExactlyOnce).unwrap())
        .collect();
    sender.handle_pubrec(identifiers[2], false);
    sender.resume();
    assert!(!sender.has_room(20), "new messages wait for the old ones");
    let repeats = |sender: &mut Sender, window| {
        let mut sent = Vec::new();
        while let Some(repeat) = sender.next_resend(window) {
            sent.push(match repeat {
                Resend::Publish(identifier, _) => ("PUBLISH", identifier),
                Resend::Pubrel(identifier) => ("PUBREL", identifier),
            });
        }
        sent
    };
    assert_eq!(
        repeats(&mut sender, 1),
        [("PUBLISH", identifiers[0]), ("PUBREL", identifiers[2])]
    );
    assert_eq!(sender.handle_pubcomp(identifiers[2]), AckOutcome::Finished);
    assert_eq!(repeats(&mut sender, 1), []);
    sender.handle_pubrec(identifiers[0], false);
    sender.handle_pubcomp(identifiers[0]);
    assert_eq!(repeats(&mut sender, 1), [("PUBLISH", identifiers[1])]);
    assert_eq!(repeats(&mut sender, 20), [("PUBLISH", identifiers[3])]);
    assert!(sender.has_room(20));
}

/// Messages are resent in the order in which they were first sent, whatever their identifiers are [MQTT-4.6.0-1].
#[test]
fn skips_an_unfinished_exchange_and_resends_it_first() {
    let mut sender = Sender::default();
    let stuck = [
        send(&mut sender, QoS::AtLeastOnce).unwrap(),
        send(&mut sender, QoS::ExactlyOnce).unwrap(),
    ];
    for _ in 0..200_000 {
        let identifier = send(&mut sender, QoS::AtLeastOnce).unwrap();
        assert!(!stuck.contains(&identifier));
        assert_eq!(sender.handle_puback(identifier), AckOutcome::Finished);
    }
    let newest = send(&mut sender, QoS::AtLeastOnce).unwrap();
    assert!(sender.has_room(4));
    sender.resume();
    let resent: Vec<_> = std::iter::from_fn(|| sender.next_resend(20))
        .map(|repeat| match repeat {
            Resend::Publish(identifier, _) => identifier,
            Resend::Pubrel(_) => panic!("nothing was released"),
        })
        .collect();
    assert_eq!(resent, [stuck[0], stuck[1], newest]);
    assert_eq!(
        sender.handle_pubrec(stuck[1], false),
        AckOutcome::SendPubrel
    );
    assert_eq!(sender.handle_pubcomp(stuck[1]), AckOutcome::Finished);
    assert_eq!(sender.handle_puback(stuck[0]), AckOutcome::Finished);
    assert_eq!(sender.handle_puback(newest), AckOutcome::Finished);
    assert_eq!((sender.in_flight, sender.len()), (0, 0));
}

/// Step of the property test.
#[derive(Debug, Clone)]
enum Step {
    Send,
    Acknowledge(prop::sample::Index),
    /// The assignment advances by this number of identifiers, as if as many messages were sent and acknowledged.
    Turn(u16),
    /// The session is stored and restored.
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Send),
        3 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
        2 => any::<u16>().prop_map(Step::Turn),
        1 => Just(Step::Restore),
    ]
}

proptest! {
    /// In whatever order acknowledgements arrive, and however often the assignment wraps around, an identifier in
    /// use is found and not assigned again, and the order of the exchanges does not change.
    #[test]
    fn identifiers_in_use_are_found_and_never_reused(
        start in 1..=u16::MAX,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut sender = Sender::default();
        sender.take_identifier(PacketIdentifier::new(start).unwrap());
        let mut open = Vec::new();
        let mut is_restored = false;
        for step in steps {
            match step {
                Step::Send => {
                    let identifier = send(&mut sender, QoS::AtLeastOnce).unwrap();
                    prop_assert!(!open.contains(&identifier));
                    open.push(identifier);
                }
                Step::Acknowledge(_) if open.is_empty() => {}
                Step::Acknowledge(index) => {
                    let identifier = open.remove(index.index(open.len()));
                    prop_assert_eq!(sender.handle_puback(identifier), AckOutcome::Finished);
                    prop_assert_eq!(sender.handle_puback(identifier), AckOutcome::Unknown);
                }
                Step::Turn(distance) => {
                    // Only the last of these messages has an effect: the others are acknowledged and leave nothing
                    // behind.
                    let next = sender.next_identifier(|_| false).unwrap().get() - 1;
                    let last = (u32::from(next) + u32::from(distance)) % u32::from(u16::MAX);
                    let mut last = PacketIdentifier::new(last as u16 + 1).unwrap();
                    while open.contains(&last) {
                        last = last.next();
                    }
                    sender.take_identifier(last);
                }
                Step::Restore => {
                    let exchanges = sender.exchanges();
                    let stored: Vec<_> = exchanges
                        .map(|(identifier, outbound)| (identifier, outbound.cloned()))
                        .collect();
                    sender = Sender::restore(stored);
                    is_restored = true;
                }
            }
            let order: Vec<_> = sender.exchanges().map(|(identifier, _)| identifier).collect();
            prop_assert_eq!(&order, &open);
            prop_assert!(is_restored || sender.in_flight == open.len());
        }
        for identifier in open {
            prop_assert_eq!(sender.handle_puback(identifier), AckOutcome::Finished);
        }
        prop_assert_eq!(sender.len(), 0);
    }
}
