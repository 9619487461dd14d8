//! [`Message`]: an application message, owned, for those who keep it longer than the bytes of its packet.

use std::fmt;

use bytes::Bytes;

use crate::error::EncodeError;
use crate::property::publish_property::{Property, each, push};
use crate::topic::TopicName;

/// An application message (MQTT 5.0, 1.2). Clones share topic name and payload, and copy the properties.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The topic name.
    pub topic_name: TopicName,
    /// The content: any bytes, or none.
    pub payload: Bytes,
    /// Set if the server must retain the message for later subscribers. In a message from a server, set if the server
    /// had retained it.
    pub retain: bool,
    /// Properties, which only MQTT 5.0 transmits. Boxed, because most messages have none and many may wait in a queue.
    pub properties: Option<Box<MessageProperties>>,
}

/// The properties that are part of a message, in the order in which the application added them.
///
/// They are stored in their encoded form, because a broker forwards most of them unread.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct MessageProperties {
    /// Identifiers and values, which were validated.
    pub(crate) block: Vec<u8>,
    /// Position of the value of the Message Expiry Interval, or 0 if there is none.
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
    /// Returns properties in the given order.
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
    /// Returns an error if the message has the property already and it may occur once only, if the property is not part
    /// of a message (topic alias, subscription identifier), or if the value is invalid. Then nothing is appended.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        // These properties have a meaning for one connection only, and a message may outlive it.
        if !property.is_of_message() {
            return Err(EncodeError::Property);
        }
        // The value follows the identifier, which has one byte.
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

    /// Returns `true` if there are no properties.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    pub(crate) fn message_expiry_interval(&self) -> Option<u32> {
        let at = self.expiry_at as usize;
        let value = self.block.get(at..)?.first_chunk()?;
        // The identifier is before the value, so that position 0 stands for no interval.
        (at > 0).then(|| u32::from_be_bytes(*value))
    }
}

impl fmt::Debug for MessageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
