//! A message, the state of its handler, and the response to it.

use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use mqtt_client::EventLoop;
use mqtt_client::session::{OutboundMessage, PublishError};
use mqtt_codec::{
    Delivery, Message, MessageProperties, PacketIdentifier, Property, PublishRef, QoS, TopicName,
};

use super::process::{self, Exit, Running};
use crate::jsonl::{self, base64_text};

/// The name of the user property with the reason why the handler has failed. Such a response has no payload.
pub(in crate::commands) const FAILURE_PROPERTY: &str = "handler-failure";

/// A message that was received.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) topic_name: String,
    pub(super) payload: Vec<u8>,
    /// QoS, packet identifier and DUP flag as they have arrived.
    pub(super) delivery: Delivery,
    pub(super) retain: bool,
    pub(super) time: Timestamp,
    pub(super) properties: MessageProperties,
}

impl Received {
    /// Returns the number of bytes of the topic, the properties and the payload.
    pub(super) fn length(&self) -> usize {
        self.topic_name.len() + self.properties.encoded_length() + self.payload.len()
    }
}

/// A message that rsub has not acknowledged yet, with the state of its handler.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) message: Received,
    /// The delivery to acknowledge; `None` after its connection was lost.
    pub(super) delivery: Option<Delivery>,
    pub(super) state: State,
    /// The number of runs so far.
    pub(super) runs: u32,
    /// The number of runs that have failed and count for `--retries`.
    pub(super) failures: u32,
    /// Set if the broker has the acknowledgement already, because the message has waited for the end of a period of
    /// `--every`.
    pub(super) is_acknowledged: bool,
    /// The topic of the response, for `rrr --serve`.
    pub(super) response_topic: Option<TopicName>,
}

#[derive(Debug)]
pub(super) enum State {
    /// The handler runs at this time or later.
    Waiting(Instant),
    Running(Running),
    /// The last run has failed for this reason.
    Failed(String),
    /// The dead letter was published and is not acknowledged yet.
    Published,
    /// The response of `rrr --serve` is not acknowledged yet.
    Responding(Response),
    /// The last run has failed, and the message has no dead letter or the broker did not accept it. The message stays
    /// unacknowledged.
    Refused,
    Done,
}

impl Job {
    pub(super) fn new(number: u64, publish: &PublishRef<'_>) -> Self {
        // Properties of the connection, such as a topic alias, are left out: they mean nothing to a handler.
        let mut properties = MessageProperties::default();
        for property in publish.properties.iter() {
            let _ = properties.push(property);
        }
        Self {
            number,
            message: Received {
                topic_name: publish.topic_name.to_owned(),
                payload: publish.payload.to_vec(),
                delivery: publish.delivery,
                retain: publish.retain,
                time: Timestamp::now(),
                properties,
            },
            delivery: Some(publish.delivery),
            state: State::Waiting(Instant::now()),
            runs: 0,
            failures: 0,
            is_acknowledged: false,
            response_topic: None,
        }
    }

    /// Creates a job that needs no handler.
    pub(super) fn done(delivery: Delivery) -> Self {
        Self {
            number: 0,
            message: Received {
                topic_name: String::new(),
                payload: Vec::new(),
                delivery,
                retain: false,
                time: Timestamp::UNIX_EPOCH,
                properties: MessageProperties::default(),
            },
            delivery: Some(delivery),
            state: State::Done,
            runs: 0,
            failures: 0,
            is_acknowledged: false,
            response_topic: None,
        }
    }

    /// Returns `true` while the handler runs or has to run.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Running(_))
    }

    /// Returns the key of the order. Messages with the same key are handled in the order of their arrival. The key of a
    /// message is its topic. Requests of one topic often come from many senders, so the key of a request is its
    /// response topic.
    pub(super) fn order_key(&self) -> &str {
        let response_topic = self.response_topic.as_deref();
        response_topic.unwrap_or(&self.message.topic_name)
    }

    /// Returns the reason of a failed run, or `None` if it has succeeded.
    pub(super) fn failure(&self, exit: Exit) -> Option<String> {
        let has_timed_out = match &self.state {
            State::Running(running) => running.has_timed_out,
            _ => false,
        };
        match exit {
            Exit::Status(0) => None,
            _ if has_timed_out => Some("it took longer than --exec-timeout".to_owned()),
            Exit::Status(status) => Some(format!("exit status {status}")),
            Exit::Signal(signal) => Some(format!("signal {signal}")),
            Exit::Unknown(text) => Some(text),
        }
    }

    /// Returns the message for the topic of dead letters: payload and properties unchanged, and the failure in further
    /// user properties.
    pub(super) fn dead_letter(
        &self,
        topic_name: &TopicName,
        reason: &str,
        has_properties: bool,
    ) -> Message {
        let mut message = Message::new(topic_name.clone(), self.message.payload.clone());
        if !has_properties {
            return message;
        }
        let mut properties = self.message.properties.clone();
        let runs = self.runs.to_string();
        let time = self.message.time.to_string();
        for (name, value) in [
            ("dead-letter-topic", &*self.message.topic_name),
            ("dead-letter-reason", reason),
            ("dead-letter-runs", &runs),
            ("dead-letter-time", &time),
        ] {
            // A property that does not fit is left out. The payload matters more.
            let _ = properties.push(Property::User(name, value));
        }
        message.properties = Some(Box::new(properties));
        message
    }

    /// Returns the command that handles the message. `words` are the program and its arguments.
    pub(super) fn command(&self, words: &[OsString]) -> Command {
        let mut command = process::command(words);
        command.envs(self.environment()).env(
            "MQTT_PAYLOAD_LENGTH",
            self.message.payload.len().to_string(),
        );
        command
    }

    /// Returns the message as a line of JSON for a handler that stays: the object of `--jsonl`, and the number of the
    /// run.
    ///
    /// # Errors
    /// If the topic is not a topic name.
    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let received = &self.message;
        let topic_name = TopicName::new(&received.topic_name).map_err(io::Error::other)?;
        let message = Message {
            retain: received.retain,
            properties: Some(Box::new(received.properties.clone())),
            ..Message::new(topic_name, received.payload.clone())
        };
        let mut line = Vec::new();
        let publish = message.publish(received.delivery);
        jsonl::write(&publish, received.time, false, &mut line);
        line.pop(); // the brace that ends the object
        line.extend_from_slice(format!(",\"run\":{}}}\n", self.runs + 1).as_bytes());
        Ok(line)
    }

    /// Returns the environment of the handler. No value contains NUL, because MQTT does not allow NUL in a string.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let message = &self.message;
        let mut variables = vec![
            ("MQTT_TOPIC", message.topic_name.clone()),
            ("MQTT_QOS", (message.delivery.qos() as u8).to_string()),
            ("MQTT_RETAIN", u8::from(message.retain).to_string()),
            ("MQTT_DUP", u8::from(message.delivery.dup()).to_string()),
            ("MQTT_TIME", format!("{:.6}", message.time)),
            ("MQTT_RUN", (self.runs + 1).to_string()),
        ];
        let mut pairs = Vec::new();
        for property in message.properties.iter() {
            match property {
                Property::PayloadFormatIndicator(flag) => {
                    let flag = u8::from(flag).to_string();
                    variables.push(("MQTT_PAYLOAD_FORMAT_INDICATOR", flag));
                }
                Property::MessageExpiryInterval(time) => {
                    variables.push(("MQTT_MESSAGE_EXPIRY_INTERVAL", time.to_string()));
                }
                Property::ContentType(text) => {
                    variables.push(("MQTT_CONTENT_TYPE", text.to_owned()));
                }
                Property::ResponseTopic(name) => {
                    variables.push(("MQTT_RESPONSE_TOPIC", name.to_owned()));
                }
                Property::CorrelationData(data) => {
                    // Bytes may contain NUL, which no variable can.
                    let text = base64_text(data);
                    variables.push(("MQTT_CORRELATION_DATA_BASE64", text));
                }
                Property::User(name, value) => pairs.push([name, value]),
                _ => {}
            }
        }
        if !pairs.is_empty() {
            // All pairs go into one variable as a JSON list: names may repeat, and may contain characters that the name
            // of a variable must not contain.
            let json = serde_json::to_string(&pairs).unwrap_or_default();
            variables.push(("MQTT_USER_PROPERTIES", json));
        }
        variables
    }
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    /// Set if the response reports a failure.
    pub(super) is_failure: bool,
    pub(super) progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Ready,
    /// The response was sent with this packet identifier. `None` after the loss of a connection, because the session
    /// may resend the response with another packet identifier.
    Sent(Option<PacketIdentifier>),
}

impl Response {
    /// Returns the response to the request of a job, with its QoS and its correlation data.
    pub(super) fn new(job: &Job, topic_name: TopicName, result: Result<Vec<u8>, &str>) -> Self {
        let request = &job.message;
        let mut message = Message::new(topic_name, result.clone().unwrap_or_default());
        let properties = message.properties.insert(Box::default());
        let correlation_data =
            |property: &Property<'_>| matches!(property, Property::CorrelationData(_));
        // Neither property can be rejected: the first one was valid in the request, and the second one is short.
        if let Some(property) = request.properties.iter().find(correlation_data) {
            let _ = properties.push(property);
        }
        if let Err(reason) = result {
            let _ = properties.push(Property::User(FAILURE_PROPERTY, reason));
        }
        Self {
            message: Arc::new(message),
            qos: request.delivery.qos(),
            is_failure: result.is_err(),
            progress: Progress::Ready,
        }
    }

    /// Returns the number of bytes of the topic, the properties and the payload.
    pub(super) fn length(&self) -> usize {
        let message = &self.message;
        let properties = message.properties.as_ref();
        let properties = properties.map_or(0, |properties| properties.encoded_length());
        message.topic_name.len() + properties + message.payload.len()
    }

    /// Publishes the response if it was not published yet. Returns `true` if the response needs no further
    /// acknowledgement. `are_acknowledged` is `true` if the broker has acknowledged all publications.
    pub(super) fn advance(
        &mut self,
        event_loop: &mut EventLoop,
        are_acknowledged: bool,
    ) -> Result<bool, PublishError> {
        match self.progress {
            // After the loss of a connection no acknowledgement can be matched to this response. The response is
            // finished when the broker has acknowledged all publications.
            Progress::Sent(None) => Ok(are_acknowledged),
            Progress::Sent(Some(_)) => Ok(false),
            Progress::Ready => {
                let outbound = OutboundMessage::new(Arc::clone(&self.message), self.qos);
                let identifier = event_loop.publish(outbound)?;
                self.progress = Progress::Sent(identifier);
                Ok(identifier.is_none()) // QoS 0 has no acknowledgement
            }
        }
    }
}
