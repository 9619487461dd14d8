//! [`Sender`]: the sender's half of QoS 1 and 2, with the steps of each exchange and the order in which messages are
//! resent. `exchanges.rs` stores the exchanges and assigns packet identifiers.

use mqtt_codec::{PacketIdentifier, QoS};

use super::exchanges::{Exchanges, OutboundExchange, OutboundState, Position};
use super::outbound_message::OutboundMessage;
use super::reclaim::Reclaim;

/// The sender's half of QoS 1 and 2.
#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// Unfinished exchanges.
    exchanges: Exchanges,
    /// Number of exchanges that this connection has sent or resent. The window limits this count. A quota to which
    /// acknowledgements add would grow with each unexpected acknowledgement, and shrink with each message that was too
    /// large.
    in_flight: usize,
    /// Identifiers that the peer may hold from an earlier run. Boxed, because nearly all senders have none.
    reclaim: Option<Box<Reclaim>>,
}

/// The result of an acknowledgement for the exchange with its packet identifier.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AckOutcome {
    /// The exchange is finished, and its identifier is free.
    Finished,
    /// PUBREL must be sent.
    SendPubrel,
    /// No exchange has this identifier.
    Unknown,
    /// The packet is wrong for the QoS or the step of the exchange.
    WrongPacket,
}

/// A packet to resend after a reconnect.
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

    /// Returns a sender whose earlier exchanges are unknown. The peer may hold any identifier.
    pub(crate) fn without_state() -> Self {
        Self {
            reclaim: Some(Box::default()),
            ..Self::default()
        }
    }

    /// Returns the unfinished exchanges, oldest first, with `None` for a message for which PUBREC was received.
    pub(crate) fn exchanges(
        &self,
    ) -> impl Iterator<Item = (PacketIdentifier, Option<&OutboundMessage>)> {
        self.exchanges.iter().map(|exchange| {
            let outbound = match &exchange.state {
                OutboundState::Published(outbound) => Some(outbound),
                // The peer has the message since PUBREC.
                OutboundState::Released => None,
            };
            (exchange.packet_identifier, outbound)
        })
    }

    /// Returns the messages that the connection has sent and the peer has not acknowledged, oldest first.
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

    /// Returns `true` if a window of this size has room for a new message. Messages to resend go first [MQTT-4.6.0-1].
    pub(crate) fn has_room(&self, window: u16) -> bool {
        let old_are_sent = self.in_flight == self.exchanges.len();
        self.in_flight < usize::from(window) && old_are_sent
    }

    /// Returns `true` if an identifier is free, or if the next attempt to publish starts to release some. `requested`
    /// identifiers are in use for SUBSCRIBE and UNSUBSCRIBE.
    pub(crate) fn has_identifier(&self, requested: usize) -> bool {
        let held = match &self.reclaim {
            None => 0,
            // The attempt to publish sends PUBRELs, whose answers free identifiers.
            Some(reclaim) if reclaim.is_due() => return true,
            Some(reclaim) => reclaim.held(),
        };
        self.exchanges.has_identifier(requested + held)
    }

    /// Returns the next free identifier, or `None` if all are in use or the peer may hold them. `is_requested` must
    /// return `true` for identifiers that SUBSCRIBE and UNSUBSCRIBE use.
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

    /// Assigns no identifier above `highest` to messages from now on.
    pub(crate) fn limit_identifiers(&mut self, highest: PacketIdentifier) {
        self.exchanges.limit(highest);
    }

    /// Returns the highest identifier that messages get.
    pub(crate) fn highest_identifier(&self) -> PacketIdentifier {
        self.exchanges.highest()
    }

    /// Returns `true` if this connection must send PUBREL for the identifiers that the peer may hold before a message
    /// can get one of them.
    #[inline]
    pub(crate) fn must_reclaim(&self) -> bool {
        self.reclaim
            .as_ref()
            .is_some_and(|reclaim| reclaim.is_due())
    }

    /// Returns the identifiers for which PUBREL must be sent. The sender waits for their PUBCOMPs from now on.
    pub(crate) fn reclaim_identifiers(&mut self) -> Vec<PacketIdentifier> {
        let highest = self.exchanges.highest();
        let reclaim = self.reclaim.as_mut();
        reclaim.map_or(Vec::new(), |reclaim| reclaim.begin(highest))
    }

    /// Returns `true` while the peer may hold identifiers of an earlier run that this connection has asked it to
    /// release.
    pub(crate) fn is_reclaiming(&self) -> bool {
        let reclaim = self.reclaim.as_ref();
        reclaim.is_some_and(|reclaim| !reclaim.is_due())
    }

    /// Assigns the identifier that `next_identifier` has returned.
    pub(crate) fn take_identifier(&mut self, packet_identifier: PacketIdentifier) {
        self.exchanges.take_identifier(packet_identifier);
    }

    /// Adds a message that was sent for the first time.
    pub(crate) fn add(&mut self, packet_identifier: PacketIdentifier, outbound: OutboundMessage) {
        // The identifier is assigned after the packet was encoded, so that a message that is too large uses none.
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
            // PUBACK ends only an exchange of QoS 1.
            OutboundState::Published(_) | OutboundState::Released => AckOutcome::WrongPacket,
        }
    }

    /// Handles PUBREC. `is_rejected` says that its reason code is an error.
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
            // A rejected message has no PUBREL, and its identifier is free [MQTT-4.3.3-4].
            OutboundState::Published(_) if is_rejected => self.finish(position),
            OutboundState::Published(_) => {
                // The peer has the message. From here on it must not be resent [MQTT-4.3.3-6].
                exchange.state = OutboundState::Released;
                AckOutcome::SendPubrel
            }
            // The PUBREL was lost, or PUBREC was sent twice.
            OutboundState::Released => AckOutcome::SendPubrel,
        }
    }

    pub(crate) fn handle_pubcomp(&mut self, packet_identifier: PacketIdentifier) -> AckOutcome {
        let Some((position, exchange)) = self.exchanges.find_mut(packet_identifier) else {
            // No exchange of this run has the identifier, so that PUBCOMP may answer a PUBREL of `reclaim_identifiers`.
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

    /// Records that a new connection resumes this session. Everything must be resent.
    pub(crate) fn resume(&mut self) {
        self.in_flight = 0;
        for exchange in self.exchanges.iter_mut() {
            // The peer may have received the packet, but its acknowledgement is lost with the connection.
            exchange.is_sent = false;
        }
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.resume();
        }
    }

    /// Returns the next packet to resend, in the order in which the messages were first sent [MQTT-4.6.0-1].
    ///
    /// A PUBREL counts in the window but does not wait for room: the peer needs it to finish exchanges that occupy its
    /// own window.
    pub(crate) fn next_resend(&mut self, window: u16) -> Option<Resend> {
        // This connection has sent everything, which is the usual case after each acknowledgement.
        if self.in_flight == self.exchanges.len() {
            return None;
        }
        let room = self.in_flight < usize::from(window);
        let is_due = |exchange: &&mut OutboundExchange| {
            !exchange.is_sent && (room || matches!(exchange.state, OutboundState::Released))
        };
        let exchange = self.exchanges.iter_mut().find(is_due)?;
        // The exchange counts in the window from here on.
        exchange.is_sent = true;
        self.in_flight += 1;
        Some(match &exchange.state {
            OutboundState::Published(outbound) => {
                Resend::Publish(exchange.packet_identifier, outbound.clone())
            }
            OutboundState::Released => Resend::Pubrel(exchange.packet_identifier),
        })
    }

    /// Gives up a message of QoS 2, whose identifier stays in use. The caller must send PUBREL instead.
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
                OutboundState::Released => None, // The peer has the message since PUBREC.
            });
        published.collect()
    }

    /// Removes an exchange, whose identifier is free now.
    fn finish(&mut self, position: Position) -> AckOutcome {
        let removed = self.exchanges.remove(position);
        debug_assert!(removed.is_some(), "the position is that of an exchange");
        if removed.is_some_and(|exchange| exchange.is_sent) {
            self.in_flight -= 1;
        }
        AckOutcome::Finished
    }
}

#[cfg(test)]
mod tests {
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

    /// [MQTT-2.2.1-3, MQTT-2.2.1-4]
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

    /// [MQTT-4.4.0-1, MQTT-4.6.0-1]: order, identifiers, PUBREL instead of PUBLISH after PUBREC.
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

    /// [MQTT-4.6.0-1]: the order of the first sending, whatever the identifiers are.
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

    /// A step of the property test.
    #[derive(Debug, Clone)]
    enum Step {
        Send,
        Acknowledge(prop::sample::Index),
        /// As many messages are sent and acknowledged.
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
        /// Whatever order the acknowledgements come in, and however often the circle comes round, an
        /// identifier in use is found and not reused, and the order of sending stays.
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
                        // The last of these messages decides; the others leave nothing behind.
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
}
