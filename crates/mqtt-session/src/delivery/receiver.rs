//! The receiver's half of QoS 1 and 2: which identifiers are open, and what a repeat is.
//!
//! DUP plays no part: a message whose identifier is held is a repeat, any other is new
//! [MQTT-4.3.3-10].

use mqtt_codec::{Delivery, PacketIdentifier};

#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Sorted; mostly few, mostly added at the end.
    open: Vec<InboundExchange>,
    /// How many of them this connection has seen: those that the receive maximum is about. What is
    /// held from before may be of a session that the sender has lost.
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
    /// QoS 1: the application has it and has not acknowledged it.
    UnacknowledgedQoS1,
    /// QoS 2: the same.
    UnacknowledgedQoS2,
    /// QoS 2: acknowledged; waits for PUBREL.
    Held,
}

/// What to do with a PUBLISH of QoS 1 or 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublishDisposition {
    /// Hand it on.
    New,
    /// Hand it on: its sender has lost its state and begins anew, so the identifier is not held any
    /// more.
    SenderRestarted,
    /// Answer with PUBREC and hand nothing on.
    Duplicate,
    /// The application still has the first one; its answer will do for both.
    AwaitingApplication,
    /// The identifier is in use for another QoS.
    IdentifierInUse,
    /// More are open than this end announced [MQTT-3.3.4-7].
    TooManyInFlight,
}

impl Receiver {
    /// What was held.
    pub(crate) fn restore(held: impl IntoIterator<Item = PacketIdentifier>) -> Self {
        let open = |packet_identifier| InboundExchange {
            packet_identifier,
            state: InboundState::Held,
            is_in_flight: false,
        };
        let mut open: Vec<_> = held.into_iter().map(open).collect();
        open.sort_unstable_by_key(|open| open.packet_identifier);
        Self { open, in_flight: 0 }
    }

    /// The identifiers that are held.
    pub(crate) fn held_identifiers(&self) -> impl Iterator<Item = PacketIdentifier> {
        let held = self
            .open
            .iter()
            .filter(|open| open.state == InboundState::Held);
        held.map(|open| open.packet_identifier)
    }

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
            Ok((index, open)) => self.handle_again(index, open, state),
            Err(_) if is_full => PublishDisposition::TooManyInFlight,
            Err(index) => {
                self.in_flight += 1;
                self.open.insert(
                    index,
                    InboundExchange {
                        packet_identifier,
                        state,
                        is_in_flight: true,
                    },
                );
                PublishDisposition::New
            }
        }
    }

    /// The identifier of a PUBLISH is open already.
    fn handle_again(
        &mut self,
        index: usize,
        open: InboundState,
        state: InboundState,
    ) -> PublishDisposition {
        let Some(entry) = self.open.get_mut(index) else {
            return PublishDisposition::IdentifierInUse;
        };
        if !entry.is_in_flight {
            entry.is_in_flight = true;
            self.in_flight += 1;
        }
        match (open, state) {
            (InboundState::Held, InboundState::UnacknowledgedQoS2) => PublishDisposition::Duplicate,
            // The sender has lost its state and begins anew; it will never release this one.
            (InboundState::Held, InboundState::UnacknowledgedQoS1) => {
                entry.state = state;
                PublishDisposition::SenderRestarted
            }
            (open, state) if open == state => PublishDisposition::AwaitingApplication,
            _ => PublishDisposition::IdentifierInUse,
        }
    }

    /// The application has taken the message over, or refused it. Says which packet is the answer:
    /// `Some(true)` PUBREC, `Some(false)` PUBACK, `None` if it waits for none.
    pub(crate) fn acknowledge(
        &mut self,
        packet_identifier: PacketIdentifier,
        refused: bool,
    ) -> Option<bool> {
        let (index, state) = self.find(packet_identifier).ok()?;
        match state {
            InboundState::Held => None,
            InboundState::UnacknowledgedQoS1 => {
                self.remove(index);
                Some(false)
            }
            InboundState::UnacknowledgedQoS2 if refused => {
                self.remove(index);
                Some(true)
            }
            InboundState::UnacknowledgedQoS2 => {
                self.open.get_mut(index)?.state = InboundState::Held;
                Some(true)
            }
        }
    }

    /// The message was taken over after its connection had ended.
    pub(crate) fn hold(&mut self, packet_identifier: PacketIdentifier) {
        if let Err(index) = self.find(packet_identifier) {
            let open = InboundExchange {
                packet_identifier,
                state: InboundState::Held,
                is_in_flight: false,
            };
            self.open.insert(index, open);
        }
    }

    /// PUBREL: whether the identifier was held; it is free now. `None` if it may not be released,
    /// because PUBREC was not sent.
    pub(crate) fn handle_pubrel(&mut self, packet_identifier: PacketIdentifier) -> Option<bool> {
        match self.find(packet_identifier) {
            Err(_) => Some(false),
            Ok((index, InboundState::Held)) => {
                self.remove(index);
                Some(true)
            }
            Ok(_) => None,
        }
    }

    /// The connection is gone: what was not taken over is the sender's to repeat.
    pub(crate) fn end_connection(&mut self) {
        self.open.retain(|open| open.state == InboundState::Held);
        self.open
            .iter_mut()
            .for_each(|open| open.is_in_flight = false);
        self.in_flight = 0;
    }

    fn remove(&mut self, index: usize) {
        if self.open.remove(index).is_in_flight {
            self.in_flight -= 1;
        }
    }

    /// The state of an open identifier and its place, or the place where it would be.
    fn find(&self, packet_identifier: PacketIdentifier) -> Result<(usize, InboundState), usize> {
        let key = |open: &InboundExchange| open.packet_identifier;
        let index = self.open.binary_search_by_key(&packet_identifier, key)?;
        self.open
            .get(index)
            .map(|open| (index, open.state))
            .ok_or(index)
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
    fn a_repeat_is_told_by_its_identifier_whatever_dup_says() {
        let mut receiver = Receiver::default();
        assert_eq!(publish(&mut receiver, 7, 2, true), PublishDisposition::New);
        assert_eq!(
            publish(&mut receiver, 7, 2, false),
            PublishDisposition::AwaitingApplication
        );
        assert_eq!(receiver.acknowledge(identifier(7), false), Some(true));
        for dup in [false, true, false] {
            assert_eq!(
                publish(&mut receiver, 7, 2, dup),
                PublishDisposition::Duplicate
            );
        }
        assert_eq!(receiver.handle_pubrel(identifier(7)), Some(true));
        assert_eq!(receiver.handle_pubrel(identifier(7)), Some(false));
        assert_eq!(publish(&mut receiver, 7, 2, true), PublishDisposition::New);
    }

    #[test]
    fn what_is_refused_is_not_held() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 7, 2, false);
        assert_eq!(receiver.acknowledge(identifier(7), true), Some(true));
        assert_eq!(publish(&mut receiver, 7, 2, false), PublishDisposition::New);
    }

    /// [MQTT-3.3.4-7]
    #[test]
    fn a_repeat_does_not_count_towards_the_receive_maximum() {
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
        assert_eq!(receiver.acknowledge(identifier(2), false), Some(false));
        assert_eq!(publish(&mut receiver, 3, 1, false), PublishDisposition::New);
    }

    /// The sender may have lost its session meanwhile, and counts only what it sends now.
    #[test]
    fn what_is_held_from_an_older_connection_does_not_count() {
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
        assert_eq!(receiver.handle_pubrel(identifier(1)), Some(true));
        assert_eq!(publish(&mut receiver, 4, 2, false), PublishDisposition::New);
    }

    #[test]
    fn only_what_was_acknowledged_survives_the_connection() {
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
    fn a_sender_without_its_state_is_not_locked_out() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 1, 2, false);
        receiver.acknowledge(identifier(1), false);
        assert_eq!(
            publish(&mut receiver, 1, 1, false),
            PublishDisposition::SenderRestarted
        );
        assert_eq!(receiver.acknowledge(identifier(1), false), Some(false));
        assert_eq!(receiver.handle_pubrel(identifier(1)), Some(false));
    }

    #[test]
    fn an_identifier_cannot_be_open_for_both_qos() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 1, 1, false);
        assert_eq!(
            publish(&mut receiver, 1, 2, false),
            PublishDisposition::IdentifierInUse
        );
        assert_eq!(receiver.handle_pubrel(identifier(1)), None);
    }
}
