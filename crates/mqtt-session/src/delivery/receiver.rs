//! [`Receiver`] is the receiver's half of QoS 1 and 2. It stores the packet identifiers of unfinished exchanges, and no
//! messages.
//!
//! A PUBLISH is a duplicate if its packet identifier is in use. The DUP flag is ignored: a sender may set it on a
//! message that the receiver has never received [MQTT-4.3.3-10].

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use mqtt_codec::{Delivery, PacketIdentifier};

/// The receiver's half of QoS 1 and 2.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// Unfinished exchanges, sorted by packet identifier. Senders assign identifiers in ascending order, so nearly all
    /// exchanges are appended at the end, and a sorted queue is smaller than a map. Exchanges usually end in this
    /// order, too. In a vector, each removal of the first entry would move all others, of which there may be thousands.
    exchanges: VecDeque<InboundExchange>,
    /// Number of exchanges in flight on this connection, which the Receive Maximum limits. An identifier that is held
    /// from an earlier connection does not count, because the sender may have lost the session state of that
    /// connection.
    in_flight: usize,
}

/// An unfinished exchange.
#[derive(Debug, Clone, Copy)]
struct InboundExchange {
    packet_identifier: PacketIdentifier,
    state: InboundState,
    /// Set when this connection has received the PUBLISH, so that the exchange counts for the Receive Maximum.
    is_in_flight: bool,
}

/// Progress of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InboundState {
    /// QoS 1: the application has received the message and has not acknowledged it.
    UnacknowledgedQoS1,
    /// QoS 2: the application has received the message and has not acknowledged it.
    UnacknowledgedQoS2,
    /// QoS 2: the application has acknowledged the message, and PUBREL is awaited.
    Held,
}

/// Action that a PUBLISH of QoS 1 or 2 requires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublishDisposition {
    /// The message is new and must be delivered to the application.
    New,
    /// The message is new, but its identifier was held: the sender has lost its state. The message must be delivered to
    /// the application. The identifier is no longer held.
    SenderRestarted,
    /// The message is a duplicate of an accepted message. The answer is PUBREC.
    Duplicate,
    /// The message is a duplicate of a message that the application has not acknowledged. The acknowledgement of the
    /// application answers both.
    AwaitingApplication,
    /// The packet identifier is in use for another QoS.
    IdentifierInUse,
    /// The peer exceeds the Receive Maximum [MQTT-3.3.4-7].
    TooManyInFlight,
}

/// Packet that acknowledges a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acknowledgement {
    Puback,
    Pubrec,
    /// No message with this packet identifier awaits an acknowledgement.
    NotAwaited,
}

/// Result of a PUBREL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PubrelOutcome {
    /// The packet identifier was held and is now free.
    Released,
    /// The packet identifier was not held.
    NotHeld,
    /// The application has not acknowledged the message, so PUBREC has not been sent.
    BeforePubrec,
}

impl Receiver {
    /// Returns a receiver that holds these identifiers.
    pub(crate) fn restore(held: impl IntoIterator<Item = PacketIdentifier>) -> Self {
        let mut exchanges: Vec<_> = held.into_iter().map(InboundExchange::held).collect();
        exchanges.sort_unstable_by_key(|exchange| exchange.packet_identifier);
        Self {
            exchanges: exchanges.into(),
            in_flight: 0,
        }
    }

    /// Returns the packet identifiers that are held until PUBREL.
    pub(crate) fn held_identifiers(&self) -> impl Iterator<Item = PacketIdentifier> {
        let is_held = |exchange: &&InboundExchange| exchange.state == InboundState::Held;
        let held = self.exchanges.iter().filter(is_held);
        held.map(|exchange| exchange.packet_identifier)
    }

    /// Handles a PUBLISH of QoS 1 or 2. `receive_maximum` is the limit that this end has announced.
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
            // Only a new exchange can exceed the limit. A duplicate belongs to an exchange that counts already.
            Err(_) if is_full => PublishDisposition::TooManyInFlight,
            Err(index) => {
                self.in_flight += 1;
                let exchange = InboundExchange {
                    packet_identifier,
                    state,
                    is_in_flight: true,
                };
                self.insert(index, exchange);
                PublishDisposition::New
            }
        }
    }

    /// Handles a PUBLISH whose packet identifier belongs to the exchange at `index`.
    fn handle_again(&mut self, index: usize, state: InboundState) -> PublishDisposition {
        let Some(exchange) = self.exchanges.get_mut(index) else {
            debug_assert!(false, "find returns the index of an exchange");
            return PublishDisposition::IdentifierInUse;
        };
        // The sender counts its resent PUBLISH in its window, so this end counts the held exchange again.
        if !exchange.is_in_flight {
            exchange.is_in_flight = true;
            self.in_flight += 1;
        }
        match (exchange.state, state) {
            (InboundState::Held, InboundState::UnacknowledgedQoS2) => PublishDisposition::Duplicate,
            // A sender that has its state sends PUBREL before it reuses the packet identifier. This sender has lost its
            // state and will never send that PUBREL.
            (InboundState::Held, InboundState::UnacknowledgedQoS1) => {
                exchange.state = state;
                PublishDisposition::SenderRestarted
            }
            // The sender has resent the message on the same connection. The standard forbids this, but some senders do
            // it.
            (before, state) if before == state => PublishDisposition::AwaitingApplication,
            _ => PublishDisposition::IdentifierInUse,
        }
    }

    /// Records that the application has accepted or rejected a message. Returns the packet that acknowledges the
    /// message.
    pub(crate) fn acknowledge(
        &mut self,
        packet_identifier: PacketIdentifier,
        is_rejected: bool,
    ) -> Acknowledgement {
        let Some(index) = self.find_open(packet_identifier) else {
            // The message is from an earlier connection. The sender resends it.
            return Acknowledgement::NotAwaited;
        };
        let Some(exchange) = self.exchanges.get_mut(index) else {
            debug_assert!(false, "find_open returns the index of an exchange");
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
                // From here on the receiver answers duplicates without the application.
                exchange.state = InboundState::Held;
                Acknowledgement::Pubrec
            }
        }
    }

    /// Records that the application has accepted a message of QoS 2 after the connection of the message has ended.
    pub(crate) fn hold(&mut self, packet_identifier: PacketIdentifier) {
        if let Err(index) = self.find(packet_identifier) {
            let exchange = InboundExchange::held(packet_identifier);
            self.insert(index, exchange);
        }
    }

    /// Handles PUBREL, which ends the exchange of a held packet identifier.
    pub(crate) fn handle_pubrel(&mut self, packet_identifier: PacketIdentifier) -> PubrelOutcome {
        let Some(index) = self.find_open(packet_identifier) else {
            // The PUBCOMP was lost, or the sender releases packet identifiers of an earlier run.
            return PubrelOutcome::NotHeld;
        };
        let exchange = self.exchanges.get(index);
        if exchange.is_none_or(|exchange| exchange.state != InboundState::Held) {
            return PubrelOutcome::BeforePubrec;
        }
        self.remove(index);
        PubrelOutcome::Released
    }

    /// Records that the connection has ended. Only held packet identifiers stay, because the sender resends all
    /// messages that the application has not acknowledged.
    pub(crate) fn end_connection(&mut self) {
        self.exchanges
            .retain(|exchange| exchange.state == InboundState::Held);
        for exchange in &mut self.exchanges {
            exchange.is_in_flight = false;
        }
        self.in_flight = 0;
    }

    #[inline]
    fn insert(&mut self, index: usize, exchange: InboundExchange) {
        // Nearly all exchanges take this branch, and `push_back` needs fewer instructions than `insert`.
        if index == self.exchanges.len() {
            self.exchanges.push_back(exchange);
        } else {
            self.exchanges.insert(index, exchange);
        }
    }

    #[inline]
    fn remove(&mut self, index: usize) {
        let removed = if index == 0 {
            self.exchanges.pop_front()
        } else {
            self.exchanges.remove(index)
        };
        if removed.is_some_and(|exchange| exchange.is_in_flight) {
            self.in_flight -= 1;
        }
    }

    /// Returns the index of the exchange that an acknowledgement or PUBREL continues.
    #[inline]
    fn find_open(&self, packet_identifier: PacketIdentifier) -> Option<usize> {
        // An exchange that ends is mostly the first one.
        let is_continued =
            |exchange: &InboundExchange| exchange.packet_identifier == packet_identifier;
        if self.exchanges.front().is_some_and(is_continued) {
            return Some(0);
        }
        self.find(packet_identifier).ok()
    }

    /// Returns the index of the exchange with this packet identifier, or the index at which to insert it.
    #[inline]
    fn find(&self, packet_identifier: PacketIdentifier) -> Result<usize, usize> {
        // A new exchange is mostly the last one.
        let is_before = |exchange: &InboundExchange| exchange.packet_identifier < packet_identifier;
        if self.exchanges.back().is_none_or(is_before) {
            return Err(self.exchanges.len());
        }
        let key = |exchange: &InboundExchange| exchange.packet_identifier;
        self.exchanges.binary_search_by_key(&packet_identifier, key)
    }
}

impl InboundExchange {
    /// Returns the exchange of a message that the application has accepted on an earlier connection.
    fn held(packet_identifier: PacketIdentifier) -> Self {
        Self {
            packet_identifier,
            state: InboundState::Held,
            is_in_flight: false,
        }
    }
}
