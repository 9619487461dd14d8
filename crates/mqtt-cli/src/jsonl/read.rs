//! Reads a message from a line of JSON. The line has the form of docs/jsonl.md, or the form that mosquitto_sub prints
//! for `%j`.
//!
//! Unknown keys are ignored. The form of mosquitto_sub has `payloadhex` for bytes that are not UTF-8, and its
//! `properties` is an object whose keys have dashes instead of underscores.

use std::borrow::Cow;
use std::fmt;

use mqtt_codec::{MessageProperties, Property, QoS, TopicName};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::jsonl::base64;

/// The message of a line. A field is `None` if the line has no such key; the caller then uses the value of the command
/// line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageLine {
    pub(crate) topic_name: Option<TopicName>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: Option<QoS>,
    pub(crate) retain: Option<bool>,
    pub(crate) properties: Option<MessageProperties>,
}

/// Reads a line.
///
/// # Errors
/// If the line is not a message. The error is a text for the user.
pub(crate) fn read(line: &[u8]) -> Result<MessageLine, String> {
    serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        // serde_json counts lines within `line`, so its line number is always 1. The caller prints the line number of
        // the input.
        text.replace(" at line 1 column ", " at column ")
    })
}

/// A string that borrows from the line. Only a string with escapes is copied.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for MessageLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = MessageLine;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MessageLine, A::Error> {
        let mut line = MessageLine::default();
        let (mut payload, mut encoded, mut hexadecimal) = (None, None, None);
        while let Some(key) = map.next_key::<Text<'_>>()? {
            match &*key.0 {
                "topic" => line.topic_name = Some(topic_name(&map.next_value::<Text<'_>>()?.0)?),
                "payload" => {
                    let text = map.next_value::<Option<Text<'_>>>()?;
                    payload = text.map(|text| text.0.into_owned().into_bytes());
                }
                "payload_base64" => encoded = Some(decoded(&mut map, &key.0, base64::decode)?),
                "payloadhex" => hexadecimal = Some(decoded(&mut map, &key.0, base64::decode_hex)?),
                "qos" => {
                    let qos = QoS::from_value(map.next_value()?);
                    line.qos = Some(qos.ok_or_else(|| A::Error::custom("qos must be 0, 1 or 2"))?);
                }
                "retain" => line.retain = Some(map.next_value::<Flag>()?.0),
                "properties" => line.properties = Some(map.next_value::<Properties>()?.0),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if payload.is_some() && encoded.is_some() {
            return Err(A::Error::custom(
                "payload and payload_base64 exclude each other",
            ));
        }
        // mosquitto_sub prints `payloadhex` in addition to `payload` if `payload` has lost bytes, so `payloadhex` has
        // precedence.
        line.payload = hexadecimal.or(encoded).or(payload).unwrap_or_default();
        Ok(line)
    }
}

/// Returns the bytes of the value of `key`, which is base64 or hexadecimal text.
fn decoded<'de, A: MapAccess<'de>>(
    map: &mut A,
    key: &str,
    decode: fn(&str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, A::Error> {
    let text = map.next_value::<Text<'_>>()?;
    decode(&text.0).ok_or_else(|| A::Error::custom(format!("the value of {key} is malformed")))
}

fn topic_name<E: Error>(text: &str) -> Result<TopicName, E> {
    TopicName::new(text).map_err(|_| {
        E::custom("the topic must have 1 to 65535 bytes and must not contain '+', '#' or NUL")
    })
}

/// A boolean. mosquitto 2.0 prints it as 0 or 1.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Flag, E> {
                match number {
                    0 => Ok(Flag(false)),
                    1 => Ok(Flag(true)),
                    _ => Err(E::custom("retain must be true or false")),
                }
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// The properties of a message. In docs/jsonl.md they are a list of objects with one key each, and in the form of
/// mosquitto_sub one object.
struct Properties(MessageProperties);

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut list = PropertyList::default();
        deserializer.deserialize_any(&mut list)?;
        list.build().map(Self)
    }
}

/// The properties in the order of the line. The values are owned and not borrowed from the JSON text, because
/// `correlation_data_hex` may replace a value that was read before.
#[derive(Default)]
struct PropertyList(Vec<OwnedProperty>);

enum OwnedProperty {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(String),
    ResponseTopic(String),
    CorrelationData(Vec<u8>),
    User(String, String),
}

impl PropertyList {
    fn build<E: Error>(&self) -> Result<MessageProperties, E> {
        let properties = self.0.iter().map(|property| match property {
            OwnedProperty::PayloadFormatIndicator(flag) => Property::PayloadFormatIndicator(*flag),
            OwnedProperty::MessageExpiryInterval(time) => Property::MessageExpiryInterval(*time),
            OwnedProperty::ContentType(text) => Property::ContentType(text),
            OwnedProperty::ResponseTopic(text) => Property::ResponseTopic(text),
            OwnedProperty::CorrelationData(data) => Property::CorrelationData(data),
            OwnedProperty::User(name, value) => Property::User(name, value),
        });
        MessageProperties::new(properties)
            .map_err(|error| E::custom(format!("the properties are invalid: {error}")))
    }

    /// Reads the value of `key` from `map`, and adds the property.
    fn add<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        let property = match &*key.replace('-', "_") {
            "payload_format_indicator" => {
                let value: u8 = map.next_value()?;
                let is_flag = value < 2;
                let invalid = || A::Error::custom("payload_format_indicator must be 0 or 1");
                OwnedProperty::PayloadFormatIndicator(
                    is_flag.then_some(value == 1).ok_or_else(invalid)?,
                )
            }
            "message_expiry_interval" => OwnedProperty::MessageExpiryInterval(map.next_value()?),
            "content_type" => OwnedProperty::ContentType(map.next_value()?),
            "response_topic" => OwnedProperty::ResponseTopic(map.next_value()?),
            "correlation_data" => {
                OwnedProperty::CorrelationData(map.next_value::<String>()?.into_bytes())
            }
            "correlation_data_base64" => {
                OwnedProperty::CorrelationData(decoded(map, key, base64::decode)?)
            }
            // mosquitto_sub and rsub print this key in addition to `correlation-data` if that value has lost bytes. So
            // the hexadecimal value replaces it.
            "correlation_data_hex" => {
                let data = decoded(map, key, base64::decode_hex)?;
                self.0
                    .retain(|property| !matches!(property, OwnedProperty::CorrelationData(_)));
                OwnedProperty::CorrelationData(data)
            }
            "user_property" => {
                let (name, value) = map.next_value()?;
                OwnedProperty::User(name, value)
            }
            "user_properties" => {
                let pairs: Vec<Pair> = map.next_value()?;
                let pairs = pairs.into_iter();
                self.0
                    .extend(pairs.map(|Pair(name, value)| OwnedProperty::User(name, value)));
                return Ok(());
            }
            // A topic alias and a subscription identifier only have a meaning on the connection of the received
            // message, so they are ignored like unknown keys.
            _ => {
                map.next_value::<IgnoredAny>()?;
                return Ok(());
            }
        };
        self.0.push(property);
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut PropertyList {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects with one property each")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(properties) = list.next_element::<PropertyObject>()? {
            self.0.extend(properties.0.0);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.add(&key, &mut map)?;
        }
        Ok(())
    }
}

/// An object with properties, which is an element of the list.
struct PropertyObject(PropertyList);

impl<'de> Deserialize<'de> for PropertyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut list = PropertyList::default();
        deserializer.deserialize_map(&mut list)?;
        Ok(Self(list))
    }
}

/// A user property as mosquitto_sub prints it: an object with one key.
struct Pair(String, String);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairVisitor;
        impl<'de> Visitor<'de> for PairVisitor {
            type Value = Pair;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pair, A::Error> {
                let entry = map.next_entry()?;
                let (name, value) = entry.ok_or_else(|| A::Error::custom("an empty object"))?;
                Ok(Pair(name, value))
            }
        }
        deserializer.deserialize_map(PairVisitor)
    }
}
