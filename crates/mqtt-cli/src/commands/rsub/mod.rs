//! The program `rsub`: subscribes to topic filters and prints the messages. This file has the options and the help, and
//! `plan.rs` makes the plan from the settings. The loop is in `subscriber/`, which rrr shares.

mod plan;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use mqtt_codec::{ProtocolVersion, QoS, TopicFilter};

use crate::commands::handlers::{HandlerSettings, handler_options};
use crate::commands::silence::{SilenceSettings, silence_options};
use crate::commands::subscriber;
use crate::commands::{setup, shared_help};
use crate::exit_status::{Status, use_diff_statuses};
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::help::{Body, Help, Section};
use crate::flags::options::output::{FORMATS, output_options, retained_options};
use crate::flags::options::selection::{SelectionSettings, selection_options};
use crate::flags::program::Program;
use crate::flags::settings::connection::{ClientSettings, ConnectionSettings};
use crate::flags::settings::output::OutputSettings;
use crate::flags::values::number;
use crate::flags::values::{qos, time, topic_filter};
use crate::wording::shown;

/// The settings of rsub.
#[derive(Debug)]
pub(crate) struct RsubSettings {
    connection: ConnectionSettings,
    output: OutputSettings,
    selection: SelectionSettings,
    handlers: HandlerSettings,
    silence: SilenceSettings,
    topics: Vec<TopicFilter>,
    unsubscribe: Vec<TopicFilter>,
    filter_out: Vec<TopicFilter>,
    qos: QoS,
    count: Option<u64>,
    only_subscribe: bool,
    retained_only: bool,
    remove_retained: bool,
    snapshot: bool,
    /// The file of `--diff`.
    diff: Option<PathBuf>,
    idle: Option<Duration>,
    chance: Option<f64>,
    message_rate: bool,
    watch: bool,
}

impl Default for RsubSettings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::new(Self::VERSION),
            output: OutputSettings::default(),
            selection: SelectionSettings::default(),
            handlers: HandlerSettings::default(),
            silence: SilenceSettings::default(),
            topics: Vec::new(),
            unsubscribe: Vec::new(),
            filter_out: Vec::new(),
            qos: QoS::AtMostOnce,
            count: None,
            only_subscribe: false,
            retained_only: false,
            remove_retained: false,
            snapshot: false,
            diff: None,
            idle: None,
            chance: None,
            message_rate: false,
            watch: false,
        }
    }
}

impl ClientSettings for RsubSettings {
    const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

    fn connection(&mut self) -> &mut ConnectionSettings {
        &mut self.connection
    }

    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure> {
        self.topics.push(topic_filter(topic, "subscription", "-t")?);
        Ok(())
    }
}

impl AsMut<SelectionSettings> for RsubSettings {
    fn as_mut(&mut self) -> &mut SelectionSettings {
        &mut self.selection
    }
}

impl AsMut<SilenceSettings> for RsubSettings {
    fn as_mut(&mut self) -> &mut SilenceSettings {
        &mut self.silence
    }
}

impl AsMut<HandlerSettings> for RsubSettings {
    fn as_mut(&mut self) -> &mut HandlerSettings {
        &mut self.handlers
    }
}

impl AsMut<OutputSettings> for RsubSettings {
    fn as_mut(&mut self) -> &mut OutputSettings {
        &mut self.output
    }
}

/// Runs the program.
///
/// # Errors
/// The failure that goes to standard error, with its exit status.
pub fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    // With --diff the status for a wrong command line is 2, too. The parser may stop before it reaches --diff, so the
    // words are searched before parsing.
    let is_diff =
        |word: &OsString| word == "--diff" || word.as_encoded_bytes().starts_with(b"--diff=");
    if arguments.iter().any(is_diff) {
        use_diff_statuses();
    }
    subscriber::run(&program(), arguments)
}

pub(crate) fn program() -> Program<RsubSettings> {
    Program {
        name: "rsub",
        help: HELP,
        sources: Some(setup::sources()),
        options: setup::with_shared_options(vec![
            ("Subscription", subscribing_options()),
            ("Ending", ending()),
            ("Silence", silence_options()),
            ("Output", output()),
            ("Handlers", handler_options()),
            ("Retained messages", retained()),
        ]),
    }
}

const HELP: Help = Help {
    about: "Subscribe to MQTT topics and print the messages",
    usage: &["rsub [OPTIONS] (-t TOPIC_FILTER | -U TOPIC_FILTER)... [--exec COMMAND...]"],
    subcommands: &[],
    examples: &[
        (
            "Print the messages of all topics below room, each with its topic",
            "rsub -t 'room/#' -v",
        ),
        (
            "Print one message, or fail after five seconds",
            "rsub -t door -v -C 1 -W 5",
        ),
        (
            "Keep a session, so that messages wait while rsub is away",
            "rsub -c -i logger -q 1 -t 'log/+' >> log.txt",
        ),
        (
            "Print each message as JSON, for jq",
            "rsub -t 'room/#' -F %j | jq .payload",
        ),
        (
            "Run a command for each message, and acknowledge the message when it is done",
            "rsub -c -i worker -q 1 -t 'jobs/#' --exec ./job.sh",
        ),
    ],
    notes: &[
        FORMATS,
        Section {
            heading: "Exit status",
            body: Body::Rows(&[
                &[(
                    "0",
                    "rsub ended as -C, -E, --idle, --snapshot or --retained-only say, by SIGINT or SIGTERM after it was connected, or because the reader of its output went away",
                )],
                &[(
                    "1",
                    "With --diff: the messages differ from the backup. Any other failure of status 1 has status 2",
                )],
                shared_help::STATUSES,
                shared_help::TIMED_OUT,
                shared_help::SILENT,
                shared_help::REASON_CODES,
                &[(
                    "130, 143",
                    "SIGINT or SIGTERM ended rsub before it was connected",
                )],
            ]),
        },
        shared_help::SYSEXITS,
        shared_help::CHECK,
        shared_help::TIMES,
        shared_help::PROFILES,
        shared_help::OPTIONS_FILE,
    ],
};

/// Returns the options about the subscription.
fn subscribing_options() -> Vec<CommandOption<RsubSettings>> {
    vec![
        value(
            "-t",
            "--topic",
            "topic",
            "Topic filter to subscribe to: + stands for one level, # for all further ones. Quote it: '#' starts a comment in the shell. May be repeated",
            |s: &mut RsubSettings, v| s.add_topic(v),
        )
        .common()
        .with_value_name("TOPIC_FILTER"),
        value(
            "-q",
            "--qos",
            "QoS",
            "Highest quality of service: 0 at most once, 1 at least once, 2 exactly once [default: 0]",
            |s: &mut RsubSettings, v| {
                s.qos = qos(v)?;
                Ok(())
            },
        )
        .common(),
        value(
            "-U",
            "--unsubscribe",
            "unsubscribe topic",
            "Topic filter to unsubscribe from, for a session that -c resumes. May be repeated",
            |s: &mut RsubSettings, v| {
                s.unsubscribe.push(topic_filter(v, "unsubscribe", "-U")?);
                Ok(())
            },
        )
        .with_value_name("TOPIC_FILTER"),
    ]
}

/// Returns the options that end the program.
fn ending() -> Vec<CommandOption<RsubSettings>> {
    vec![
        value(
            "-C",
            "",
            "count",
            "End after this many messages",
            |s: &mut RsubSettings, v| {
                let invalid = || {
                    Failure::usage(format!("Invalid message count \"{}\".", shown(v)))
                        .with_hint("The count must be a number of at least 1.")
                };
                s.count = Some(number(v).filter(|count| *count > 0).ok_or_else(invalid)?);
                Ok(())
            },
        )
        .common(),
        value(
            "",
            "--idle",
            "duration",
            "End when no message has come for this time",
            |s: &mut RsubSettings, v| {
                s.idle = Some(time(v, "--idle")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
        flag(
            "-E",
            "",
            "End when the broker has answered the subscriptions",
            |s: &mut RsubSettings| {
                s.only_subscribe = true;
            },
        ),
    ]
}

/// Returns the options about the output.
fn output() -> Vec<CommandOption<RsubSettings>> {
    let parts = [output_options(), selection_options(), own_output_options()];
    parts.into_iter().flatten().collect()
}

/// Returns the options about the output that only rsub has.
fn own_output_options() -> Vec<CommandOption<RsubSettings>> {
    vec![
        value(
            "-T",
            "--filter-out",
            "topic filter",
            "Do not print messages of topics that match this filter. May be repeated",
            |s: &mut RsubSettings, v| {
                s.filter_out.push(topic_filter(v, "filter", "-T")?);
                Ok(())
            },
        ),
        flag(
            "-w",
            "--watch",
            "Keep one line of the terminal for each topic",
            |s: &mut RsubSettings| {
                s.watch = true;
            },
        )
        .common(),
        value(
            "",
            "--random-filter",
            "chance",
            "Print only this percentage of the messages, 0.1 to 100",
            |s: &mut RsubSettings, v| {
                // As in mosquitto_sub, 0 is rejected: it would print nothing, which is likely a mistake.
                let chance = number(v).filter(|chance| (0.1..=100.0).contains(chance));
                let invalid = || {
                    Failure::usage("--random-filter chance must be between 0.1-100.0")
                        .with_hint(format!("The value is '{}'.", shown(v)))
                };
                s.chance = Some(chance.ok_or_else(invalid)?);
                Ok(())
            },
        )
        .with_value_name("PERCENT"),
        flag(
            "",
            "--message-rate",
            "Print the number of messages in each second instead of the messages",
            |s: &mut RsubSettings| {
                s.message_rate = true;
            },
        ),
    ]
}

/// Returns the options about retained messages.
fn retained() -> Vec<CommandOption<RsubSettings>> {
    let parts = [retained_options(), own_retained_options()];
    parts.into_iter().flatten().collect()
}

/// Returns the options about retained messages that only rsub has.
fn own_retained_options() -> Vec<CommandOption<RsubSettings>> {
    vec![
        flag(
            "",
            "--retained-only",
            "Print retained messages only, and end at the first other message",
            |s: &mut RsubSettings| {
                s.retained_only = true;
            },
        ),
        flag(
            "",
            "--snapshot",
            "Print the retained messages, and end when the broker has sent all of them",
            |s: &mut RsubSettings| {
                s.snapshot = true;
            },
        ),
        value(
            "",
            "--diff",
            "file",
            "With --snapshot: print which messages were added, changed or removed since this backup of --jsonl",
            |s: &mut RsubSettings, v| {
                use_diff_statuses();
                s.diff = Some(v.into());
                Ok(())
            },
        ),
        flag(
            "",
            "--remove-retained",
            "Remove each printed retained message from the broker",
            |s: &mut RsubSettings| {
                s.remove_retained = true;
            },
        ),
    ]
}
