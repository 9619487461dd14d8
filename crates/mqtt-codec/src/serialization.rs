//! Serialization with serde of the properties that are stored in their encoded form (feature `serde`). The serialized
//! form is a list of [`Property`]. Deserialization validates each property again.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::EncodeError;
use crate::message::MessageProperties;
use crate::packet::publish_properties::PublishProperties;
use crate::property::publish_property::Property;
use crate::property::subscription_identifier::SubscriptionIdentifier;
use crate::property::topic_alias::TopicAlias;

/// A [`Property`] that owns its value. A borrowed value is not enough: a format with escapes, such as JSON, cannot
/// return a string as a part of its input.
#[derive(Deserialize)]
#[serde(rename = "Property")]
enum OwnedProperty {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    SubscriptionIdentifier(SubscriptionIdentifier),
    TopicAlias(TopicAlias),
    User(String, String),
}

impl OwnedProperty {
    fn borrowed(&self) -> Property<'_> {
        match self {
            Self::PayloadFormatIndicator(is_text) => Property::PayloadFormatIndicator(*is_text),
            Self::MessageExpiryInterval(seconds) => Property::MessageExpiryInterval(*seconds),
            Self::ContentType(text) => Property::ContentType(text),
            Self::ResponseTopic(topic_name) => Property::ResponseTopic(topic_name),
            Self::CorrelationData(data) => Property::CorrelationData(data),
            Self::SubscriptionIdentifier(identifier) => {
                Property::SubscriptionIdentifier(*identifier)
            }
            Self::TopicAlias(alias) => Property::TopicAlias(*alias),
            Self::User(name, value) => Property::User(name, value),
        }
    }
}

/// Deserializes a list of properties and builds their encoded form with `new`.
fn deserialize<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    new: impl FnOnce(&[OwnedProperty]) -> Result<T, EncodeError>,
) -> Result<T, D::Error> {
    let properties = Vec::<OwnedProperty>::deserialize(deserializer)?;
    new(&properties).map_err(D::Error::custom)
}

impl Serialize for MessageProperties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for MessageProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, |properties| {
            Self::new(properties.iter().map(OwnedProperty::borrowed))
        })
    }
}

impl Serialize for PublishProperties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for PublishProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer, |properties| {
            Self::new(properties.iter().map(OwnedProperty::borrowed))
        })
    }
}
