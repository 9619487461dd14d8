//! [`ProtocolVersion`] is MQTT 3.1, 3.1.1 or 5.0.

use std::fmt;

use super::invalid_value::integer_conversions;

/// Version of the protocol. The integer is the protocol level in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u8", into = "u8"))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1, whose protocol name is `MQIsdp`.
    V3_1 = 3,
    /// MQTT 3.1.1.
    V3_1_1 = 4,
    /// MQTT 5.0.
    V5_0 = 5,
}

impl ProtocolVersion {
    /// Returns the protocol level in CONNECT: 3, 4 or 5.
    pub fn level(self) -> u8 {
        self as u8
    }

    /// Returns the version with this protocol level, or `None` if the level is not 3, 4 or 5.
    pub fn from_level(level: u8) -> Option<Self> {
        [Self::V3_1, Self::V3_1_1, Self::V5_0]
            .into_iter()
            .find(|version| version.level() == level)
    }
}

integer_conversions!(
    ProtocolVersion,
    u8,
    ProtocolVersion::from_level,
    ProtocolVersion::level,
    "a protocol level of 3, 4 or 5"
);

/// Formats the version as the standard writes it, such as `3.1.1`.
impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5_0 => "5.0",
        })
    }
}
