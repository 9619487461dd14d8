//! The loop of rsub and rrr: connect, subscribe, perhaps ask, print what comes, end. What is done with
//! each event is in `state.rs`.

mod state;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::Session;
use mqtt_client::{ClientError, Driver, Options, Wake};
use mqtt_codec::{
    Disconnect, Message, QoS, ReasonCode, SubscribeProperties, Subscription, TopicFilter,
    TopicName, UnsubscribeProperties,
};

use crate::exit::{Failure, Status, system_text, warn};
use crate::options::ConnectionSettings;
use crate::outbox::Outbox;
use crate::outcome;
use crate::printer::{Printer, Printing};
use crate::requests::Requests;
use crate::signal::Interrupts;
use crate::writer::Writer;

use state::State;

/// How long the good-bye may take: the last handshakes, and the last bytes.
const GRACE: Duration = Duration::from_secs(5);

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
    pub(crate) quiet: bool,
    pub(crate) target: String,
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
            // Earlier runs finished what they acknowledged.
            session: connection.keep_session.then(Session::default),
            options,
            subscriptions: Vec::new(),
            subscribe_properties: properties.subscribe.clone(),
            unsubscribe: Vec::new(),
            unsubscribe_properties: properties.unsubscribe.clone(),
            disconnect: Disconnect {
                reason_code: ReasonCode::Success,
                properties: properties.disconnect.clone(),
            },
            printing,
            count: None,
            only_subscribe: false,
            deadline: None,
            request: None,
            debug: connection.debug,
            quiet: connection.quiet,
            target: connection.target(),
        }
    }

    /// Does it.
    pub(crate) fn run(self) -> Result<Status, Failure> {
        let quiet = self.quiet;
        let subscriber = Subscriber::new(self);
        subscriber
            .and_then(Subscriber::run)
            .map_err(|failure| failure.quiet_if(quiet))
    }
}

struct Subscriber {
    driver: Driver,
    state: State,
    interrupts: Interrupts,
}

impl Subscriber {
    fn new(mut plan: Plan) -> Result<Self, Failure> {
        let version = plan.options.connect.protocol_version;
        let fail = |error: ClientError| outcome::failure(error, version, &plan.target);
        let session = plan.session.take();
        let mut driver = Driver::new(plan.options.clone(), session).map_err(fail)?;
        #[allow(unused_mut)] // only Unix has a source
        let mut interrupts = Interrupts::listen()
            .map_err(|error| Failure::failed(format!("Cannot wait for signals: {error}.")))?;
        #[cfg(unix)]
        {
            driver
                .register(&mut interrupts.source)
                .map_err(|error| fail(error.into()))?;
            if !io::stdout().is_terminal() {
                // A file cannot be watched, and does not go away.
                let _ = driver.watch_for_end(&mut mio::unix::SourceFd(&1));
            }
        }
        let writer = Writer::start(driver.waker())
            .map_err(|error| Failure::failed(format!("Cannot start a thread: {error}.")))?;
        let mut state = State {
            printer: Printer::new(std::mem::take(&mut plan.printing)),
            plan,
            outbox: Outbox::new(writer),
            requests: Requests::default(),
            removals: VecDeque::new(),
            request_sent: None,
            ending: None,
        };
        state.printer.begin(&mut state.outbox.text);
        Ok(Self {
            driver,
            state,
            interrupts,
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let deadline = self.state.deadline();
            let state = &mut self.state;
            let wake = self.driver.turn(deadline, |connection, event| {
                state.handle(connection, &event)
            });
            let wake = match wake {
                Ok(wake) => wake,
                Err(error) => {
                    if let Err(error) = self.write_rest() {
                        return self.cannot_write(&error);
                    }
                    return Err(self.state.failure(error));
                }
            };
            if self.driver.is_connected() {
                self.state
                    .printer
                    .tick(Instant::now(), &mut self.state.outbox.text);
                self.state.publish(&mut self.driver)?;
            }
            if let Err(error) = self.state.outbox.advance(&mut self.driver) {
                return self.cannot_write(&error);
            }
            if self.driver.has_watched_ended() {
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
                let _ = self.write_rest(); // that it is too late says more
                self.disconnect(ReasonCode::DisconnectWithWillMessage);
                return Err(Failure::unmarked(Status::TimedOut, "Timed out"));
            }
            if let Wake::Disconnected(error, wait) = wake {
                self.state.requests = Requests::default();
                self.state.tell_loss(&error, wait);
            }
        }
    }

    /// No message is taken that there is no room for, and no connection made again before the
    /// messages of the last one are acknowledged.
    fn pause_or_resume(&mut self) {
        let outbox = &self.state.outbox;
        if outbox.is_full() || !self.driver.is_connected() && !outbox.is_empty() {
            self.driver.pause();
        } else {
            self.driver.resume();
        }
    }

    fn complete(mut self) -> Result<Status, Failure> {
        self.finish_handshakes();
        self.disconnect(ReasonCode::Success);
        self.state.ending.take().unwrap_or(Ok(Status::Success))
    }

    /// Asked to end: what was taken is written, if somebody reads it.
    fn interrupted(mut self, status: Status) -> Result<Status, Failure> {
        let connected = self.driver.is_connected();
        let rest = self.write_rest().unwrap_or(0);
        self.disconnect(ReasonCode::DisconnectWithWillMessage);
        // On a terminal a person wants to know; in a script only what is amiss is worth a line.
        let is_told = rest > 0 || io::stderr().is_terminal();
        if is_told && !self.state.plan.quiet {
            let count = self.state.printer.count;
            let mut text = format!("Interrupted: {count} messages were received");
            if rest > 0 {
                text += &format!(", {rest} bytes of them could not be written");
            }
            warn(&(text + "."));
        }
        Ok(if connected { Status::Success } else { status })
    }

    /// The reader has seen enough, or there is no room. What it did not get is not acknowledged.
    fn cannot_write(&mut self, error: &io::Error) -> Result<Status, Failure> {
        self.disconnect(ReasonCode::Success);
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
        self.driver.pause();
        loop {
            self.state.outbox.advance(&mut self.driver)?;
            if self.state.outbox.is_empty() || Instant::now() >= end {
                return Ok(self.state.outbox.waiting());
            }
            // Nothing is read in a pause; the writer ends the wait.
            self.driver.wait_only(end);
        }
    }

    /// The messages of QoS 2 that were printed, and what was published: lets the broker finish with
    /// them, for a while.
    fn finish_handshakes(&mut self) {
        let end = Instant::now() + GRACE;
        let unfinished = |driver: &mut Driver| {
            let received = driver
                .connection()
                .map(|connection| connection.unfinished_received());
            driver.unfinished() + received.unwrap_or(0) > 0
        };
        self.driver.resume();
        while unfinished(&mut self.driver) && Instant::now() < end {
            // Further messages are neither printed nor acknowledged.
            let turn = self
                .driver
                .turn(Some(end), |_, _| ControlFlow::Continue(()));
            if !matches!(turn, Ok(Wake::Progress)) {
                break;
            }
        }
    }

    /// Says good-bye. That it is not heard is no failure: the work is done.
    fn disconnect(&mut self, reason_code: ReasonCode) {
        let disconnect = Disconnect {
            reason_code,
            ..self.state.plan.disconnect.clone()
        };
        let _ = self.driver.disconnect(disconnect, GRACE);
    }
}
