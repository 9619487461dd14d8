//! [`QoS`]: how often a message may arrive.

use std::fmt;

/// Quality of service: the number of times that a message may arrive (MQTT 5.0, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: once or not at all.
    #[default]
    AtMostOnce,
    /// QoS 1: once or more.
    AtLeastOnce,
    /// QoS 2: once.
    ExactlyOnce,
}

impl QoS {
    /// `None` above 2.
    pub fn from_value(value: u8) -> Option<Self> {
        [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce]
            .get(usize::from(value))
            .copied()
    }
}

impl fmt::Display for QoS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self as u8).fmt(f)
    }
}
