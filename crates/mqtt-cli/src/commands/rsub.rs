//! The program `rsub`: subscribes to topic filters and prints the messages. This file has the options, the help and the
//! plan. The loop is in `subscriber/`, which rrr shares.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use mqtt_client::Reconnect;
use mqtt_codec::{ProtocolVersion, QoS, RetainHandling, Subscription, TopicFilter};

use crate::commands::handlers::{HandlerSettings, handler_options};
use crate::commands::silence::{SilenceSettings, cannot_combine, silence_options};
use crate::commands::subscriber::{self, SubscribePlan};
use crate::commands::{setup, shared_help};
use crate::exit_status::Status;
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
use crate::output::printer::Printing;
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

impl TryFrom<RsubSettings> for SubscribePlan {
    type Error = Failure;

    /// Makes the plan. Returns the first error that can be found without a network.
    fn try_from(mut settings: RsubSettings) -> Result<Self, Failure> {
        settings.check_silence()?;
        let connection = &settings.connection;
        // After a reconnect the broker would send all retained messages of a snapshot again.
        let reconnect = if settings.snapshot {
            Reconnect::Never
        } else {
            Reconnect::Always
        };
        let mut plan = Self::new("rsub", reconnect, connection, &settings.output)?;
        // -U without -t is permitted: with -c, rsub removes subscriptions of an earlier run.
        if settings.topics.is_empty()
            && settings.unsubscribe.is_empty()
            && settings.handlers.topic_filters().next().is_none()
        {
            return Err(Failure::usage(
                "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
            ));
        }
        // -R drops the messages that --retained-only waits for, so rsub would wait for ever.
        if settings.snapshot && (settings.output.no_retained || settings.output.retain_as_published)
        {
            return Err(Failure::usage(
                "--snapshot cannot be combined with -R or --retain-as-published.",
            ));
        }
        if settings.output.no_retained && settings.retained_only {
            return Err(Failure::usage(
                "Combining '-R' and '--retained-only' makes no sense.",
            ));
        }
        // --random-filter would withhold the last message of a topic, although --on-change counts it as printed.
        let selection = settings.selection.rules()?;
        if selection.is_some() && settings.chance.is_some() {
            return Err(Failure::usage(
                "--random-filter cannot be combined with --on-change or --every.",
            ));
        }
        // With -C, the broker must not have more messages in flight than this run prints, because rsub would leave the
        // others unacknowledged.
        if let Some(count) = settings.count {
            connection.take_at_most(&mut plan.client.options, count);
        }
        plan.printing = Printing {
            filter_out: settings.filter_out.clone(),
            retained_only: settings.retained_only,
            remove_retained: settings.remove_retained,
            is_snapshot: settings.snapshot,
            selection,
            chance: settings.chance,
            // --watch needs a terminal. Its escape sequences would spoil a file or a pipe.
            watch: (settings.watch && settings.output.style().terminal)
                .then(|| connection.first_host().to_owned()),
            message_rate: settings.message_rate,
            is_silent: settings.handlers.is_used() || settings.silence.is_check,
            ..plan.printing
        };
        let mut topics = settings.topics;
        topics.extend(settings.handlers.topic_filters().cloned());
        let is_check = settings.silence.is_check;
        let expectation = settings.silence;
        let expectation = expectation.expectation(topics.clone(), settings.filter_out)?;
        let subscription_options = settings.output.subscription_options(settings.qos);
        // All filters have the same options and are sent in one SUBSCRIBE.
        let subscription = |topic_filter| Subscription {
            topic_filter,
            options: subscription_options,
        };
        Ok(Self {
            subscriptions: topics.into_iter().map(subscription).collect(),
            unsubscribe: settings.unsubscribe,
            // With --message-rate rsub prints no messages, so -C has nothing to count.
            count: settings.count.filter(|_| !settings.message_rate),
            only_subscribe: settings.only_subscribe,
            is_snapshot: settings.snapshot,
            idle: settings.idle,
            expectation,
            is_check,
            handlers: settings.handlers.is_used().then_some(settings.handlers),
            ..plan
        })
    }
}

impl RsubSettings {
    /// Checks the options about silence together with the others.
    ///
    /// # Errors
    /// If `--expect` or `--check` is combined with an option that contradicts it.
    fn check_silence(&mut self) -> Result<(), Failure> {
        let other_ends = [
            ("-C", self.count.is_some()),
            ("--idle", self.idle.is_some()),
            ("--snapshot", self.snapshot),
            ("--retained-only", self.retained_only),
            ("--remove-retained", self.remove_retained),
            ("--exec", self.handlers.is_used()),
            ("--watch", self.watch),
            ("--message-rate", self.message_rate),
        ];
        let other_end = other_ends.into_iter().find(|(_, is_given)| *is_given);
        if let (Some((option, _)), true) = (other_end, self.silence.is_check) {
            return Err(cannot_combine("--check", option));
        }
        if self.only_subscribe && self.silence.is_used() {
            return Err(cannot_combine("--expect", "-E"));
        }
        // With Retain As Published, RETAIN does not show that a message is old. If the broker sends no old messages, all
        // of them count. MQTT before 5.0 has neither option.
        let is_unclear = self.silence.is_used()
            && !self.silence.counts_retained
            && self.output.retain_as_published
            && self.connection.version() == ProtocolVersion::V5_0;
        if is_unclear {
            if self.output.retain_handling != Some(RetainHandling::DoNotSend) {
                let failure = cannot_combine("--expect", "--retain-as-published");
                return Err(failure.with_hint(
                    "Old retained messages look like new ones then. Add --retain-handling never, or --expect-retained to count them.",
                ));
            }
            self.silence.counts_retained = true;
        }
        Ok(())
    }
}
