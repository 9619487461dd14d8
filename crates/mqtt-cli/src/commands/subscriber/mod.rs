//! The loop of rsub and rrr: connect, subscribe, perhaps ask, print what comes, end. What is done with
//! each event is in `event_handler.rs`.

mod event_handler;
mod pending_requests;
mod plan;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mqtt_client::{EventLoop, Wakeup};
use mqtt_codec::{Disconnect, ReasonCode};

use crate::commands::signals::Interrupts;
use crate::commands::subscriber::pending_requests::PendingRequests;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::output::ack_queue::AckQueue;
use crate::output::printer::Printer;
use crate::output::stdout_thread::StdoutThread;
use crate::wording::{counted, system_text};

use event_handler::EventHandler;
pub(super) use plan::{Request, SubscribePlan};

/// How long the good-bye may take: the last handshakes, and the last bytes.
const GRACE: Duration = Duration::from_secs(5);

/// The same when the time of `-W` is over.
const LATE_GRACE: Duration = Duration::from_secs(1);

/// How long a reader of standard output that takes nothing is waited for at the end.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// Carries out the plan.
///
/// # Errors
/// The reason for which the program did not do what it was asked to.
pub(super) fn run(plan: SubscribePlan) -> Result<Status, Failure> {
    let quiet = plan.printing.quiet;
    let subscriber = Subscriber::new(plan)?;
    subscriber.run().map_err(|failure| failure.quiet_if(quiet))
}

struct Subscriber {
    event_loop: EventLoop,
    handler: EventHandler,
    interrupts: Interrupts,
}

impl Subscriber {
    fn new(mut plan: SubscribePlan) -> Result<Self, Failure> {
        #[allow(unused_mut)] // only Unix watches standard output
        let (mut event_loop, interrupts) = plan.client.start()?;
        #[cfg(unix)]
        if !io::stdout().is_terminal() {
            // A file cannot be watched, and does not go away.
            let _ = event_loop.watch_for_end(&mut mio::unix::SourceFd(&1));
        }
        let writer = StdoutThread::start(event_loop.waker()).map_err(|error| {
            Failure::failed(format!("Cannot start a thread: {}.", system_text(&error)))
        })?;
        let mut handler = EventHandler {
            printer: Printer::new(std::mem::take(&mut plan.printing)),
            plan,
            ack_queue: AckQueue::new(writer),
            requests: PendingRequests::default(),
            removals: VecDeque::new(),
            request_sent: None,
            ending: None,
            was_connected: false,
        };
        handler.printer.begin(&mut handler.ack_queue.text);
        Ok(Self {
            event_loop,
            handler,
            interrupts,
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
                    let failure = self.handler.plan.client.diagnostics.failure(error);
                    return match self.write_rest() {
                        Ok(rest) => Err(self.handler.with_rest(failure, rest)),
                        Err(error) => self.cannot_write(&error),
                    };
                }
            };
            self.handler.tick(self.event_loop.is_connected());
            if self.event_loop.is_connected() {
                self.handler.publish(&mut self.event_loop);
            }
            if let Err(error) = self.handler.advance(&mut self.event_loop) {
                return self.cannot_write(&error);
            }
            if self.event_loop.has_watched_ended() {
                return self.cannot_write(&io::ErrorKind::BrokenPipe.into());
            }
            self.pause_or_resume();
            if let Some(status) = self.interrupts.asked() {
                return self.interrupted(status);
            }
            if self.handler.is_complete() && self.handler.ack_queue.is_empty() {
                return self.complete();
            }
            if self.handler.is_too_late() {
                return self.too_late();
            }
            let server = self.event_loop.server();
            match wakeup {
                Wakeup::Disconnected(error, wait) => {
                    self.handler.connection_lost();
                    let reported = self
                        .handler
                        .plan
                        .client
                        .diagnostics
                        .report_loss(error, wait, server);
                    if let Err(failure) = reported {
                        let rest = self.write_rest().unwrap_or(0);
                        return Err(self.handler.with_rest(failure, rest));
                    }
                }
                Wakeup::Found => self.handler.plan.client.diagnostics.set_server(server),
                Wakeup::Deadline | Wakeup::Progress => {}
            }
        }
    }

    /// No message is taken that there is no room for, and no connection made again before the
    /// messages of the last one are acknowledged.
    fn pause_or_resume(&mut self) {
        let ack_queue = &self.handler.ack_queue;
        if ack_queue.is_full() || !self.event_loop.is_connected() && !ack_queue.is_empty() {
            self.event_loop.pause();
        } else {
            self.event_loop.resume();
        }
    }

    fn complete(mut self) -> Result<Status, Failure> {
        self.finish_handshakes();
        self.disconnect(ReasonCode::Success, GRACE);
        self.handler.ending.take().unwrap_or(Ok(Status::Success))
    }

    /// Asked to end: what was taken is written, if somebody reads it.
    fn interrupted(mut self, status: Status) -> Result<Status, Failure> {
        let rest = self.write_rest().unwrap_or(0);
        match self.handler.plan.request {
            None => self.disconnect(ReasonCode::DisconnectWithWillMessage, GRACE),
            Some(_) => self.die(),
        }
        // A signal is the normal end, unless a number of messages was asked for.
        let mut parts = Vec::new();
        if let Some(count) = self
            .handler
            .plan
            .count
            .filter(|_| io::stderr().is_terminal())
        {
            let received = self.handler.printer.count;
            parts.push(format!(
                "received {received} of {}",
                counted(count, "message")
            ));
        }
        if rest > 0 {
            let bytes = counted(rest as u64, "byte");
            parts.push(format!("{bytes} of received messages could not be written"));
        }
        if !parts.is_empty() {
            let text = format!("Interrupted: {}.", parts.join("; "));
            self.handler.plan.client.diagnostics.warn(&text);
        }
        Ok(if self.handler.was_connected {
            Status::Success
        } else {
            status
        })
    }

    fn too_late(mut self) -> Result<Status, Failure> {
        let rest = self.write_rest().unwrap_or(0); // that it is too late says more than an error
        self.disconnect(ReasonCode::DisconnectWithWillMessage, LATE_GRACE);
        let failure = Failure::unmarked(Status::TimedOut, "Timed out");
        Err(self.handler.with_rest(failure, rest))
    }

    /// The reader has seen enough, or there is no room. What it did not get is not acknowledged.
    fn cannot_write(&mut self, error: &io::Error) -> Result<Status, Failure> {
        self.disconnect(ReasonCode::Success, GRACE);
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Ok(Status::Success);
        }
        let text = system_text(error);
        Err(Failure::failed(format!(
            "Cannot write the messages: {text}."
        )))
    }

    /// Writes what was taken, for a while; gives the number of bytes that are left.
    fn write_rest(&mut self) -> io::Result<usize> {
        let end = Instant::now() + WRITE_GRACE;
        self.event_loop.pause();
        loop {
            self.handler.advance(&mut self.event_loop)?;
            if self.handler.ack_queue.is_empty() || Instant::now() >= end {
                return Ok(self.handler.ack_queue.waiting());
            }
            // Nothing is read in a pause; the writer ends the wait.
            self.event_loop.wait_only(end);
        }
    }

    /// The messages of QoS 2 that were printed, and what was published: lets the broker finish with
    /// them, for a while.
    fn finish_handshakes(&mut self) {
        let grace = Instant::now() + GRACE;
        let end = self
            .handler
            .plan
            .deadline
            .map_or(grace, |deadline| deadline.min(grace));
        self.event_loop.resume();
        while self.unfinished() > 0 && self.interrupts.asked().is_none() && Instant::now() < end {
            let handler = &mut self.handler;
            // Further messages are neither printed nor acknowledged.
            let wakeup = self.event_loop.poll(Some(end), |_, event| {
                handler.handle_delivered(&event);
                ControlFlow::Continue(())
            });
            if !matches!(wakeup, Ok(Wakeup::Progress)) {
                break;
            }
        }
    }

    /// Exchanges of QoS 1 and 2, in both directions, that the broker has not finished. The response to a request is
    /// finished with its PUBREC, unless the session lasts: nobody asks for the rest of the exchange later.
    fn unfinished(&mut self) -> usize {
        let connection = self.event_loop.connection();
        let received = if self.handler.plan.request.is_none() || self.handler.plan.keeps_session() {
            connection.map_or(0, |connection| connection.unfinished_received())
        } else {
            0
        };
        self.event_loop.unfinished() + received
    }

    /// Lets the broker publish the will in each version: a signal kills mosquitto_rr, while mosquitto_sub ends with
    /// DISCONNECT.
    fn die(&mut self) {
        let disconnect = self.handler.plan.client.disconnect.clone();
        let _ = self.event_loop.disconnect_with_will(disconnect, GRACE);
        let _ = self.write_rest();
    }

    /// Says good-bye. That it is not heard is no failure: the work is done.
    fn disconnect(&mut self, reason_code: ReasonCode, grace: Duration) {
        let disconnect = Disconnect {
            reason_code,
            ..self.handler.plan.client.disconnect.clone()
        };
        let _ = self.event_loop.disconnect(disconnect, grace);
        // The last lines of `-d`.
        let _ = self.write_rest();
    }
}
