//! Access control lists, in mosquitto's language: who may publish and receive what.

use std::collections::BTreeMap;
use std::path::Path;

use mqtt_codec::{TopicFilter, levels, matches};

use super::passwords::AccessError;

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Receive its messages.
    Read,
    /// Publish to it.
    Write,
}

/// The rights of all users.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    /// Of clients without a user name.
    anonymous: Vec<Rule>,
    users: BTreeMap<String, Vec<Rule>>,
    /// Of all clients, with their names in them.
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

    fn grants(self, right: Right) -> bool {
        match self {
            Self::Deny => false,
            Self::Read => right == Right::Read,
            Self::ReadWrite => true,
            Self::Write => right == Right::Write,
        }
    }
}

impl AccessList {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or a line of it is wrong.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let bytes = std::fs::read(path).map_err(|e| AccessError::Read(path.to_owned(), e))?;
        Self::parse(&bytes).map_err(|(line, what)| AccessError::Line(path.to_owned(), line, what))
    }

    /// Understands the bytes of a file; the error is the number of a line, and what is wrong with it.
    ///
    /// # Errors
    /// If a line is none of `user`, `topic` and `pattern`, or has no valid topic filter.
    pub fn parse(bytes: &[u8]) -> Result<Self, (usize, &'static str)> {
        let mut list = Self::default();
        let mut user: Option<String> = None;
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what| (index + 1, what);
            let line = std::str::from_utf8(line).map_err(|_| error("it is not valid UTF-8"))?;
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let line = line.trim();
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "user" if rest.is_empty() => return Err(error("the user has no name")),
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
                "pattern" => list.patterns.push(Rule::parse(rest).map_err(error)?),
                _ => return Err(error("it begins with none of user, topic and pattern")),
            }
        }
        Ok(list)
    }

    /// Whether a client may do this: the rules of its user first, then the patterns; in both a `deny` wins
    /// over the others. What no rule names is not allowed.
    pub fn allows(
        &self,
        user_name: Option<&str>,
        client_identifier: &str,
        topic_name: &str,
        right: Right,
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

/// What the rules say that match, if there are any.
fn verdict(rules: &[Rule], right: Right, matches: impl Fn(&Rule) -> bool) -> Option<bool> {
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
    fn parse(text: &str) -> Result<Self, &'static str> {
        let split = text.split_once(char::is_whitespace);
        let (kind, filter) = match split.map(|(word, rest)| (Kind::parse(word), rest.trim())) {
            Some((Some(kind), filter)) => (kind, filter),
            // A word that is mistyped must not turn into a part of the filter.
            Some((None, _)) => return Err("there is no such access before the topic"),
            None => (Kind::ReadWrite, text),
        };
        match TopicFilter::new(filter) {
            Ok(_) => Ok(Self {
                kind,
                filter: filter.to_owned(),
            }),
            Err(_) => Err("there is no valid topic filter behind it"),
        }
    }

    /// With `%u` and `%c`, each alone in its level, as the names of the client.
    fn matches(&self, user_name: Option<&str>, client_identifier: &str, topic_name: &str) -> bool {
        let mut filter = String::with_capacity(self.filter.len());
        for (index, level) in levels(&self.filter).enumerate() {
            if index > 0 {
                filter.push('/');
            }
            match (level, user_name) {
                ("%c", _) => filter.push_str(client_identifier),
                ("%u", Some(user_name)) => filter.push_str(user_name),
                ("%u", None) => return false,
                (level, _) => filter.push_str(level),
            }
        }
        matches(&filter, topic_name)
    }
}

#[cfg(test)]
mod tests {
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
            let found = (allows(Right::Read), allows(Right::Write));
            assert_eq!(found, (read, write), "{user:?} {topic}");
        }
        assert!(!AccessList::default().allows(None, "id", "a", Right::Read));
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
