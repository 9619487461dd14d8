//! The loop of rsub and rrr: connects, subscribes, publishes the request of rrr, prints messages, and disconnects.
//!
//! `plan.rs` has the plan, `request.rs` the request of rrr, and `inbox.rs` its response topic. `event_handler.rs`
//! handles each event, `deadlines.rs` handles each time that has come, `pending_requests.rs` counts the answers to
//! SUBSCRIBE and UNSUBSCRIBE, and `snapshot.rs` and `barrier.rs` find the end of the retained messages. This file has
//! the loop and each way to end it.

mod barrier;
mod deadlines;
mod event_handler;
mod inbox;
mod pending_requests;
mod plan;
mod request;
mod snapshot;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mqtt_client::{EventLoop, Wakeup};
use mqtt_codec::{Disconnect, ReasonCode};

use crate::commands::deadline;
use crate::commands::handlers::Jobs;
use crate::commands::setup;
use crate::commands::signals::Interrupts;
use crate::commands::silence::Watchdog;
use crate::commands::subscriber::pending_requests::PendingRequests;
use crate::commands::verdict::{Messages, SharedVerdict};
use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::flags::program::Program;
use crate::flags::settings::connection::ClientSettings;
use crate::output::ack_queue::AckQueue;
use crate::output::logger;
use crate::output::messages::warn;
use crate::output::printer::Printer;
use crate::output::stdout_thread::StdoutThread;
use crate::wording::{counted, system_text};

use barrier::Barrier;
use event_handler::EventHandler;
pub(super) use inbox::{Inbox, random_text};
pub(super) use plan::SubscribePlan;
pub(super) use request::{Request, RespondTo};

/// The time in which the last acknowledgements must arrive and the last bytes must be sent.
const GRACE: Duration = Duration::from_secs(5);

/// Maximum time that the program waits at its end for the reader of standard output.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// Runs rsub or rrr: creates the plan from the settings of `program`, and executes the plan.
///
/// # Errors
/// The failure that the caller prints to standard error.
pub(super) fn run<S>(program: &Program<S>, arguments: &[OsString]) -> Result<Status, Failure>
where
    S: ClientSettings + Default,
    SubscribePlan: TryFrom<S, Error = Failure>,
{
    setup::run(
        program,
        arguments,
        logger::start_for_subscriber,
        |settings, verdict| carry_out(SubscribePlan::try_from(settings)?, verdict),
    )
}

fn carry_out(plan: SubscribePlan, verdict: &SharedVerdict) -> Result<Status, Failure> {
    let quiet = plan.printing.quiet;
    let subscriber = Subscriber::new(plan, verdict)?;
    let result = subscriber.run();
    let messages = verdict
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .messages;
    let summary = messages.and_then(|messages| messages.summary());
    match (&result, messages, &summary) {
        // A signal is the normal end of a service.
        (Ok(_), Some(Messages::Requests(_)), Some(summary)) if !quiet => warn(summary),
        _ => {}
    }
    result.map_err(|failure| failure.with_further_hint(summary).quiet_if(quiet))
}

/// The state of a run.
struct Subscriber {
    event_loop: EventLoop,
    handler: EventHandler,
    interrupts: Interrupts,
    verdict: SharedVerdict,
}

impl Drop for Subscriber {
    /// Fills in the verdict. `drop` does so because the loop has many ways to end, and each of them needs the verdict.
    fn drop(&mut self) {
        let handler = &self.handler;
        let server = handler.plan.client.diagnostics.server().to_owned();
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.server = Some(server);
        verdict.messages = Some(handler.messages());
        let silent = handler.watchdog.as_ref().map(Watchdog::silent_filters);
        verdict.silent_filters = silent;
    }
}

impl Subscriber {
    fn new(mut plan: SubscribePlan, verdict: &SharedVerdict) -> Result<Self, Failure> {
        #[allow(unused_mut)] // only Unix watches standard output
        let (mut event_loop, interrupts) = plan.client.start()?;
        #[cfg(unix)]
        if !io::stdout().is_terminal() {
            // When the reader of a pipe ends, the program ends too, even if no message arrives. A regular file cannot
            // be polled and has no reader, so the error is ignored.
            let _ = event_loop.watch_for_end(&mut mio::unix::SourceFd(&1));
        }
        let stdout = StdoutThread::start(event_loop.waker()).map_err(|error| {
            Failure::failed(format!("Cannot start a thread: {}.", system_text(&error)))
        })?;
        let mut handler = EventHandler {
            printer: Printer::new(std::mem::take(&mut plan.printing)),
            jobs: plan
                .handlers
                .take()
                .map(|handlers| Jobs::new(handlers, event_loop.waker())),
            ack_queue: AckQueue::new(stdout),
            requests: PendingRequests::default(),
            barrier: plan.is_snapshot.then(Barrier::default),
            idle_since: None,
            watchdog: plan
                .expectation
                .take()
                .map(|expectation| Watchdog::new(expectation, event_loop.waker())),
            removals: VecDeque::new(),
            ending: None,
            was_connected: false,
            plan,
        };
        // The heading of --watch is printed before the client connects.
        handler.printer.begin(&mut handler.ack_queue.text);
        Ok(Self {
            event_loop,
            handler,
            interrupts,
            verdict: Arc::clone(verdict),
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let deadline = self.handler.deadline();
            let handler = &mut self.handler;
            let wakeup = self.event_loop.poll(deadline, |connection, event| {
                handler.handle(connection, &event)
            });
            let wakeup = match wakeup {
                Ok(wakeup) => wakeup,
                Err(error) => {
                    let failure = self.handler.diagnostics().failure(error);
                    // Messages that arrived before the error are still printed.
                    return match self.write_rest() {
                        Ok(rest) => Err(self.handler.with_rest(failure, rest)),
                        Err(error) => self.cannot_write(&error),
                    };
                }
            };
            self.handler.tick(self.event_loop.is_connected());
            self.handler.check_idle();
            self.handler.check_silence(self.event_loop.is_connected());
            self.handler.check_gathering();
            if self.event_loop.is_connected() {
                self.handler.publish(&mut self.event_loop);
            }
            self.handler.print_waiting();
            // The call comes before `advance_jobs`. Otherwise another handler would start if one ends together with a
            // signal.
            if self.interrupts.asked().is_some() {
                self.handler.stop_jobs();
            }
            self.handler.advance_jobs(&mut self.event_loop);
            // `advance` runs after `publish`, so that the `-d` lines of sent packets are written in the order of the
            // packets.
            if let Err(error) = self.handler.advance(&mut self.event_loop) {
                return self.cannot_write(&error);
            }
            // The call comes after `advance`, which acknowledges the messages that were written.
            if self.handler.barrier.is_some() && self.event_loop.is_connected() {
                self.handler.advance_snapshot(&mut self.event_loop);
                // This call writes the lines of --diff.
                if let Err(error) = self.handler.advance(&mut self.event_loop) {
                    return self.cannot_write(&error);
                }
            }
            if self.event_loop.has_watched_ended() {
                return self.cannot_write(&io::ErrorKind::BrokenPipe.into());
            }
            self.pause_or_resume();
            if let Some(status) = self.interrupts.asked() {
                if !self.handler.waits_for_jobs() {
                    return self.interrupted(status);
                }
            }
            // `rsub -C 1` must not end before the message is on standard output, so the text must be written too.
            if self.handler.is_complete(self.event_loop.unfinished())
                && self.handler.ack_queue.is_empty()
                && !self.handler.waits_for_residents()
            {
                return self.complete();
            }
            if self.handler.is_too_late() {
                return self.too_late();
            }
            let server = self.event_loop.server();
            match wakeup {
                Wakeup::Disconnected(error, wait) => {
                    self.handler.connection_lost();
                    let reported = self.handler.diagnostics().report_loss(error, wait, server);
                    if let Err(failure) = reported {
                        let rest = self.write_rest().unwrap_or(0);
                        return Err(self.handler.with_rest(failure, rest));
                    }
                }
                Wakeup::Found => self.handler.diagnostics().set_server(server),
                Wakeup::Deadline | Wakeup::Progress => {}
            }
        }
    }

    /// Pauses the event loop while the queue for standard output or for handlers is full, or while messages of a lost
    /// connection are not written or handled. In a pause the loop does not read and does not connect, but still sends
    /// pings.
    ///
    /// The client must write these messages and acknowledge them in the session before it reconnects. Otherwise the
    /// broker would resend a QoS 2 message that the session does not know, and rsub would print it twice.
    fn pause_or_resume(&mut self) {
        if self.handler.must_pause(self.event_loop.is_connected()) {
            self.event_loop.pause();
        } else {
            self.event_loop.resume();
        }
    }

    /// Ends the program after all its work is done.
    fn complete(mut self) -> Result<Status, Failure> {
        self.finish_handshakes();
        self.disconnect(ReasonCode::Success, GRACE);
        self.handler.ending.take().unwrap_or(Ok(Status::Success))
    }

    /// Ends the program because of a signal. Received messages are written before, if the reader of standard output
    /// accepts them.
    fn interrupted(mut self, status: Status) -> Result<Status, Failure> {
        let rest = self.write_rest().unwrap_or(0);
        match self.handler.plan.request {
            None => self.disconnect(ReasonCode::DisconnectWithWillMessage, GRACE),
            Some(_) => self.die(),
        }
        // A signal is the normal end of rsub. A line is printed only if the user waits for a number of messages (-C),
        // or if messages are lost.
        let mut parts = Vec::new();
        let received = self.handler.printer.count;
        let request = self.handler.plan.request.as_ref();
        let strict_request = request.filter(|request| request.is_strict);
        let is_strict = strict_request.is_some();
        let count = self.handler.plan.count;
        if let Some(request) = strict_request {
            parts.push(request.responses(received).to_string());
        } else if let Some(count) = count.filter(|_| io::stderr().is_terminal()) {
            parts.push(format!(
                "received {received} of {}",
                counted(count, "message")
            ));
        }
        let removals = self
            .handler
            .unacknowledged_removals(self.event_loop.unfinished());
        if removals > 0 {
            let messages = counted(removals as u64, "retained message");
            parts.push(format!("the removal of {messages} is not acknowledged"));
        }
        if rest > 0 {
            let bytes = counted(rest as u64, "byte");
            parts.push(format!("{bytes} of received messages could not be written"));
        }
        if !parts.is_empty() {
            let text = format!("Interrupted: {}.", parts.join("; "));
            self.handler.diagnostics().warn(&text);
        }
        if self.handler.plan.is_check {
            let text = "A signal ended rsub before the check was complete.";
            return Err(Failure::failed(text).with_class(Class::Interrupted));
        }
        // A subscriber has no end of its own, so a signal is a success if the broker had accepted a connection. As in
        // mosquitto_rr, the same applies to a request, unless it uses options that mosquitto_rr does not have.
        Ok(if self.handler.was_connected && !is_strict {
            Status::Success
        } else {
            status
        })
    }

    /// Ends the program because of `-W`.
    fn too_late(mut self) -> Result<Status, Failure> {
        // A write error is ignored here: the timeout is the failure to report.
        let rest = self.write_rest().unwrap_or(0);
        // The handlers are killed, because the deadline bounds their work, too.
        if let Some(jobs) = &mut self.handler.jobs {
            jobs.kill();
        }
        self.disconnect(ReasonCode::DisconnectWithWillMessage, deadline::GRACE);
        Err(self.handler.with_rest(deadline::failure(), rest))
    }

    /// Ends the program because standard output cannot be written. Messages that were not written are not acknowledged,
    /// so a broker with a session delivers them again. A closed pipe is a success, because the reader has chosen to
    /// end.
    fn cannot_write(&mut self, error: &io::Error) -> Result<Status, Failure> {
        self.disconnect(ReasonCode::Success, GRACE);
        // `rsub | head -1` ends this way. With `--check`, status 0 would mean that the check has succeeded.
        if error.kind() == io::ErrorKind::BrokenPipe && !self.handler.plan.is_check {
            return Ok(Status::Success);
        }
        let text = system_text(error);
        Err(
            Failure::failed(format!("Cannot write the messages: {text}."))
                .with_class(Class::Output),
        )
    }

    /// Writes the received messages, for at most [`WRITE_GRACE`]. Returns the number of bytes that are left.
    ///
    /// # Errors
    /// If standard output cannot be written.
    fn write_rest(&mut self) -> io::Result<usize> {
        let end = Instant::now() + self.handler.plan.client.at_most(WRITE_GRACE);
        self.event_loop.pause();
        loop {
            self.handler.print_rest();
            self.handler.advance(&mut self.event_loop)?;
            if self.handler.ack_queue.is_empty() || Instant::now() >= end {
                return Ok(self.handler.ack_queue.waiting());
            }
            // The event loop is paused and reads nothing. The thread of standard output wakes it.
            self.event_loop.wait_only(end);
        }
    }

    /// Waits for the acknowledgements of messages that were printed or published. Without PUBREL and PUBCOMP, a broker
    /// with a session would keep the exchange of a QoS 2 message that was printed.
    fn finish_handshakes(&mut self) {
        // The deadline of -W also ends this wait.
        let end = Instant::now() + self.handler.plan.client.at_most(GRACE);
        self.event_loop.resume();
        while self.unfinished() > 0 && self.interrupts.asked().is_none() && Instant::now() < end {
            let handler = &mut self.handler;
            // Messages that arrive now are neither printed nor acknowledged.
            let wakeup = self.event_loop.poll(Some(end), |_, event| {
                handler.handle_delivered(&event);
                ControlFlow::Continue(())
            });
            // Without a connection no acknowledgement can arrive. The work itself is done.
            if !matches!(wakeup, Ok(Wakeup::Progress)) {
                break;
            }
        }
    }

    /// Returns the number of exchanges of QoS 1 and 2, in both directions, that are not finished.
    ///
    /// In rrr, an exchange of a QoS 2 response counts as finished after PUBREC if the session ends with the connection,
    /// because the broker then discards the exchange. If the session lasts longer, PUBREL must arrive first.
    fn unfinished(&mut self) -> usize {
        let connection = self.event_loop.connection();
        let received = if self.handler.plan.request.is_none() || self.handler.plan.keeps_session() {
            connection.map_or(0, |connection| connection.unfinished_received())
        } else {
            0
        };
        self.event_loop.unfinished() + received
    }

    /// Ends the connection so that the broker publishes the will in every MQTT version. A signal kills mosquitto_rr
    /// without DISCONNECT, whereas mosquitto_sub sends DISCONNECT.
    fn die(&mut self) {
        let disconnect = self.handler.plan.client.disconnect.clone();
        let grace = self.handler.plan.client.at_most(GRACE);
        let _ = self.event_loop.disconnect_with_will(disconnect, grace);
        let _ = self.write_rest();
    }

    /// Sends DISCONNECT. An error is ignored, because the work is done.
    fn disconnect(&mut self, reason_code: ReasonCode, grace: Duration) {
        let disconnect = Disconnect {
            reason_code,
            ..self.handler.plan.client.disconnect.clone()
        };
        let grace = self.handler.plan.client.at_most(grace);
        let _ = self.event_loop.disconnect(disconnect, grace);
        // The last lines of `-d` are about DISCONNECT.
        let _ = self.write_rest();
    }
}
