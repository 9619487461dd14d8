//! Properties of MQTT 5.0 (2.2.2): each packet has a table of its own, so that a property which a
//! packet may not have cannot be stored at all.
//!
//! In a table an `Option` may be there once, a `Vec` any number of times; the type says which values
//! are refused (`NonZeroU16`, `bool`). Those of PUBLISH are not stored: `packet/publish_properties.rs`.

pub(crate) mod publish_property;
pub(crate) mod repeated;
pub(crate) mod subscription_identifier;
pub(crate) mod topic_alias;
pub(crate) mod user_property;

use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;

use bytes::Bytes;

use self::subscription_identifier::SubscriptionIdentifier;
use self::topic_alias::TopicAlias;
use self::user_property::UserProperty;
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter, LengthCounter};
use crate::protocol::QoS;

/// The properties of one packet.
pub(crate) trait Properties<'a>: Default {
    /// Reads the value of one property; `None` if this packet has no such property.
    fn read(
        &mut self,
        identifier: u32,
        value: &mut FieldReader<'a>,
    ) -> Option<Result<(), DecodeError>>;

    /// Writes identifiers and values, without the length before them.
    fn write(&self, out: &mut impl FieldWriter);
}

/// Makes the struct of a packet's properties, and how it is read and written. An `ordered` one can be written in an order
/// that its application chose; the others are written in the order of the table.
macro_rules! properties {
    (@read $name:ty { $($identifier:literal $field:ident,)* }) => {
        fn read(
            &mut self,
            identifier: u32,
            value: &mut $crate::field::FieldReader<'a>,
        ) -> Option<Result<(), $crate::DecodeError>> {
            match identifier {
                $($identifier => Some($crate::property::Slot::read(&mut self.$field, value)),)*
                _ => None,
            }
        }
    };
    (
        $(#[$meta:meta])*
        ordered $name:ident { $($(#[$doc:meta])* $identifier:literal $field:ident: $type:ty,)* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            /// The identifiers of the properties that are written first, in this order. The others follow. Decoding
            /// leaves it empty.
            pub order: Vec<u8>,
        }

        impl<'a> $crate::property::Properties<'a> for $name {
            properties!(@read $name { $($identifier $field,)* });

            fn write(&self, out: &mut impl $crate::field::FieldWriter) {
                for (index, &identifier) in self.order.iter().enumerate() {
                    let before = self.order.get(..index).unwrap_or_default();
                    let number = before.iter().filter(|other| **other == identifier).count();
                    match identifier {
                        $($identifier => $crate::property::Slot::write_part(
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
                    $crate::property::Slot::write_part(&self.$field, $identifier, rest, out);
                )*
            }
        }
    };
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $identifier:literal $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl<'a> $crate::property::Properties<'a> for $name {
            properties!(@read $name { $($identifier $field,)* });

            fn write(&self, out: &mut impl $crate::field::FieldWriter) {
                $($crate::property::Slot::write(&self.$field, $identifier, out);)*
            }
        }
    };
}
pub(crate) use properties;

/// Reads Property Length and the properties behind it.
pub(crate) fn decode<'a, P: Properties<'a>>(
    reader: &mut FieldReader<'a>,
) -> Result<P, DecodeError> {
    let length = reader.variable_byte_integer()?;
    let mut properties = P::default();
    let mut block = FieldReader::new(reader.bytes(length as usize)?);
    while !block.is_empty() {
        let identifier = block.variable_byte_integer()?;
        match properties.read(identifier, &mut block) {
            Some(result) => result?,
            None => return Err(unexpected(identifier)),
        }
    }
    Ok(properties)
}

/// Writes Property Length and the properties behind it.
#[inline]
pub(crate) fn encode<'a>(properties: &impl Properties<'a>, out: &mut impl FieldWriter) {
    let mut length = LengthCounter::default();
    properties.write(&mut length);
    if length.refused {
        out.refuse();
    }
    out.put_variable_byte_integer(u32::try_from(length.bytes).unwrap_or(u32::MAX));
    out.put_measured(length.bytes, |out| properties.write(out));
}

/// Whether there is nothing to write.
pub(crate) fn are_absent<'a>(properties: &impl Properties<'a>) -> bool {
    let mut length = LengthCounter::default();
    properties.write(&mut length);
    length.bytes == 0 && !length.refused
}

/// What is wrong with a property that this packet does not have.
pub(crate) fn unexpected(identifier: u32) -> DecodeError {
    match identifier {
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

/// The place of one property in its struct.
pub(crate) trait Slot<'a> {
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError>;

    /// Writes its values, each with the identifier.
    fn write(&self, identifier: u8, out: &mut impl FieldWriter);

    /// Writes those of its values that have a number in this range.
    fn write_part(&self, identifier: u8, part: Range<usize>, out: &mut impl FieldWriter);
}

impl<'a, T: Value<'a>> Slot<'a> for Option<T> {
    fn read(&mut self, value: &mut FieldReader<'a>) -> Result<(), DecodeError> {
        let first = self.replace(T::read(value)?).is_none();
        if first {
            Ok(())
        } else {
            Err(DecodeError::DuplicateProperty)
        }
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

/// The value of one property.
pub(crate) trait Value<'a>: Sized {
    fn read(reader: &mut FieldReader<'a>) -> Result<Self, DecodeError>;
    fn write(&self, out: &mut impl FieldWriter);
}

/// `value!(type, read, write)`: a property value that is one field.
macro_rules! value {
    ($type:ty, $read:expr, $write:expr) => {
        impl<'a> Value<'a> for $type {
            fn read(reader: &mut FieldReader<'a>) -> Result<Self, DecodeError> {
                let read: fn(&mut FieldReader<'a>) -> Result<Self, DecodeError> = $read;
                read(reader)
            }

            fn write(&self, out: &mut impl FieldWriter) {
                fn with<S: FieldWriter>(write: impl FnOnce(&mut S), out: &mut S) {
                    write(out);
                }
                with(|out| $write(self, out), out);
            }
        }
    };
}

value!(bool, flag, |value: &bool, out: &mut _| FieldWriter::put_u8(
    out,
    (*value).into()
));
value!(u16, |reader| reader.u16(), |value: &u16, out: &mut _| {
    FieldWriter::put_u16(out, *value)
});
value!(u32, |reader| reader.u32(), |value: &u32, out: &mut _| {
    FieldWriter::put_u32(out, *value)
});
value!(
    NonZeroU16,
    |reader| Self::new(reader.u16()?).ok_or(DecodeError::PropertyValue),
    |value: &NonZeroU16, out: &mut _| FieldWriter::put_u16(out, value.get())
);
value!(
    NonZeroU32,
    |reader| Self::new(reader.u32()?).ok_or(DecodeError::PropertyValue),
    |value: &NonZeroU32, out: &mut _| FieldWriter::put_u32(out, value.get())
);
value!(
    String,
    |reader| reader.string().map(str::to_owned),
    |value: &String, out: &mut _| FieldWriter::put_string(out, value)
);
value!(
    Bytes,
    |reader| reader.binary().map(Self::copy_from_slice),
    |value: &Bytes, out: &mut _| FieldWriter::put_binary(out, value)
);
// Maximum QoS, which is 0 or 1: 2 is said by leaving it out [MQTT 5.0, 3.2.2.3.4].
value!(
    QoS,
    |reader| Ok(if flag(reader)? {
        Self::AtLeastOnce
    } else {
        Self::AtMostOnce
    }),
    |value: &QoS, out: &mut _| FieldWriter::put_u8(out, (*value).min(QoS::AtLeastOnce) as u8)
);
value!(
    SubscriptionIdentifier,
    |reader| Self::new(reader.variable_byte_integer()?).ok_or(DecodeError::PropertyValue),
    |value: &SubscriptionIdentifier, out: &mut _| FieldWriter::put_variable_byte_integer(
        out,
        value.get()
    )
);
value!(
    TopicAlias,
    |reader| Self::new(reader.u16()?).ok_or(DecodeError::TopicAlias), // [MQTT-3.3.2-8]
    |value: &TopicAlias, out: &mut _| FieldWriter::put_u16(out, value.get())
);
value!(
    UserProperty,
    |reader| Ok(Self {
        name: reader.string()?.to_owned(),
        value: reader.string()?.to_owned()
    }),
    |value: &UserProperty, out: &mut _| write_pair((&value.name, &value.value), out)
);

fn flag(reader: &mut FieldReader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::PropertyValue),
    }
}

fn write_pair((name, value): (&str, &str), out: &mut impl FieldWriter) {
    out.put_string(name);
    out.put_string(value);
}
