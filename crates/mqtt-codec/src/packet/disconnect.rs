//! DISCONNECT (MQTT 5.0, 3.14), the last packet on a connection. In MQTT 3.1 and 3.1.1 only a client sends DISCONNECT.
//! In MQTT 5.0 both roles may send it, with a reason code.

use super::ack::{decode_reason_code, encode_optional};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketType, ProtocolVersion, ReasonCode, Role};

/// Content of DISCONNECT. In MQTT 3.1 and 3.1.1 the packet has neither a reason code nor properties.
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
    /// Properties of DISCONNECT.
    ordered DisconnectProperties {
        /// Number of seconds for which the server keeps the session after the connection ends. `None` means that the
        /// earlier value applies. Only a client may send this property.
        0x11 session_expiry_interval: Option<u32>,
        /// Explanation of the reason code for logs and diagnostics.
        0x1F reason_string: Option<String>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
        /// Server that the client should use instead. Only a server may send this property.
        0x1C server_reference: Option<String>,
    }
}

impl Disconnect {
    /// Returns a packet without properties.
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
            // An empty body means success without properties (MQTT 5.0, 3.14.2.1).
            return Ok(disconnect);
        }
        disconnect.reason_code = decode_reason_code(reader, PacketType::Disconnect, sender)?;
        if !reader.is_empty() {
            disconnect.properties = table::decode(reader)?;
        }
        let properties = &disconnect.properties;
        let not_of_sender = match sender {
            // Only a server may refer to another server.
            Role::Client => properties.server_reference.is_some(),
            // A server must not send a Session Expiry Interval [MQTT-3.14.2-2].
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
