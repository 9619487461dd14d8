//! The application message, owned: for those who keep one longer than the bytes it came in.

use bytes::Bytes;

use crate::{Delivery, PublishPropertiesRef, PublishRef, TopicName};

/// An application message (MQTT 5.0, 1.2). Cheap to clone but for its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it goes.
    pub topic_name: TopicName,
    /// Its content; any bytes, perhaps none.
    pub payload: Bytes,
    /// Set if the server retains the message for later subscribers; in a message from a server, set if it was retained.
    pub retain: bool,
    /// Its properties, if it has any. Carried by MQTT 5.0 only.
    pub properties: Option<Box<MessageProperties>>,
}

/// The properties of a message that stay with it on its whole way, in the order in which its application gave them.
/// They are kept as they are on the wire: most are only passed on.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Identifiers and values, which are valid.
    pub(crate) block: Vec<u8>,
    /// Where the value of the Message Expiry Interval begins; 0 if there is none.
    pub(crate) expiry_at: u32,
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
    pub fn publish(&self, delivery: Delivery) -> PublishRef<'_> {
        PublishRef {
            delivery,
            retain: self.retain,
            topic_name: &self.topic_name,
            payload: &self.payload,
            properties: self
                .properties
                .as_deref()
                .map(PublishPropertiesRef::of_message)
                .unwrap_or_default(),
        }
    }
}
