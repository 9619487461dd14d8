//! The loop of rsub and rrr: connect, subscribe, perhaps ask, print what comes, end. What is done with
//! each event is in `state.rs`.

mod event_handler;
mod pending_requests;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::Session;
use mqtt_client::{ClientError, EventLoop, Options, Wakeup};
use mqtt_codec::{
    Disconnect, Message, ProtocolVersion, QoS, ReasonCode, SubscribeProperties, Subscription,
    TopicFilter, TopicName, UnsubscribeProperties,
};

use crate::commands::signals::Interrupts;
use crate::commands::subscriber::pending_requests::Requests;
use crate::diagnostics::Outcome;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::options::ConnectionSettings;
use crate::output::ack_queue::Outbox;
use crate::output::printer::{Printer, Printing};
use crate::output::stdout_thread::Writer;
use crate::wording::{counted, system_text};

use event_handler::State;

/// How long the good-bye may take: the last handshakes, and the last bytes.
const GRACE: Duration = Duration::from_secs(5);

/// The same when the time of `-W` is over.
const LATE_GRACE: Duration = Duration::from_secs(1);

/// How long a reader of standard output that takes nothing is waited for at the end.
const WRITE_GRACE: Duration = Duration::from_secs(1);

/// What will be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: Options,
    pub(crate) session: Option<Session>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) subscribe_properties: SubscribeProperties,
    pub(crate) unsubscribe: Vec<TopicFilter>,
    pub(crate) unsubscribe_properties: UnsubscribeProperties,
    pub(crate) disconnect: Disconnect,
    pub(crate) printing: Printing,
    pub(crate) count: Option<u64>,
    /// End when the subscriptions are there.
    pub(crate) only_subscribe: bool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) request: Option<Request>,
    pub(crate) debug: bool,
    pub(crate) outcome: Outcome,
}

/// What rrr asks, and where it waits for the answer.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) response_topic: TopicName,
    pub(crate) shows_latency: bool,
}

impl Plan {
    /// With what the shared options say; nothing is subscribed to yet.
    pub(crate) fn new(
        connection: &ConnectionSettings,
        options: Options,
        printing: Printing,
    ) -> Self {
        let properties = &connection.properties;
        Self {
            // A run keeps nothing of its session for the next one. Messages that earlier runs acknowledged were written.
            session: connection.keep_session.then(Session::without_state),
            outcome: Outcome::new(connection, options.servers.first()),
            options,
            subscriptions: Vec::new(),
            subscribe_properties: properties.subscribe.clone(),
            unsubscribe: Vec::new(),
            unsubscribe_properties: properties.unsubscribe.clone(),
            disconnect: Disconnect {
                reason_code: ReasonCode::Success,
                properties: properties.disconnect.clone(),
            },
            printing: Printing {
                quiet: connection.quiet,
                ..printing
            },
            count: None,
            only_subscribe: false,
            deadline: None,
            request: None,
            debug: connection.debug && !connection.quiet,
        }
    }

    /// Returns `true` if the session outlives the connection.
    fn keeps_session(&self) -> bool {
        let connect = &self.options.connect;
        match connect.protocol_version {
            ProtocolVersion::V5_0 => connect.properties.session_expiry_interval.unwrap_or(0) > 0,
            _ => !connect.clean_start,
        }
    }

    /// Returns `true` if RETAIN of a message that comes is that of its publisher.
    fn retains_as_published(&self) -> bool {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.any(|subscription| subscription.options.retain_as_published)
    }

    /// Does it.
    pub(crate) fn run(self) -> Result<Status, Failure> {
        let quiet = self.printing.quiet;
        let subscriber = Subscriber::new(self)?;
        subscriber.run().map_err(|failure| failure.quiet_if(quiet))
    }
}

struct Subscriber {
    event_loop: EventLoop,
    state: State,
    interrupts: Interrupts,
}

impl Subscriber {
    fn new(mut plan: Plan) -> Result<Self, Failure> {
        let outcome = plan.outcome.clone();
        let fail = |error: ClientError| outcome.failure(error);
        let session = plan.session.take();
        let mut event_loop = EventLoop::new(plan.options.clone(), session).map_err(fail)?;
        #[allow(unused_mut)] // only Unix has a source
        let mut interrupts = Interrupts::listen().map_err(|error| {
            Failure::failed(format!("Cannot wait for signals: {}.", system_text(&error)))
        })?;
        #[cfg(unix)]
        {
            event_loop
                .register(&mut interrupts.source)
                .map_err(|error| fail(error.into()))?;
            if !io::stdout().is_terminal() {
                // A file cannot be watched, and does not go away.
                let _ = event_loop.watch_for_end(&mut mio::unix::SourceFd(&1));
            }
        }
        let writer = Writer::start(event_loop.waker()).map_err(|error| {
            Failure::failed(format!("Cannot start a thread: {}.", system_text(&error)))
        })?;
        let mut state = State {
            printer: Printer::new(std::mem::take(&mut plan.printing)),
            plan,
            outbox: Outbox::new(writer),
            requests: Requests::default(),
            removals: VecDeque::new(),
            request_sent: None,
            ending: None,
            was_connected: false,
        };
        state.printer.begin(&mut state.outbox.text);
        Ok(Self {
            event_loop,
            state,
            interrupts,
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let deadline = self.state.deadline();
            let state = &mut self.state;
            let wakeup = self.event_loop.poll(deadline, |connection, event| {
                state.handle(connection, &event)
            });
            let wakeup = match wakeup {
                Ok(wakeup) => wakeup,
                Err(error) => {
                    let failure = self.state.plan.outcome.failure(error);
                    return match self.write_rest() {
                        Ok(rest) => Err(self.state.with_rest(failure, rest)),
                        Err(error) => self.cannot_write(&error),
                    };
                }
            };
            self.state.tick(self.event_loop.is_connected());
            if self.event_loop.is_connected() {
                self.state.publish(&mut self.event_loop);
            }
            if let Err(error) = self.state.advance(&mut self.event_loop) {
                return self.cannot_write(&error);
            }
            if self.event_loop.has_watched_ended() {
                return self.cannot_write(&io::ErrorKind::BrokenPipe.into());
            }
            self.pause_or_resume();
            if let Some(status) = self.interrupts.asked() {
                return self.interrupted(status);
            }
            if self.state.is_complete() && self.state.outbox.is_empty() {
                return self.complete();
            }
            if self.state.is_too_late() {
                return self.too_late();
            }
            let server = self.event_loop.server();
            match wakeup {
                Wakeup::Disconnected(error, wait) => {
                    self.state.connection_lost();
                    let told = self.state.plan.outcome.tell_loss(error, wait, server);
                    if let Err(failure) = told {
                        let rest = self.write_rest().unwrap_or(0);
                        return Err(self.state.with_rest(failure, rest));
                    }
                }
                Wakeup::Found => self.state.plan.outcome.turn_to(server),
                Wakeup::Deadline | Wakeup::Progress => {}
            }
        }
    }

    /// No message is taken that there is no room for, and no connection made again before the
    /// messages of the last one are acknowledged.
    fn pause_or_resume(&mut self) {
        let outbox = &self.state.outbox;
        if outbox.is_full() || !self.event_loop.is_connected() && !outbox.is_empty() {
            self.event_loop.pause();
        } else {
            self.event_loop.resume();
        }
    }

    fn complete(mut self) -> Result<Status, Failure> {
        self.finish_handshakes();
        self.disconnect(ReasonCode::Success, GRACE);
        self.state.ending.take().unwrap_or(Ok(Status::Success))
    }

    /// Asked to end: what was taken is written, if somebody reads it.
    fn interrupted(mut self, status: Status) -> Result<Status, Failure> {
        let rest = self.write_rest().unwrap_or(0);
        match self.state.plan.request {
            None => self.disconnect(ReasonCode::DisconnectWithWillMessage, GRACE),
            Some(_) => self.die(),
        }
        // A signal is the normal end, unless a number of messages was asked for.
        let mut parts = Vec::new();
        if let Some(count) = self.state.plan.count.filter(|_| io::stderr().is_terminal()) {
            let received = self.state.printer.count;
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
            self.state.plan.outcome.warn(&text);
        }
        Ok(match self.state.was_connected {
            true => Status::Success,
            false => status,
        })
    }

    fn too_late(mut self) -> Result<Status, Failure> {
        let rest = self.write_rest().unwrap_or(0); // that it is too late says more than an error
        self.disconnect(ReasonCode::DisconnectWithWillMessage, LATE_GRACE);
        let failure = Failure::unmarked(Status::TimedOut, "Timed out");
        Err(self.state.with_rest(failure, rest))
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
            self.state.advance(&mut self.event_loop)?;
            if self.state.outbox.is_empty() || Instant::now() >= end {
                return Ok(self.state.outbox.waiting());
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
            .state
            .plan
            .deadline
            .map_or(grace, |deadline| deadline.min(grace));
        self.event_loop.resume();
        while self.unfinished() > 0 && self.interrupts.asked().is_none() && Instant::now() < end {
            let state = &mut self.state;
            // Further messages are neither printed nor acknowledged.
            let wakeup = self.event_loop.poll(Some(end), |_, event| {
                state.handle_delivered(&event);
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
        let received = match self.state.plan.request.is_none() || self.state.plan.keeps_session() {
            true => connection.map_or(0, |connection| connection.unfinished_received()),
            false => 0,
        };
        self.event_loop.unfinished() + received
    }

    /// Lets the broker publish the will in each version: a signal kills mosquitto_rr, while mosquitto_sub ends with
    /// DISCONNECT.
    fn die(&mut self) {
        let disconnect = self.state.plan.disconnect.clone();
        let _ = self.event_loop.disconnect_with_will(disconnect, GRACE);
        let _ = self.write_rest();
    }

    /// Says good-bye. That it is not heard is no failure: the work is done.
    fn disconnect(&mut self, reason_code: ReasonCode, grace: Duration) {
        let disconnect = Disconnect {
            reason_code,
            ..self.state.plan.disconnect.clone()
        };
        let _ = self.event_loop.disconnect(disconnect, grace);
        // The last lines of `-d`.
        let _ = self.write_rest();
    }
}
