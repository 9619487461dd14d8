//! Lists every field of a packet for the trace, with the name that the standard uses.
//!
//! A packet in memory may have fields that its version cannot encode: a broker answers clients of every version with
//! the same packets, and the encoder leaves out fields that the version does not have. The lists here have the fields
//! on the wire.

mod properties;
mod value;

use mqtt_codec::{
    Ack, Connack, Connect, Delivery, Disconnect, PacketRef, ProtocolVersion, PublishRef,
    ReasonCode, RetainHandling, Suback, Subscribe, SubscriptionOptions, Unsubscribe, Will,
};
use serde_json::{Value, json};

use properties::{push_properties, push_publish_properties};
pub(crate) use value::Fields;
use value::preview;

/// Returns the fields that a packet has on the wire in this version.
pub(crate) fn fields(packet: &PacketRef<'_>, version: ProtocolVersion) -> Fields {
    let mut fields = version_independent(packet, version);
    if version == ProtocolVersion::V5_0 {
        push_properties(&mut fields, packet); // earlier versions have none
    }
    // Absent fields are null here and are not on the wire.
    fields.retain(|(_, value)| !value.is_null());
    fields
}

/// Returns the fields that are not properties. Absent fields are null.
fn version_independent(packet: &PacketRef<'_>, version: ProtocolVersion) -> Fields {
    match packet {
        PacketRef::Connect(connect) => connect_fields(connect),
        PacketRef::Connack(connack) => connack_fields(connack, version),
        PacketRef::Publish(publish) => publish_fields(publish),
        PacketRef::Puback(ack)
        | PacketRef::Pubrec(ack)
        | PacketRef::Pubrel(ack)
        | PacketRef::Pubcomp(ack) => ack_fields(ack, version),
        PacketRef::Subscribe(subscribe) => subscribe_fields(subscribe, version),
        PacketRef::Suback(suback) => suback_fields(suback, version),
        PacketRef::Unsuback(unsuback) => unsuback_fields(unsuback, version),
        PacketRef::Unsubscribe(unsubscribe) => unsubscribe_fields(unsubscribe),
        PacketRef::Pingreq | PacketRef::Pingresp => Fields::new(),
        PacketRef::Disconnect(disconnect) => disconnect_fields(disconnect, version),
        PacketRef::Auth(auth) => vec![("reason_code", reason(auth.reason_code))],
    }
}

fn connect_fields(connect: &Connect) -> Fields {
    let version = connect.protocol_version;
    // In 5.0 this flag is called Clean Start: it only discards the old session, and the Session Expiry Interval decides
    // when the new session ends.
    let clean = match version {
        ProtocolVersion::V5_0 => "clean_start",
        _ => "clean_session",
    };
    let will = connect.will.as_ref();
    vec![
        ("protocol_version", version_name(version).into()),
        ("bridge", json!(connect.is_bridge.then_some(true))),
        (
            "client_identifier",
            connect.client_identifier.as_str().into(),
        ),
        (clean, connect.clean_start.into()),
        ("keep_alive", connect.keep_alive.into()),
        ("user_name", json!(connect.user_name)),
        // Users paste traces into bug reports, so a trace shows only the length of the password.
        (
            "password_length",
            json!(connect.password.as_ref().map(|password| password.len())),
        ),
        ("will", json!(will.map(|will| will_value(will, version)))),
    ]
}

fn will_value(will: &Will, version: ProtocolVersion) -> Value {
    let mut value = json!({
        "qos": will.qos as u8,
        "retain": will.message.retain,
        "topic_name": will.message.topic_name.to_string(),
        "payload": preview(&will.message.payload),
    });
    if version == ProtocolVersion::V5_0 {
        let publish = will.message.publish(Delivery::AtMostOnce);
        let mut properties = vec![("will_delay_interval", json!(will.will_delay_interval))];
        push_publish_properties(&mut properties, &publish.properties);
        for (name, property) in properties {
            if !property.is_null() {
                value[name] = property;
            }
        }
    }
    value
}

fn connack_fields(connack: &Connack, version: ProtocolVersion) -> Fields {
    let (name, code) = match version {
        ProtocolVersion::V5_0 => ("reason_code", reason(connack.reason_code)),
        _ => ("return_code", connack.code(version).into()),
    };
    let session_present = match version {
        ProtocolVersion::V3_1 => Value::Null, // the CONNACK of 3.1 has no flags
        _ => connack.session_present.into(),
    };
    vec![(name, code), ("session_present", session_present)]
}

fn publish_fields(publish: &PublishRef<'_>) -> Fields {
    let (delivery, properties) = (publish.delivery, &publish.properties);
    let identifier = delivery.packet_identifier();
    vec![
        ("qos", (delivery.qos() as u8).into()),
        (
            "packet_identifier",
            json!(identifier.map(|identifier| identifier.get())),
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
                ("", Some(_)) => Value::Null, // the packet has only the alias
                (name, _) => name.into(),
            },
        ),
        ("payload_length", publish.payload.len().into()),
        ("payload", preview(publish.payload)),
    ]
}

fn ack_fields(ack: &Ack, version: ProtocolVersion) -> Fields {
    // The encoder leaves out Success if there are no properties, and the word in every rung would only distract.
    let code = match version {
        ProtocolVersion::V5_0 if ack.reason_code != ReasonCode::Success => reason(ack.reason_code),
        _ => Value::Null,
    };
    vec![
        ("packet_identifier", ack.packet_identifier.get().into()),
        ("reason_code", code),
    ]
}

fn subscribe_fields(subscribe: &Subscribe, version: ProtocolVersion) -> Fields {
    let subscriptions = subscribe.subscriptions.iter().map(|subscription| {
        let options = subscription.options;
        let mut value = json!({
            "topic_filter": subscription.topic_filter.to_string(),
            "qos": options.qos as u8,
        });
        if version == ProtocolVersion::V5_0 {
            add_options(&mut value, options);
        }
        value
    });
    vec![
        (
            "packet_identifier",
            subscribe.packet_identifier.get().into(),
        ),
        ("subscriptions", subscriptions.collect()),
    ]
}

/// Adds the subscription options that only 5.0 has.
fn add_options(value: &mut Value, options: SubscriptionOptions) {
    value["no_local"] = options.no_local.into();
    value["retain_as_published"] = options.retain_as_published.into();
    if options.retain_handling != RetainHandling::SendAtSubscribe {
        value["retain_handling"] = (options.retain_handling as u8).into();
    }
}

fn suback_fields(suback: &Suback, version: ProtocolVersion) -> Fields {
    let (name, code): (_, fn(&ReasonCode) -> Value) = match version {
        ProtocolVersion::V5_0 => ("reason_codes", |code| reason(*code)),
        _ => ("return_codes", |code| return_code(*code)),
    };
    vec![
        ("packet_identifier", suback.packet_identifier.get().into()),
        (name, suback.reason_codes.iter().map(code).collect()),
    ]
}

fn unsuback_fields(unsuback: &Suback, version: ProtocolVersion) -> Fields {
    let mut fields = suback_fields(unsuback, version);
    if version != ProtocolVersion::V5_0 {
        // UNSUBACK has reason codes only since 5.0.
        fields.truncate(1);
    }
    fields
}

fn unsubscribe_fields(unsubscribe: &Unsubscribe) -> Fields {
    let filters = unsubscribe
        .topic_filters
        .iter()
        .map(|filter| Value::from(filter.to_string()));
    vec![
        (
            "packet_identifier",
            unsubscribe.packet_identifier.get().into(),
        ),
        ("topic_filters", filters.collect()),
    ]
}

fn disconnect_fields(disconnect: &Disconnect, version: ProtocolVersion) -> Fields {
    match version {
        ProtocolVersion::V5_0 => vec![("reason_code", reason(disconnect.reason_code))],
        _ => Fields::new(),
    }
}

/// Returns the number and the name of a reason code.
fn reason(code: ReasonCode) -> Value {
    format!("{} ({code})", code.value()).into()
}

/// Returns the return code of a SUBACK in 3.1 and 3.1.1, where all failures have the same code.
fn return_code(code: ReasonCode) -> Value {
    if code.is_error() {
        "128 (Failure)".into()
    } else {
        code.value().to_string().into()
    }
}

fn version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V3_1 => "3.1",
        ProtocolVersion::V3_1_1 => "3.1.1",
        ProtocolVersion::V5_0 => "5.0",
    }
}

#[cfg(test)]
mod tests;
