//! [`OutboundMessage`] is a message for one receiver, with the options of this delivery.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    Delivery, Message, PacketIdentifier, PublishRef, QoS, SubscriptionIdentifier,
    SubscriptionIdentifiers, TopicFilter,
};

/// Message for one receiver, with the options of this delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The message. All its receivers share one copy.
    pub message: Arc<Message>,
    /// QoS of this delivery.
    pub qos: QoS,
    /// RETAIN flag of this delivery.
    pub retain: bool,
    /// Options that most deliveries do not have. Boxed, because a long queue contains many deliveries.
    pub details: Option<Box<DeliveryDetails>>,
}

/// Options that only some deliveries have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryDetails {
    /// Time at which the message expires. With `Some`, the Message Expiry Interval of the PUBLISH is the time that
    /// remains when it is sent [MQTT-3.3.2-6]. With `None`, it is the interval of the message, unchanged.
    pub expires: Option<Instant>,
    /// Subscription identifiers of the receiver's matching subscriptions [MQTT-3.3.4-3].
    pub identifiers: Vec<SubscriptionIdentifier>,
    /// Topic filter, with `$share/NAME/`, of the shared subscription for which this receiver was chosen.
    pub share: Option<TopicFilter>,
}

impl OutboundMessage {
    /// Returns a delivery without options. Its RETAIN flag is that of the message.
    pub fn new(message: Arc<Message>, qos: QoS) -> Self {
        let retain = message.retain;
        Self {
            message,
            qos,
            retain,
            details: None,
        }
    }

    /// Adds the subscription identifiers of the receiver's matching subscriptions, and the topic filter of the shared
    /// subscription for which this receiver was chosen. A client sets neither of them.
    #[must_use]
    #[inline]
    pub fn with_subscriptions(
        mut self,
        identifiers: Vec<SubscriptionIdentifier>,
        share: Option<TopicFilter>,
    ) -> Self {
        // Most deliveries have no options and need no allocation.
        if !identifiers.is_empty() || share.is_some() {
            let details = self.details.get_or_insert_default();
            (details.identifiers, details.share) = (identifiers, share);
        }
        self
    }

    /// Sets the time at which the message expires. With `None`, the delivery is unchanged.
    #[must_use]
    #[inline]
    pub fn with_expiry(mut self, expires: Option<Instant>) -> Self {
        if expires.is_some() {
            self.details.get_or_insert_default().expires = expires;
        }
        self
    }

    /// Returns the time at which the message expires, or `None` if no time was set with [`Self::with_expiry`].
    #[inline]
    pub fn expires(&self) -> Option<Instant> {
        self.details.as_ref()?.expires
    }

    /// Returns the subscription identifiers of the receiver's matching subscriptions.
    #[inline]
    pub fn subscription_identifiers(&self) -> &[SubscriptionIdentifier] {
        let details = self.details.as_deref();
        details.map_or(&[], |details| &details.identifiers)
    }

    /// Returns the topic filter, with `$share/NAME/`, of the shared subscription for which this receiver was chosen.
    #[inline]
    pub fn share(&self) -> Option<&TopicFilter> {
        self.details.as_ref()?.share.as_ref()
    }

    /// Returns the PUBLISH of this delivery.
    pub(crate) fn publish(&self, delivery: Delivery, now: Instant) -> PublishRef<'_> {
        let mut publish = self.message.publish(delivery);
        // RETAIN may differ between subscribers: it depends on Retain As Published and on whether a retained message is
        // sent [MQTT-3.3.1-12].
        publish.retain = self.retain;
        publish.properties.subscription_identifiers =
            SubscriptionIdentifiers::new(self.subscription_identifiers());
        if let Some(expires) = self.expires() {
            publish.properties.message_expiry_interval = Some(seconds_until(expires, now));
        }
        publish
    }

    /// Returns `true` if the message has expired. An exchange that has started must be completed nevertheless
    /// [MQTT-4.3.3-7].
    pub fn has_expired(&self, now: Instant) -> bool {
        self.expires().is_some_and(|expires| expires <= now)
    }

    /// Returns the QoS, packet identifier and DUP flag of the PUBLISH.
    #[inline]
    pub(crate) fn delivery(&self, packet_identifier: PacketIdentifier, dup: bool) -> Delivery {
        Delivery::new(self.qos, packet_identifier, dup)
    }
}

/// Returns the remaining time until `expires` as a Message Expiry Interval [MQTT-3.3.2-6]: in seconds, rounded up, and
/// at least 1.
///
/// The interval is never 0. With 0, a receiver could drop a message that may still be delivered, or could keep the
/// message without a limit, as mosquitto does.
pub fn seconds_until(expires: Instant, now: Instant) -> u32 {
    let left = expires.saturating_duration_since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mqtt_codec::TopicName;

    use super::*;

    fn outbound() -> OutboundMessage {
        let message = Message::new(TopicName::new("t").unwrap(), "x");
        OutboundMessage::new(Arc::new(message), QoS::AtLeastOnce)
    }

    #[test]
    fn delivery_without_options_needs_no_allocation() {
        let outbound = outbound()
            .with_subscriptions(Vec::new(), None)
            .with_expiry(None);
        assert_eq!(outbound.details, None);
        assert!(outbound.subscription_identifiers().is_empty());
        assert_eq!((outbound.share(), outbound.expires()), (None, None));
        assert!(!outbound.has_expired(Instant::now()));
    }

    #[test]
    fn delivery_has_the_identifiers_and_the_share_of_its_subscriptions() {
        let identifier = SubscriptionIdentifier::new(7).unwrap();
        let share = TopicFilter::new("$share/g/t").unwrap();
        let of_both = outbound().with_subscriptions(vec![identifier], Some(share.clone()));
        assert_eq!(of_both.subscription_identifiers(), [identifier]);
        assert_eq!(of_both.share(), Some(&share));
        let of_share = outbound().with_subscriptions(Vec::new(), Some(share.clone()));
        assert_eq!(of_share.share(), Some(&share));
        let of_identifier = outbound().with_subscriptions(vec![identifier], None);
        assert_eq!(of_identifier.subscription_identifiers(), [identifier]);
    }

    #[test]
    fn message_expires_at_its_time() {
        let now = Instant::now();
        let expires = now + Duration::from_secs(5);
        let outbound = outbound().with_expiry(Some(expires));
        assert_eq!(outbound.expires(), Some(expires));
        assert!(!outbound.has_expired(now));
        assert!(outbound.has_expired(expires));
        assert!(outbound.has_expired(expires + Duration::from_secs(1)));
    }

    /// The forwarded interval is the remaining time [MQTT-3.3.2-6].
    #[test]
    fn rounds_the_remaining_time_up_and_never_to_0() {
        let now = Instant::now();
        let left = |milliseconds| seconds_until(now + Duration::from_millis(milliseconds), now);
        assert_eq!([left(0), left(1), left(999), left(1000)], [1; 4]);
        assert_eq!([left(1001), left(2000), left(59_001)], [2, 2, 60]);
        assert_eq!(seconds_until(now, now + Duration::from_secs(9)), 1);
        assert_eq!(left(u64::from(u32::MAX) * 2000), u32::MAX);
    }
}
