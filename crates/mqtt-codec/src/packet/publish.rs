//! PUBLISH (MQTT 5.0, 3.3): a message on its way. It borrows from the bytes it was read from.

use bytes::Bytes;

use super::publish_properties::PublishPropertiesRef;
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::message::{Message, MessageProperties};
use crate::protocol::{PacketIdentifier, ProtocolVersion, QoS, Role};
use crate::topic::TopicName;

/// A PUBLISH packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishRef<'a> {
    /// The QoS, and what goes with it.
    pub delivery: Delivery,
    /// To the server: keep this message. From the server: it was kept.
    pub retain: bool,
    /// Where it goes. In 5.0 empty if the topic alias says it.
    pub topic_name: &'a str,
    /// The content; any bytes.
    pub payload: &'a [u8],
    /// Properties of 5.0.
    pub properties: PublishPropertiesRef<'a>,
}

/// The QoS of a PUBLISH, and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// The exchange.
        packet_identifier: PacketIdentifier,
        /// Whether it was perhaps sent before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// The exchange.
        packet_identifier: PacketIdentifier,
        /// Whether it was perhaps sent before. Says nothing to the receiver.
        dup: bool,
    },
}

impl Delivery {
    /// For a message of this QoS sent for the first time; QoS 0 leaves the identifier out.
    pub fn first(qos: QoS, packet_identifier: PacketIdentifier) -> Self {
        let dup = false;
        match qos {
            QoS::AtMostOnce => Self::AtMostOnce,
            QoS::AtLeastOnce => Self::AtLeastOnce {
                packet_identifier,
                dup,
            },
            QoS::ExactlyOnce => Self::ExactlyOnce {
                packet_identifier,
                dup,
            },
        }
    }

    /// The QoS.
    pub fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The packet identifier, which QoS 0 has not [MQTT-2.2.1-2].
    pub fn packet_identifier(self) -> Option<PacketIdentifier> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce {
                packet_identifier, ..
            }
            | Self::ExactlyOnce {
                packet_identifier, ..
            } => Some(packet_identifier),
        }
    }

    /// The DUP flag, which is not set for QoS 0 [MQTT-3.3.1-2].
    pub fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}

impl Message {
    /// The message as the content of a packet.
    pub fn publish(&self, delivery: Delivery) -> PublishRef<'_> {
        PublishRef {
            delivery,
            retain: self.retain,
            topic_name: &self.topic_name,
            payload: &self.payload,
            properties: self
                .properties
                .as_deref()
                .map(PublishPropertiesRef::of_message)
                .unwrap_or_default(),
        }
    }
}

impl<'a> PublishRef<'a> {
    /// The message alone, owned: copies topic name and payload.
    ///
    /// # Errors
    /// If the topic name is empty because a topic alias stands for it.
    pub fn to_message(&self) -> Result<Message, crate::InvalidTopic> {
        let properties = match self.properties.stay_empty() {
            true => None, // most messages
            false => Some(MessageProperties::from(&self.properties)),
        };
        let properties = properties.filter(|properties| !properties.is_empty());
        Ok(Message {
            topic_name: TopicName::new(self.topic_name)?,
            payload: Bytes::copy_from_slice(self.payload),
            retain: self.retain,
            properties: properties.map(Box::new),
        })
    }

    #[inline(always)] // into the loop that reads packets
    pub(crate) fn decode(
        flags: u8,
        reader: &mut FieldReader<'a>,
        version: ProtocolVersion,
        sender: Role,
    ) -> Result<Self, DecodeError> {
        let dup = flags & 0b1000 != 0;
        let qos = QoS::from_value(flags >> 1 & 3).ok_or(DecodeError::QoS)?; // [MQTT-3.3.1-4]
        let topic_name = reader.topic_name()?;
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce {
                packet_identifier: reader.packet_identifier()?,
                dup,
            },
            QoS::ExactlyOnce => Delivery::ExactlyOnce {
                packet_identifier: reader.packet_identifier()?,
                dup,
            },
        };
        let properties = match version {
            ProtocolVersion::V5_0 => PublishPropertiesRef::decode(reader, sender)?,
            _ => PublishPropertiesRef::default(),
        };
        if topic_name.is_empty() && properties.topic_alias.is_none() {
            return Err(match version {
                ProtocolVersion::V5_0 => DecodeError::PropertyValue, // MQTT 5.0, 3.3.2.1
                _ => DecodeError::TopicName,
            });
        }
        let retain = flags & 1 != 0;
        Ok(Self {
            delivery,
            retain,
            topic_name,
            payload: reader.rest(),
            properties,
        })
    }

    #[inline]
    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut impl FieldWriter) {
        out.put_string(self.topic_name);
        if let Some(packet_identifier) = self.delivery.packet_identifier() {
            out.put_u16(packet_identifier.get());
        }
        if version == ProtocolVersion::V5_0 {
            self.properties.encode(out);
        }
        out.put(self.payload);
    }

    pub(crate) fn flags(&self) -> u8 {
        u8::from(self.delivery.dup()) << 3
            | (self.delivery.qos() as u8) << 1
            | u8::from(self.retain)
    }
}
