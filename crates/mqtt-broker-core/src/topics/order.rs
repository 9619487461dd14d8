//! The order of topic names by their levels, and the search for the names that a filter matches in it.
//!
//! `/` sorts before every other character, so `a` comes right before the names below `a/`, and those are contiguous. A
//! search for a filter can therefore skip everything below a level that does not match, and continue after any name.
//! The retained messages themselves are in `retained.rs`.

use std::borrow::Borrow;
use std::cmp::Ordering;

use mqtt_codec::{TopicFilter, TopicName};

/// A topic name in the order of its levels. It shares the memory of the name that it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicKey(pub(crate) TopicName);

/// A text that is compared level by level. A map with [`TopicKey`] is searched with plain text by it.
pub(crate) trait Levels {
    fn text(&self) -> &str;
}

/// The way from a name that was compared with a filter to the next one that may match.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The filter matches the name.
    Match,
    /// Any name after it may match.
    Next,
    /// No name before this text matches.
    To(String),
    /// No later name matches.
    End,
}

impl Levels for TopicKey {
    fn text(&self) -> &str {
        &self.0
    }
}

impl Levels for &str {
    fn text(&self) -> &str {
        self
    }
}

impl<'a> Borrow<dyn Levels + 'a> for TopicKey {
    fn borrow(&self) -> &(dyn Levels + 'a) {
        self
    }
}

impl PartialEq for dyn Levels + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for dyn Levels + '_ {}

impl PartialOrd for dyn Levels + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Levels + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.text(), other.text())
    }
}

impl PartialOrd for TopicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TopicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// Compares two topic names by their levels.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let mut pairs = one.bytes().zip(other.bytes());
    match pairs.find(|(one, other)| one != other) {
        Some((one, other)) => rank(one).cmp(&rank(other)),
        None => one.len().cmp(&other.len()),
    }
}

/// U+0000 is in no topic name, so its rank is free for the slash.
fn rank(byte: u8) -> u8 {
    match byte {
        b'/' => 0,
        byte => byte,
    }
}

/// Returns a text that no name before the first match of a filter (without share) is less than.
pub(crate) fn start(topic_filter: &str) -> &str {
    let wildcard = topic_filter.find(['+', '#']);
    let literal = wildcard.and_then(|at| topic_filter.get(..at));
    // The parent level of `a/#` is matched too, and sorts before `a/`.
    literal.map_or(topic_filter, |literal| {
        literal.strip_suffix('/').unwrap_or(literal)
    })
}

/// Compares a name with a filter (without share), and returns where the search continues.
pub(crate) fn seek(topic_filter: &str, topic_name: &str) -> Seek {
    // [MQTT-4.7.2-1]; the names that start with `$` are contiguous.
    if topic_name.starts_with('$') && topic_filter.starts_with(['+', '#']) {
        return Seek::To("%".to_owned());
    }
    let mut filter_levels = mqtt_codec::levels(topic_filter);
    // The end of the name up to the last level that a `+` has matched.
    let mut last_plus = None;
    let mut level_start = 0;
    for level in mqtt_codec::levels(topic_name) {
        let level_end = level_start + level.len();
        match filter_levels.next() {
            Some("#") => return Seek::Match,
            Some("+") => last_plus = Some(level_end),
            Some(filter_level) => match compare(level, filter_level) {
                Ordering::Equal => {}
                Ordering::Less => {
                    let parent = topic_name.get(..level_start).unwrap_or_default();
                    return Seek::To(format!("{parent}{filter_level}"));
                }
                Ordering::Greater => return after(topic_name, last_plus),
            },
            // The name is below one that the filter may match.
            None => return after(topic_name, last_plus),
        }
        level_start = level_end + 1;
    }
    match filter_levels.next() {
        None | Some("#") => Seek::Match, // the parent level included
        Some(_) => Seek::Next,
    }
}

/// Skips everything below the last level that another value of `+` may replace.
fn after(topic_name: &str, last_plus: Option<usize>) -> Seek {
    match last_plus.and_then(|end| topic_name.get(..end)) {
        Some(prefix) => Seek::To(format!("{prefix}\u{1}")),
        None => Seek::End,
    }
}

/// Returns `true` if the filter matches a name that comes after `position` in the order.
pub(crate) fn is_ahead(
    topic_filter: &TopicFilter,
    position: Option<&TopicName>,
    topic_name: &str,
) -> bool {
    position.is_none_or(|position| compare(position, topic_name) == Ordering::Less)
        && topic_filter.matches(topic_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_below_a_level_come_right_after_it() {
        let mut names = [
            "a!", "ab", "a/b", "a", "a//", "a/", "b", "a/b/c", "a/b!", "/",
        ];
        names.sort_by(|one, other| compare(one, other));
        assert_eq!(
            names,
            [
                "/", "a", "a/", "a//", "a/b", "a/b/c", "a/b!", "a!", "ab", "b"
            ]
        );
    }

    #[test]
    fn skips_what_is_below_a_level_that_does_not_match() {
        let to = |text: &str| Seek::To(text.to_owned());
        assert_eq!(seek("a/+/x", "a/b/c"), to("a/b/x"));
        assert_eq!(seek("a/+/x", "a/b/y"), to("a/b\u{1}"));
        assert_eq!(seek("a/+", "a/b/c"), to("a/b\u{1}"));
        assert_eq!(seek("a/+", "b"), Seek::End);
        assert_eq!(seek("+/x", "$a/x"), to("%"));
        assert_eq!(seek("a/#", "a"), Seek::Match);
        assert_eq!(seek("a/+", "a"), Seek::Next);
        assert_eq!(seek("a/b", "a/b/c"), Seek::End);
    }
}
