//! The program `rrr`: publishes a request, waits for the response, and prints it. This file has the options and the
//! plan. The loop is that of rsub (`subscriber/`).

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use mqtt_client::Reconnect;
use mqtt_client::session::Printable;
use mqtt_codec::{Message, Property, ProtocolVersion, Subscription, TopicFilter, TopicName};

use crate::commands::subscriber::{self, Request, SubscribePlan};
use crate::commands::{setup, shared_help};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::help::{Body, Help, Section};
use crate::flags::options::message::message_options;
use crate::flags::options::output::{FORMATS, output_options, retained_options};
use crate::flags::program::Program;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::flags::settings::message::{Content, MessageSettings};
use crate::flags::settings::output::OutputSettings;
use crate::flags::values::topic_name;

/// The settings of rrr.
#[derive(Debug)]
pub(crate) struct RrrSettings {
    connection: ConnectionSettings,
    message: MessageSettings,
    output: OutputSettings,
    response_topic: Option<TopicName>,
    shows_latency: bool,
}

impl Default for RrrSettings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::new(Self::VERSION),
            message: MessageSettings::default(),
            output: OutputSettings::default(),
            response_topic: None,
            shows_latency: false,
        }
    }
}

impl ClientSettings for RrrSettings {
    const VERSION: ProtocolVersion = ProtocolVersion::V5_0;

    fn connection(&mut self) -> &mut ConnectionSettings {
        &mut self.connection
    }

    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure> {
        self.message.topic_name = Some(topic_name(topic, "publish", "-t")?);
        Ok(())
    }
}

impl AsMut<MessageSettings> for RrrSettings {
    fn as_mut(&mut self) -> &mut MessageSettings {
        &mut self.message
    }
}

impl AsMut<OutputSettings> for RrrSettings {
    fn as_mut(&mut self) -> &mut OutputSettings {
        &mut self.output
    }
}

/// Runs the program.
///
/// # Errors
/// The failure that goes to standard error, with its exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    subscriber::run(&program(), arguments)
}

pub(crate) fn program() -> Program<RrrSettings> {
    Program {
        name: "rrr",
        help: HELP,
        after_options_file: Some(setup::end_options_file),
        options: setup::with_shared_options(vec![
            ("Request", request_options()),
            ("Output", output()),
            ("Retained messages", retained_options()),
        ]),
    }
}

const HELP: Help = Help {
    about: "Publish an MQTT request and print the response",
    usage: &["rrr [OPTIONS] -t TOPIC -e TOPIC (-m MESSAGE | -f FILE | -s | -n)"],
    subcommands: &[],
    examples: &[
        (
            "Ask a service, and fail if it does not answer within five seconds",
            "rrr -t time/request -e time/response/me -m now -W 5",
        ),
        (
            "Print how long the answer took",
            "rrr -t time/request -e time/response/me -m now --latency",
        ),
        (
            "Send a file, and print the response with its properties as JSON",
            "rrr -t convert -e convert/me -f in.xml -F %j",
        ),
        (
            "Show every packet of the exchange",
            "rrr -t time/request -e time/response/me -m now --trace",
        ),
    ],
    notes: &[
        FORMATS,
        Section {
            heading: "Exit status",
            body: Body::Rows(&[
                &[(
                    "0",
                    "The response was printed, or SIGINT or SIGTERM ended rrr after it was connected",
                )],
                shared_help::STATUSES,
                shared_help::TIMED_OUT,
                shared_help::REASON_CODES,
                &[(
                    "130, 143",
                    "SIGINT or SIGTERM ended rrr before it was connected",
                )],
            ]),
        },
        shared_help::SYSEXITS,
        shared_help::TIMES,
        shared_help::OPTIONS_FILE,
    ],
};

/// Returns the options about the request.
fn request_options() -> Vec<CommandOption<RrrSettings>> {
    let parts = [topic_options(), message_options()];
    parts.into_iter().flatten().collect()
}

/// Returns the options about the output.
fn output() -> Vec<CommandOption<RrrSettings>> {
    let parts = [output_options(), latency_option()];
    parts.into_iter().flatten().collect()
}

/// Returns the options for the topics.
fn topic_options() -> Vec<CommandOption<RrrSettings>> {
    vec![
        value(
            "-t",
            "--topic",
            "topic",
            "Topic of the request",
            |s: &mut RrrSettings, v| s.add_topic(v),
        )
        .common(),
        value(
            "-e",
            "",
            "response topic",
            "Topic of the response; MQTT 5.0 sends it with the request",
            |s: &mut RrrSettings, v| {
                s.response_topic = Some(topic_name(v, "response", "-e")?);
                Ok(())
            },
        )
        .common()
        .with_value_name("TOPIC"),
    ]
}

/// Returns the option about the output that only rrr has.
fn latency_option() -> Vec<CommandOption<RrrSettings>> {
    vec![
        flag(
            "",
            "--latency",
            "Print the time from the request to the response",
            |s: &mut RrrSettings| {
                s.shows_latency = true;
            },
        )
        .common(),
    ]
}

impl TryFrom<RrrSettings> for SubscribePlan {
    type Error = Failure;

    /// Makes the plan. Returns the first error that can be found without a network.
    fn try_from(settings: RrrSettings) -> Result<Self, Failure> {
        let connection = &settings.connection;
        let mut plan = Self::new("rrr", Reconnect::Never, connection, &settings.output)?;
        // The table of rrr has no -l, so a content of lines cannot occur here.
        let content = settings.message.content()?;
        let (Some(topic_name), Some(Content::Payload(payload)), Some(response_topic)) = (
            settings.message.topic_name,
            content,
            settings.response_topic,
        ) else {
            return Err(Failure::usage(
                "All of topic, message, and response topic must be supplied.",
            )
            .with_hint("Give the topic with -t, the response topic with -e, and the message with one of -m, -f, -s and -n."));
        };
        // rrr uses only the first response, so the broker may have only one message in flight.
        connection.take_at_most(&mut plan.client.options, 1);
        let message = request(topic_name, payload, &response_topic, connection)?;
        // Every topic name is a valid topic filter, except one that starts with `$share/`.
        let filter = TopicFilter::new(&response_topic);
        let topic_filter = filter.map_err(|_| {
            Failure::usage(format!(
                "Invalid response topic '{}'.",
                Printable(&response_topic)
            ))
            .with_hint("rrr cannot subscribe to a topic that starts with '$share/'.")
        })?;
        let subscription = Subscription {
            topic_filter,
            // As in mosquitto_rr, request and subscription have the same QoS: one -q sets both.
            options: settings.output.subscription_options(settings.message.qos),
        };
        Ok(Self {
            subscriptions: vec![subscription],
            // rrr ends after the first response.
            count: Some(1),
            request: Some(Request {
                message: Arc::new(message),
                qos: settings.message.qos,
                response_topic,
                shows_latency: settings.shows_latency,
            }),
            ..plan
        })
    }
}

/// Returns the request. In MQTT 5.0 the request contains the response topic. In older versions the service must know
/// the response topic.
///
/// # Errors
/// If `-D` sets a response topic too.
fn request(
    topic_name: TopicName,
    payload: bytes::Bytes,
    response_topic: &TopicName,
    connection: &ConnectionSettings,
) -> Result<Message, Failure> {
    let mut message = Message::new(topic_name, payload);
    // MQTT 3.1 and 3.1.1 have no properties.
    if connection.version() != ProtocolVersion::V5_0 {
        return Ok(message);
    }
    // The response topic is added after the properties of -D, which keep their order.
    let mut properties = connection.properties.publish.clone().unwrap_or_default();
    if properties
        .push(Property::ResponseTopic(response_topic))
        .is_err()
    {
        let text = "Error in PUBLISH properties: Duplicate response topic.";
        return Err(Failure::unmarked(Status::Failed, text)
            .with_hint("The response topic is given with -e and with -D."));
    }
    message.properties = Some(properties);
    Ok(message)
}
