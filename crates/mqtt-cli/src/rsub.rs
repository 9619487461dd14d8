//! `rsub`: prints the messages of the topics it subscribes to.

use std::ffi::{OsStr, OsString};
use std::time::Instant;

use mqtt_client::Reconnect;
use mqtt_codec::{ProtocolVersion, QoS, Subscription, TopicFilter};

use crate::arguments::{CommandOption, Program, flag, number, value};
use crate::client;
use crate::exit::{Failure, Status};
use crate::logger;
use crate::options::{
    ClientSettings, ConnectionSettings, OutputSettings, output_options, qos, shown, topic_filter,
};
use crate::printer::Printing;
use crate::subscriber::Plan;

/// What was typed.
#[derive(Debug)]
struct Settings {
    connection: ConnectionSettings,
    output: OutputSettings,
    topics: Vec<TopicFilter>,
    unsubscribe: Vec<TopicFilter>,
    filter_out: Vec<TopicFilter>,
    qos: QoS,
    count: Option<u64>,
    only_subscribe: bool,
    retained_only: bool,
    remove_retained: bool,
    chance: Option<f64>,
    message_rate: bool,
    watch: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connection: ConnectionSettings::new(ProtocolVersion::V3_1_1),
            output: OutputSettings::default(),
            topics: Vec::new(),
            unsubscribe: Vec::new(),
            filter_out: Vec::new(),
            qos: QoS::AtMostOnce,
            count: None,
            only_subscribe: false,
            retained_only: false,
            remove_retained: false,
            chance: None,
            message_rate: false,
            watch: false,
        }
    }
}

impl ClientSettings for Settings {
    fn connection(&mut self) -> &mut ConnectionSettings {
        &mut self.connection
    }

    fn add_topic(&mut self, topic: &OsStr) -> Result<(), Failure> {
        self.topics.push(topic_filter(topic, "subscription", "-t")?);
        Ok(())
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
        name: "rsub",
        about: "Print the messages of MQTT topics",
        after_help: client::STATUSES,
        after_options_file: Some(client::end_options_file),
        options: client::with_shared_options(vec![
            ("What to subscribe to", subscribing_options()),
            ("What to print", output_options()),
        ]),
    }
}

fn subscribing_options() -> Vec<CommandOption<Settings>> {
    vec![
        value(
            "-t",
            "--topic",
            "topic",
            "Topic filter to subscribe to; may be repeated",
            |s: &mut Settings, v| s.add_topic(v),
        ),
        value(
            "-T",
            "--filter-out",
            "topic filter",
            "Topic filter of messages that are not printed; may be repeated",
            |s: &mut Settings, v| {
                s.filter_out.push(topic_filter(v, "filter", "-T")?);
                Ok(())
            },
        ),
        value(
            "-U",
            "--unsubscribe",
            "unsubscribe topic",
            "Topic filter to unsubscribe from; may be repeated",
            |s: &mut Settings, v| {
                s.unsubscribe.push(topic_filter(v, "unsubscribe", "-U")?);
                Ok(())
            },
        ),
        value(
            "-q",
            "--qos",
            "QoS",
            "QoS: 0 once or not at all, 1 once or more, 2 once [0]",
            |s: &mut Settings, v| {
                s.qos = qos(v)?;
                Ok(())
            },
        ),
        value(
            "-C",
            "",
            "count",
            "End after this many messages",
            |s: &mut Settings, v| {
                let invalid = || Failure::usage(format!("Invalid message count \"{}\".", shown(v)));
                s.count = Some(number(v).filter(|count| *count > 0).ok_or_else(invalid)?);
                Ok(())
            },
        ),
        flag(
            "-E",
            "",
            "End when the broker has answered",
            |s: &mut Settings| {
                s.only_subscribe = true;
            },
        ),
        flag(
            "",
            "--retained-only",
            "Print retained messages, and end at the first one that is not",
            |s: &mut Settings| {
                s.retained_only = true;
            },
        ),
        flag(
            "",
            "--remove-retained",
            "Remove the retained messages that are printed from the broker",
            |s: &mut Settings| {
                s.remove_retained = true;
            },
        ),
        value(
            "",
            "--random-filter",
            "chance",
            "Per cent of the messages that are printed, 0.1 to 100",
            |s: &mut Settings, v| {
                let chance = number(v).filter(|chance| (0.1..=100.0).contains(chance));
                let invalid = || Failure::usage("--random-filter chance must be between 0.1-100.0");
                s.chance = Some(chance.ok_or_else(invalid)?);
                Ok(())
            },
        ),
        flag(
            "",
            "--message-rate",
            "Print the number of messages in each second, not the messages",
            |s: &mut Settings| {
                s.message_rate = true;
            },
        ),
        flag(
            "-w",
            "--watch",
            "Give each topic a row of the terminal; no effect on a file or pipe",
            |s: &mut Settings| {
                s.watch = true;
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
        let mut options = connection.client_options("rsub", Reconnect::Always)?;
        if settings.topics.is_empty() && settings.unsubscribe.is_empty() {
            return Err(Failure::usage(
                "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
            ));
        }
        if settings.output.no_retained && settings.retained_only {
            return Err(Failure::usage(
                "Combining '-R' and '--retained-only' makes no sense.",
            ));
        }
        if let Some(count) = settings.count {
            connection.take_at_most(&mut options, count);
        }
        let printing = Printing {
            filter_out: settings.filter_out,
            retained_only: settings.retained_only,
            remove_retained: settings.remove_retained,
            chance: settings.chance,
            // Escape sequences would spoil a file, and confuse the program behind a pipe.
            watch: (settings.watch && settings.output.style().terminal)
                .then(|| connection.first_host().to_owned()),
            message_rate: settings.message_rate,
            ..Printing::from(&settings.output)
        };
        let subscription_options = settings.output.subscription_options(settings.qos);
        let subscription = |topic_filter| Subscription {
            topic_filter,
            options: subscription_options,
        };
        Ok(Self {
            subscriptions: settings.topics.into_iter().map(subscription).collect(),
            unsubscribe: settings.unsubscribe,
            count: settings.count.filter(|_| !settings.message_rate),
            only_subscribe: settings.only_subscribe,
            deadline,
            ..Self::new(connection, options, printing)
        })
    }
}
