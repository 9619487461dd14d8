//! The message of a line of input: its payload, its topic and payload, or a JSON object.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_client::session::OutboundMessage;
use mqtt_codec::{Message, TopicName};

use crate::commands::rpub::plan::PublishPlan;
use crate::flags::settings::message::{LineForm, Lines};
use crate::jsonl::{self, MessageLine};

/// The text that rsub prints for an empty payload.
const EMPTY: &[u8] = b"(null)";

/// Returns the message of a line. The command line gives what the line lacks.
///
/// # Errors
/// The reason for which the line is not a message, in words for a person.
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
            // Records that end with NUL are exact: rsub -0 prints nothing for an empty payload.
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
        // A list without entries replaces those of the command line, too: the message had none.
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
    /// Returns the message of the command line with this topic and payload.
    pub(super) fn message(&self, topic_name: TopicName, payload: Bytes) -> OutboundMessage {
        let message = Message {
            retain: self.retain,
            properties: self.properties.clone(),
            ..Message::new(topic_name, payload)
        };
        OutboundMessage::new(Arc::new(message), self.qos)
    }

    /// Returns the topic of the command line.
    pub(super) fn topic(&self) -> Result<TopicName, String> {
        let missing = || "the line has no topic, and -t gives none".to_owned();
        self.topic_name.clone().ok_or_else(missing)
    }
}
