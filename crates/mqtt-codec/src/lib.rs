//! Every byte of MQTT 3.1, 3.1.1 and 5.0, and nothing else: no sockets, no sessions, no clock.
//!
//! A [`Decoder`] cuts a stream of bytes into [`PacketRef`]s; [`PacketRef::encode`] writes one behind what
//! a buffer already holds. There is one set of packet types. The protocol version is an argument of
//! `encode` and a state of the decoder: what a version cannot carry is left out when encoding and
//! has its default after decoding. Names are those of MQTT 5.0; where 3.1.1 has another, the
//! documentation of the field gives it.
//!
//! A PUBLISH borrows from the bytes it was decoded from ([`PublishRef`]): receiving one allocates and
//! copies nothing. [`PublishRef::to_message`] makes the owned [`Message`] for those who keep it. All
//! other packets are owned.
//!
//! ```
//! use mqtt_codec::{Decoder, PacketRef, ProtocolVersion};
//!
//! let mut decoder = Decoder::client(ProtocolVersion::V3_1_1, 1024);
//! let mut input: &[u8] = b"\x30\x05\x00\x01axy\xD0";
//! let packet = decoder.decode(&mut input)?.expect("a whole packet");
//! let PacketRef::Publish(publish) = packet else { panic!("not a PUBLISH") };
//! assert_eq!((publish.topic_name, publish.payload), ("a", &b"xy"[..]));
//! assert_eq!(decoder.decode(&mut input)?, None); // a PINGRESP that is not complete
//! assert_eq!(input, b"\xD0");
//! # Ok::<(), mqtt_codec::DecodeError>(())
//! ```
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

mod decoder;
mod error;
mod field;
mod message;
mod packet;
mod property;
mod protocol;
mod text;
mod topic;

pub use decoder::Decoder;
pub use error::{DecodeError, EncodeError};
pub use message::{Message, MessageProperties};
pub use packet::PacketRef;
pub use packet::ack::{Ack, AckProperties};
pub use packet::auth::{Auth, AuthProperties};
pub use packet::connack::{Connack, ConnackProperties};
pub use packet::connect::{Connect, ConnectProperties, Will};
pub use packet::disconnect::{Disconnect, DisconnectProperties};
pub use packet::publish::{Delivery, PublishRef};
pub use packet::publish_properties::PublishPropertiesRef;
pub use packet::suback::Suback;
pub use packet::subscribe::{
    RetainHandling, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions,
};
pub use packet::unsubscribe::{Unsubscribe, UnsubscribeProperties};
pub use property::publish_property::Property;
pub use property::repeated::{SubscriptionIdentifiers, UserProperties};
pub use property::subscription_identifier::SubscriptionIdentifier;
pub use property::topic_alias::TopicAlias;
pub use property::user_property::UserProperty;
pub use protocol::{
    MAXIMUM_PACKET_SIZE, MAXIMUM_REMAINING_LENGTH, PacketIdentifier, PacketType, ProtocolVersion,
    QoS, ReasonCode, Role,
};
pub use text::disallowed_character;
pub use topic::{InvalidTopic, TopicFilter, TopicName, levels, matches, split_level};
