//! [`PacketIdentifier`] is the number that connects a packet with its acknowledgement.

use std::fmt;
use std::num::NonZeroU16;

use super::invalid_value::integer_conversions;

/// Number of an exchange, such as PUBLISH and its PUBACK. A packet identifier is never zero [MQTT-2.2.1-3].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u16", into = "u16"))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct PacketIdentifier(NonZeroU16);

impl PacketIdentifier {
    /// The lowest packet identifier, 1.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The highest packet identifier, 65,535.
    pub const LAST: Self = Self(NonZeroU16::MAX);

    /// Returns the packet identifier with this number, or `None` for zero.
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// Returns the next packet identifier. The next one after 65,535 is 1.
    #[must_use]
    pub fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self::FIRST, Self)
    }
}

integer_conversions!(
    PacketIdentifier,
    u16,
    PacketIdentifier::new,
    PacketIdentifier::get,
    "a packet identifier from 1 to 65535"
);

impl fmt::Display for PacketIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
