//! The rules for topic names and filters that the standard leaves to the broker: the maximum depth, the disallowed
//! characters, and the topics to which only the broker publishes.

/// Prefix of the topics of the broker itself, to which clients cannot publish.
pub(crate) const SYSTEM: &str = "$SYS/";

/// Maximum number of slashes in a topic name or filter, as in mosquitto. A topic with 200 slashes has 201 levels.
pub(crate) const MAXIMUM_SLASHES: usize = 200;

/// Returns `true` if a client with this identifier must not publish to this topic, because only the broker does. A
/// message of a client of 5.0 is acknowledged with 0x87 (Not authorized), and one of a client of 3.x as if it was
/// delivered.
pub(crate) fn is_reserved(topic_name: &str, client_identifier: &str) -> bool {
    // The prefixes end with a slash, so that clients may publish to `$SYSTEM/x`.
    let has_prefix = |prefix: &&str| topic_name.starts_with(*prefix);
    topic_name.starts_with('$')
        && [SYSTEM, "$CONTROL/", "$share/"].iter().any(has_prefix)
        && !is_state_of_bridge(topic_name, client_identifier)
}

/// Returns `true` if a bridge with this client identifier reports its connection state to this topic.
///
/// mosquitto lets every client publish to such topics. rbroker compares the client identifier, so that a client cannot
/// report the state of another bridge. It does not check that the client is a bridge, because CONNECT of a bridge of
/// 5.0 has no mark.
fn is_state_of_bridge(topic_name: &str, client_identifier: &str) -> bool {
    let rest = topic_name.strip_prefix("$SYS/broker/connection/");
    let name = rest.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.is_empty() && name == client_identifier)
}

/// Returns `true` if a client may publish to this topic: it has at most `MAXIMUM_SLASHES` slashes, and no control
/// characters, because strict clients disconnect when they receive one.
pub(crate) fn is_publishable(topic_name: &str) -> bool {
    !is_too_deep(topic_name) && is_plain_text(topic_name)
}

/// Returns `true` if a topic name or filter has more levels than a client may use.
pub(crate) fn is_too_deep(topic: &str) -> bool {
    // Most topics are shorter than the limit of slashes, so their characters need not be counted.
    topic.len() > MAXIMUM_SLASHES
        && topic.bytes().filter(|byte| *byte == b'/').count() > MAXIMUM_SLASHES
}

/// Returns `true` if a text has no character that the standard lets a receiver reject, such as a control character.
pub(crate) fn is_plain_text(text: &str) -> bool {
    mqtt_codec::disallowed_character(text).is_none()
}
