//! The runs of handlers: starts those that may run, and handles those that have ended.

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::Printable;

use crate::diagnostics::Diagnostics;
use crate::exit_status::Class;
use crate::failure::Failure;
use crate::wording::system_text;

use super::job::State;
use super::jobs::Jobs;
use super::process;

/// The wait before the second run of a handler. It doubles with each further run.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Maximum wait before another run.
const MAXIMUM_WAIT: Duration = Duration::from_secs(30);

impl Jobs {
    /// Records the result of each handler that has ended.
    pub(super) fn collect(
        &mut self,
        now: Instant,
        diagnostics: &Diagnostics,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        while let Ok((number, exit, output)) = self.exits.try_recv() {
            self.running -= 1;
            let settings = &self.settings;
            let Some(job) = self.queue.iter_mut().find(|job| job.number == number) else {
                continue;
            };
            let responses = settings.responses.as_ref();
            let Some(reason) = job.failure(exit) else {
                job.state = match responses {
                    None => State::Done,
                    Some(responses) => responses.respond(job, Ok(output), &mut self.served),
                };
                continue;
            };
            let topic = Printable(&job.message.topic_name).to_string();
            let text = format!("The handler of a message of topic '{topic}' failed: {reason}.");
            if job.runs <= settings.retries {
                let wait = FIRST_WAIT.saturating_mul(1 << (job.runs - 1).min(16));
                let wait = wait.min(MAXIMUM_WAIT);
                job.state = State::Waiting(now + wait);
                let wait = wait.as_secs_f64();
                diagnostics.warn(&format!("{text} Running it again in {wait:.2} s."));
            } else if let Some(responses) = responses {
                diagnostics.warn(&text);
                job.state = responses.respond(job, Err(&reason), &mut self.served);
            } else if settings.dead_letter.is_some() {
                diagnostics.warn(&text);
                job.state = State::Failed(reason);
            } else {
                // The message is not acknowledged, and neither are those after it.
                let hint = "The message is not acknowledged. --retries runs the handler again, and --dead-letter \
                            publishes such messages to another topic.";
                job.state = State::Refused;
                let failure = Failure::failed(text).with_hint(hint);
                result = result.and(Err(failure.with_class(Class::Temporary)));
            }
        }
        result
    }

    /// Starts the handlers that may run now. Stops if one of them cannot be started.
    pub(super) fn start(&mut self, now: Instant, diagnostics: &Diagnostics) -> Result<(), Failure> {
        self.skip_unanswerable(diagnostics);
        if self.has_many_responses() {
            return Ok(());
        }
        // A topic is busy while the handler of an earlier message of this topic runs, or waits for its first or next
        // run.
        let mut busy = HashSet::new();
        let mut result = Ok(());
        for job in &mut self.queue {
            if self.running >= self.settings.jobs {
                break;
            }
            // After `stop`, an unacknowledged message stays with the broker. Its handler does not start, and the
            // message does not delay other messages of its topic.
            let is_waiting = matches!(job.state, State::Waiting(_));
            let is_left = self.is_stopped && is_waiting && !job.is_acknowledged;
            if is_left || !job.is_active() || !busy.insert(job.order_key().to_owned()) {
                continue;
            }
            let State::Waiting(not_before) = job.state else {
                continue;
            };
            if now < not_before {
                continue;
            }
            let Some(command) = self.settings.command(&job.message.topic_name) else {
                job.state = State::Done; // no row of the table is for this topic
                continue;
            };
            let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
            let number = job.number;
            // Errors are ignored: the loop of rsub may have ended, and then nothing receives the result.
            let report = move |exit, output| {
                let _ = sender.send((number, exit, output));
                let _ = waker.wake();
            };
            let mut process = job.command(command);
            if self.settings.responses.is_some() {
                process.stdout(Stdio::piped()); // the output becomes the response
            }
            let payload = &job.message.payload;
            let started = process::start(process, payload, self.settings.timeout, report);
            match started {
                Ok(running) => {
                    self.running += 1;
                    job.runs += 1;
                    job.state = State::Running(running);
                }
                Err(error) => {
                    job.state = State::Refused;
                    let command = command.first().map(|word| word.to_string_lossy());
                    let command = command.unwrap_or_default();
                    let text = system_text(&error);
                    let text = format!("Cannot start the handler '{command}': {text}.");
                    self.is_stopped = true;
                    result = result.and(Err(Failure::failed(text).with_class(Class::NoInput)));
                }
            }
        }
        result
    }
}
