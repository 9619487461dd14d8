//! Prints a message as one JSON object: `%j` has the payload as a string, `%J` has the payload as a JSON value.
//!
//! JSON is text, and a payload is bytes. In the string, bytes that are not UTF-8 become U+FFFD, and a further key,
//! `payloadhex` or `correlation-data-hex`, has all bytes in hexadecimal digits. `%J` streams the payload from the
//! parser to the printer and builds no value, so that the order of keys and duplicate keys are preserved. Numbers are
//! printed like in mosquitto_sub, except that integers of up to 64 bits keep all digits.

use std::io::{self, Write};

use jiff::Zoned;
use mqtt_client::session::is_unprintable;
use mqtt_codec::{Property, PublishRef, QoS};
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use super::bytes::push_hex;
use super::style::{Style, Unprintable};
use super::{sloppy_json, time};

/// Appends `%j`.
pub(super) fn write_text(publish: &PublishRef<'_>, now: &Zoned, style: Style, out: &mut Vec<u8>) {
    let start = out.len();
    let mut object = Object::new(style.pretty, out);
    header(&mut object, publish, now);
    // Like in mosquitto_sub, an empty payload is null and not an empty string.
    object.key("payload");
    object.text_or_null(publish.payload);
    object.hex_if_binary("payloadhex", publish.payload);
    object.end();
    if style.terminal {
        escape_controls(start, out);
    }
}

/// Appends `%J`, or nothing if the payload is not JSON.
pub(super) fn write_value(
    publish: &PublishRef<'_>,
    now: &Zoned,
    style: Style,
    out: &mut Vec<u8>,
) -> Option<Unprintable> {
    let start = out.len();
    let mut object = Object::new(style.pretty, out);
    header(&mut object, publish, now);
    object.key("payload");
    let copied = match publish.payload {
        [] => {
            object.raw("null");
            Ok(())
        }
        payload => object.copy(payload),
    };
    object.end();
    if copied.is_err() {
        // The start of the object was already written and is removed.
        out.truncate(start);
        return Some(Unprintable::Json);
    }
    if style.terminal {
        escape_controls(start, out);
    }
    None
}

fn escape_controls(start: usize, out: &mut Vec<u8>) {
    let json = String::from_utf8_lossy(out.get(start..).unwrap_or_default()).into_owned();
    out.truncate(start);
    out.extend_from_slice(escaped(&json).as_bytes());
}

/// Returns JSON of the same meaning without unprintable characters, for a terminal. Valid JSON may contain such
/// characters above U+007E, but only in strings, where an escape has the same meaning.
pub(crate) fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        // The serializer has escaped characters below U+0020 already, except for white space between values.
        if character >= '\u{7f}' && is_unprintable(character) {
            text += &format!("\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

fn header(object: &mut Object<'_>, publish: &PublishRef<'_>, now: &Zoned) {
    object.key("tst");
    object.out.push(b'"');
    time::write_stamp(now, object.out);
    object.out.push(b'"');
    object.text("topic", publish.topic_name);
    object.raw_value("qos", publish.delivery.qos() as u8);
    object.raw_value("retain", publish.retain);
    object.raw_value("payloadlen", publish.payload.len());
    // Like in mosquitto_sub, `mid` is printed only if the packet has a packet identifier.
    if let (Some(identifier), true) = (
        publish.delivery.packet_identifier(),
        publish.delivery.qos() > QoS::AtMostOnce,
    ) {
        object.raw_value("mid", identifier.get());
    }
    properties(object, publish);
}

/// Writes the properties in the order of the packet, if the packet has any. Like in mosquitto_sub, all user properties
/// are one array at the place of the first one.
fn properties(object: &mut Object<'_>, publish: &PublishRef<'_>) {
    let properties = &publish.properties;
    if properties.are_absent() {
        return;
    }
    // `object` is borrowed by the inner object, so the inner object has its own buffer.
    let mut out = Vec::new();
    let mut inner = Object::inner(object, &mut out);
    let mut has_pairs = false;
    for property in properties.iter() {
        match property {
            Property::PayloadFormatIndicator(flag) => {
                inner.raw_value("payload-format-indicator", u8::from(flag));
            }
            Property::MessageExpiryInterval(seconds) => {
                inner.raw_value("message-expiry-interval", seconds);
            }
            Property::ContentType(text) => inner.text("content-type", text),
            Property::ResponseTopic(topic_name) => inner.text("response-topic", topic_name),
            Property::CorrelationData(data) => {
                inner.key("correlation-data");
                inner.string(data);
                inner.hex_if_binary("correlation-data-hex", data);
            }
            Property::SubscriptionIdentifier(identifier) => {
                inner.raw_value("subscription-identifier", identifier.get());
            }
            Property::TopicAlias(alias) => inner.raw_value("topic-alias", alias.get()),
            // The first user property has printed all of them.
            Property::User(..) if std::mem::replace(&mut has_pairs, true) => {}
            Property::User(..) => {
                inner.pairs("user-properties", properties.user_properties().iter());
            }
            _ => {}
        }
    }
    inner.end();
    object.key("properties");
    object.out.extend_from_slice(&out);
}

/// An object that is written key by key. It appends to memory and builds no value, because each message needs an
/// object.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    printer: Printer,
    is_first: bool,
}

impl<'a> Object<'a> {
    fn new(pretty: bool, out: &'a mut Vec<u8>) -> Self {
        Self::at_depth(pretty, 0, out)
    }

    fn inner(outer: &Object<'_>, out: &'a mut Vec<u8>) -> Self {
        Self::at_depth(outer.printer.pretty, outer.printer.depth, out)
    }

    fn at_depth(pretty: bool, depth: usize, out: &'a mut Vec<u8>) -> Self {
        let mut printer = Printer { pretty, depth };
        write_to(out, |out| printer.begin_object(out));
        Self {
            out,
            printer,
            is_first: true,
        }
    }

    fn end(mut self) {
        write_to(self.out, |out| self.printer.end_object(out));
    }

    /// Appends a key that needs no escapes.
    fn key(&mut self, name: &'static str) {
        self.key_with(|object| {
            object.out.push(b'"');
            object.raw(name);
            object.out.push(b'"');
        });
    }

    fn key_with(&mut self, write: impl FnOnce(&mut Self)) {
        let first = std::mem::replace(&mut self.is_first, false);
        write_to(self.out, |out| self.printer.begin_object_key(out, first));
        write(self);
        write_to(self.out, |out| self.printer.begin_object_value(out));
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn raw_value(&mut self, name: &'static str, value: impl serde::Serialize) {
        self.key(name);
        // Writing to memory does not fail, and numbers and booleans are always valid JSON.
        let _ = serde_json::to_writer(&mut *self.out, &value);
    }

    fn text(&mut self, name: &'static str, value: &str) {
        self.key(name);
        self.string(value.as_bytes());
    }

    fn text_or_null(&mut self, bytes: &[u8]) {
        match bytes {
            [] => self.raw("null"),
            bytes => self.string(bytes),
        }
    }

    /// Appends a JSON string, with U+FFFD for bytes that are not UTF-8.
    fn string(&mut self, bytes: &[u8]) {
        // `fold` has no early exit and so no branch for each byte. The compiler can check many bytes in one
        // instruction.
        let is_plain =
            |byte: &u8| (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\');
        if bytes.iter().fold(true, |all, byte| all & is_plain(byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(bytes);
            self.out.push(b'"');
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        // Writing to memory does not fail, and a string is always valid JSON.
        let _ = serde_json::to_writer(&mut *self.out, &text);
    }

    /// Appends a key with all bytes as hexadecimal digits, if the bytes are not UTF-8.
    fn hex_if_binary(&mut self, name: &'static str, bytes: &[u8]) {
        // The test for ASCII is faster than that for UTF-8, and most payloads are ASCII.
        if !bytes.is_ascii() && std::str::from_utf8(bytes).is_err() {
            self.key(name);
            self.out.push(b'"');
            push_hex(bytes, b"0123456789abcdef", self.out);
            self.out.push(b'"');
        }
    }

    /// Appends an array of objects with one key each, because several user properties may have the same name.
    fn pairs<'b>(&mut self, name: &'static str, pairs: impl Iterator<Item = (&'b str, &'b str)>) {
        self.key(name);
        write_to(self.out, |out| self.printer.begin_array(out));
        for (index, (name, value)) in pairs.enumerate() {
            write_to(self.out, |out| {
                self.printer.begin_array_value(out, index == 0)
            });
            let mut pair = Object::at_depth(self.printer.pretty, self.printer.depth, self.out);
            pair.key_with(|pair| pair.string(name.as_bytes()));
            pair.string(value.as_bytes());
            pair.end();
        }
        write_to(self.out, |out| self.printer.end_array(out));
    }

    /// Copies the JSON of a payload. Invalid JSON is first repaired as far as mosquitto_sub accepts it.
    fn copy(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let start = self.out.len();
        let parser = serde_json::Deserializer::from_slice(json);
        self.copy_from(parser).or_else(|error| {
            self.out.truncate(start);
            // The repair runs only after an error, so valid JSON has no extra cost.
            let json = sloppy_json::normalized(json).ok_or(error)?;
            let mut parser = serde_json::Deserializer::from_slice(&json);
            parser.disable_recursion_limit(); // `normalized` has limited the depth
            self.copy_from(parser)
        })
    }

    fn copy_from<'b>(
        &mut self,
        mut parser: serde_json::Deserializer<serde_json::de::SliceRead<'b>>,
    ) -> serde_json::Result<()> {
        let mut serializer = Serializer::with_formatter(&mut *self.out, self.printer);
        serde_transcode::transcode(&mut parser, &mut serializer)?;
        parser.end()
    }
}

/// Calls a function that writes to memory, which does not fail.
fn write_to(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
    let _ = write(out);
}

/// The layout of JSON: on one line, or with tabs like mosquitto_sub's `--pretty`.
#[derive(Debug, Clone, Copy)]
struct Printer {
    pretty: bool,
    depth: usize,
}

impl Printer {
    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        if self.pretty {
            out.write_all(b"\n")?;
            for _ in 0..self.depth {
                out.write_all(b"\t")?;
            }
        }
        Ok(())
    }
}

impl Formatter for Printer {
    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.new_line(out)?;
        out.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        CompactFormatter.begin_object_key(out, first)?;
        self.new_line(out)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if self.pretty { b":\t" } else { b":" })
    }

    /// Starts an array. The array stays on its line, but objects in it are indented by one more level.
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        out.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        match (first, self.pretty) {
            (true, _) => Ok(()),
            (false, true) => out.write_all(b", "),
            (false, false) => out.write_all(b","),
        }
    }

    /// Writes a number like C's `%.15g`, or like `%.17g` if 15 digits do not give the same number.
    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        let short = general(value, 15);
        let exact = short.parse() == Ok(value);
        let text = if exact { short } else { general(value, 17) };
        out.write_all(text.as_bytes())
    }
}

/// Formats a number like C's `%.{digits}g`.
fn general(value: f64, digits: usize) -> String {
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..digits as i32).contains(&exponent) {
        let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
        return without_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let magnitude = exponent.unsigned_abs();
    format!("{}e{sign}{magnitude:02}", without_zeros(mantissa))
}

fn without_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}
