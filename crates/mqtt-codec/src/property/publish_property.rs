//! [`Property`] is one property of PUBLISH. This module also has the functions that read and extend a block of encoded
//! properties.

use super::subscription_identifier::SubscriptionIdentifier;
use super::table::unexpected;
use super::topic_alias::TopicAlias;
use super::value::Value as _;
use crate::error::{DecodeError, EncodeError};
use crate::field::{FieldReader, FieldWriter, LengthCounter};
use crate::topic::is_valid_name;

/// A property of PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Property<'a> {
    /// Payload Format Indicator: `true` if the payload is UTF-8 text.
    PayloadFormatIndicator(bool),
    /// Lifetime of the message in seconds.
    MessageExpiryInterval(u32),
    /// Content type of the payload, usually a MIME type.
    ContentType(&'a str),
    /// Topic name for a response.
    ResponseTopic(&'a str),
    /// Correlation Data. The sender of a response must copy this property into the response.
    CorrelationData(&'a [u8]),
    /// Identifier of a subscription that matches the message. Only a server may send it.
    SubscriptionIdentifier(SubscriptionIdentifier),
    /// Number that replaces the topic name. It is valid on this connection in this direction.
    TopicAlias(TopicAlias),
    /// Name and value of a user property. A message may have any number of them.
    User(&'a str, &'a str),
}

mod identifier {
    pub(super) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub(super) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(super) const CONTENT_TYPE: u8 = 0x03;
    pub(super) const RESPONSE_TOPIC: u8 = 0x08;
    pub(super) const CORRELATION_DATA: u8 = 0x09;
    pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
    pub(super) const TOPIC_ALIAS: u8 = 0x23;
    pub(super) const USER_PROPERTY: u8 = 0x26;
}

impl<'a> Property<'a> {
    /// Reads the value of the property with this identifier and checks it.
    #[inline]
    pub(crate) fn read(identifier: u32, reader: &mut FieldReader<'a>) -> Result<Self, DecodeError> {
        // The standard defines no property 0, so 0 can represent all identifiers above 255 in the match.
        let narrow = u8::try_from(identifier).unwrap_or_default();
        Ok(match narrow {
            identifier::PAYLOAD_FORMAT_INDICATOR => {
                Self::PayloadFormatIndicator(bool::read(reader)?)
            }
            identifier::MESSAGE_EXPIRY_INTERVAL => Self::MessageExpiryInterval(reader.u32()?),
            identifier::CONTENT_TYPE => Self::ContentType(reader.string()?),
            identifier::RESPONSE_TOPIC => {
                let topic_name = reader.string()?;
                if !is_valid_name(topic_name) {
                    // A response topic must not contain wildcards [MQTT-3.3.2-14].
                    return Err(DecodeError::PropertyValue);
                }
                Self::ResponseTopic(topic_name)
            }
            identifier::CORRELATION_DATA => Self::CorrelationData(reader.binary()?),
            identifier::SUBSCRIPTION_IDENTIFIER => {
                Self::SubscriptionIdentifier(SubscriptionIdentifier::read(reader)?)
            }
            identifier::TOPIC_ALIAS => Self::TopicAlias(TopicAlias::read(reader)?),
            identifier::USER_PROPERTY => Self::User(reader.string()?, reader.string()?),
            _ => return Err(unexpected(identifier)),
        })
    }

    /// Returns the property identifier in the encoded form.
    pub(crate) fn identifier(&self) -> u8 {
        match self {
            Self::PayloadFormatIndicator(_) => identifier::PAYLOAD_FORMAT_INDICATOR,
            Self::MessageExpiryInterval(_) => identifier::MESSAGE_EXPIRY_INTERVAL,
            Self::ContentType(_) => identifier::CONTENT_TYPE,
            Self::ResponseTopic(_) => identifier::RESPONSE_TOPIC,
            Self::CorrelationData(_) => identifier::CORRELATION_DATA,
            Self::SubscriptionIdentifier(_) => identifier::SUBSCRIPTION_IDENTIFIER,
            Self::TopicAlias(_) => identifier::TOPIC_ALIAS,
            Self::User(..) => identifier::USER_PROPERTY,
        }
    }

    /// Writes the identifier and the value.
    pub(crate) fn write(&self, out: &mut impl FieldWriter) {
        out.put_u8(self.identifier());
        match *self {
            Self::PayloadFormatIndicator(flag) => out.put_u8(flag.into()),
            Self::MessageExpiryInterval(seconds) => out.put_u32(seconds),
            Self::ContentType(text) | Self::ResponseTopic(text) => out.put_string(text),
            Self::CorrelationData(data) => out.put_binary(data),
            Self::SubscriptionIdentifier(subscription) => {
                out.put_variable_byte_integer(subscription.get());
            }
            Self::TopicAlias(alias) => out.put_u16(alias.get()),
            Self::User(name, value) => {
                out.put_string(name);
                out.put_string(value);
            }
        }
    }

    /// Returns `true` if the property belongs to the message, and `false` if it is valid on one connection only.
    pub(crate) fn is_of_message(&self) -> bool {
        !matches!(self, Self::SubscriptionIdentifier(_) | Self::TopicAlias(_))
    }
}

/// Appends a property to a block of encoded properties.
///
/// # Errors
/// Returns an error if the property is a duplicate of a property that may occur once, or if its value is invalid.
/// `block` is then unchanged.
pub(crate) fn push(block: &mut Vec<u8>, property: Property<'_>) -> Result<(), EncodeError> {
    let may_repeat = matches!(
        property,
        Property::User(..) | Property::SubscriptionIdentifier(_)
    );
    let identifier = property.identifier();
    if !may_repeat && each(block).any(|other| other.identifier() == identifier) {
        return Err(EncodeError::Property);
    }
    if matches!(property, Property::ResponseTopic(topic) if !is_valid_name(topic)) {
        // A response topic must not contain wildcards [MQTT-3.3.2-14].
        return Err(EncodeError::Property);
    }
    // The property is measured before the first byte is appended, so that an invalid value leaves `block` unchanged.
    let mut length = LengthCounter::default();
    property.write(&mut length);
    if length.has_rejected {
        return Err(EncodeError::Field);
    }
    property.write(block);
    Ok(())
}

/// Returns the properties in a block of encoded properties that has been validated.
pub(crate) fn each(all: &[u8]) -> impl Iterator<Item = Property<'_>> {
    let mut block = FieldReader::new(all);
    std::iter::from_fn(move || {
        // The block was validated, so an error cannot occur. The iteration would end at an error, so that this code
        // cannot panic.
        let identifier = block.variable_byte_integer().ok()?;
        Property::read(identifier, &mut block).ok()
    })
}
