//! The conversions behind `@`: those of C's strftime in the "C" locale, which mosquitto_sub has, too.

use jiff::Zoned;
use jiff::fmt::strtime;

/// What this system's C library knows, apart from `@N`, which is mosquitto's.
const CONVERSIONS: &[u8] = b"aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ";

/// Appends one conversion. An unknown one comes out with a per cent sign, as C does it.
pub(super) fn write(conversion: u8, now: &Zoned, out: &mut Vec<u8>) {
    let format = match conversion {
        b'N' => "%N".to_owned(), // nine digits
        b'c' => "%a %b %e %H:%M:%S %Y".to_owned(),
        b'x' => "%m/%d/%y".to_owned(),
        b'X' => "%H:%M:%S".to_owned(),
        b'r' => "%I:%M:%S %p".to_owned(),
        known if CONVERSIONS.contains(&known) => format!("%{}", char::from(known)),
        unknown => {
            out.extend_from_slice(&[b'%', unknown]);
            return;
        }
    };
    // Cannot fail: the list has only what it knows.
    if let Ok(text) = strtime::format(&format, now) {
        out.extend_from_slice(text.as_bytes());
    }
}

/// `%I`: seconds and offset.
pub(super) fn local(now: &Zoned) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S%z", now).unwrap_or_default()
}

/// `tst` of JSON: microseconds and offset.
pub(super) fn stamp(now: &Zoned) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S%.6f%z", now).unwrap_or_default()
}

/// `%U`: seconds since 1970 with nine decimals.
pub(super) fn unix(now: &Zoned) -> String {
    let time = now.timestamp();
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}
