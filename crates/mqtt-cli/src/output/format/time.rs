//! The conversions of `@`. Like in mosquitto_sub, they are those of strftime in C's "C" locale.

use std::sync::OnceLock;

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// The conversions of the GNU C library. `@N` is only in mosquitto.
const CONVERSIONS: &[u8] = b"aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ";

/// The rule of the C library for daylight saving time, for a `TZ` that contains no rule.
const DEFAULT_RULE: &str = "M3.2.0,M11.1.0";

/// Returns the present time, in the time zone of `TZ` or of the system.
pub(crate) fn now() -> Zoned {
    local_time(Timestamp::now())
}

/// Returns a time in the time zone of `TZ` or of the system.
pub(super) fn local_time(time: Timestamp) -> Zoned {
    static ZONE: OnceLock<Option<TimeZone>> = OnceLock::new();
    // The zone is determined once: TZ does not change during a run, and each message needs the time.
    let zone = ZONE.get_or_init(|| zone_without_rule(&std::env::var("TZ").ok()?));
    match zone {
        Some(zone) => time.to_zoned(zone.clone()),
        None => time.to_zoned(TimeZone::system()),
    }
}

/// Returns the time zone of a `TZ` that names daylight saving time without a rule, such as `CET-1CEST`. jiff would use
/// UTC. POSIX leaves the rule to the system.
fn zone_without_rule(tz: &str) -> Option<TimeZone> {
    let tz = tz.strip_prefix(':').unwrap_or(tz);
    if TimeZone::get(tz).is_ok() {
        return None; // EST5EDT, for example, is the name of a zone
    }
    TimeZone::posix(&format!("{tz},{DEFAULT_RULE}")).ok()
}

/// Appends one conversion. Like in C, an unknown conversion is printed with a percent sign.
pub(super) fn write(conversion: u8, now: &Zoned, out: &mut Vec<u8>) {
    let format = match conversion {
        // Nanoseconds with nine digits.
        b'N' => "%N".to_owned(),
        // jiff has other formats for these conversions than the "C" locale.
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
    // jiff supports all conversions of the list, so this call does not fail.
    if let Ok(text) = strtime::format(&format, now) {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Returns the local time of `%I`: date, time in seconds, and offset.
pub(super) fn local(now: &Zoned) -> String {
    strtime::format("%Y-%m-%dT%H:%M:%S%z", now).unwrap_or_default()
}

/// Appends the time of `tst` in JSON: `%Y-%m-%dT%H:%M:%S%.6f%z`. Each message in JSON has this time, so the digits are
/// written directly and no format is interpreted.
pub(super) fn write_stamp(now: &Zoned, out: &mut Vec<u8>) {
    let offset = now.offset().seconds();
    let (sign, minutes) = (
        if offset < 0 { b'-' } else { b'+' },
        offset.unsigned_abs() / 60,
    );
    let parts = [
        (now.year().unsigned_abs().into(), 4, b'-'),
        (now.month().unsigned_abs().into(), 2, b'-'),
        (now.day().unsigned_abs().into(), 2, b'T'),
        (now.hour().unsigned_abs().into(), 2, b':'),
        (now.minute().unsigned_abs().into(), 2, b':'),
        (now.second().unsigned_abs().into(), 2, b'.'),
        (now.subsec_nanosecond().unsigned_abs() / 1000, 6, sign),
    ];
    for (number, width, behind) in parts {
        write_digits(number, width, out);
        out.push(behind);
    }
    write_digits(minutes / 60 * 100 + minutes % 60, 4, out);
}

fn write_digits(mut number: u32, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 6];
    let digits = digits.get_mut(..width).unwrap_or_default();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(digits);
}

/// Returns the time of `%U`: seconds since 1970 with nine decimals.
pub(super) fn unix(now: &Zoned) -> String {
    let time = now.timestamp();
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zone_without_a_rule_uses_the_rule_of_glibc() {
        let zone = zone_without_rule("CET-1CEST").unwrap();
        for (time, expected) in [
            ("2026-01-01T12:00:00Z", "+0100 CET"),
            ("2026-03-10T12:00:00Z", "+0200 CEST"),
            ("2026-07-01T12:00:00Z", "+0200 CEST"),
            ("2026-11-29T12:00:00Z", "+0100 CET"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            let local = time.to_zoned(zone.clone());
            assert_eq!(strtime::format("%z %Z", &local).unwrap(), expected);
        }
        let standard = [
            "Europe/Berlin",
            "UTC0",
            "CET-1",
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "",
        ];
        assert!(standard.iter().all(|tz| zone_without_rule(tz).is_none()));
    }

    #[test]
    fn timestamps_are_formatted_by_strftime() {
        for text in [
            "2026-11-25T20:05:09.000123999+00:00[UTC]",
            "1969-02-03T04:05:06.999999+05:30[+05:30]",
            "2024-02-29T23:59:59.5-03:30[-03:30]",
        ] {
            let now: Zoned = text.parse().unwrap();
            let mut out = Vec::new();
            write_stamp(&now, &mut out);
            let expected = strtime::format("%Y-%m-%dT%H:%M:%S%.6f%z", &now).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
