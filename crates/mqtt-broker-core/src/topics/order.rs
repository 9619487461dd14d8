//! The order of topic names by their levels, and the search for the names that a topic filter matches.
//!
//! In this order `/` sorts before every other character. So the names that begin with `a/` follow immediately after
//! `a`, with no other name between them. A search for a filter can therefore skip all names below a level that does not
//! match, and can continue after any name. `retained.rs` has the map of retained messages that uses this order.

use std::borrow::Borrow;
use std::cmp::Ordering;

use mqtt_codec::{TopicFilter, TopicName};

/// A topic name that is compared level by level, as a key of a map. A clone shares the memory of the topic name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicKey(pub(crate) TopicName);

/// A text that is compared level by level. A map with keys of type [`TopicKey`] can be searched with a plain `&str`
/// through this trait, without making a topic name.
pub(crate) trait Levels {
    fn text(&self) -> &str;
}

/// The result of comparing a name with a filter: the position at which the search continues.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The filter matches the name.
    Match,
    /// The next name in the order may match.
    Next,
    /// All names before this text can be skipped, because they do not match.
    To(String),
    /// No later name in the order matches.
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

/// Compares two topic names level by level.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let mut pairs = one.bytes().zip(other.bytes());
    match pairs.find(|(one, other)| one != other) {
        Some((one, other)) => rank(one).cmp(&rank(other)),
        None => one.len().cmp(&other.len()), // a parent level sorts before the names below it
    }
}

/// Returns the rank of a byte in the order. A topic name has no U+0000 [MQTT-4.7.3-2], so the slash can have its rank.
fn rank(byte: u8) -> u8 {
    match byte {
        b'/' => 0,
        byte => byte,
    }
}

/// Returns the text at which the search for a filter begins: no name that is less than this text matches. The filter
/// must be without a share name.
pub(crate) fn start(topic_filter: &str) -> &str {
    let wildcard = topic_filter.find(['+', '#']);
    let literal = wildcard.and_then(|at| topic_filter.get(..at));
    // `a/#` also matches its parent level `a`, which sorts before `a/`.
    literal.map_or(topic_filter, |literal| {
        literal.strip_suffix('/').unwrap_or(literal)
    })
}

/// Compares a name with a filter, and returns the position at which the search continues. The filter must be without a
/// share name.
pub(crate) fn seek(topic_filter: &str, topic_name: &str) -> Seek {
    // A wildcard in the first level does not match names that begin with `$` [MQTT-4.7.2-1]. All these names are
    // skipped at once: `%` is the character after `$`.
    if topic_name.starts_with('$') && topic_filter.starts_with(['+', '#']) {
        return Seek::To("%".to_owned());
    }
    let mut filter_levels = mqtt_codec::levels(topic_filter);
    // The end of the last level that a `+` has matched, as an offset in the name.
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
                    // The names up to this level of the filter, below the same parent, do not match.
                    let parent = topic_name.get(..level_start).unwrap_or_default();
                    return Seek::To(format!("{parent}{filter_level}"));
                }
                Ordering::Greater => return after(topic_name, last_plus),
            },
            // The name has more levels than the filter. So have the other names that begin with the same levels.
            None => return after(topic_name, last_plus),
        }
        level_start = level_end + 1;
    }
    match filter_levels.next() {
        None | Some("#") => Seek::Match, // `#` also matches the parent level
        Some(_) => Seek::Next,
    }
}

/// Returns the position after all names that share the levels up to `last_plus`. These names cannot match, but a name
/// with another level in the place of the last `+` may. U+0001 sorts directly after the slash.
fn after(topic_name: &str, last_plus: Option<usize>) -> Seek {
    match last_plus.and_then(|end| topic_name.get(..end)) {
        Some(prefix) => Seek::To(format!("{prefix}\u{1}")),
        None => Seek::End,
    }
}

/// Returns `true` if the filter matches the name, and the name comes after `position` in the order.
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
    fn names_below_a_level_are_ordered_directly_after_it() {
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
