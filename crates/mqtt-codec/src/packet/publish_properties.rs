//! The properties of PUBLISH (MQTT 5.0, 3.3.2.3). They are checked once, when the packet comes or when an application
//! adds them, and stay in their bytes until they are asked for: most are only passed on, a packet that is passed around
//! is small, and their order is that of the sender.

use std::fmt;

use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter, LengthCounter};
use crate::message::MessageProperties;
use crate::property::publish_property::{Property, each};
use crate::property::repeated::Repeated;
use crate::property::repeated::{SubscriptionIdentifiers, UserProperties};
use crate::property::topic_alias::TopicAlias;
use crate::protocol::Role;

/// The properties of PUBLISH, borrowed.
#[derive(Clone, Copy, Default)]
pub struct PublishPropertiesRef<'a> {
    block: Block<'a>,
    /// Seconds until it is no longer to be delivered.
    pub message_expiry_interval: Option<u32>,
    /// A number for the topic name, for this connection and direction.
    pub topic_alias: Option<TopicAlias>,
    /// The subscriptions it was sent for. Server only.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
}

/// Identifiers and values as on the wire, which are valid.
#[derive(Clone, Copy, Default)]
struct Block<'a> {
    bytes: &'a [u8],
    /// Where the value of the Message Expiry Interval begins; 0 if there is none.
    expiry_at: u32,
    /// Set if it has a topic alias or subscription identifiers, which do not stay with the message.
    has_of_connection: bool,
}

impl From<&PublishPropertiesRef<'_>> for MessageProperties {
    fn from(properties: &PublishPropertiesRef<'_>) -> Self {
        let Block {
            expiry_at,
            has_of_connection,
            ..
        } = properties.block;
        let mut block = Vec::with_capacity(properties.stored_length());
        properties.write_those_that_stay(&mut block);
        let is_unchanged = !has_of_connection && expiry_at > 0;
        let expiry_at = match properties.message_expiry_interval {
            None => 0,
            Some(_) if is_unchanged => expiry_at,
            Some(_) => find_expiry(&block),
        };
        Self { block, expiry_at }
    }
}

/// Returns the position of the value of the Message Expiry Interval; 0 if there is none.
fn find_expiry(block: &[u8]) -> u32 {
    let mut length = LengthCounter::default();
    for property in each(block) {
        if let Property::MessageExpiryInterval(_) = property {
            return u32::try_from(length.bytes + 1).unwrap_or_default();
        }
        property.write(&mut length);
    }
    0
}

impl<'a> PublishPropertiesRef<'a> {
    /// Returns `true` if there is surely no property that stays with the message, without a look at each.
    #[inline]
    pub(crate) fn stay_empty(&self) -> bool {
        self.block.bytes.is_empty() && self.message_expiry_interval.is_none()
    }

    /// Those of a message.
    pub(crate) fn of_message(properties: &'a MessageProperties) -> Self {
        Self {
            block: Block {
                bytes: &properties.block,
                expiry_at: properties.expiry_at,
                has_of_connection: false,
            },
            message_expiry_interval: properties.message_expiry_interval(),
            topic_alias: None,
            subscription_identifiers: SubscriptionIdentifiers::default(),
        }
    }

    /// Returns `true` if there is no property.
    pub fn are_absent(&self) -> bool {
        self.stay_empty() && self.topic_alias.is_none() && self.subscription_identifiers.is_empty()
    }

    /// Returns the properties in the order in which they came, or are sent.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let Self {
            block,
            message_expiry_interval: expiry,
            topic_alias: alias,
            subscription_identifiers: subscriptions,
        } = *self;
        let in_block = each(block.bytes).filter_map(move |property| match property {
            Property::MessageExpiryInterval(_) => expiry.map(Property::MessageExpiryInterval),
            Property::TopicAlias(_) => alias.map(Property::TopicAlias),
            Property::SubscriptionIdentifier(_) if !subscriptions.are_of_packet() => None,
            property => Some(property),
        });
        let mut has_alias = false;
        if block.has_of_connection {
            has_alias =
                each(block.bytes).any(|property| matches!(property, Property::TopicAlias(_)));
        }
        let before = subscriptions.listed().map(Property::SubscriptionIdentifier);
        let expiry = expiry.filter(|_| block.expiry_at == 0);
        let alias = alias.filter(|_| !has_alias);
        before
            .chain(alias.map(Property::TopicAlias))
            .chain(in_block)
            .chain(expiry.map(Property::MessageExpiryInterval))
    }

    /// Returns `true` if the payload is text in UTF-8.
    pub fn payload_format_indicator(&self) -> Option<bool> {
        self.find(|property| match property {
            Property::PayloadFormatIndicator(flag) => Some(flag),
            _ => None,
        })
    }

    /// Returns the content type of the payload, usually a MIME type.
    pub fn content_type(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ContentType(text) => Some(text),
            _ => None,
        })
    }

    /// Where an answer is expected.
    pub fn response_topic(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ResponseTopic(topic_name) => Some(topic_name),
            _ => None,
        })
    }

    /// Returns the correlation data, which the response must repeat.
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.find(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    /// Returns the user properties.
    pub fn user_properties(&self) -> UserProperties<'a> {
        Repeated::in_block(self.block.bytes)
    }

    /// Returns the number of bytes that the properties take that stay with the message.
    pub fn stored_length(&self) -> usize {
        let mut length = LengthCounter::default();
        self.write_those_that_stay(&mut length);
        length.bytes
    }

    fn find<T>(&self, value: impl FnMut(Property<'a>) -> Option<T>) -> Option<T> {
        each(self.block.bytes).find_map(value)
    }

    #[inline]
    pub(crate) fn decode(reader: &mut FieldReader<'a>, sender: Role) -> Result<Self, DecodeError> {
        let length = reader.variable_byte_integer()?;
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
                Property::User(..) => continue, // any number of times
                Property::SubscriptionIdentifier(_) if sender == Role::Client => {
                    return Err(DecodeError::PropertyValue); // [MQTT-3.3.4-6]
                }
                Property::SubscriptionIdentifier(_) => {
                    properties.block.has_of_connection = true;
                    properties.subscription_identifiers = Repeated::in_block(all);
                    continue;
                }
                Property::MessageExpiryInterval(seconds) => {
                    let end = all.len() - block.rest().len();
                    // Fits: a packet has at most 256 MB.
                    properties.block.expiry_at = (end - size_of::<u32>()) as u32;
                    properties.message_expiry_interval = Some(seconds);
                }
                Property::TopicAlias(alias) => {
                    properties.block.has_of_connection = true;
                    properties.topic_alias = Some(alias);
                }
                _ => {}
            }
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
        if length.refused {
            out.refuse();
        }
        out.put_variable_byte_integer(u32::try_from(length.bytes).unwrap_or(u32::MAX));
        out.put_measured(length.bytes, |out| self.write(out));
    }

    #[inline]
    fn write(&self, out: &mut impl FieldWriter) {
        if self.block.has_of_connection {
            return self.iter().for_each(|property| property.write(out));
        }
        for subscription in self.subscription_identifiers.listed() {
            Property::SubscriptionIdentifier(subscription).write(out);
        }
        if let Some(alias) = self.topic_alias {
            Property::TopicAlias(alias).write(out);
        }
        self.write_those_that_stay(out);
    }

    /// Writes the properties that stay with the message. All of a block without others are copied at once, with the
    /// interval that is left now.
    #[inline]
    fn write_those_that_stay(&self, out: &mut impl FieldWriter) {
        let Block {
            bytes,
            expiry_at,
            has_of_connection,
        } = self.block;
        if has_of_connection {
            let stays = self.iter().filter(Property::stays);
            return stays.for_each(|property| property.write(out));
        }
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
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for PublishPropertiesRef<'_> {}

impl fmt::Debug for PublishPropertiesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
