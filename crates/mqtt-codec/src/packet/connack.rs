//! CONNACK (MQTT 5.0, 3.2): the server's answer to CONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::ack::decode_reason_code;
use crate::error::{DecodeError, EncodeError};
use crate::field::{FieldReader, FieldWriter};
use crate::property::user_property::UserProperty;
use crate::property::{self, properties};
use crate::protocol::{PacketType, ProtocolVersion, QoS, ReasonCode, Role};

/// A CONNACK packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connack {
    /// Set if the server resumes a session; never set in 3.1.
    pub session_present: bool,
    /// Success if the connection is accepted; in 3.1 and 3.1.1 the return code.
    pub reason_code: ReasonCode,
    /// Properties of 5.0.
    pub properties: ConnackProperties,
}

// In mosquitto's order, so that tools that compare bytes see no difference.
properties! {
    /// The properties of CONNACK.
    ConnackProperties {
        /// The highest topic alias that the server takes; none if absent.
        0x22 topic_alias_maximum: Option<u16>,
        /// Seconds that the session outlives the connection, if not what CONNECT asked for.
        0x11 session_expiry_interval: Option<u32>,
        /// The client identifier that the server chose.
        0x12 assigned_client_identifier: Option<String>,
        /// Seconds that replace the client's keep alive; 0 is off.
        0x13 server_keep_alive: Option<u16>,
        /// The method of extended authentication.
        0x15 authentication_method: Option<String>,
        /// Data of the method.
        0x16 authentication_data: Option<Bytes>,
        /// What to build response topics from.
        0x1A response_information: Option<String>,
        /// Another server to use.
        0x1C server_reference: Option<String>,
        /// An explanation for people.
        0x1F reason_string: Option<String>,
        /// The highest QoS that the server takes, if not 2.
        0x24 maximum_qos: Option<QoS>,
        /// Whether the server keeps retained messages; yes if absent.
        0x25 retain_available: Option<bool>,
        /// What the application added.
        0x26 user_properties: Vec<UserProperty>,
        /// The largest packet in bytes that the server takes.
        0x27 maximum_packet_size: Option<NonZeroU32>,
        /// Whether wildcards are possible; yes if absent.
        0x28 wildcard_subscription_available: Option<bool>,
        /// Whether subscription identifiers are possible; yes if absent.
        0x29 subscription_identifiers_available: Option<bool>,
        /// Whether shared subscriptions are possible; yes if absent.
        0x2A shared_subscription_available: Option<bool>,
        /// How many messages of QoS 1 and 2 the server takes at a time; 65535 if absent.
        0x21 receive_maximum: Option<NonZeroU16>,
    }
}

impl Connack {
    /// The code as this version writes it: a reason code, or a return code of 3.1 and 3.1.1; 3 (server
    /// unavailable) if that has none that says the same.
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
            return Err(DecodeError::ConnectFlags); // [MQTT-3.2.2-1]
        }
        let session_present = version != ProtocolVersion::V3_1 && flags == 1;
        // A server that does not know 5.0 answers with a return code and nothing behind it.
        let is_old = version != ProtocolVersion::V5_0 || reader.rest().len() == 1;
        if !is_old {
            let reason_code = decode_reason_code(reader, PacketType::Connack, Role::Server)
                .map_err(connack_code)?;
            let properties: ConnackProperties = property::decode(reader)?;
            if properties.authentication_data.is_some()
                && properties.authentication_method.is_none()
            {
                return Err(DecodeError::PropertyValue); // MQTT 5.0, 3.2.2.3.18
            }
            return Ok(Self {
                session_present,
                reason_code,
                properties,
            });
        }
        let value = reader.u8()?;
        let reason_code = match value {
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

    /// # Errors
    /// If the version has no code that says the same.
    pub(crate) fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        out.put_u8((self.session_present && version != ProtocolVersion::V3_1).into());
        if version == ProtocolVersion::V5_0 {
            out.put_u8(self.reason_code.value());
            property::encode(&self.properties, out);
        } else {
            let code = self.reason_code.connect_return_code();
            out.put_u8(code.ok_or(EncodeError::UnsupportedPacket)?);
        }
        Ok(())
    }
}

/// Tells a wrong code of CONNACK from those of other packets: it is what programs end with.
fn connack_code(error: DecodeError) -> DecodeError {
    match error {
        DecodeError::ReasonCode(code) => DecodeError::ConnackCode(code),
        error => error,
    }
}
