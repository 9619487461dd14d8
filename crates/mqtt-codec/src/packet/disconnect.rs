//! DISCONNECT (MQTT 5.0, 3.14), the last packet of a connection. In MQTT 5.0 it has a reason code, and a server may
//! send it too.

use super::ack::{decode_reason_code, encode_optional};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketType, ProtocolVersion, ReasonCode, Role};

/// A DISCONNECT packet. In MQTT 3.1 and 3.1.1 it has neither a reason code nor properties.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Disconnect {
    /// Reason for the end of the connection.
    pub reason_code: ReasonCode,
    /// Properties, which only MQTT 5.0 has.
    pub properties: DisconnectProperties,
}

properties! {
    /// The properties of DISCONNECT.
    ordered DisconnectProperties {
        /// Seconds that the session outlives the connection, if other than in CONNECT. Only a client sends it.
        0x11 session_expiry_interval: Option<u32>,
        /// Explanation of the reason for logs and diagnostics.
        0x1F reason_string: Option<String>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
        /// Server that the client should use instead. Only a server sends it.
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
            // An empty body stands for success without properties (MQTT 5.0, 3.14.2.1).
            return Ok(disconnect);
        }
        disconnect.reason_code = decode_reason_code(reader, PacketType::Disconnect, sender)?;
        if !reader.is_empty() {
            disconnect.properties = table::decode(reader)?;
        }
        let properties = &disconnect.properties;
        let not_of_sender = match sender {
            // Only a server refers to another server.
            Role::Client => properties.server_reference.is_some(),
            // Only a client decides how long its session lasts [MQTT-3.14.2-2].
            Role::Server => properties.session_expiry_interval.is_some(),
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
