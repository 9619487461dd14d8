//! `rrr`: publishes a request, waits for the response, and prints it.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Instant;

use mqtt_client::Reconnect;
use mqtt_codec::{Message, Property, ProtocolVersion, Subscription, TopicFilter, TopicName};

use crate::arguments::{CommandOption, Program, flag, value};
use crate::client;
use crate::exit::{Failure, Status};
use crate::logger;
use crate::options::{
    ClientSettings, ConnectionSettings, Content, MessageSettings, OutputSettings, message_options,
    output_options, topic_name,
};
use crate::printer::Printing;
use crate::subscriber::{Plan, Request};

/// What was typed.
#[derive(Debug)]
struct Settings {
    connection: ConnectionSettings,
    message: MessageSettings,
    output: OutputSettings,
    response_topic: Option<TopicName>,
    shows_latency: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::new(ProtocolVersion::V5_0),
            message: MessageSettings::default(),
            output: OutputSettings::default(),
            response_topic: None,
            shows_latency: false,
        }
    }
}

impl ClientSettings for Settings {
    fn connection(&mut self) -> &mut ConnectionSettings {
        &mut self.connection
    }

    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure> {
        self.message.topic_name = Some(topic_name(topic, "publish", "-t")?);
        Ok(())
    }
}

impl AsMut<MessageSettings> for Settings {
    fn as_mut(&mut self) -> &mut MessageSettings {
        &mut self.message
    }
}

impl AsMut<OutputSettings> for Settings {
    fn as_mut(&mut self) -> &mut OutputSettings {
        &mut self.output
    }
}

/// Runs the program.
///
/// # Errors
/// What goes to standard error, with the exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    match client::start(&program(), arguments, logger::start_for_subscriber)? {
        Some(settings) => Plan::try_from(settings)?.run(),
        None => Ok(Status::Success),
    }
}

fn program() -> Program<Settings> {
    Program {
        name: "rrr",
        about: "Publish an MQTT request, and print the response",
        after_help: client::STATUSES,
        after_options_file: Some(client::end_options_file),
        options: client::with_shared_options(vec![
            ("Request and response", request_options()),
            ("What to publish", message_options()),
            ("What to print", output_options()),
        ]),
    }
}

fn request_options() -> Vec<CommandOption<Settings>> {
    vec![
        value(
            "-t",
            "--topic",
            "topic",
            "Topic that the request is published to",
            |s: &mut Settings, v| s.add_topic(v),
        ),
        value(
            "-e",
            "",
            "response topic",
            "Topic where the response is expected",
            |s: &mut Settings, v| {
                s.response_topic = Some(topic_name(v, "response", "-e")?);
                Ok(())
            },
        ),
        flag(
            "",
            "--latency",
            "Print the time from request to response",
            |s: &mut Settings| {
                s.shows_latency = true;
            },
        ),
    ]
}

impl TryFrom<Settings> for Plan {
    type Error = Failure;

    /// All that can fail without the network.
    fn try_from(settings: Settings) -> Result<Self, Failure> {
        // From here on, whatever takes time.
        let deadline = settings
            .output
            .timeout
            .map(|timeout| Instant::now() + timeout);
        let connection = &settings.connection;
        let mut options = connection.client_options("rrr", Reconnect::Never)?;
        let content = settings.message.content()?;
        let (Some(topic_name), Some(Content::Payload(payload)), Some(response_topic)) = (
            settings.message.topic_name,
            content,
            settings.response_topic,
        ) else {
            return Err(Failure::usage(
                "All of topic, message, and response topic must be supplied.",
            )
            .with_hint("Give them with -t, one of -f, -m, -n and -s, and -e."));
        };
        connection.take_at_most(&mut options, 1);
        let message = request(topic_name, payload, &response_topic, connection)?;
        let filter = TopicFilter::new(&response_topic);
        let topic_filter = filter.map_err(|_| Failure::usage("Invalid response topic."))?;
        let subscription = Subscription {
            topic_filter,
            options: settings.output.subscription_options(settings.message.qos),
        };
        Ok(Self {
            subscriptions: vec![subscription],
            count: Some(1),
            deadline,
            request: Some(Request {
                message: Arc::new(message),
                qos: settings.message.qos,
                response_topic,
                shows_latency: settings.shows_latency,
            }),
            ..Self::new(connection, options, Printing::from(&settings.output))
        })
    }
}

/// With the response topic in it, where the version has a place for that.
fn request(
    topic_name: TopicName,
    payload: bytes::Bytes,
    response_topic: &TopicName,
    connection: &ConnectionSettings,
) -> Result<Message, Failure> {
    let mut message = Message::new(topic_name, payload);
    if connection.version() != ProtocolVersion::V5_0 {
        return Ok(message);
    }
    let mut properties = connection.properties.publish.clone().unwrap_or_default();
    if properties
        .push(Property::ResponseTopic(response_topic))
        .is_err()
    {
        let text = "Error in PUBLISH properties: Duplicate response topic.";
        return Err(Failure::unmarked(Status::Failed, text).with_hint("-e names it already."));
    }
    message.properties = Some(properties);
    Ok(message)
}
