//! CONNACK (MQTT 5.0, 3.2), the server's answer to CONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::ack::decode_reason_code;
use crate::error::{DecodeError, EncodeError};
use crate::field::{FieldReader, FieldWriter};
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketType, ProtocolVersion, QoS, ReasonCode, Role};

/// Content of CONNACK.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Connack {
    /// Set if the server resumes a session. MQTT 3.1 does not have this flag.
    pub session_present: bool,
    /// `Success` if the server accepts the connection. MQTT 3.1 and 3.1.1 call this field the return code.
    pub reason_code: ReasonCode,
    /// Properties, which only MQTT 5.0 has.
    pub properties: ConnackProperties,
}

// mosquitto sends the properties in this order. The same order keeps tools that compare bytes working.
properties! {
    /// Properties of CONNACK.
    ConnackProperties {
        /// Highest topic alias that the server accepts. `None` means that the server accepts no topic aliases.
        0x22 topic_alias_maximum: Option<u16>,
        /// Number of seconds for which the server keeps the session after the connection ends. `None` means that the
        /// value in CONNECT applies.
        0x11 session_expiry_interval: Option<u32>,
        /// Client identifier that the server has assigned.
        0x12 assigned_client_identifier: Option<String>,
        /// Keep alive in seconds that replaces the value in CONNECT. 0 disables the keep alive.
        0x13 server_keep_alive: Option<u16>,
        /// Authentication method, which is the one in CONNECT.
        0x15 authentication_method: Option<String>,
        /// Data of the authentication method.
        0x16 authentication_data: Option<Bytes>,
        /// Text from which the client can build topic names for responses.
        0x1A response_information: Option<String>,
        /// Server that the client should use instead.
        0x1C server_reference: Option<String>,
        /// Explanation of the result for logs and diagnostics.
        0x1F reason_string: Option<String>,
        /// Maximum QoS that the server supports. `None` means QoS 2.
        0x24 maximum_qos: Option<QoS>,
        /// Set to `false` if the server does not support retained messages.
        0x25 retain_available: Option<bool>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
        /// Maximum size in bytes of a packet that the server accepts.
        0x27 maximum_packet_size: Option<NonZeroU32>,
        /// Set to `false` if the server does not support wildcard subscriptions.
        0x28 wildcard_subscription_available: Option<bool>,
        /// Set to `false` if the server does not support subscription identifiers.
        0x29 subscription_identifiers_available: Option<bool>,
        /// Set to `false` if the server does not support shared subscriptions.
        0x2A shared_subscription_available: Option<bool>,
        /// Maximum number of messages of QoS 1 and 2 in flight from the client to the server. `None` means 65,535.
        0x21 receive_maximum: Option<NonZeroU16>,
    }
}

impl Connack {
    /// Returns the code that this version transmits: the reason code in MQTT 5.0, the return code in MQTT 3.1 and
    /// 3.1.1. If no return code has the same meaning, this method returns 3 (server unavailable).
    pub fn code(&self, version: ProtocolVersion) -> u8 {
        match version {
            ProtocolVersion::V5_0 => self.reason_code.value(),
            _ => self.reason_code.connect_return_code().unwrap_or(3),
        }
    }

    pub(crate) fn decode(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if version != ProtocolVersion::V3_1 && flags > 1 {
            // The other bits are reserved [MQTT-3.2.2-1].
            return Err(DecodeError::ConnectFlags);
        }
        let session_present = version != ProtocolVersion::V3_1 && flags == 1;
        // A server that does not support MQTT 5.0 answers with a CONNACK of MQTT 3.1.1: a return code and no
        // properties.
        let has_return_code = version != ProtocolVersion::V5_0 || reader.rest().len() == 1;
        if !has_return_code {
            let reason_code = decode_reason_code(reader, PacketType::Connack, Role::Server)
                .map_err(connack_code)?;
            let properties: ConnackProperties = table::decode(reader)?;
            if properties.authentication_data.is_some()
                && properties.authentication_method.is_none()
            {
                // Authentication data without a method is a Protocol Error (MQTT 5.0, 3.2.2.3.18).
                return Err(DecodeError::PropertyValue);
            }
            return Ok(Self {
                session_present,
                reason_code,
                properties,
            });
        }
        let value = reader.u8()?;
        let reason_code = match value {
            // A CONNACK of MQTT 5.0 has at least a Property Length. A success without one comes from a server that uses
            // another version than this connection, so the connection cannot work.
            0 if version == ProtocolVersion::V5_0 => ReasonCode::UnsupportedProtocolVersion,
            _ => ReasonCode::from_connect_return_code(value)
                .ok_or(DecodeError::ConnackCode(value))?,
        };
        Ok(Self {
            session_present,
            reason_code,
            properties: ConnackProperties::default(),
        })
    }

    /// Encodes the flags, the reason code or return code, and the properties.
    ///
    /// # Errors
    /// Returns an error if MQTT 3.1 and 3.1.1 have no return code with the meaning of the reason code.
    pub(crate) fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        // MQTT 3.1 has no Session Present flag. The byte is reserved there.
        out.put_u8((self.session_present && version != ProtocolVersion::V3_1).into());
        if version == ProtocolVersion::V5_0 {
            out.put_u8(self.reason_code.value());
            table::encode(&self.properties, out);
        } else {
            let code = self.reason_code.connect_return_code();
            out.put_u8(code.ok_or(EncodeError::UnsupportedPacket)?);
        }
        Ok(())
    }
}

/// Turns the error for an invalid reason code into the error for CONNACK. The exit status of the command-line clients
/// depends on the code in CONNACK, so this error must be distinguishable.
fn connack_code(error: DecodeError) -> DecodeError {
    match error {
        DecodeError::ReasonCode(code) => DecodeError::ConnackCode(code),
        error => error,
    }
}
