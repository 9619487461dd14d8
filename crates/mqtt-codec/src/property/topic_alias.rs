//! [`TopicAlias`] is the number that replaces a topic name on one connection.

use std::fmt;
use std::num::NonZeroU16;

use crate::protocol::invalid_value::integer_conversions;

/// Number that replaces a topic name, on one connection and in one direction. A topic alias is never zero
/// [MQTT-3.3.2-8].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u16", into = "u16"))]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// The lowest topic alias, 1.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// Returns the topic alias with this number, or `None` for zero.
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

integer_conversions!(
    TopicAlias,
    u16,
    TopicAlias::new,
    TopicAlias::get,
    "a topic alias from 1 to 65535"
);

impl fmt::Display for TopicAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
