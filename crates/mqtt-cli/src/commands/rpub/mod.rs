//! The program `rpub`: publishes one message, once or repeatedly, or one message for each line of standard input. This
//! file has the options and the help. `publisher/` has the loop.

mod line_message;
mod line_numbers;
mod plan;
mod progress;
mod publisher;
mod report;
mod stdin_lines;

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use mqtt_client::Reconnect;
use mqtt_codec::{ProtocolVersion, TopicName};

use crate::commands::rpub::plan::PublishPlan;
use crate::commands::{setup, shared_help};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::help::{Body, Help, Section};
use crate::flags::options::message::message_options;
use crate::flags::program::Program;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::flags::settings::message::{Content, LineForm, MessageSettings, OnError};
use crate::flags::values::topic_name;
use crate::flags::values::{duration, number};
use crate::output::logger;
use crate::wording::shown;

/// The time for which `-l` and `--jsonl` try to reconnect. For a single message the loss of the connection ends the
/// program, as in mosquitto_pub.
const RECONNECT_FOR: Duration = Duration::from_secs(120);

/// The settings of rpub.
#[derive(Debug)]
pub(crate) struct RpubSettings {
    connection: ConnectionSettings,
    message: MessageSettings,
    retain: bool,
    repeat: u64,
    delay: Duration,
}

impl Default for RpubSettings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::new(Self::VERSION),
            message: MessageSettings::default(),
            retain: false,
            repeat: 1,
            delay: Duration::ZERO,
        }
    }
}

impl ClientSettings for RpubSettings {
    const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

    fn connection(&mut self) -> &mut ConnectionSettings {
        &mut self.connection
    }

    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure> {
        self.message.topic_name = Some(topic_name(topic, "publish", "-t")?);
        Ok(())
    }
}

impl AsMut<MessageSettings> for RpubSettings {
    fn as_mut(&mut self) -> &mut MessageSettings {
        &mut self.message
    }
}

/// Runs the program.
///
/// # Errors
/// The failure that goes to standard error, with its exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    setup::run(
        &program(),
        arguments,
        logger::start_for_publisher,
        |settings, verdict| publisher::run(PublishPlan::try_from(settings)?, verdict),
    )
}

pub(crate) fn program() -> Program<RpubSettings> {
    Program {
        name: "rpub",
        help: HELP,
        sources: Some(setup::sources()),
        options: setup::with_shared_options(vec![("Message", message())]),
    }
}

const HELP: Help = Help {
    about: "Publish MQTT messages",
    usage: &[
        "rpub [OPTIONS] -t TOPIC (-m MESSAGE | -f FILE | -s | -l | -n)",
        "rpub [OPTIONS] --jsonl",
    ],
    subcommands: &[],
    examples: &[
        (
            "Publish a message to the broker on this machine",
            "rpub -t room/temperature -m 21.5",
        ),
        (
            "Publish with QoS 1 over TLS, and let the broker retain the message",
            "rpub -h broker.example.org -p 8883 -u me -t door -m open -q 1 -r",
        ),
        ("Delete a retained message", "rpub -t door -r -n"),
        (
            "Publish each line of a log as a message",
            "tail -f app.log | rpub -t log/app -l",
        ),
        (
            "Show the packets of QoS 2",
            "rpub -t room/temperature -m 21.5 -q 2 --trace",
        ),
    ],
    notes: &[
        Section {
            heading: "Exit status",
            body: Body::Rows(&[
                &[(
                    "0",
                    "Every message was published, and acknowledged with QoS 1 and 2",
                )],
                shared_help::STATUSES,
                shared_help::TIMED_OUT,
                shared_help::REASON_CODES,
                &[(
                    "130, 143",
                    "SIGINT or SIGTERM ended rpub before every message was published",
                )],
            ]),
        },
        shared_help::SYSEXITS,
        shared_help::TIMES,
        shared_help::PROFILES,
        shared_help::OPTIONS_FILE,
    ],
};

/// Returns the options about the message.
fn message() -> Vec<CommandOption<RpubSettings>> {
    let parts = [topic_option(), message_options(), publishing_options()];
    parts.into_iter().flatten().collect()
}

/// Returns the option for the topic.
fn topic_option() -> Vec<CommandOption<RpubSettings>> {
    vec![
        value(
            "-t",
            "--topic",
            "topic",
            "Topic to publish to",
            |s: &mut RpubSettings, v| s.add_topic(v),
        )
        .common(),
    ]
}

/// Returns the options about the message that only rpub has.
fn publishing_options() -> Vec<CommandOption<RpubSettings>> {
    vec![
        flag(
            "-l",
            "--stdin-line",
            "Publish each line of standard input as a message",
            |s: &mut RpubSettings| {
                s.message.add_lines();
            },
        )
        .common(),
        flag(
            "",
            "--jsonl",
            "Publish each line of standard input, or of the file of -f, as the message that rsub --jsonl printed",
            |s: &mut RpubSettings| {
                s.message.jsonl = true;
            },
        )
        .common(),
        flag(
            "",
            "--with-topic",
            "Let each line of -l begin with its topic and a blank, as rsub -v prints them",
            |s: &mut RpubSettings| {
                s.message.with_topic = true;
            },
        ),
        flag(
            "-0",
            "--null",
            "Let the lines of -l and --jsonl end with NUL instead of a newline, as those of rsub -0",
            |s: &mut RpubSettings| {
                s.message.nul = true;
            },
        ),
        value(
            "",
            "--on-error",
            "reaction",
            "Reaction to a line that is not a message: skip the line, or stop reading; both end with a failure [default: stop]",
            |s: &mut RpubSettings, v| {
                s.message.on_error = match v.to_str() {
                    Some("skip") => OnError::Skip,
                    Some("stop") => OnError::Stop,
                    _ => {
                        let text = format!("Unknown value '{}' for --on-error.", shown(v));
                        return Err(
                            Failure::usage(text).with_hint("The value must be skip or stop.")
                        );
                    }
                };
                Ok(())
            },
        ),
        flag(
            "-r",
            "--retain",
            "Retain the message for later subscribers",
            |s: &mut RpubSettings| {
                s.retain = true;
            },
        )
        .common(),
        value(
            "",
            "--repeat",
            "count",
            "Publish the message this many times [default: 1]",
            |s: &mut RpubSettings, v| {
                let invalid = || {
                    Failure::usage("--repeat argument must be >0.")
                        .with_hint(format!("The value is '{}'.", shown(v)))
                };
                s.repeat = number(v).filter(|count| *count > 0).ok_or_else(invalid)?;
                Ok(())
            },
        ),
        value(
            "",
            "--repeat-delay",
            "time",
            "Wait this time between two messages of --repeat [default: 0]",
            |s: &mut RpubSettings, v| {
                // 0 is the default and so is permitted, unlike for -W.
                let delay = duration(v);
                let invalid = || {
                    Failure::usage("--repeat-delay argument must be >=0.0.").with_hint(format!(
                        "The value is '{}': write a time as seconds or with units, such as 1.5 or 2m.",
                        shown(v)
                    ))
                };
                s.delay = delay.ok_or_else(invalid)?;
                Ok(())
            },
        )
        .with_value_name("TIME"),
    ]
}

impl TryFrom<RpubSettings> for PublishPlan {
    type Error = Failure;

    /// Makes the plan. Returns the first error that can be found without a network.
    fn try_from(settings: RpubSettings) -> Result<Self, Failure> {
        let connection = &settings.connection;
        let content = settings.message.content()?;
        let reconnect = match content {
            // A program may write to the pipe for months, and its lines would be lost if rpub ended. For a single
            // message the caller can start rpub again.
            Some(Content::Lines(_)) => Reconnect::For(RECONNECT_FOR),
            _ => Reconnect::Never,
        };
        let mut options = connection.client_options("rpub", reconnect)?;
        // A line that the broker rejects by closing the connection must not block the lines after it.
        options.maximum_losses = Some(plan::MAXIMUM_LOSSES);
        let topic: Option<TopicName> = settings.message.topic_name;
        // Checked last, so that an invalid option is reported before a missing option.
        let needs_topic = match &content {
            Some(Content::Lines(lines)) => lines.form == LineForm::Payload,
            _ => true,
        };
        let (true, Some(content)) = (topic.is_some() || !needs_topic, content) else {
            return Err(
                Failure::usage("Both topic and message must be supplied.").with_hint(
                    "Give the topic with -t, and the message with one of -f, -l, -m, -n and -s.",
                ),
            );
        };
        let mut plan = Self::new(connection, options, topic, content);
        plan.qos = settings.message.qos;
        plan.retain = settings.retain;
        plan.repeat = settings.repeat;
        plan.delay = settings.delay;
        Ok(plan)
    }
}
