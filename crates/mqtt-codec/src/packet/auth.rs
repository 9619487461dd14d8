//! AUTH (MQTT 5.0, 3.15): one step of an extended authentication.

use bytes::Bytes;

use super::ack::{decode_reason_code, encode_optional};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::user_property::UserProperty;
use crate::property::{self, properties};
use crate::protocol::{PacketType, ReasonCode, Role};

/// An AUTH packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Success, continue, or authenticate again.
    pub reason_code: ReasonCode,
    /// Its properties; the method is always there [MQTT 5.0, 3.15.2.2.2].
    pub properties: AuthProperties,
}

properties! {
    /// The properties of AUTH.
    AuthProperties {
        /// The method, as in CONNECT.
        0x15 authentication_method: Option<String>,
        /// Data of the method.
        0x16 authentication_data: Option<Bytes>,
        /// An explanation for people.
        0x1F reason_string: Option<String>,
        /// What the application added.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl Auth {
    pub(crate) fn decode(reader: &mut FieldReader<'_>, sender: Role) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Err(DecodeError::PropertyValue); // no method
        }
        let reason_code = decode_reason_code(reader, PacketType::Auth, sender)?;
        if reader.is_empty() {
            return Err(DecodeError::PropertyValue);
        }
        let properties: AuthProperties = property::decode(reader)?;
        if properties.authentication_method.is_none() {
            return Err(DecodeError::PropertyValue);
        }
        Ok(Self {
            reason_code,
            properties,
        })
    }

    pub(crate) fn encode(&self, out: &mut impl FieldWriter) {
        encode_optional(self.reason_code, &self.properties, out);
    }
}
