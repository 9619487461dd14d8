//! The tables of properties: each packet has a struct with the properties that it may have, so that a property of
//! another packet cannot be stored. A property whose field is an `Option` may occur once in a packet. A property whose
//! field is a `Vec` may occur any number of times. The type of a field decides which values are valid (`NonZeroU16`,
//! `bool`).

use std::ops::Range;

use super::value::Value;
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter, LengthCounter};

/// The properties of one packet.
pub(crate) trait Properties<'a>: Default {
    /// Reads the value of one property. Returns `None` if the packet must not have this property.
    fn read(
        &mut self,
        identifier: u32,
        value: &mut FieldReader<'a>,
    ) -> Option<Result<(), DecodeError>>;

    /// Writes identifiers and values, without the Property Length before them.
    fn write(&self, out: &mut impl FieldWriter);
}

/// Defines the struct of the properties of a packet, with its decoder and its encoder.
///
/// Properties are written in the order of the table. The application can choose the order in an `ordered` struct.
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
            /// order of the fields. Decoded packets have an empty list.
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
                    // The same identifier may be listed once for each of its values, which are written one by one.
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

/// Decodes the Property Length and the properties after it.
pub(crate) fn decode<'a, P: Properties<'a>>(
    reader: &mut FieldReader<'a>,
) -> Result<P, DecodeError> {
    let length = reader.variable_byte_integer()?;
    let mut properties = P::default();
    // A separate reader for the block keeps a property from extending past the Property Length.
    let mut block = FieldReader::new(reader.bytes(length as usize)?);
    while !block.is_empty() {
        let identifier = block.variable_byte_integer()?;
        match properties.read(identifier, &mut block) {
            Some(result) => result?,
            // The table of the packet does not have this property.
            None => return Err(unexpected(identifier)),
        }
    }
    Ok(properties)
}

/// Encodes the Property Length and the properties after it.
#[inline]
pub(crate) fn encode<'a>(properties: &impl Properties<'a>, out: &mut impl FieldWriter) {
    let mut length = LengthCounter::default();
    properties.write(&mut length);
    if length.has_rejected {
        out.reject();
    }
    // A length above u32 is above the size of any packet, so that the encoder rejects it later.
    out.put_variable_byte_integer(u32::try_from(length.bytes).unwrap_or(u32::MAX));
    out.put_measured(length.bytes, |out| properties.write(out));
}

/// Returns `true` if there are no properties.
pub(crate) fn are_absent<'a>(properties: &impl Properties<'a>) -> bool {
    let mut length = LengthCounter::default();
    properties.write(&mut length);
    length.bytes == 0 && !length.has_rejected
}

/// Returns the error of a property that this packet must not have. The two errors have different reason codes.
pub(crate) fn unexpected(identifier: u32) -> DecodeError {
    match identifier {
        // The identifiers of MQTT 5.0, table 2-4.
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

/// The field of one property in its struct.
pub(crate) trait Slot<'a> {
    /// Reads one value.
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError>;

    /// Writes all values, each after the identifier.
    fn write(&self, identifier: u8, out: &mut impl FieldWriter);

    /// Writes the values whose position in the field is in `part`, each after the identifier.
    fn write_part(&self, identifier: u8, part: Range<usize>, out: &mut impl FieldWriter);
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError> {
        if self.replace(T::read(value)?).is_some() {
            // A second occurrence is a Protocol Error (MQTT 5.0, 2.2.2.2), even with the same value.
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
