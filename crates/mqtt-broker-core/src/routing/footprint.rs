//! The memory that a message takes while the broker keeps it: everything that stays alive with it, not its payload
//! alone. `max_queued_bytes` and `max_retained_bytes` count with it.

use mqtt_codec::{Message, MessageProperties, PublishRef};
use mqtt_session::OutboundMessage;

use crate::sessions::queue::Queued;
use crate::topics::order::TopicKey;
use crate::topics::retained::Retained;

/// A reference-counted allocation has two counts, and an allocator adds about as much.
const ALLOCATION: usize = 32;

/// Returns the bytes that a message keeps alive: topic name, payload, properties, and a fixed part.
pub(crate) fn of_publish(publish: &PublishRef<'_>) -> usize {
    FIXED + publish.topic_name.len() + publish.payload.len() + of_properties(publish)
}

/// A message with the allocations of itself, its topic name and its payload.
const FIXED: usize = size_of::<Message>() + 3 * ALLOCATION;

fn of_properties(publish: &PublishRef<'_>) -> usize {
    match publish.properties.stored_length() {
        0 => 0,
        bytes => bytes + size_of::<MessageProperties>() + 2 * ALLOCATION,
    }
}

/// Returns the bytes that a message costs in the queue of one client. A message that waits for many clients is in
/// memory once, and counts for each: the others may take theirs first.
pub(crate) fn of_outgoing(outgoing: &OutboundMessage) -> usize {
    let message = &*outgoing.message;
    let bytes = match message.properties {
        // Most messages have no properties, and this function runs for each copy of a message.
        None => FIXED + message.topic_name.len() + message.payload.len(),
        Some(_) => of_publish(&message.publish(mqtt_codec::Delivery::AtMostOnce)),
    };
    bytes + size_of::<Queued>() + size_of_val(outgoing.subscription_identifiers())
}

/// Returns the bytes that a retained message costs.
pub(crate) fn of_retained(publish: &PublishRef<'_>) -> usize {
    of_publish(publish) + size_of::<TopicKey>() + size_of::<Retained>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{Delivery, Property, QoS, TopicName};
    use std::sync::Arc;

    #[test]
    fn everything_that_stays_alive_counts() {
        let message = Message::new(TopicName::new("topic").unwrap(), "payload");
        let plain = of_publish(&message.publish(Delivery::AtMostOnce));
        assert!(plain > "topic".len() + "payload".len());
        let large = "x".repeat(1000);
        let properties = MessageProperties::new([
            Property::ContentType(&large),
            Property::ResponseTopic(&large),
            Property::CorrelationData(large.as_bytes()),
            Property::User(&large, &large),
        ])
        .unwrap();
        let message = Message {
            properties: Some(Box::new(properties)),
            ..message
        };
        let full = of_publish(&message.publish(Delivery::AtMostOnce));
        assert!(full > plain + 5000, "{full}");
        let mut outgoing = OutboundMessage::new(Arc::new(message), QoS::AtMostOnce);
        let before = of_outgoing(&outgoing);
        let identifiers = (1..=100)
            .filter_map(mqtt_codec::SubscriptionIdentifier::new)
            .collect();
        outgoing = outgoing.with_subscriptions(identifiers, None);
        assert_eq!(of_outgoing(&outgoing), before + 400);
    }
}
