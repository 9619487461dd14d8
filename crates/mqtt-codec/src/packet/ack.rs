//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5.0, 3.4 to 3.7). The four packets have the same layout, so one type serves
//! all of them.

use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::table::{self, properties};
use crate::property::user_property::UserProperty;
use crate::protocol::{PacketIdentifier, PacketType, ProtocolVersion, ReasonCode, Role};

/// Content of PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Ack {
    /// Packet identifier of the PUBLISH to whose exchange this packet belongs.
    pub packet_identifier: PacketIdentifier,
    /// Result. MQTT 3.1 and 3.1.1 have no reason code here, and the decoder returns `Success`.
    pub reason_code: ReasonCode,
    /// Properties, which only MQTT 5.0 has.
    pub properties: AckProperties,
}

properties! {
    /// Properties of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
    AckProperties {
        /// Explanation of the result for logs and diagnostics.
        0x1F reason_string: Option<String>,
        /// User properties.
        0x26 user_properties: Vec<UserProperty>,
    }
}

impl Ack {
    /// Returns a packet without properties.
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
        // A packet that ends after the packet identifier means success (MQTT 5.0, 3.4.2.1).
        if version == ProtocolVersion::V5_0 && !reader.is_empty() {
            ack.reason_code = match (packet_type, sender) {
                // Reason codes in a server's PUBACK and PUBREC are not checked; `any_reason_code` gives the reason.
                // Reason codes of a client are checked, because a server must close the connection after a malformed
                // packet [MQTT-4.13.1-1].
                (PacketType::Puback | PacketType::Pubrec, Role::Server) => {
                    any_reason_code(reader.u8()?)
                }
                _ => decode_reason_code(reader, packet_type, sender)?,
            };
            if !reader.is_empty() {
                ack.properties = table::decode(reader)?;
            }
        }
        Ok(ack)
    }

    #[inline(always)] // Acknowledgements are as frequent as messages.
    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        out.put_u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5_0 {
            encode_optional(self.reason_code, &self.properties, out);
        }
    }
}

/// Returns the reason code of a server's PUBACK or PUBREC. Every value is accepted.
///
/// Some servers send reason codes that the standard allows in other packets only: mosquitto answers a message above
/// `message_size_limit` with 0x95 (packet too large). Such a reason code concerns one message. Closing the connection
/// would also disturb the other messages in flight. A value that the standard does not define counts as success if it
/// is below 0x80, and otherwise as 0x80 (unspecified error).
fn any_reason_code(value: u8) -> ReasonCode {
    ReasonCode::from_value(value).unwrap_or(match value {
        0x80.. => ReasonCode::UnspecifiedError,
        _ => ReasonCode::Success,
    })
}

/// Reads a reason code and checks that this sender may send the reason code in this packet.
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

/// Writes the reason code and the properties at the end of a packet. The standard allows a sender to omit both if they
/// are defaults.
pub(crate) fn encode_optional<'a>(
    reason_code: ReasonCode,
    properties: &impl table::Properties<'a>,
    out: &mut impl FieldWriter,
) {
    let no_properties = table::are_absent(properties);
    // Most acknowledgements have neither a failure nor properties, and then need two bytes as in MQTT 3.1.1.
    if no_properties && reason_code == ReasonCode::Success {
        return;
    }
    out.put_u8(reason_code.value());
    // A packet that ends after the reason code has no properties, so a Property Length of zero can be omitted.
    if !no_properties {
        table::encode(properties, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Decoder;
    use crate::packet::PacketRef;

    #[test]
    fn accepts_any_reason_code_in_puback_and_pubrec_of_a_server() {
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
