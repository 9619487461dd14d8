//! The loop of rsub and rrr: connect, subscribe, perhaps ask, print what comes, end.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::{Connection, Event, Outgoing, PublishError, Session};
use mqtt_client::{ClientError, Driver, Options, Wake};
use mqtt_codec::{
    Disconnect, Message, Publish, QoS, ReasonCode, SubscribeProperties, Subscription, TopicFilter,
    TopicName, UnsubscribeProperties,
};

use crate::exit::{Failure, Status, system_text, warn};
use crate::options::ConnectionSettings;
use crate::outbox::Outbox;
use crate::outcome;
use crate::printer::{Fate, Printer, Printing};
use crate::requests::{Requests, Told};
use crate::signal::Interrupts;
use crate::writer::Writer;

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

/// What is done with each event; apart from the driver, which hands them over.
struct State {
    plan: Plan,
    printer: Printer,
    outbox: Outbox,
    requests: Requests,
    /// Empty retained messages that remove others.
    removals: VecDeque<TopicName>,
    request_sent: Option<Instant>,
    /// All that was asked for is there, or something ends it early.
    ending: Option<Result<Status, Failure>>,
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

impl State {
    fn handle(&mut self, connection: &mut Connection, event: &Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Connected { .. } => self.subscribe(connection),
            Event::Subscribed(suback) => {
                if self.plan.debug && !self.plan.quiet {
                    let codes = suback
                        .reason_codes
                        .iter()
                        .map(|code| code.value().to_string());
                    let codes = codes.collect::<Vec<_>>().join(", ");
                    log::debug!("Subscribed (mid: {}): {codes}", suback.packet_identifier);
                }
                let told = self.requests.subscribed(suback, &self.plan.subscriptions);
                self.tell(told);
            }
            Event::Unsubscribed(unsuback) => {
                let told = self.requests.unsubscribed(unsuback);
                self.tell(told);
            }
            Event::Message(received) if !self.is_complete() => {
                self.take(&received.publish());
            }
            Event::Delivered { reason_code, .. } if reason_code.is_error() => {
                let text = anyhow::anyhow!("Publish failed: {reason_code}.");
                let status = Status::of_reason(*reason_code);
                self.ending = Some(Err(Failure::new(status, text)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, publish: &Publish<'_>) {
        if self
            .plan
            .request
            .as_ref()
            .is_some_and(|request| !request.is_answered_by(publish))
        {
            self.outbox.acknowledge_when_written(publish.delivery);
            return;
        }
        match self.printer.print(publish, &mut self.outbox.text) {
            Fate::EndOfRetained => {
                self.ending.get_or_insert(Ok(Status::Success));
                return;
            }
            Fate::Taken | Fate::Dropped => {}
        }
        self.outbox.acknowledge_when_written(publish.delivery);
        self.removals.extend(self.printer.to_remove.drain(..));
        if let (Some(request), Some(sent)) = (&self.plan.request, self.request_sent) {
            if request.shows_latency {
                let line = format!("Latency: {}\n", latency(sent.elapsed()));
                self.outbox.text.extend_from_slice(line.as_bytes());
            }
        }
        if self
            .plan
            .count
            .is_some_and(|count| self.printer.count >= count)
        {
            self.ending.get_or_insert(Ok(Status::Success));
        }
    }

    /// With each connection, whether or not the server knows the session: the options may differ.
    fn subscribe(&mut self, connection: &mut Connection) {
        if let Err(error) = self.try_subscribe(connection) {
            self.ending = Some(Err(self.failure(error.into())));
        }
    }

    fn try_subscribe(&mut self, connection: &mut Connection) -> Result<(), PublishError> {
        let now = Instant::now();
        self.requests = Requests::default();
        if !self.plan.subscriptions.is_empty() {
            let subscriptions = self.plan.subscriptions.clone();
            let properties = self.plan.subscribe_properties.clone();
            connection.subscribe(now, subscriptions, properties)?;
            self.requests.expect();
        }
        for topic_filter in &self.plan.unsubscribe {
            let properties = self.plan.unsubscribe_properties.clone();
            connection.unsubscribe(now, vec![topic_filter.clone()], properties)?;
            self.requests.expect();
        }
        Ok(())
    }

    fn tell(&mut self, told: Told) {
        if !self.plan.quiet {
            told.warnings.iter().for_each(|text| warn(text));
        }
        if let Some(failure) = told.failure {
            self.ending = Some(Err(failure));
        } else if self.plan.only_subscribe && self.requests.are_answered() {
            self.ending.get_or_insert(Ok(Status::Success));
        }
    }

    /// What this program sends: the request, once its answer can arrive, and removals.
    fn publish(&mut self, driver: &mut Driver) -> Result<(), Failure> {
        if self.ending.as_ref().is_some_and(Result::is_err) {
            return Ok(());
        }
        if let (Some(request), None, true) = (
            &self.plan.request,
            self.request_sent,
            self.requests.are_answered(),
        ) {
            let outgoing = Outgoing::new(Arc::clone(&request.message), request.qos);
            driver
                .publish(outgoing)
                .map_err(|error| self.failure(error.into()))?;
            self.request_sent = Some(Instant::now());
        }
        while let Some(topic_name) = self.removals.front() {
            let message = Message {
                retain: true,
                ..Message::new(topic_name.clone(), "")
            };
            match driver.publish(Outgoing::new(Arc::new(message), QoS::AtLeastOnce)) {
                Ok(_) => drop(self.removals.pop_front()),
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => break,
                Err(error) => return Err(self.failure(error.into())),
            }
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.ending.is_some() && self.removals.is_empty()
    }

    /// The first of the program's own times.
    fn deadline(&self) -> Option<Instant> {
        let times = [self.plan.deadline, self.printer.deadline()];
        times.into_iter().flatten().min()
    }

    fn is_too_late(&self) -> bool {
        let deadline = self.plan.deadline;
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn failure(&self, error: ClientError) -> Failure {
        let version = self.plan.options.connect.protocol_version;
        outcome::failure(error, version, &self.plan.target)
    }

    fn tell_loss(&self, error: &ClientError, wait: Duration) {
        if !self.plan.quiet {
            let version = self.plan.options.connect.protocol_version;
            outcome::tell_loss(error, version, &self.plan.target, wait);
        }
    }
}

impl Request {
    /// Whether this is the answer: at the topic that was named, and not to somebody else's question.
    fn is_answered_by(&self, publish: &Publish<'_>) -> bool {
        let asked = self.message.properties.as_ref();
        let asked = asked.and_then(|properties| properties.correlation_data.as_deref());
        let answered = publish.properties.correlation_data;
        *publish.topic_name == *self.response_topic
            && (asked.is_none() || answered.is_none() || asked == answered)
    }
}

/// As mosquitto_rr prints it.
fn latency(time: Duration) -> String {
    let nanoseconds = time.subsec_nanos();
    match (time.as_secs(), nanoseconds) {
        (0, 0..1_000) => format!("{nanoseconds}ns"),
        (0, 1_000..1_000_000) => format!("{:.6}µs", f64::from(nanoseconds) / 1e3),
        (0, _) => format!("{:.6}ms", f64::from(nanoseconds) / 1e6),
        (seconds, _) => format!("{seconds}.{nanoseconds:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_as_mosquitto_rr_prints_it() {
        for (nanoseconds, expected) in [
            (999, "999ns"),
            (37_305, "37.305000µs"),
            (1_500_000, "1.500000ms"),
            (2_000_000_001, "2.000000001"),
        ] {
            assert_eq!(latency(Duration::from_nanos(nanoseconds)), expected);
        }
    }
}
