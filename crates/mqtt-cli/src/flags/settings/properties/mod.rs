//! The properties of MQTT 5.0 that `-D COMMAND NAME VALUE` sets for the packets of the client programs. The texts of
//! the errors are mosquitto's.

use std::ffi::{OsStr, OsString};
use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use mqtt_codec::{
    ConnectProperties, DisconnectProperties, EncodeError, MessageProperties, Property,
    ProtocolVersion, SubscribeProperties, SubscriptionIdentifier, TopicAlias, TopicName,
    UnsubscribeProperties, UserProperty,
};

use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::values::number;
use crate::wording::shown;

/// Maximum length of a string or of binary data in MQTT.
const MAXIMUM_LENGTH: usize = 65535;

/// The hint for an unknown command.
const COMMANDS: &str =
    "The commands are connect, publish, subscribe, unsubscribe, disconnect and will.";

/// The properties of all packets.
#[derive(Debug, Default)]
pub(crate) struct Properties {
    pub(crate) connect: ConnectProperties,
    pub(crate) publish: Option<Box<MessageProperties>>,
    pub(crate) topic_alias: Option<TopicAlias>,
    pub(crate) subscribe: SubscribeProperties,
    pub(crate) unsubscribe: UnsubscribeProperties,
    pub(crate) disconnect: DisconnectProperties,
    pub(crate) will: Option<Box<MessageProperties>>,
    pub(crate) will_delay_interval: Option<u32>,
    pub(crate) is_used: bool,
}

impl Properties {
    /// Checks that the version has properties.
    ///
    /// # Errors
    /// If there are properties and the version is older than 5.0.
    pub(super) fn check(&self, version: ProtocolVersion) -> Result<(), Failure> {
        if self.is_used && version != ProtocolVersion::V5_0 {
            return Err(Failure::usage("This feature is not supported.").with_hint(
                "Properties (-D) need MQTT 5, but a later -V selects another version.",
            ));
        }
        Ok(())
    }
}

/// The words of one `-D`. Command and name are in lower case, because mosquitto ignores their case.
pub(crate) struct Given<'a> {
    command: String,
    name: String,
    value: &'a OsStr,
}

/// Packets whose properties a user cannot set, because the programs do not send these packets or send them as answers.
const REFUSED: &[&str] = &[
    "auth", "puback", "pubrec", "pubrel", "pubcomp", "suback", "unsuback",
];

/// Every property of the standard, with its identifier.
const NAMES: &[(&str, u8)] = &[
    ("payload-format-indicator", 0x01),
    ("message-expiry-interval", 0x02),
    ("content-type", 0x03),
    ("response-topic", 0x08),
    ("correlation-data", 0x09),
    ("subscription-identifier", 0x0B),
    ("session-expiry-interval", 0x11),
    ("assigned-client-identifier", 0x12),
    ("server-keep-alive", 0x13),
    ("authentication-method", 0x15),
    ("authentication-data", 0x16),
    ("request-problem-information", 0x17),
    ("will-delay-interval", 0x18),
    ("request-response-information", 0x19),
    ("response-information", 0x1A),
    ("server-reference", 0x1C),
    ("reason-string", 0x1F),
    ("receive-maximum", 0x21),
    ("topic-alias-maximum", 0x22),
    ("topic-alias", 0x23),
    ("maximum-qos", 0x24),
    ("retain-available", 0x25),
    ("user-property", 0x26),
    ("maximum-packet-size", 0x27),
    ("wildcard-subscription-available", 0x28),
    ("subscription-identifier-available", 0x29),
    ("shared-subscription-available", 0x2A),
];

impl<'a> Given<'a> {
    /// Checks the first two words.
    ///
    /// # Errors
    /// If the packet or the property does not exist.
    pub(crate) fn new(
        command: &OsString,
        name: &OsString,
        value: &'a OsStr,
    ) -> Result<Self, Failure> {
        let lower = |word: &OsString| word.to_string_lossy().to_lowercase();
        let given = Self {
            command: lower(command),
            name: lower(name),
            value,
        };
        // As in the mosquitto tools, CONNACK passes this check and is rejected later with another text.
        let commands = [
            "connect",
            "publish",
            "subscribe",
            "unsubscribe",
            "disconnect",
            "will",
            "connack",
        ];
        if !commands.contains(&given.command.as_str()) && !REFUSED.contains(&given.command.as_str())
        {
            return Err(Failure::usage(format!(
                "Invalid command {} given in --property argument.",
                shown(command)
            ))
            .with_hint(COMMANDS));
        }
        // As in the mosquitto tools, an unknown name is reported before a property that the packet cannot have.
        if given.identifier().is_none() {
            return Err(Failure::usage(format!(
                "Invalid property name {} given in --property argument.",
                shown(name)
            ))
            .with_hint(
                "The names are those of the standard, such as content-type and user-property.",
            ));
        }
        Ok(given)
    }

    /// Sets the property of the packet.
    ///
    /// # Errors
    /// If the packet cannot have the property, has the property already, or the value is invalid.
    pub(crate) fn set(&self, all: &mut Properties) -> Result<(), Failure> {
        match self.command.as_str() {
            "connect" => {
                self.set_connect(&mut all.connect)?;
                // Like the mosquitto tools, the encoder writes the properties in the order of the command line. Tests
                // of brokers use -D to produce special cases.
                all.connect.order.extend(self.identifier());
                Ok(())
            }
            // A topic alias belongs to the connection and not to the message. The session decides which packets have
            // it.
            "publish" if self.name == "topic-alias" => {
                let alias = TopicAlias::new(self.u16()?).ok_or_else(|| self.not_allowed_value())?;
                self.once(&mut all.topic_alias, alias)
            }
            "publish" => self.set_message(all.publish.get_or_insert_default()),
            "subscribe" => {
                self.set_subscribe(&mut all.subscribe)?;
                all.subscribe.order.extend(self.identifier());
                Ok(())
            }
            "unsubscribe" => self.set_user_property(&mut all.unsubscribe.user_properties),
            "disconnect" => {
                self.set_disconnect(&mut all.disconnect)?;
                all.disconnect.order.extend(self.identifier());
                Ok(())
            }
            "will" if self.name == "will-delay-interval" => {
                self.once(&mut all.will_delay_interval, self.u32()?)
            }
            "will" => self.set_message(all.will.get_or_insert_default()),
            _ => Err(self.not_supported()),
        }
    }

    /// Returns the identifier of the property in the standard.
    fn identifier(&self) -> Option<u8> {
        let (_, identifier) = NAMES.iter().find(|(name, _)| *name == self.name)?;
        Some(*identifier)
    }

    fn set_connect(&self, connect: &mut ConnectProperties) -> Result<(), Failure> {
        match self.name.as_str() {
            "authentication-data" => self.once(&mut connect.authentication_data, self.binary()?),
            "authentication-method" => {
                self.once(&mut connect.authentication_method, self.string()?)
            }
            "maximum-packet-size" => {
                let size = NonZeroU32::new(self.u32()?).ok_or_else(|| self.not_allowed_value())?;
                self.once(&mut connect.maximum_packet_size, size)
            }
            "receive-maximum" => {
                let count = NonZeroU16::new(self.u16()?).ok_or_else(|| self.not_allowed_value())?;
                self.once(&mut connect.receive_maximum, count)
            }
            "request-problem-information" => {
                self.once(&mut connect.request_problem_information, self.flag()?)
            }
            "request-response-information" => {
                self.once(&mut connect.request_response_information, self.flag()?)
            }
            "session-expiry-interval" => {
                self.once(&mut connect.session_expiry_interval, self.u32()?)
            }
            "topic-alias-maximum" => self.once(&mut connect.topic_alias_maximum, self.u16()?),
            _ => self.set_user_property(&mut connect.user_properties),
        }
    }

    /// Adds a property of a message or of a will. Like in the mosquitto tools, the properties keep the order of the
    /// command line.
    fn set_message(&self, message: &mut MessageProperties) -> Result<(), Failure> {
        let (text, data);
        let property = match self.name.as_str() {
            "content-type" => {
                text = self.string()?;
                Property::ContentType(&text)
            }
            "correlation-data" => {
                data = self.binary()?;
                Property::CorrelationData(&data)
            }
            "message-expiry-interval" => Property::MessageExpiryInterval(self.u32()?),
            "payload-format-indicator" => Property::PayloadFormatIndicator(self.flag()?),
            "response-topic" => {
                text = self.string()?;
                if TopicName::new(&text).is_err() {
                    return Err(self.not_allowed_value());
                }
                Property::ResponseTopic(&text)
            }
            // [MQTT-3.3.4-6]: only a server may send this property in PUBLISH.
            "subscription-identifier" => return Err(self.not_supported()),
            _ => {
                let (name, value) = self.pair()?;
                Property::User(name, value)
            }
        };
        // `push` rejects a second property of a kind that a message may have only once.
        message.push(property).map_err(|error| match error {
            EncodeError::Property => self.is_given_twice(),
            _ => self.not_allowed_value(),
        })
    }

    fn set_subscribe(&self, subscribe: &mut SubscribeProperties) -> Result<(), Failure> {
        match self.name.as_str() {
            "subscription-identifier" => {
                let identifier = SubscriptionIdentifier::new(self.u32()?);
                let identifier = identifier.ok_or_else(|| {
                    let text = "Error adding property subscription-identifier 4";
                    Failure::unmarked(Status::Failed, text)
                        .with_hint("A subscription identifier must be 1 to 268435455.")
                })?;
                self.once(&mut subscribe.subscription_identifier, identifier)
            }
            _ => self.set_user_property(&mut subscribe.user_properties),
        }
    }

    fn set_disconnect(&self, disconnect: &mut DisconnectProperties) -> Result<(), Failure> {
        match self.name.as_str() {
            "reason-string" => self.once(&mut disconnect.reason_string, self.string()?),
            "session-expiry-interval" => {
                self.once(&mut disconnect.session_expiry_interval, self.u32()?)
            }
            _ => self.set_user_property(&mut disconnect.user_properties),
        }
    }

    fn set_user_property(&self, properties: &mut Vec<UserProperty>) -> Result<(), Failure> {
        let (name, value) = self.pair()?;
        properties.push(UserProperty {
            name: name.into(),
            value: value.into(),
        });
        Ok(())
    }

    /// Returns the name and the value of a user property, which the parser has joined by a NUL.
    ///
    /// # Errors
    /// If the property is not a user property. The packet cannot have it then.
    fn pair(&self) -> Result<(&str, &str), Failure> {
        if self.name != "user-property" {
            return Err(Failure::usage(format!(
                "{} property not allowed for {} in --property argument.",
                self.name, self.command
            ))
            .with_hint(self.allowed()));
        }
        let pair = self.text()?;
        let Some((name, value)) = pair.split_once('\0') else {
            let text = "--property argument given but not enough arguments specified.";
            return Err(Failure::usage(text).with_hint("A user property has a name and a value."));
        };
        // The encoder checks the length, too, but its error could not name the option.
        if name.len().max(value.len()) > MAXIMUM_LENGTH {
            return Err(self.too_long());
        }
        Ok((name, value))
    }

    /// Sets a property that a packet may have once.
    fn once<T>(&self, slot: &mut Option<T>, value: T) -> Result<(), Failure> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.is_given_twice()),
        }
    }

    fn is_given_twice(&self) -> Failure {
        Failure::usage("Duplicate property in property list.")
            .with_hint(format!("{} of {} is given twice.", self.name, self.command))
    }

    fn text(&self) -> Result<&str, Failure> {
        let malformed = || Failure::usage("Malformed UTF-8 in --property argument.");
        self.value.to_str().ok_or_else(malformed)
    }

    fn string(&self) -> Result<String, Failure> {
        // `binary` checks the length, and strings have the same maximum.
        self.binary()?;
        self.text().map(str::to_owned)
    }

    fn binary(&self) -> Result<Bytes, Failure> {
        let bytes = self.value.as_encoded_bytes();
        if bytes.len() > MAXIMUM_LENGTH {
            return Err(self.too_long());
        }
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn flag(&self) -> Result<bool, Failure> {
        match self.integer(255)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.not_allowed_value()),
        }
    }

    fn u16(&self) -> Result<u16, Failure> {
        self.integer(u16::MAX.into()).map(|value| value as u16)
    }

    fn u32(&self) -> Result<u32, Failure> {
        self.integer(u32::MAX.into()).map(|value| value as u32)
    }

    fn integer(&self, maximum: i64) -> Result<i64, Failure> {
        let value: i64 = number(self.value).ok_or_else(|| {
            Failure::usage(format!(
                "Property value ({}) is not a number for property {}.",
                shown(self.value),
                self.name
            ))
            .with_hint(self.expected())
        })?;
        if (0..=maximum).contains(&value) {
            return Ok(value);
        }
        Err(Failure::usage(format!(
            "Property value ({value}) out of range for property {}.",
            self.name
        ))
        .with_hint(self.expected()))
    }

    fn too_long(&self) -> Failure {
        Failure::usage(format!(
            "Property value too long for property {}.",
            self.name
        ))
        .with_hint(format!(
            "The value must have at most {MAXIMUM_LENGTH} bytes; it has {}.",
            self.value.len()
        ))
    }

    fn not_supported(&self) -> Failure {
        Failure::usage(format!(
            "{} property not supported for {} in --property argument.",
            self.name, self.command
        ))
        .with_hint(self.allowed())
    }

    /// Returns the hint for an invalid value.
    fn expected(&self) -> String {
        let expected = match self.name.as_str() {
            "payload-format-indicator"
            | "request-problem-information"
            | "request-response-information" => "0 or 1",
            "receive-maximum" | "topic-alias" => "1 to 65535",
            "topic-alias-maximum" => "0 to 65535",
            "maximum-packet-size" => "1 to 4294967295",
            "subscription-identifier" => "1 to 268435455",
            "response-topic" => "a topic name without '+' and '#'",
            "content-type" | "correlation-data" | "user-property" => "a text without NUL",
            _ => "0 to 4294967295",
        };
        format!("The value must be {expected}.")
    }

    /// Returns the hint for a property that the packet cannot have.
    fn allowed(&self) -> String {
        let names = match self.command.as_str() {
            "connect" => {
                "authentication-data, authentication-method, maximum-packet-size, receive-maximum, \
                 request-problem-information, request-response-information, session-expiry-interval, \
                 topic-alias-maximum and user-property"
            }
            "publish" => {
                "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
                 response-topic, topic-alias and user-property"
            }
            "will" => {
                "content-type, correlation-data, message-expiry-interval, payload-format-indicator, \
                 response-topic, user-property and will-delay-interval"
            }
            "subscribe" => "subscription-identifier and user-property",
            "unsubscribe" => "user-property",
            "disconnect" => "reason-string, session-expiry-interval and user-property",
            _ => return COMMANDS.to_owned(),
        };
        format!("The properties of {} are {names}.", self.command)
    }

    fn not_allowed_value(&self) -> Failure {
        Failure::usage(format!(
            "Property value ({}) is not allowed for property {}.",
            shown(self.value),
            self.name
        ))
        .with_hint(self.expected())
    }
}
