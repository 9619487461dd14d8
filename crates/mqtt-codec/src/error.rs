//! Errors of decoding ([`DecodeError`]) and of encoding ([`EncodeError`]). [`DecodeError::reason_code`] returns the
//! reason code that reports the error to the peer.

use std::fmt;

use crate::protocol::ReasonCode;

/// Reason why the decoder rejects received bytes.
///
/// The connection must be closed, because the decoder cannot find the start of the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeError {
    /// CONNACK has this return code or reason code, which the version of the connection does not define for CONNACK.
    ConnackCode(u8),
    /// CONNECT or CONNACK has contradictory flags, or a reserved flag is set.
    ConnectFlags,
    /// A property that may occur once occurs twice.
    DuplicateProperty,
    /// The fixed header has flags that the standard does not allow for this packet type.
    FixedHeaderFlags,
    /// A string is not valid UTF-8, or contains U+0000.
    InvalidUtf8,
    /// Bytes follow the last field of the packet.
    LeftoverBytes,
    /// A variable byte integer has more than four bytes, or more bytes than its value needs.
    VariableByteInteger,
    /// SUBSCRIBE or UNSUBSCRIBE has no topic filter, or SUBACK or UNSUBACK has no reason code.
    NothingListed,
    /// The packet is larger than the limit of this decoder.
    PacketTooLarge,
    /// The packet identifier is zero.
    PacketIdentifierZero,
    /// A property is not allowed in this packet or from this sender.
    PropertyNotAllowed,
    /// A property has an invalid value, or a required property is missing.
    PropertyValue,
    /// The protocol name in CONNECT is neither `MQTT` nor `MQIsdp`.
    ProtocolName,
    /// The QoS is 3, or a message of QoS 0 has the DUP flag set.
    QoS,
    /// A reason code is not allowed in this packet or from this sender.
    ReasonCode(u8),
    /// A reserved bit of the subscription options is set.
    SubscriptionOptions,
    /// The topic alias is zero.
    TopicAlias,
    /// A topic filter is empty or has a misplaced wildcard, or its share name is invalid.
    TopicFilter,
    /// A topic name is empty or contains a wildcard.
    TopicName,
    /// A field extends past the end of its packet.
    Truncated,
    /// The peer must not send a packet of this type, or not at this point of the connection.
    UnexpectedPacket,
    /// The standard does not define this property identifier.
    UnknownProperty,
    /// CONNECT has this protocol level. The supported levels are 3, 4 and 5.
    UnsupportedProtocolVersion(u8),
}

impl DecodeError {
    /// Returns the reason code of the CONNACK or DISCONNECT that reports this error to the peer (MQTT 5.0, 4.13).
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
            Self::InvalidUtf8 => {
                f.write_str("a string is not valid UTF-8 or contains a NUL character")
            }
            Self::LeftoverBytes => f.write_str("bytes left over at the end of a packet"),
            Self::VariableByteInteger => f.write_str("invalid variable byte integer"),
            Self::NothingListed => f.write_str("a packet without topic filters or reason codes"),
            Self::PacketTooLarge => f.write_str("packet too large"),
            Self::PacketIdentifierZero => f.write_str("the packet identifier is zero"),
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
            Self::Truncated => f.write_str("a field extends past the end of its packet"),
            Self::UnexpectedPacket => {
                f.write_str("a packet type that is not allowed at this point")
            }
            Self::UnknownProperty => f.write_str("unknown property"),
            Self::UnsupportedProtocolVersion(level) => {
                write!(f, "unsupported protocol version {level}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reason why a packet cannot be encoded. The encoder writes no byte of such a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than 65,535 bytes, or a string contains U+0000.
    Field,
    /// The packet would have this many bytes. The limit is that of the peer or of the protocol.
    PacketTooLarge(usize),
    /// A property is not allowed in a message, is a duplicate, or has an invalid value.
    Property,
    /// The version of the protocol does not have the packet, or has no return code for the result.
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
