//! Topic aliases (MQTT 5.0, 3.3.2.3.4): numbers that stand for topic names on one connection, each
//! direction with its own. They are never carried to another connection [MQTT-3.3.2-7].

use std::collections::BTreeMap;

use mqtt_codec::{TopicAlias, TopicName};

/// The aliases that this end has given to topic names.
#[derive(Debug, Default)]
pub(crate) struct SentAliases {
    /// The numbers that may be given: from `first` on, `count` of them, up to the peer's maximum.
    first: u16,
    count: u16,
    maximum: u16,
    aliases: BTreeMap<Box<str>, TopicAlias>,
}

/// How to write a topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicForm {
    /// In full.
    Plain,
    /// In full, with the alias that stands for it from now on.
    WithNew(TopicAlias),
    /// As the alias alone.
    As(TopicAlias),
}

impl SentAliases {
    /// `first` is the number of the first one; `count` how many this end gives; `maximum` the
    /// highest number that the peer takes.
    pub(crate) fn new(first: TopicAlias, count: u16, maximum: u16) -> Self {
        Self {
            first: first.get(),
            count,
            maximum,
            aliases: BTreeMap::new(),
        }
    }

    /// The first topics that are used get an alias, and keep it.
    pub(crate) fn find(&self, topic_name: &str) -> TopicForm {
        if self.maximum == 0 || self.count == 0 {
            return TopicForm::Plain;
        }
        if let Some(alias) = self.aliases.get(topic_name) {
            return TopicForm::As(*alias);
        }
        let count = u16::try_from(self.aliases.len()).unwrap_or(u16::MAX);
        let next = self.first.saturating_add(count);
        match TopicAlias::new(next) {
            // [MQTT-3.3.2-9]
            Some(alias) if count < self.count && next <= self.maximum => TopicForm::WithNew(alias),
            _ => TopicForm::Plain,
        }
    }

    /// The peer has been told.
    pub(crate) fn set(&mut self, topic_name: &str, alias: TopicAlias) {
        self.aliases.insert(topic_name.into(), alias);
    }
}

/// What the peer's aliases stand for.
#[derive(Debug, Default)]
pub(crate) struct ReceivedAliases {
    topic_names: BTreeMap<u16, TopicName>,
}

/// What is wrong with an alias of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AliasError {
    AboveMaximum,
    Unknown,
}

impl ReceivedAliases {
    /// Takes the meaning of an alias from a packet that has both, or gives it to one that has the
    /// alias alone: then it is what the packet means. `maximum` is what this end has announced.
    pub(crate) fn resolve(
        &mut self,
        alias: TopicAlias,
        maximum: u16,
        topic_name: &str,
    ) -> Result<Option<TopicName>, AliasError> {
        if alias.get() > maximum {
            return Err(AliasError::AboveMaximum);
        }
        if topic_name.is_empty() {
            let known = self.topic_names.get(&alias.get());
            return known.cloned().map(Some).ok_or(AliasError::Unknown);
        }
        let topic_name = TopicName::new(topic_name).map_err(|_| AliasError::Unknown)?;
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
    fn the_first_number_is_what_this_end_wants_and_the_peer_takes() {
        let mut sent = sent_aliases(7, 1, 7);
        let seven = TopicAlias::new(7).unwrap();
        assert_eq!(sent.find("a"), TopicForm::WithNew(seven));
        sent.set("a", seven);
        assert_eq!(sent.find("a"), TopicForm::As(seven));
        assert_eq!(sent.find("b"), TopicForm::Plain);
        assert_eq!(sent_aliases(8, 1, 7).find("a"), TopicForm::Plain);
    }

    fn alias(value: u16) -> TopicAlias {
        TopicAlias::new(value).unwrap()
    }

    #[test]
    fn the_first_topics_get_an_alias_and_keep_it() {
        let mut sent = sent_aliases(1, 2, 2);
        assert_eq!(sent.find("a"), TopicForm::WithNew(alias(1)));
        assert_eq!(sent.find("a"), TopicForm::WithNew(alias(1)), "not told yet");
        sent.set("a", alias(1));
        sent.set("b", alias(2));
        assert_eq!(sent.find("a"), TopicForm::As(alias(1)));
        assert_eq!(sent.find("c"), TopicForm::Plain);
        assert_eq!(sent_aliases(1, 2, 0).find("a"), TopicForm::Plain);
    }

    #[test]
    fn an_alias_means_what_it_was_last_sent_with() {
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
