//! [`SubscriptionIdentifier`]: the number that a client gives to a subscription.

use std::num::NonZeroU32;

use crate::protocol::MAXIMUM_REMAINING_LENGTH;

/// The number that a client gave to a subscription: 1 to 268435455.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionIdentifier(NonZeroU32);

impl SubscriptionIdentifier {
    /// `None` for zero and above 268435455.
    pub fn new(value: u32) -> Option<Self> {
        NonZeroU32::new(value)
            .filter(|value| value.get() <= MAXIMUM_REMAINING_LENGTH)
            .map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}
