//! The conversions of `%`, padded and cut like in mosquitto_sub. mosquitto_sub uses width and precision differently for
//! each conversion, and scripts may depend on that.

use jiff::Zoned;
use mqtt_codec::{PublishRef, UserProperties};

use super::bytes::{hex_digits, visible};
use super::json;
use super::style::{Style, Unprintable};
use super::time;

/// A conversion of a format, with its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) conversion: Conversion,
    pub(super) layout: Layout,
}

/// The padding and cutting of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) left: bool,
    pub(super) zeros: bool,
    pub(super) width: usize,
    pub(super) precision: Option<usize>,
    /// The byte between groups of hexadecimal digits.
    pub(super) separator: Option<u8>,
}

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    TopicAlias,
    ContentType,
    CorrelationData,
    Double,
    MessageExpiryInterval,
    Float,
    PayloadFormatIndicator,
    LocalTime,
    /// The message as JSON with the payload as a string.
    JsonText,
    /// The message as JSON with the payload as a JSON value.
    JsonValue,
    PayloadLength,
    PacketIdentifier,
    UserProperties,
    Payload,
    QoS,
    ResponseTopic,
    Retain,
    SubscriptionIdentifier,
    TopicName,
    UnixTime,
    HexLower,
    HexUpper,
}

impl Conversion {
    /// Returns the conversion of a letter, or `None` for an unknown letter.
    pub(super) fn new(letter: u8) -> Option<Self> {
        Some(match letter {
            b'A' => Self::TopicAlias,
            b'C' => Self::ContentType,
            b'D' => Self::CorrelationData,
            b'd' => Self::Double,
            b'E' => Self::MessageExpiryInterval,
            b'f' => Self::Float,
            b'F' => Self::PayloadFormatIndicator,
            b'I' => Self::LocalTime,
            b'j' => Self::JsonText,
            b'J' => Self::JsonValue,
            b'l' => Self::PayloadLength,
            b'm' => Self::PacketIdentifier,
            b'P' => Self::UserProperties,
            b'p' => Self::Payload,
            b'q' => Self::QoS,
            b'R' => Self::ResponseTopic,
            b'r' => Self::Retain,
            b'S' => Self::SubscriptionIdentifier,
            b't' => Self::TopicName,
            b'U' => Self::UnixTime,
            b'x' => Self::HexLower,
            b'X' => Self::HexUpper,
            _ => return None,
        })
    }
}

impl Field {
    /// Returns `true` if the value contains the time of printing.
    pub(super) fn needs_time(&self) -> bool {
        use Conversion::*;
        matches!(self.conversion, LocalTime | UnixTime | JsonText | JsonValue)
    }

    /// Appends the value. Returns the reason if the payload does not have the form that the conversion needs.
    pub(super) fn write(
        &self,
        publish: &PublishRef<'_>,
        now: &Zoned,
        style: Style,
        out: &mut Vec<u8>,
    ) -> Option<Unprintable> {
        let (layout, properties) = (self.layout, &publish.properties);
        let identifier = publish.delivery.packet_identifier();
        match self.conversion {
            Conversion::TopicAlias => {
                layout.number(properties.topic_alias.map(|alias| alias.get()), out);
            }
            Conversion::ContentType => {
                layout.string(properties.content_type().unwrap_or_default(), style, out);
            }
            Conversion::CorrelationData => {
                visible(
                    properties.correlation_data().unwrap_or_default(),
                    style,
                    out,
                );
            }
            Conversion::Double => return layout.double(publish.payload, out),
            // mosquitto prints the number as a signed one, so a number above 2147483647 is negative.
            Conversion::MessageExpiryInterval => {
                let seconds = properties.message_expiry_interval;
                layout.number(seconds.map(|seconds| seconds as i32), out);
            }
            Conversion::Float => return layout.float(publish.payload, out),
            Conversion::PayloadFormatIndicator => {
                layout.number(properties.payload_format_indicator().map(u8::from), out);
            }
            Conversion::LocalTime => layout.string(&time::local(now), style, out),
            Conversion::JsonText => json::write_text(publish, now, style, out),
            Conversion::JsonValue => return json::write_value(publish, now, style, out),
            Conversion::PayloadLength => layout.number(Some(publish.payload.len()), out),
            Conversion::PacketIdentifier => {
                layout.number(
                    Some(identifier.map_or(0, |identifier| identifier.get())),
                    out,
                );
            }
            Conversion::UserProperties => {
                user_properties(properties.user_properties(), style, out);
            }
            Conversion::Payload => layout.payload(publish.payload, style, out),
            Conversion::QoS => out.push(b'0' + publish.delivery.qos() as u8),
            // For an absent response topic mosquitto prints no padding, unlike for an absent content type.
            Conversion::ResponseTopic => {
                if let Some(topic) = properties.response_topic() {
                    layout.string(topic, style, out);
                }
            }
            Conversion::Retain => out.push(b'0' + u8::from(publish.retain)),
            Conversion::SubscriptionIdentifier => {
                let first = properties.subscription_identifiers.iter().next();
                layout.number(first.map(|first| first.get()), out);
            }
            Conversion::TopicName => layout.string(publish.topic_name, style, out),
            Conversion::UnixTime => out.extend_from_slice(time::unix(now).as_bytes()),
            Conversion::HexLower => layout.hex(publish.payload, b"0123456789abcdef", out),
            Conversion::HexUpper => layout.hex(publish.payload, b"0123456789ABCDEF", out),
        }
        None
    }
}

impl Layout {
    /// Appends text like C's `%*.*s`: the precision cuts the text, the width pads it.
    fn string(self, text: &str, style: Style, out: &mut Vec<u8>) {
        // Like in C, the text is cut by bytes, so a part of a character may be left.
        let cut = self.precision.unwrap_or(usize::MAX).min(text.len());
        let text = text.as_bytes().get(..cut).unwrap_or_default();
        self.padded(b' ', text.len(), out, |out| visible(text, style, out));
    }

    /// Appends a payload. The width both pads and cuts the payload. The precision is ignored.
    fn payload(self, payload: &[u8], style: Style, out: &mut Vec<u8>) {
        let cut = match self.width {
            0 => payload.len(),
            width => width.min(payload.len()),
        };
        let payload = payload.get(..cut).unwrap_or_default();
        let pad = if self.zeros { b'0' } else { b' ' };
        self.padded(pad, payload.len(), out, |out| visible(payload, style, out));
    }

    /// Appends a number, or only the padding if the number is absent.
    fn number(self, number: Option<impl ToString>, out: &mut Vec<u8>) {
        let Some(number) = number else {
            let pad = if self.zeros { b'0' } else { b' ' };
            out.resize(out.len() + self.width, pad);
            return;
        };
        self.digits(&number.to_string(), out);
    }

    /// Appends the digits of a number. Zeros come after the sign.
    fn digits(self, text: &str, out: &mut Vec<u8>) {
        if !self.zeros {
            return self.padded(b' ', text.len(), out, |out| {
                out.extend_from_slice(text.as_bytes());
            });
        }
        // Like in C, the sign is before the zeros: -0005 and not 000-5.
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", text),
        };
        out.extend_from_slice(sign.as_bytes());
        let zeros = self.width.saturating_sub(text.len());
        out.resize(out.len() + zeros, b'0');
        out.extend_from_slice(rest.as_bytes());
    }

    /// Appends a payload of four bytes as a floating-point number in the byte order of this machine.
    fn float(self, payload: &[u8], out: &mut Vec<u8>) -> Option<Unprintable> {
        let Ok(bytes) = payload.try_into() else {
            return Some(Unprintable::Float);
        };
        self.decimal(f32::from_ne_bytes(bytes).into(), out);
        None
    }

    /// Appends a payload of eight bytes as a floating-point number in the byte order of this machine.
    fn double(self, payload: &[u8], out: &mut Vec<u8>) -> Option<Unprintable> {
        let Ok(bytes) = payload.try_into() else {
            return Some(Unprintable::Double);
        };
        self.decimal(f64::from_ne_bytes(bytes), out);
        None
    }

    fn decimal(self, value: f64, out: &mut Vec<u8>) {
        if !value.is_finite() {
            let text = if value.is_nan() {
                "nan".into()
            } else {
                value.to_string()
            };
            // Like in C, infinity and NaN are padded with blanks.
            let blanks = Self {
                zeros: false,
                ..self
            };
            return blanks.digits(&text, out);
        }
        let precision = self.precision.unwrap_or(6); // the default of C's %f
        self.digits(&format!("{value:.precision$}"), out);
    }

    /// Appends hexadecimal digits. Like in mosquitto_sub, the width counts digits when it pads, and bytes when it cuts.
    fn hex(self, payload: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
        // Without a width all bytes are printed.
        let shown = match self.width {
            0 => payload.len(),
            width => width.min(payload.len()),
        };
        let payload = payload.get(..shown).unwrap_or_default();
        let padding = self.width.saturating_sub(payload.len() * 2);
        let pad = if self.zeros { b'0' } else { b' ' };
        let left = if self.left { 0 } else { padding };
        // Like in mosquitto_sub, the padding counts as digits when separators are inserted.
        let value = payload.iter().flat_map(|byte| hex_digits(*byte, digits));
        let group = self.precision.filter(|precision| *precision > 0);
        let separator = self.separator.unwrap_or(b' ');
        let all = std::iter::repeat_n(pad, left).chain(value);
        for (index, digit) in all.enumerate() {
            if index > 0 && group.is_some_and(|group| index % group == 0) {
                out.push(separator);
            }
            out.push(digit);
        }
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }

    /// Calls `write`, which appends `length` columns, and pads them before or after.
    fn padded(self, pad: u8, length: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let padding = self.width.saturating_sub(length);
        if !self.left {
            out.resize(out.len() + padding, pad);
        }
        write(out);
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }
}

fn user_properties(properties: UserProperties<'_>, style: Style, out: &mut Vec<u8>) {
    for (index, (name, value)) in properties.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        visible(name.as_bytes(), style, out);
        out.push(b':');
        visible(value.as_bytes(), style, out);
    }
}
