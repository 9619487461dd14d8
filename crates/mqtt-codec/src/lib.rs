//! Encoder and decoder for all packets of MQTT 3.1, 3.1.1 and 5.0. This crate has no sockets, sessions or clocks.
//!
//! A [`Decoder`] splits a stream of bytes into packets. [`Packet::encode`](GenericPacket::encode) appends a packet to a
//! buffer. One set of packet types serves all versions: the encoder omits a field that the version does not have, and
//! the decoder sets such a field to its default. All names are those of MQTT 5.0. Where MQTT 3.1.1 uses another name,
//! the documentation of the field gives that name.
//!
//! The decoder returns a [`PacketRef`], whose PUBLISH borrows from the input ([`PublishRef`]). Receiving a message
//! therefore neither allocates nor copies. [`PublishRef::to_message`] returns an owned [`Message`], and
//! [`PacketRef::into_owned`] returns an owned [`Packet`].
//!
//! ```
//! use mqtt_codec::{Decoder, PacketRef, ProtocolVersion};
//!
//! let mut decoder = Decoder::client(ProtocolVersion::V3_1_1, 1024);
//! let mut input: &[u8] = b"\x30\x05\x00\x01axy\xD0";
//! let packet = decoder.decode(&mut input)?.expect("a whole packet");
//! let PacketRef::Publish(publish) = packet else { panic!("not a PUBLISH") };
//! assert_eq!((publish.topic_name, publish.payload), ("a", &b"xy"[..]));
//!
//! // The first byte of a PINGRESP is left for the next call.
//! assert_eq!(decoder.decode(&mut input)?, None);
//! assert_eq!(input, b"\xD0");
//! # Ok::<(), mqtt_codec::DecodeError>(())
//! ```
//!
//! # Cargo features
//!
//! No feature is on by default.
//!
//! - `serde` implements `Serialize` and `Deserialize` for all owned types.
//! - `arbitrary` implements `Arbitrary` for packets and messages, for fuzz tests.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod decoder;
mod error;
mod field;
mod message;
mod packet;
mod property;
mod protocol;
#[cfg(feature = "serde")]
mod serialization;
mod text;
mod topic;

pub use decoder::Decoder;
pub use error::{DecodeError, EncodeError};
pub use message::{Message, MessageProperties};
pub use packet::ack::{Ack, AckProperties};
pub use packet::auth::{Auth, AuthProperties};
pub use packet::connack::{Connack, ConnackProperties};
pub use packet::connect::{Connect, ConnectProperties, Will};
pub use packet::disconnect::{Disconnect, DisconnectProperties};
pub use packet::publish::{Delivery, Publish, PublishRef};
pub use packet::publish_properties::{PublishProperties, PublishPropertiesRef};
pub use packet::suback::Suback;
pub use packet::subscribe::{
    RetainHandling, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions,
};
pub use packet::unsubscribe::{Unsubscribe, UnsubscribeProperties};
pub use packet::{GenericPacket, Packet, PacketRef, PublishForm};
pub use property::publish_property::Property;
pub use property::repeated::{SubscriptionIdentifiers, UserProperties};
pub use property::subscription_identifier::SubscriptionIdentifier;
pub use property::topic_alias::TopicAlias;
pub use property::user_property::UserProperty;
pub use protocol::{
    InvalidValue, MAXIMUM_PACKET_SIZE, MAXIMUM_REMAINING_LENGTH, PacketIdentifier, PacketType,
    ProtocolVersion, QoS, ReasonCode, Role,
};
pub use text::disallowed_character;
pub use topic::{InvalidTopic, TopicFilter, TopicName, levels, matches, split_level};

/// The code of the README, which is tested with the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
