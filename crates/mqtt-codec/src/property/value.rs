//! [`Value`] is the trait of the types of property values. Each type reads, checks and writes its values.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;

use super::subscription_identifier::SubscriptionIdentifier;
use super::topic_alias::TopicAlias;
use super::user_property::UserProperty;
use crate::error::DecodeError;
use crate::field::{FieldReader, FieldWriter};
use crate::protocol::QoS;

/// Type of a property value.
pub(crate) trait Value<'a>: Sized {
    /// Reads a value and checks that it is valid for the property.
    fn read(reader: &mut FieldReader<'a>) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn write(&self, out: &mut impl FieldWriter);
}

/// Implements [`Value`] for a type: `value!(type, read, write)`.
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
// Maximum QoS is 0 or 1 on the wire. A server that supports QoS 2 omits the property (MQTT 5.0, 3.2.2.3.4).
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
    // The topic alias 0 is not allowed [MQTT-3.3.2-8]. This error has another reason code than other invalid values.
    |reader| Self::new(reader.u16()?).ok_or(DecodeError::TopicAlias),
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
        // A value other than 0 and 1 is a Protocol Error (MQTT 5.0, 3.1.2.11.6).
        _ => Err(DecodeError::PropertyValue),
    }
}

fn write_pair((name, value): (&str, &str), out: &mut impl FieldWriter) {
    out.put_string(name);
    out.put_string(value);
}
