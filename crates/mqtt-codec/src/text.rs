//! Characters that MQTT strings should not contain (MQTT 5.0, 1.5.4).

/// Returns the first character that a receiver may reject: a control character (U+0001 to U+001F and U+007F to U+009F)
/// or a noncharacter such as U+FFFE. U+0000 is returned too; the standard forbids it in any string [MQTT-1.5.4-2].
pub fn disallowed_character(text: &str) -> Option<char> {
    // The loop has no early exit, so that the compiler can compare several bytes with one instruction.
    let is_unusual = |byte: u8| !(b' '..=b'~').contains(&byte);
    if !text
        .bytes()
        .fold(false, |found, byte| found | is_unusual(byte))
    {
        // Nearly all strings are printable ASCII. Their characters need not be decoded.
        return None;
    }
    let is_noncharacter = |c: char| {
        let code = u32::from(c);
        (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
    };
    text.chars().find(|c| c.is_control() || is_noncharacter(*c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_control_characters_and_noncharacters() {
        for text in ["", "a b~", "ä€😀", "\u{FEFF}", "\u{A0}"] {
            assert_eq!(disallowed_character(text), None, "{text:?}");
        }
        for c in [
            '\0',
            '\r',
            '\u{7F}',
            '\u{85}',
            '\u{FDD0}',
            '\u{FFFE}',
            '\u{10FFFF}',
        ] {
            assert_eq!(disallowed_character(&format!("a{c}b\n")), Some(c));
        }
    }
}
