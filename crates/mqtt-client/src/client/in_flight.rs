//! [`InFlight`]: the messages that were given to the event loop and whose results callers may wait for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mqtt_codec::{Message, PacketIdentifier, ReasonCode, TopicName};
use mqtt_session::{Connection, OutboundMessage};

use super::error::PublishError;
use super::failures::Failures;
use super::outbox::{Publication, PublishSlot};

#[derive(Debug)]
struct Exchange {
    message: Arc<Message>,
    slot: PublishSlot,
}

#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// By packet identifier; the client uses the lowest ones.
    exchanges: Vec<Option<Exchange>>,
    /// Messages of a lost session, which get new packet identifiers.
    waiting: Vec<Exchange>,
    /// Messages of QoS 0 in the output, and the end of each in the bytes that are written.
    unsent: VecDeque<(u64, TopicName, PublishSlot)>,
    /// Set if a caller may wait for a result.
    has_results: bool,
}

impl InFlight {
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

    pub(super) fn sent_at_most_once(&mut self, end: u64, publication: Publication) {
        let topic_name = publication.topic_name();
        self.unsent.push_back((end, topic_name, publication.slot));
    }

    /// Records the answer of the server for a message.
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

    /// Records that the streams of the client have taken this many bytes, so that these messages of QoS 0 are sent.
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

    /// Records that the connection is lost, and with it the messages of QoS 0 that were not written.
    pub(super) fn handle_lost(&mut self, rejected: &[Arc<Message>], failures: &Failures) {
        for (_, topic_name, slot) in self.unsent.drain(..) {
            self.has_results = true;
            failures.lose(&slot, topic_name);
        }
        for message in rejected {
            let is_it = |exchange: &&mut Option<Exchange>| {
                let exchange = exchange.as_ref();
                exchange.is_some_and(|exchange| Arc::ptr_eq(&exchange.message, message))
            };
            let entry = self.exchanges.iter_mut().find(is_it);
            if let Some(exchange) = entry.and_then(Option::take) {
                self.has_results = true;
                let topic_name = message.topic_name.clone();
                failures.fail(&exchange.slot, PublishError::TooLarge { topic_name });
            }
        }
    }

    /// Returns `true` if messages of a lost session have no packet identifier yet.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Assigns packet identifiers anew, after a connection was accepted: messages of a session that the server does
    /// not resume are published as new ones.
    pub(super) fn reassign<'a>(
        &mut self,
        connection: &Connection,
        backlog: impl Iterator<Item = &'a OutboundMessage>,
        failures: &Failures,
    ) {
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
                // PUBREC has arrived, so the session has only the packet identifier.
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
        // The server had accepted these messages of QoS 2 in the session that it has forgotten since.
        for exchange in by_message.into_values() {
            self.has_results = true;
            failures.succeed(&exchange.slot);
        }
    }

    /// Ends all exchanges with this error.
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

    /// Returns `true` if results were set since the last call.
    pub(super) fn take_has_results(&mut self) -> bool {
        std::mem::take(&mut self.has_results)
    }

    /// Returns the number of messages of QoS 0 in the output.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }
}

/// Returns the address of a message, by which it is recognised while both sides hold it.
fn address(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}
