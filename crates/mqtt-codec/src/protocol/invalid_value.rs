//! [`InvalidValue`]: the error of conversions from integers.

use std::fmt;

/// The error of a conversion from an integer that has no meaning for the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InvalidValue {
    /// The value that was given.
    pub value: u32,
    /// The type of the result and its valid values, for error messages.
    pub expected: &'static str,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid value {}: expected {}",
            self.value, self.expected
        )
    }
}

impl std::error::Error for InvalidValue {}

/// Implements the conversions between a type and the integer that stands for it on the wire. `$from` returns `None` for
/// an integer without a meaning.
macro_rules! integer_conversions {
    ($type:ty, $integer:ty, $from:expr, $to:expr, $expected:literal) => {
        impl TryFrom<$integer> for $type {
            type Error = $crate::protocol::InvalidValue;

            fn try_from(value: $integer) -> Result<Self, Self::Error> {
                let from: fn($integer) -> Option<Self> = $from;
                from(value).ok_or($crate::protocol::InvalidValue {
                    value: value.into(),
                    expected: $expected,
                })
            }
        }

        impl From<$type> for $integer {
            fn from(value: $type) -> Self {
                let to: fn($type) -> Self = $to;
                to(value)
            }
        }
    };
}
pub(crate) use integer_conversions;
