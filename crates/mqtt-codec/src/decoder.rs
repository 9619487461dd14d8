//! Cuts a stream of bytes into packets (MQTT 5.0, 2.1), whatever way the stream was cut before.

use crate::field::{Reader, variable_byte_integer};
use crate::packet::connect_version;
use crate::{DecodeError, MAXIMUM_PACKET_SIZE, Packet, PacketType, ProtocolVersion, Publish};

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that sends CONNECT.
    Client,
    /// The end that answers it.
    Server,
}

impl Role {
    /// The other end.
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

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
    failed: Option<DecodeError>,
    /// Set when a PUBLISH of QoS 0 with DUP was accepted.
    accepted_dup: bool,
}

impl Decoder {
    /// For what a client receives. Packets above `maximum_packet_size` bytes are refused.
    pub fn client(version: ProtocolVersion, maximum_packet_size: u32) -> Self {
        Self {
            role: Role::Client,
            version: Some(version),
            maximum_packet_size,
            failed: None,
            accepted_dup: false,
        }
    }

    /// For what a server receives: the first packet must be CONNECT and tells the version. Packets
    /// above `maximum_packet_size` bytes are refused, and so is a CONNECT above 327699.
    pub fn server(maximum_packet_size: u32) -> Self {
        Self {
            role: Role::Server,
            version: None,
            maximum_packet_size,
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
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Packet<'a>>, DecodeError> {
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

    /// Returns `true` if a PUBLISH of QoS 0 with DUP came since the last call. A client accepts it, although a server
    /// must not send it [MQTT-3.3.1-2]: the flag changes nothing at QoS 0. A server refuses it.
    pub fn take_accepted_dup(&mut self) -> bool {
        std::mem::take(&mut self.accepted_dup)
    }

    #[inline(always)]
    fn decode_next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Packet<'a>>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let (packet_type, flags) = self.packet_type(first)?;
        let Some(remaining) = variable_byte_integer(rest)? else {
            return Ok(None);
        };
        if remaining.is_padded && self.version == Some(ProtocolVersion::V5_0) {
            return Err(DecodeError::VariableByteInteger); // [MQTT-1.5.5-1]
        }
        let remaining_length = remaining.value;
        let header_size = 1 + remaining.length as u32;
        if header_size + remaining_length > self.limit() {
            return Err(DecodeError::PacketTooLarge); // before a byte of it is waited for
        }
        let end = (header_size + remaining_length) as usize;
        let Some((packet, rest)) = input.split_at_checked(end) else {
            return Ok(None);
        };
        let body = packet.get(header_size as usize..).unwrap_or_default();
        let (mut reader, sender) = (Reader::new(body), self.role.peer());
        let packet = match (packet_type, self.version) {
            // First, and at hand for the compiler: it is what there is most of.
            (PacketType::Publish, Some(version)) => {
                let publish = Publish::decode(flags, &mut reader, version, sender)?;
                self.accepted_dup |= flags & 0b1110 == 0b1000;
                Packet::Publish(publish)
            }
            (PacketType::Connect, _) => {
                self.version = connect_version(reader).ok();
                if remaining.is_padded && self.version == Some(ProtocolVersion::V5_0) {
                    return Err(DecodeError::VariableByteInteger); // [MQTT-1.5.5-1]
                }
                Packet::decode(packet_type, reader, self.version, sender)?
            }
            (_, version) => Packet::decode(packet_type, reader, version, sender)?,
        };
        *input = rest;
        Ok(Some(packet))
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

    #[inline]
    fn limit(&self) -> u32 {
        let limit = self.maximum_packet_size.min(MAXIMUM_PACKET_SIZE);
        if self.version.is_none() {
            limit.min(MAXIMUM_CONNECT_SIZE)
        } else {
            limit
        }
    }
}
