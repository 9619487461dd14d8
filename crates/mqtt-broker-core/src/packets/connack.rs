//! The properties of CONNACK: the assigned client identifier, the limits of the broker, and the response information.

use std::num::{NonZeroU16, NonZeroU32};

use mqtt_codec::{ConnackProperties, Connect, QoS};

use crate::auth::state::Auth;
use crate::resources::Resources;
use crate::sessions::state::Sessions;

/// Returns the client identifier. The second value is `true` if CONNECT had none and the broker has assigned it
/// [MQTT-3.1.3-6].
pub(crate) fn client_identifier(
    auth: &Auth,
    sessions: &mut Sessions,
    listener: u32,
    connect: &Connect,
) -> (String, bool) {
    if !connect.client_identifier.is_empty() {
        return (connect.client_identifier.clone(), false);
    }
    let random = (sessions.random)();
    let prefix = &auth.policy(listener).identifier_prefix;
    (format!("{prefix}{}", uuid(random)), true)
}

/// Returns the limits of the broker and of the listener as properties of CONNACK. A property whose value is the default
/// of the standard is left out, because its absence means the same.
pub(crate) fn connack_properties(
    auth: &Auth,
    resources: &Resources,
    listener: u32,
    connect: &Connect,
) -> ConnackProperties {
    let limits = &auth.policy(listener).limits;
    let aliases = limits
        .topic_alias_maximum
        .unwrap_or(resources.limits.topic_alias_maximum);
    let longest = resources.limits.maximum_keep_alive;
    // Keep alive 0 turns the timeout off, so it exceeds every limit.
    let is_longer = |longest: &u16| connect.keep_alive == 0 || connect.keep_alive > *longest;
    ConnackProperties {
        topic_alias_maximum: Some(aliases).filter(|maximum| *maximum > 0),
        server_keep_alive: longest.filter(is_longer),
        maximum_qos: limits.maximum_qos.filter(|qos| *qos < QoS::ExactlyOnce),
        retain_available: (!resources.limits.retain_available).then_some(false),
        maximum_packet_size: NonZeroU32::new(resources.limits.maximum_packet_size)
            .filter(|size| size.get() < mqtt_codec::MAXIMUM_PACKET_SIZE),
        receive_maximum: NonZeroU16::new(resources.limits.receive_maximum)
            .filter(|maximum| maximum.get() < u16::MAX),
        ..ConnackProperties::default()
    }
}

/// Returns the topic prefix for responses to this client, if CONNECT requests one (MQTT 5.0, 3.2.2.3.15). Different
/// client identifiers give different prefixes.
pub(crate) fn response_information(connect: &Connect, identifier: &str) -> Option<String> {
    connect
        .properties
        .request_response_information
        .filter(|is_wanted| *is_wanted)?;
    let mut topic = String::from("response/");
    for c in identifier.chars() {
        match c {
            // These characters would add a level, be a wildcard, or be taken for the start of an escape.
            '/' | '+' | '#' | '%' => topic += &format!("%{:02X}", u32::from(c)),
            c => topic.push(c),
        }
    }
    // A topic name has at most 65,535 bytes, and the client must be able to append levels to the prefix.
    (topic.len() < usize::from(u16::MAX) / 2).then_some(topic)
}

/// Returns a UUID of version 4 whose random bits are those of `random`.
fn uuid(random: u128) -> String {
    let mut bytes = random.to_be_bytes();
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    // The version is in the upper half of byte 6, and the variant in the upper two bits of byte 8 (RFC 9562).
    *version = *version & 0x0F | 0x40;
    *variant = *variant & 0x3F | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| hex.get(range).unwrap_or_default();
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use mqtt_codec::ProtocolVersion;

    use super::*;

    #[test]
    fn response_information_is_one_level_for_each_client() {
        let mut connect = Connect::new(ProtocolVersion::V5_0, "");
        assert_eq!(response_information(&connect, "a"), None);
        connect.properties.request_response_information = Some(true);
        let given = response_information(&connect, "a/#%b").unwrap();
        assert_eq!(given, "response/a%2F%23%25b");
        assert_eq!(response_information(&connect, &"+".repeat(20_000)), None);
    }

    #[test]
    fn identifiers_are_uuids() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
