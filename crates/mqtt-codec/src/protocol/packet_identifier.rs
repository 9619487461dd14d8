//! [`PacketIdentifier`]: the number that connects the packets of an exchange.

use std::fmt;
use std::num::NonZeroU16;

/// The number of an exchange that needs an answer; never zero [MQTT-2.2.1-3].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentifier(NonZeroU16);

impl PacketIdentifier {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The last one.
    pub const LAST: Self = Self(NonZeroU16::MAX);

    /// `None` for zero.
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// The one behind it; behind 65535 comes 1.
    #[must_use]
    pub fn next(self) -> Self {
        self.0.checked_add(1).map_or(Self::FIRST, Self)
    }
}

impl fmt::Display for PacketIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
