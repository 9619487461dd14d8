//! [`Given`]: the arguments of one option `-D`, and the property that this option sets.

use std::ffi::{OsStr, OsString};
use std::num::{NonZeroU16, NonZeroU32};

use mqtt_codec::{
    ConnectProperties, DisconnectProperties, EncodeError, MessageProperties, Property,
    SubscribeProperties, SubscriptionIdentifier, TopicAlias, TopicName, UserProperty,
};

use super::packets::Properties;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::wording::shown;

/// Maximum length of a string or of binary data in MQTT.
pub(super) const MAXIMUM_LENGTH: usize = 65535;

/// The hint for an unknown command.
pub(super) const COMMANDS: &str =
    "The commands are connect, publish, subscribe, unsubscribe, disconnect and will.";

/// The words of one `-D`. Command and name are in lower case, because mosquitto ignores their case.
pub(crate) struct Given<'a> {
    pub(super) command: String,
    pub(super) name: String,
    pub(super) value: &'a OsStr,
}

/// Packets whose properties a user cannot set, because the programs do not send these packets or send them as answers.
const REFUSED: &[&str] = &[
    "auth", "puback", "pubrec", "pubrel", "pubcomp", "suback", "unsuback",
];

/// The names and identifiers of all properties of the standard.
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
}
