//! [`Routed`]: a message that is being routed. [`DeliveryOptions`]: the QoS, RETAIN and subscription identifiers with
//! which one client receives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{Delivery, Message, PublishRef, QoS, TopicFilter};

use crate::topics::subscriptions::Subscriber;

/// A message that is being routed. `publish` borrows the bytes of the publisher. The owned form is made once, when the
/// message is first added to a queue or to the retained messages.
pub(crate) struct Routed<'a> {
    pub(crate) publish: PublishRef<'a>,
    pub(crate) expires: Option<Instant>,
    owned: Option<Arc<Message>>,
    /// The owned form without the mount point of the last client that has a mount point. The next client with the same
    /// mount point shares this form.
    pub(crate) unmounted: Option<Arc<Message>>,
}

impl<'a> Routed<'a> {
    pub(crate) fn new(mut publish: PublishRef<'a>, now: Instant) -> Self {
        let interval = publish.properties.message_expiry_interval;
        // A message with interval 0 is delivered to connected subscribers with interval 1, like every message in its
        // last second.
        publish.properties.message_expiry_interval = interval.map(|seconds| seconds.max(1));
        let expires = interval.map(|seconds| now + Duration::from_secs(seconds.into()));
        Self {
            publish,
            expires,
            owned: None,
            unmounted: None,
        }
    }

    /// Makes a `Routed` from a message whose owned form already exists.
    pub(crate) fn from_message(
        message: &'a Arc<Message>,
        delivery: Delivery,
        expires: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            expires,
            owned: Some(Arc::clone(message)),
            ..Self::new(message.publish(delivery), now)
        }
    }

    /// Returns the owned form of the message. Returns `None` for a message without a topic name, which is never routed.
    pub(crate) fn owned(&mut self) -> Option<Arc<Message>> {
        if self.owned.is_none() {
            self.owned = self.publish.to_message().ok().map(Arc::new);
        }
        self.owned.clone()
    }
}

/// The parts of a PUBLISH that differ between the subscribers of a message.
pub(crate) struct DeliveryOptions {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: Vec<mqtt_codec::SubscriptionIdentifier>,
    /// The shared subscription through which the client receives the message, if it is one.
    pub(crate) share: Option<TopicFilter>,
}

impl DeliveryOptions {
    /// Returns the options for the matching subscriptions of one client, which must not be empty.
    #[inline(always)] // called for each delivery
    pub(crate) fn new(
        of_client: &[Subscriber],
        publish: &PublishRef<'_>,
        upgrade_qos: bool,
    ) -> Self {
        let [Subscriber { state, .. }] = of_client else {
            return Self::of_overlapping(of_client, publish, upgrade_qos);
        };
        let granted = state.options.qos;
        Self {
            qos: effective_qos(granted, publish, upgrade_qos),
            retain: publish.retain && state.options.retain_as_published, // [MQTT-3.3.1-12, MQTT-3.3.1-13]
            subscription_identifiers: match state.identifier {
                None => Vec::new(),
                Some(identifier) => vec![identifier],
            },
            share: None,
        }
    }

    /// Returns the options of a single delivery for several subscriptions of one client: the highest QoS
    /// [MQTT-3.3.4-2], and all subscription identifiers [MQTT-3.3.4-4].
    fn of_overlapping(
        of_client: &[Subscriber],
        publish: &PublishRef<'_>,
        upgrade_qos: bool,
    ) -> Self {
        let options = of_client.iter().map(|subscriber| subscriber.state.options);
        let highest = options
            .clone()
            .map(|options| options.qos)
            .max()
            .unwrap_or_default();
        let keep_retain = options.clone().any(|options| options.retain_as_published);
        let identifiers = of_client
            .iter()
            .filter_map(|subscriber| subscriber.state.identifier);
        // Each identifier is sent once. A client has at most 1024 different identifiers, which bounds the size of the
        // packet even if thousands of its subscriptions match.
        let mut subscription_identifiers: Vec<_> = identifiers.collect();
        if subscription_identifiers.len() > 1 {
            subscription_identifiers.sort_unstable();
            subscription_identifiers.dedup();
        }
        Self {
            qos: effective_qos(highest, publish, upgrade_qos),
            retain: publish.retain && keep_retain, // [MQTT-3.3.1-12, MQTT-3.3.1-13]
            subscription_identifiers,
            share: None,
        }
    }

    /// Returns the options with the shared subscription that the delivery belongs to.
    pub(crate) fn of_share(self, share: TopicFilter) -> Self {
        Self {
            share: Some(share),
            ..self
        }
    }
}

/// Returns the QoS of a delivery: the lower one of the granted QoS and the QoS of the message, or the granted QoS if
/// `upgrade_outgoing_qos` is set.
fn effective_qos(granted: QoS, publish: &PublishRef<'_>, upgrade_qos: bool) -> QoS {
    if upgrade_qos {
        granted
    } else {
        granted.min(publish.delivery.qos()) // [MQTT-3.8.4-8]
    }
}
