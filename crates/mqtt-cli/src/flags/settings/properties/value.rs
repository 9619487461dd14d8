//! The value of one option `-D`: its conversion to the type of the property, and the errors for values and properties
//! that the packet cannot have.

use bytes::Bytes;

use super::given::{COMMANDS, Given, MAXIMUM_LENGTH};
use crate::failure::Failure;
use crate::flags::values::number;
use crate::wording::shown;

impl Given<'_> {
    pub(super) fn text(&self) -> Result<&str, Failure> {
        let malformed = || Failure::usage("Malformed UTF-8 in --property argument.");
        self.value.to_str().ok_or_else(malformed)
    }

    pub(super) fn string(&self) -> Result<String, Failure> {
        // `binary` checks the length, and strings have the same maximum.
        self.binary()?;
        self.text().map(str::to_owned)
    }

    pub(super) fn binary(&self) -> Result<Bytes, Failure> {
        let bytes = self.value.as_encoded_bytes();
        if bytes.len() > MAXIMUM_LENGTH {
            return Err(self.too_long());
        }
        Ok(Bytes::copy_from_slice(bytes))
    }

    pub(super) fn flag(&self) -> Result<bool, Failure> {
        match self.integer(255)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.not_allowed_value()),
        }
    }

    pub(super) fn u16(&self) -> Result<u16, Failure> {
        self.integer(u16::MAX.into()).map(|value| value as u16)
    }

    pub(super) fn u32(&self) -> Result<u32, Failure> {
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

    pub(super) fn too_long(&self) -> Failure {
        Failure::usage(format!(
            "Property value too long for property {}.",
            self.name
        ))
        .with_hint(format!(
            "The value must have at most {MAXIMUM_LENGTH} bytes; it has {}.",
            self.value.len()
        ))
    }

    pub(super) fn not_supported(&self) -> Failure {
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
    pub(super) fn allowed(&self) -> String {
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

    pub(super) fn not_allowed_value(&self) -> Failure {
        Failure::usage(format!(
            "Property value ({}) is not allowed for property {}.",
            shown(self.value),
            self.name
        ))
        .with_hint(self.expected())
    }

    pub(super) fn is_given_twice(&self) -> Failure {
        Failure::usage("Duplicate property in property list.")
            .with_hint(format!("{} of {} is given twice.", self.name, self.command))
    }
}
