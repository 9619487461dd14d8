//! The next message of rpub: a repetition of one payload, or a line of the input.

use std::time::Instant;

use bytes::Bytes;
use mqtt_client::session::OutboundMessage;

use crate::commands::rpub::line_message;
use crate::commands::rpub::stdin_lines::{NextLine, StdinLines};
use crate::exit_status::Class;
use crate::failure::Failure;
use crate::flags::settings::message::{Content, OnError};
use crate::output::standard_streams::StandardInput;
use crate::wording::system_text;

use super::Publisher;

impl Publisher {
    /// Returns the next message, or `None` if no more is ready now.
    pub(super) fn next_message(&mut self) -> Option<OutboundMessage> {
        if self.input_ended {
            return None;
        }
        match &self.plan.content {
            Content::Payload(payload) => {
                // A clone of `Bytes` shares the payload.
                let payload = payload.clone();
                self.next_repetition()?;
                // All repetitions share one message, so a large payload is in memory once.
                let outgoing = match self.repeated.take() {
                    Some(outgoing) => outgoing,
                    // The plan of a single payload has a topic.
                    None => self.plan.message(self.plan.topic().ok()?, payload),
                };
                self.repeated = Some(outgoing.clone());
                Some(outgoing)
            }
            Content::Lines(_) => {
                let line = self.next_line()?;
                let Content::Lines(lines) = &self.plan.content else {
                    return None;
                };
                let on_error = lines.on_error;
                line_message::message(lines, line, &self.plan)
                    .map_err(|reason| self.reject_line(&reason, on_error))
                    .ok()
            }
        }
    }

    /// Reports a line from which no message can be made. The messages of earlier lines are still acknowledged.
    fn reject_line(&mut self, reason: &str, on_error: OnError) {
        self.invalid += 1;
        self.line_numbers.last_failed();
        let number = self.line_numbers.last();
        let text = format!("Line {number} of the input is not a message: {reason}.");
        let diagnostics = &self.plan.client.diagnostics;
        let failure = if on_error == OnError::Stop {
            self.input_ended = true;
            Failure::failed(text).with_hint("--on-error skip continues with the next line.")
        } else {
            diagnostics.warn(&text);
            // The loop must handle other events before it reads the next line. Otherwise an input that has only invalid
            // lines would block acknowledgements and signals.
            self.has_more = true;
            Failure::failed(text).quiet_if(true)
        };
        // The first failure determines the exit status.
        self.failure
            .get_or_insert_with(|| failure.with_class(Class::Data));
    }

    /// Counts one repetition. Returns `None` if the repetition must wait. With a delay it waits until the previous
    /// message is finished, and then for the delay.
    fn next_repetition(&mut self) -> Option<()> {
        if !self.plan.delay.is_zero() && self.left < self.plan.repeat {
            // As in mosquitto_pub, the delay starts when the previous message is acknowledged, or with QoS 0 when its
            // bytes are sent.
            self.event_loop.flush();
            if self.event_loop.unfinished() > 0 || self.event_loop.unwritten() > 0 {
                return None;
            }
            let now = Instant::now();
            let time = *self.not_before.get_or_insert(now + self.plan.delay);
            if now < time {
                return None;
            }
            self.not_before = None;
        }
        self.left -= 1;
        self.input_ended = self.left == 0;
        Some(())
    }

    /// Starts the thread that reads the lines.
    fn start_lines(&mut self) -> std::io::Result<StdinLines> {
        let waker = self.event_loop.waker();
        match &mut self.plan.content {
            Content::Lines(lines) => match lines.file.take() {
                Some(file) => StdinLines::start(file, lines.separator, waker),
                None => StdinLines::start(StandardInput, lines.separator, waker),
            },
            Content::Payload(_) => StdinLines::start(StandardInput, b'\n', waker),
        }
    }

    /// Returns the next line of the input, or `None` if no line is ready. The first call starts the thread that reads.
    /// This function is called only with a connection, so that no line is read and lost if the broker cannot be
    /// reached.
    fn next_line(&mut self) -> Option<Bytes> {
        let result = match &mut self.lines {
            Some(lines) => Ok(lines),
            None => self.start_lines().map(|lines| self.lines.insert(lines)),
        };
        let next = match result {
            Ok(lines) => lines.next(),
            Err(error) => NextLine::Failed(error),
        };
        match next {
            NextLine::Line(line) => {
                self.line_numbers.count();
                return Some(line);
            }
            // The thread of the input wakes the loop when it has read more.
            NextLine::Pending => {}
            NextLine::End => self.input_ended = true,
            NextLine::Failed(error) => {
                // Lines that were read before the error are still sent and acknowledged.
                self.input_ended = true;
                let text = system_text(&error);
                let failure = Failure::failed(format!("Cannot read standard input: {text}."))
                    .with_class(Class::NoInput);
                self.failure = Some(failure);
            }
        }
        None
    }
}
