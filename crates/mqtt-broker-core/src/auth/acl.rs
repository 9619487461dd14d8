//! Access control lists, in mosquitto's language: which clients may publish to and receive from which topics.
//!
//! `%u` and `%c` of a pattern stand for one level of a topic. A client chooses its identifier, so a name must never
//! grant more than one level with exactly this name, and must never evade a `deny`.

use std::collections::BTreeMap;

use mqtt_codec::{TopicFilter, levels, matches};
use mqtt_session::Printable;

/// An access of a client to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclAction {
    /// The client receives messages of the topic.
    Read,
    /// The client publishes to the topic.
    Write,
}

/// The permissions of all users.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// The permissions of clients without a user name.
    anonymous: Vec<Rule>,
    users: BTreeMap<String, Vec<Rule>>,
    /// The patterns for all clients, in which the names of the client are substituted.
    patterns: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    kind: Kind,
    filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deny,
    Read,
    ReadWrite,
    Write,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "deny" => Self::Deny,
            "read" => Self::Read,
            "readwrite" => Self::ReadWrite,
            "write" => Self::Write,
            _ => return None,
        })
    }

    fn grants(self, right: AclAction) -> bool {
        match self {
            Self::Deny => false,
            Self::Read => right == AclAction::Read,
            Self::ReadWrite => true,
            Self::Write => right == AclAction::Write,
        }
    }
}

impl AccessList {
    /// Parses the bytes of a file. The error has the number of the wrong line, and the reason.
    ///
    /// # Errors
    /// If a line is none of `user`, `topic` and `pattern`, or has no valid topic filter.
    pub fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let mut list = Self::default();
        let mut user: Option<String> = None;
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what: String| (index + 1, what);
            if line.starts_with(b"#") {
                continue; // the bytes of a comment may be those of an old character set
            }
            let line = std::str::from_utf8(line).map_err(|_| {
                error("the line is not valid UTF-8 (save the file in UTF-8)".to_owned())
            })?;
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "user" if rest.is_empty() => {
                    return Err(error("expected a user name after 'user'".to_owned()));
                }
                "user" => {
                    list.users.entry(rest.to_owned()).or_default();
                    user = Some(rest.to_owned());
                }
                "topic" => {
                    let rule = Rule::parse(rest).map_err(error)?;
                    match &user {
                        None => list.anonymous.push(rule),
                        Some(user) => list.users.entry(user.clone()).or_default().push(rule),
                    }
                }
                "pattern" => {
                    let rule = Rule::parse(rest).map_err(error)?;
                    if levels(&rule.filter).any(is_partial_name) {
                        return Err(error(PARTIAL_NAME.to_owned()));
                    }
                    list.patterns.push(rule);
                }
                word => {
                    let word = Printable(word);
                    return Err(error(format!(
                        "unknown word '{word}': expected user, topic or pattern"
                    )));
                }
            }
        }
        Ok(list)
    }

    /// Returns `true` if the rules allow this access. The rules of the user decide before the patterns, and in both a
    /// `deny` overrides the others. An access that no rule names is denied.
    pub fn allows(
        &self,
        user_name: Option<&str>,
        client_identifier: &str,
        topic_name: &str,
        right: AclAction,
    ) -> bool {
        let own = match user_name {
            None => Some(&self.anonymous),
            Some(user_name) => self.users.get(user_name),
        };
        let own = own.map(Vec::as_slice).unwrap_or_default();
        if let Some(verdict) = verdict(own, right, |rule| matches(&rule.filter, topic_name)) {
            return verdict;
        }
        let names = [user_name.unwrap_or_default(), client_identifier];
        if self.patterns.is_empty() || names.iter().any(|name| name.contains(['+', '#'])) {
            return false; // such a name would be a wildcard in a pattern
        }
        let matches_names = |rule: &Rule| rule.matches(user_name, client_identifier, topic_name);
        verdict(&self.patterns, right, matches_names).unwrap_or(false)
    }
}

/// Returns the verdict of the rules that match, or `None` if none matches.
fn verdict(rules: &[Rule], right: AclAction, matches: impl Fn(&Rule) -> bool) -> Option<bool> {
    let mut granted = None;
    for rule in rules.iter().filter(|rule| matches(rule)) {
        match rule.kind {
            Kind::Deny => return Some(false),
            kind if kind.grants(right) => granted = Some(true),
            _ => {}
        }
    }
    granted
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let split = text.split_once(char::is_whitespace);
        let (kind, filter) = match split.map(|(word, rest)| (Kind::parse(word), rest.trim())) {
            Some((Some(kind), filter)) => (kind, filter),
            // A word that is mistyped must not turn into a part of the filter.
            Some((None, _)) => {
                let word = Printable(text.split_whitespace().next().unwrap_or_default());
                return Err(format!(
                    "unknown access '{word}': expected read, write, readwrite or deny"
                ));
            }
            None => (Kind::ReadWrite, text),
        };
        match TopicFilter::new(filter) {
            Ok(_) => Ok(Self {
                kind,
                filter: filter.to_owned(),
            }),
            Err(_) if filter.is_empty() => Err("expected a topic filter".to_owned()),
            Err(_) => Err(format!(
                "invalid topic filter '{}': '+' must be a whole level, and '#' the last level",
                Printable(filter)
            )),
        }
    }

    /// Returns `true` if the rule matches the topic with the names of the client in the place of `%u` and `%c`.
    /// The names must be without `+` and `#`.
    fn matches(&self, user_name: Option<&str>, client_identifier: &str, topic_name: &str) -> bool {
        let name_of = |level: &str| match level {
            "%c" => Some(client_identifier),
            "%u" => user_name,
            _ => None,
        };
        if user_name.is_none() && levels(&self.filter).any(|level| level == "%u") {
            return false;
        }
        if self.kind != Kind::Deny {
            // A name with a slash would reach topics of other clients, and one that begins with '$' the topics of
            // the broker.
            let mut names = levels(&self.filter).filter_map(name_of);
            let starts_with_name = |c: char| {
                let first = levels(&self.filter).next().and_then(name_of);
                first.is_some_and(|name| name.starts_with(c))
            };
            if names.any(|name| name.contains('/')) || starts_with_name('$') {
                return false;
            }
        }
        // A `deny` covers the levels of a name with slashes too, as if they stood in the file.
        let filter = levels(&self.filter).flat_map(|level| levels(name_of(level).unwrap_or(level)));
        matches_levels(filter, topic_name)
    }
}

/// Returns `true` if a topic filter that is given by its levels matches a topic name.
fn matches_levels<'a>(mut filter: impl Iterator<Item = &'a str>, topic_name: &str) -> bool {
    let mut names = levels(topic_name);
    let mut is_first = true;
    loop {
        let (level, name) = (filter.next(), names.next());
        // [MQTT-4.7.2-1]
        if is_first && topic_name.starts_with('$') && matches!(level, Some("#" | "+")) {
            return false;
        }
        is_first = false;
        match (level, name) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

/// Returns `true` for a level such as `secret-%u`. mosquitto takes it literally, so that a `deny` with it denies
/// nothing.
fn is_partial_name(level: &str) -> bool {
    !matches!(level, "%u" | "%c") && (level.contains("%u") || level.contains("%c"))
}

const PARTIAL_NAME: &str =
    "'%u' and '%c' of a pattern must stand alone between slashes, as in 'secret/%u/#'";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "\
topic read anon/#
pattern readwrite devices/%u/%c/#
pattern deny devices/+/+/off limits
user alice
topic readwrite a/#
topic deny a/secret
topic readwrite plain name
user bob
";

    #[test]
    fn rules_are_those_of_the_user_and_then_the_patterns() {
        let list = AccessList::parse(FILE.as_bytes()).unwrap();
        for (user, topic, read, write) in [
            (None, "anon/x", true, false),
            (None, "a/x", false, false),
            (None, "devices//id/x", false, false),
            (Some("alice"), "a/x", true, true),
            (Some("alice"), "a/secret", false, false),
            (Some("alice"), "plain name", true, true),
            (Some("alice"), "anon/x", false, false),
            (Some("alice"), "devices/alice/id/x", true, true),
            (Some("alice"), "devices/alice/id/off limits", false, false),
            (Some("alice"), "devices/alice/other/x", false, false),
            (Some("bob"), "devices/bob/id/x", true, true),
            (Some("bob"), "a/x", false, false),
            (Some("+"), "devices/bob/id/x", false, false),
            (Some("alice"), "$SYS/x", false, false),
        ] {
            let allows = |right| list.allows(user, "id", topic, right);
            let found = (allows(AclAction::Read), allows(AclAction::Write));
            assert_eq!(found, (read, write), "{user:?} {topic}");
        }
        assert!(!AccessList::default().allows(None, "id", "a", AclAction::Read));
    }

    #[test]
    fn a_name_with_slashes_is_granted_nothing_and_evades_no_deny() {
        let file = "pattern readwrite own/%c/#\npattern read %u/#\n\
                    pattern readwrite all/#\npattern deny all/%c/secret\npattern deny all/+/%u\n";
        let list = AccessList::parse(file.as_bytes()).unwrap();
        for (user, identifier, topic, expected) in [
            (None, "a", "own/a/x", true),
            (None, "a", "own/a", true),
            (None, "a/b", "own/a/b/x", false),
            (None, "a/b", "own/a/x", false),
            (None, "a", "own/a/b/x", true),
            (None, "a", "all/a/secret", false),
            (None, "a/b", "all/a/b/secret", false),
            (None, "a/b", "all/a/secret", true),
            (Some("u"), "a", "all/x/u", false),
            (Some("u/v"), "a", "all/x/u/v", false),
            (Some("u/v"), "a", "all/x/u", true),
            (Some("u"), "a", "u/x", true),
            (Some("$SYS"), "a", "$SYS/x", false),
            (Some("u/v"), "a", "u/v/x", false),
            (None, "a", "/x", false),
            // Names that would be wildcards have no right by a pattern.
            (None, "+", "all/x", false),
            (Some("#"), "a", "all/x", false),
        ] {
            let found = list.allows(user, identifier, topic, AclAction::Read);
            assert_eq!(found, expected, "{user:?} {identifier} {topic}");
        }
    }

    #[test]
    fn a_pattern_with_a_name_inside_a_level_is_an_error() {
        for level in ["secret-%u", "%ux", "%c%u", "x%c"] {
            for access in ["deny", "readwrite", "read"] {
                let file = format!("\npattern {access} a/{level}/#\n");
                let (line, what) = AccessList::parse(file.as_bytes()).unwrap_err();
                assert_eq!((line, what.as_str()), (2, PARTIAL_NAME), "{file}");
            }
        }
        // `topic` has no names to substitute.
        AccessList::parse(b"topic deny secret-%u/#\n").unwrap();
    }

    proptest! {
        /// The levels of a filter are matched as the filter itself is.
        #[test]
        fn filters_by_levels_match_as_whole_filters(
            filter in "[a$+/]{0,6}(/#)?", topic_name in "[a$/]{1,6}",
        ) {
            if TopicFilter::new(&filter).is_ok() {
                let by_levels = matches_levels(levels(&filter), &topic_name);
                prop_assert_eq!(by_levels, matches(&filter, &topic_name));
            }
        }
    }

    #[test]
    fn comments_may_have_any_bytes() {
        let list = AccessList::parse(b"# f\xFCr alle\ntopic read a\r\n").unwrap();
        assert!(list.allows(None, "id", "a", AclAction::Read));
        assert_eq!(AccessList::parse(b"topic f\xFCr").unwrap_err().0, 1);
    }

    #[test]
    fn wrong_lines_are_told_by_number() {
        for (file, line) in [
            ("user", 1),
            ("\ntopics a", 2),
            ("topic a/#/b", 1),
            ("topic read", 1),
            ("topic dney secret/#", 1),
            ("pattern write a+", 1),
        ] {
            let error = AccessList::parse(file.as_bytes()).map(drop);
            match (file, error) {
                ("topic read", Ok(())) => {} // a topic of this name, as in mosquitto
                (_, error) => assert_eq!(error.unwrap_err().0, line, "{file}"),
            }
        }
    }
}
