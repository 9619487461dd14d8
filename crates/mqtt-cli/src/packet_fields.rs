//! Every field of a packet with the standard's name, for people and programs that look at packets.

use mqtt_codec::{
    Ack, AckProperties, Auth, Connack, Connect, Delivery, Disconnect, Packet, ProtocolVersion,
    Publish, PublishProperties, ReasonCode, RetainHandling, Suback, Subscribe, Unsubscribe,
    UserProperty, Will,
};
use serde_json::{Value, json};

/// Names and values, in order.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// So many bytes of a payload are shown.
const SHOWN: usize = 64;

/// The fields of a packet; absent ones are left out, or null.
pub(crate) fn fields(packet: &Packet<'_>, version: ProtocolVersion) -> Fields {
    let mut fields = match packet {
        Packet::Connect(connect) => connect_fields(connect),
        Packet::Connack(connack) => connack_fields(connack, version),
        Packet::Publish(publish) => publish_fields(publish),
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            ack_fields(ack, version)
        }
        Packet::Subscribe(subscribe) => subscribe_fields(subscribe),
        Packet::Suback(suback) | Packet::Unsuback(suback) => suback_fields(suback),
        Packet::Unsubscribe(unsubscribe) => unsubscribe_fields(unsubscribe),
        Packet::Pingreq | Packet::Pingresp => Fields::new(),
        Packet::Disconnect(disconnect) => disconnect_fields(disconnect, version),
        Packet::Auth(auth) => auth_fields(auth),
    };
    fields.retain(|(_, value)| !value.is_null());
    fields
}

fn connect_fields(connect: &Connect) -> Fields {
    let properties = &connect.properties;
    let mut fields = vec![
        (
            "protocol_version",
            version_name(connect.protocol_version).into(),
        ),
        ("bridge", json!(connect.is_bridge.then_some(true))),
        (
            "client_identifier",
            connect.client_identifier.as_str().into(),
        ),
        ("clean_start", connect.clean_start.into()),
        ("keep_alive", connect.keep_alive.into()),
        ("user_name", json!(connect.user_name)),
        // Who looks over a shoulder, or at a log, learns no password.
        (
            "password_length",
            json!(connect.password.as_ref().map(|password| password.len())),
        ),
        ("will", json!(connect.will.as_ref().map(will_value))),
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
    ];
    push_user_properties(&mut fields, &properties.user_properties);
    fields
}

fn will_value(will: &Will) -> Value {
    json!({
        "qos": will.qos as u8,
        "retain": will.message.retain,
        "topic_name": will.message.topic_name.to_string(),
        "payload": preview(&will.message.payload),
        "will_delay_interval": will.will_delay_interval,
    })
}

fn connack_fields(connack: &Connack, version: ProtocolVersion) -> Fields {
    let properties = &connack.properties;
    let (name, code) = match version {
        ProtocolVersion::V5_0 => ("reason_code", reason(connack.reason_code)),
        _ => ("return_code", connack.code(version).into()),
    };
    let mut fields = vec![
        (name, code),
        ("session_present", connack.session_present.into()),
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
            "response_information",
            json!(properties.response_information),
        ),
        ("server_reference", json!(properties.server_reference)),
        (
            "authentication_method",
            json!(properties.authentication_method),
        ),
        ("reason_string", json!(properties.reason_string)),
    ];
    push_user_properties(&mut fields, &properties.user_properties);
    fields
}

fn publish_fields(publish: &Publish<'_>) -> Fields {
    let (delivery, properties) = (publish.delivery, &publish.properties);
    let identifiers: Vec<_> = properties.subscription_identifiers.iter().collect();
    let mut fields = vec![
        ("qos", (delivery.qos() as u8).into()),
        (
            "packet_identifier",
            json!(
                delivery
                    .packet_identifier()
                    .map(|identifier| identifier.get())
            ),
        ),
        (
            "dup",
            match delivery {
                Delivery::AtMostOnce => Value::Null,
                _ => delivery.dup().into(),
            },
        ),
        ("retain", publish.retain.into()),
        (
            "topic_name",
            match (publish.topic_name, properties.topic_alias) {
                ("", Some(_)) => Value::Null, // the alias says it
                (name, _) => name.into(),
            },
        ),
        (
            "topic_alias",
            json!(properties.topic_alias.map(|alias| alias.get())),
        ),
        ("payload_length", publish.payload.len().into()),
        ("payload", preview(publish.payload)),
    ];
    push_message_properties(&mut fields, properties);
    for identifier in identifiers {
        fields.push(("subscription_identifier", identifier.get().into()));
    }
    fields
}

fn push_message_properties(fields: &mut Fields, properties: &PublishProperties<'_>) {
    fields.extend([
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
}

fn ack_fields(ack: &Ack, version: ProtocolVersion) -> Fields {
    let code = match version {
        ProtocolVersion::V5_0 if ack.reason_code != ReasonCode::Success => reason(ack.reason_code),
        _ => Value::Null,
    };
    let mut fields = vec![
        ("packet_identifier", ack.packet_identifier.get().into()),
        ("reason_code", code),
    ];
    push_ack_properties(&mut fields, &ack.properties);
    fields
}

fn push_ack_properties(fields: &mut Fields, properties: &AckProperties) {
    fields.push(("reason_string", json!(properties.reason_string)));
    push_user_properties(fields, &properties.user_properties);
}

fn subscribe_fields(subscribe: &Subscribe) -> Fields {
    let properties = &subscribe.properties;
    let subscriptions = subscribe.subscriptions.iter().map(|subscription| {
        let options = subscription.options;
        let mut value = json!({
            "topic_filter": subscription.topic_filter.to_string(),
            "qos": options.qos as u8,
            "no_local": options.no_local,
            "retain_as_published": options.retain_as_published,
        });
        if options.retain_handling != RetainHandling::SendAtSubscribe {
            value["retain_handling"] = (options.retain_handling as u8).into();
        }
        value
    });
    let identifier = properties.subscription_identifier;
    let mut fields = vec![
        (
            "packet_identifier",
            subscribe.packet_identifier.get().into(),
        ),
        ("subscriptions", subscriptions.collect()),
        (
            "subscription_identifier",
            json!(identifier.map(|identifier| identifier.get())),
        ),
    ];
    push_user_properties(&mut fields, &properties.user_properties);
    fields
}

fn suback_fields(suback: &Suback) -> Fields {
    let codes = suback.reason_codes.iter().map(|code| reason(*code));
    let mut fields = vec![
        ("packet_identifier", suback.packet_identifier.get().into()),
        ("reason_codes", codes.collect()),
    ];
    push_ack_properties(&mut fields, &suback.properties);
    fields
}

fn unsubscribe_fields(unsubscribe: &Unsubscribe) -> Fields {
    let filters = unsubscribe
        .topic_filters
        .iter()
        .map(|filter| Value::from(filter.to_string()));
    let mut fields = vec![
        (
            "packet_identifier",
            unsubscribe.packet_identifier.get().into(),
        ),
        ("topic_filters", filters.collect()),
    ];
    push_user_properties(&mut fields, &unsubscribe.properties.user_properties);
    fields
}

fn disconnect_fields(disconnect: &Disconnect, version: ProtocolVersion) -> Fields {
    let properties = &disconnect.properties;
    let mut fields = vec![
        (
            "reason_code",
            match version {
                ProtocolVersion::V5_0 => reason(disconnect.reason_code),
                _ => Value::Null,
            },
        ),
        (
            "session_expiry_interval",
            json!(properties.session_expiry_interval),
        ),
        ("reason_string", json!(properties.reason_string)),
        ("server_reference", json!(properties.server_reference)),
    ];
    push_user_properties(&mut fields, &properties.user_properties);
    fields
}

fn auth_fields(auth: &Auth) -> Fields {
    let properties = &auth.properties;
    let mut fields = vec![
        ("reason_code", reason(auth.reason_code)),
        (
            "authentication_method",
            json!(properties.authentication_method),
        ),
        ("reason_string", json!(properties.reason_string)),
    ];
    push_user_properties(&mut fields, &properties.user_properties);
    fields
}

fn push_user_properties(fields: &mut Fields, properties: &[UserProperty]) {
    if !properties.is_empty() {
        let pair = |property: &UserProperty| json!([property.name, property.value]);
        fields.push(("user_properties", properties.iter().map(pair).collect()));
    }
}

/// The number and what it means.
fn reason(code: ReasonCode) -> Value {
    format!("{} ({code})", code.value()).into()
}

fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V3_1 => "3.1",
        ProtocolVersion::V3_1_1 => "3.1.1",
        ProtocolVersion::V5_0 => "5.0",
    }
}

/// The start of some bytes, as text.
fn preview(bytes: &[u8]) -> Value {
    let shown = bytes.get(..SHOWN.min(bytes.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(shown);
    match bytes.len() > SHOWN {
        true => format!("{text}…").into(),
        false => text.into_owned().into(),
    }
}
