//! [`InvalidValue`] is the error of conversions from integers to types of MQTT.

use std::fmt;

/// Error of a conversion from an integer that the type does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InvalidValue {
    /// The value that was given.
    pub value: u32,
    /// The name and the valid values of the target type, for error messages.
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

/// Implements the conversions between a type and the integer that represents it on the wire. `$from` returns `None` for
/// an integer that the type does not define.
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
