//! Topic names and topic filters (MQTT 5.0, 4.7 and 4.8): what is valid, and what matches what.
//!
//! Comparison is byte for byte: no case folding, no normalization, no trimming [MQTT-4.7.3-4].

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use crate::field::contains;
use std::sync::Arc;

/// A topic name: where a message goes. Not empty, no wildcard, no U+0000, at most 65535 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// A topic filter: what a subscription asks for, perhaps shared (`$share/NAME/FILTER`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

/// The text is no valid topic name or topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTopic;

impl TopicName {
    /// Checks and copies `name`.
    ///
    /// # Errors
    /// If it is empty, longer than 65535 bytes, or contains `+`, `#` or U+0000
    /// [MQTT-4.7.1-1, MQTT-4.7.3-1 to MQTT-4.7.3-3].
    pub fn new(name: &str) -> Result<Self, InvalidTopic> {
        if !is_valid_name(name) {
            return Err(InvalidTopic);
        }
        Ok(Self(name.into()))
    }
}

impl TopicFilter {
    /// Checks and copies `filter`.
    ///
    /// # Errors
    /// If it is empty, longer than 65535 bytes, contains U+0000, has a wildcard that is not a whole
    /// level or a `#` that is not the last [MQTT-4.7.1-1, MQTT-4.7.1-2], or starts with `$share/`
    /// without a valid share name and filter behind it [MQTT-4.8.2-1, MQTT-4.8.2-2].
    pub fn new(filter: &str) -> Result<Self, InvalidTopic> {
        let plain = match filter.strip_prefix("$share/") {
            None if filter == "$share" => return Err(InvalidTopic),
            None => filter,
            Some(rest) => {
                let (share_name, plain) = rest.split_once('/').ok_or(InvalidTopic)?;
                if share_name.is_empty() || share_name.contains(['+', '#', '\0']) {
                    return Err(InvalidTopic);
                }
                plain
            }
        };
        if filter.len() > 65535 || !is_valid_filter(plain) {
            return Err(InvalidTopic);
        }
        Ok(Self(filter.into()))
    }

    /// The share name, if this is a shared subscription.
    pub fn share_name(&self) -> Option<&str> {
        Some(self.0.strip_prefix("$share/")?.split_once('/')?.0)
    }

    /// The filter that is compared with topic names: without `$share/NAME/`.
    pub fn without_share(&self) -> &str {
        let shared = self
            .0
            .strip_prefix("$share/")
            .and_then(|rest| rest.split_once('/'));
        shared.map_or(&self.0, |(_, filter)| filter)
    }

    /// Returns `true` if the filter has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns `true` if the filter matches this topic name.
    pub fn matches(&self, topic_name: &str) -> bool {
        matches(self.without_share(), topic_name)
    }
}

/// The levels of a topic name or filter; an empty level is one.
pub fn levels(topic: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(topic);
    std::iter::from_fn(move || {
        let (level, behind) = split_level(rest?);
        rest = behind;
        Some(level)
    })
}

/// The first level, and what stands behind its slash. Levels are short: a loop over bytes is faster than a
/// search that is made for long texts.
#[inline]
pub fn split_level(topic: &str) -> (&str, Option<&str>) {
    let slash = topic.bytes().position(|byte| byte == b'/');
    let split = slash.and_then(|at| Some((topic.get(..at)?, topic.get(at + 1..)?)));
    match split {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

/// Returns `true` if a valid, not shared topic filter matches a valid topic name.
///
/// A filter that starts with a wildcard does not match a name that starts with `$` [MQTT-4.7.2-1].
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut name_levels = levels(name);
    for filter_level in levels(filter) {
        match (filter_level, name_levels.next()) {
            ("#", _) => return true, // the parent level included
            ("+", Some(_)) => {}
            (level, Some(name_level)) if level == name_level => {}
            _ => return false,
        }
    }
    name_levels.next().is_none()
}

pub(crate) fn is_valid_name(name: &str) -> bool {
    let is_long = name.len() > 65535;
    !name.is_empty() && !is_long && !contains(name.as_bytes(), [b'+', b'#', 0])
}

fn is_valid_filter(filter: &str) -> bool {
    let mut level_starts = true;
    let mut bytes = filter.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            0 => false,
            b'#' => level_starts && bytes.peek().is_none(),
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

macro_rules! text {
    ($type:ident) => {
        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
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
    fn wildcards_are_whole_levels_and_the_last_one() {
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
    fn names_have_no_wildcards_and_a_length() {
        for name in ["a", "/", "a b", "$SYS/x", "ä/\u{FEFF}"] {
            assert!(TopicName::new(name).is_ok(), "{name}");
        }
        for name in ["", "+", "a/#", "a+b", "a\0b", &"a".repeat(65536)] {
            assert!(TopicName::new(name).is_err());
        }
        assert!(TopicName::new(&"/".repeat(65535)).is_ok());
    }

    #[test]
    fn shared_subscriptions_are_taken_apart() {
        let filter = TopicFilter::new("$share/group/a/#").unwrap();
        assert_eq!(
            (filter.share_name(), filter.without_share()),
            (Some("group"), "a/#")
        );
        let plain = TopicFilter::new("a/#").unwrap();
        assert_eq!((plain.share_name(), plain.without_share()), (None, "a/#"));
    }

    /// Matching by the definition: expand the filter level by level, in both directions.
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
