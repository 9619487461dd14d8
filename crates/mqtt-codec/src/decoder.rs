//! [`Decoder`] splits a stream of bytes into packets (MQTT 5.0, 2.1). The caller buffers the stream; a packet may
//! arrive in any number of pieces. The decoder checks each packet by itself. The crate `mqtt-session` checks rules that
//! concern several packets, such as the packet identifiers in use.

use crate::error::DecodeError;
use crate::field::{FieldReader, variable_byte_integer};
use crate::packet::PacketRef;
use crate::packet::connect::Connect;
use crate::packet::publish::PublishRef;
use crate::protocol::{MAXIMUM_PACKET_SIZE, PacketType, ProtocolVersion, Role};

/// Size of the largest CONNECT of MQTT 3.1.1 in bytes: the variable header, five fields with length prefixes, and the
/// fixed header. The properties of MQTT 5.0 could make a CONNECT larger. The decoder rejects such a CONNECT, because a
/// server should not buffer more for a client that is not authenticated yet.
const MAXIMUM_CONNECT_SIZE: u32 = 10 + 5 * 65537 + 4;

/// Decoder of the packets that one end of a connection receives.
///
/// After an error each later call returns the same error, because the decoder cannot find the start of the next packet.
#[derive(Debug, Clone)]
pub struct Decoder {
    role: Role,
    /// The version of the connection. `None` at a server until the decoder has read the version from CONNECT.
    version: Option<ProtocolVersion>,
    /// Maximum size in bytes of a packet after CONNECT.
    maximum_packet_size: u32,
    /// Maximum size of the next packet in bytes. At a server the limit of CONNECT applies first.
    limit: u32,
    /// The first error, which each later call returns again.
    failed: Option<DecodeError>,
    /// Set when a client's decoder has accepted a PUBLISH of QoS 0 with the DUP flag.
    accepted_dup: bool,
}

impl Decoder {
    /// Returns a decoder for a client. The decoder rejects packets above `maximum_packet_size` bytes.
    pub fn client(version: ProtocolVersion, maximum_packet_size: u32) -> Self {
        // The Remaining Length cannot express a packet above `MAXIMUM_PACKET_SIZE`, so a larger limit has no effect.
        let limit = maximum_packet_size.min(MAXIMUM_PACKET_SIZE);
        Self {
            role: Role::Client,
            version: Some(version),
            maximum_packet_size: limit,
            limit,
            failed: None,
            accepted_dup: false,
        }
    }

    /// Returns a decoder for a server. The first packet must be CONNECT, which sets the version. The decoder rejects
    /// packets above `maximum_packet_size` bytes and, whatever that maximum is, a CONNECT above 327,699 bytes.
    pub fn server(maximum_packet_size: u32) -> Self {
        let maximum_packet_size = maximum_packet_size.min(MAXIMUM_PACKET_SIZE);
        Self {
            role: Role::Server,
            version: None,
            maximum_packet_size,
            limit: maximum_packet_size.min(MAXIMUM_CONNECT_SIZE),
            failed: None,
            accepted_dup: false,
        }
    }

    /// Decodes the next packet and removes it from the front of `input`.
    ///
    /// Returns `None` and leaves `input` unchanged if the packet is incomplete. The caller must then call again with
    /// the same bytes followed by more bytes. The decoder checks the type, the flags and the size of a packet as soon
    /// as the fixed header has arrived.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a packet that the peer may send now. Each later call returns the same
    /// error.
    #[inline]
    pub fn decode<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<PacketRef<'a>>, DecodeError> {
        // After an error the decoder does not search for the next packet: bytes of a payload could look like a packet.
        if let Some(error) = self.failed {
            return Err(error);
        }
        // `decode_next` is inlined here, so that decoding a PUBLISH costs one call.
        let result = self.decode_next(input);
        if let Err(error) = &result {
            self.failed = Some(*error);
        }
        result
    }

    /// Returns the version of the connection, or `None` if the decoder does not know the version yet. A malformed
    /// CONNECT sets the version if its protocol name and protocol level are valid, because the format of the CONNACK
    /// that rejects it depends on the version.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// Returns `true` if the decoder has accepted a PUBLISH of QoS 0 with the DUP flag. [MQTT-3.3.1-2] forbids that
    /// flag. A client accepts it, because DUP has no effect at QoS 0. A server rejects it.
    #[inline]
    pub fn has_accepted_dup(&self) -> bool {
        self.accepted_dup
    }

    #[inline(always)]
    fn decode_next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<PacketRef<'a>>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let (packet_type, flags) = self.packet_type(first)?;
        // Some devices that use MQTT 3.1 or 3.1.1 always encode the Remaining Length in two or four bytes. MQTT 5.0
        // forbids this [MQTT-1.5.5-1].
        let may_be_padded = self.version != Some(ProtocolVersion::V5_0);
        let Some((remaining_length, length_size)) = variable_byte_integer(rest, may_be_padded)?
        else {
            return Ok(None);
        };
        let header_size = 1 + length_size as u32;
        if header_size + remaining_length > self.limit {
            // The limit is checked before the packet is complete, so that the caller never buffers a packet that is too
            // large.
            return Err(DecodeError::PacketTooLarge);
        }
        let end = (header_size + remaining_length) as usize;
        // `input` advances only after the whole packet was decoded, so that the caller can retry an incomplete packet.
        let Some((packet, next)) = input.split_at_checked(end) else {
            return Ok(None);
        };
        let (header, body) = packet
            .split_at_checked(header_size as usize)
            .unwrap_or_default();
        let mut reader = FieldReader::new(body);
        // PUBLISH is decoded here and inlined, because it is the hot path.
        // `version` is always known here: `packet_type` has rejected any packet before CONNECT.
        if let (PacketType::Publish, Some(version)) = (packet_type, self.version) {
            if flags & 0b1110 == 0b1000 {
                self.accept_dup()?;
            }
            let publish = PublishRef::decode(flags, &mut reader, version, self.role.peer())?;
            *input = next;
            return Ok(Some(PacketRef::Publish(publish)));
        }
        let packet = self.decode_other(packet_type, header, reader)?;
        *input = next;
        Ok(packet)
    }

    /// Decodes any packet except PUBLISH.
    #[inline(never)] // The loop over messages stays small.
    fn decode_other<'a>(
        &mut self,
        packet_type: PacketType,
        header: &[u8],
        mut reader: FieldReader<'a>,
    ) -> Result<Option<PacketRef<'a>>, DecodeError> {
        if packet_type != PacketType::Connect {
            let packet = PacketRef::decode(packet_type, reader, self.version, self.role.peer())?;
            return Ok(Some(packet));
        }
        let (version, is_bridge) = Connect::decode_version(&mut reader)?;
        // The version is set before the rest of CONNECT is decoded, because the answer to a malformed CONNECT depends
        // on it.
        self.version = Some(version);
        self.limit = self.maximum_packet_size;
        // The Remaining Length is padded if it has at least two bytes and the last byte is zero.
        let is_padded = header.len() > 2 && header.ends_with(&[0]);
        if is_padded && version == ProtocolVersion::V5_0 {
            // MQTT 5.0 forbids padding [MQTT-1.5.5-1]. The version was still unknown when the Remaining Length was
            // decoded.
            return Err(DecodeError::VariableByteInteger);
        }
        let connect = Connect::decode(&mut reader, version, is_bridge)?;
        Ok(Some(PacketRef::Connect(connect)))
    }

    /// Accepts or rejects a PUBLISH of QoS 0 with the DUP flag, depending on the role.
    #[cold]
    fn accept_dup(&mut self) -> Result<(), DecodeError> {
        match self.role {
            // DUP must be 0 for messages of QoS 0 [MQTT-3.3.1-2].
            Role::Server => Err(DecodeError::QoS),
            Role::Client => {
                self.accepted_dup = true;
                Ok(())
            }
        }
    }

    /// Returns the type and the flags in the first byte of a packet.
    #[inline]
    fn packet_type(&self, first: u8) -> Result<(PacketType, u8), DecodeError> {
        let packet_type =
            PacketType::from_value(first >> 4).ok_or(DecodeError::UnexpectedPacket)?;
        let flags = first & 0x0F;
        // CONNECT must be the first packet and must not be sent again [MQTT-3.1.0-1, MQTT-3.1.0-2].
        if (packet_type == PacketType::Connect) != self.version.is_none()
            || !packet_type.is_sent_by(self.role.peer())
            // Only MQTT 5.0 has AUTH, and only there may a server send DISCONNECT.
            || packet_type == PacketType::Auth && self.version != Some(ProtocolVersion::V5_0)
            || packet_type == PacketType::Disconnect
                && self.role == Role::Client
                && self.version != Some(ProtocolVersion::V5_0)
        {
            return Err(DecodeError::UnexpectedPacket);
        }
        // MQTT 3.1 does not define the flags of packets other than PUBLISH, so the decoder ignores them.
        if self.version != Some(ProtocolVersion::V3_1)
            && packet_type
                .flags()
                .is_some_and(|required| required != flags)
        {
            // A reserved flag with another value makes the packet malformed [MQTT-2.1.3-1].
            return Err(DecodeError::FixedHeaderFlags);
        }
        Ok((packet_type, flags))
    }
}
