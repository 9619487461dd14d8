//! Data types of MQTT (MQTT 5.0, 1.5), such as strings and variable byte integers. A [`FieldReader`] reads fields from
//! the body of one packet. A [`FieldWriter`] writes them. Integers are big endian.
//!
//! Each packet is encoded twice by the same code: first into a [`LengthCounter`], then into the buffer. The Remaining
//! Length precedes the body, so the encoder must know the length before it writes the body. A separate length function
//! for each packet could disagree with the encoder.

#[cfg(test)]
mod tests;

use crate::error::DecodeError;
use crate::protocol::PacketIdentifier;

/// The unread part of the body of one packet. A field that would extend past the end of the body is an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldReader<'a> {
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns all unread bytes.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns an error if bytes of the body are left.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::LeftoverBytes)
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn variable_byte_integer(&mut self) -> Result<u32, DecodeError> {
        if let Some((&value @ ..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            // Nearly all integers have one byte, which needs no loop.
            return Ok(value.into());
        }
        let integer = variable_byte_integer(self.rest, false)?;
        let (value, length) = integer.ok_or(DecodeError::Truncated)?;
        self.bytes(length)?;
        Ok(value)
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        // A two-byte length comes before the bytes (MQTT 5.0, 1.5.6).
        let length = self.u16()?;
        self.bytes(length.into())
    }

    /// Reads a UTF-8 string without U+0000 [MQTT-1.5.4-1, MQTT-1.5.4-2]. U+FEFF is never removed, at any position
    /// [MQTT-1.5.4-3].
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        let string = std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8)?;
        if contains(bytes, [0]) {
            return Err(DecodeError::InvalidUtf8);
        }
        Ok(string)
    }

    /// Reads a topic name without wildcards [MQTT-3.3.2-2]. An empty topic name is accepted here: a PUBLISH with a
    /// topic alias has one.
    #[inline]
    pub(crate) fn topic_name(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        let topic_name = std::str::from_utf8(bytes).map_err(|_| DecodeError::InvalidUtf8)?;
        // A topic name must not contain U+0000, '#' or '+'. None of these characters is above '+', so a search for
        // bytes up to '+' finds no byte in nearly all topic names, and one pass is enough.
        if !has_less_than(bytes, b'+' + 1) {
            return Ok(topic_name);
        }
        if contains(bytes, [0]) {
            return Err(DecodeError::InvalidUtf8);
        }
        if contains(bytes, [b'+', b'#']) {
            return Err(DecodeError::TopicName);
        }
        Ok(topic_name)
    }

    pub(crate) fn packet_identifier(&mut self) -> Result<PacketIdentifier, DecodeError> {
        // The packet identifier must not be zero [MQTT-2.2.1-3].
        PacketIdentifier::new(self.u16()?).ok_or(DecodeError::PacketIdentifierZero)
    }
}

/// Returns the integer at the start of `bytes` and its length in bytes, or `None` if more bytes are needed.
///
/// MQTT 5.0 forbids padded forms such as `80 00` [MQTT-1.5.5-1]. MQTT 3.1 and 3.1.1 allow them. Some devices reserve
/// two or four bytes for the length, and fill in the length when the packet is complete.
#[inline]
pub(crate) fn variable_byte_integer(
    bytes: &[u8],
    may_be_padded: bool,
) -> Result<Option<(u32, usize)>, DecodeError> {
    // The Remaining Length of most packets has one byte, which needs no loop.
    if let Some(&byte @ ..0x80) = bytes.first() {
        return Ok(Some((byte.into(), 1)));
    }
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        // The low seven bits of each byte belong to the value, least significant group first. The high bit announces
        // another byte.
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            // A last byte of zero is padding. The single byte of the value 0 does not reach this line.
            if byte == 0 && !may_be_padded {
                return Err(DecodeError::VariableByteInteger);
            }
            return Ok(Some((value, index + 1)));
        }
    }
    // Four bytes were read, and the fourth byte announces a fifth. An integer has four bytes at most.
    if bytes.len() >= 4 {
        return Err(DecodeError::VariableByteInteger);
    }
    Ok(None)
}

/// Returns `true` if `bytes` contains one of the bytes in `wanted`.
///
/// The search compares eight bytes at a time. Strings in MQTT are short, and the set-up of a general search costs more
/// than the search in a short string.
#[inline]
pub(crate) fn contains<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> bool {
    let is_in = |word: u64| {
        let mut wanted = wanted.iter();
        wanted.any(|byte| has_less(word ^ (ONES * u64::from(*byte)), 1))
    };
    any_word(bytes, is_in, |byte| wanted.contains(&byte))
}

/// Returns `true` if `bytes` contains a byte below `bound`, which must be at most 128.
#[inline]
fn has_less_than(bytes: &[u8], bound: u8) -> bool {
    any_word(bytes, |word| has_less(word, bound), |byte| byte < bound)
}

/// Multiplier that copies a byte into all eight bytes of a word.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// Returns `true` if one of the eight bytes of `word` is below `bound`.
///
/// The subtraction sets the high bit of each byte below `bound`. The mask `!word` removes the bytes whose high bit was
/// set before. A borrow changes only the bytes above a byte that is below `bound`, so the result for the word is exact.
#[inline]
fn has_less(word: u64, bound: u8) -> bool {
    word.wrapping_sub(ONES * u64::from(bound)) & !word & (ONES << 7) != 0
}

/// Returns `true` if `is_so` returns `true` for eight adjacent bytes of `bytes`. If `bytes` has fewer than eight bytes,
/// the function returns `true` if `is_so_for` returns `true` for one byte.
#[inline]
fn any_word(bytes: &[u8], is_so: impl Fn(u64) -> bool, is_so_for: impl Fn(u8) -> bool) -> bool {
    // Fewer than eight bytes do not fill a word and are compared one by one.
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().any(|byte| is_so_for(*byte));
    };
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        if is_so(u64::from_ne_bytes(*word)) {
            return true;
        }
        rest = after;
    }
    // The last word overlaps the word before it. Comparing some bytes twice costs less than a loop over the last bytes.
    is_so(u64::from_ne_bytes(*last))
}

/// Destination of an encoder: a buffer or a counter.
pub(crate) trait FieldWriter {
    fn put(&mut self, bytes: &[u8]);

    /// Records that a field is too long for its length prefix, or that a string contains U+0000.
    fn reject(&mut self);

    /// Writes the `length` bytes that `write` produces. A counter adds `length` and does not call `write`.
    fn put_measured(&mut self, length: usize, write: impl FnOnce(&mut Self));

    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    fn put_variable_byte_integer(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put_u8((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    #[inline]
    fn put_binary(&mut self, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(length) => {
                self.put_u16(length);
                self.put(bytes);
            }
            // The two-byte length prefix cannot express a field of more than 65,535 bytes.
            Err(_) => self.reject(),
        }
    }

    #[inline]
    fn put_string(&mut self, string: &str) {
        // U+0000 must not be sent [MQTT-1.5.4-2].
        if contains(string.as_bytes(), [0]) {
            self.reject();
        }
        self.put_binary(string.as_bytes());
    }
}

impl FieldWriter for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    /// Writes a string without a check for U+0000, because the [`LengthCounter`] has already checked the same string.
    #[inline]
    fn put_string(&mut self, string: &str) {
        self.put_binary(string.as_bytes());
    }

    #[inline]
    fn put_measured(&mut self, _: usize, write: impl FnOnce(&mut Self)) {
        // Only a counter needs the length.
        write(self);
    }

    /// Does nothing: the encoder does not write a packet after the [`LengthCounter`] has rejected a field.
    fn reject(&mut self) {}
}

/// Counts the bytes of a packet and checks its fields, without writing them.
#[derive(Debug, Default)]
pub(crate) struct LengthCounter {
    /// Number of bytes counted so far.
    pub(crate) bytes: usize,
    /// Set when a field cannot be encoded.
    pub(crate) has_rejected: bool,
}

impl FieldWriter for LengthCounter {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    #[inline]
    fn put_measured(&mut self, length: usize, _: impl FnOnce(&mut Self)) {
        // The caller has already counted these bytes. Counting them again would double the work at each level of
        // nesting.
        self.bytes += length;
    }

    fn reject(&mut self) {
        self.has_rejected = true;
    }
}
