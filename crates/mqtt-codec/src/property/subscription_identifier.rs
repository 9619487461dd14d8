//! [`SubscriptionIdentifier`] is the number that a client assigns to a subscription.

use std::fmt;
use std::num::NonZeroU32;

use crate::protocol::MAXIMUM_REMAINING_LENGTH;
use crate::protocol::invalid_value::integer_conversions;

/// Number that a client assigns to a subscription: 1 to 268,435,455 (MQTT 5.0, 3.8.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u32", into = "u32"))]
pub struct SubscriptionIdentifier(NonZeroU32);

impl SubscriptionIdentifier {
    /// Returns the subscription identifier with this number, or `None` for zero and for numbers above 268,435,455.
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value)
            .filter(|value| value.get() <= MAXIMUM_REMAINING_LENGTH)
            .map(Self)
    }

    /// Returns the number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

integer_conversions!(
    SubscriptionIdentifier,
    u32,
    SubscriptionIdentifier::new,
    SubscriptionIdentifier::get,
    "a subscription identifier from 1 to 268435455"
);

impl fmt::Display for SubscriptionIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
