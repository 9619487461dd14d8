//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0, 3.4 to 3.7): four packets with one layout.

use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::user_property::UserProperty;
use crate::property::{self, properties};
use crate::protocol::{PacketIdentifier, PacketType, ProtocolVersion, ReasonCode, Role};

/// The content of a PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The exchange that it belongs to.
    pub packet_identifier: PacketIdentifier,
    /// The result; always success in 3.1 and 3.1.1.
    pub reason_code: ReasonCode,
    /// Properties of 5.0.
    pub properties: AckProperties,
}

properties! {
    /// The properties of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
    AckProperties {
        /// An explanation for people.
        0x1F reason_string: Option<String>,
        /// What the application added.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl Ack {
    /// Creates a packet without properties.
    pub fn new(packet_identifier: PacketIdentifier, reason_code: ReasonCode) -> Self {
        Self {
            packet_identifier,
            reason_code,
            properties: AckProperties::default(),
        }
    }

    pub(crate) fn decode(
        packet_type: PacketType,
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
        sender: Role,
    ) -> Result<Self, DecodeError> {
        let mut ack = Self::new(reader.packet_identifier()?, ReasonCode::Success);
        if version == ProtocolVersion::V5_0 && !reader.is_empty() {
            ack.reason_code = match (packet_type, sender) {
                (PacketType::Puback | PacketType::Pubrec, Role::Server) => {
                    any_reason_code(reader.u8()?)
                }
                _ => decode_reason_code(reader, packet_type, sender)?,
            };
            if !reader.is_empty() {
                ack.properties = property::decode(reader)?;
            }
        }
        Ok(ack)
    }

    #[inline(always)] // there are as many as messages
    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        out.put_u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5_0 {
            encode_optional(self.reason_code, &self.properties, out);
        }
    }
}

/// The reason code of a server's PUBACK or PUBREC. Servers use codes of other packets too: mosquitto answers a message
/// above `message_size_limit` with 0x95 (packet too large). That is about one message, and no reason to end the
/// connection, on which others are in flight. A value that the standard does not define counts as 0x80 (unspecified
/// error), or as success below that.
fn any_reason_code(value: u8) -> ReasonCode {
    ReasonCode::from_value(value).unwrap_or(match value {
        0x80.. => ReasonCode::UnspecifiedError,
        _ => ReasonCode::Success,
    })
}

/// A reason code that the sender may put into this packet.
pub(crate) fn decode_reason_code(
    reader: &mut FieldReader<'_>,
    packet_type: PacketType,
    sender: Role,
) -> Result<ReasonCode, DecodeError> {
    let value = reader.u8()?;
    ReasonCode::from_value(value)
        .filter(|code| code.is_allowed(packet_type, sender))
        .ok_or(DecodeError::ReasonCode(value))
}

/// Reason code and properties at the end of a packet, where what has its default is left out.
pub(crate) fn encode_optional<'a>(
    reason_code: ReasonCode,
    properties: &impl property::Properties<'a>,
    out: &mut impl FieldWriter,
) {
    let no_properties = property::are_absent(properties);
    if no_properties && reason_code == ReasonCode::Success {
        return;
    }
    out.put_u8(reason_code.value());
    if !no_properties {
        property::encode(properties, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Decoder;
    use crate::packet::PacketRef;

    #[test]
    fn a_server_may_reject_a_message_with_any_code() {
        for first in [0x40, 0x50] {
            for (value, expected) in [
                (0x00, ReasonCode::Success),
                (0x10, ReasonCode::NoMatchingSubscribers),
                (0x42, ReasonCode::Success),
                (0x92, ReasonCode::PacketIdentifierNotFound),
                (0x95, ReasonCode::PacketTooLarge),
                (0xC3, ReasonCode::UnspecifiedError),
            ] {
                let bytes = [first, 3, 0, 1, value];
                let mut decoder = Decoder::client(ProtocolVersion::V5_0, 100);
                let ack = match decoder.decode(&mut &bytes[..]).unwrap().unwrap() {
                    PacketRef::Puback(ack) | PacketRef::Pubrec(ack) => ack,
                    packet => panic!("{packet:?}"),
                };
                assert_eq!(ack.reason_code, expected, "{value:#x}");
            }
        }
    }
}
