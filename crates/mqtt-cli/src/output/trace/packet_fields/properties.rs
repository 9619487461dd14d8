//! Lists the properties of each packet for the trace. Only MQTT 5.0 has properties.

use mqtt_codec::{
    AckProperties, Auth, ConnackProperties, ConnectProperties, DisconnectProperties, PacketRef,
    PublishPropertiesRef, SubscribeProperties, UserProperty,
};
use serde_json::json;

use super::value::{Fields, preview};

/// Adds the properties of a packet. Absent properties are null.
pub(super) fn push_properties(fields: &mut Fields, packet: &PacketRef<'_>) {
    match packet {
        PacketRef::Connect(connect) => push_connect_properties(fields, &connect.properties),
        PacketRef::Connack(connack) => push_connack_properties(fields, &connack.properties),
        PacketRef::Publish(publish) => push_publish_properties(fields, &publish.properties),
        PacketRef::Puback(ack)
        | PacketRef::Pubrec(ack)
        | PacketRef::Pubrel(ack)
        | PacketRef::Pubcomp(ack) => {
            push_ack_properties(fields, &ack.properties);
        }
        PacketRef::Subscribe(subscribe) => push_subscribe_properties(fields, &subscribe.properties),
        PacketRef::Suback(suback) | PacketRef::Unsuback(suback) => {
            push_ack_properties(fields, &suback.properties);
        }
        PacketRef::Unsubscribe(unsubscribe) => {
            push_user_properties(fields, &unsubscribe.properties.user_properties);
        }
        PacketRef::Pingreq | PacketRef::Pingresp => {}
        PacketRef::Disconnect(disconnect) => {
            push_disconnect_properties(fields, &disconnect.properties);
        }
        PacketRef::Auth(auth) => push_auth_properties(fields, auth),
    }
}

fn push_connect_properties(fields: &mut Fields, properties: &ConnectProperties) {
    fields.extend([
        (
            "session_expiry_interval",
            json!(properties.session_expiry_interval),
        ),
        ("receive_maximum", json!(properties.receive_maximum)),
        ("maximum_packet_size", json!(properties.maximum_packet_size)),
        ("topic_alias_maximum", json!(properties.topic_alias_maximum)),
        (
            "request_response_information",
            json!(properties.request_response_information),
        ),
        (
            "request_problem_information",
            json!(properties.request_problem_information),
        ),
        (
            "authentication_method",
            json!(properties.authentication_method),
        ),
    ]);
    push_user_properties(fields, &properties.user_properties);
}

fn push_connack_properties(fields: &mut Fields, properties: &ConnackProperties) {
    fields.extend([
        (
            "session_expiry_interval",
            json!(properties.session_expiry_interval),
        ),
        ("receive_maximum", json!(properties.receive_maximum)),
        (
            "maximum_qos",
            json!(properties.maximum_qos.map(|qos| qos as u8)),
        ),
        ("retain_available", json!(properties.retain_available)),
        ("maximum_packet_size", json!(properties.maximum_packet_size)),
        (
            "assigned_client_identifier",
            json!(properties.assigned_client_identifier),
        ),
        ("topic_alias_maximum", json!(properties.topic_alias_maximum)),
        ("server_keep_alive", json!(properties.server_keep_alive)),
        (
            "wildcard_subscription_available",
            json!(properties.wildcard_subscription_available),
        ),
        (
            "subscription_identifiers_available",
            json!(properties.subscription_identifiers_available),
        ),
        (
            "shared_subscription_available",
            json!(properties.shared_subscription_available),
        ),
        (
            "response_information",
            json!(properties.response_information),
        ),
        ("server_reference", json!(properties.server_reference)),
        (
            "authentication_method",
            json!(properties.authentication_method),
        ),
        ("reason_string", json!(properties.reason_string)),
    ]);
    push_user_properties(fields, &properties.user_properties);
}

pub(super) fn push_publish_properties(fields: &mut Fields, properties: &PublishPropertiesRef<'_>) {
    fields.extend([
        (
            "topic_alias",
            json!(properties.topic_alias.map(|alias| alias.get())),
        ),
        (
            "payload_format_indicator",
            json!(properties.payload_format_indicator()),
        ),
        (
            "message_expiry_interval",
            json!(properties.message_expiry_interval),
        ),
        ("content_type", json!(properties.content_type())),
        ("response_topic", json!(properties.response_topic())),
        (
            "correlation_data",
            json!(properties.correlation_data().map(preview)),
        ),
    ]);
    let pairs = properties.user_properties();
    if !pairs.is_empty() {
        let pair = |(name, value)| json!([name, value]);
        fields.push(("user_properties", pairs.iter().map(pair).collect()));
    }
    // A message that matches several subscriptions has one identifier for each of them, so the name may occur more than
    // once.
    for identifier in properties.subscription_identifiers.iter() {
        fields.push(("subscription_identifier", identifier.get().into()));
    }
}

fn push_ack_properties(fields: &mut Fields, properties: &AckProperties) {
    fields.push(("reason_string", json!(properties.reason_string)));
    push_user_properties(fields, &properties.user_properties);
}

fn push_subscribe_properties(fields: &mut Fields, properties: &SubscribeProperties) {
    let identifier = properties.subscription_identifier;
    fields.push((
        "subscription_identifier",
        json!(identifier.map(|identifier| identifier.get())),
    ));
    push_user_properties(fields, &properties.user_properties);
}

fn push_disconnect_properties(fields: &mut Fields, properties: &DisconnectProperties) {
    fields.extend([
        (
            "session_expiry_interval",
            json!(properties.session_expiry_interval),
        ),
        ("reason_string", json!(properties.reason_string)),
        ("server_reference", json!(properties.server_reference)),
    ]);
    push_user_properties(fields, &properties.user_properties);
}

fn push_auth_properties(fields: &mut Fields, auth: &Auth) {
    // The authentication data is a secret. It is left out here, as in CONNECT and CONNACK.
    let properties = &auth.properties;
    fields.extend([
        (
            "authentication_method",
            json!(properties.authentication_method),
        ),
        ("reason_string", json!(properties.reason_string)),
    ]);
    push_user_properties(fields, &properties.user_properties);
}

fn push_user_properties(fields: &mut Fields, properties: &[UserProperty]) {
    if !properties.is_empty() {
        let pair = |property: &UserProperty| json!([property.name, property.value]);
        fields.push(("user_properties", properties.iter().map(pair).collect()));
    }
}
