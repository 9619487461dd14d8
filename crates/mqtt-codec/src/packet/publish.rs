//! PUBLISH (MQTT 5.0, 3.3), which transports a message. [`PublishRef`] borrows from the bytes of the packet, so that
//! receiving a message copies nothing. [`Publish`] owns all its parts.

use bytes::Bytes;

use super::publish_properties::{PublishProperties, PublishPropertiesRef};
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::message::{Message, MessageProperties};
use crate::protocol::{PacketIdentifier, ProtocolVersion, QoS, Role};
use crate::topic::{InvalidTopic, TopicName};

/// A PUBLISH packet that borrows from its encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublishRef<'a> {
    /// QoS, packet identifier and DUP flag.
    pub delivery: Delivery,
    /// In a PUBLISH to a server: set if the server must retain the message. In a PUBLISH from a server: set if the
    /// server sends a retained message.
    pub retain: bool,
    /// The topic name. Empty in MQTT 5.0 if a topic alias replaces it.
    pub topic_name: &'a str,
    /// The content, which may be empty.
    pub payload: &'a [u8],
    /// Properties, which only MQTT 5.0 has.
    pub properties: PublishPropertiesRef<'a>,
}

/// A PUBLISH packet that owns all its parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Publish {
    /// QoS, packet identifier and DUP flag.
    pub delivery: Delivery,
    /// In a PUBLISH to a server: set if the server must retain the message. In a PUBLISH from a server: set if the
    /// server sends a retained message.
    pub retain: bool,
    /// The topic name. Empty in MQTT 5.0 if a topic alias replaces it.
    pub topic_name: String,
    /// The content, which may be empty.
    pub payload: Bytes,
    /// Properties, which only MQTT 5.0 has.
    pub properties: PublishProperties,
}

/// QoS of a PUBLISH, with the fields that exist for this QoS only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Delivery {
    /// QoS 0. Such a PUBLISH has no packet identifier, and its DUP flag is 0 [MQTT-2.2.1-2, MQTT-3.3.1-2].
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Packet identifier of the exchange.
        packet_identifier: PacketIdentifier,
        /// Set if the sender may have sent this PUBLISH before.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Packet identifier of the exchange.
        packet_identifier: PacketIdentifier,
        /// Set if the sender may have sent this PUBLISH before. A receiver must not use this flag to detect duplicates
        /// [MQTT-4.3.3-10].
        dup: bool,
    },
}

impl Delivery {
    /// Returns the delivery with this QoS. QoS 0 ignores the packet identifier and the DUP flag.
    #[inline]
    pub fn new(qos: QoS, packet_identifier: PacketIdentifier, dup: bool) -> Self {
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

    /// Returns the delivery of a message that is sent for the first time. QoS 0 ignores the packet identifier.
    pub fn first(qos: QoS, packet_identifier: PacketIdentifier) -> Self {
        Self::new(qos, packet_identifier, false)
    }

    /// Returns the QoS.
    pub fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// Returns the packet identifier, or `None` for QoS 0 [MQTT-2.2.1-2].
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

    /// Returns the DUP flag, which is `false` for QoS 0 [MQTT-3.3.1-2].
    pub fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }
}

impl Message {
    /// Returns a PUBLISH that borrows the parts of this message.
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
    /// Returns the message as an owned value. The topic name, the payload and the properties are copied.
    ///
    /// # Errors
    /// Returns an error if the topic name is empty because a topic alias replaces it.
    pub fn to_message(&self) -> Result<Message, InvalidTopic> {
        let properties = if self.properties.has_no_message_properties() {
            None // Most messages have no properties, and need no allocation for them.
        } else {
            Some(MessageProperties::from(&self.properties))
        };
        // The PUBLISH may have only properties that are not part of the message, such as a topic alias.
        let properties = properties.filter(|properties| !properties.is_empty());
        Ok(Message {
            topic_name: TopicName::new(self.topic_name)?,
            payload: Bytes::copy_from_slice(self.payload),
            // RETAIN is part of the message, because a server needs the flag to decide whether to retain the message.
            retain: self.retain,
            properties: properties.map(Box::new),
        })
    }

    /// Returns the packet as an owned value. All parts are copied.
    pub fn into_owned(self) -> Publish {
        Publish {
            delivery: self.delivery,
            retain: self.retain,
            topic_name: self.topic_name.to_owned(),
            payload: Bytes::copy_from_slice(self.payload),
            properties: PublishProperties::from(&self.properties),
        }
    }

    #[inline(always)] // The decoder's loop over packets must contain the hot path.
    pub(crate) fn decode(
        flags: u8,
        reader: &mut FieldReader<'a>,
        version: ProtocolVersion,
        sender: Role,
    ) -> Result<Self, DecodeError> {
        let dup = flags & 0b1000 != 0;
        // QoS 3 is a malformed packet [MQTT-3.3.1-4].
        let qos = QoS::from_value(flags >> 1 & 3).ok_or(DecodeError::QoS)?;
        let topic_name = reader.topic_name()?;
        // A PUBLISH of QoS 0 has no packet identifier.
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
        // The session resolves a topic alias, because only the session has the aliases of the connection.
        if topic_name.is_empty() && properties.topic_alias.is_none() {
            return Err(match version {
                // An empty topic name without a topic alias is a Protocol Error (MQTT 5.0, 3.3.2.1).
                ProtocolVersion::V5_0 => DecodeError::PropertyValue,
                _ => DecodeError::TopicName,
            });
        }
        let retain = flags & 1 != 0;
        Ok(Self {
            delivery,
            retain,
            topic_name,
            // The payload has no length prefix. It extends to the end of the packet.
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
        // DUP, QoS and RETAIN (MQTT 5.0, 3.3.1).
        u8::from(self.delivery.dup()) << 3
            | (self.delivery.qos() as u8) << 1
            | u8::from(self.retain)
    }
}

impl Publish {
    /// Returns the packet in its borrowed form.
    pub fn borrowed(&self) -> PublishRef<'_> {
        PublishRef {
            delivery: self.delivery,
            retain: self.retain,
            topic_name: &self.topic_name,
            payload: &self.payload,
            properties: self.properties.borrowed(),
        }
    }
}

impl From<PublishRef<'_>> for Publish {
    fn from(publish: PublishRef<'_>) -> Self {
        publish.into_owned()
    }
}
