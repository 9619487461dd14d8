//! The rules for topic names and filters beyond those of the standard: their depth, their characters, and the topics that
//! only the broker publishes to.

/// Prefix of the broker's own topics. Clients cannot publish to them.
pub(crate) const SYSTEM: &str = "$SYS/";

/// Maximum number of slashes in a topic name or filter, as in mosquitto: one less than the number of levels.
pub(crate) const MAXIMUM_SLASHES: usize = 200;

/// Returns `true` if a client with this identifier must not publish to this topic, since only the broker does. Clients
/// of 5.0 get 0x87 for it, clients of 3.x are answered as if the message had been delivered.
pub(crate) fn is_reserved(topic_name: &str, client_identifier: &str) -> bool {
    // The prefixes end with a slash, so that `$SYSTEM/x` stays a topic of the clients.
    let has_prefix = |prefix: &&str| topic_name.starts_with(*prefix);
    topic_name.starts_with('$')
        && [SYSTEM, "$CONTROL/", "$share/"].iter().any(has_prefix)
        && !is_state_of_bridge(topic_name, client_identifier)
}

/// Returns `true` for the topic to which the bridge with this client identifier reports if it is connected.
///
/// mosquitto lets each client publish there. Here a client publishes its own state only, so that nobody can report for
/// another bridge. A bridge of 5.0 looks like any other client, so the identifier decides for all.
fn is_state_of_bridge(topic_name: &str, client_identifier: &str) -> bool {
    let rest = topic_name.strip_prefix("$SYS/broker/connection/");
    let name = rest.and_then(|rest| rest.strip_suffix("/state"));
    name.is_some_and(|name| !name.is_empty() && name == client_identifier)
}

/// Returns `true` if a client may publish to this topic: not too deep, and without the control characters that strict
/// clients reject.
pub(crate) fn is_publishable(topic_name: &str) -> bool {
    !is_too_deep(topic_name) && is_plain_text(topic_name)
}

/// Returns `true` if a topic name or filter has more levels than a client may use.
pub(crate) fn is_too_deep(topic: &str) -> bool {
    // A shorter topic cannot have as many levels, and is not searched.
    topic.len() > MAXIMUM_SLASHES
        && topic.bytes().filter(|byte| *byte == b'/').count() > MAXIMUM_SLASHES
}

/// Returns `true` if a text has no character that strict peers refuse.
pub(crate) fn is_plain_text(text: &str) -> bool {
    mqtt_codec::disallowed_character(text).is_none()
}
