//! The options for the will.

use bytes::Bytes;

use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::settings::connection::ClientSettings;
use crate::flags::values::{qos_or, topic_name};
use crate::wording::shown;

/// Returns the options for the will.
pub(crate) fn will_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--will-topic",
            "will topic",
            "Topic of the will: the message that the broker publishes if the connection ends without DISCONNECT",
            |s: &mut S, v| {
                s.connection().will.topic_name = Some(topic_name(v, "will", "--will-topic")?);
                Ok(())
            },
        )
        .with_value_name("TOPIC"),
        value(
            "",
            "--will-payload",
            "will payload",
            "Payload of the will [default: empty]",
            |s: &mut S, v| {
                let payload = Bytes::copy_from_slice(v.as_encoded_bytes());
                s.connection().will.payload = Some(payload);
                Ok(())
            },
        )
        .with_value_name("MESSAGE"),
        value(
            "",
            "--will-qos",
            "will QoS",
            "Quality of service of the will [default: 0]",
            |s: &mut S, v| {
                s.connection().will.qos = qos_or(v, format!("Invalid will QoS {}.", shown(v)))?;
                Ok(())
            },
        )
        .with_value_name("QOS"),
        flag(
            "",
            "--will-retain",
            "Let the broker retain the will",
            |s: &mut S| {
                s.connection().will.retain = true;
            },
        ),
    ]
}
