//! [`InFlight`] stores the messages that were passed to the event loop, with the slots for their results.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mqtt_codec::{Message, PacketIdentifier, ReasonCode, TopicName};
use mqtt_session::{Connection, OutboundMessage};

use super::error::PublishError;
use super::failures::Failures;
use super::outbox::{Publication, PublishSlot};

/// A message of QoS 1 or 2 whose result is not known yet.
#[derive(Debug)]
struct Exchange {
    message: Arc<Message>,
    slot: PublishSlot,
}

/// Messages whose results are not known yet.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Exchanges indexed by packet identifier. The client uses only low packet identifiers, so the vector stays short.
    exchanges: Vec<Option<Exchange>>,
    /// Messages of a lost session, which will get new packet identifiers.
    waiting: Vec<Exchange>,
    /// Messages of QoS 0 in the output. The number is the value of `EventLoop::written` at which the message has been
    /// sent.
    unsent: VecDeque<(u64, TopicName, PublishSlot)>,
    /// Set when a slot has got a result.
    has_results: bool,
}

impl InFlight {
    /// Records that a message of QoS 1 or 2 was sent with this packet identifier.
    pub(super) fn sent(&mut self, packet_identifier: PacketIdentifier, publication: Publication) {
        self.insert(
            packet_identifier,
            Exchange {
                message: publication.outgoing.message,
                slot: publication.slot,
            },
        );
    }

    fn insert(&mut self, packet_identifier: PacketIdentifier, exchange: Exchange) {
        let index = usize::from(packet_identifier.get());
        if self.exchanges.len() <= index {
            self.exchanges.resize_with(index + 1, || None);
        }
        if let Some(entry) = self.exchanges.get_mut(index) {
            *entry = Some(exchange);
        }
    }

    /// Records that a message of QoS 0 is in the output. It has been sent when `end` bytes were written in total.
    pub(super) fn sent_at_most_once(&mut self, end: u64, publication: Publication) {
        let topic_name = publication.topic_name();
        self.unsent.push_back((end, topic_name, publication.slot));
    }

    /// Records the acknowledgement of the server for a message.
    pub(super) fn handle_delivered(
        &mut self,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
        reason_string: Option<String>,
        failures: &Failures,
    ) {
        let index = usize::from(packet_identifier.get());
        let Some(exchange) = self.exchanges.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.has_results = true;
        if !reason_code.is_error() {
            failures.succeed(&exchange.slot);
            return;
        }
        let error = PublishError::Refused {
            topic_name: exchange.message.topic_name.clone(),
            reason_code,
            reason_string,
        };
        failures.fail(&exchange.slot, error);
    }

    /// Records that the streams of the client have accepted `written` bytes in total. Messages of QoS 0 that are
    /// completely among these bytes have been sent.
    pub(super) fn handle_written(&mut self, written: u64, failures: &Failures) {
        while let Some((end, _, _)) = self.unsent.front() {
            if *end > written {
                break;
            }
            if let Some((_, _, slot)) = self.unsent.pop_front() {
                self.has_results = true;
                failures.succeed(&slot);
            }
        }
    }

    /// Records that the connection is lost. Unwritten messages of QoS 0 are lost with it.
    pub(super) fn handle_lost(&mut self, failures: &Failures) {
        for (_, topic_name, slot) in self.unsent.drain(..) {
            self.has_results = true;
            failures.lose(&slot, topic_name);
        }
    }

    /// Completes a message that the client has given up. The message may have a packet identifier, or wait for one.
    pub(super) fn fail(
        &mut self,
        message: &Arc<Message>,
        error: PublishError,
        failures: &Failures,
    ) {
        let is_it = |exchange: &Exchange| Arc::ptr_eq(&exchange.message, message);
        let mut exchanges = self.exchanges.iter_mut();
        let entry = exchanges.find(|entry| entry.as_ref().is_some_and(is_it));
        let exchange = entry.and_then(Option::take).or_else(|| {
            let index = self.waiting.iter().position(is_it)?;
            Some(self.waiting.swap_remove(index))
        });
        if let Some(exchange) = exchange {
            self.has_results = true;
            failures.fail(&exchange.slot, error);
        }
    }

    /// Returns `true` if messages of a lost session have no packet identifier yet.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Updates the packet identifiers of all messages after a connection was accepted. Messages of a session that the
    /// server does not resume are published as new messages, with new packet identifiers.
    pub(super) fn reassign<'a>(
        &mut self,
        connection: &Connection,
        backlog: impl Iterator<Item = &'a OutboundMessage>,
        failures: &Failures,
    ) {
        // Messages are matched by address, because different messages may have the same content.
        let mut by_message = HashMap::new();
        let mut released = HashMap::new();
        for (index, exchange) in std::mem::take(&mut self.exchanges).into_iter().enumerate() {
            if let Some(exchange) = exchange {
                released.insert(index, address(&exchange.message));
                by_message.insert(address(&exchange.message), exchange);
            }
        }
        for exchange in std::mem::take(&mut self.waiting) {
            by_message.insert(address(&exchange.message), exchange);
        }
        for (packet_identifier, outgoing) in connection.session().sent() {
            let key = match outgoing {
                Some(outgoing) => Some(address(&outgoing.message)),
                // PUBREC was received, so the session stores only the packet identifier.
                None => released.get(&usize::from(packet_identifier.get())).copied(),
            };
            if let Some(exchange) = key.and_then(|key| by_message.remove(&key)) {
                self.insert(packet_identifier, exchange);
            }
        }
        for outgoing in backlog {
            if let Some(exchange) = by_message.remove(&address(&outgoing.message)) {
                self.waiting.push(exchange);
            }
        }
        // These messages of QoS 2 are neither in the session nor in the backlog. The server had sent PUBREC for them
        // before it lost the session, so it has accepted them.
        for exchange in by_message.into_values() {
            self.has_results = true;
            failures.succeed(&exchange.slot);
        }
    }

    /// Completes all exchanges with this error.
    pub(super) fn end(&mut self, error: impl Fn(TopicName) -> PublishError, failures: &Failures) {
        let exchanges = std::mem::take(&mut self.exchanges).into_iter().flatten();
        for exchange in exchanges.chain(std::mem::take(&mut self.waiting)) {
            let topic_name = exchange.message.topic_name.clone();
            failures.fail(&exchange.slot, error(topic_name));
        }
        for (_, topic_name, slot) in self.unsent.drain(..) {
            failures.lose(&slot, topic_name);
        }
        self.has_results = true;
    }

    /// Returns `true` if a slot has got a result since the last call.
    pub(super) fn take_has_results(&mut self) -> bool {
        std::mem::take(&mut self.has_results)
    }

    /// Returns the number of messages of QoS 0 that have not been written.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }
}

/// Returns the address of a message. The address identifies the message, because both the session and this module have
/// an `Arc` of it.
fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}
