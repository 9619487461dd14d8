//! Prints bytes of a message: unchanged, with escapes for a terminal, or as hexadecimal digits.

use mqtt_client::session::is_unprintable;

use super::style::Style;

/// Appends two hexadecimal digits for each byte.
pub(super) fn push_hex(bytes: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
    out.extend(bytes.iter().flat_map(|byte| hex_digits(*byte, digits)));
}

/// Returns the two digits of a byte.
pub(super) fn hex_digits(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| digits.get(usize::from(digit)).copied().unwrap_or(b'0'))
}

/// Appends bytes that a publisher has sent. In a pipe or file they are unchanged. On a terminal, unprintable characters
/// except newline and tab are escaped.
pub(crate) fn visible(bytes: &[u8], style: Style, out: &mut Vec<u8>) {
    if !style.terminal {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_unprintable(character) && !matches!(character, '\n' | '\t') {
                out.extend(character.escape_default().map(|escaped| escaped as u8));
            } else {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}
