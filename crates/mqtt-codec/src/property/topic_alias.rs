//! [`TopicAlias`]: the number that replaces a topic name on one connection.

use std::num::NonZeroU16;

/// A number that stands for a topic name on one connection, in one direction; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// `None` for zero.
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}
