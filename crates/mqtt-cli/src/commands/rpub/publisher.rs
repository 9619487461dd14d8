//! The loop of rpub: connects, publishes messages as fast as the broker accepts them, waits for the acknowledgements, and
//! disconnects.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_client::session::{Event, OutboundMessage, PublishError};
use mqtt_client::{ClientError, EventLoop, Wakeup};
use mqtt_codec::{Message, QoS, ReasonCode};

use crate::commands::rpub::plan::PublishPlan;
use crate::commands::rpub::progress::Progress;
use crate::commands::rpub::report;
use crate::commands::rpub::stdin_lines::{NextLine, StdinLines};
use crate::commands::signals::Interrupts;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::settings::message::Content;
use crate::output::standard_streams::StandardInput;
use crate::wording::system_text;

/// The time in which the last bytes must be sent.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Replaces [`DISCONNECT_TIMEOUT`] after a signal.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(1);

/// The time in which the broker may acknowledge messages after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Maximum number of bytes that wait for the socket before a message is added. It bounds the memory for a broker that is
/// slower than the input.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// Carries out the plan.
///
/// # Errors
/// The reason for which not every message was published, and acknowledged with QoS 1 and 2.
pub(super) fn run(plan: PublishPlan) -> Result<Status, Failure> {
    Publisher::new(plan)?.run()
}

/// The state of a run.
struct Publisher {
    event_loop: EventLoop,
    plan: PublishPlan,
    interrupts: Interrupts,
    progress: Progress,
    lines: Option<StdinLines>,
    /// The message of `--repeat`, which all repetitions share.
    repeated: Option<Arc<Message>>,
    /// A message that the connection could not take yet. It is sent before any other one.
    held: Option<Arc<Message>>,
    /// The number of repetitions that are left.
    left: u64,
    /// The time before which no further message is sent, because of `--repeat-delay`.
    not_before: Option<Instant>,
    /// Set if there is more to send, but the loop must handle input and timers first.
    has_more: bool,
    /// Set when no further message will be read or made.
    input_ended: bool,
    interrupted: Option<Interrupted>,
    /// The failure of a message. The program ends with it after the other messages are finished.
    failure: Option<Failure>,
}

/// The signal that ends the program, and the end of its patience.
#[derive(Debug, Clone, Copy)]
struct Interrupted {
    status: Status,
    /// The time until which acknowledgements are waited for.
    until: Instant,
    /// Set if every message had been given to the connection. Then the run may still be a success.
    all_was_taken: bool,
}

impl Publisher {
    fn new(mut plan: PublishPlan) -> Result<Self, Failure> {
        // Standard input is not touched yet: see `next_line`.
        let (event_loop, interrupts) = plan.client.start()?;
        let progress = Progress::new(plan.has_progress, &plan.content, plan.repeat, plan.qos);
        Ok(Self {
            event_loop,
            interrupts,
            progress,
            lines: None,
            repeated: None,
            held: None,
            left: plan.repeat,
            not_before: None,
            has_more: false,
            input_ended: false,
            interrupted: None,
            failure: None,
            plan,
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let deadline = self.deadline();
            // Parts of `self`, since the event loop is another part and lends each event to the closure.
            let (failure, progress, diagnostics) = (
                &mut self.failure,
                &mut self.progress,
                &mut self.plan.client.diagnostics,
            );
            let wakeup = self.event_loop.poll(deadline, |_, event| {
                match &event {
                    Event::Delivered { reason_code, .. } if reason_code.is_error() => {
                        progress.rejected += 1;
                    }
                    Event::Delivered { .. } => progress.acknowledged += 1,
                    _ => {}
                }
                if let Some(refused) = report::event(&event, diagnostics) {
                    *failure = Some(refused);
                }
                ControlFlow::Continue(())
            });
            let wakeup = wakeup.map_err(|error| self.given_up(error))?;
            let server = self.event_loop.server();
            match wakeup {
                Wakeup::Disconnected(error, wait) => {
                    let reported = self
                        .plan
                        .client
                        .diagnostics
                        .report_loss(error, wait, server);
                    reported.map_err(|failure| self.with_unfinished(failure))?;
                    // The broker has closed MAXIMUM_LOSSES connections because of these messages, so the client gives them
                    // up.
                    for message in self.event_loop.take_rejected() {
                        self.reject(&message, "the broker closed the connection");
                    }
                }
                Wakeup::Found => self.plan.client.diagnostics.set_server(server),
                Wakeup::Deadline | Wakeup::Progress => {}
            }
            // After the events: acknowledgements that came with the signal count.
            if let Some(status) = self.interrupts.asked() {
                self.stop_taking(status);
            }
            if self.event_loop.is_connected() {
                self.publish();
            }
            self.progress
                .show(Instant::now(), self.event_loop.unwritten());
            // `publish` may have noticed that the connection is gone. After a signal no new one is waited for.
            let connected = self.event_loop.is_connected();
            let too_late = self
                .interrupted
                .is_some_and(|interrupted| Instant::now() >= interrupted.until || !connected);
            if connected && self.is_done() || too_late {
                return self.end();
            }
        }
    }

    /// Returns the first of the program's own times. A time that has passed and has no effect would keep the loop busy, so
    /// the time of the next message counts only while there is a connection.
    fn deadline(&self) -> Option<Instant> {
        let not_before = self.not_before.filter(|_| self.event_loop.is_connected());
        let grace = self.interrupted.map(|interrupted| interrupted.until);
        // A deadline that has passed lets the loop read once and come back immediately.
        let at_once = self.has_more.then(Instant::now);
        let times = [not_before, grace, self.progress.deadline(), at_once];
        times.into_iter().flatten().min()
    }

    /// Ends the input because of a signal. Messages that were sent may still be acknowledged.
    fn stop_taking(&mut self, status: Status) {
        if self.interrupted.is_none() {
            self.interrupted = Some(Interrupted {
                status,
                until: Instant::now() + GRACE,
                // A complete input whose acknowledgements arrive is a success in spite of the signal.
                all_was_taken: self.input_ended && self.held.is_none(),
            });
        }
        self.input_ended = true;
        self.held = None;
    }

    /// Disconnects, and reports the messages that the broker may not have.
    fn end(mut self) -> Result<Status, Failure> {
        self.progress.finish();
        // Counted before the connection is closed, which forgets them.
        let unfinished = self.unfinished();
        let unwritten = self.event_loop.unwritten();
        let disconnect = self.plan.client.disconnect.clone();
        let result = match self.interrupted {
            // A signal kills mosquitto_pub, and the broker publishes its will. Users may count on that.
            Some(_) => self
                .event_loop
                .disconnect_with_will(disconnect, INTERRUPTED_TIMEOUT),
            None => self.event_loop.disconnect(disconnect, DISCONNECT_TIMEOUT),
        };
        // If DISCONNECT could not be sent, bytes before it were not sent either. For QoS 0 nothing else shows the loss.
        let lost = if result.is_err() { unwritten } else { 0 };
        if let Some(interrupted) = self.interrupted {
            let plan = &self.plan;
            report::interrupted(plan, &self.progress, unfinished, lost);
            if !interrupted.all_was_taken || unfinished > 0 || lost > 0 {
                return Ok(interrupted.status);
            }
        }
        report::rejected(&self.plan, &self.progress);
        // The failure of a message explains more than that of the disconnect.
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        result.map_err(|error| self.plan.client.diagnostics.failure(error))?;
        Ok(Status::Success)
    }

    /// Returns the number of messages that the broker may not have.
    fn unfinished(&self) -> usize {
        self.event_loop.unfinished() + usize::from(self.held.is_some())
    }

    /// Returns the failure after the client has given up to connect.
    fn given_up(&self, error: ClientError) -> Failure {
        self.with_unfinished(self.plan.client.diagnostics.failure(error))
    }

    /// Adds the number of unacknowledged messages to a failure.
    fn with_unfinished(&self, failure: Failure) -> Failure {
        self.progress.finish();
        match self.unfinished() {
            0 => failure,
            1 => failure.with_hint("1 message was not acknowledged; the broker may have it."),
            count => failure.with_hint(format!(
                "{count} messages were not acknowledged; the broker may have some of them."
            )),
        }
    }

    /// Returns `true` if only the DISCONNECT and at most a bounded number of bytes are left to send.
    fn is_done(&self) -> bool {
        self.input_ended
            && self.held.is_none()
            && self.event_loop.unfinished() == 0
            && self.event_loop.unwritten() < MAXIMUM_UNWRITTEN
    }

    /// Publishes messages until the input or the room for them ends. At most one block of bytes is flushed: a broker that
    /// takes everything immediately must not keep the loop from reading its acknowledgements.
    fn publish(&mut self) {
        self.has_more = false;
        let mut has_flushed = false;
        while self.has_room(&mut has_flushed) {
            let Some(message) = self.held.take().or_else(|| self.next_message()) else {
                break; // a line, the time of --repeat-delay, or the end will wake the loop
            };
            let outgoing = OutboundMessage::new(Arc::clone(&message), self.plan.qos);
            match self.event_loop.publish(outgoing) {
                Ok(_) => self.progress.published += 1,
                // The window is full or the connection is gone. The message keeps its place before all others.
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {
                    self.held = Some(message);
                    return;
                }
                // The Maximum Packet Size of the broker may allow the next line.
                Err(PublishError::Encode(error)) if self.lines.is_some() => {
                    self.progress.published += 1;
                    self.reject(&message, &error.to_string());
                }
                Err(error) => {
                    // Messages that were sent before are still finished.
                    self.failure = Some(self.plan.client.diagnostics.failure(error.into()));
                    self.input_ended = true;
                    return;
                }
            }
        }
    }

    /// Reports a line that is too large for the broker. The lines after it are still sent: one bad line of a log must not
    /// stop the others.
    fn reject(&mut self, message: &Message, why: &str) {
        self.progress.rejected += 1;
        let size = message.payload.len();
        let text = format!("A message of {size} bytes is too large for the broker: {why}.");
        self.plan.client.diagnostics.warn(&text);
        let status = Status::of_reason(ReasonCode::PacketTooLarge);
        // The text was printed above, so the failure only sets the exit status.
        self.failure = Some(Failure::unmarked(status, text).quiet_if(true));
    }

    /// Returns `true` if another message may be added. Flushes once in a call of `publish`, which `has_flushed` remembers.
    fn has_room(&mut self, has_flushed: &mut bool) -> bool {
        if self.event_loop.unwritten() >= MAXIMUM_UNWRITTEN {
            self.event_loop.flush();
            if std::mem::replace(has_flushed, true) {
                self.has_more = self.event_loop.unwritten() < MAXIMUM_UNWRITTEN;
                return false;
            }
        }
        self.event_loop.unwritten() < MAXIMUM_UNWRITTEN
            && (self.plan.qos == QoS::AtMostOnce || self.event_loop.has_room())
    }

    /// Returns the next message, or `None` if no more is ready now.
    fn next_message(&mut self) -> Option<Arc<Message>> {
        if self.input_ended {
            return None;
        }
        match &self.plan.content {
            Content::Payload(payload) => {
                // A clone of `Bytes` shares the memory.
                let payload = payload.clone();
                self.next_repetition()?;
                // All repetitions share one message, so a large payload is in memory once.
                let message = match self.repeated.take() {
                    Some(message) => message,
                    None => self.message(payload),
                };
                self.repeated = Some(Arc::clone(&message));
                Some(message)
            }
            Content::Lines => {
                let line = self.next_line()?;
                Some(self.message(line))
            }
        }
    }

    /// Returns the message with this payload.
    fn message(&self, payload: Bytes) -> Arc<Message> {
        let message = Message::new(self.plan.topic_name.clone(), payload);
        Arc::new(Message {
            retain: self.plan.retain,
            properties: self.plan.properties.clone(),
            ..message
        })
    }

    /// Counts a repetition down. Returns `None` if it must wait: with a delay, for the end of the message before it and then
    /// for the delay.
    fn next_repetition(&mut self) -> Option<()> {
        if !self.plan.delay.is_zero() && self.left < self.plan.repeat {
            // The delay starts when the broker has the message, as for mosquitto_pub: with QoS 0, when it has left.
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

    /// Returns the next line of standard input, or `None` if none is ready. The thread is started by the first call,
    /// when there is a connection: a line that was read but not sent would be lost if the broker cannot be reached.
    fn next_line(&mut self) -> Option<Bytes> {
        let result = match &mut self.lines {
            Some(lines) => Ok(lines),
            None => StdinLines::start(StandardInput, self.event_loop.waker())
                .map(|lines| self.lines.insert(lines)),
        };
        let next = match result {
            Ok(lines) => lines.next(),
            Err(error) => NextLine::Failed(error),
        };
        match next {
            NextLine::Line(line) => return Some(line),
            // The waker of the thread wakes the loop when there is more.
            NextLine::Pending => {}
            NextLine::End => self.input_ended = true,
            NextLine::Failed(error) => {
                // Lines that were read before are still sent and acknowledged.
                self.input_ended = true;
                let text = system_text(&error);
                let failure = Failure::failed(format!("Cannot read standard input: {text}."));
                self.failure = Some(failure);
            }
        }
        None
    }
}
