//! Access control lists (ACL): the topics to which a client may publish, and from which it may receive messages. The
//! format of the file is that of mosquitto's `acl_file`.
//!
//! In a `pattern`, the level `%u` stands for the user name and `%c` for the client identifier. Clients choose their
//! identifiers. An identifier with '/', '+', '#' or '$' must neither grant topics of other clients nor evade a `deny`.

use std::collections::BTreeMap;

use mqtt_codec::{TopicFilter, levels, matches};
use mqtt_session::Printable;

/// The access to a topic that a client needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclAction {
    /// The client receives messages of the topic.
    Read,
    /// The client publishes to the topic.
    Write,
}

/// An access control list. The default list denies everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// The rules for clients without a user name: the `topic` lines before the first `user` line.
    anonymous: Vec<Rule>,
    /// The rules for each user name: the `topic` lines after its `user` line.
    users: BTreeMap<String, Vec<Rule>>,
    /// The `pattern` lines, which apply to all clients.
    patterns: Vec<Rule>,
}

/// A `topic` or `pattern` line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    kind: Kind,
    filter: String,
}

/// The access of a rule.
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
    /// Parses the bytes of an ACL file.
    ///
    /// # Errors
    /// Returns the number of the line, from 1, and the reason, if a line does not start with `user`, `topic` or
    /// `pattern`, has an unknown access or an invalid topic filter, or is not valid UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let mut list = Self::default();
        let mut user: Option<String> = None;
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what: String| (index + 1, what);
            if line.starts_with(b"#") {
                continue; // comments may have bytes of an old character set, such as Latin-1
            }
            let line = std::str::from_utf8(line).map_err(|_| {
                error("the line is not valid UTF-8 (save the file in UTF-8)".to_owned())
            })?;
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            // A user name or a topic filter may have spaces, so it is the whole rest of the line.
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
                    // Only a `pattern` replaces `%u` and `%c`; in a `topic` rule they have no special meaning.
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

    /// Returns `true` if the rules allow this access. The patterns decide only if no rule of the user denies or grants
    /// the access. Among the rules of the user, and among the patterns, a `deny` that matches overrides all others. An
    /// access that no rule grants is denied.
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
            return false; // no pattern, or a name that would act as a wildcard in one
        }
        let matches_names = |rule: &Rule| rule.matches(user_name, client_identifier, topic_name);
        verdict(&self.patterns, right, matches_names).unwrap_or(false)
    }
}

/// Returns `Some(false)` if a `deny` matches, `Some(true)` if another rule matches and grants the access, and `None`
/// otherwise.
fn verdict(rules: &[Rule], right: AclAction, matches: impl Fn(&Rule) -> bool) -> Option<bool> {
    let mut granted = None;
    for rule in rules.iter().filter(|rule| matches(rule)) {
        match rule.kind {
            Kind::Deny => return Some(false), // wherever the rule is in the file
            kind if kind.grants(right) => granted = Some(true),
            _ => {}
        }
    }
    granted
}

impl Rule {
    /// Parses the part of a line after `topic` or `pattern`: an optional access, and a topic filter that may have
    /// spaces.
    fn parse(text: &str) -> Result<Self, String> {
        let split = text.split_once(char::is_whitespace);
        let (kind, filter) = match split.map(|(word, rest)| (Kind::parse(word), rest.trim())) {
            Some((Some(kind), filter)) => (kind, filter),
            // If a mistyped `deny` were taken for the first word of a filter, the rule would deny nothing.
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

    /// Returns `true` if a pattern matches the topic after the level `%u` is replaced by the user name and `%c` by the
    /// client identifier. The caller ensures that both names are without '+' and '#'.
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
            // A name with a slash could grant topics of other clients, and a name that begins with '$' could grant
            // topics of the broker.
            let mut names = levels(&self.filter).filter_map(name_of);
            let starts_with_name = |c: char| {
                let first = levels(&self.filter).next().and_then(name_of);
                first.is_some_and(|name| name.starts_with(c))
            };
            if names.any(|name| name.contains('/')) || starts_with_name('$') {
                return false;
            }
        }
        // In a `deny`, a name with slashes counts as several levels, so that the client cannot evade the rule.
        let filter = levels(&self.filter).flat_map(|level| levels(name_of(level).unwrap_or(level)));
        matches_levels(filter, topic_name)
    }
}

/// Returns `true` if the topic filter with these levels matches the topic name.
fn matches_levels<'a>(mut filter: impl Iterator<Item = &'a str>, topic_name: &str) -> bool {
    let mut names = levels(topic_name);
    let mut is_first = true;
    loop {
        let (level, name) = (filter.next(), names.next());
        // A wildcard in the first level does not match topics that begin with '$' [MQTT-4.7.2-1].
        if is_first && topic_name.starts_with('$') && matches!(level, Some("#" | "+")) {
            return false;
        }
        is_first = false;
        match (level, name) {
            (Some("#"), _) | (None, None) => return true, // `#` also matches its parent level
            (Some("+"), Some(_)) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

/// Returns `true` for a level such as `secret-%u`, which is rejected. mosquitto does not replace `%u` in such a level,
/// so a `deny` with it silently denies nothing.
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
    fn entries_of_the_user_apply_before_patterns() {
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
    fn user_name_with_slashes_gains_no_access_and_evades_no_deny() {
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
            // Patterns grant nothing to names that would act as wildcards.
            (None, "+", "all/x", false),
            (Some("#"), "a", "all/x", false),
        ] {
            let found = list.allows(user, identifier, topic, AclAction::Read);
            assert_eq!(found, expected, "{user:?} {identifier} {topic}");
        }
    }

    #[test]
    fn rejects_a_pattern_with_a_placeholder_inside_a_level() {
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
        /// Matching a filter by its levels gives the same result as matching the whole filter.
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
    fn invalid_lines_are_reported_with_their_number() {
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
