//! The properties of PUBLISH (MQTT 5.0, 3.3.2.3). They are read once, when the packet comes, to see that they
//! are valid. Those that stay with the message on its whole way then stay in the bytes they came in, or in the
//! message they belong to, and are looked up when asked for: most are only passed on, and a packet that is
//! passed around is small.

use std::fmt;

use crate::field::{Length, Reader, Sink};
use crate::property::{self, Value as _};
use crate::topic::is_valid_name;
use crate::{
    DecodeError, MessageProperties, Role, SubscriptionIdentifier, SubscriptionIdentifiers,
    TopicAlias, UserProperties,
};

/// The properties of PUBLISH, borrowed.
#[derive(Clone, Copy, Default)]
pub struct PublishProperties<'a> {
    /// Those that stay with the message.
    source: Source<'a>,
    /// Seconds until it is no longer to be delivered.
    pub message_expiry_interval: Option<u32>,
    /// A number for the topic name, for this connection and direction.
    pub topic_alias: Option<TopicAlias>,
    /// The subscriptions it was sent for. Server only.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
}

#[derive(Clone, Copy, Default)]
enum Source<'a> {
    #[default]
    None,
    Wire {
        /// They were read once and are valid.
        all: &'a [u8],
        /// Whether all of them stay with the message.
        all_stay: bool,
    },
    Message(&'a MessageProperties),
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

/// The value of one of them.
#[derive(Clone, Copy)]
enum Value<'a> {
    Flag(bool),
    Seconds(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Subscription,
    Alias(TopicAlias),
    Pair(&'a str, &'a str),
}

impl<'a> Value<'a> {
    /// The table: which properties there are, and what their values are like.
    #[inline]
    fn read(identifier: u32, reader: &mut Reader<'a>) -> Result<(u8, Self), DecodeError> {
        let narrow = u8::try_from(identifier).unwrap_or_default(); // 0 is none
        let value = match narrow {
            identifier::PAYLOAD_FORMAT_INDICATOR => Self::Flag(bool::read(reader)?),
            identifier::MESSAGE_EXPIRY_INTERVAL => Self::Seconds(reader.u32()?),
            identifier::CONTENT_TYPE => Self::Text(reader.string()?),
            identifier::RESPONSE_TOPIC => {
                let topic_name = reader.string()?;
                if !is_valid_name(topic_name) {
                    return Err(DecodeError::PropertyValue); // [MQTT-3.3.2-14]
                }
                Self::Text(topic_name)
            }
            identifier::CORRELATION_DATA => Self::Binary(reader.binary()?),
            identifier::SUBSCRIPTION_IDENTIFIER => {
                SubscriptionIdentifier::read(reader)?;
                Self::Subscription
            }
            identifier::TOPIC_ALIAS => Self::Alias(TopicAlias::read(reader)?),
            identifier::USER_PROPERTY => Self::Pair(reader.string()?, reader.string()?),
            _ => return Err(property::unexpected(identifier)),
        };
        Ok((narrow, value))
    }
}

/// The properties of a block that was found to be valid: identifier, value, and a reader at the value.
fn each<'a>(all: &'a [u8]) -> impl Iterator<Item = (u8, Value<'a>, Reader<'a>)> {
    let mut block = Reader::new(all);
    std::iter::from_fn(move || {
        let identifier = block.variable_byte_integer().ok()?;
        let at = block;
        let (identifier, value) = Value::read(identifier, &mut block).ok()?;
        Some((identifier, value, at))
    })
}

/// The values with this identifier, each as a reader at it.
pub(crate) fn each_value(all: &[u8], wanted: u8) -> impl Iterator<Item = Reader<'_>> {
    each(all)
        .filter(move |(identifier, ..)| *identifier == wanted)
        .map(|(.., at)| at)
}

impl<'a> PublishProperties<'a> {
    /// Returns `true` if there is surely no property that stays with the message, without a look at each.
    #[inline]
    pub(crate) fn stay_empty(&self) -> bool {
        let source_is_empty = match self.source {
            Source::None => true,
            Source::Wire { all, .. } => all.is_empty(),
            Source::Message(_) => false,
        };
        source_is_empty && self.message_expiry_interval.is_none()
    }

    /// Those of a message.
    pub(crate) fn of_message(properties: &'a MessageProperties) -> Self {
        Self {
            source: Source::Message(properties),
            message_expiry_interval: properties.message_expiry_interval,
            topic_alias: None,
            subscription_identifiers: SubscriptionIdentifiers::default(),
        }
    }

    /// Whether there is none.
    pub fn are_absent(&self) -> bool {
        matches!(self.source, Source::None)
            && self.message_expiry_interval.is_none()
            && self.topic_alias.is_none()
            && self.subscription_identifiers.is_empty()
    }

    /// Whether the payload is text in UTF-8.
    pub fn payload_format_indicator(&self) -> Option<bool> {
        match self.source {
            Source::Message(properties) => properties.payload_format_indicator,
            _ => match self.find(identifier::PAYLOAD_FORMAT_INDICATOR)? {
                Value::Flag(flag) => Some(flag),
                _ => None,
            },
        }
    }

    /// What the payload is; a MIME type by habit.
    pub fn content_type(&self) -> Option<&'a str> {
        match self.source {
            Source::Message(properties) => properties.content_type.as_deref(),
            _ => self.text(identifier::CONTENT_TYPE),
        }
    }

    /// Where an answer is expected.
    pub fn response_topic(&self) -> Option<&'a str> {
        match self.source {
            Source::Message(properties) => properties.response_topic.as_deref(),
            _ => self.text(identifier::RESPONSE_TOPIC),
        }
    }

    /// What the answer has to repeat.
    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        match self.source {
            Source::Message(properties) => properties.correlation_data.as_deref(),
            _ => match self.find(identifier::CORRELATION_DATA)? {
                Value::Binary(data) => Some(data),
                _ => None,
            },
        }
    }

    /// What the application added.
    pub fn user_properties(&self) -> UserProperties<'a> {
        match self.source {
            Source::None => UserProperties::default(),
            Source::Wire { all, .. } => UserProperties::in_block(all),
            Source::Message(properties) => UserProperties::new(&properties.user_properties),
        }
    }

    fn text(&self, wanted: u8) -> Option<&'a str> {
        match self.find(wanted)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn find(&self, wanted: u8) -> Option<Value<'a>> {
        let Source::Wire { all, .. } = self.source else {
            return None;
        };
        let mut found = each(all).filter(|(identifier, ..)| *identifier == wanted);
        found.next().map(|(_, value, _)| value)
    }

    #[inline]
    pub(crate) fn decode(reader: &mut Reader<'a>, sender: Role) -> Result<Self, DecodeError> {
        let length = reader.variable_byte_integer()?;
        if length == 0 {
            return Ok(Self::default());
        }
        Self::decode_block(reader.bytes(length as usize)?, sender)
    }

    fn decode_block(all: &'a [u8], sender: Role) -> Result<Self, DecodeError> {
        let mut properties = Self::default();
        let mut all_stay = true;
        let (mut block, mut seen) = (Reader::new(all), 0_u64);
        while !block.is_empty() {
            let identifier = block.variable_byte_integer()?;
            let (identifier, value) = Value::read(identifier, &mut block)?;
            match value {
                Value::Pair(..) => continue, // any number of times
                Value::Subscription if sender == Role::Client => {
                    return Err(DecodeError::PropertyValue); // [MQTT-3.3.4-6]
                }
                Value::Subscription => {
                    all_stay = false;
                    properties.subscription_identifiers = SubscriptionIdentifiers::in_block(all);
                    continue;
                }
                Value::Seconds(seconds) => {
                    all_stay = false;
                    properties.message_expiry_interval = Some(seconds);
                }
                Value::Alias(alias) => {
                    all_stay = false;
                    properties.topic_alias = Some(alias);
                }
                Value::Flag(_) | Value::Text(_) | Value::Binary(_) => {}
            }
            let bit = 1_u64 << (identifier % 64);
            if seen & bit != 0 {
                return Err(DecodeError::DuplicateProperty);
            }
            seen |= bit;
        }
        properties.source = Source::Wire { all, all_stay };
        Ok(properties)
    }

    #[inline]
    pub(crate) fn encode(&self, out: &mut impl Sink) {
        let mut length = Length::default();
        self.write(&mut length);
        if length.refused {
            out.refuse();
        }
        out.put_variable_byte_integer(u32::try_from(length.bytes).unwrap_or(u32::MAX));
        out.put_measured(length.bytes, |out| self.write(out));
    }

    #[inline]
    fn write(&self, out: &mut impl Sink) {
        match self.source {
            Source::Message(properties) => return self.write_with(properties, out),
            Source::None => {}
            Source::Wire {
                all,
                all_stay: true,
            } => out.put(all),
            Source::Wire { all, .. } => write_those_that_stay(all, out),
        }
        self.write_expiry(out);
        self.write_of_connection(out);
    }

    /// In the order of their identifiers.
    #[inline]
    fn write_with(&self, properties: &MessageProperties, out: &mut impl Sink) {
        if let Some(flag) = properties.payload_format_indicator {
            out.put_u8(identifier::PAYLOAD_FORMAT_INDICATOR);
            out.put_u8(flag.into());
        }
        self.write_expiry(out);
        let texts = [
            (identifier::CONTENT_TYPE, &properties.content_type),
            (identifier::RESPONSE_TOPIC, &properties.response_topic),
        ];
        for (identifier, text) in texts {
            if let Some(text) = text {
                out.put_u8(identifier);
                out.put_string(text);
            }
        }
        if let Some(data) = &properties.correlation_data {
            out.put_u8(identifier::CORRELATION_DATA);
            out.put_binary(data);
        }
        self.write_of_connection(out);
        for user_property in &properties.user_properties {
            out.put_u8(identifier::USER_PROPERTY);
            out.put_string(&user_property.name);
            out.put_string(&user_property.value);
        }
    }

    #[inline]
    fn write_expiry(&self, out: &mut impl Sink) {
        if let Some(seconds) = self.message_expiry_interval {
            out.put_u8(identifier::MESSAGE_EXPIRY_INTERVAL);
            out.put_u32(seconds);
        }
    }

    /// Those that have a meaning for one connection only.
    #[inline]
    fn write_of_connection(&self, out: &mut impl Sink) {
        if !self.subscription_identifiers.is_empty() {
            for subscription in self.subscription_identifiers.iter() {
                out.put_u8(identifier::SUBSCRIPTION_IDENTIFIER);
                out.put_variable_byte_integer(subscription.get());
            }
        }
        if let Some(alias) = self.topic_alias {
            out.put_u8(identifier::TOPIC_ALIAS);
            out.put_u16(alias.get());
        }
    }
}

fn write_those_that_stay(all: &[u8], out: &mut impl Sink) {
    for (identifier, value, _) in each(all) {
        match value {
            Value::Seconds(_) | Value::Subscription | Value::Alias(_) => continue,
            _ => out.put_u8(identifier),
        }
        match value {
            Value::Flag(flag) => out.put_u8(flag.into()),
            Value::Text(text) => out.put_string(text),
            Value::Binary(data) => out.put_binary(data),
            Value::Pair(name, value) => {
                out.put_string(name);
                out.put_string(value);
            }
            _ => {}
        }
    }
}

impl PartialEq for PublishProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        MessageProperties::from(self) == MessageProperties::from(other)
            && self.topic_alias == other.topic_alias
            && self.subscription_identifiers == other.subscription_identifiers
    }
}

impl Eq for PublishProperties<'_> {}

impl fmt::Debug for PublishProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishProperties")
            .field("message", &MessageProperties::from(self))
            .field("topic_alias", &self.topic_alias)
            .field("subscription_identifiers", &self.subscription_identifiers)
            .finish()
    }
}
