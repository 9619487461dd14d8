//! [`Message`] is an owned application message. A program keeps a [`Message`] where the message must outlive the bytes
//! of its PUBLISH, for example in a queue.

use std::fmt;

use bytes::Bytes;

use crate::error::EncodeError;
use crate::property::publish_property::{Property, each, push};
use crate::topic::TopicName;

/// Application message (MQTT 5.0, 1.2). Clones share the topic name and the payload, and copy the properties.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The topic name.
    pub topic_name: TopicName,
    /// The content, which may be empty.
    pub payload: Bytes,
    /// In a message to a server: set if the server must retain the message for later subscribers. In a message from a
    /// server: set if the server sends a retained message.
    pub retain: bool,
    /// The properties, which only MQTT 5.0 transmits. The box keeps a message small: most messages have no properties,
    /// and many messages may wait in a queue.
    pub properties: Option<Box<MessageProperties>>,
}

/// Properties that belong to a message, in the order in which the application added them.
///
/// The properties are stored in their encoded form, because a broker forwards most of them without reading them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct MessageProperties {
    /// The encoded properties, each an identifier and a value. All of them have been validated.
    pub(crate) block: Vec<u8>,
    /// Position of the value of the Message Expiry Interval in `block`, or 0 if this property is absent. The broker
    /// must subtract the waiting time from this value [MQTT-3.3.2-6], so the position saves a search in each delivery.
    pub(crate) expiry_at: u32,
}

impl Message {
    /// Returns a message without properties that is not retained.
    pub fn new(topic_name: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic_name,
            payload: payload.into(),
            retain: false,
            properties: None,
        }
    }
}

impl MessageProperties {
    /// Returns the given properties in their order.
    ///
    /// # Errors
    /// Returns an error under the same conditions as [`Self::push`].
    pub fn new<'a>(
        properties: impl IntoIterator<Item = Property<'a>>,
    ) -> Result<Self, EncodeError> {
        let mut all = Self::default();
        for property in properties {
            all.push(property)?;
        }
        Ok(all)
    }

    /// Appends a property.
    ///
    /// # Errors
    /// Returns an error if the property is a duplicate of a property that may occur once, if the property belongs to a
    /// connection (topic alias, subscription identifier), or if its value is invalid. The properties are then
    /// unchanged.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        // These properties have a meaning on one connection only, and a message may outlive the connection.
        if !property.is_of_message() {
            return Err(EncodeError::Property);
        }
        // The value follows the property identifier, which has one byte.
        let value_at = self.block.len() + 1;
        push(&mut self.block, property)?;
        if let Property::MessageExpiryInterval(_) = property {
            self.expiry_at = u32::try_from(value_at).unwrap_or_default();
        }
        Ok(())
    }

    /// Returns the properties in the order in which they were added or received.
    pub fn iter(&self) -> impl Iterator<Item = Property<'_>> {
        each(&self.block)
    }

    /// Returns `true` if the message has no property.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Returns the number of bytes of the properties in a packet, without the length before them.
    pub fn encoded_length(&self) -> usize {
        self.block.len()
    }

    pub(crate) fn message_expiry_interval(&self) -> Option<u32> {
        let at = self.expiry_at as usize;
        let value = self.block.get(at..)?.first_chunk()?;
        // Position 0 stands for no interval: a property identifier always precedes a value, so no value is at position
        // 0.
        (at > 0).then(|| u32::from_be_bytes(*value))
    }
}

impl fmt::Debug for MessageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
