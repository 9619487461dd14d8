//! Base64 of RFC 4648, and hexadecimal digits, for values that are not UTF-8.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the bytes in base64, with padding.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |bits: u32| DIGITS.get((bits & 63) as usize).copied().unwrap_or(b'A');
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digits = [
            digit(bits >> 18),
            digit(bits >> 12),
            if chunk.len() > 1 {
                digit(bits >> 6)
            } else {
                b'='
            },
            if chunk.len() > 2 { digit(bits) } else { b'=' },
        ];
        out.extend_from_slice(&digits);
    }
}

/// Returns the encoded bytes as text.
pub(crate) fn base64_text(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    encode(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Returns the bytes of a base64 text, or `None` if the text is invalid. The padding is optional.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for chunk in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in chunk {
            bits = bits << 6 | value(*digit)?;
        }
        match chunk.len() {
            4 => bytes.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => bytes.extend_from_slice(&(bits << 6).to_be_bytes()[1..3]),
            2 => bytes.extend_from_slice(&(bits << 12).to_be_bytes()[1..2]),
            _ => return None, // a single digit has six bits, which are less than a byte
        }
    }
    Some(bytes)
}

/// Returns the bytes of a text of hexadecimal digits, or `None` if the text is invalid.
pub(super) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    pairs.map(byte).collect()
}

fn value(digit: u8) -> Option<u32> {
    Some(match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
