//! Properties of PUBLISH (MQTT 5.0, 3.3.2.3), borrowed and owned.
//!
//! The properties stay in their encoded form. They are validated once: when the packet is decoded, or when the
//! application adds them. A broker forwards most properties without reading them, so decoding each of them into a field
//! would cost time and make each packet larger. The encoded form also preserves the order of the user properties, as
//! the standard requires [MQTT-3.3.2-18].

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::error::{DecodeError, EncodeError};
use crate::field::{FieldReader, FieldWriter, LengthCounter};
use crate::message::MessageProperties;
use crate::property::publish_property::{Property, each, push};
use crate::property::repeated::{SubscriptionIdentifiers, UserProperties};
use crate::property::topic_alias::TopicAlias;
use crate::protocol::Role;

/// Properties of PUBLISH, borrowed. The public fields take precedence over the values in the encoded form.
#[derive(Clone, Copy, Default)]
pub struct PublishPropertiesRef<'a> {
    block: Block<'a>,
    /// Lifetime of the message in seconds.
    pub message_expiry_interval: Option<u32>,
    /// Number that replaces the topic name. It is valid on this connection in this direction.
    pub topic_alias: Option<TopicAlias>,
    /// Identifiers of the subscriptions that match the message. Only a server may send them [MQTT-3.3.4-6].
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
}

/// Encoded properties that have been validated.
#[derive(Clone, Copy, Default)]
struct Block<'a> {
    /// The properties, each an identifier and a value.
    bytes: &'a [u8],
    /// Position of the value of the Message Expiry Interval in `bytes`, or 0 if this property is absent.
    expiry_at: u32,
    /// Set if `bytes` contains a topic alias or a subscription identifier. Both belong to the connection, not to the
    /// message.
    has_connection_properties: bool,
}

impl From<&PublishPropertiesRef<'_>> for MessageProperties {
    fn from(properties: &PublishPropertiesRef<'_>) -> Self {
        let Block {
            expiry_at,
            has_connection_properties,
            ..
        } = properties.block;
        // The capacity is exact, because a retained message may stay in memory for a long time.
        let mut block = Vec::with_capacity(properties.stored_length());
        properties.write_message_properties(&mut block);
        // If the block was copied whole, the interval is at the same position in the copy.
        let is_unchanged = !has_connection_properties && expiry_at > 0;
        let expiry_at = match properties.message_expiry_interval {
            None => 0,
            Some(_) if is_unchanged => expiry_at,
            Some(_) => find_expiry(&block),
        };
        Self { block, expiry_at }
    }
}

/// Returns the position of the value of the Message Expiry Interval in `block`, or 0 if this property is absent.
fn find_expiry(block: &[u8]) -> u32 {
    let mut length = LengthCounter::default();
    for property in each(block) {
        if let Property::MessageExpiryInterval(_) = property {
            // The value follows the property identifier, which has one byte.
            return u32::try_from(length.bytes + 1).unwrap_or_default();
        }
        property.write(&mut length);
    }
    0
}

impl<'a> PublishPropertiesRef<'a> {
    /// Returns `true` if the message certainly has no properties. `false` is possible for a PUBLISH whose properties
    /// all belong to the connection, because this function does not read each property.
    #[inline]
    pub(crate) fn has_no_message_properties(&self) -> bool {
        self.block.bytes.is_empty() && self.message_expiry_interval.is_none()
    }

    /// Returns the properties of a message in their borrowed form.
    pub(crate) fn of_message(properties: &'a MessageProperties) -> Self {
        Self {
            block: Block {
                bytes: &properties.block,
                expiry_at: properties.expiry_at,
                has_connection_properties: false,
            },
            message_expiry_interval: properties.message_expiry_interval(),
            topic_alias: None,
            subscription_identifiers: SubscriptionIdentifiers::default(),
        }
    }

    /// Returns `true` if the PUBLISH has no properties.
    pub fn are_absent(&self) -> bool {
        self.has_no_message_properties()
            && self.topic_alias.is_none()
            && self.subscription_identifiers.is_empty()
    }

    /// Returns the properties in the order in which they are encoded.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let Self {
            block,
            message_expiry_interval: expiry,
            topic_alias: alias,
            subscription_identifiers: subscriptions,
        } = *self;
        let in_block = each(block.bytes).filter_map(move |property| match property {
            // The public fields take precedence over the values in the block.
            Property::MessageExpiryInterval(_) => expiry.map(Property::MessageExpiryInterval),
            Property::TopicAlias(_) => alias.map(Property::TopicAlias),
            Property::SubscriptionIdentifier(_) if !subscriptions.are_in_block() => None,
            property => Some(property),
        });
        let mut has_alias = false;
        if block.has_connection_properties {
            has_alias =
                each(block.bytes).any(|property| matches!(property, Property::TopicAlias(_)));
        }
        // The properties that the sender has added precede the block. The block keeps its order.
        let before = subscriptions.listed().map(Property::SubscriptionIdentifier);
        // If the block has an interval, `in_block` returns the new value at the position of the old one.
        let expiry = expiry.filter(|_| block.expiry_at == 0);
        let alias = alias.filter(|_| !has_alias);
        before
            .chain(alias.map(Property::TopicAlias))
            .chain(in_block)
            .chain(expiry.map(Property::MessageExpiryInterval))
    }

    /// Returns the Payload Format Indicator: `true` if the payload is UTF-8 text.
    pub fn payload_format_indicator(&self) -> Option<bool> {
        self.find(|property| match property {
            Property::PayloadFormatIndicator(flag) => Some(flag),
            _ => None,
        })
    }

    /// Returns the Content Type, usually a MIME type.
    pub fn content_type(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ContentType(text) => Some(text),
            _ => None,
        })
    }

    /// Returns the Response Topic, the topic name for a response.
    pub fn response_topic(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ResponseTopic(topic_name) => Some(topic_name),
            _ => None,
        })
    }

    /// Returns the Correlation Data, which the sender of a response must copy into the response.
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.find(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    /// Returns the user properties.
    pub fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::in_block(self.block.bytes)
    }

    /// Returns the size in bytes of the message's properties in their encoded form.
    pub fn stored_length(&self) -> usize {
        let mut length = LengthCounter::default();
        self.write_message_properties(&mut length);
        length.bytes
    }

    fn find<T>(&self, value: impl FnMut(Property<'a>) -> Option<T>) -> Option<T> {
        each(self.block.bytes).find_map(value)
    }

    #[inline]
    pub(crate) fn decode(reader: &mut FieldReader<'a>, sender: Role) -> Result<Self, DecodeError> {
        let length = reader.variable_byte_integer()?;
        // Most messages have no properties.
        if length == 0 {
            return Ok(Self::default());
        }
        Self::decode_block(reader.bytes(length as usize)?, sender)
    }

    fn decode_block(all: &'a [u8], sender: Role) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        properties.block.bytes = all;
        let (mut block, mut seen) = (FieldReader::new(all), 0_u64);
        while !block.is_empty() {
            let identifier = block.variable_byte_integer()?;
            let property = Property::read(identifier, &mut block)?;
            match property {
                // User properties may occur any number of times (MQTT 5.0, 3.3.2.3.7).
                Property::User(..) => continue,
                Property::SubscriptionIdentifier(_) if sender == Role::Client => {
                    // A client must not send subscription identifiers [MQTT-3.3.4-6].
                    return Err(DecodeError::PropertyValue);
                }
                Property::SubscriptionIdentifier(_) => {
                    properties.block.has_connection_properties = true;
                    properties.subscription_identifiers = SubscriptionIdentifiers::in_block(all);
                    continue;
                }
                Property::MessageExpiryInterval(seconds) => {
                    let end = all.len() - block.rest().len();
                    // The cast cannot overflow, because a packet has at most 256 MiB.
                    properties.block.expiry_at = (end - size_of::<u32>()) as u32;
                    properties.message_expiry_interval = Some(seconds);
                }
                Property::TopicAlias(alias) => {
                    properties.block.has_connection_properties = true;
                    properties.topic_alias = Some(alias);
                }
                _ => {}
            }
            // All defined property identifiers are below 64. One bit for each of them finds duplicates without an
            // allocation.
            let bit = 1_u64 << (identifier % 64);
            if seen & bit != 0 {
                return Err(DecodeError::DuplicateProperty);
            }
            seen |= bit;
        }
        Ok(properties)
    }

    #[inline]
    pub(crate) fn encode(&self, out: &mut impl FieldWriter) {
        let mut length = LengthCounter::default();
        self.write(&mut length);
        if length.has_rejected {
            out.reject();
        }
        out.put_variable_byte_integer(u32::try_from(length.bytes).unwrap_or(u32::MAX));
        out.put_measured(length.bytes, |out| self.write(out));
    }

    #[inline]
    fn write(&self, out: &mut impl FieldWriter) {
        // A topic alias or a subscription identifier may be anywhere in the block, so the block cannot be copied whole.
        if self.block.has_connection_properties {
            return self.iter().for_each(|property| property.write(out));
        }
        // A broker that forwards a message takes this path, because the properties of a stored message contain none of
        // the publisher's connection.
        for subscription in self.subscription_identifiers.listed() {
            Property::SubscriptionIdentifier(subscription).write(out);
        }
        if let Some(alias) = self.topic_alias {
            Property::TopicAlias(alias).write(out);
        }
        self.write_message_properties(out);
    }

    /// Writes the properties of the message. A block without properties of the connection is copied in two parts,
    /// before and after the Message Expiry Interval. The interval is written from the public field, because a server
    /// must subtract the time for which the message has waited [MQTT-3.3.2-6].
    #[inline]
    fn write_message_properties(&self, out: &mut impl FieldWriter) {
        let Block {
            bytes,
            expiry_at,
            has_connection_properties,
        } = self.block;
        if has_connection_properties {
            let of_message = self.iter().filter(Property::is_of_message);
            return of_message.for_each(|property| property.write(out));
        }
        // `expiry_at` is the position of the value. The property identifier is one byte before.
        let around = (expiry_at as usize)
            .checked_sub(1)
            .and_then(|at| bytes.split_at_checked(at));
        let (before, after) = match around {
            Some((before, rest)) => (before, rest.get(1 + size_of::<u32>()..).unwrap_or_default()),
            None => (bytes, &[][..]),
        };
        out.put(before);
        if let Some(seconds) = self.message_expiry_interval {
            Property::MessageExpiryInterval(seconds).write(out);
        }
        out.put(after);
    }
}

impl PartialEq for PublishPropertiesRef<'_> {
    // Two PUBLISH packets with the same properties are equal, even if a value is in the block of one and in a field of
    // the other.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for PublishPropertiesRef<'_> {}

impl Hash for PublishPropertiesRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|property| property.hash(state));
    }
}

impl fmt::Debug for PublishPropertiesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Properties of PUBLISH, owned.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct PublishProperties {
    /// The encoded properties, each an identifier and a value. All of them have been validated.
    block: Vec<u8>,
}

impl PublishProperties {
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
    /// Returns an error if the property is a duplicate of a property that may occur once, or if its value is invalid.
    /// The properties are then unchanged.
    pub fn push(&mut self, property: Property<'_>) -> Result<(), EncodeError> {
        push(&mut self.block, property)
    }

    /// Returns the properties in the order in which they were added or received.
    pub fn iter(&self) -> impl Iterator<Item = Property<'_>> {
        each(&self.block)
    }

    /// Returns `true` if the packet has no properties.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Returns the properties in their borrowed form.
    pub fn borrowed(&self) -> PublishPropertiesRef<'_> {
        // Only a server may send subscription identifiers, so the check for a server accepts all properties.
        let properties = PublishPropertiesRef::decode_block(&self.block, Role::Server);
        debug_assert!(properties.is_ok(), "the block was validated");
        properties.unwrap_or_default()
    }
}

impl From<&PublishPropertiesRef<'_>> for PublishProperties {
    fn from(properties: &PublishPropertiesRef<'_>) -> Self {
        let mut block = Vec::new();
        properties.write(&mut block);
        Self { block }
    }
}

impl fmt::Debug for PublishProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
