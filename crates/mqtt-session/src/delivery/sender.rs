//! [`Sender`] is the sender's half of QoS 1 and 2: the steps of each exchange, and the order in which messages are
//! resent. `exchanges.rs` stores the exchanges and assigns packet identifiers.

#[cfg(test)]
mod tests;

use mqtt_codec::{PacketIdentifier, QoS};

use super::exchanges::{Exchanges, OutboundExchange, OutboundState, Position};
use super::outbound_message::OutboundMessage;
use super::reclaim::Reclaim;

/// The sender's half of QoS 1 and 2.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// Unfinished exchanges.
    exchanges: Exchanges,
    /// Number of exchanges that this connection has sent or resent, which the window limits. The standard describes a
    /// quota that each acknowledgement increments. Such a quota would grow with unexpected acknowledgements, and would
    /// shrink with messages that are too large to send.
    in_flight: usize,
    /// Identifiers that the peer may hold from an earlier run. Boxed, because nearly all senders have none.
    reclaim: Option<Box<Reclaim>>,
}

/// Result of an acknowledgement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AckOutcome {
    /// The exchange is finished, and its packet identifier is free.
    Finished,
    /// The answer must be PUBREL.
    SendPubrel,
    /// No exchange has this packet identifier.
    Unknown,
    /// The acknowledgement does not fit the QoS or the progress of the exchange.
    WrongPacket,
}

/// Packet that must be resent after a reconnect.
#[derive(Debug)]
pub(crate) enum Resend {
    Publish(PacketIdentifier, OutboundMessage),
    Pubrel(PacketIdentifier),
}

impl Sender {
    /// Restores unfinished exchanges, oldest first. `None` stands for a message for which PUBREC was received.
    pub(crate) fn restore(
        sent: impl IntoIterator<Item = (PacketIdentifier, Option<OutboundMessage>)>,
    ) -> Self {
        let exchange =
            |(packet_identifier, outbound): (PacketIdentifier, Option<OutboundMessage>)| {
                OutboundExchange {
                    packet_identifier,
                    state: outbound.map_or(OutboundState::Released, OutboundState::Published),
                    is_sent: false,
                }
            };
        Self {
            exchanges: Exchanges::restore(sent.into_iter().map(exchange)),
            ..Self::default()
        }
    }

    /// Returns a sender that has lost its earlier exchanges. The peer may hold any packet identifier.
    pub(crate) fn without_state() -> Self {
        Self {
            reclaim: Some(Box::default()),
            ..Self::default()
        }
    }

    /// Returns the unfinished exchanges, oldest first. `None` stands for a message for which PUBREC was received.
    pub(crate) fn exchanges(
        &self,
    ) -> impl Iterator<Item = (PacketIdentifier, Option<&OutboundMessage>)> {
        self.exchanges.iter().map(|exchange| {
            let outbound = match &exchange.state {
                OutboundState::Published(outbound) => Some(outbound),
                // PUBREC shows that the peer has the message.
                OutboundState::Released => None,
            };
            (exchange.packet_identifier, outbound)
        })
    }

    /// Returns the messages that this connection has sent and the peer has not acknowledged, oldest first.
    pub(crate) fn sent_by_last_connection(&self) -> impl Iterator<Item = &OutboundMessage> {
        let sent = self.exchanges.iter().filter(|exchange| exchange.is_sent);
        sent.filter_map(|exchange| match &exchange.state {
            OutboundState::Published(outbound) => Some(outbound),
            OutboundState::Released => None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Returns `true` if a window of this size has room for a new message. Messages to resend come first
    /// [MQTT-4.6.0-1].
    pub(crate) fn has_room(&self, window: u16) -> bool {
        let old_are_sent = self.in_flight == self.exchanges.len();
        self.in_flight < usize::from(window) && old_are_sent
    }

    /// Returns `true` if a packet identifier is free, or if the next attempt to publish starts to release some.
    /// `requested` is the number of identifiers that SUBSCRIBE and UNSUBSCRIBE use.
    pub(crate) fn has_identifier(&self, requested: usize) -> bool {
        let held = match &self.reclaim {
            None => 0,
            // The attempt to publish sends PUBREL packets. Their answers free identifiers.
            Some(reclaim) if reclaim.is_due() => return true,
            Some(reclaim) => reclaim.held(),
        };
        self.exchanges.has_identifier(requested + held)
    }

    /// Returns the next free packet identifier. Returns `None` if all identifiers are in use or may be held by the
    /// peer. `is_requested` must return `true` for identifiers that SUBSCRIBE and UNSUBSCRIBE use.
    pub(crate) fn next_identifier(
        &self,
        is_requested: impl Fn(PacketIdentifier) -> bool,
    ) -> Option<PacketIdentifier> {
        match &self.reclaim {
            None => self.exchanges.next_identifier(is_requested),
            Some(reclaim) => {
                let is_taken =
                    |identifier| is_requested(identifier) || reclaim.may_hold(identifier);
                self.exchanges.next_identifier(is_taken)
            }
        }
    }

    /// Assigns no packet identifier above `highest` to messages in the future.
    pub(crate) fn limit_identifiers(&mut self, highest: PacketIdentifier) {
        self.exchanges.limit(highest);
    }

    /// Returns the highest packet identifier of messages.
    pub(crate) fn highest_identifier(&self) -> PacketIdentifier {
        self.exchanges.highest()
    }

    /// Returns `true` if this connection must send PUBREL for the identifiers that the peer may hold, before a message
    /// can get one of them.
    #[inline]
    pub(crate) fn must_reclaim(&self) -> bool {
        self.reclaim
            .as_ref()
            .is_some_and(|reclaim| reclaim.is_due())
    }

    /// Returns the identifiers for which the caller must send PUBREL now. From here on the sender awaits their
    /// PUBCOMPs.
    pub(crate) fn reclaim_identifiers(&mut self) -> Vec<PacketIdentifier> {
        let highest = self.exchanges.highest();
        let reclaim = self.reclaim.as_mut();
        reclaim.map_or(Vec::new(), |reclaim| reclaim.begin(highest))
    }

    /// Returns `true` while this connection awaits PUBCOMP for identifiers of an earlier run.
    pub(crate) fn is_reclaiming(&self) -> bool {
        let reclaim = self.reclaim.as_ref();
        reclaim.is_some_and(|reclaim| !reclaim.is_due())
    }

    /// Assigns the packet identifier that `next_identifier` has returned.
    pub(crate) fn take_identifier(&mut self, packet_identifier: PacketIdentifier) {
        self.exchanges.take_identifier(packet_identifier);
    }

    /// Adds a message that was sent for the first time.
    pub(crate) fn add(&mut self, packet_identifier: PacketIdentifier, outbound: OutboundMessage) {
        // The identifier is assigned after the packet was encoded. A message that is too large therefore uses no
        // identifier.
        self.take_identifier(packet_identifier);
        self.in_flight += 1;
        self.exchanges.push(OutboundExchange {
            packet_identifier,
            state: OutboundState::Published(outbound),
            is_sent: true,
        });
    }

    pub(crate) fn handle_puback(&mut self, packet_identifier: PacketIdentifier) -> AckOutcome {
        let Some((position, exchange)) = self.exchanges.find_mut(packet_identifier) else {
            return AckOutcome::Unknown;
        };
        match &exchange.state {
            OutboundState::Published(outbound) if outbound.qos == QoS::AtLeastOnce => {
                self.finish(position)
            }
            // PUBACK is valid for an exchange of QoS 1 only.
            OutboundState::Published(_) | OutboundState::Released => AckOutcome::WrongPacket,
        }
    }

    /// Handles PUBREC. `is_rejected` is `true` if the reason code is a failure.
    pub(crate) fn handle_pubrec(
        &mut self,
        packet_identifier: PacketIdentifier,
        is_rejected: bool,
    ) -> AckOutcome {
        let Some((position, exchange)) = self.exchanges.find_mut(packet_identifier) else {
            return AckOutcome::Unknown;
        };
        match &exchange.state {
            OutboundState::Published(outbound) if outbound.qos != QoS::ExactlyOnce => {
                AckOutcome::WrongPacket
            }
            // PUBREC with a failure ends the exchange without PUBREL, and frees the packet identifier [MQTT-4.3.3-4].
            OutboundState::Published(_) if is_rejected => self.finish(position),
            OutboundState::Published(_) => {
                // The peer has the message. From here on PUBLISH must not be resent [MQTT-4.3.3-6].
                exchange.state = OutboundState::Released;
                AckOutcome::SendPubrel
            }
            // The PUBREL was lost, or the peer has sent PUBREC twice.
            OutboundState::Released => AckOutcome::SendPubrel,
        }
    }

    pub(crate) fn handle_pubcomp(&mut self, packet_identifier: PacketIdentifier) -> AckOutcome {
        let Some((position, exchange)) = self.exchanges.find_mut(packet_identifier) else {
            // The PUBCOMP may answer a PUBREL for an identifier of an earlier run.
            self.handle_reclaimed(packet_identifier);
            return AckOutcome::Unknown;
        };
        match &exchange.state {
            OutboundState::Released => self.finish(position),
            OutboundState::Published(_) => AckOutcome::WrongPacket,
        }
    }

    /// Records that the peer no longer holds this identifier of an earlier run.
    fn handle_reclaimed(&mut self, packet_identifier: PacketIdentifier) {
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.handle_pubcomp(packet_identifier);
            if reclaim.is_over() {
                self.reclaim = None;
            }
        }
    }

    /// Records that a new connection resumes this session. All exchanges must be resent.
    pub(crate) fn resume(&mut self) {
        self.in_flight = 0;
        for exchange in self.exchanges.iter_mut() {
            // The peer may have received the packet, but the acknowledgement was lost with the connection.
            exchange.is_sent = false;
        }
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.resume();
        }
    }

    /// Returns the next packet to resend, in the order in which the messages were first sent [MQTT-4.6.0-1].
    ///
    /// PUBREL counts in the window but does not wait for room in it: without PUBREL the peer cannot finish exchanges
    /// that fill the peer's own window.
    pub(crate) fn next_resend(&mut self, window: u16) -> Option<Resend> {
        // All exchanges have been sent on this connection. This is the usual case, and needs no search.
        if self.in_flight == self.exchanges.len() {
            return None;
        }
        let room = self.in_flight < usize::from(window);
        let is_due = |exchange: &&mut OutboundExchange| {
            !exchange.is_sent && (room || matches!(exchange.state, OutboundState::Released))
        };
        let exchange = self.exchanges.iter_mut().find(is_due)?;
        // From here on the exchange counts in the window.
        exchange.is_sent = true;
        self.in_flight += 1;
        Some(match &exchange.state {
            OutboundState::Published(outbound) => {
                Resend::Publish(exchange.packet_identifier, outbound.clone())
            }
            OutboundState::Released => Resend::Pubrel(exchange.packet_identifier),
        })
    }

    /// Gives up a message of QoS 2. The packet identifier stays in use, and the caller must send PUBREL.
    pub(crate) fn release(&mut self, packet_identifier: PacketIdentifier) {
        let found = self.exchanges.find_mut(packet_identifier);
        debug_assert!(
            found.is_some(),
            "the caller has the identifier of an exchange"
        );
        if let Some((_, exchange)) = found {
            exchange.state = OutboundState::Released;
        }
    }

    /// Gives up an exchange as if the peer had finished it.
    pub(crate) fn drop_exchange(&mut self, packet_identifier: PacketIdentifier) {
        let found = self.exchanges.find_mut(packet_identifier);
        debug_assert!(
            found.is_some(),
            "the caller has the identifier of an exchange"
        );
        if let Some((position, _)) = found {
            self.finish(position);
        }
    }

    /// Ends the session. Returns the messages that the peer has not acknowledged, oldest first.
    pub(crate) fn take_unfinished(&mut self) -> Vec<OutboundMessage> {
        let exchanges = std::mem::take(self).exchanges;
        let published = exchanges
            .into_iter()
            .filter_map(|exchange| match exchange.state {
                OutboundState::Published(outbound) => Some(outbound),
                OutboundState::Released => None, // PUBREC shows that the peer has the message.
            });
        published.collect()
    }

    /// Removes a finished exchange and frees its packet identifier.
    fn finish(&mut self, position: Position) -> AckOutcome {
        let removed = self.exchanges.remove(position);
        debug_assert!(removed.is_some(), "the position is that of an exchange");
        if removed.is_some_and(|exchange| exchange.is_sent) {
            self.in_flight -= 1;
        }
        AckOutcome::Finished
    }
}
