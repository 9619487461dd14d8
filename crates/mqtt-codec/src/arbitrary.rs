//! Random packets and messages for fuzz tests (feature `arbitrary`). This module implements `Arbitrary` for the types
//! whose values are restricted: strings contain no U+0000, and topic names and topic filters are valid. Every generated
//! packet can therefore be encoded, unless the packet is too large or the version does not have the packet.

use std::num::{NonZeroU16, NonZeroU32};

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use crate::message::{Message, MessageProperties};
use crate::packet::publish::{Delivery, Publish};
use crate::packet::publish_properties::PublishProperties;
use crate::packet::subscribe::Subscription;
use crate::property::publish_property::Property;
use crate::property::subscription_identifier::SubscriptionIdentifier;
use crate::property::topic_alias::TopicAlias;
use crate::property::user_property::UserProperty;
use crate::protocol::{MAXIMUM_REMAINING_LENGTH, QoS};
use crate::topic::{TopicFilter, TopicName};

/// Maximum length of a generated string in bytes. The two-byte length prefix of a field cannot express more.
const MAXIMUM_TEXT: usize = 65_535;

/// Generates a string that fits into a field.
pub(crate) fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let text = u.arbitrary::<&str>()?;
    let mut text: String = text
        .chars()
        .filter(|character| *character != '\0')
        // A pop removes a whole character. `truncate` would panic if the limit lies within a character.
        .collect();
    while text.len() > MAXIMUM_TEXT {
        text.pop();
    }
    Ok(text)
}

pub(crate) fn optional_text(u: &mut Unstructured<'_>) -> Result<Option<String>> {
    Option::generate(u)
}

pub(crate) fn optional_bytes(u: &mut Unstructured<'_>) -> Result<Option<Bytes>> {
    Option::generate(u)
}

/// Generates a list with at least one element, as SUBSCRIBE and UNSUBSCRIBE must have.
pub(crate) fn nonempty<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> Result<Vec<T>> {
    let mut list = vec![u.arbitrary()?];
    list.extend(u.arbitrary_iter()?.collect::<Result<Vec<T>>>()?);
    Ok(list)
}

pub(crate) fn subscriptions(u: &mut Unstructured<'_>) -> Result<Vec<Subscription>> {
    nonempty(u)
}

pub(crate) fn topic_filters(u: &mut Unstructured<'_>) -> Result<Vec<TopicFilter>> {
    nonempty(u)
}

/// Trait of the types that occur as fields of packet properties.
pub(crate) trait Field: Sized {
    /// Generates a value that can be encoded.
    fn generate(u: &mut Unstructured<'_>) -> Result<Self>;
}

/// Implements [`Field`] for types whose values can all be encoded.
macro_rules! unrestricted_fields {
    ($($type:ty),*) => {
        $(impl Field for $type {
            fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
                u.arbitrary()
            }
        })*
    };
}

unrestricted_fields!(
    bool,
    u16,
    u32,
    NonZeroU16,
    NonZeroU32,
    QoS,
    SubscriptionIdentifier,
    TopicAlias
);

impl Field for u8 {
    fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        u.arbitrary()
    }
}

impl Field for String {
    fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        text(u)
    }
}

impl Field for Bytes {
    fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        let bytes = u.arbitrary::<&[u8]>()?;
        let end = bytes.len().min(MAXIMUM_TEXT);
        Ok(Self::copy_from_slice(bytes.get(..end).unwrap_or_default()))
    }
}

impl Field for UserProperty {
    fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(Self {
            name: text(u)?,
            value: text(u)?,
        })
    }
}

impl<T: Field> Field for Option<T> {
    fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        if u.arbitrary()? {
            return T::generate(u).map(Some);
        }
        Ok(None)
    }
}

impl<T: Field> Field for Vec<T> {
    fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut list = Self::new();
        while u.arbitrary()? {
            list.push(T::generate(u)?);
        }
        Ok(list)
    }
}

impl Arbitrary<'_> for SubscriptionIdentifier {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let value = u.int_in_range(1..=MAXIMUM_REMAINING_LENGTH)?;
        Self::new(value).ok_or(arbitrary::Error::IncorrectFormat)
    }
}

impl Arbitrary<'_> for TopicName {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let text = text(u)?.replace(['+', '#'], "");
        let name = if text.is_empty() { "a" } else { &text };
        Self::new(name).map_err(|_| arbitrary::Error::IncorrectFormat)
    }
}

impl Arbitrary<'_> for TopicFilter {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let name = TopicName::arbitrary(u)?;
        let prefix = *u.choose(&["", "+/", "$share/group/", "$share/group/+/"])?;
        let suffix = *u.choose(&["", "/+", "/#"])?;
        // The text is an invalid filter in two cases: it is too long, or it starts with "$share/" but lacks a valid
        // share name and filter.
        let filter = Self::new(&format!("{prefix}{name}{suffix}"));
        filter.map_err(|_| arbitrary::Error::IncorrectFormat)
    }
}

/// Generates a property and passes it to `push`. If `push` rejects the property, this function ignores the error.
fn generate_property<E>(
    u: &mut Unstructured<'_>,
    push: impl FnOnce(Property<'_>) -> std::result::Result<(), E>,
) -> Result<()> {
    let text = text(u)?;
    let property = match u.int_in_range(0..=7)? {
        0 => Property::PayloadFormatIndicator(u.arbitrary()?),
        1 => Property::MessageExpiryInterval(u.arbitrary()?),
        2 => Property::ContentType(&text),
        3 => Property::ResponseTopic(&text),
        4 => Property::CorrelationData(text.as_bytes()),
        5 => Property::SubscriptionIdentifier(u.arbitrary()?),
        6 => Property::TopicAlias(u.arbitrary()?),
        _ => Property::User(&text, ""),
    };
    // `push` rejects duplicates and properties that this packet must not have. Both are likely among random properties.
    let _ = push(property);
    Ok(())
}

impl Arbitrary<'_> for MessageProperties {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut properties = Self::default();
        while u.arbitrary()? {
            generate_property(u, |property| properties.push(property))?;
        }
        Ok(properties)
    }
}

impl Arbitrary<'_> for PublishProperties {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let mut properties = Self::default();
        while u.arbitrary()? {
            generate_property(u, |property| properties.push(property))?;
        }
        Ok(properties)
    }
}

impl Arbitrary<'_> for Message {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        let properties = MessageProperties::arbitrary(u)?;
        Ok(Self {
            topic_name: u.arbitrary()?,
            payload: Bytes::generate(u)?,
            retain: u.arbitrary()?,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
        })
    }
}

impl Arbitrary<'_> for Publish {
    fn arbitrary(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(Self {
            delivery: Delivery::arbitrary(u)?,
            retain: u.arbitrary()?,
            topic_name: TopicName::arbitrary(u)?.into(),
            payload: Bytes::generate(u)?,
            properties: u.arbitrary()?,
        })
    }
}
