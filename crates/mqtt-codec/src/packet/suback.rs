//! SUBACK and UNSUBACK (MQTT 5.0, 3.9 and 3.11). Both have one reason code for each topic filter, in the order of the
//! request.

use super::ack::AckProperties;
use super::ack::decode_reason_code;
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::property::table;
use crate::protocol::{PacketIdentifier, PacketType, ProtocolVersion, ReasonCode, Role};

/// Content of SUBACK and UNSUBACK.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Suback {
    /// Packet identifier of the request.
    pub packet_identifier: PacketIdentifier,
    /// Reason codes, one for each topic filter of the request. In MQTT 3.1 and 3.1.1 UNSUBACK has no reason codes.
    pub reason_codes: Vec<ReasonCode>,
    /// Properties, which only MQTT 5.0 has.
    pub properties: AckProperties,
}

impl Suback {
    /// Returns a packet without properties.
    pub fn new(packet_identifier: PacketIdentifier, reason_codes: Vec<ReasonCode>) -> Self {
        Self {
            packet_identifier,
            reason_codes,
            properties: AckProperties::default(),
        }
    }

    pub(crate) fn decode_suback(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let suback = Self::decode(reader, version, PacketType::Suback)?;
        // MQTT 5.0 has the success codes of MQTT 3.1.1, so only the failures need a check.
        if version != ProtocolVersion::V5_0 {
            // MQTT 3.1.1 defines no failure except 0x80 [MQTT-3.9.3-2 of 3.1.1].
            let invalid = suback
                .reason_codes
                .iter()
                .find(|code| code.is_error() && **code != ReasonCode::UnspecifiedError);
            if let Some(code) = invalid {
                return Err(DecodeError::ReasonCode(code.value()));
            }
        }
        Ok(suback)
    }

    pub(crate) fn decode_unsuback(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        if version != ProtocolVersion::V5_0 {
            // UNSUBACK of MQTT 3.1 and 3.1.1 has no payload.
            return Ok(Self::new(reader.packet_identifier()?, Vec::new()));
        }
        Self::decode(reader, version, PacketType::Unsuback)
    }

    fn decode(
        reader: &mut FieldReader<'_>,
        version: ProtocolVersion,
        packet_type: PacketType,
    ) -> Result<Self, DecodeError> {
        let mut suback = Self::new(reader.packet_identifier()?, Vec::new());
        if version == ProtocolVersion::V5_0 {
            suback.properties = table::decode(reader)?;
        }
        while !reader.is_empty() {
            suback
                .reason_codes
                .push(decode_reason_code(reader, packet_type, Role::Server)?);
        }
        if suback.reason_codes.is_empty() {
            // A request has at least one topic filter, so its answer must have at least one reason code (statement
            // U5-24 in docs/generated/conformance.md).
            return Err(DecodeError::NothingListed);
        }
        Ok(suback)
    }

    pub(crate) fn encode_suback(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        out.put_u16(self.packet_identifier.get());
        if version == ProtocolVersion::V5_0 {
            table::encode(&self.properties, out);
        }
        for &code in &self.reason_codes {
            out.put_u8(match version {
                ProtocolVersion::V5_0 => code.value(),
                // MQTT 3.1 and 3.1.1 have a single failure code, 0x80.
                _ if code.is_error() => ReasonCode::UnspecifiedError.value(),
                _ => code.value(),
            });
        }
    }

    pub(crate) fn encode_unsuback(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        if version == ProtocolVersion::V5_0 {
            self.encode_suback(version, out);
        } else {
            out.put_u16(self.packet_identifier.get());
        }
    }
}
