//! The fifteen packets. This file has the part that all packets share: the first byte, the Remaining Length and the
//! dispatch by packet type. Each other file in this folder has the layout and the properties of one packet, or of
//! packets with the same layout.

use self::ack::Ack;
use self::auth::Auth;
pub use self::body::PublishForm;
use self::body::{Body, encode, measure, packet_length};
use self::connack::Connack;
use self::connect::Connect;
use self::disconnect::Disconnect;
use self::publish::{Publish, PublishRef};
use self::suback::Suback;
use self::subscribe::Subscribe;
use self::unsubscribe::Unsubscribe;
use crate::error::{DecodeError, EncodeError};
use crate::field::{FieldReader, FieldWriter};
use crate::property::user_property::UserProperty;
use crate::protocol::{MAXIMUM_PACKET_SIZE, PacketType, ProtocolVersion, Role};

pub(crate) mod ack;
pub(crate) mod auth;
mod body;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod publish;
pub(crate) mod publish_properties;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsubscribe;

/// A packet of any version of MQTT. `P` is the type of PUBLISH. Use the aliases [`PacketRef`] and [`Packet`].
///
/// Only PUBLISH has a borrowed form. The other packets are rare or small, so a copy of them costs little.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[allow(missing_docs)] // Each variant has the name of its packet.
pub enum GenericPacket<P> {
    Connect(Box<Connect>),
    Connack(Box<Connack>),
    Publish(P),
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

/// A packet of any version of MQTT, whose PUBLISH borrows from the decoded bytes.
pub type PacketRef<'a> = GenericPacket<PublishRef<'a>>;

/// A packet of any version of MQTT that owns all its parts.
pub type Packet = GenericPacket<Publish>;

impl<'a> PacketRef<'a> {
    /// Decodes any packet except PUBLISH and CONNECT, which [`Decoder::decode`](crate::Decoder::decode) handles itself.
    pub(crate) fn decode(
        packet_type: PacketType,
        mut reader: FieldReader<'a>,
        version: Option<ProtocolVersion>,
        sender: Role,
    ) -> Result<Self, DecodeError> {
        let reader = &mut reader;
        // The version is always known here, because CONNECT must be the first packet.
        let version = version.ok_or(DecodeError::UnexpectedPacket)?;
        let ack = |reader| Ack::decode(packet_type, reader, version, sender);
        let packet = match packet_type {
            // The decoder handles both packets before this function: PUBLISH for speed, and CONNECT because it sets the
            // version.
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
        // A packet with bytes after its last field is malformed.
        reader.finish()?;
        Ok(packet)
    }
}

impl PacketRef<'_> {
    /// Returns the packet as an owned value. Only PUBLISH is copied.
    pub fn into_owned(self) -> Packet {
        match self {
            Self::Connect(connect) => Packet::Connect(connect),
            Self::Connack(connack) => Packet::Connack(connack),
            Self::Publish(publish) => Packet::Publish(publish.into_owned()),
            Self::Puback(ack) => Packet::Puback(ack),
            Self::Pubrec(ack) => Packet::Pubrec(ack),
            Self::Pubrel(ack) => Packet::Pubrel(ack),
            Self::Pubcomp(ack) => Packet::Pubcomp(ack),
            Self::Subscribe(subscribe) => Packet::Subscribe(subscribe),
            Self::Suback(suback) => Packet::Suback(suback),
            Self::Unsubscribe(unsubscribe) => Packet::Unsubscribe(unsubscribe),
            Self::Unsuback(unsuback) => Packet::Unsuback(unsuback),
            Self::Pingreq => Packet::Pingreq,
            Self::Pingresp => Packet::Pingresp,
            Self::Disconnect(disconnect) => Packet::Disconnect(disconnect),
            Self::Auth(auth) => Packet::Auth(auth),
        }
    }
}

impl From<PacketRef<'_>> for Packet {
    fn from(packet: PacketRef<'_>) -> Self {
        packet.into_owned()
    }
}

impl<P: PublishForm> GenericPacket<P> {
    /// Appends the encoded packet to `out`.
    ///
    /// If an acknowledgement, CONNACK, DISCONNECT or AUTH would be larger than `maximum_packet_size`, this method
    /// encodes the packet without its reason string and user properties [MQTT-3.4.2-2, MQTT-3.4.2-3].
    ///
    /// # Errors
    /// Returns an error if the packet is larger than `maximum_packet_size` bytes even so, if a field does not fit its
    /// length prefix, or if this version of the protocol does not have the packet. `out` is then unchanged.
    pub fn encode(
        &self,
        version: ProtocolVersion,
        maximum_packet_size: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let limit = maximum_packet_size.min(MAXIMUM_PACKET_SIZE) as usize;
        // PUBLISH has its own call, so that the compiler can inline the whole hot path.
        if let Self::Publish(publish) = self {
            return encode(publish, self.first_byte(), version, limit, out);
        }
        // Acknowledgements are as frequent as messages and have their own call too. If this call fails, the calls below
        // repeat the attempt and return the error.
        if let Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) = self
        {
            if encode(ack, self.first_byte(), version, limit, out).is_ok() {
                return Ok(());
            }
        }
        let result = encode(self, self.first_byte(), version, limit, out);
        let Err(EncodeError::PacketTooLarge(_)) = result else {
            return result;
        };
        match self.without_diagnostics() {
            Some(smaller) => encode(&smaller, self.first_byte(), version, limit, out),
            None => result,
        }
    }

    /// Returns the length of the encoded packet in bytes.
    ///
    /// # Errors
    /// Returns an error under the same conditions as [`Self::encode`], except for the size.
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

    fn first_byte(&self) -> u8 {
        let packet_type = self.packet_type();
        let flags = match self {
            Self::Publish(publish) => publish.flags(),
            _ => packet_type.flags().unwrap_or_default(),
        };
        (packet_type as u8) << 4 | flags
    }

    /// Returns the packet without its reason string and user properties, for a client that has set Request Problem
    /// Information to 0. Returns `None` if the packet has neither. Returns `None` for PUBLISH, CONNACK and DISCONNECT
    /// too, because the server may always send both in them [MQTT-3.1.2-29].
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
        // The copy is rare: most acknowledgements have no properties.
        affected.then(|| self.without_diagnostics()).flatten()
    }

    /// Returns the packet without its reason string and user properties, or `None` if packets of this type have no
    /// reason string.
    fn without_diagnostics(&self) -> Option<Self> {
        if let Self::Publish(_) = self {
            // The clone below would copy a large payload.
            return None;
        }
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

impl<P: PublishForm> Body for GenericPacket<P> {
    fn encode(
        &self,
        version: ProtocolVersion,
        out: &mut impl FieldWriter,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::Connack(connack) => connack.encode(version, out)?,
            Self::Publish(publish) => publish.encode(version, out)?,
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                ack.encode(version, out);
            }
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::Suback(suback) => suback.encode_suback(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::Unsuback(unsuback) => unsuback.encode_unsuback(version, out),
            Self::Pingreq | Self::Pingresp => {}
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            // Only MQTT 5.0 has AUTH. The caller must not encode a DISCONNECT of a server for MQTT 3.1 or 3.1.1.
            Self::Auth(_) if version != ProtocolVersion::V5_0 => {
                return Err(EncodeError::UnsupportedPacket);
            }
            Self::Auth(auth) => auth.encode(out),
        }
        Ok(())
    }
}
