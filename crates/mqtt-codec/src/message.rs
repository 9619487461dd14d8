//! The application message, owned: for those who keep one longer than the bytes it came in.

use std::fmt;

use bytes::Bytes;

use crate::error::EncodeError;
use crate::field::LengthCounter;
use crate::property::publish_property::Property;
use crate::property::publish_property::each;
use crate::topic::TopicName;
use crate::topic::is_valid_name;

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
}

impl MessageProperties {
    /// Returns these properties, in this order.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn new<'a>(
        properties: impl IntoIterator<Item = Property<'a>>,
    ) -> Result<Self, EncodeError> {
        let mut all = Self::default();
        properties
            .into_iter()
            .try_for_each(|property| all.push(property))?;
        Ok(all)
    }

    /// Adds a property after the others.
    ///
    /// # Errors
    /// If a message has it already and may have it once only, if it does not stay with a message, or if its value is not
    /// valid. Then nothing is added.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        let is_user = matches!(property, Property::User(..));
        let is_same = |other: Property<'_>| other.identifier() == property.identifier();
        if !property.stays() || !is_user && self.iter().any(is_same) {
            return Err(EncodeError::Property);
        }
        if matches!(property, Property::ResponseTopic(topic) if !is_valid_name(topic)) {
            return Err(EncodeError::Property); // [MQTT-3.3.2-14]
        }
        let mut length = LengthCounter::default();
        property.write(&mut length);
        if length.refused {
            return Err(EncodeError::Field);
        }
        if let Property::MessageExpiryInterval(_) = property {
            self.expiry_at = u32::try_from(self.block.len() + 1).unwrap_or_default();
        }
        property.write(&mut self.block);
        Ok(())
    }

    /// Returns the properties in the order in which they were added, or came.
    pub fn iter(&self) -> impl Iterator<Item = Property<'_>> {
        each(&self.block)
    }

    /// Returns `true` if there is no property.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    pub(crate) fn message_expiry_interval(&self) -> Option<u32> {
        let at = self.expiry_at as usize;
        let value = self.block.get(at..)?.first_chunk()?;
        (at > 0).then(|| u32::from_be_bytes(*value))
    }
}

impl fmt::Debug for MessageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
