//! Properties of all packets except PUBLISH. Each packet has a struct with the properties that the packet may have, so
//! that a program cannot store a property of another packet. A property whose field is an `Option` may occur once in a
//! packet. A property whose field is a `Vec` may occur any number of times. The type of the field restricts the values:
//! for example, `NonZeroU16` excludes 0.

use std::ops::Range;

use super::value::Value;
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter, LengthCounter};

/// Properties of one packet.
pub(crate) trait Properties<'a>: Default {
    /// Reads the value of one property. Returns `None` if the packet must not have this property.
    fn read(
        &mut self,
        identifier: u32,
        value: &mut FieldReader<'a>,
    ) -> Option<Result<(), DecodeError>>;

    /// Writes the identifiers and values, without the Property Length before them.
    fn write(&self, out: &mut impl FieldWriter);
}

/// Defines the struct with the properties of a packet, its decoder and its encoder.
///
/// Properties are written in the order of the table. In an `ordered` struct the application can choose another order,
/// as the mosquitto tools send properties in the order of the command line.
macro_rules! properties {
    (@read $name:ty { $($identifier:literal $field:ident,)* }) => {
        fn read(
            &mut self,
            identifier: u32,
            value: &mut $crate::field::FieldReader<'a>,
        ) -> Option<Result<(), $crate::error::DecodeError>> {
            match identifier {
                $($identifier => Some($crate::property::table::Slot::read(&mut self.$field, value)),)*
                _ => None,
            }
        }
    };
    (
        $(#[$meta:meta])*
        ordered $name:ident { $($(#[$doc:meta])* $identifier:literal $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            /// Identifiers of the properties that are written first, in this order. All other properties follow in the
            /// order of the fields. The decoder leaves this list empty.
            pub order: Vec<u8>,
        }

        #[cfg(feature = "arbitrary")]
        impl arbitrary::Arbitrary<'_> for $name {
            fn arbitrary(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
                Ok(Self {
                    $($field: $crate::arbitrary::Field::generate(u)?,)*
                    order: $crate::arbitrary::Field::generate(u)?,
                })
            }
        }

        impl<'a> $crate::property::table::Properties<'a> for $name {
            properties!(@read $name { $($identifier $field,)* });

            fn write(&self, out: &mut impl $crate::field::FieldWriter) {
                for (index, &identifier) in self.order.iter().enumerate() {
                    let before = self.order.get(..index).unwrap_or_default();
                    // An identifier may be listed several times. The n-th occurrence writes the n-th value of the
                    // property.
                    let number = before.iter().filter(|other| **other == identifier).count();
                    match identifier {
                        $($identifier => $crate::property::table::Slot::write_part(
                            &self.$field,
                            $identifier,
                            number..number + 1,
                            out,
                        ),)*
                        _ => {}
                    }
                }
                $(
                    let written = self.order.iter().filter(|other| **other == $identifier).count();
                    let rest = written..usize::MAX;
                    $crate::property::table::Slot::write_part(&self.$field, $identifier, rest, out);
                )*
            }
        }
    };
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $identifier:literal $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        #[cfg(feature = "arbitrary")]
        impl arbitrary::Arbitrary<'_> for $name {
            fn arbitrary(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
                Ok(Self { $($field: $crate::arbitrary::Field::generate(u)?,)* })
            }
        }

        impl<'a> $crate::property::table::Properties<'a> for $name {
            properties!(@read $name { $($identifier $field,)* });

            fn write(&self, out: &mut impl $crate::field::FieldWriter) {
                $($crate::property::table::Slot::write(&self.$field, $identifier, out);)*
            }
        }
    };
}
pub(crate) use properties;

/// Decodes the Property Length and the properties.
pub(crate) fn decode<'a, P: Properties<'a>>(
    reader: &mut FieldReader<'a>,
) -> Result<P, DecodeError> {
    let length = reader.variable_byte_integer()?;
    let mut properties = P::default();
    // The block has its own reader, so that a property cannot extend past the Property Length.
    let mut block = FieldReader::new(reader.bytes(length as usize)?);
    while !block.is_empty() {
        let identifier = block.variable_byte_integer()?;
        match properties.read(identifier, &mut block) {
            Some(result) => result?,
            // The packet must not have this property.
            None => return Err(unexpected(identifier)),
        }
    }
    Ok(properties)
}

/// Encodes the Property Length and the properties.
#[inline]
pub(crate) fn encode<'a>(properties: &impl Properties<'a>, out: &mut impl FieldWriter) {
    let mut length = LengthCounter::default();
    properties.write(&mut length);
    if length.has_rejected {
        out.reject();
    }
    // If the length does not fit `u32`, the packet is larger than any limit, and the encoder rejects it later.
    out.put_variable_byte_integer(u32::try_from(length.bytes).unwrap_or(u32::MAX));
    out.put_measured(length.bytes, |out| properties.write(out));
}

/// Returns `true` if the packet has no property.
pub(crate) fn are_absent<'a>(properties: &impl Properties<'a>) -> bool {
    let mut length = LengthCounter::default();
    properties.write(&mut length);
    // A rejected field counts as present. The encoder must report the error, so the caller must not omit the
    // properties.
    length.bytes == 0 && !length.has_rejected
}

/// Returns the error for a property that this packet must not have. An undefined identifier is a malformed packet and
/// has another error than a defined one.
pub(crate) fn unexpected(identifier: u32) -> DecodeError {
    match identifier {
        // The property identifiers of MQTT 5.0, table 2-4.
        0x01..=0x03
        | 0x08
        | 0x09
        | 0x0B
        | 0x11..=0x13
        | 0x15..=0x1A
        | 0x1C
        | 0x1F
        | 0x21..=0x2A => DecodeError::PropertyNotAllowed,
        _ => DecodeError::UnknownProperty,
    }
}

/// Field of one property in the struct of a packet.
pub(crate) trait Slot<'a> {
    /// Reads one value into the field.
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError>;

    /// Writes all values, each with the identifier before it.
    fn write(&self, identifier: u8, out: &mut impl FieldWriter);

    /// Writes the values at the positions `part` of the field, each with the identifier before it.
    fn write_part(&self, identifier: u8, part: Range<usize>, out: &mut impl FieldWriter);
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError> {
        if self.replace(T::read(value)?).is_some() {
            // A second occurrence is a Protocol Error (MQTT 5.0, 2.2.2.2), even if both values are equal.
            return Err(DecodeError::DuplicateProperty);
        }
        Ok(())
    }

    fn write(&self, identifier: u8, out: &mut impl FieldWriter) {
        if let Some(value) = self {
            out.put_u8(identifier);
            value.write(out);
        }
    }

    fn write_part(&self, identifier: u8, part: Range<usize>, out: &mut impl FieldWriter) {
        if part.contains(&0) {
            self.write(identifier, out);
        }
    }
}

impl<'a, T: Value<'a>> Slot<'a> for Vec<T> {
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError> {
        self.push(T::read(value)?);
        Ok(())
    }

    fn write(&self, identifier: u8, out: &mut impl FieldWriter) {
        self.write_part(identifier, 0..usize::MAX, out);
    }

    fn write_part(&self, identifier: u8, part: Range<usize>, out: &mut impl FieldWriter) {
        for value in self.iter().take(part.end).skip(part.start) {
            out.put_u8(identifier);
            value.write(out);
        }
    }
}
