//! [`Receiver`]: the receiver's half of QoS 1 and 2, with the packet identifiers of unfinished exchanges.
//!
//! The packet identifier alone decides whether a PUBLISH is a duplicate, and not its DUP flag: a sender may set the
//! flag on a message that never arrived [MQTT-4.3.3-10].

use mqtt_codec::{Delivery, PacketIdentifier};

#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Unfinished exchanges, sorted by packet identifier. Senders assign identifiers in ascending order, so that nearly
    /// all are added at the end.
    exchanges: Vec<InboundExchange>,
    /// Number of exchanges that this connection has seen, which the Receive Maximum limits. Identifiers that are held
    /// from an earlier connection do not count, because the sender may have lost the session to which they belong.
    in_flight: usize,
}

#[derive(Debug, Clone, Copy)]
struct InboundExchange {
    packet_identifier: PacketIdentifier,
    state: InboundState,
    is_in_flight: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InboundState {
    /// QoS 1: the application has the message, and has not acknowledged it.
    UnacknowledgedQoS1,
    /// QoS 2: the application has the message, and has not acknowledged it.
    UnacknowledgedQoS2,
    /// QoS 2: the application has acknowledged the message, and PUBREL has not been received.
    Held,
}

/// The action for a PUBLISH of QoS 1 or 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublishDisposition {
    /// A new message. Deliver it to the application.
    New,
    /// A new message under a held identifier, whose sender has lost its state. Deliver it to the application. The
    /// identifier is not held any more.
    SenderRestarted,
    /// A duplicate of an accepted message. Answer with PUBREC.
    Duplicate,
    /// A duplicate of a message that the application has not acknowledged. One acknowledgement answers both.
    AwaitingApplication,
    /// The identifier is in use for another QoS.
    IdentifierInUse,
    /// The peer exceeds the Receive Maximum [MQTT-3.3.4-7].
    TooManyInFlight,
}

/// The packet that acknowledges a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    Puback,
    Pubrec,
    /// No message with this packet identifier waits for an acknowledgement.
    NotAwaited,
}

/// The result of a PUBREL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PubrelOutcome {
    /// The identifier was held, and is free now.
    Released,
    /// The identifier was not held.
    NotHeld,
    /// The application has not acknowledged the message, so that PUBREC was not sent.
    BeforePubrec,
}

impl Receiver {
    /// Returns a receiver that holds these identifiers.
    pub(crate) fn restore(held: impl IntoIterator<Item = PacketIdentifier>) -> Self {
        let mut exchanges: Vec<_> = held.into_iter().map(InboundExchange::held).collect();
        exchanges.sort_unstable_by_key(|exchange| exchange.packet_identifier);
        Self {
            exchanges,
            in_flight: 0,
        }
    }

    /// Returns the identifiers that are held.
    pub(crate) fn held_identifiers(&self) -> impl Iterator<Item = PacketIdentifier> {
        let is_held = |exchange: &&InboundExchange| exchange.state == InboundState::Held;
        let held = self.exchanges.iter().filter(is_held);
        held.map(|exchange| exchange.packet_identifier)
    }

    /// Handles a PUBLISH of QoS 1 or 2.
    pub(crate) fn handle_publish(
        &mut self,
        packet_identifier: PacketIdentifier,
        delivery: Delivery,
        receive_maximum: u16,
    ) -> PublishDisposition {
        let state = match delivery {
            Delivery::ExactlyOnce { .. } => InboundState::UnacknowledgedQoS2,
            Delivery::AtLeastOnce { .. } | Delivery::AtMostOnce => InboundState::UnacknowledgedQoS1,
        };
        let is_full = self.in_flight >= usize::from(receive_maximum);
        match self.find(packet_identifier) {
            Ok(index) => self.handle_again(index, state),
            // Only a new exchange can exceed the maximum: duplicates belong to exchanges that count already.
            Err(_) if is_full => PublishDisposition::TooManyInFlight,
            Err(index) => {
                self.in_flight += 1;
                let exchange = InboundExchange {
                    packet_identifier,
                    state,
                    is_in_flight: true,
                };
                self.exchanges.insert(index, exchange);
                PublishDisposition::New
            }
        }
    }

    /// Handles a PUBLISH whose identifier belongs to the exchange at `index`.
    fn handle_again(&mut self, index: usize, state: InboundState) -> PublishDisposition {
        let Some(exchange) = self.exchanges.get_mut(index) else {
            debug_assert!(false, "find returns the index of an exchange");
            return PublishDisposition::IdentifierInUse;
        };
        // A duplicate of a held message occupies the window of the sender again.
        if !exchange.is_in_flight {
            exchange.is_in_flight = true;
            self.in_flight += 1;
        }
        match (exchange.state, state) {
            (InboundState::Held, InboundState::UnacknowledgedQoS2) => PublishDisposition::Duplicate,
            // A sender with its state would send PUBREL before it uses the identifier again. This one has lost its
            // state, and will never release the identifier.
            (InboundState::Held, InboundState::UnacknowledgedQoS1) => {
                exchange.state = state;
                PublishDisposition::SenderRestarted
            }
            // The sender resent the message on the same connection, which the standard forbids but some senders do.
            (before, state) if before == state => PublishDisposition::AwaitingApplication,
            _ => PublishDisposition::IdentifierInUse,
        }
    }

    /// Records that the application has accepted or rejected a message, and returns the packet that tells the sender.
    pub(crate) fn acknowledge(
        &mut self,
        packet_identifier: PacketIdentifier,
        is_rejected: bool,
    ) -> Acknowledgement {
        let Ok(index) = self.find(packet_identifier) else {
            // The message is from an earlier connection, and the sender resends it.
            return Acknowledgement::NotAwaited;
        };
        let Some(exchange) = self.exchanges.get_mut(index) else {
            debug_assert!(false, "find returns the index of an exchange");
            return Acknowledgement::NotAwaited;
        };
        match exchange.state {
            InboundState::Held => Acknowledgement::NotAwaited,
            InboundState::UnacknowledgedQoS1 => {
                self.remove(index);
                Acknowledgement::Puback
            }
            InboundState::UnacknowledgedQoS2 if is_rejected => {
                self.remove(index);
                Acknowledgement::Pubrec
            }
            InboundState::UnacknowledgedQoS2 => {
                // From here on duplicates are answered without the application.
                exchange.state = InboundState::Held;
                Acknowledgement::Pubrec
            }
        }
    }

    /// Records that the application has accepted a message of QoS 2 after its connection has ended.
    pub(crate) fn hold(&mut self, packet_identifier: PacketIdentifier) {
        if let Err(index) = self.find(packet_identifier) {
            let exchange = InboundExchange::held(packet_identifier);
            self.exchanges.insert(index, exchange);
        }
    }

    /// Handles PUBREL, which releases a held identifier.
    pub(crate) fn handle_pubrel(&mut self, packet_identifier: PacketIdentifier) -> PubrelOutcome {
        let Ok(index) = self.find(packet_identifier) else {
            // The PUBCOMP was lost, or the sender releases identifiers of an earlier run.
            return PubrelOutcome::NotHeld;
        };
        let exchange = self.exchanges.get(index);
        if exchange.is_none_or(|exchange| exchange.state != InboundState::Held) {
            return PubrelOutcome::BeforePubrec;
        }
        self.remove(index);
        PubrelOutcome::Released
    }

    /// Records that the connection has ended. The sender resends messages that the application has not acknowledged, so
    /// that only held identifiers are kept.
    pub(crate) fn end_connection(&mut self) {
        self.exchanges
            .retain(|exchange| exchange.state == InboundState::Held);
        for exchange in &mut self.exchanges {
            exchange.is_in_flight = false;
        }
        self.in_flight = 0;
    }

    fn remove(&mut self, index: usize) {
        if self.exchanges.remove(index).is_in_flight {
            self.in_flight -= 1;
        }
    }

    /// Returns the index of the exchange with this identifier, or the index at which to insert it.
    fn find(&self, packet_identifier: PacketIdentifier) -> Result<usize, usize> {
        let key = |exchange: &InboundExchange| exchange.packet_identifier;
        self.exchanges.binary_search_by_key(&packet_identifier, key)
    }
}

impl InboundExchange {
    /// Returns the exchange of a message that the application accepted on an earlier connection.
    fn held(packet_identifier: PacketIdentifier) -> Self {
        Self {
            packet_identifier,
            state: InboundState::Held,
            is_in_flight: false,
        }
    }
}

#[cfg(test)]
mod tests {
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

    /// [MQTT-4.3.3-10]
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

    /// [MQTT-3.3.4-7]
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

    /// The sender may have lost its session meanwhile, and counts only what it sends now.
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
}
