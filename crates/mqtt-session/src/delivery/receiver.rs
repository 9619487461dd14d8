//! The receiver's half of QoS 1 and 2: which identifiers are open, and what a repeat is.
//!
//! DUP plays no part: a message whose identifier is held is a repeat, any other is new
//! [MQTT-4.3.3-10].

use mqtt_codec::{Delivery, PacketIdentifier};

use crate::Defect;

#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Sorted; mostly few, mostly added at the end.
    open: Vec<Open>,
    /// How many of them this connection has seen: those that the receive maximum is about. What is
    /// held from before may be of a session that the sender has lost.
    under_way: usize,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    packet_identifier: PacketIdentifier,
    state: State,
    is_under_way: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// QoS 1: the application has it and has not acknowledged it.
    Unacknowledged1,
    /// QoS 2: the same.
    Unacknowledged2,
    /// QoS 2: acknowledged; waits for PUBREL.
    Held,
}

/// What to do with a PUBLISH of QoS 1 or 2.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Hand it on.
    New,
    /// Hand it on: its sender has lost its state and begins anew, so the identifier is not held any
    /// more.
    Anew,
    /// Answer with PUBREC and hand nothing on.
    Repeat,
    /// The application still has the first one; its answer will do for both.
    Waiting,
    /// The identifier is in use for another QoS.
    InUse,
    /// More are open than this end announced [MQTT-3.3.4-7].
    TooMany,
}

impl Receiver {
    /// What was held.
    pub(crate) fn restore(held: impl IntoIterator<Item = PacketIdentifier>) -> Self {
        let open = |packet_identifier| Open {
            packet_identifier,
            state: State::Held,
            is_under_way: false,
        };
        let mut open: Vec<_> = held.into_iter().map(open).collect();
        open.sort_unstable_by_key(|open| open.packet_identifier);
        Self { open, under_way: 0 }
    }

    /// The identifiers that are held.
    pub(crate) fn held_identifiers(&self) -> impl Iterator<Item = PacketIdentifier> {
        let held = self.open.iter().filter(|open| open.state == State::Held);
        held.map(|open| open.packet_identifier)
    }

    pub(crate) fn handle_publish(
        &mut self,
        packet_identifier: PacketIdentifier,
        delivery: Delivery,
        receive_maximum: u16,
    ) -> Incoming {
        let state = match delivery {
            Delivery::ExactlyOnce { .. } => State::Unacknowledged2,
            Delivery::AtLeastOnce { .. } | Delivery::AtMostOnce => State::Unacknowledged1,
        };
        let is_full = self.under_way >= usize::from(receive_maximum);
        if state == State::Unacknowledged2 && Defect::RepeatByDup.is_planted() {
            if delivery.dup() {
                return Incoming::Repeat;
            }
            if let Ok((index, _)) = self.find(packet_identifier) {
                self.remove(index);
            }
        }
        match self.find(packet_identifier) {
            Ok((index, open)) => self.handle_again(index, open, state),
            Err(_) if is_full => Incoming::TooMany,
            Err(index) => {
                self.under_way += 1;
                self.open.insert(
                    index,
                    Open {
                        packet_identifier,
                        state,
                        is_under_way: true,
                    },
                );
                Incoming::New
            }
        }
    }

    /// The identifier of a PUBLISH is open already.
    fn handle_again(&mut self, index: usize, open: State, state: State) -> Incoming {
        let Some(entry) = self.open.get_mut(index) else {
            return Incoming::InUse;
        };
        if !entry.is_under_way {
            entry.is_under_way = true;
            self.under_way += if Defect::RepeatCounts.is_planted() {
                2
            } else {
                1
            };
        }
        match (open, state) {
            (State::Held, State::Unacknowledged2) => Incoming::Repeat,
            // The sender has lost its state and begins anew; it will never release this one.
            (State::Held, State::Unacknowledged1) => {
                entry.state = state;
                Incoming::Anew
            }
            (open, state) if open == state => Incoming::Waiting,
            _ => Incoming::InUse,
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
            State::Held => None,
            State::Unacknowledged1 => {
                self.remove(index);
                Some(false)
            }
            State::Unacknowledged2 if refused => {
                self.remove(index);
                Some(true)
            }
            State::Unacknowledged2 => {
                self.open.get_mut(index)?.state = State::Held;
                Some(true)
            }
        }
    }

    /// The message was taken over after its connection had ended.
    pub(crate) fn hold(&mut self, packet_identifier: PacketIdentifier) {
        if let Err(index) = self.find(packet_identifier) {
            let open = Open {
                packet_identifier,
                state: State::Held,
                is_under_way: false,
            };
            self.open.insert(index, open);
        }
    }

    /// PUBREL: whether the identifier was held; it is free now. `None` if it may not be released,
    /// because PUBREC was not sent.
    pub(crate) fn handle_pubrel(&mut self, packet_identifier: PacketIdentifier) -> Option<bool> {
        match self.find(packet_identifier) {
            Err(_) => Some(false),
            Ok((index, State::Held)) => {
                self.remove(index);
                Some(true)
            }
            Ok(_) => None,
        }
    }

    /// The connection is gone: what was not taken over is the sender's to repeat.
    pub(crate) fn end_connection(&mut self) {
        self.open.retain(|open| open.state == State::Held);
        self.open
            .iter_mut()
            .for_each(|open| open.is_under_way = false);
        self.under_way = 0;
    }

    fn remove(&mut self, index: usize) {
        if self.open.remove(index).is_under_way {
            self.under_way -= 1;
        }
    }

    /// The state of an open identifier and its place, or the place where it would be.
    fn find(&self, packet_identifier: PacketIdentifier) -> Result<(usize, State), usize> {
        let key = |open: &Open| open.packet_identifier;
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

    fn publish(receiver: &mut Receiver, value: u16, qos: u8, dup: bool) -> Incoming {
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
        assert_eq!(publish(&mut receiver, 7, 2, true), Incoming::New);
        assert_eq!(publish(&mut receiver, 7, 2, false), Incoming::Waiting);
        assert_eq!(receiver.acknowledge(identifier(7), false), Some(true));
        for dup in [false, true, false] {
            assert_eq!(publish(&mut receiver, 7, 2, dup), Incoming::Repeat);
        }
        assert_eq!(receiver.handle_pubrel(identifier(7)), Some(true));
        assert_eq!(receiver.handle_pubrel(identifier(7)), Some(false));
        assert_eq!(publish(&mut receiver, 7, 2, true), Incoming::New);
    }

    #[test]
    fn what_is_refused_is_not_held() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 7, 2, false);
        assert_eq!(receiver.acknowledge(identifier(7), true), Some(true));
        assert_eq!(publish(&mut receiver, 7, 2, false), Incoming::New);
    }

    /// [MQTT-3.3.4-7]
    #[test]
    fn a_repeat_does_not_count_towards_the_receive_maximum() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 1, 2, false);
        publish(&mut receiver, 2, 1, false);
        assert_eq!(publish(&mut receiver, 3, 1, false), Incoming::TooMany);
        receiver.acknowledge(identifier(1), false);
        assert_eq!(publish(&mut receiver, 1, 2, true), Incoming::Repeat);
        assert_eq!(receiver.acknowledge(identifier(2), false), Some(false));
        assert_eq!(publish(&mut receiver, 3, 1, false), Incoming::New);
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
        assert_eq!(publish(&mut receiver, 3, 2, false), Incoming::New);
        assert_eq!(publish(&mut receiver, 1, 2, true), Incoming::Repeat);
        assert_eq!(publish(&mut receiver, 4, 2, false), Incoming::TooMany);
        assert_eq!(receiver.handle_pubrel(identifier(1)), Some(true));
        assert_eq!(publish(&mut receiver, 4, 2, false), Incoming::New);
    }

    #[test]
    fn only_what_was_acknowledged_survives_the_connection() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 1, 2, false);
        publish(&mut receiver, 2, 2, false);
        receiver.acknowledge(identifier(2), false);
        receiver.end_connection();
        assert_eq!(publish(&mut receiver, 1, 2, true), Incoming::New);
        assert_eq!(publish(&mut receiver, 2, 2, true), Incoming::Repeat);
    }

    #[test]
    fn a_sender_without_its_state_is_not_locked_out() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 1, 2, false);
        receiver.acknowledge(identifier(1), false);
        assert_eq!(publish(&mut receiver, 1, 1, false), Incoming::Anew);
        assert_eq!(receiver.acknowledge(identifier(1), false), Some(false));
        assert_eq!(receiver.handle_pubrel(identifier(1)), Some(false));
    }

    #[test]
    fn an_identifier_cannot_be_open_for_both_qos() {
        let mut receiver = Receiver::default();
        publish(&mut receiver, 1, 1, false);
        assert_eq!(publish(&mut receiver, 1, 2, false), Incoming::InUse);
        assert_eq!(receiver.handle_pubrel(identifier(1)), None);
    }
}
