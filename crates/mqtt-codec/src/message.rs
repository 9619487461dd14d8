//! The application message, owned: for those who keep one longer than the bytes it came in.

use bytes::Bytes;

use crate::{Delivery, Publish, PublishProperties, TopicName, UserProperty};

/// An application message (MQTT 5.0, 1.2). Cheap to clone but for its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic_name: TopicName,
    /// Its content; any bytes, perhaps none.
    pub payload: Bytes,
    /// Whether the server keeps it for later subscribers; for one that came from a server, whether
    /// it was kept.
    pub retain: bool,
    /// Its properties, if it has any. Carried by MQTT 5.0 only.
    pub properties: Option<Box<MessageProperties>>,
}

/// The properties of a message that stay with it on its whole way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Whether the payload is text in UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// Seconds until it is no longer to be delivered.
    pub message_expiry_interval: Option<u32>,
    /// What the payload is; a MIME type by habit.
    pub content_type: Option<String>,
    /// Where an answer is expected.
    pub response_topic: Option<String>,
    /// What the answer has to repeat.
    pub correlation_data: Option<Bytes>,
    /// What the application added, in order.
    pub user_properties: Vec<UserProperty>,
}

impl Message {
    /// A message without properties that is not retained.
    pub fn new(topic_name: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic_name,
            payload: payload.into(),
            retain: false,
            properties: None,
        }
    }

    /// The message as the content of a packet.
    pub fn publish(&self, delivery: Delivery) -> Publish<'_> {
        Publish {
            delivery,
            retain: self.retain,
            topic_name: &self.topic_name,
            payload: &self.payload,
            properties: self
                .properties
                .as_deref()
                .map(PublishProperties::of_message)
                .unwrap_or_default(),
        }
    }
}

impl From<&PublishProperties<'_>> for MessageProperties {
    fn from(properties: &PublishProperties<'_>) -> Self {
        Self {
            payload_format_indicator: properties.payload_format_indicator(),
            message_expiry_interval: properties.message_expiry_interval,
            content_type: properties.content_type().map(str::to_owned),
            response_topic: properties.response_topic().map(str::to_owned),
            correlation_data: properties.correlation_data().map(Bytes::copy_from_slice),
            user_properties: properties
                .user_properties()
                .iter()
                .map(|(name, value)| UserProperty {
                    name: name.into(),
                    value: value.into(),
                })
                .collect(),
        }
    }
}
