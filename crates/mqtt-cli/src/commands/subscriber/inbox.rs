//! The inbox of rrr: a response topic that nobody else uses or can guess, so that no other message can be taken for the
//! response. MQTT 5.0 sends it with the request; earlier versions have no field for it.

use mqtt_codec::{Connack, TopicFilter, TopicName};

use crate::failure::Failure;

/// The first level of the topic, if the broker gives no Response Information. rbroker gives topics below the same
/// level, so one permission is enough for both.
const PREFIX: &str = "response";

/// The random part of the topic. It has 128 bits.
#[derive(Debug)]
pub(in crate::commands) struct Inbox {
    name: String,
}

impl Inbox {
    /// Creates an inbox.
    ///
    /// # Errors
    /// If the system has no random bytes. A topic that can be guessed would break the promise of the inbox.
    pub(in crate::commands) fn new() -> Result<Self, Failure> {
        let name = random_text()?;
        Ok(Self { name })
    }

    /// Returns the topic, and a filter for it. The topic starts with the Response Information of CONNACK, because the
    /// broker may permit no other topic to this client (MQTT 5.0, 4.10.1).
    pub(super) fn topic(&self, connack: &Connack) -> Option<(TopicName, TopicFilter)> {
        let given = connack.properties.response_information.as_deref();
        // The standard does not define the form of the Response Information. If it cannot begin a topic name, for
        // example because it has a wildcard, the topic starts with the default.
        let of_broker = given.and_then(|prefix| self.below(prefix));
        of_broker.or_else(|| self.below(PREFIX))
    }

    fn below(&self, prefix: &str) -> Option<(TopicName, TopicFilter)> {
        let text = format!("{}/{}", prefix.trim_end_matches('/'), self.name);
        let topic_name = TopicName::new(&text).ok()?;
        let topic_filter = TopicFilter::new(&text).ok()?;
        // A filter that starts with `$share/` does not match the topic with the same text.
        topic_filter
            .matches(&topic_name)
            .then_some((topic_name, topic_filter))
    }
}

/// Returns 32 hexadecimal digits that nobody can guess, for a topic or for correlation data. They are text, because a
/// service that is a shell script cannot copy all bytes.
///
/// # Errors
/// If the system has no random bytes.
pub(in crate::commands) fn random_text() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("Cannot get random bytes: {error}.")))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use mqtt_codec::{ConnackProperties, ReasonCode};

    use super::*;

    #[test]
    fn topic_is_below_the_response_information_if_that_is_a_topic() {
        let inbox = Inbox { name: "1f".into() };
        let mut connack = Connack {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties: ConnackProperties::default(),
        };
        for (given, expected) in [
            (None, "response/1f"),
            (Some("for/me"), "for/me/1f"),
            (Some("for/me/"), "for/me/1f"),
            (Some("for/#"), "response/1f"),
            (Some("$share/group/a"), "response/1f"),
        ] {
            connack.properties.response_information = given.map(str::to_owned);
            let (topic_name, topic_filter) = inbox.topic(&connack).unwrap();
            assert_eq!(&*topic_name, expected, "{given:?}");
            assert!(topic_filter.matches(&topic_name));
        }
    }

    #[test]
    fn two_inboxes_differ() {
        let [first, second] = [(), ()].map(|()| Inbox::new().unwrap().name);
        assert_eq!(first.len(), 32);
        assert_ne!(first, second);
    }
}
