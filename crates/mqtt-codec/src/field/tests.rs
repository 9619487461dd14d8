//! Tests of the fields: integers, strings, and the search for bytes.

use super::*;

#[test]
fn variable_byte_integers_at_the_limits_of_their_length() {
    let table: [(u32, &[u8]); 9] = [
        (0, &[0x00]),
        (127, &[0x7F]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 0x01]),
        (2_097_151, &[0xFF, 0xFF, 0x7F]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
        (268_435_454, &[0xFE, 0xFF, 0xFF, 0x7F]),
        (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
    ];
    for (value, bytes) in table {
        let mut written = Vec::new();
        written.put_variable_byte_integer(value);
        assert_eq!(written, bytes);
        let expected = Ok(Some((value, bytes.len())));
        assert_eq!(variable_byte_integer(bytes, false), expected);
        assert_eq!(variable_byte_integer(bytes, true), expected);
        for cut in 0..bytes.len() {
            assert_eq!(variable_byte_integer(&bytes[..cut], false), Ok(None));
        }
    }
}

#[test]
fn contains_finds_a_byte_at_each_position() {
    for length in 0..40 {
        let bytes: Vec<u8> = (0..length).map(|at| b'a' + at % 26).collect();
        assert!(!contains(&bytes, [0, b'+', b'#']), "{length}");
        for at in 0..bytes.len() {
            for wanted in [0, b'+', b'#'] {
                let mut bytes = bytes.clone();
                bytes[at] = wanted;
                assert!(contains(&bytes, [0, b'+', b'#']), "{length} {at} {wanted}");
                assert!(!contains(&bytes, [1, b'*', b'$', 0xFF]), "{length} {at}");
            }
        }
    }
}

#[test]
fn accepts_padded_variable_byte_integers_only_if_allowed() {
    let refused = Err(DecodeError::VariableByteInteger);
    for (value, bytes) in [
        (0, &[0x80, 0x00][..]),
        (127, &[0xFF, 0x80, 0x00]),
        (1, &[0x81, 0x80, 0x80, 0x00]),
    ] {
        let expected = Ok(Some((value, bytes.len())));
        assert_eq!(variable_byte_integer(bytes, true), expected);
        assert_eq!(variable_byte_integer(bytes, false), refused);
    }
    for bytes in [&[0xFF; 4][..], &[0x80, 0x80, 0x80, 0x80, 0x00]] {
        assert_eq!(variable_byte_integer(bytes, true), refused);
    }
}

#[test]
fn strings_keep_the_byte_order_mark_and_reject_invalid_utf8() {
    let string = |bytes: &[u8]| {
        let mut field = vec![0, bytes.len() as u8];
        field.extend_from_slice(bytes);
        FieldReader::new(&field).string().map(str::to_owned)
    };
    assert_eq!(
        string("\u{FEFF}a\u{FEFF}".as_bytes()).as_deref(),
        Ok("\u{FEFF}a\u{FEFF}")
    );
    for bad in [
        &[0xC0, 0x80][..],
        &[0xED, 0xA0, 0x80],
        &[0],
        &[0x80],
        &[0xF4, 0x90, 0x80, 0x80],
    ] {
        assert_eq!(string(bad), Err(DecodeError::InvalidUtf8), "{bad:x?}");
    }
}
