//! The program `rrr`: publishes a request, waits for the response, and prints it. With `--serve` it answers requests
//! instead. This file has the options, and `plan.rs` the plan. The loop is that of rsub (`subscriber/`).

mod plan;
mod serving;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use mqtt_codec::{ProtocolVersion, TopicFilter, TopicName};

use crate::commands::handlers::{HandlerSettings, serving_options};
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
use crate::flags::values::{number, time, topic_filter, topic_name};
use crate::wording::shown;

/// The settings of rrr.
#[derive(Debug)]
pub(crate) struct RrrSettings {
    connection: ConnectionSettings,
    message: MessageSettings,
    output: OutputSettings,
    handlers: HandlerSettings,
    /// The topics of `-t` as filters, for `--serve`.
    topic_filters: Vec<TopicFilter>,
    /// The error for a value of `-t` that is not a topic name. The error does not apply with `--serve`, which takes
    /// topic filters.
    invalid_topic: Option<Failure>,
    response_topic: Option<TopicName>,
    shows_latency: bool,
    /// The count of `--gather`.
    gather: Option<u64>,
    /// The time of `--gather-for`.
    gather_for: Option<Duration>,
}

impl Default for RrrSettings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::new(Self::VERSION),
            message: MessageSettings::default(),
            output: OutputSettings::default(),
            handlers: HandlerSettings::default(),
            topic_filters: Vec::new(),
            invalid_topic: None,
            response_topic: None,
            shows_latency: false,
            gather: None,
            gather_for: None,
        }
    }
}

impl ClientSettings for RrrSettings {
    const VERSION: ProtocolVersion = ProtocolVersion::V5_0;

    fn connection(&mut self) -> &mut ConnectionSettings {
        &mut self.connection
    }

    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure> {
        // `--serve` is the last option, so `-t` may turn out to be a filter of requests.
        let filter = topic_filter(topic, "subscription", "-t");
        let is_filter = filter.is_ok();
        self.topic_filters.extend(filter);
        match topic_name(topic, "publish", "-t") {
            Ok(name) => self.message.topic_name = Some(name),
            Err(failure) if is_filter => self.invalid_topic = Some(failure),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

impl AsMut<MessageSettings> for RrrSettings {
    fn as_mut(&mut self) -> &mut MessageSettings {
        &mut self.message
    }
}

impl AsMut<HandlerSettings> for RrrSettings {
    fn as_mut(&mut self) -> &mut HandlerSettings {
        &mut self.handlers
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
            ("Service", serving_options()),
            ("Output", output()),
            ("Retained messages", retained_options()),
        ]),
    }
}

const HELP: Help = Help {
    about: "Publish an MQTT request and print the response, or answer requests",
    usage: &[
        "rrr [OPTIONS] -t TOPIC [-e TOPIC] (-m MESSAGE | -f FILE | -s | -n)",
        "rrr [OPTIONS] -t TOPIC_FILTER... --serve COMMAND...",
    ],
    subcommands: &[],
    examples: &[
        (
            "Ask a service, and fail if it does not answer within five seconds",
            "rrr -t time -m now -W 5",
        ),
        (
            "Print the responses of all services that answer within two seconds",
            "rrr -t who -n --gather-for 2s",
        ),
        (
            "Answer requests with the output of a command",
            "rrr -t time -q 1 --serve date",
        ),
    ],
    notes: &[
        FORMATS,
        Section {
            heading: "Exit status",
            body: Body::Rows(&[
                &[(
                    "0",
                    "The responses were printed, or SIGINT or SIGTERM ended rrr after it was connected",
                )],
                shared_help::STATUSES,
                shared_help::TIMED_OUT,
                shared_help::REASON_CODES,
                &[(
                    "130, 143",
                    "SIGINT or SIGTERM ended rrr before it was connected; without -e, or with --gather or --gather-for, before it had the responses",
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
    let parts = [topic_options(), message_options(), gathering_options()];
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
            "Topic of the request, or topic filter of --serve",
            |s: &mut RrrSettings, v| s.add_topic(v),
        )
        .common(),
        value(
            "-e",
            "",
            "response topic",
            "Topic of the response [default in 5.0: a new one]",
            |s: &mut RrrSettings, v| {
                s.response_topic = Some(topic_name(v, "response", "-e")?);
                Ok(())
            },
        )
        .common()
        .with_value_name("TOPIC"),
    ]
}

/// Returns the options for the responses of several services.
fn gathering_options() -> Vec<CommandOption<RrrSettings>> {
    vec![
        value(
            "",
            "--gather",
            "count",
            "Wait for this many responses, and print each when it comes [default: 1]",
            |s: &mut RrrSettings, v| {
                let invalid = || {
                    Failure::usage(format!("Invalid value given for --gather: {}", shown(v)))
                        .with_hint("The value must be a number of at least 1.")
                };
                s.gather = Some(number(v).filter(|count| *count > 0).ok_or_else(invalid)?);
                Ok(())
            },
        ),
        value(
            "",
            "--gather-for",
            "duration",
            "Print all responses that come within this time; with --gather, stop after that number",
            |s: &mut RrrSettings, v| {
                s.gather_for = Some(time(v, "--gather-for")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
    ]
}

/// Returns the option about the output that only rrr has.
fn latency_option() -> Vec<CommandOption<RrrSettings>> {
    vec![flag(
        "",
        "--latency",
        "Print the time from the request to the response",
        |s: &mut RrrSettings| {
            s.shows_latency = true;
        },
    )]
}
