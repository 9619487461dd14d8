//! Prints a message as a line of JSON.

use jiff::Timestamp;
use mqtt_codec::{Delivery, Property, PublishRef};

use crate::jsonl::base64;
use crate::output::format::escaped;

/// Appends the object of a message, without a newline. If `terminal` is `true`, control characters that JSON permits in
/// strings are escaped, too.
pub(crate) fn write(publish: &PublishRef<'_>, time: Timestamp, terminal: bool, out: &mut Vec<u8>) {
    let start = out.len();
    push(out, "{\"topic\":");
    string(publish.topic_name, out);
    bytes("payload", publish.payload, out);
    let delivery = publish.delivery;
    push(out, &format!(",\"qos\":{}", delivery.qos() as u8));
    let flag = if publish.retain { "true" } else { "false" };
    push(out, &format!(",\"retain\":{flag}"));
    if let Delivery::AtLeastOnce {
        packet_identifier,
        dup,
    }
    | Delivery::ExactlyOnce {
        packet_identifier,
        dup,
    } = delivery
    {
        push(
            out,
            &format!(",\"dup\":{dup},\"packet_identifier\":{packet_identifier}"),
        );
    }
    push(out, &format!(",\"time\":\"{time:.6}\""));
    if !publish.properties.are_absent() {
        push(out, ",\"properties\":[");
        for (index, property) in publish.properties.iter().enumerate() {
            push(out, if index == 0 { "{" } else { ",{" });
            write_property(&property, out);
            out.push(b'}');
        }
        out.push(b']');
    }
    out.push(b'}');
    if terminal {
        let json = String::from_utf8_lossy(out.get(start..).unwrap_or_default()).into_owned();
        out.truncate(start);
        push(out, &escaped(&json));
    }
}

/// Appends a property as a key and its value.
fn write_property(property: &Property<'_>, out: &mut Vec<u8>) {
    match property {
        Property::PayloadFormatIndicator(flag) => {
            push(
                out,
                &format!("\"payload_format_indicator\":{}", u8::from(*flag)),
            );
        }
        Property::MessageExpiryInterval(seconds) => {
            push(out, &format!("\"message_expiry_interval\":{seconds}"));
        }
        Property::ContentType(text) => {
            push(out, "\"content_type\":");
            string(text, out);
        }
        Property::ResponseTopic(topic_name) => {
            push(out, "\"response_topic\":");
            string(topic_name, out);
        }
        Property::CorrelationData(data) => bytes_after("", "correlation_data", data, out),
        Property::SubscriptionIdentifier(identifier) => {
            push(
                out,
                &format!("\"subscription_identifier\":{}", identifier.get()),
            );
        }
        Property::TopicAlias(alias) => push(out, &format!("\"topic_alias\":{}", alias.get())),
        Property::User(name, value) => {
            push(out, "\"user_property\":[");
            string(name, out);
            out.push(b',');
            string(value, out);
            out.push(b']');
        }
        _ => {}
    }
}

/// Appends a key and its value after a comma. A value that is UTF-8 is written as a string. Any other value is written
/// in base64, and its key ends with `_base64`.
fn bytes(name: &str, value: &[u8], out: &mut Vec<u8>) {
    bytes_after(",", name, value, out);
}

fn bytes_after(separator: &str, name: &str, value: &[u8], out: &mut Vec<u8>) {
    if is_plain(value) {
        push(out, separator);
        out.push(b'"');
        push(out, name);
        push(out, "\":\"");
        out.extend_from_slice(value);
        out.push(b'"');
        return;
    }
    match std::str::from_utf8(value) {
        Ok(text) => {
            push(out, &format!("{separator}\"{name}\":"));
            string(text, out);
        }
        Err(_) => {
            push(out, &format!("{separator}\"{name}_base64\":\""));
            base64::encode(value, out);
            out.push(b'"');
        }
    }
}

/// Appends a JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    if is_plain(text.as_bytes()) {
        out.push(b'"');
        push(out, text);
        out.push(b'"');
    } else {
        // Neither error can occur: a write to memory cannot fail, and every string has a JSON form.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Returns `true` if the bytes are printable ASCII that needs no escapes in JSON. The fold does not stop at the first
/// other byte: without a branch for each byte, the compiler can check many bytes with one instruction.
fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) & (*byte != b'"') & (*byte != b'\\');
    bytes.iter().fold(true, |all, byte| all & plain(byte))
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
