//! The program `rrr`: publishes a request, waits for the response, and prints it. This file has the options, and
//! `plan.rs` the plan. The loop is that of rsub (`subscriber/`).

mod plan;

use std::ffi::{OsStr, OsString};

use mqtt_codec::{ProtocolVersion, TopicName};

use crate::commands::subscriber;
use crate::commands::{setup, shared_help};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::help::{Body, Help, Section};
use crate::flags::options::message::message_options;
use crate::flags::options::output::{FORMATS, output_options, retained_options};
use crate::flags::program::Program;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::flags::settings::message::MessageSettings;
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
        sources: Some(setup::sources()),
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
        shared_help::PROFILES,
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
