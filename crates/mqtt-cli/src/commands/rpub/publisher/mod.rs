//! The loop of rpub: connects, publishes messages as fast as the broker accepts them, waits for the acknowledgements,
//! and disconnects. `input.rs` makes the next message, and `ending.rs` disconnects and counts. Reconnecting and
//! resending is the work of `mqtt_client::EventLoop`.

mod ending;
mod input;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::{Event, OutboundMessage, PublishError};
use mqtt_client::{EventLoop, Wakeup};
use mqtt_codec::{EncodeError, Message, QoS, ReasonCode};

use crate::commands::rpub::line_numbers::LineNumbers;
use crate::commands::rpub::plan::{MAXIMUM_LOSSES, PublishPlan};
use crate::commands::rpub::progress::Progress;
use crate::commands::rpub::report;
use crate::commands::rpub::stdin_lines::StdinLines;
use crate::commands::signals::Interrupts;
use crate::commands::verdict::SharedVerdict;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::wording::counted;

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
                    Event::Connected { connack, .. } if !connack.session_present => {
                        lines.handle_lost_session();
                    }
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
            self.line_numbers.find_resent(&mut self.event_loop);
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
                    self.line_numbers.sent(identifier, &outgoing.message);
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
                    let is_too_large = matches!(error, EncodeError::PacketTooLarge(_));
                    let error = Some(PublishError::Encode(error));
                    self.reject(&outgoing.message, error, is_too_large);
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
            self.line_numbers.given_up(&rejected.message);
            self.reject(&rejected.message, rejected.error, rejected.is_too_large);
        }
    }

    /// Reports a message that the broker does not accept, or, without an error, for which the broker closed the
    /// connection. rpub continues with the next line: one bad line of a log must not stop the others.
    fn reject(&mut self, message: &Message, error: Option<PublishError>, is_too_large: bool) {
        self.progress.rejected += 1;
        let size = counted(message.payload.len() as u64, "byte");
        let why = match error {
            Some(error) => error.to_string(),
            None if is_too_large => "the broker closed the connection".to_owned(),
            // Brokers also close the connection for other reasons, such as a topic that the client may not publish to.
            None => format!(
                "the broker closed the connection {MAXIMUM_LOSSES} times in a row after it, perhaps because it is too large"
            ),
        };
        let what = if is_too_large {
            "is too large for the broker"
        } else {
            "was given up"
        };
        let reason_code = match error {
            Some(PublishError::QoSNotSupported) => ReasonCode::QoSNotSupported,
            Some(PublishError::RetainNotSupported) => ReasonCode::RetainNotSupported,
            _ if is_too_large => ReasonCode::PacketTooLarge,
            _ => ReasonCode::UnspecifiedError,
        };
        let text = format!("A message of {size} {what}: {why}.");
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
}
