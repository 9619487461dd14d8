//! The will: the message that the broker publishes when the program dies.

use bytes::Bytes;
use mqtt_codec::{Message, QoS, TopicName, Will};

use crate::failure::Failure;
use crate::flags::parser::{CommandOption, flag, value};

use super::property::Properties;
use super::{ClientSettings, qos_or, shown, topic_name};

/// What the options say about the will.
#[derive(Debug)]
pub(crate) struct WillSettings {
    topic_name: Option<TopicName>,
    payload: Option<Bytes>,
    qos: QoS,
    retain: bool,
}

impl Default for WillSettings {
    fn default() -> Self {
        Self {
            topic_name: None,
            payload: None,
            qos: QoS::AtMostOnce,
            retain: false,
        }
    }
}

impl WillSettings {
    pub(super) fn will(&self, properties: &Properties) -> Result<Option<Will>, Failure> {
        let Some(topic_name) = &self.topic_name else {
            let text = if self.payload.is_some() {
                "Will payload given, but no will topic given."
            } else if self.retain {
                "Will retain given, but no will topic given."
            } else {
                return Ok(None);
            };
            return Err(Failure::usage(text).with_hint("Give the topic with --will-topic."));
        };
        let message = Message {
            retain: self.retain,
            properties: properties.will.clone(),
            ..Message::new(topic_name.clone(), self.payload.clone().unwrap_or_default())
        };
        let mut will = Will::new(message, self.qos);
        will.will_delay_interval = properties.will_delay_interval;
        Ok(Some(will))
    }
}

/// The table.
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
