//! The loop of rpub: connects, publishes messages as fast as the broker accepts them, waits for the acknowledgements,
//! and disconnects. Reconnecting and resending is the work of `mqtt_client::EventLoop`.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_client::session::{Event, OutboundMessage, PublishError};
use mqtt_client::{ClientError, EventLoop, Wakeup};
use mqtt_codec::{Message, QoS, ReasonCode};

use crate::commands::deadline;
use crate::commands::rpub::line_message;
use crate::commands::rpub::line_numbers::LineNumbers;
use crate::commands::rpub::plan::PublishPlan;
use crate::commands::rpub::progress::Progress;
use crate::commands::rpub::report;
use crate::commands::rpub::stdin_lines::{NextLine, StdinLines};
use crate::commands::signals::Interrupts;
use crate::commands::verdict::{Messages, Published, SharedVerdict};
use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::flags::settings::message::{Content, OnError};
use crate::output::standard_streams::StandardInput;
use crate::wording::system_text;

/// The time in which the last bytes and DISCONNECT must be sent.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Replaces [`DISCONNECT_TIMEOUT`] after a signal.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after a signal in which the broker may still acknowledge messages.
const GRACE: Duration = Duration::from_secs(5);

/// Maximum number of bytes that wait for the socket when a message is added. This limits the memory if the broker is
/// slower than the input.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// Carries out the plan.
///
/// # Errors
/// The reason why a message was not published, or not acknowledged with QoS 1 or 2.
pub(super) fn run(plan: PublishPlan, verdict: &SharedVerdict) -> Result<Status, Failure> {
    Publisher::new(plan, verdict)?.run()
}

/// The state of a run.
struct Publisher {
    event_loop: EventLoop,
    plan: PublishPlan,
    interrupts: Interrupts,
    progress: Progress,
    lines: Option<StdinLines>,
    /// The message of `--repeat`. All repetitions share it.
    repeated: Option<OutboundMessage>,
    /// A message for which the window had no room, or which had no connection. It is sent before all other messages.
    held: Option<OutboundMessage>,
    /// The number of repetitions that are left.
    left: u64,
    /// The time before which no further message is sent, because of `--repeat-delay`.
    not_before: Option<Instant>,
    /// Set if more messages can be sent, but the event loop must first handle input and timers.
    has_more: bool,
    /// Set when the input has no further message.
    input_ended: bool,
    interrupted: Option<Interrupted>,
    /// The failure of a message. The program finishes the other messages and then ends with this failure.
    failure: Option<Failure>,
    /// The number of messages that were not sent because of a signal, although rpub had read or created them.
    dropped: u64,
    /// The number of input lines from which no message could be made.
    invalid: u64,
    line_numbers: LineNumbers,
    verdict: SharedVerdict,
}

/// The signal that ends the program, and the time that is left for acknowledgements.
#[derive(Debug, Clone, Copy)]
struct Interrupted {
    status: Status,
    /// The time until which the program waits for acknowledgements.
    until: Instant,
    /// Set if the connection had accepted every message before the signal. If all are acknowledged, the run is a
    /// success.
    all_was_taken: bool,
}

impl Publisher {
    fn new(mut plan: PublishPlan, verdict: &SharedVerdict) -> Result<Self, Failure> {
        // Standard input is not read yet. `next_line` starts to read it after the broker has accepted the connection.
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
            dropped: 0,
            invalid: 0,
            line_numbers: LineNumbers::new(plan.has_report),
            verdict: Arc::clone(verdict),
            plan,
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let deadline = self.deadline();
            // The closure borrows these fields of `self` and not `self`, because `poll` borrows the field `event_loop`.
            let (failure, progress, lines, diagnostics) = (
                &mut self.failure,
                &mut self.progress,
                &mut self.line_numbers,
                &mut self.plan.client.diagnostics,
            );
            let wakeup = self.event_loop.poll(deadline, |_, event| {
                match &event {
                    Event::Delivered {
                        packet_identifier,
                        reason_code,
                        ..
                    } => {
                        let is_error = reason_code.is_error();
                        lines.answered(*packet_identifier, is_error);
                        if is_error {
                            progress.rejected += 1;
                        } else {
                            progress.acknowledged += 1;
                        }
                    }
                    Event::Connected { unfinished, .. } if !unfinished.is_empty() => lines.forget(),
                    _ => {}
                }
                if let Some(refused) = report::event(&event, diagnostics) {
                    *failure = Some(refused);
                }
                ControlFlow::Continue(())
            });
            let wakeup = match wakeup {
                Ok(wakeup) => wakeup,
                Err(error) => {
                    // A message that is neither in flight nor rejected would count as acknowledged.
                    self.report_rejected();
                    return Err(self.given_up(error));
                }
            };
            let server = self.event_loop.server();
            match wakeup {
                Wakeup::Disconnected(error, wait) => {
                    let reported = self
                        .plan
                        .client
                        .diagnostics
                        .report_loss(error, wait, server);
                    reported.map_err(|failure| self.with_unfinished(failure))?;
                }
                Wakeup::Found => self.plan.client.diagnostics.set_server(server),
                Wakeup::Deadline | Wakeup::Progress => {}
            }
            self.report_rejected();
            // The signal is handled after the events, so that acknowledgements that arrived with it count.
            if let Some(status) = self.interrupts.asked() {
                self.stop_taking(status);
            }
            if self.event_loop.is_connected() {
                self.publish();
            }
            self.progress
                .show(Instant::now(), self.event_loop.unwritten());
            // `publish` may have found the connection lost, so the state is read again. After a signal the program does
            // not wait for a new connection.
            let connected = self.event_loop.is_connected();
            let too_late = self
                .interrupted
                .is_some_and(|interrupted| Instant::now() >= interrupted.until || !connected);
            if connected && self.is_done() || too_late {
                return self.end();
            }
            if self.plan.client.is_too_late() {
                return Err(self.timed_out());
            }
        }
    }

    /// Returns the first deadline of the program itself. The time of the next message counts only with a connection:
    /// without one, a deadline in the past would make the loop spin.
    fn deadline(&self) -> Option<Instant> {
        let not_before = self.not_before.filter(|_| self.event_loop.is_connected());
        let grace = self.interrupted.map(|interrupted| interrupted.until);
        // With a deadline in the past, `poll` reads once and returns immediately.
        let at_once = self.has_more.then(Instant::now);
        let times = [
            not_before,
            grace,
            self.progress.deadline(),
            at_once,
            self.plan.client.deadline,
        ];
        times.into_iter().flatten().min()
    }

    /// Ends the input because of a signal. The broker may still acknowledge messages that were sent.
    fn stop_taking(&mut self, status: Status) {
        if self.interrupted.is_none() {
            self.interrupted = Some(Interrupted {
                status,
                until: Instant::now() + GRACE,
                // If the whole input was sent, and the acknowledgements arrive, the run is a success in spite of the
                // signal.
                all_was_taken: self.input_ended && self.held.is_none(),
            });
        }
        self.input_ended = true;
        self.dropped += u64::from(self.held.take().is_some());
    }

    /// Disconnects, and reports the messages that the broker may not have received.
    fn end(mut self) -> Result<Status, Failure> {
        self.progress.finish();
        // These numbers are read before `disconnect`, which resets them.
        let published = self.published();
        self.record(published);
        let unfinished = self.unfinished();
        let unwritten = self.event_loop.unwritten();
        let disconnect = self.plan.client.disconnect.clone();
        let timeout = |timeout| self.plan.client.at_most(timeout);
        let result = match self.interrupted {
            // A signal kills mosquitto_pub without DISCONNECT, so the broker publishes its will. Users may rely on the
            // will.
            Some(_) => self
                .event_loop
                .disconnect_with_will(disconnect, timeout(INTERRUPTED_TIMEOUT)),
            None => self
                .event_loop
                .disconnect(disconnect, timeout(DISCONNECT_TIMEOUT)),
        };
        // If DISCONNECT could not be sent, the bytes before it were not sent either. With QoS 0 only these bytes show
        // the loss.
        let lost = if result.is_err() { unwritten } else { 0 };
        if let Some(interrupted) = self.interrupted {
            let plan = &self.plan;
            report::interrupted(plan, published, lost);
            if !interrupted.all_was_taken || unfinished > 0 || lost > 0 {
                return Ok(interrupted.status);
            }
        }
        report::rejected(&self.plan, published);
        // The failure of a message is more useful than a failure of the disconnect.
        if let Some(failure) = self.failure {
            return Err(graded(failure, published));
        }
        match result {
            Ok(()) => Ok(Status::Success),
            Err(_) if self.plan.client.is_too_late() => Err(deadline::failure()),
            Err(error) => Err(self.plan.client.diagnostics.failure(error)),
        }
    }

    /// Ends the program because of `-W`. Not every message is acknowledged, so the broker publishes the will, as after
    /// a signal.
    fn timed_out(mut self) -> Failure {
        let failure = self.with_unfinished(deadline::failure());
        let disconnect = self.plan.client.disconnect.clone();
        // The bytes that are left may not be sent in this short time. The error is ignored, because the failure already
        // says that the time is over.
        let _ = self
            .event_loop
            .disconnect_with_will(disconnect, deadline::GRACE);
        failure.quiet_if(self.plan.client.diagnostics.is_quiet())
    }

    /// Returns the number of messages that the broker may not have received.
    fn unfinished(&self) -> usize {
        self.event_loop.unfinished() + usize::from(self.held.is_some())
    }

    /// Returns the failure after the client has given up connecting.
    fn given_up(&self, error: ClientError) -> Failure {
        self.with_unfinished(self.plan.client.diagnostics.failure(error))
    }

    /// Adds the number of unacknowledged messages to a failure.
    fn with_unfinished(&self, failure: Failure) -> Failure {
        self.progress.finish();
        let published = self.published();
        self.record(published);
        // Without a connection nothing was sent. The failure already says so, and a hint with zeros would add nothing.
        let has_started = self.progress.published > 0;
        if has_started && !published.is_complete() {
            graded(failure.with_hint(format!("{published}.")), published)
        } else {
            failure
        }
    }

    /// Returns the number of messages for each outcome.
    fn published(&self) -> Published {
        let progress = &self.progress;
        let repetitions = match self.plan.content {
            Content::Payload(_) => self.left,
            Content::Lines(_) => 0,
        };
        let not_sent = repetitions + u64::from(self.held.is_some()) + self.dropped;
        let unknown = self.event_loop.unfinished() as u64;
        let sent = progress.without_acknowledgement;
        let rejected = progress.rejected;
        // A message that is neither in flight nor rejected counts as acknowledged, even without PUBACK or PUBCOMP. If
        // the broker loses the session after PUBREC, it has received the message and will never send PUBCOMP.
        let others = unknown + sent + rejected;
        Published {
            total: progress.published + not_sent,
            acknowledged: progress.published.saturating_sub(others),
            unknown,
            rejected,
            invalid: self.invalid,
            not_sent,
            sent,
        }
    }

    /// Fills in the verdict. Every way to end the loop must call this function.
    fn record(&self, published: Published) {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.server = Some(self.plan.client.diagnostics.server().to_owned());
        verdict.messages = Some(Messages::Published(published));
        if matches!(self.plan.content, Content::Lines(_)) {
            verdict.failed_lines = self.line_numbers.first_failed();
        }
    }

    /// Returns `true` if every message is finished, and only DISCONNECT and fewer than `MAXIMUM_UNWRITTEN` bytes are
    /// left to send.
    fn is_done(&self) -> bool {
        self.input_ended
            && self.held.is_none()
            && self.event_loop.unfinished() == 0
            && self.event_loop.unwritten() < MAXIMUM_UNWRITTEN
    }

    /// Publishes messages until the input has no more or the window is full. The bytes are flushed at most once in a
    /// call. Otherwise a broker that reads fast would keep the loop here, and its acknowledgements would not be read.
    fn publish(&mut self) {
        self.has_more = false;
        let mut has_flushed = false;
        while self.has_room(&mut has_flushed) {
            let Some(outgoing) = self.held.take().or_else(|| self.next_message()) else {
                break; // the loop wakes for a line, a timeout or the end of the input
            };
            match self.event_loop.publish(outgoing.clone()) {
                Ok(identifier) => {
                    self.progress.published += 1;
                    self.progress.without_acknowledgement += u64::from(identifier.is_none());
                    self.line_numbers.sent(identifier);
                }
                // The window is full, or the connection is lost. The message is held, so that messages keep their
                // order.
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {
                    self.held = Some(outgoing);
                    return;
                }
                // This line is larger than the Maximum Packet Size of the broker. The next line may be smaller.
                Err(PublishError::Encode(error)) if self.lines.is_some() => {
                    self.progress.published += 1;
                    self.line_numbers.last_failed();
                    self.reject(&outgoing.message, Some(PublishError::Encode(error)));
                }
                Err(error) => {
                    // Messages that were sent before are still acknowledged.
                    self.failure = Some(self.plan.client.diagnostics.failure(error.into()));
                    self.input_ended = true;
                    return;
                }
            }
        }
    }

    /// Reports the messages that the client has given up: after MAXIMUM_LOSSES lost connections, or because the broker
    /// has lost the session and now announces smaller limits.
    fn report_rejected(&mut self) {
        for rejected in self.event_loop.take_rejected() {
            self.reject(&rejected.message, rejected.error);
        }
    }

    /// Reports a message that the broker does not accept, or, without an error, for which the broker closed the
    /// connection several times. rpub continues with the next line: one bad line of a log must not stop the others.
    fn reject(&mut self, message: &Message, error: Option<PublishError>) {
        self.progress.rejected += 1;
        let size = message.payload.len();
        let why = match error {
            Some(error) => error.to_string(),
            None => "the broker closed the connection".to_owned(),
        };
        let (reason_code, what) = match error {
            Some(PublishError::QoSNotSupported) => (ReasonCode::QoSNotSupported, "was given up"),
            Some(PublishError::RetainNotSupported) => {
                (ReasonCode::RetainNotSupported, "was given up")
            }
            _ => (ReasonCode::PacketTooLarge, "is too large for the broker"),
        };
        let text = format!("A message of {size} bytes {what}: {why}.");
        self.plan.client.diagnostics.warn(&text);
        let status = Status::of_reason(reason_code);
        // The text is printed already, so the failure only sets the exit status.
        self.failure = Some(Failure::unmarked(status, text).quiet_if(true));
    }

    /// Returns `true` if another message may be added. Flushes at most once in a call of `publish`; `has_flushed` is
    /// set then.
    fn has_room(&mut self, has_flushed: &mut bool) -> bool {
        if self.event_loop.unwritten() >= MAXIMUM_UNWRITTEN {
            self.event_loop.flush();
            if std::mem::replace(has_flushed, true) {
                self.has_more = self.event_loop.unwritten() < MAXIMUM_UNWRITTEN;
                return false;
            }
        }
        // A line of JSON may have any QoS.
        let needs_window = self.plan.qos > QoS::AtMostOnce || self.plan.has_json();
        self.event_loop.unwritten() < MAXIMUM_UNWRITTEN
            && (!needs_window || self.event_loop.has_room())
    }

    /// Returns the next message, or `None` if no more is ready now.
    fn next_message(&mut self) -> Option<OutboundMessage> {
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

/// Sets the class `Temporary` if the broker has acknowledged some of the messages but not all.
fn graded(failure: Failure, published: Published) -> Failure {
    // `Temporary` tells a script to try again. With invalid input another attempt would fail, too.
    if published.is_partial() && failure.class() != Class::Data {
        failure.with_class(Class::Temporary)
    } else {
        failure
    }
}
