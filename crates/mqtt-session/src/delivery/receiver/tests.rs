//! Tests of the receiving half: which PUBLISH is delivered, and which identifiers are held.

use super::*;

fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

fn publish(receiver: &mut Receiver, value: u16, qos: u8, dup: bool) -> PublishDisposition {
    let packet_identifier = identifier(value);
    let delivery = match qos {
        1 => Delivery::AtLeastOnce {
            packet_identifier,
            dup,
        },
        _ => Delivery::ExactlyOnce {
            packet_identifier,
            dup,
        },
    };
    receiver.handle_publish(packet_identifier, delivery, 2)
}

/// The identifiers come from a store, in any order.
#[test]
fn restored_identifiers_are_held_until_pubrel() {
    let mut receiver = Receiver::restore([identifier(9), identifier(7)]);
    let held: Vec<_> = receiver.held_identifiers().collect();
    assert_eq!(held, [identifier(7), identifier(9)]);
    assert_eq!(publish(&mut receiver, 8, 2, false), PublishDisposition::New);
    let disposition = publish(&mut receiver, 9, 2, false);
    assert_eq!(disposition, PublishDisposition::Duplicate);
}

/// A receiver must not use DUP to detect duplicates [MQTT-4.3.3-10].
#[test]
fn recognizes_a_duplicate_by_its_identifier_and_not_by_dup() {
    let mut receiver = Receiver::default();
    assert_eq!(publish(&mut receiver, 7, 2, true), PublishDisposition::New);
    assert_eq!(
        publish(&mut receiver, 7, 2, false),
        PublishDisposition::AwaitingApplication
    );
    assert_eq!(
        receiver.acknowledge(identifier(7), false),
        Acknowledgement::Pubrec
    );
    for dup in [false, true, false] {
        assert_eq!(
            publish(&mut receiver, 7, 2, dup),
            PublishDisposition::Duplicate
        );
    }
    assert_eq!(
        receiver.handle_pubrel(identifier(7)),
        PubrelOutcome::Released
    );
    assert_eq!(
        receiver.handle_pubrel(identifier(7)),
        PubrelOutcome::NotHeld
    );
    assert_eq!(publish(&mut receiver, 7, 2, true), PublishDisposition::New);
}

#[test]
fn does_not_hold_the_identifier_of_a_rejected_message() {
    let mut receiver = Receiver::default();
    publish(&mut receiver, 7, 2, false);
    assert_eq!(
        receiver.acknowledge(identifier(7), true),
        Acknowledgement::Pubrec
    );
    assert_eq!(publish(&mut receiver, 7, 2, false), PublishDisposition::New);
}

/// The Receive Maximum limits the exchanges and not the packets [MQTT-3.3.4-7].
#[test]
fn does_not_count_a_duplicate_towards_the_receive_maximum() {
    let mut receiver = Receiver::default();
    publish(&mut receiver, 1, 2, false);
    publish(&mut receiver, 2, 1, false);
    assert_eq!(
        publish(&mut receiver, 3, 1, false),
        PublishDisposition::TooManyInFlight
    );
    receiver.acknowledge(identifier(1), false);
    assert_eq!(
        publish(&mut receiver, 1, 2, true),
        PublishDisposition::Duplicate
    );
    assert_eq!(
        receiver.acknowledge(identifier(2), false),
        Acknowledgement::Puback
    );
    assert_eq!(publish(&mut receiver, 3, 1, false), PublishDisposition::New);
}

/// The sender may have lost its session state, and then counts only what it sends on this connection.
#[test]
fn does_not_count_identifiers_held_from_an_earlier_connection() {
    let mut receiver = Receiver::default();
    for value in [1, 2] {
        publish(&mut receiver, value, 2, false);
        receiver.acknowledge(identifier(value), false);
    }
    receiver.end_connection();
    assert_eq!(publish(&mut receiver, 3, 2, false), PublishDisposition::New);
    assert_eq!(
        publish(&mut receiver, 1, 2, true),
        PublishDisposition::Duplicate
    );
    assert_eq!(
        publish(&mut receiver, 4, 2, false),
        PublishDisposition::TooManyInFlight
    );
    assert_eq!(
        receiver.handle_pubrel(identifier(1)),
        PubrelOutcome::Released
    );
    assert_eq!(publish(&mut receiver, 4, 2, false), PublishDisposition::New);
}

#[test]
fn keeps_only_held_identifiers_after_the_connection() {
    let mut receiver = Receiver::default();
    publish(&mut receiver, 1, 2, false);
    publish(&mut receiver, 2, 2, false);
    receiver.acknowledge(identifier(2), false);
    receiver.end_connection();
    assert_eq!(publish(&mut receiver, 1, 2, true), PublishDisposition::New);
    assert_eq!(
        publish(&mut receiver, 2, 2, true),
        PublishDisposition::Duplicate
    );
}

#[test]
fn accepts_qos_1_under_an_identifier_that_a_restarted_sender_does_not_release() {
    let mut receiver = Receiver::default();
    publish(&mut receiver, 1, 2, false);
    receiver.acknowledge(identifier(1), false);
    assert_eq!(
        publish(&mut receiver, 1, 1, false),
        PublishDisposition::SenderRestarted
    );
    assert_eq!(
        receiver.acknowledge(identifier(1), false),
        Acknowledgement::Puback
    );
    assert_eq!(
        receiver.handle_pubrel(identifier(1)),
        PubrelOutcome::NotHeld
    );
}

#[test]
fn rejects_an_identifier_in_use_for_the_other_qos() {
    let mut receiver = Receiver::default();
    publish(&mut receiver, 1, 1, false);
    assert_eq!(
        publish(&mut receiver, 1, 2, false),
        PublishDisposition::IdentifierInUse
    );
    assert_eq!(
        receiver.handle_pubrel(identifier(1)),
        PubrelOutcome::BeforePubrec
    );
}
