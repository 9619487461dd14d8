//! The runs of handlers: starts those that may run, and handles those that have ended. Threads wait for the handlers and
//! send reports to the loop of the program.

use std::collections::HashSet;
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mqtt_client::session::Printable;

use crate::diagnostics::Diagnostics;
use crate::exit_status::Class;
use crate::failure::Failure;
use crate::wording::system_text;

use super::job::State;
use super::jobs::Jobs;
use super::process;
use super::reports::{Report, RunFailure};

/// The wait before the second run of a handler. It doubles with each further run.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Maximum wait before another run.
const MAXIMUM_WAIT: Duration = Duration::from_secs(30);

impl Jobs {
    /// Handles each report of a thread of a handler.
    pub(super) fn collect(
        &mut self,
        now: Instant,
        diagnostics: &Diagnostics,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        while let Ok(report) = self.received_reports.try_recv() {
            let ended = match report {
                Report::Exit(number, exit, output) => {
                    let mut queue = self.queue.iter();
                    let job = queue.find(|job| job.number == number);
                    let reason = job.and_then(|job| job.failure(exit));
                    let failure = reason.map(RunFailure::counted);
                    Some((number, failure.map_or(Ok(output), Err)))
                }
                Report::Line(resident, line) => {
                    let answer = self.residents.handle_line(resident, &line);
                    answer.map(|(number, outcome)| (number, outcome.map(|()| Vec::new())))
                }
                Report::ResidentExit(resident, exit) => {
                    match self.residents.handle_exit(resident, &exit) {
                        Some((Some(number), failure)) => Some((number, Err(failure))),
                        Some((None, failure)) if !failure.is_regular_exit => {
                            let reason = failure.reason;
                            let text = format!("A handler without a message failed: {reason}.");
                            diagnostics.warn(&text);
                            None
                        }
                        _ => None,
                    }
                }
            };
            if let Some((number, outcome)) = ended {
                self.running -= 1;
                let finished = self.finish_run(number, outcome, now, diagnostics);
                result = result.and(finished);
            }
        }
        result
    }

    /// Handles the end of a run: with the output of the handler, or with its failure.
    fn finish_run(
        &mut self,
        number: u64,
        outcome: Result<Vec<u8>, RunFailure>,
        now: Instant,
        diagnostics: &Diagnostics,
    ) -> Result<(), Failure> {
        let settings = &self.settings;
        let Some(job) = self.queue.iter_mut().find(|job| job.number == number) else {
            return Ok(());
        };
        let responses = settings.responses.as_ref();
        let failure = match outcome {
            Ok(output) => {
                job.state = match responses {
                    None => State::Done,
                    Some(responses) => responses.respond(job, Ok(output), &mut self.served),
                };
                return Ok(());
            }
            Err(failure) => failure,
        };
        let is_counted = failure.is_counted(settings.dead_letter.is_some());
        job.failures += u32::from(is_counted);
        let reason = failure.reason;
        let topic = Printable(&job.message.topic_name).to_string();
        let text = format!("The handler of a message of topic '{topic}' failed: {reason}.");
        if !is_counted || job.failures <= settings.retries {
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
            return Err(failure.with_class(Class::Temporary));
        }
        Ok(())
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
        let mut overlong = Vec::new();
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
            let timeout = self.settings.timeout;
            let started = if self.settings.is_stdio {
                self.residents.give(job, command, timeout, &self.reports)
            } else {
                let (number, reports) = (job.number, self.reports.clone());
                let report = move |exit, output| reports.send(Report::Exit(number, exit, output));
                let mut process = job.command(command);
                if self.settings.responses.is_some() {
                    process.stdout(Stdio::piped()); // the output becomes the response
                }
                process::start(process, &job.message.payload, timeout, report)
            };
            match started {
                Ok(running) => {
                    self.running += 1;
                    job.runs += 1;
                    job.state = State::Running(running);
                }
                // The topic and the properties of the message are in the environment of the handler, for which the
                // system has a limit. Another message can be handled, so only this run has failed.
                Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {
                    job.runs += 1;
                    overlong.push(job.number);
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
        for number in overlong {
            let reason = "its properties are too large for the environment of a process".to_owned();
            let failure = Err(RunFailure::counted(reason));
            let finished = self.finish_run(number, failure, now, diagnostics);
            if finished.is_err() {
                self.stop();
            }
            result = result.and(finished);
        }
        result
    }
}
