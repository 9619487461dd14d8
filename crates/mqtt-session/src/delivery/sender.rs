//! The sender's half of QoS 1 and 2: the steps of each exchange until the peer has answered for its message, and
//! the order in which messages are resent. Which packet identifier is free is in `exchanges.rs`.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    Delivery, Message, PacketIdentifier, PublishRef, QoS, SubscriptionIdentifier,
    SubscriptionIdentifiers, TopicFilter,
};

use crate::delivery::exchanges::{Exchanges, OutboundExchange, OutboundState, Position};
use crate::delivery::reclaim::Reclaim;

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The message; shared, as it may go to many.
    pub message: Arc<Message>,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Fields that most deliveries do not have. Boxed, because a long queue has many deliveries.
    pub details: Option<Box<DeliveryDetails>>,
}

/// The parts of a delivery that only some have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryDetails {
    /// When it expires: the message expiry interval sent is the time left until then [MQTT-3.3.2-6]. `None` sends the
    /// interval of the message as it is.
    pub expires: Option<Instant>,
    /// The subscription identifiers that the receiver is told [MQTT-3.3.4-3].
    pub identifiers: Vec<SubscriptionIdentifier>,
    /// The whole filter of the shared subscription of which the receiver is the chosen member.
    pub share: Option<TopicFilter>,
}

impl OutboundMessage {
    /// The message as its application made it.
    pub fn new(message: Arc<Message>, qos: QoS) -> Self {
        let retain = message.retain;
        Self {
            message,
            qos,
            retain,
            details: None,
        }
    }

    /// Adds the subscription identifiers that the receiver is told, and the whole filter of the shared subscription of
    /// which the receiver is the chosen member. Server only.
    #[must_use]
    #[inline]
    pub fn with_subscriptions(
        mut self,
        identifiers: Vec<SubscriptionIdentifier>,
        share: Option<TopicFilter>,
    ) -> Self {
        if !identifiers.is_empty() || share.is_some() {
            let details = self.details.get_or_insert_default();
            (details.identifiers, details.share) = (identifiers, share);
        }
        self
    }

    /// Sets when it expires, if it does.
    #[must_use]
    #[inline]
    pub fn with_expiry(mut self, expires: Option<Instant>) -> Self {
        if expires.is_some() {
            self.details.get_or_insert_default().expires = expires;
        }
        self
    }

    /// Returns when it expires, if the server counts.
    #[inline]
    pub fn expires(&self) -> Option<Instant> {
        self.details.as_ref()?.expires
    }

    /// Returns the identifiers of the subscriptions that it is sent for. Server only.
    #[inline]
    pub fn subscription_identifiers(&self) -> &[SubscriptionIdentifier] {
        let details = self.details.as_deref();
        details.map_or(&[], |details| &details.identifiers)
    }

    /// Returns the whole filter of the shared subscription of which the receiver is the chosen member. Server only.
    #[inline]
    pub fn share(&self) -> Option<&TopicFilter> {
        self.details.as_ref()?.share.as_ref()
    }

    /// The packet of this delivery.
    pub(crate) fn publish(&self, delivery: Delivery, now: Instant) -> PublishRef<'_> {
        let mut publish = self.message.publish(delivery);
        publish.retain = self.retain;
        publish.properties.subscription_identifiers =
            SubscriptionIdentifiers::new(self.subscription_identifiers());
        if let Some(expires) = self.expires() {
            publish.properties.message_expiry_interval = Some(seconds_until(expires, now));
        }
        publish
    }

    /// Returns `true` if the message has expired. A message that was sent is completed even then [MQTT-4.3.3-7].
    pub fn has_expired(&self, now: Instant) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    pub(crate) fn delivery(&self, packet_identifier: PacketIdentifier, dup: bool) -> Delivery {
        match self.qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce {
                packet_identifier,
                dup,
            },
            QoS::ExactlyOnce => Delivery::ExactlyOnce {
                packet_identifier,
                dup,
            },
        }
    }
}

/// Returns the Message Expiry Interval of a message that expires at this time [MQTT-3.3.2-6]: the time left in seconds,
/// rounded up and at least 1. A receiver that is told 0 drops a message that it may still deliver, or keeps it for
/// ever, as mosquitto does.
pub fn seconds_until(expires: Instant, now: Instant) -> u32 {
    let left = expires.saturating_duration_since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

#[derive(Debug, Default)]
pub(crate) struct Sender {
    /// Oldest first.
    exchanges: Exchanges,
    /// How many of them were sent, or sent again, on this connection.
    in_flight: usize,
    /// Identifiers that the peer may hold from an earlier run. Boxed, as nearly all senders have none.
    reclaim: Option<Box<Reclaim>>,
}

/// What an acknowledgement means for the exchange it names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AckOutcome {
    /// The exchange is over and its identifier free.
    Finished,
    /// PUBREL is to be sent.
    Release,
    /// There is no such exchange.
    Unknown,
    /// The wrong packet for the QoS, or for this step.
    Wrong,
}

/// What has to be sent again after a break.
#[derive(Debug)]
pub(crate) enum Resend {
    Publish(PacketIdentifier, OutboundMessage),
    Pubrel(PacketIdentifier),
}

impl Sender {
    /// What was sent and not finished, oldest first; `None` for what was released.
    pub(crate) fn restore(
        sent: impl IntoIterator<Item = (PacketIdentifier, Option<OutboundMessage>)>,
    ) -> Self {
        let exchange =
            |(packet_identifier, outbound): (PacketIdentifier, Option<OutboundMessage>)| {
                OutboundExchange {
                    packet_identifier,
                    state: outbound.map_or(OutboundState::Released, OutboundState::Published),
                    sent: false,
                }
            };
        Self {
            exchanges: Exchanges::restore(sent.into_iter().map(exchange)),
            ..Self::default()
        }
    }

    /// A sender whose earlier exchanges are not known: the peer may hold any identifier.
    pub(crate) fn without_state() -> Self {
        Self {
            reclaim: Some(Box::default()),
            ..Self::default()
        }
    }

    pub(crate) fn exchanges(
        &self,
    ) -> impl Iterator<Item = (PacketIdentifier, Option<&OutboundMessage>)> {
        self.exchanges.iter().map(|exchange| {
            let outbound = match &exchange.state {
                OutboundState::Published(outbound) => Some(outbound),
                OutboundState::Released => None,
            };
            (exchange.packet_identifier, outbound)
        })
    }

    /// Iterates over the messages that the connection has sent and the peer has not accepted, oldest first.
    pub(crate) fn sent_by_last_connection(&self) -> impl Iterator<Item = &OutboundMessage> {
        let sent = self.exchanges.iter().filter(|exchange| exchange.sent);
        sent.filter_map(|exchange| match &exchange.state {
            OutboundState::Published(outbound) => Some(outbound),
            OutboundState::Released => None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether a window of this size has room for a new message. Old ones go first.
    pub(crate) fn has_room(&self, window: u16) -> bool {
        let old_are_sent = self.in_flight == self.exchanges.len();
        self.in_flight < usize::from(window) && old_are_sent
    }

    /// Returns `true` if an identifier is free, or if the next attempt to publish makes one free. `requested` of those
    /// for messages are in use for something else than messages.
    pub(crate) fn has_identifier(&self, requested: usize) -> bool {
        let held = match &self.reclaim {
            None => 0,
            Some(reclaim) if reclaim.is_due() => return true,
            Some(reclaim) => reclaim.held(),
        };
        self.exchanges.has_identifier(requested + held)
    }

    /// Returns the next identifier that is free. `is_requested` returns `true` for an identifier that is in use
    /// for something else than a message. `None` if all are in use, or may be held by the peer.
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

    /// Gives messages no identifier above `highest` from now on.
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

    /// Returns those identifiers; from now on their PUBCOMPs are due.
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

    /// The identifier that `next_identifier` gave is in use now.
    pub(crate) fn take_identifier(&mut self, packet_identifier: PacketIdentifier) {
        self.exchanges.take_identifier(packet_identifier);
    }

    /// A new message was sent.
    pub(crate) fn sent(&mut self, packet_identifier: PacketIdentifier, outbound: OutboundMessage) {
        self.take_identifier(packet_identifier);
        self.in_flight += 1;
        self.exchanges.push(OutboundExchange {
            packet_identifier,
            state: OutboundState::Published(outbound),
            sent: true,
        });
    }

    pub(crate) fn handle_puback(&mut self, packet_identifier: PacketIdentifier) -> AckOutcome {
        let Some(place) = self.exchanges.find(packet_identifier) else {
            return AckOutcome::Unknown;
        };
        match self
            .exchanges
            .get_mut(place)
            .map(|exchange| &exchange.state)
        {
            Some(OutboundState::Published(outbound)) if outbound.qos == QoS::AtLeastOnce => {
                self.finish(place)
            }
            _ => AckOutcome::Wrong,
        }
    }

    pub(crate) fn handle_pubrec(
        &mut self,
        packet_identifier: PacketIdentifier,
        refused: bool,
    ) -> AckOutcome {
        let Some(place) = self.exchanges.find(packet_identifier) else {
            return AckOutcome::Unknown;
        };
        let Some(exchange) = self.exchanges.get_mut(place) else {
            return AckOutcome::Unknown;
        };
        match &exchange.state {
            OutboundState::Published(outbound) if outbound.qos != QoS::ExactlyOnce => {
                AckOutcome::Wrong
            }
            OutboundState::Published(_) if refused => self.finish(place), // [MQTT-4.3.3-4]
            OutboundState::Published(_) => {
                // From here on the message must not be sent again [MQTT-4.3.3-6].
                exchange.state = OutboundState::Released;
                AckOutcome::Release
            }
            OutboundState::Released => AckOutcome::Release,
        }
    }

    pub(crate) fn handle_pubcomp(&mut self, packet_identifier: PacketIdentifier) -> AckOutcome {
        let Some(place) = self.exchanges.find(packet_identifier) else {
            if let Some(reclaim) = &mut self.reclaim {
                reclaim.handle_pubcomp(packet_identifier);
                if reclaim.is_over() {
                    self.reclaim = None;
                }
            }
            return AckOutcome::Unknown;
        };
        match self
            .exchanges
            .get_mut(place)
            .map(|exchange| &exchange.state)
        {
            Some(OutboundState::Released) => self.finish(place),
            _ => AckOutcome::Wrong,
        }
    }

    /// A new connection goes on with this session: everything has to be sent again.
    pub(crate) fn resume(&mut self) {
        self.in_flight = 0;
        for exchange in self.exchanges.iter_mut() {
            exchange.sent = false;
        }
        if let Some(reclaim) = &mut self.reclaim {
            reclaim.resume();
        }
    }

    /// The next thing to send again, in the order of the first time [MQTT-4.6.0-1]. A PUBREL never
    /// waits for room in the window.
    pub(crate) fn next_resend(&mut self, window: u16) -> Option<Resend> {
        if self.in_flight == self.exchanges.len() {
            return None;
        }
        let room = self.in_flight < usize::from(window);
        let is_due = |exchange: &&mut OutboundExchange| {
            !exchange.sent && (room || matches!(exchange.state, OutboundState::Released))
        };
        let exchange = self.exchanges.iter_mut().find(is_due)?;
        exchange.sent = true;
        self.in_flight += 1;
        Some(match &exchange.state {
            OutboundState::Published(outbound) => {
                Resend::Publish(exchange.packet_identifier, outbound.clone())
            }
            OutboundState::Released => Resend::Pubrel(exchange.packet_identifier),
        })
    }

    /// Gives up a message of QoS 2, but not its identifier: PUBREL is sent instead.
    pub(crate) fn release(&mut self, packet_identifier: PacketIdentifier) {
        let place = self.exchanges.find(packet_identifier);
        if let Some(exchange) = place.and_then(|place| self.exchanges.get_mut(place)) {
            exchange.state = OutboundState::Released;
        }
    }

    /// Gives up one exchange, as if the peer had finished it.
    pub(crate) fn drop_exchange(&mut self, packet_identifier: PacketIdentifier) {
        if let Some(place) = self.exchanges.find(packet_identifier) {
            self.finish(place);
        }
    }

    /// Ends the session: what the peer has not taken over, in order.
    pub(crate) fn take_unfinished(&mut self) -> Vec<OutboundMessage> {
        let exchanges = std::mem::take(self).exchanges;
        let published = exchanges
            .into_iter()
            .filter_map(|exchange| match exchange.state {
                OutboundState::Published(outbound) => Some(outbound),
                OutboundState::Released => None, // PUBREC said that it is the peer's
            });
        published.collect()
    }

    fn finish(&mut self, place: Position) -> AckOutcome {
        if self
            .exchanges
            .remove(place)
            .is_some_and(|exchange| exchange.sent)
        {
            self.in_flight -= 1;
        }
        AckOutcome::Finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::TopicName;
    use proptest::prelude::*;
    use std::time::Duration;

    fn outbound(qos: QoS) -> OutboundMessage {
        let message = Message::new(TopicName::new("t").unwrap(), "x");
        OutboundMessage::new(Arc::new(message), qos)
    }

    fn send(sender: &mut Sender, qos: QoS) -> Option<PacketIdentifier> {
        let identifier = sender.next_identifier(|_| false)?;
        sender.sent(identifier, outbound(qos));
        Some(identifier)
    }

    /// [MQTT-3.3.2-6]
    #[test]
    fn the_time_left_is_rounded_up_and_never_0() {
        let now = Instant::now();
        let left = |milliseconds| seconds_until(now + Duration::from_millis(milliseconds), now);
        assert_eq!([left(0), left(1), left(999), left(1000)], [1; 4]);
        assert_eq!([left(1001), left(2000), left(59_001)], [2, 2, 60]);
        assert_eq!(seconds_until(now, now + Duration::from_secs(9)), 1);
        assert_eq!(left(u64::from(u32::MAX) * 2000), u32::MAX);
    }

    /// [MQTT-2.2.1-3, MQTT-2.2.1-4]
    #[test]
    fn all_65535_identifiers_are_used_and_none_twice() {
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
    fn identifiers_of_requests_are_skipped() {
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
                sender.sent(identifier, outbound(QoS::AtLeastOnce));
                assert_eq!(sender.handle_puback(identifier), AckOutcome::Finished);
            }
        }
    }

    #[test]
    fn acknowledgements_of_the_wrong_kind_or_for_nothing_are_told_apart() {
        let mut sender = Sender::default();
        let one = send(&mut sender, QoS::AtLeastOnce).unwrap();
        let two = send(&mut sender, QoS::ExactlyOnce).unwrap();
        let unknown = PacketIdentifier::new(9).unwrap();
        assert_eq!(sender.handle_pubrec(one, false), AckOutcome::Wrong);
        assert_eq!(sender.handle_pubcomp(one), AckOutcome::Wrong);
        assert_eq!(sender.handle_puback(two), AckOutcome::Wrong);
        assert_eq!(sender.handle_pubcomp(two), AckOutcome::Wrong);
        assert_eq!(sender.handle_puback(unknown), AckOutcome::Unknown);
        assert_eq!(sender.handle_pubrec(unknown, false), AckOutcome::Unknown);
        assert_eq!(sender.handle_pubcomp(unknown), AckOutcome::Unknown);
        assert_eq!(sender.in_flight, 2);
        assert_eq!(sender.handle_pubrec(two, false), AckOutcome::Release);
        assert_eq!(sender.handle_pubrec(two, false), AckOutcome::Release);
        assert_eq!(sender.handle_pubcomp(two), AckOutcome::Finished);
        assert_eq!(sender.handle_puback(one), AckOutcome::Finished);
        assert_eq!(sender.in_flight, 0);
    }

    /// [MQTT-4.4.0-1, MQTT-4.6.0-1]: order, identifiers, PUBREL instead of PUBLISH after PUBREC.
    #[test]
    fn after_a_break_everything_open_is_sent_again_within_the_window() {
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
    fn an_exchange_that_is_never_finished_is_skipped_and_resent_first() {
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
        assert_eq!(sender.handle_pubrec(stuck[1], false), AckOutcome::Release);
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
