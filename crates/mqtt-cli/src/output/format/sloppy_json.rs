//! Repairs the kinds of invalid JSON that mosquitto_sub accepts. Some devices send such payloads, and scripts expect
//! them in the output.
//!
//! This module is not a parser. It replaces each deviation from the standard by valid JSON with the same meaning. The
//! JSON parser accepts or rejects the result.

/// Maximum depth of nested arrays and objects, which is that of mosquitto_sub.
const MAXIMUM_DEPTH: usize = 1000;

/// Maximum length of a number in characters, which is that of mosquitto_sub.
const MAXIMUM_NUMBER: usize = 63;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Returns valid JSON with the same meaning, or `None` if mosquitto_sub also rejects the payload.
///
/// A byte order mark is dropped. Control characters become blanks between values and escapes in strings. Bytes that are
/// not UTF-8 are read as Latin-1. Numbers such as `01`, `1.` and `-.5` are completed, and a number that is too large
/// becomes `null`.
pub(super) fn normalized(json: &[u8]) -> Option<Vec<u8>> {
    let mut rest = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    let mut out = Vec::with_capacity(rest.len());
    let mut depth = 0_usize;
    while let [byte, behind @ ..] = rest {
        match byte {
            // mosquitto_sub reads the payload as a C string, which ends at a NUL.
            0 => return None,
            b'"' => {
                rest = string(behind, &mut out)?;
                continue;
            }
            b'-' | b'0'..=b'9' => {
                rest = number(rest, &mut out)?;
                continue;
            }
            b'[' | b'{' if depth == MAXIMUM_DEPTH => return None,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // Between values, mosquitto_sub treats every control character as a blank. The standard permits only four of
        // them.
        out.push(if *byte < b' ' { b' ' } else { *byte });
        rest = behind;
    }
    Some(out)
}

/// Appends the string whose opening quote was before `json`. Returns the text after the closing quote.
fn string<'a>(json: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let mut is_escaped = false;
    let is_end = |byte: &u8| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    };
    let end = json.iter().position(is_end)?;
    let (text, rest) = json.split_at(end);
    out.push(b'"');
    let mut is_escaped = false;
    for chunk in text.utf8_chunks() {
        let latin_1 = chunk.invalid().iter().map(|byte| char::from(*byte));
        for character in chunk.valid().chars().chain(latin_1) {
            match character {
                '\0' => return None,
                // After a backslash, the inserted escape would begin with a second backslash and change the meaning.
                ..' ' if is_escaped => return None,
                ..' ' => out.extend(format!("\\u{:04x}", u32::from(character)).bytes()),
                character => out.extend(character.encode_utf8(&mut [0; 4]).bytes()),
            }
            is_escaped = character == '\\' && !is_escaped;
        }
    }
    out.push(b'"');
    rest.get(1..)
}

/// Appends the number at the front of `json`. Returns the text after it.
fn number<'a>(json: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let end = json.iter().position(|byte| !is_part(byte));
    let (text, rest) = json.split_at(end.unwrap_or(json.len()));
    let text = std::str::from_utf8(text).ok()?;
    // For texts of these characters, Rust accepts the same numbers as C's strtod, which mosquitto_sub uses.
    let value: f64 = text.parse().ok()?;
    if text.len() > MAXIMUM_NUMBER {
        return None;
    }
    // The number is too large for a double. mosquitto_sub prints null.
    if value.is_infinite() {
        out.extend_from_slice(b"null");
        return Some(rest);
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (digits, exponent) = digits.split_at(digits.find(['e', 'E']).unwrap_or(digits.len()));
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let integer = match integer.trim_start_matches('0') {
        "" => "0",
        integer => integer,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    for part in [sign, integer, point, fraction, exponent] {
        out.extend_from_slice(part.as_bytes());
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &[u8]) -> Option<String> {
        normalized(json).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn sloppy_json_is_printed_as_standard_json() {
        for (json, expected) in [
            (&b"\xEF\xBB\xBF{\x0B\"a\" :\x01 1}"[..], "{ \"a\" :  1}"),
            (
                b"\"a\tb\nc\x1f\\n\\\"\\\\\"",
                "\"a\\u0009b\\u000ac\\u001f\\n\\\"\\\\\"",
            ),
            (b"\"21 \xB0C, \xC3\xA4\"", "\"21 \u{b0}C, \u{e4}\""),
            (b"[01,-007,1.,-.5,1.e5,00.10]", "[1,-7,1,-0.5,1e5,0.10]"),
            (b"[1e999,-1e999]", "[null,null]"),
        ] {
            assert_eq!(text(json).as_deref(), Some(expected), "{json:?}");
        }
    }

    #[test]
    fn rejects_or_keeps_sloppy_json_that_mosquitto_sub_rejects() {
        let long = "1".repeat(MAXIMUM_NUMBER + 1);
        let deep = "[".repeat(MAXIMUM_DEPTH + 1);
        for json in [
            &b"\"a\0\""[..],
            b"1\0",
            b"\"a",
            b"\"\\\n\"",
            b"1.2.3",
            b"--1",
            b"1e",
            b"-",
            b"-+1",
            long.as_bytes(),
            deep.as_bytes(),
        ] {
            assert_eq!(text(json), None, "{json:?}");
        }
        for json in [".5", "+1", "nul", "{a:1}", "'a'", "\"\\x\"", "[1,]"] {
            assert_eq!(text(json.as_bytes()).as_deref(), Some(json));
        }
    }
}
