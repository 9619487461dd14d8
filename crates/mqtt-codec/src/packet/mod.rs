//! The fifteen packets. Here is what they share: type, first byte, dispatch; each file beside this
//! one has the layout and the properties of its packets.

use self::ack::Ack;
use self::auth::Auth;
use self::connack::Connack;
use self::connect::Connect;
use self::disconnect::Disconnect;
use self::publish::PublishRef;
use self::suback::Suback;
use self::subscribe::Subscribe;
use self::unsubscribe::Unsubscribe;
use crate::error::{DecodeError, EncodeError};
use crate::field::{FieldReader, FieldWriter, LengthCounter};
use crate::property::user_property::UserProperty;
use crate::protocol::{MAXIMUM_PACKET_SIZE, PacketType, ProtocolVersion, Role};

pub(crate) mod ack;
pub(crate) mod auth;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod publish;
pub(crate) mod publish_properties;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;

/// A packet of any version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each variant has the name of its packet
pub enum PacketRef<'a> {
    Connect(Box<Connect>),
    Connack(Box<Connack>),
    Publish(PublishRef<'a>),
    Puback(Ack),
    Pubrec(Ack),
    Pubrel(Ack),
    Pubcomp(Ack),
    Subscribe(Subscribe),
    Suback(Suback),
    Unsubscribe(Unsubscribe),
    Unsuback(Suback),
    Pingreq,
    Pingresp,
    Disconnect(Box<Disconnect>),
    Auth(Box<Auth>),
}

impl<'a> PacketRef<'a> {
    /// Appends the packet to `out`.
    ///
    /// Reason string and user properties of an acknowledgement, DISCONNECT or AUTH are left out if
    /// the packet would be larger than `maximum_packet_size` with them [MQTT-3.4.2-2, MQTT-3.4.2-3].
    ///
    /// # Errors
    /// If it would be larger than `maximum_packet_size` bytes all the same, if a field does not fit
    /// its length prefix, or if the version has no such packet. Then nothing is appended.
    pub fn encode(
        &self,
        version: ProtocolVersion,
        maximum_packet_size: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let limit = maximum_packet_size.min(MAXIMUM_PACKET_SIZE) as usize;
        // By itself: so the compiler has all of it in one place.
        if let Self::Publish(publish) = self {
            return encode(publish, self.first_byte(), version, limit, out);
        }
        // So are the acknowledgements, of which there are as many. One that is too large goes on below.
        if let Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) = self
        {
            if encode(ack, self.first_byte(), version, limit, out).is_ok() {
                return Ok(());
            }
        }
        match encode(self, self.first_byte(), version, limit, out) {
            Err(EncodeError::PacketTooLarge(length)) => match self.without_diagnostics() {
                Some(smaller) => encode(&smaller, self.first_byte(), version, limit, out),
                None => Err(EncodeError::PacketTooLarge(length)),
            },
            written => written,
        }
    }

    /// The length of the whole packet in bytes.
    ///
    /// # Errors
    /// As [`Self::encode`], but for the size.
    pub fn encoded_length(&self, version: ProtocolVersion) -> Result<usize, EncodeError> {
        measure(self, version).map(packet_length)
    }

    /// Returns the type of the packet.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// Any but PUBLISH and CONNECT.
    pub(crate) fn decode(
        packet_type: PacketType,
        mut reader: FieldReader<'a>,
        version: Option<ProtocolVersion>,
        sender: Role,
    ) -> Result<Self, DecodeError> {
        let reader = &mut reader;
        let version = version.ok_or(DecodeError::UnexpectedPacket)?;
        let ack = |reader| Ack::decode(packet_type, reader, version, sender);
        let packet = match packet_type {
            PacketType::Publish | PacketType::Connect => return Err(DecodeError::UnexpectedPacket),
            PacketType::Connack => Self::Connack(Box::new(Connack::decode(reader, version)?)),
            PacketType::Puback => Self::Puback(ack(reader)?),
            PacketType::Pubrec => Self::Pubrec(ack(reader)?),
            PacketType::Pubrel => Self::Pubrel(ack(reader)?),
            PacketType::Pubcomp => Self::Pubcomp(ack(reader)?),
            PacketType::Subscribe => Self::Subscribe(Subscribe::decode(reader, version)?),
            PacketType::Suback => Self::Suback(Suback::decode_suback(reader, version)?),
            PacketType::Unsubscribe => Self::Unsubscribe(Unsubscribe::decode(reader, version)?),
            PacketType::Unsuback => Self::Unsuback(Suback::decode_unsuback(reader, version)?),
            PacketType::Pingreq => Self::Pingreq,
            PacketType::Pingresp => Self::Pingresp,
            PacketType::Disconnect => {
                Self::Disconnect(Box::new(Disconnect::decode(reader, version, sender)?))
            }
            PacketType::Auth => Self::Auth(Box::new(Auth::decode(reader, sender)?)),
        };
        reader.finish()?;
        Ok(packet)
    }

    fn first_byte(&self) -> u8 {
        let packet_type = self.packet_type();
        let flags = match self {
            Self::Publish(publish) => publish.flags(),
            _ => packet_type.flags().unwrap_or_default(),
        };
        (packet_type as u8) << 4 | flags
    }

    /// The packet without reason string and user properties, if it has some and is one from which a
    /// client can ask to leave them out: any but PUBLISH, CONNACK and DISCONNECT [MQTT-3.1.2-29].
    pub fn without_problem_information(&self) -> Option<Self> {
        let has_some = |reason_string: &Option<String>, user_properties: &Vec<UserProperty>| {
            reason_string.is_some() || !user_properties.is_empty()
        };
        let affected = match self {
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                has_some(
                    &ack.properties.reason_string,
                    &ack.properties.user_properties,
                )
            }
            Self::Suback(suback) | Self::Unsuback(suback) => {
                let properties = &suback.properties;
                has_some(&properties.reason_string, &properties.user_properties)
            }
            Self::Auth(auth) => has_some(
                &auth.properties.reason_string,
                &auth.properties.user_properties,
            ),
            _ => false,
        };
        affected.then(|| self.without_diagnostics()).flatten()
    }

    /// The packet without what only helps people to find a fault; `None` if it has no such part.
    fn without_diagnostics(&self) -> Option<Self> {
        let mut packet = self.clone();
        match &mut packet {
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.properties = Default::default();
            }
            Self::Connack(connack) => {
                connack.properties.reason_string = None;
                connack.properties.user_properties.clear();
            }
            Self::Suback(suback) | Self::Unsuback(suback) => {
                suback.properties = Default::default();
            }
            Self::Disconnect(disconnect) => {
                disconnect.properties.reason_string = None;
                disconnect.properties.user_properties.clear();
            }
            Self::Auth(auth) => {
                auth.properties.reason_string = None;
                auth.properties.user_properties.clear();
            }
            _ => return None,
        }
        Some(packet)
    }
}

/// What stands behind the fixed header.
trait Body {
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError>;
}

impl Body for PublishRef<'_> {
    #[inline]
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        self.encode(version, out);
        Ok(())
    }
}

impl Body for Ack {
    #[inline]
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        self.encode(version, out);
        Ok(())
    }
}

impl Body for PacketRef<'_> {
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::Connack(connack) => connack.encode(version, out)?,
            Self::Publish(publish) => publish.encode(version, out),
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.encode(version, out);
            }
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::Suback(suback) => suback.encode_suback(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::Unsuback(unsuback) => unsuback.encode_unsuback(version, out),
            Self::Pingreq | Self::Pingresp => {}
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            Self::Auth(_) if version != ProtocolVersion::V5_0 => {
                return Err(EncodeError::UnsupportedPacket);
            }
            Self::Auth(auth) => auth.encode(out),
        }
        Ok(())
    }
}

#[inline]
fn measure(body: &impl Body, version: ProtocolVersion) -> Result<usize, EncodeError> {
    let mut length = LengthCounter::default();
    body.encode(version, &mut length)?;
    match length.refused {
        true => Err(EncodeError::Field),
        false => Ok(length.bytes),
    }
}

/// Appends a packet that may have so many bytes.
#[inline]
fn encode(
    body: &impl Body,
    first_byte: u8,
    version: ProtocolVersion,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let length = measure(body, version)?;
    let packet_length = packet_length(length);
    if packet_length > limit {
        return Err(EncodeError::PacketTooLarge(packet_length));
    }
    out.reserve(packet_length);
    out.put_u8(first_byte);
    out.put_variable_byte_integer(length as u32);
    // Cannot fail: its length was found by the same function.
    body.encode(version, out)
}

fn packet_length(body: usize) -> usize {
    let length_size = match body {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    };
    1 + length_size + body
}
