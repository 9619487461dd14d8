//! The options about silence.

use std::ffi::OsString;
use std::time::Duration;

use mqtt_codec::TopicFilter;

use crate::exit_status::use_plugin_statuses;
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, value};
use crate::flags::values::{period, text};
use crate::wording::shown;

/// The settings about silence.
#[derive(Debug, Default)]
pub(in crate::commands) struct SilenceSettings {
    limit: Option<Duration>,
    warning: Option<Duration>,
    pub(in crate::commands) counts_retained: bool,
    pub(in crate::commands) is_check: bool,
    command: Option<Vec<OsString>>,
}

/// The messages that are expected, after every check that needs no network.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Expectation {
    /// The time without a message after which a filter is silent.
    pub(super) limit: Duration,
    /// The time of `--warn-after`.
    pub(super) warning: Option<Duration>,
    /// Set if a retained message counts.
    pub(super) counts_retained: bool,
    pub(super) is_check: bool,
    /// The words of `--on-silence`.
    pub(super) command: Option<Vec<OsString>>,
    pub(super) filters: Vec<TopicFilter>,
    /// Messages that match these filters of `-T` do not count.
    pub(super) excluded: Vec<TopicFilter>,
}

impl SilenceSettings {
    /// Returns `true` if `--expect` was given.
    pub(in crate::commands) fn is_used(&self) -> bool {
        self.limit.is_some()
    }

    /// Returns the expectation for these filters, or `None` without `--expect`.
    ///
    /// # Errors
    /// If the options contradict each other.
    pub(in crate::commands) fn expectation(
        self,
        filters: Vec<TopicFilter>,
        excluded: Vec<TopicFilter>,
    ) -> Result<Option<Expectation>, Failure> {
        let Some(limit) = self.limit else {
            let given = [
                ("--check", self.is_check),
                ("--on-silence", self.command.is_some()),
                ("--warn-after", self.warning.is_some()),
                ("--expect-retained", self.counts_retained),
            ];
            let given = given.into_iter().find(|(_, is_given)| *is_given);
            return match given {
                Some((option, _)) => Err(Failure::usage(format!("{option} needs --expect."))),
                None => Ok(None),
            };
        };
        if filters.is_empty() {
            return Err(Failure::usage("--expect needs a topic filter (-t)."));
        }
        if self.is_check && self.command.is_some() {
            return Err(cannot_combine("--check", "--on-silence"));
        }
        if let Some(warning) = self.warning {
            if !self.is_check {
                return Err(Failure::usage("--warn-after needs --check."));
            }
            if warning >= limit {
                let text = "The time of --warn-after must be shorter than the time of --expect.";
                return Err(Failure::usage(text));
            }
        }
        Ok(Some(Expectation {
            limit,
            warning: self.warning,
            counts_retained: self.counts_retained,
            is_check: self.is_check,
            command: self.command,
            filters,
            excluded,
        }))
    }
}

/// Returns the error for two options that exclude each other.
pub(in crate::commands) fn cannot_combine(option: &str, other: &str) -> Failure {
    Failure::usage(format!("{option} cannot be combined with {other}."))
}

/// Returns the options about silence.
pub(in crate::commands) fn silence_options<S: AsMut<SilenceSettings>>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "",
            "--expect",
            "duration",
            "End with status 40 when a topic filter has had no message for this time",
            |s: &mut S, v| {
                s.as_mut().limit = Some(period(v, "--expect")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
        value(
            "",
            "--on-silence",
            "command",
            "With --expect: run this command instead of ending; its words are separated by blanks, and no shell reads them",
            |s: &mut S, v| {
                let words = text(v, "--on-silence")?;
                let command: Vec<_> = words.split_whitespace().map(OsString::from).collect();
                // Without a shell, quotes would become a part of the words.
                if command.is_empty() || words.contains(['\'', '"']) {
                    let text = format!("Invalid command given for --on-silence: {}", shown(v));
                    return Err(Failure::usage(text).with_hint(
                        "Write words without quotes. No shell reads them, so put anything else into a script.",
                    ));
                }
                s.as_mut().command = Some(command);
                Ok(())
            },
        ),
        flag(
            "",
            "--expect-retained",
            "With --expect: count retained messages, too",
            |s: &mut S| {
                s.as_mut().counts_retained = true;
            },
        ),
        flag(
            "",
            "--check",
            "With --expect: wait for one message of each filter, and print one line with the statuses of monitoring plugins",
            |s: &mut S| {
                s.as_mut().is_check = true;
                use_plugin_statuses();
            },
        ),
        value(
            "",
            "--warn-after",
            "duration",
            "With --check: report WARNING if a message took longer than this time",
            |s: &mut S, v| {
                s.as_mut().warning = Some(period(v, "--warn-after")?);
                Ok(())
            },
        )
        .with_value_name("TIME"),
    ]
}
