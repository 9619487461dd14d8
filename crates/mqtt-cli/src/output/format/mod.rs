//! The format of `-F`, in which messages are printed.
//!
//! The language is that of mosquitto_sub: `%[-][0][width][.precision][separator]CONVERSION` for a part of the message,
//! `@CHAR` for the time of printing, `\CHAR` for characters that are hard to type. Everything else is literal.
//!
//! This file parses a format. `field.rs` prints a conversion with padding and cutting, `time.rs` has the conversions of
//! strftime, `json.rs` prints `%j` and `%J`, `sloppy_json.rs` completes the invalid JSON that mosquitto_sub accepts, and
//! `bytes.rs` makes text safe for a terminal.

mod bytes;
mod field;
mod json;
mod sloppy_json;
mod style;
mod time;

use std::fmt;

use jiff::{Timestamp, Zoned};
use mqtt_codec::PublishRef;

pub(crate) use bytes::visible;
use field::{Conversion, Field, Layout};
pub(crate) use json::escaped;
pub(crate) use style::{Style, Unprintable};
pub(crate) use time::now;

/// A valid format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pieces: Vec<Piece>,
}

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    /// A conversion of strftime, by its letter.
    Time(u8),
    Field(Field),
}

/// The error of an invalid format. The words are mosquitto's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FormatError {
    Incomplete,
    Conversion(char),
    IncompleteEscape,
    Escape(char),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("Incomplete format specifier."),
            Self::Conversion(conversion) => {
                write!(f, "Invalid format specifier '{conversion}'.")
            }
            Self::IncompleteEscape => f.write_str("Incomplete escape specifier."),
            Self::Escape(escape) => write!(f, "Invalid escape specifier '{escape}'."),
        }
    }
}

impl Format {
    /// Parses a format. A format is bytes and not text, because its literals may contain any bytes.
    ///
    /// # Errors
    /// If a conversion or an escape is unknown or incomplete.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            // Literal bytes are collected until another kind of piece follows.
            let piece = match byte {
                b'\\' => {
                    literal.push(escape(bytes.next())?);
                    continue;
                }
                b'@' => match bytes.next() {
                    None => return Err(FormatError::Incomplete),
                    Some(sign @ (b'@' | b'%')) => {
                        literal.push(sign);
                        continue;
                    }
                    Some(conversion) => Piece::Time(conversion),
                },
                b'%' => match field(&mut bytes)? {
                    None => {
                        literal.push(b'%');
                        continue;
                    }
                    Some(field) => Piece::Field(field),
                },
                byte => {
                    literal.push(byte);
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    /// Appends the message in this format. `arrival` is `None` for a message that has just arrived. Returns the reasons
    /// why fields were left out.
    pub(crate) fn write(
        &self,
        publish: &PublishRef<'_>,
        arrival: Option<Timestamp>,
        style: Style,
        out: &mut Vec<u8>,
    ) -> Vec<Unprintable> {
        // All fields of a message have the same time. The clock is read only if a field needs it.
        let needs_time = self.pieces.iter().any(Piece::needs_time);
        let now = if needs_time {
            time::local_time(arrival.unwrap_or_else(Timestamp::now))
        } else {
            Zoned::default()
        };
        let mut failures = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(bytes) => out.extend_from_slice(bytes),
                Piece::Time(conversion) => time::write(*conversion, &now, out),
                Piece::Field(field) => failures.extend(field.write(publish, &now, style, out)),
            }
        }
        failures
    }
}

impl Piece {
    fn needs_time(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Time(_) => true,
            Self::Field(field) => field.needs_time(),
        }
    }
}

/// Returns the byte for the character after a backslash.
fn escape(byte: Option<u8>) -> Result<u8, FormatError> {
    Ok(match byte.ok_or(FormatError::IncompleteEscape)? {
        b'\\' => b'\\',
        b'0' => 0,
        b'a' => 7,
        b'e' => 0x1B,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0B,
        other => return Err(FormatError::Escape(other.into())),
    })
}

/// Parses the conversion after `%`. Returns `None` for `%%`, the percent sign.
fn field(bytes: &mut impl Iterator<Item = u8>) -> Result<Option<Field>, FormatError> {
    let mut next = || bytes.next().ok_or(FormatError::Incomplete);
    let mut layout = Layout::default();
    let mut byte = next()?;
    if byte == b'-' {
        layout.left = true;
        byte = next()?;
    }
    if byte == b'0' {
        // As in C, `-` overrides `0`: zeros after the value would change the number.
        layout.zeros = !layout.left;
        byte = next()?;
    }
    while byte.is_ascii_digit() {
        layout.width = decimal(layout.width, byte);
        byte = next()?;
    }
    if byte == b'.' {
        let mut precision = 0;
        byte = next()?;
        while byte.is_ascii_digit() {
            precision = decimal(precision, byte);
            byte = next()?;
        }
        layout.precision = Some(precision);
    }
    // mosquitto_sub accepts as separator any character that cannot be a conversion.
    if byte == b' ' || byte.is_ascii_punctuation() && byte != b'%' {
        layout.separator = Some(byte);
        byte = next()?;
    }
    if byte == b'%' {
        return Ok(None);
    }
    let conversion = Conversion::new(byte).ok_or_else(|| FormatError::Conversion(byte.into()))?;
    Ok(Some(Field { conversion, layout }))
}

/// Appends a digit to a number, up to 65535. A larger width would print gigabytes of blanks.
fn decimal(number: usize, digit: u8) -> usize {
    (number * 10 + usize::from(digit - b'0')).min(u16::MAX.into())
}

#[cfg(test)]
mod tests;
