//! Cuts a stream of bytes into packets (MQTT 5.0, 2.1), whatever way the stream was cut before.

use crate::error::DecodeError;
use crate::field::{FieldReader, variable_byte_integer};
use crate::packet::PacketRef;
use crate::packet::connect::Connect;
use crate::packet::publish::PublishRef;
use crate::protocol::{MAXIMUM_PACKET_SIZE, PacketType, ProtocolVersion, Role};

/// A CONNECT of 3.1.1 cannot be larger; one of 5.0 has no business to be.
const MAXIMUM_CONNECT_SIZE: u32 = 10 + 5 * 65537 + 4;

/// Decodes the packets that one end of a connection receives.
///
/// After an error it only repeats the error: what follows in the stream has no meaning any more.
#[derive(Debug, Clone)]
pub struct Decoder {
    role: Role,
    /// `None` until CONNECT has told.
    version: Option<ProtocolVersion>,
    maximum_packet_size: u32,
    /// Maximum size of the next packet: that of a CONNECT before the version is known.
    limit: u32,
    failed: Option<DecodeError>,
    /// Set when a PUBLISH of QoS 0 with DUP was accepted.
    accepted_dup: bool,
}

impl Decoder {
    /// For what a client receives. Packets above `maximum_packet_size` bytes are refused.
    pub fn client(version: ProtocolVersion, maximum_packet_size: u32) -> Self {
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

    /// For what a server receives: the first packet must be CONNECT and tells the version. Packets
    /// above `maximum_packet_size` bytes are refused, and so is a CONNECT above 327699.
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

    /// Takes the next packet from the front of `input`. `None` if it is not there completely: then
    /// nothing was taken, and the caller comes back with the same bytes and more behind them.
    ///
    /// Type, flags, direction and size are judged as soon as their bytes are there.
    ///
    /// # Errors
    /// If the bytes are no packet that may come now; from then on always.
    #[inline]
    pub fn decode<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<PacketRef<'a>>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.decode_next(input);
        if let Err(error) = &result {
            self.failed = Some(*error);
        }
        result
    }

    /// The version of the packets, once known. A server knows it from a malformed CONNECT too, if protocol name and
    /// level are valid: the CONNACK that refuses it depends on it.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// Returns `true` if a PUBLISH of QoS 0 with DUP has come. A client accepts it, although a server must not send it
    /// [MQTT-3.3.1-2]: the flag changes nothing at QoS 0. A server refuses it.
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
        let may_be_padded = self.version != Some(ProtocolVersion::V5_0);
        let Some((remaining_length, length_size)) = variable_byte_integer(rest, may_be_padded)?
        else {
            return Ok(None);
        };
        let header_size = 1 + length_size as u32;
        if header_size + remaining_length > self.limit {
            return Err(DecodeError::PacketTooLarge); // before a byte of it is waited for
        }
        let end = (header_size + remaining_length) as usize;
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
            let publish = PublishRef::decode(flags, &mut reader, version, self.role.peer())?;
            *input = next;
            return Ok(Some(PacketRef::Publish(publish)));
        }
        let packet = self.decode_other(packet_type, header, reader)?;
        *input = next;
        Ok(packet)
    }

    /// Decodes a packet that is no PUBLISH.
    #[inline(never)] // the loop over messages stays small
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
        self.version = Some(version); // that of the answer to a CONNECT that is malformed behind it
        self.limit = self.maximum_packet_size;
        let is_padded = header.len() > 2 && header.ends_with(&[0]);
        if is_padded && version == ProtocolVersion::V5_0 {
            return Err(DecodeError::VariableByteInteger); // [MQTT-1.5.5-1]
        }
        let connect = Connect::decode(&mut reader, version, is_bridge)?;
        Ok(Some(PacketRef::Connect(connect)))
    }

    /// A PUBLISH of QoS 0 has DUP set.
    #[cold]
    fn accept_dup(&mut self) -> Result<(), DecodeError> {
        match self.role {
            Role::Server => Err(DecodeError::QoS), // [MQTT-3.3.1-2]
            Role::Client => {
                self.accepted_dup = true;
                Ok(())
            }
        }
    }

    #[inline]
    fn packet_type(&self, first: u8) -> Result<(PacketType, u8), DecodeError> {
        let packet_type =
            PacketType::from_value(first >> 4).ok_or(DecodeError::UnexpectedPacket)?;
        let flags = first & 0x0F;
        // CONNECT is the first packet and only the first [MQTT-3.1.0-1, MQTT-3.1.0-2].
        if (packet_type == PacketType::Connect) != self.version.is_none()
            || !packet_type.is_sent_by(self.role.peer())
            || packet_type == PacketType::Auth && self.version != Some(ProtocolVersion::V5_0)
            || packet_type == PacketType::Disconnect
                && self.role == Role::Client
                && self.version != Some(ProtocolVersion::V5_0)
        {
            return Err(DecodeError::UnexpectedPacket);
        }
        // MQTT 3.1 gives the flags of other packets than PUBLISH no meaning.
        if self.version != Some(ProtocolVersion::V3_1)
            && packet_type
                .flags()
                .is_some_and(|required| required != flags)
        {
            return Err(DecodeError::FixedHeaderFlags); // [MQTT-2.1.3-1]
        }
        Ok((packet_type, flags))
    }
}
