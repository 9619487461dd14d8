//! [`OutboundMessage`]: a message for one receiver, with the options of its delivery.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    Delivery, Message, PacketIdentifier, PublishRef, QoS, SubscriptionIdentifier,
    SubscriptionIdentifiers, TopicFilter,
};

/// A message for one receiver, with the options of its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// Message, which all its receivers share.
    pub message: Arc<Message>,
    /// QoS of this delivery.
    pub qos: QoS,
    /// RETAIN flag of this delivery.
    pub retain: bool,
    /// Options that most deliveries do not have. Boxed, because a long queue has many deliveries.
    pub details: Option<Box<DeliveryDetails>>,
}

/// The options that only some deliveries have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryDetails {
    /// Time at which the message expires. The Message Expiry Interval is set to the remaining time [MQTT-3.3.2-6]. With
    /// `None`, the interval of the message is sent unchanged.
    pub expires: Option<Instant>,
    /// Identifiers of the matching subscriptions of the receiver [MQTT-3.3.4-3].
    pub identifiers: Vec<SubscriptionIdentifier>,
    /// Topic filter with `$share/NAME/` of the shared subscription that has chosen this receiver.
    pub share: Option<TopicFilter>,
}

impl OutboundMessage {
    /// Returns a delivery of the message with its own RETAIN flag.
    pub fn new(message: Arc<Message>, qos: QoS) -> Self {
        let retain = message.retain;
        Self {
            message,
            qos,
            retain,
            details: None,
        }
    }

    /// Adds the identifiers of the matching subscriptions of the receiver, and the topic filter of the shared
    /// subscription that has chosen it. Only a server uses both.
    #[must_use]
    #[inline]
    pub fn with_subscriptions(
        mut self,
        identifiers: Vec<SubscriptionIdentifier>,
        share: Option<TopicFilter>,
    ) -> Self {
        // No allocation for the many deliveries without options.
        if !identifiers.is_empty() || share.is_some() {
            let details = self.details.get_or_insert_default();
            (details.identifiers, details.share) = (identifiers, share);
        }
        self
    }

    /// Sets the time at which the message expires, if it does.
    #[must_use]
    #[inline]
    pub fn with_expiry(mut self, expires: Option<Instant>) -> Self {
        if expires.is_some() {
            self.details.get_or_insert_default().expires = expires;
        }
        self
    }

    /// Returns the time at which the message expires, or `None` if this end does not count it down.
    #[inline]
    pub fn expires(&self) -> Option<Instant> {
        self.details.as_ref()?.expires
    }

    /// Returns the identifiers of the matching subscriptions of the receiver.
    #[inline]
    pub fn subscription_identifiers(&self) -> &[SubscriptionIdentifier] {
        let details = self.details.as_deref();
        details.map_or(&[], |details| &details.identifiers)
    }

    /// Returns the topic filter with `$share/NAME/` of the shared subscription that has chosen this receiver.
    #[inline]
    pub fn share(&self) -> Option<&TopicFilter> {
        self.details.as_ref()?.share.as_ref()
    }

    /// Returns the packet of this delivery.
    pub(crate) fn publish(&self, delivery: Delivery, now: Instant) -> PublishRef<'_> {
        let mut publish = self.message.publish(delivery);
        // Retain As Published and retained messages decide the flag for each subscriber [MQTT-3.3.1-12].
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

    /// Returns QoS, packet identifier and DUP flag of the packet.
    #[inline]
    pub(crate) fn delivery(&self, packet_identifier: PacketIdentifier, dup: bool) -> Delivery {
        Delivery::new(self.qos, packet_identifier, dup)
    }
}

/// Returns the Message Expiry Interval of a message that expires at this time [MQTT-3.3.2-6]: the remaining time in
/// seconds, rounded up, and at least 1.
///
/// With an interval of 0, a receiver could drop a message that may still be delivered, or keep it forever as mosquitto
/// does.
pub fn seconds_until(expires: Instant, now: Instant) -> u32 {
    let left = expires.saturating_duration_since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// [MQTT-3.3.2-6]
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
