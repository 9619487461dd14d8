//! Topic aliases (MQTT 5.0, 3.3.2.3.4): numbers that replace topic names on one connection. Each direction has its own
//! topic aliases. All of them end with the connection [MQTT-3.3.2-7].

use std::collections::BTreeMap;

use mqtt_codec::{TopicAlias, TopicName};

/// Topic aliases of sent messages.
#[derive(Debug, Default)]
pub(super) struct SentAliases {
    /// The lowest alias.
    first: u16,
    /// Maximum number of aliases.
    count: u16,
    /// Highest alias that the peer accepts.
    maximum: u16,
    /// Alias of each topic name for which the peer has received one.
    aliases: BTreeMap<Box<str>, TopicAlias>,
}

/// The way in which a PUBLISH names its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicForm {
    /// The packet has the topic name only.
    Name,
    /// The packet has the topic name and the alias. From now on the alias replaces this topic name.
    NameAndAlias(TopicAlias),
    /// The packet has the alias only.
    Alias(TopicAlias),
}

impl SentAliases {
    /// Returns aliases for up to `count` topic names. The first alias is `first`, and no alias is above `maximum`.
    pub(super) fn new(first: TopicAlias, count: u16, maximum: u16) -> Self {
        Self {
            first: first.get(),
            count,
            maximum,
            aliases: BTreeMap::new(),
        }
    }

    /// Returns the form for a message with this topic name. The topic names that are sent first get the aliases and
    /// keep them.
    pub(super) fn find(&self, topic_name: &str) -> TopicForm {
        // Most peers accept no aliases, so the search is skipped.
        if self.maximum == 0 || self.count == 0 {
            return TopicForm::Name;
        }
        if let Some(alias) = self.aliases.get(topic_name) {
            return TopicForm::Alias(*alias);
        }
        let count = u16::try_from(self.aliases.len()).unwrap_or(u16::MAX);
        let next = self.first.saturating_add(count);
        match TopicAlias::new(next) {
            // An alias must not be above the Topic Alias Maximum of the peer [MQTT-3.3.2-9].
            Some(alias) if count < self.count && next <= self.maximum => {
                TopicForm::NameAndAlias(alias)
            }
            _ => TopicForm::Name,
        }
    }

    /// Records that a PUBLISH with this topic name and this alias is in the output.
    pub(super) fn set(&mut self, topic_name: &str, alias: TopicAlias) {
        self.aliases.insert(topic_name.into(), alias);
    }
}

/// Topic aliases of received messages.
#[derive(Debug, Default)]
pub(super) struct ReceivedAliases {
    topic_names: BTreeMap<u16, TopicName>,
}

/// Violation of the rules for a received topic alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AliasError {
    AboveMaximum,
    Unknown,
}

impl ReceivedAliases {
    /// Returns the topic name of a PUBLISH with an alias only. If the PUBLISH has a topic name too, stores that name
    /// for the alias and returns `None`. `maximum` is the Topic Alias Maximum that this end has announced.
    pub(super) fn resolve(
        &mut self,
        alias: TopicAlias,
        maximum: u16,
        topic_name: &str,
    ) -> Result<Option<TopicName>, AliasError> {
        // `maximum` is 0 if this end accepts no aliases.
        if alias.get() > maximum {
            return Err(AliasError::AboveMaximum);
        }
        // A PUBLISH with an alias only has an empty topic name.
        if topic_name.is_empty() {
            let known = self.topic_names.get(&alias.get());
            return known.cloned().map(Some).ok_or(AliasError::Unknown);
        }
        // The decoder has validated the topic name, so this conversion cannot fail.
        let topic_name = TopicName::new(topic_name).map_err(|_| AliasError::Unknown)?;
        // A new topic name replaces the earlier one of the alias (MQTT 5.0, 3.3.2.3.4).
        self.topic_names.insert(alias.get(), topic_name);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_aliases(first: u16, count: u16, maximum: u16) -> SentAliases {
        SentAliases::new(TopicAlias::new(first).unwrap(), count, maximum)
    }

    #[test]
    fn the_first_alias_is_used_if_the_peer_accepts_it() {
        let mut sent = sent_aliases(7, 1, 7);
        let seven = TopicAlias::new(7).unwrap();
        assert_eq!(sent.find("a"), TopicForm::NameAndAlias(seven));
        sent.set("a", seven);
        assert_eq!(sent.find("a"), TopicForm::Alias(seven));
        assert_eq!(sent.find("b"), TopicForm::Name);
        assert_eq!(sent_aliases(8, 1, 7).find("a"), TopicForm::Name);
    }

    fn alias(value: u16) -> TopicAlias {
        TopicAlias::new(value).unwrap()
    }

    #[test]
    fn the_first_topics_get_an_alias_and_keep_it() {
        let mut sent = sent_aliases(1, 2, 2);
        assert_eq!(sent.find("a"), TopicForm::NameAndAlias(alias(1)));
        assert_eq!(
            sent.find("a"),
            TopicForm::NameAndAlias(alias(1)),
            "the peer has not received it"
        );
        sent.set("a", alias(1));
        sent.set("b", alias(2));
        assert_eq!(sent.find("a"), TopicForm::Alias(alias(1)));
        assert_eq!(sent.find("c"), TopicForm::Name);
        assert_eq!(sent_aliases(1, 2, 0).find("a"), TopicForm::Name);
    }

    #[test]
    fn alias_resolves_to_the_last_topic_name_received_with_it() {
        let mut received = ReceivedAliases::default();
        assert_eq!(received.resolve(alias(2), 2, ""), Err(AliasError::Unknown));
        assert_eq!(
            received.resolve(alias(3), 2, "a"),
            Err(AliasError::AboveMaximum)
        );
        for name in ["a", "b"] {
            assert_eq!(received.resolve(alias(2), 2, name), Ok(None));
            let known = received.resolve(alias(2), 2, "").unwrap();
            assert_eq!(known.as_deref(), Some(name));
        }
    }
}
