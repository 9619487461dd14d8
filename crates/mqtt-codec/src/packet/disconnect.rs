//! DISCONNECT (MQTT 5.0, 3.14): the orderly end, and in 5.0 the reason of any other.

use super::ack::{decode_reason_code, encode_optional};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::user_property::UserProperty;
use crate::property::{self, properties};
use crate::protocol::{PacketType, ProtocolVersion, ReasonCode, Role};

/// A DISCONNECT packet. 3.1 and 3.1.1 carry neither reason nor properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason_code: ReasonCode,
    /// Properties of 5.0.
    pub properties: DisconnectProperties,
}

properties! {
    /// The properties of DISCONNECT.
    ordered DisconnectProperties {
        /// Seconds that the session goes on, if the client changed its mind. Client only.
        0x11 session_expiry_interval: Option<u32>,
        /// An explanation for people.
        0x1F reason_string: Option<String>,
        /// What the application added.
        0x26 user_properties: Vec<UserProperty>,
        /// Another server to use. Server only.
        0x1C server_reference: Option<String>,
    }
}

impl Disconnect {
    /// Creates a packet without properties.
    pub fn new(reason_code: ReasonCode) -> Self {
        Self {
            reason_code,
            properties: DisconnectProperties::default(),
        }
    }

    pub(crate) fn decode(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
        sender: Role,
    ) -> Result<Self, DecodeError> {
        let mut disconnect = Self::new(ReasonCode::Success);
        if version != ProtocolVersion::V5_0 || reader.is_empty() {
            return Ok(disconnect);
        }
        disconnect.reason_code = decode_reason_code(reader, PacketType::Disconnect, sender)?;
        if !reader.is_empty() {
            disconnect.properties = property::decode(reader)?;
        }
        let properties = &disconnect.properties;
        let not_of_sender = match sender {
            Role::Client => properties.server_reference.is_some(),
            Role::Server => properties.session_expiry_interval.is_some(), // [MQTT-3.14.2-2]
        };
        if not_of_sender {
            Err(DecodeError::PropertyValue)
        } else {
            Ok(disconnect)
        }
    }

    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        if version == ProtocolVersion::V5_0 {
            encode_optional(self.reason_code, &self.properties, out);
        }
    }
}
