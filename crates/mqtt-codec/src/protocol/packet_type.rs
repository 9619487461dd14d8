//! [`PacketType`] lists the fifteen packet types, the roles that may send them, and their required flags.

use std::fmt;

use super::invalid_value::integer_conversions;
use super::role::Role;

/// Type of a packet. The integer is the value of the upper four bits of the first byte (MQTT 5.0, 2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
#[allow(missing_docs)] // each variant has the name of its packet
pub enum PacketType {
    Connect = 1,
    Connack,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Suback,
    Unsubscribe,
    Unsuback,
    Pingreq,
    Pingresp,
    Disconnect,
    Auth,
}

impl PacketType {
    const ALL: [Self; 15] = [
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// Returns the type with this value, or `None` for 0, which is reserved, and for values above 15.
    pub fn from_value(value: u8) -> Option<Self> {
        Self::ALL.get(usize::from(value).checked_sub(1)?).copied()
    }

    /// Returns `true` if this role may send packets of this type in at least one version of the protocol.
    pub fn is_sent_by(self, role: Role) -> bool {
        match self {
            Self::Connect | Self::Subscribe | Self::Unsubscribe | Self::Pingreq => {
                role == Role::Client
            }
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp => role == Role::Server,
            // Both roles publish, acknowledge and disconnect. Only MQTT 5.0 has AUTH, and only there may a server send
            // DISCONNECT. The decoder checks the version.
            _ => true,
        }
    }

    /// Returns the required flags of the fixed header, or `None` for PUBLISH, whose flags encode DUP, QoS and RETAIN.
    pub(crate) fn flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            // MQTT 3.1 sent these packets with QoS 1, which is 0b0010. The later versions made the value a constant.
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }
}

integer_conversions!(
    PacketType,
    u8,
    PacketType::from_value,
    |packet_type| packet_type as u8,
    "a packet type from 1 to 15"
);

/// Formats the name of the packet in capitals, as the standard writes it.
impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_uppercase())
    }
}
