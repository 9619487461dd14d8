//! The values of options: the checks and conversions that several options share.

use std::ffi::OsStr;
use std::time::Duration;

use mqtt_client::session::Printable;
use mqtt_codec::{QoS, TopicFilter, TopicName};

use crate::failure::Failure;
use crate::wording::shown;

/// Returns the value of an option as text.
///
/// # Errors
/// If the value is not UTF-8.
pub(crate) fn text<'a>(value: &'a OsStr, option: &str) -> Result<&'a str, Failure> {
    let malformed = || Failure::usage(format!("Malformed UTF-8 in {option} argument."));
    value.to_str().ok_or_else(malformed)
}

/// Returns the value of an option that is sent to the broker as an MQTT string.
///
/// # Errors
/// If the value contains a control character, for which brokers reject the packet or disconnect. The usual cause is a
/// script with Windows line ends: the last word of each line then ends with U+000D.
pub(crate) fn plain_text<'a>(value: &'a OsStr, option: &str) -> Result<&'a str, Failure> {
    let text = text(value, option)?;
    // The codec has the same check, but its error could not name the option.
    let Some(character) = mqtt_codec::disallowed_character(text) else {
        return Ok(text);
    };
    let code = u32::from(character);
    let hint = match character {
        // Most terminals do not show this character, so the hint names its usual source.
        '\r' => format!(
            "'{}' contains a carriage return (U+000D): does the script have Windows line ends?",
            Printable(text)
        ),
        _ => format!("'{}' contains U+{code:04X}.", Printable(text)),
    };
    Err(Failure::usage(format!("Malformed UTF-8 in {option} argument.")).with_hint(hint))
}

/// Returns the value of an option as a number, without blanks around it.
pub(crate) fn number<T: std::str::FromStr>(value: &OsStr) -> Option<T> {
    // mosquitto's tools use atoi, which skips blanks and ignores text after the digits. Here such text is an error.
    value.to_str()?.trim().parse().ok()
}

/// Returns a time in seconds or with units: `30`, `1.5`, `30s`, `1m 30s`. A time above [`LONGEST`] becomes `LONGEST`.
pub(crate) fn duration(value: &OsStr) -> Option<Duration> {
    let text = value.to_str()?.trim();
    // As in the mosquitto tools, a number without unit means seconds.
    let time = match text.parse::<f64>() {
        // `try_from_secs_f64` below would fail for more seconds than a `Duration` can represent.
        Ok(seconds) if seconds >= LONGEST.as_secs_f64() && seconds.is_finite() => Some(LONGEST),
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    time.map(|time| time.min(LONGEST))
}

/// The longest time: a century. `Instant::now() + LONGEST` does not overflow on any system.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Returns the time of an option that the mosquitto tools do not have. The text of its error is ours.
///
/// # Errors
/// If the value is not a time.
pub(crate) fn time(value: &OsStr, option: &str) -> Result<Duration, Failure> {
    duration(value).ok_or_else(|| {
        Failure::usage(format!("Invalid time given for {option}: {}", shown(value)))
            .with_hint("Write a time as seconds or with units: 30, 1.5, 30s, 2m.")
    })
}

/// Returns a time above 0.
///
/// # Errors
/// If the value is not a time, or is 0.
pub(crate) fn period(value: &OsStr, option: &str) -> Result<Duration, Failure> {
    let time = time(value, option)?;
    if time.is_zero() {
        let text = format!("Invalid time given for {option}: {}", shown(value));
        return Err(Failure::usage(text).with_hint("The time must be more than 0."));
    }
    Ok(time)
}

/// Returns the quality of service of `-q`.
///
/// # Errors
/// If the value is not 0, 1 or 2.
pub(crate) fn qos(value: &OsStr) -> Result<QoS, Failure> {
    qos_or(value, format!("Invalid QoS given: {}", shown(value)))
}

/// Returns a quality of service.
///
/// # Errors
/// With the text `words` if the value is not 0, 1 or 2. mosquitto has another text for each option.
pub(crate) fn qos_or(value: &OsStr, words: String) -> Result<QoS, Failure> {
    number(value).and_then(QoS::from_value).ok_or_else(|| {
        Failure::usage(words)
            .with_hint("The QoS must be 0 (at most once), 1 (at least once) or 2 (exactly once).")
    })
}

/// Returns the topic filter of an option. `what` is mosquitto's word for the filter in its messages.
///
/// # Errors
/// If the value is not a valid topic filter.
pub(crate) fn topic_filter(
    value: &OsStr,
    what: &str,
    option: &str,
) -> Result<TopicFilter, Failure> {
    let text = plain_text(value, option)?;
    TopicFilter::new(text).map_err(|_| {
        let text = Printable(text);
        Failure::usage(format!(
            "Invalid {what} topic '{text}', are all '+' and '#' wildcards correct?"
        ))
        .with_hint(format!(
            "In {option}, '+' must be a whole level, '#' must be the last level, and a filter must follow '$share/NAME/'."
        ))
    })
}

/// Returns the topic name of an option. `what` is mosquitto's word for the topic in its messages.
///
/// # Errors
/// If the value is not a valid topic name.
pub(crate) fn topic_name(value: &OsStr, what: &str, option: &str) -> Result<TopicName, Failure> {
    let text = plain_text(value, option)?;
    TopicName::new(text).map_err(|_| {
        let text = Printable(text);
        Failure::usage(format!(
            "Invalid {what} topic '{text}', does it contain '+' or '#'?"
        ))
        .with_hint(format!(
            "The topic of {option} must have 1 to 65535 bytes and must not contain '+', '#' or NUL."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("1.5", 1_500),
            (" 30s", 30_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(duration(OsStr::new(text)), Some(expected), "{text}");
        }
        for text in ["1e19", "1e300", "999999999y"] {
            assert_eq!(duration(OsStr::new(text)), Some(LONGEST), "{text}");
        }
        for text in ["", "x", "-1", "nan", "inf", "5 parsecs"] {
            assert_eq!(duration(OsStr::new(text)), None, "{text}");
        }
    }
}
