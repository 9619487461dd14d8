//! CONNECT (MQTT 5.0, 3.1), the first packet of a client. CONNECT sets the version of the connection and may carry a
//! will.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::message::{Message, MessageProperties};
use crate::property::publish_property::Property;
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{ProtocolVersion, QoS};
use crate::topic::TopicName;

/// Content of CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Connect {
    /// Version of all packets on the connection.
    pub protocol_version: ProtocolVersion,
    /// Set if the client is a broker that connects as a bridge. mosquitto transmits this flag in bit 7 of the protocol
    /// level; the standard does not define it. MQTT 3.1
    /// and 3.1.1 have no subscription options. For a bridge the server then acts as if each subscription had the
    /// options No Local and Retain As Published.
    pub is_bridge: bool,
    /// Set if the server must discard an existing session. MQTT 3.1 and 3.1.1 call this flag Clean Session; there, the
    /// new session also ends with the connection.
    pub clean_start: bool,
    /// Maximum time in seconds between two packets of the client. 0 disables the keep alive.
    pub keep_alive: u16,
    /// Client identifier, which names the session. Empty if the server must assign one.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::text))]
    pub client_identifier: String,
    /// Message that the server publishes if the connection ends without DISCONNECT.
    pub will: Option<Will>,
    /// User name.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::optional_text))]
    pub user_name: Option<String>,
    /// Password, which may be any bytes. MQTT 3.1 and 3.1.1 do not allow a password without a user name.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::arbitrary::optional_bytes))]
    pub password: Option<Bytes>,
    /// Properties, which only MQTT 5.0 has.
    pub properties: ConnectProperties,
}

/// Will: a message that the server publishes if the connection ends without DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Will {
    /// The message to publish.
    pub message: Message,
    /// QoS of the message.
    pub qos: QoS,
    /// Number of seconds between the end of the connection and the publication of the will. `None` means 0.
    pub will_delay_interval: Option<u32>,
}

properties! {
    /// Properties of CONNECT.
    ordered ConnectProperties {
        /// Number of seconds for which the server keeps the session after the connection ends. 0xFFFFFFFF means no
        /// limit.
        0x11 session_expiry_interval: Option<u32>,
        /// Authentication method.
        0x15 authentication_method: Option<String>,
        /// Data of the authentication method.
        0x16 authentication_data: Option<Bytes>,
        /// Set to `false` if the server may send reason strings and user properties only in PUBLISH, CONNACK and
        /// DISCONNECT.
        0x17 request_problem_information: Option<bool>,
        /// Set to `true` if the server should send response information.
        0x19 request_response_information: Option<bool>,
        /// Maximum number of messages of QoS 1 and 2 in flight from the server to the client. `None` means 65,535.
        0x21 receive_maximum: Option<NonZeroU16>,
        /// Highest topic alias that the client accepts. `None` means that the client accepts no topic aliases.
        0x22 topic_alias_maximum: Option<u16>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
        /// Maximum size in bytes of a packet that the client accepts.
        0x27 maximum_packet_size: Option<NonZeroU32>,
    }
}

/// Bit of the protocol level that marks a bridge.
const BRIDGE: u8 = 1 << 7;

/// Identifier of the Will Delay Interval, the only property of a will that does not belong to its message.
const WILL_DELAY_INTERVAL: u8 = 0x18;

mod flag {
    pub(super) const CLEAN_START: u8 = 1 << 1;
    pub(super) const WILL: u8 = 1 << 2;
    pub(super) const WILL_RETAIN: u8 = 1 << 5;
    pub(super) const PASSWORD: u8 = 1 << 6;
    pub(super) const USER_NAME: u8 = 1 << 7;
}

impl Connect {
    /// Returns a CONNECT with Clean Start, a keep alive of 60 seconds, and no will, credentials or properties.
    pub fn new(protocol_version: ProtocolVersion, client_identifier: impl Into<String>) -> Self {
        Self {
            protocol_version,
            is_bridge: false,
            clean_start: true,
            keep_alive: 60,
            client_identifier: client_identifier.into(),
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// Decodes the protocol name and the protocol level. Returns the version, and `true` if the client is a bridge.
    pub(crate) fn decode_version(
        reader: &mut FieldReader<'_>,
    ) -> Result<(ProtocolVersion, bool), DecodeError> {
        let name = reader.binary()?;
        let level = reader.u8()?;
        // The bridge bit is accepted in every version, as mosquitto does.
        let version = match (name, level & !BRIDGE) {
            (b"MQIsdp", 3) => ProtocolVersion::V3_1,
            (b"MQTT", 4) => ProtocolVersion::V3_1_1,
            (b"MQTT", 5) => ProtocolVersion::V5_0,
            // A server answers an unsupported protocol level with CONNACK [MQTT-3.1.2-2]. For any other protocol name
            // the server closes the connection without an answer.
            (b"MQIsdp" | b"MQTT", _) => return Err(DecodeError::UnsupportedProtocolVersion(level)),
            _ => return Err(DecodeError::ProtocolName),
        };
        Ok((version, level & BRIDGE != 0))
    }

    /// Decodes the fields after the protocol level.
    pub(crate) fn decode(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
        is_bridge: bool,
    ) -> Result<Box<Self>, DecodeError> {
        let flags = reader.u8()?;
        check_flags(flags, version)?;
        // Keep Alive follows in all versions, and properties only in MQTT 5.0.
        let keep_alive = reader.u16()?;
        let properties = match version {
            ProtocolVersion::V5_0 => table::decode(reader)?,
            _ => ConnectProperties::default(),
        };
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            // Authentication data without a method is a Protocol Error (MQTT 5.0, 3.1.2.11.10).
            return Err(DecodeError::PropertyValue);
        }
        // The payload must have its fields in this order [MQTT-3.1.3-1].
        let client_identifier = reader.string()?.to_owned();
        let will = match flags & flag::WILL {
            0 => None,
            _ => Some(Will::decode(flags, reader, version)?),
        };
        // In MQTT 3.1 a flag may be set without its field: the Remaining Length takes precedence over the flag (MQTT
        // 3.1, 3.1).
        let may_be_missing = version == ProtocolVersion::V3_1;
        let present = |flag, reader: &FieldReader<'_>| {
            flags & flag != 0 && !(may_be_missing && reader.is_empty())
        };
        let mut user_name = None;
        if present(flag::USER_NAME, reader) {
            user_name = Some(reader.string()?.to_owned());
        }
        let mut password = None;
        if present(flag::PASSWORD, reader) {
            password = Some(Bytes::copy_from_slice(reader.binary()?));
        }
        reader.finish()?;
        Ok(Box::new(Self {
            protocol_version: version,
            is_bridge,
            clean_start: flags & flag::CLEAN_START != 0,
            keep_alive,
            client_identifier,
            will,
            user_name,
            password,
            properties,
        }))
    }

    pub(crate) fn encode(&self, out: &mut impl FieldWriter) {
        let version = self.protocol_version;
        // MQTT 3.1 has a different protocol name.
        out.put_string(if version == ProtocolVersion::V3_1 {
            "MQIsdp"
        } else {
            "MQTT"
        });
        out.put_u8(version.level() | if self.is_bridge { BRIDGE } else { 0 });
        out.put_u8(self.flags());
        out.put_u16(self.keep_alive);
        if version == ProtocolVersion::V5_0 {
            table::encode(&self.properties, out);
        }
        // The fields of the payload must have this order [MQTT-3.1.3-1].
        out.put_string(&self.client_identifier);
        if let Some(will) = &self.will {
            will.encode(version, out);
        }
        if let Some(user_name) = &self.user_name {
            out.put_string(user_name);
        }
        if let Some(password) = &self.password {
            if self.user_name.is_none() && version != ProtocolVersion::V5_0 {
                // MQTT 3.1 and 3.1.1 do not allow a password without a user name [MQTT-3.1.2-22 of 3.1.1].
                out.reject();
            }
            out.put_binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= flag::CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= flag::WILL | (will.qos as u8) << 3;
            if will.message.retain {
                flags |= flag::WILL_RETAIN;
            }
        }
        if self.user_name.is_some() {
            flags |= flag::USER_NAME;
        }
        if self.password.is_some() {
            flags |= flag::PASSWORD;
        }
        flags
    }
}

impl Will {
    /// Returns a will that the server publishes without delay.
    pub fn new(message: Message, qos: QoS) -> Self {
        Self {
            message,
            qos,
            will_delay_interval: None,
        }
    }

    fn decode(
        flags: u8,
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let (properties, will_delay_interval) = match version {
            ProtocolVersion::V5_0 => decode_will_properties(reader)?,
            _ => Default::default(),
        };
        // The server publishes the will later, when no answer to the client is possible. An invalid topic name must be
        // detected now.
        let topic_name = TopicName::new(reader.string()?).map_err(|_| DecodeError::TopicName)?;
        let payload = Bytes::copy_from_slice(reader.binary()?);
        let message = Message {
            topic_name,
            payload,
            retain: flags & flag::WILL_RETAIN != 0,
            properties: (!properties.is_empty()).then(|| Box::new(properties)),
        };
        // A will QoS of 3 is a malformed packet [MQTT-3.1.2-12].
        let qos = QoS::from_value(flags >> 3 & 3).ok_or(DecodeError::QoS)?;
        Ok(Self {
            message,
            qos,
            will_delay_interval,
        })
    }

    fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        if version == ProtocolVersion::V5_0 {
            self.encode_properties(out);
        }
        out.put_string(&self.message.topic_name);
        out.put_binary(&self.message.payload);
    }

    fn encode_properties(&self, out: &mut impl FieldWriter) {
        let properties = self.message.properties.as_deref();
        let block = properties.map_or(&[][..], |properties| &properties.block);
        let delay = self.will_delay_interval;
        // `MessageProperties::push` has validated these properties, so their encoded form is copied without a check.
        let length = block.len() + delay.map_or(0, |_| 1 + size_of::<u32>());
        out.put_variable_byte_integer(u32::try_from(length).unwrap_or(u32::MAX));
        if let Some(seconds) = delay {
            out.put_u8(WILL_DELAY_INTERVAL);
            out.put_u32(seconds);
        }
        out.put(block);
    }
}

/// Decodes the properties of a will: the properties of the message, and the Will Delay Interval.
fn decode_will_properties(
    reader: &mut FieldReader<'_>,
) -> Result<(MessageProperties, Option<u32>), DecodeError> {
    let length = reader.variable_byte_integer()?;
    let mut block = FieldReader::new(reader.bytes(length as usize)?);
    let mut properties = MessageProperties::default();
    let mut delay = None;
    while !block.is_empty() {
        let identifier = block.variable_byte_integer()?;
        // The Will Delay Interval is for the server only. A server does not forward it with the message.
        if identifier == u32::from(WILL_DELAY_INTERVAL) {
            if delay.replace(block.u32()?).is_some() {
                return Err(DecodeError::DuplicateProperty);
            }
            continue;
        }
        let property = Property::read(identifier, &mut block)?;
        if !property.is_of_message() {
            // A will has neither topic alias nor subscription identifiers (MQTT 5.0, 3.1.3.2).
            return Err(DecodeError::PropertyNotAllowed);
        }
        properties
            .push(property)
            // `Property::read` has validated the value, so the only possible error is a duplicate.
            .map_err(|_| DecodeError::DuplicateProperty)?;
    }
    Ok((properties, delay))
}

/// Checks the combinations of the connect flags [MQTT-3.1.2-3, MQTT-3.1.2-11, MQTT-3.1.2-13].
fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    let set = |flag: u8| flags & flag != 0;
    // MQTT 3.1 does not require a server to check bit 0, or the will flags of a CONNECT without a will.
    let invalid = version != ProtocolVersion::V3_1
        && (set(1) || !set(flag::WILL) && set(flag::WILL_RETAIN | 3 << 3))
        || set(flag::PASSWORD) && !set(flag::USER_NAME) && version != ProtocolVersion::V5_0;
    if invalid {
        Err(DecodeError::ConnectFlags)
    } else {
        Ok(())
    }
}
