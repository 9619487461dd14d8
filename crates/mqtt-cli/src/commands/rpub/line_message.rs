//! Makes a message from a line of input. A line has one of three forms: only a payload; a topic, a blank and a payload;
//! or a JSON object.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_client::session::OutboundMessage;
use mqtt_codec::{Message, TopicName};

use crate::commands::rpub::plan::PublishPlan;
use crate::flags::settings::message::{LineForm, Lines};
use crate::jsonl::{self, MessageLine};

/// The text that rsub prints for an empty payload.
const EMPTY: &[u8] = b"(null)";

/// Returns the message of a line. Values that the line does not have come from the command line.
///
/// # Errors
/// If the line is not a message. The error is a text for the user.
pub(super) fn message(
    lines: &Lines,
    line: Bytes,
    plan: &PublishPlan,
) -> Result<OutboundMessage, String> {
    match lines.form {
        LineForm::Payload => Ok(plan.message(plan.topic()?, line)),
        LineForm::TopicAndPayload => {
            let blank = memchr::memchr(b' ', &line).ok_or("no blank follows a topic")?;
            let topic = std::str::from_utf8(line.get(..blank).unwrap_or_default());
            let topic_name = topic.ok().and_then(|topic| TopicName::new(topic).ok());
            let topic_name = topic_name.ok_or("the text before the first blank is not a topic")?;
            let payload = line.slice(blank + 1..);
            // `rsub -v` prints `(null)` for an empty payload. With `-0` it prints nothing, so `(null)` is then a
            // payload.
            let is_empty = lines.separator == b'\n' && payload == EMPTY;
            let payload = if is_empty { Bytes::new() } else { payload };
            Ok(plan.message(topic_name, payload))
        }
        LineForm::Json => from_json(jsonl::read(&line)?, plan),
    }
}

fn from_json(line: MessageLine, plan: &PublishPlan) -> Result<OutboundMessage, String> {
    let topic_name = match line.topic_name {
        Some(topic_name) => topic_name,
        None => plan.topic()?,
    };
    let properties = match line.properties {
        // An empty list in the line means a message without properties, so those of the command line are not used.
        Some(properties) if properties.is_empty() => None,
        Some(properties) => Some(Box::new(properties)),
        None => plan.properties.clone(),
    };
    let message = Message {
        retain: line.retain.unwrap_or(plan.retain),
        properties,
        ..Message::new(topic_name, line.payload)
    };
    Ok(OutboundMessage::new(
        Arc::new(message),
        line.qos.unwrap_or(plan.qos),
    ))
}

impl PublishPlan {
    /// Creates a message with this topic and payload. All other values come from the command line.
    pub(super) fn message(&self, topic_name: TopicName, payload: Bytes) -> OutboundMessage {
        let message = Message {
            retain: self.retain,
            properties: self.properties.clone(),
            ..Message::new(topic_name, payload)
        };
        OutboundMessage::new(Arc::new(message), self.qos)
    }

    /// Returns the topic of `-t`.
    pub(super) fn topic(&self) -> Result<TopicName, String> {
        let missing = || "the line has no topic, and -t gives none".to_owned();
        self.topic_name.clone().ok_or_else(missing)
    }
}
