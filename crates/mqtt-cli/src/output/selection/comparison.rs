//! Compares the values of two messages for `--on-change`.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use super::json_path::JsonPath;

/// The comparison of `--on-change`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison {
    /// The place of the value in the payload. Without a path the whole payload is the value.
    pub(crate) path: Option<JsonPath>,
    /// The largest difference between two numbers that is not a change.
    pub(crate) tolerance: Option<f64>,
}

/// A value in a form of constant size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fingerprint {
    /// A number, with `--tolerance`.
    Number(f64),
    /// A hash with a random key, so that no publisher can make two payloads with the same hash.
    Hash(u64),
}

impl Comparison {
    /// Returns the value of a payload.
    ///
    /// A payload that has no value at the path is compared as a whole. So a text such as `offline` between two numbers
    /// is printed.
    pub(super) fn fingerprint(&self, payload: &[u8], hasher: &RandomState) -> Fingerprint {
        let Some(path) = &self.path else {
            return self.of_text(0, Cow::Borrowed(payload), hasher);
        };
        let document = serde_json::from_slice::<Value>(payload).ok();
        match document.as_ref().and_then(|document| path.find(document)) {
            None => self.of_text(0, Cow::Borrowed(payload), hasher),
            // Many devices send numbers as strings. `--tolerance` also compares these.
            Some(Value::String(text)) => self.of_text(1, Cow::Borrowed(text.as_bytes()), hasher),
            // Objects are compared by their names and values, because serde_json sorts the names.
            Some(value) => self.of_text(2, Cow::Owned(value.to_string().into_bytes()), hasher),
        }
    }

    /// Returns the value that a text has. `kind` separates equal texts of different types, such as `1` and `"1"`.
    fn of_text(&self, kind: u8, text: Cow<'_, [u8]>, hasher: &RandomState) -> Fingerprint {
        let number = self.tolerance.and_then(|_| number(&text));
        number.map_or_else(
            || Fingerprint::Hash(hasher.hash_one((kind, &*text))),
            Fingerprint::Number,
        )
    }

    /// Returns `true` if a value differs from the one that was last printed.
    pub(super) fn differ(&self, last: Fingerprint, value: Fingerprint) -> bool {
        let (Fingerprint::Number(a), Fingerprint::Number(b)) = (last, value) else {
            return last != value;
        };
        // 21.2 - 21.1 is a little more than 0.1 in binary. Such an error of rounding is not a change.
        let rounding = 4.0 * f64::EPSILON * a.abs().max(b.abs());
        (a - b).abs() > self.tolerance.unwrap_or_default() + rounding
    }
}

/// Returns the number that a text consists of, or `None` if the text is not a finite number. Blanks around the number
/// are ignored.
fn number(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(path: Option<&str>, tolerance: Option<f64>, last: &str, next: &str) -> bool {
        let hasher = RandomState::new();
        let comparison = Comparison {
            path: path.map(|path| JsonPath::parse(path).unwrap()),
            tolerance,
        };
        let fingerprint = |text: &str| comparison.fingerprint(text.as_bytes(), &hasher);
        comparison.differ(fingerprint(last), fingerprint(next))
    }

    #[test]
    fn whole_payloads_are_compared_byte_by_byte() {
        assert!(!differ(None, None, "on", "on"));
        assert!(differ(None, None, "on", "On"));
        assert!(differ(None, None, "1", "1.0"));
        assert!(differ(None, None, "1", ""));
    }

    #[test]
    fn a_path_selects_the_value_and_a_payload_without_it_is_compared_whole() {
        let path = Some("a.b");
        for (last, next, expected) in [
            (r#"{"a":{"b":1},"t":1}"#, r#"{"t":2,"a":{"b":1}}"#, false),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":2}}"#, true),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":"1"}}"#, true),
            (
                r#"{"a":{"b":{"x":1,"y":2}}}"#,
                r#"{"a":{"b":{"y":2,"x":1}}}"#,
                false,
            ),
            (r#"{"a":{"b":null}}"#, r#"{"a":{}}"#, true),
            ("offline", "offline", false),
            ("offline", "error", true),
            (r#"{"a":{"b":1}}"#, "offline", true),
        ] {
            assert_eq!(
                differ(path, None, last, next),
                expected,
                "{last} and {next}"
            );
        }
    }

    #[test]
    fn numbers_differ_by_more_than_the_tolerance() {
        for (last, next, expected) in [
            ("21.1", "21.2", false),
            ("21.2", "21.1", false),
            ("21.1", "21.21", true),
            (" 21.1\n", "21.10", false),
            ("-0.05", "0.05", false),
            ("21", "off", true),
            ("off", "off", false),
            ("nan", "nan", false),
            ("nan", "inf", true),
            ("1e300", "-1e300", true),
        ] {
            assert_eq!(
                differ(None, Some(0.1), last, next),
                expected,
                "{last} and {next}"
            );
        }
        let (number, text) = (r#"{"a":1.0}"#, r#"{"a":"1.05"}"#);
        assert!(!differ(Some("a"), Some(0.1), number, text));
        assert!(!differ(Some("a"), Some(0.0), r#"{"a":1}"#, r#"{"a":1.0}"#));
    }
}
