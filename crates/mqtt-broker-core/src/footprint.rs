//! Computes the memory that a message takes in a queue or as a retained message: payload, topic name, properties and
//! the fixed cost of their allocations. `max_queued_bytes` and `max_retained_bytes` limit these numbers. If they
//! limited payloads alone, messages with large properties and topic names would take unlimited memory.

use mqtt_codec::{Message, MessageProperties, PublishRef};
use mqtt_session::OutboundMessage;

/// The cost of one allocation beside its content: the two counts of an `Arc`, and about as much for the allocator.
const ALLOCATION: usize = 32;

/// Returns the bytes of memory that the owned form of this message takes.
pub(crate) fn of_publish(publish: &PublishRef<'_>) -> usize {
    FIXED + publish.topic_name.len() + publish.payload.len() + of_properties(publish)
}

/// The size of a `Message`, and the three allocations of the message, its topic name and its payload.
const FIXED: usize = size_of::<Message>() + 3 * ALLOCATION;

/// Returns the bytes of memory that the properties take, in their two allocations.
fn of_properties(publish: &PublishRef<'_>) -> usize {
    match publish.properties.stored_length() {
        0 => 0,
        bytes => bytes + size_of::<MessageProperties>() + 2 * ALLOCATION,
    }
}

/// Returns the bytes of memory that a message for one client takes, with its subscription identifiers.
pub(crate) fn of_outgoing(outgoing: &OutboundMessage) -> usize {
    let message = &*outgoing.message;
    let bytes = match message.properties {
        // Most messages have no properties. They take this shorter path, because the function is called for each copy.
        None => FIXED + message.topic_name.len() + message.payload.len(),
        Some(_) => of_publish(&message.publish(mqtt_codec::Delivery::AtMostOnce)),
    };
    bytes + size_of_val(outgoing.subscription_identifiers())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{Delivery, Property, QoS, TopicName};
    use std::sync::Arc;

    #[test]
    fn footprint_includes_properties_and_subscriptions() {
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
