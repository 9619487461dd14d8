//! The options of handlers.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use mqtt_client::session::Printable;
use mqtt_codec::{TopicFilter, TopicName};

use crate::exit_status::Class;
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, rest, value};
use crate::flags::values::{number, time, topic_filter, topic_name};
use crate::wording::{shown, system_text};

use super::response_settings::ResponseSettings;

/// The settings of handlers.
#[derive(Debug, Clone)]
pub(in crate::commands) struct HandlerSettings {
    /// The words of `--exec`.
    command: Vec<OsString>,
    /// The rows of `--exec-table`.
    table: Vec<(TopicFilter, Vec<OsString>)>,
    /// Set if a handler stays, and gets its messages as lines of JSON.
    pub(super) is_stdio: bool,
    /// The number of handlers that run at a time.
    pub(super) jobs: usize,
    /// The number of further runs after a failure.
    pub(super) retries: u32,
    pub(super) dead_letter: Option<TopicName>,
    pub(super) timeout: Option<Duration>,
    /// The settings of `rrr --serve`. The output of the handlers then becomes responses.
    pub(in crate::commands) responses: Option<ResponseSettings>,
}

impl Default for HandlerSettings {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            table: Vec::new(),
            is_stdio: false,
            jobs: 1,
            retries: 0,
            dead_letter: None,
            timeout: None,
            responses: None,
        }
    }
}

impl HandlerSettings {
    /// Returns `true` if messages go to handlers.
    pub(in crate::commands) fn is_used(&self) -> bool {
        !self.command.is_empty() || !self.table.is_empty()
    }

    /// Checks that the options do not contradict each other.
    ///
    /// # Errors
    /// If `--stdio` has no command.
    pub(in crate::commands) fn check(&self) -> Result<(), Failure> {
        if self.is_stdio && !self.is_used() {
            let hint = "--exec takes all words that follow, so --stdio comes before it.";
            return Err(
                Failure::usage("--stdio needs a command (--exec or --exec-table).").with_hint(hint),
            );
        }
        Ok(())
    }

    /// Returns the topic filters of the table.
    pub(in crate::commands) fn topic_filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.table.iter().map(|(filter, _)| filter)
    }

    /// Returns the words of the handler for a topic: those of the first row of the table that matches, or of `--exec`.
    pub(super) fn command(&self, topic_name: &str) -> Option<&[OsString]> {
        let mut rows = self.table.iter();
        let row = rows.find(|(filter, _)| filter.matches(topic_name));
        let command = row.map_or(&self.command, |(_, command)| command);
        (!command.is_empty()).then_some(command)
    }
}

/// Returns the options of handlers.
pub(in crate::commands) fn handler_options<S: AsMut<HandlerSettings>>() -> Vec<CommandOption<S>> {
    let jobs_help = "Run this many commands at a time, one for each topic [default: 1]";
    let parts = [command_options(), run_options(jobs_help), failure_options()];
    parts.into_iter().flatten().collect()
}

/// Returns the options of `rrr --serve`.
pub(in crate::commands) fn serving_options<S: AsMut<HandlerSettings>>() -> Vec<CommandOption<S>> {
    let mut options = vec![rest(
        "--serve",
        "command",
        "Answer each request of -t with the output of this command. Takes all words that follow",
        |s: &mut S, words| {
            s.as_mut().command = words.to_vec();
            Ok(())
        },
    )
    .common()];
    let jobs_help = "Run this many commands at a time, one for each response topic [default: 1]";
    options.extend(run_options(jobs_help));
    options
}

/// Returns the options for the command of each message.
fn command_options<S: AsMut<HandlerSettings>>() -> Vec<CommandOption<S>> {
    vec![
        rest(
            "--exec",
            "command",
            "Run this command for each message, and acknowledge the message after status 0. Takes all words that follow",
            |s: &mut S, words| {
                s.as_mut().command = words.to_vec();
                Ok(())
            },
        ),
        value(
            "",
            "--exec-table",
            "file",
            "Subscribe to the topic filters of this file and run their commands; each line is a filter and a command",
            |s: &mut S, v| {
                s.as_mut().table = read_table(v)?;
                Ok(())
            },
        ),
        flag(
            "",
            "--stdio",
            "Keep the command running: it reads each message as a line of JSON, and writes the line 'ok' or 'error TEXT' for each",
            |s: &mut S| s.as_mut().is_stdio = true,
        ),
    ]
}

/// Returns the options for the runs of a command.
fn run_options<S: AsMut<HandlerSettings>>(jobs_help: &'static str) -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--exec-timeout",
            "duration",
            "Kill a command that runs longer than this time; the run has failed",
            |s: &mut S, v| {
                s.as_mut().timeout = Some(time(v, "--exec-timeout")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
        value("", "--jobs", "count", jobs_help, |s: &mut S, v| {
            let invalid = || {
                Failure::usage(format!("Invalid value given for --jobs: {}", shown(v)))
                    .with_hint("The value must be a number of at least 1.")
            };
            let jobs = number(v).filter(|jobs| *jobs > 0);
            s.as_mut().jobs = jobs.ok_or_else(invalid)?;
            Ok(())
        }),
        value(
            "",
            "--retries",
            "count",
            "Run a command that has failed this many times more, with growing waits [default: 0]",
            |s: &mut S, v| {
                let invalid = || {
                    Failure::usage(format!("Invalid value given for --retries: {}", shown(v)))
                        .with_hint("The value must be a number.")
                };
                s.as_mut().retries = number(v).ok_or_else(invalid)?;
                Ok(())
            },
        ),
    ]
}

/// Returns the options for messages whose last run has failed.
fn failure_options<S: AsMut<HandlerSettings>>() -> Vec<CommandOption<S>> {
    vec![value(
        "",
        "--dead-letter",
        "topic",
        "Publish a message whose last run has failed to this topic, and continue; without it rsub ends",
        |s: &mut S, v| {
            s.as_mut().dead_letter = Some(topic_name(v, "dead letter", "--dead-letter")?);
            Ok(())
        },
    )]
}

/// Reads the file of `--exec-table`.
fn read_table(path: &OsStr) -> Result<Vec<(TopicFilter, Vec<OsString>)>, Failure> {
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| {
        let (path, text) = (shown(path), system_text(&error));
        Failure::usage(format!(
            "Unable to read file \"{path}\": {text} (option --exec-table)."
        ))
        .with_class(Class::NoInput)
    })?;
    let mut table = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // The words are separated by blanks, and nothing is quoted or expanded. The file has no comments, because '#'
        // may begin a topic filter.
        let mut words = line.split_whitespace();
        let Some(filter) = words.next() else {
            continue;
        };
        let place = format!("line {} of {}", index + 1, shown(path));
        let filter = topic_filter(OsStr::new(filter), "subscription", "--exec-table");
        let filter = filter.map_err(|failure| failure.at(&*place))?;
        let command: Vec<_> = words.map(OsString::from).collect();
        if command.is_empty() {
            let text = format!(
                "No command follows the topic filter '{}'.",
                Printable(&filter)
            );
            return Err(Failure::usage(text).at(place));
        }
        table.push((filter, command));
    }
    Ok(table)
}
