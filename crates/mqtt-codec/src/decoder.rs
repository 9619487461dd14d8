//! [`Decoder`]: splits a stream of bytes into packets (MQTT 5.0, 2.1). Packets may arrive in any number of pieces.

use crate::error::DecodeError;
use crate::field::{FieldReader, variable_byte_integer};
use crate::packet::PacketRef;
use crate::packet::connect::Connect;
use crate::packet::publish::PublishRef;
use crate::protocol::{MAXIMUM_PACKET_SIZE, PacketType, ProtocolVersion, Role};

/// The size of the largest CONNECT of MQTT 3.1.1: a variable header, five fields with their lengths, and the fixed
/// header. CONNECT of MQTT 5.0 may be larger by its properties, but a server must not buffer more for a client that it
/// does not know yet.
const MAXIMUM_CONNECT_SIZE: u32 = 10 + 5 * 65537 + 4;

/// The decoder of the packets that one end of a connection receives.
///
/// After an error the decoder returns the same error again, because the start of the next packet is unknown.
#[derive(Debug, Clone)]
pub struct Decoder {
    role: Role,
    /// `None` at a server until CONNECT was decoded.
    version: Option<ProtocolVersion>,
    maximum_packet_size: u32,
    /// Maximum size of the next packet, which is smaller for CONNECT.
    limit: u32,
    /// Error of an earlier packet.
    failed: Option<DecodeError>,
    /// Set when a PUBLISH of QoS 0 with DUP was accepted.
    accepted_dup: bool,
}

impl Decoder {
    /// Returns a decoder for a client. Packets above `maximum_packet_size` bytes are rejected.
    pub fn client(version: ProtocolVersion, maximum_packet_size: u32) -> Self {
        // A larger maximum has no effect, because the Remaining Length cannot express more.
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

    /// Returns a decoder for a server. The first packet must be CONNECT, and decides the version. Packets above
    /// `maximum_packet_size` bytes are rejected, and a CONNECT above 327,699 bytes too.
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
    /// the same bytes and more bytes after them. Type, flags, sender and size are checked before the packet is
    /// complete.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a packet that the peer may send now, and again for each later call.
    #[inline]
    pub fn decode<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<PacketRef<'a>>, DecodeError> {
        // The decoder does not search for the next packet: bytes of a payload could look like one.
        if let Some(error) = self.failed {
            return Err(error);
        }
        // `decode_next` is inlined here, so that a PUBLISH needs one call only.
        let result = self.decode_next(input);
        if let Err(error) = &result {
            self.failed = Some(*error);
        }
        result
    }

    /// Returns the version of the connection, or `None` if it is not known yet. A malformed CONNECT decides the version
    /// too if its protocol name and protocol level are valid, because the CONNACK that rejects it depends on the
    /// version.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// Returns `true` if the decoder has accepted a PUBLISH of QoS 0 with the DUP flag, which a server must not send
    /// [MQTT-3.3.1-2]. A client accepts it, because the flag has no effect at QoS 0. A server rejects it.
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
        // Devices with MQTT 3.1 and 3.1.1 reserve two or four bytes for the Remaining Length.
        let may_be_padded = self.version != Some(ProtocolVersion::V5_0);
        let Some((remaining_length, length_size)) = variable_byte_integer(rest, may_be_padded)?
        else {
            return Ok(None);
        };
        let header_size = 1 + length_size as u32;
        if header_size + remaining_length > self.limit {
            // The size is checked before the packet is complete, so that no memory is used for it.
            return Err(DecodeError::PacketTooLarge);
        }
        let end = (header_size + remaining_length) as usize;
        // `input` is changed only after the whole packet was decoded, so that an incomplete packet can be decoded
        // again.
        let Some((packet, next)) = input.split_at_checked(end) else {
            return Ok(None);
        };
        let (header, body) = packet
            .split_at_checked(header_size as usize)
            .unwrap_or_default();
        let mut reader = FieldReader::new(body);
        // PUBLISH is decoded here, and inlined, because it is the hot path.
        if let (PacketType::Publish, Some(version)) = (packet_type, self.version) {
            if flags & 0b1110 == 0b1000 {
                self.accept_dup()?;
            }
            // The version is known here, because CONNECT must be the first packet.
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
        // Set before the rest is decoded: the answer to a malformed CONNECT depends on the version.
        self.version = Some(version);
        self.limit = self.maximum_packet_size;
        // Two bytes or more for a Remaining Length whose last byte is zero.
        let is_padded = header.len() > 2 && header.ends_with(&[0]);
        if is_padded && version == ProtocolVersion::V5_0 {
            // MQTT 5.0 forbids padding [MQTT-1.5.5-1]. The version was unknown when the Remaining Length was read.
            return Err(DecodeError::VariableByteInteger);
        }
        let connect = Connect::decode(&mut reader, version, is_bridge)?;
        Ok(Some(PacketRef::Connect(connect)))
    }

    /// Handles a PUBLISH of QoS 0 with the DUP flag.
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

    /// Returns type and flags of a packet with this first byte, if the peer may send it now.
    #[inline]
    fn packet_type(&self, first: u8) -> Result<(PacketType, u8), DecodeError> {
        let packet_type =
            PacketType::from_value(first >> 4).ok_or(DecodeError::UnexpectedPacket)?;
        let flags = first & 0x0F;
        // CONNECT must be the first packet, and no other packet may be CONNECT [MQTT-3.1.0-1, MQTT-3.1.0-2].
        if (packet_type == PacketType::Connect) != self.version.is_none()
            || !packet_type.is_sent_by(self.role.peer())
            // Only MQTT 5.0 has AUTH, and a DISCONNECT of the server.
            || packet_type == PacketType::Auth && self.version != Some(ProtocolVersion::V5_0)
            || packet_type == PacketType::Disconnect
                && self.role == Role::Client
                && self.version != Some(ProtocolVersion::V5_0)
        {
            return Err(DecodeError::UnexpectedPacket);
        }
        // MQTT 3.1 does not define the flags of packets other than PUBLISH, so any flags are valid.
        if self.version != Some(ProtocolVersion::V3_1)
            && packet_type
                .flags()
                .is_some_and(|required| required != flags)
        {
            // A reserved flag with another value is a Malformed Packet [MQTT-2.1.3-1].
            return Err(DecodeError::FixedHeaderFlags);
        }
        Ok((packet_type, flags))
    }
}
