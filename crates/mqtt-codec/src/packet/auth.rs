//! AUTH (MQTT 5.0, 3.15), one step of an enhanced authentication. MQTT 3.1 and 3.1.1 do not have this packet.

use bytes::Bytes;

use super::ack::{decode_reason_code, encode_optional};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketType, ReasonCode, Role};

/// Content of AUTH.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Auth {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate`.
    pub reason_code: ReasonCode,
    /// Properties. A decoded AUTH always has an authentication method (MQTT 5.0, 3.15.2.2.2).
    pub properties: AuthProperties,
}

properties! {
    /// Properties of AUTH.
    AuthProperties {
        /// Authentication method. The method of an exchange is the one in CONNECT.
        0x15 authentication_method: Option<String>,
        /// Data of the authentication method.
        0x16 authentication_data: Option<Bytes>,
        /// Explanation of the result for logs and diagnostics.
        0x1F reason_string: Option<String>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl Auth {
    pub(crate) fn decode(reader: &mut FieldReader<'_>, sender: Role) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            // An empty body means success without properties, but AUTH must have an authentication method.
            return Err(DecodeError::PropertyValue);
        }
        let reason_code = decode_reason_code(reader, PacketType::Auth, sender)?;
        if reader.is_empty() {
            return Err(DecodeError::PropertyValue);
        }
        let properties: AuthProperties = table::decode(reader)?;
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
