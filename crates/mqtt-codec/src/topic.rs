//! Topic names and topic filters (MQTT 5.0, 4.7 and 4.8): validation and matching.
//!
//! Topics are compared byte for byte, without case folding, normalization or trimming [MQTT-4.7.3-4].

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::field::contains;

/// Maximum length of a topic name or topic filter in bytes: the length prefix of a string has two bytes [MQTT-4.7.3-3].
const MAXIMUM_LENGTH: usize = 65_535;

/// Topic name of a message: 1 to 65,535 bytes without wildcards and U+0000. Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct TopicName(Arc<str>);

/// Topic filter of a subscription, which may be shared (`$share/NAME/FILTER`). Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct TopicFilter(Arc<str>);

/// Error for a text that is not a valid topic name or topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InvalidTopic;

impl TopicName {
    /// Validates and copies `name`.
    ///
    /// # Errors
    /// Returns an error if `name` is empty, is longer than 65,535 bytes, or contains `+`, `#` or U+0000
    /// [MQTT-4.7.1-1, MQTT-4.7.3-1 to MQTT-4.7.3-3].
    pub fn new(name: &str) -> Result<Self, InvalidTopic> {
        if !is_valid_name(name) {
            return Err(InvalidTopic);
        }
        Ok(Self(name.into()))
    }
}

impl TopicFilter {
    /// Validates and copies `filter`.
    ///
    /// # Errors
    /// Returns an error if `filter` is empty, is longer than 65,535 bytes or contains U+0000. Returns an error if a
    /// wildcard is not a whole level, or `#` is not the last level [MQTT-4.7.1-1, MQTT-4.7.1-2]. Returns an error if
    /// `filter` starts with `$share/` and no valid share name and topic filter follow [MQTT-4.8.2-1, MQTT-4.8.2-2].
    pub fn new(filter: &str) -> Result<Self, InvalidTopic> {
        let plain = match filter.strip_prefix("$share/") {
            // `$share` alone has no share name, and must not become an ordinary topic filter.
            None if filter == "$share" => return Err(InvalidTopic),
            None => filter,
            Some(rest) => {
                let (share_name, plain) = rest.split_once('/').ok_or(InvalidTopic)?;
                // A share name is one level without wildcards [MQTT-4.8.2-1, MQTT-4.8.2-2].
                if share_name.is_empty() || share_name.contains(['+', '#', '\0']) {
                    return Err(InvalidTopic);
                }
                plain
            }
        };
        if filter.len() > MAXIMUM_LENGTH || !is_valid_filter(plain) {
            return Err(InvalidTopic);
        }
        // The text keeps the share prefix, because filters with different share names are different subscriptions.
        Ok(Self(filter.into()))
    }

    /// Returns the share name, or `None` if the subscription is not shared.
    pub fn share_name(&self) -> Option<&str> {
        Some(self.0.strip_prefix("$share/")?.split_once('/')?.0)
    }

    /// Returns the part of the filter that is compared with topic names: the filter without `$share/NAME/`.
    pub fn without_share(&self) -> &str {
        // `new` has validated the filter, so a share prefix always has a share name and a topic filter after it.
        let shared = self
            .0
            .strip_prefix("$share/")
            .and_then(|rest| rest.split_once('/'));
        shared.map_or(&self.0, |(_, filter)| filter)
    }

    /// Returns `true` if the filter contains a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns `true` if the filter matches this topic name.
    pub fn matches(&self, topic_name: &str) -> bool {
        matches(self.without_share(), topic_name)
    }
}

/// Returns the levels of a topic name or topic filter. A level may be empty.
pub fn levels(topic: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(topic);
    std::iter::from_fn(move || {
        let (level, after) = split_level(rest?);
        rest = after;
        Some(level)
    })
}

/// Returns the first level, and the text after its slash. The text is `None` if the topic has no slash.
#[inline]
pub fn split_level(topic: &str) -> (&str, Option<&str>) {
    // Levels are short. A loop over bytes is faster here than the general search of the standard library.
    let slash = topic.bytes().position(|byte| byte == b'/');
    let split = slash.and_then(|at| Some((topic.get(..at)?, topic.get(at + 1..)?)));
    match split {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

/// Returns `true` if a topic filter matches a topic name. Both must be valid, and the filter must not be shared.
///
/// A filter that starts with a wildcard does not match a topic name that starts with `$` [MQTT-4.7.2-1].
pub fn matches(filter: &str, name: &str) -> bool {
    // Without this rule a subscription to `#` would receive the broker's `$SYS` statistics.
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut name_levels = levels(name);
    for filter_level in levels(filter) {
        match (filter_level, name_levels.next()) {
            ("#", _) => return true, // `a/#` also matches `a` (MQTT 5.0, 4.7.1.2).
            // `+` matches one level, which may be empty. The topic name must have a level at this position.
            ("+", Some(_)) => {}
            (level, Some(name_level)) if level == name_level => {}
            _ => return false,
        }
    }
    // A topic name with more levels than the filter does not match.
    name_levels.next().is_none()
}

pub(crate) fn is_valid_name(name: &str) -> bool {
    let is_long = name.len() > MAXIMUM_LENGTH;
    !name.is_empty() && !is_long && !contains(name.as_bytes(), [b'+', b'#', 0])
}

fn is_valid_filter(filter: &str) -> bool {
    let mut level_starts = true;
    let mut bytes = filter.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            0 => false,
            // `#` must be a whole level and the last level.
            b'#' => level_starts && bytes.peek().is_none(),
            // `+` must be a whole level.
            b'+' => level_starts && matches!(bytes.peek(), None | Some(b'/')),
            _ => true,
        };
        if !valid {
            return false;
        }
        level_starts = byte == b'/';
    }
    !filter.is_empty()
}

/// Implements the conversions that a user of a string type expects.
macro_rules! text {
    ($type:ident) => {
        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidTopic;

            fn from_str(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidTopic;

            fn try_from(text: &str) -> Result<Self, InvalidTopic> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidTopic;

            fn try_from(text: String) -> Result<Self, InvalidTopic> {
                Self::new(&text)
            }
        }

        impl From<$type> for String {
            fn from(topic: $type) -> Self {
                (*topic.0).to_owned()
            }
        }
    };
}

text!(TopicName);
text!(TopicFilter);

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid topic")
    }
}

impl std::error::Error for InvalidTopic {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        let table = [
            ("sport/#", "sport sport/ sport/a/b", "sports"),
            ("sport/+", "sport/ sport/a", "sport sport/a/b"),
            ("+", "finance", "/finance $SYS"),
            ("+/+", "/finance", "finance a/b/c"),
            ("/+", "/finance", "finance"),
            ("a/+/b", "a//b a/x/b", "a/b"),
            ("#", "a /a a/b/c /", "$SYS/x $"),
            ("+/x", "a/x /x", "$SYS/x"),
            ("$SYS/#", "$SYS $SYS/x", "SYS a/$SYS"),
            ("a/b", "a/b", "A/b a/b/ /a/b a"),
            ("+/#", "a a/b", "$SYS/x"),
            ("$share/g/a/+", "a/b", "$share/g/a/b a"),
            ("$share/g//x", "/x", "x"),
        ];
        for (filter, yes, no) in table {
            let filter = TopicFilter::new(filter).unwrap();
            for name in yes.split(' ') {
                assert!(filter.matches(name), "{filter} should match {name}");
            }
            for name in no.split(' ') {
                assert!(!filter.matches(name), "{filter} should not match {name}");
            }
        }
    }

    #[test]
    fn rejects_wildcards_within_levels_and_after_hash() {
        for filter in [
            "#",
            "+",
            "/",
            "a//b",
            "+/+",
            "/+",
            "a/+/#",
            "+/#",
            "$share/g/#",
            "$shared",
        ] {
            assert!(TopicFilter::new(filter).is_ok(), "{filter}");
        }
        for filter in [
            "",
            "a#",
            "a/#/b",
            "a+",
            "a/+b",
            "##",
            "#/",
            "a\0",
            "$share",
            "$share/g",
            "$share/g/",
            "$share//x",
            "$share/+/x",
            "$share/#/x",
            "$share/\0/x",
            "$share/g/a#",
        ] {
            assert!(TopicFilter::new(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn rejects_names_with_wildcards_or_an_invalid_length() {
        for name in ["a", "/", "a b", "$SYS/x", "ä/\u{FEFF}"] {
            assert!(TopicName::new(name).is_ok(), "{name}");
        }
        for name in ["", "+", "a/#", "a+b", "a\0b", &"a".repeat(65536)] {
            assert!(TopicName::new(name).is_err());
        }
        assert!(TopicName::new(&"/".repeat(65535)).is_ok());
    }

    #[test]
    fn splits_shared_subscriptions() {
        let filter = TopicFilter::new("$share/group/a/#").unwrap();
        assert_eq!(
            (filter.share_name(), filter.without_share()),
            (Some("group"), "a/#")
        );
        let plain = TopicFilter::new("a/#").unwrap();
        assert_eq!((plain.share_name(), plain.without_share()), (None, "a/#"));
    }

    /// Matches level by level, as the standard defines matching.
    fn matches_naively(filter: &[&str], name: &[&str]) -> bool {
        match (filter, name) {
            (["#"], _) | ([], []) => true,
            ([], _) | (_, []) => false,
            ([f, filter @ ..], [n, name @ ..]) => {
                (*f == "+" || f == n) && matches_naively(filter, name)
            }
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(
            filter in prop::collection::vec("a|b||\\+|\\$x", 1..5),
            hash in any::<bool>(),
            name in prop::collection::vec("a|b||\\$x", 1..5),
        ) {
            let mut filter = filter;
            if hash {
                filter.push("#".into());
            }
            let (filter, name) = (filter.join("/"), name.join("/"));
            let (Ok(valid), Ok(_)) = (TopicFilter::new(&filter), TopicName::new(&name)) else {
                return Ok(());
            };
            let hidden = name.starts_with('$') && filter.starts_with(['+', '#']);
            let naive = matches_naively(
                &filter.split('/').collect::<Vec<_>>(),
                &name.split('/').collect::<Vec<_>>(),
            );
            prop_assert_eq!(valid.matches(&name), naive && !hidden);
        }
    }
}
