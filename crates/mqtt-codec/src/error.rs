//! What can be wrong with bytes that came in ([`DecodeError`]) and with a packet that is to go out
//! ([`EncodeError`]). Each error knows the reason code to answer with.

use std::fmt;

use crate::protocol::ReasonCode;

/// Why bytes are not a packet that this side may receive.
///
/// The connection cannot go on: there is no way to find the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A CONNACK with a code that no version defines for it.
    ConnackCode(u8),
    /// A CONNECT with flags that exclude each other, or with the reserved flag set.
    ConnectFlags,
    /// A property that may be there once was there twice.
    DuplicateProperty,
    /// A reserved bit of the fixed header was set, or a required one was not.
    FixedHeaderFlags,
    /// A string is not UTF-8, or contains U+0000.
    InvalidUtf8,
    /// The body of the packet is longer than its fields.
    LeftoverBytes,
    /// A variable byte integer has more than four bytes, or more than it needs.
    VariableByteInteger,
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter, SUBACK without a reason code.
    NothingListed,
    /// The packet is larger than this side accepts.
    PacketTooLarge,
    /// A packet identifier of zero.
    PacketIdentifierZero,
    /// A property that this packet, or this sender, may not use.
    PropertyNotAllowed,
    /// A property with a value that it may not have.
    PropertyValue,
    /// A CONNECT whose protocol name is not one of MQTT.
    ProtocolName,
    /// A QoS of 3, or DUP on a message of QoS 0.
    QoS,
    /// A reason code that this packet, or this sender, may not use.
    ReasonCode(u8),
    /// A reserved bit of the subscription options was set.
    SubscriptionOptions,
    /// The topic alias zero.
    TopicAlias,
    /// A topic filter with a misplaced wildcard, or an invalid shared subscription.
    TopicFilter,
    /// A topic name that is empty or contains a wildcard.
    TopicName,
    /// A field reaches beyond the end of the packet.
    Truncated,
    /// A packet that this side may not receive, or not now.
    UnexpectedPacket,
    /// A property identifier that no standard defines.
    UnknownProperty,
    /// A CONNECT of a version that is not 3.1, 3.1.1 or 5.0; the level it named.
    UnsupportedProtocolVersion(u8),
}

impl DecodeError {
    /// The reason code for the CONNACK or DISCONNECT that answers this error (MQTT 5.0, 4.13).
    pub fn reason_code(self) -> ReasonCode {
        match self {
            Self::ConnectFlags
            | Self::FixedHeaderFlags
            | Self::InvalidUtf8
            | Self::LeftoverBytes
            | Self::PropertyNotAllowed
            | Self::QoS
            | Self::SubscriptionOptions
            | Self::Truncated
            | Self::UnknownProperty
            | Self::VariableByteInteger => ReasonCode::MalformedPacket,
            Self::ConnackCode(_)
            | Self::DuplicateProperty
            | Self::NothingListed
            | Self::PacketIdentifierZero
            | Self::PropertyValue
            | Self::ReasonCode(_)
            | Self::UnexpectedPacket => ReasonCode::ProtocolError,
            Self::PacketTooLarge => ReasonCode::PacketTooLarge,
            Self::ProtocolName | Self::UnsupportedProtocolVersion(_) => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::TopicAlias => ReasonCode::TopicAliasInvalid,
            Self::TopicFilter => ReasonCode::TopicFilterInvalid,
            Self::TopicName => ReasonCode::TopicNameInvalid,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnackCode(code) => write!(f, "invalid reason code {code} in CONNACK"),
            Self::ConnectFlags => f.write_str("invalid connect flags"),
            Self::DuplicateProperty => f.write_str("duplicate property"),
            Self::FixedHeaderFlags => f.write_str("invalid flags in the fixed header"),
            Self::InvalidUtf8 => f.write_str("a string is not valid UTF-8"),
            Self::LeftoverBytes => f.write_str("bytes left over at the end of a packet"),
            Self::VariableByteInteger => f.write_str("invalid variable byte integer"),
            Self::NothingListed => {
                f.write_str("a packet that lists no topic filter or reason code")
            }
            Self::PacketTooLarge => f.write_str("packet too large"),
            Self::PacketIdentifierZero => f.write_str("packet identifier zero"),
            Self::PropertyNotAllowed => {
                f.write_str("a property that is not allowed in this packet")
            }
            Self::PropertyValue => f.write_str("invalid property value"),
            Self::ProtocolName => f.write_str("unknown protocol name"),
            Self::QoS => f.write_str("invalid QoS"),
            Self::ReasonCode(code) => write!(f, "invalid reason code {code}"),
            Self::SubscriptionOptions => f.write_str("invalid subscription options"),
            Self::TopicAlias => f.write_str("invalid topic alias"),
            Self::TopicFilter => f.write_str("invalid topic filter"),
            Self::TopicName => f.write_str("invalid topic name"),
            Self::Truncated => f.write_str("a field reaches beyond the end of its packet"),
            Self::UnexpectedPacket => f.write_str("a packet that may not be sent here"),
            Self::UnknownProperty => f.write_str("unknown property"),
            Self::UnsupportedProtocolVersion(level) => {
                write!(f, "unsupported protocol version {level}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a packet cannot be written. Nothing was written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than 65535 bytes, or a string contains U+0000.
    Field,
    /// The packet would have this many bytes, more than the peer or the protocol allows.
    PacketTooLarge(usize),
    /// A message has this property already, or may not have it, or not with this value.
    Property,
    /// The version of this connection has no such packet.
    UnsupportedPacket,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field => {
                f.write_str("a field is longer than 65535 bytes or contains a NUL character")
            }
            Self::PacketTooLarge(length) => write!(f, "a packet of {length} bytes is too large"),
            Self::Property => {
                f.write_str("the property is not allowed in a message, or is given twice")
            }
            Self::UnsupportedPacket => {
                f.write_str("this protocol version does not have this packet or reason code")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
