//! Silence: `rsub --expect` notices that a topic filter has had no message for a time.
//!
//! Each topic filter has a clock (`clocks.rs`). If the clock of a filter runs out, rsub ends with a failure, or runs
//! the command of `--on-silence` (`command.rs`). With `--check` rsub is a plugin for monitoring systems: it ends as
//! soon as each filter has had a message, and prints one line with performance data (`performance_data.rs`).

mod clocks;
mod command;
mod options;
mod performance_data;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;
use mqtt_client::session::Printable;
use mqtt_codec::{PublishRef, ReasonCode, Subscription};

use crate::diagnostics::Diagnostics;
use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::plugin_output;
use crate::wording::{counted, system_text};

use clocks::{Clock, Clocks};
use command::Commands;
pub(super) use options::{Expectation, SilenceSettings, cannot_combine, silence_options};
use performance_data::seconds;

/// Maximum number of filters that a line names.
const MAXIMUM_NAMES: usize = 20;

/// The clocks of the topic filters, and the effects of silence.
#[derive(Debug)]
pub(super) struct Watchdog {
    clocks: Clocks,
    limit: Duration,
    warning: Option<Duration>,
    is_check: bool,
    commands: Option<Commands>,
    /// The time at which the connection was lost; `None` while the client is connected.
    lost: Option<Instant>,
}

impl Watchdog {
    pub(super) fn new(expectation: Expectation, waker: Arc<Waker>) -> Self {
        Self {
            limit: expectation.limit,
            warning: expectation.warning,
            is_check: expectation.is_check,
            commands: expectation
                .command
                .clone()
                .map(|words| Commands::new(words, waker)),
            clocks: Clocks::new(expectation),
            lost: None,
        }
    }

    /// Records that the client is connected.
    pub(super) fn set_connected(&mut self) {
        self.lost = None;
    }

    /// Records that the connection was lost, or that a further attempt to connect has failed. The clocks continue.
    pub(super) fn set_lost(&mut self, now: Instant) {
        self.lost.get_or_insert(now);
    }

    /// Handles SUBACK. The first one starts the clocks.
    pub(super) fn subscribed(
        &mut self,
        now: Instant,
        subscriptions: &[Subscription],
        reason_codes: &[ReasonCode],
    ) {
        self.clocks.start(now);
        let answers = subscriptions.iter().zip(reason_codes);
        for (subscription, reason_code) in answers {
            self.clocks
                .set_denied(&subscription.topic_filter, reason_code.is_error());
        }
    }

    /// Resets the clocks of the filters that match a message.
    pub(super) fn hear(
        &mut self,
        publish: &PublishRef<'_>,
        now: Instant,
        diagnostics: &Diagnostics,
    ) {
        for (filter, silence) in self.clocks.hear(publish, now) {
            let (filter, silence) = (Printable(&filter), seconds(silence));
            diagnostics.note(&format!(
                "A message for '{filter}' has come after {silence} s."
            ));
        }
    }

    /// Records that messages may wait unread, because rsub has stopped reading.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.clocks.postpone(now);
    }

    /// Handles the clocks that have run out. Returns the line of `--check` when each filter has had a message in time.
    ///
    /// # Errors
    /// If silence ends the program, or the command of `--on-silence` cannot be started.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        diagnostics: &Diagnostics,
    ) -> Result<Option<String>, Failure> {
        if let Some(commands) = &mut self.commands {
            commands.collect(diagnostics);
        }
        let silent = self.clocks.take_silent(now);
        if !silent.is_empty() {
            return self.report(&silent, now, diagnostics).map(|()| None);
        }
        if self.is_check && self.clocks.have_all_heard() {
            return self.all_heard().map(Some);
        }
        Ok(None)
    }

    /// Reports the filters with these indexes, whose clocks have run out.
    fn report(
        &mut self,
        silent: &[usize],
        now: Instant,
        diagnostics: &Diagnostics,
    ) -> Result<(), Failure> {
        let clocks = silent.iter().filter_map(|index| self.clocks.get(*index));
        let names = listed(clocks.map(name));
        let limit = seconds(self.limit);
        let server = diagnostics.server();
        let state = match self.lost {
            None => format!("connected to {server}"),
            Some(lost) => format!("not connected to {server} for {} s", seconds(now - lost)),
        };
        let text = format!("No message for {names} in {limit} s; {state}.");
        let Some(commands) = &mut self.commands else {
            let failure = Failure::new(Status::Silent, anyhow::anyhow!(text));
            return Err(failure.with_performance(self.performance()));
        };
        diagnostics.warn(&text);
        for index in silent {
            let Some(clock) = self.clocks.get(*index) else {
                continue;
            };
            let filter = &clock.filter;
            let started = commands.start(*index, filter, &limit, self.lost.is_none());
            match started {
                Ok(true) => {}
                Ok(false) => diagnostics.warn(&format!(
                    "The command of --on-silence still runs for '{}', and is not started again.",
                    Printable(filter)
                )),
                Err(error) => {
                    let (command, text) = (commands.name(), system_text(&error));
                    let text =
                        format!("Cannot start the command '{command}' of --on-silence: {text}.");
                    return Err(Failure::failed(text).with_class(Class::NoInput));
                }
            }
        }
        Ok(())
    }

    /// Returns the line of `--check` after each filter has had a message.
    fn all_heard(&self) -> Result<String, Failure> {
        let is_late = |clock: &&Clock| {
            let limit = self.warning.unwrap_or(self.limit);
            clock.first.is_some_and(|first| first > limit)
        };
        let late: Vec<_> = self.clocks.iter().filter(is_late).collect();
        let times = self.clocks.iter().filter_map(|clock| clock.first);
        let last = seconds(times.max().unwrap_or_default());
        if let (Some(warning), false) = (self.warning, late.is_empty()) {
            let names = listed(late.into_iter().map(name));
            let warning = seconds(warning);
            let text = format!(
                "The first message for {names} took longer than {warning} s (last one after {last} s)."
            );
            let failure = Failure::failed(text).with_class(Class::Late);
            return Err(failure.with_performance(self.performance()));
        }
        let count = counted(self.clocks.iter().count() as u64, "filter");
        let text = format!("A message has come for {count}, the last one after {last} s.");
        Ok(plugin_output::line(
            Class::Success,
            &text,
            &self.performance(),
        ))
    }

    fn performance(&self) -> String {
        performance_data::of_clocks(self.clocks.iter(), self.warning, self.limit)
    }

    /// Returns the filters that are silent now.
    pub(super) fn silent_filters(&self) -> Vec<String> {
        let silent = self.clocks.iter().filter(|clock| clock.is_silent);
        silent.map(|clock| clock.filter.to_string()).collect()
    }

    /// Returns the time at which `advance` must be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.clocks.deadline()
    }
}

/// Returns the name of a filter in a line.
fn name(clock: &Clock) -> String {
    let filter = Printable(&clock.filter);
    if clock.is_denied {
        format!("'{filter}' (subscription denied)")
    } else {
        format!("'{filter}'")
    }
}

/// Returns names in a list, with the number of those for which the line has no room.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<_> = names.collect();
    let others = names.len().saturating_sub(MAXIMUM_NAMES);
    names.truncate(MAXIMUM_NAMES);
    let mut text = names.join(", ");
    if others > 0 {
        text += &format!(" and {}", counted(others as u64, "further filter"));
    }
    text
}
