//! [`QoS`] is the quality of service of a message.

use std::fmt;

use super::invalid_value::integer_conversions;

/// Quality of service: how often a message may reach its receiver (MQTT 5.0, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u8", into = "u8"))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: the message arrives once or is lost.
    #[default]
    AtMostOnce,
    /// QoS 1: the message arrives at least once; duplicates are possible.
    AtLeastOnce,
    /// QoS 2: the message arrives exactly once.
    ExactlyOnce,
}

impl QoS {
    /// Returns the QoS with this number, or `None` if the number is above 2.
    pub fn from_value(value: u8) -> Option<Self> {
        [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce]
            .get(usize::from(value))
            .copied()
    }
}

integer_conversions!(
    QoS,
    u8,
    QoS::from_value,
    |qos| qos as u8,
    "a QoS of 0, 1 or 2"
);

/// Formats the QoS as its number.
impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self as u8).fmt(f)
    }
}
