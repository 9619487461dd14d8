//! The loop of rpub: connect, publish what there is as fast as it is taken, wait for the
//! acknowledgements, end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_client::session::{Event, Outgoing, Printable, PublishError, Session};
use mqtt_client::{ClientError, Driver, Options, Wake};
use mqtt_codec::{Disconnect, Message, MessageProperties, QoS, ReasonCode, TopicName};

use crate::exit::{Failure, Status, system_text, warn};
use crate::input::{Lines, Next};
use crate::options::{ConnectionSettings, Content};
use crate::outcome;
use crate::progress::Progress;
use crate::signal::Interrupts;

/// How long the last bytes may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long acknowledgements are waited for after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// While so many bytes wait for the socket no message is added.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// What will be done.
#[derive(Debug)]
pub(crate) struct Plan {
    options: Options,
    session: Option<Session>,
    topic_name: TopicName,
    content: Content,
    properties: Option<Box<MessageProperties>>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) repeat: u64,
    /// Between the end of one message and the start of the next.
    pub(crate) delay: Duration,
    disconnect: Disconnect,
    has_progress: bool,
    quiet: bool,
    target: String,
}

impl Plan {
    /// With what the shared options say; once, QoS 0.
    pub(crate) fn new(
        connection: &ConnectionSettings,
        options: Options,
        topic_name: TopicName,
        content: Content,
    ) -> Self {
        let properties = &connection.properties;
        Self {
            // What this program keeps of a session is nothing: all of it was finished before.
            session: connection.keep_session.then(Session::default),
            options,
            topic_name,
            content,
            properties: properties.publish.clone(),
            qos: QoS::AtMostOnce,
            retain: false,
            repeat: 1,
            delay: Duration::ZERO,
            disconnect: Disconnect {
                reason_code: ReasonCode::Success,
                properties: properties.disconnect.clone(),
            },
            has_progress: !connection.quiet && !connection.debug && connection.trace.is_none(),
            quiet: connection.quiet,
            target: connection.target(),
        }
    }

    /// Does it.
    pub(crate) fn run(self) -> Result<Status, Failure> {
        let quiet = self.quiet;
        let publisher = Publisher::new(self);
        publisher
            .and_then(Publisher::run)
            .map_err(|failure| failure.quiet_if(quiet))
    }
}

/// Publishes what the plan says.
struct Publisher {
    driver: Driver,
    plan: Plan,
    interrupts: Interrupts,
    progress: Progress,
    lines: Option<Lines>,
    /// A message that could not be sent yet.
    held: Option<Arc<Message>>,
    /// Repetitions that are left.
    left: u64,
    /// Before this time no further message is sent.
    not_before: Option<Instant>,
    /// No further message is taken after a signal, and this is the end of the grace time.
    grace_ends: Option<Instant>,
    input_ended: bool,
    status: Status,
}

impl Publisher {
    fn new(mut plan: Plan) -> Result<Self, Failure> {
        let version = plan.options.connect.protocol_version;
        let fail = |error: ClientError| outcome::failure(error, version, &plan.target);
        let session = plan.session.take();
        #[allow(unused_mut)] // only Unix has a source
        let mut driver = Driver::new(plan.options.clone(), session).map_err(fail)?;
        #[allow(unused_mut)]
        let mut interrupts = Interrupts::listen()
            .map_err(|error| Failure::failed(format!("Cannot wait for signals: {error}.")))?;
        #[cfg(unix)]
        driver
            .register(&mut interrupts.source)
            .map_err(|error| fail(error.into()))?;
        let progress = Progress::new(plan.has_progress, &plan.content, plan.repeat);
        Ok(Self {
            driver,
            interrupts,
            progress,
            lines: None,
            held: None,
            left: plan.repeat,
            not_before: None,
            grace_ends: None,
            input_ended: false,
            status: Status::Success,
            plan,
        })
    }

    fn run(mut self) -> Result<Status, Failure> {
        loop {
            let deadlines = [self.not_before, self.grace_ends, self.progress.deadline()];
            let deadline = deadlines.into_iter().flatten().min();
            let (status, progress, quiet) = (&mut self.status, &mut self.progress, self.plan.quiet);
            let wake = self.driver.turn(deadline, |_, event| {
                if let Event::Delivered { .. } = event {
                    progress.acknowledged += 1;
                }
                if let Some(refused) = tell(&event, quiet) {
                    *status = refused;
                }
                ControlFlow::Continue(())
            });
            let wake = wake.map_err(|error| self.failure(error))?;
            if let Wake::Disconnected(error, wait) = wake {
                self.tell_loss(&error, wait);
            }
            if let Some(status) = self.interrupts.asked() {
                self.stop_taking(status);
            }
            if self.driver.is_connected() {
                self.publish().map_err(|error| self.failure(error.into()))?;
                self.progress.show(Instant::now(), self.driver.unwritten());
                if self.is_done() {
                    return self.end();
                }
            }
            if self
                .grace_ends
                .is_some_and(|end| Instant::now() >= end || !self.driver.is_connected())
            {
                return self.end();
            }
        }
    }

    /// A signal: what was sent may still be acknowledged, for a while.
    fn stop_taking(&mut self, status: Status) {
        if self.grace_ends.is_none() && !(self.input_ended && self.held.is_none()) {
            self.status = status;
        }
        let end = Instant::now() + GRACE;
        self.grace_ends.get_or_insert(end);
        self.input_ended = true;
        self.held = None;
    }

    /// Says good-bye, and what was lost.
    fn end(mut self) -> Result<Status, Failure> {
        self.progress.finish();
        let unfinished = self.unfinished();
        let interrupted = self.grace_ends.is_some();
        if interrupted && !self.plan.quiet {
            let Progress {
                published,
                acknowledged,
                ..
            } = self.progress;
            warn(&format!(
                "Interrupted: {published} messages were sent, {acknowledged} acknowledged, {unfinished} not."
            ));
        }
        let result = self
            .driver
            .disconnect(self.plan.disconnect.clone(), DISCONNECT_TIMEOUT);
        if interrupted {
            return Ok(self.status); // whether or not the good-bye was heard
        }
        result.map_err(|error| self.failure(error))?;
        Ok(self.status)
    }

    /// Messages that are not with the broker for sure.
    fn unfinished(&self) -> usize {
        self.driver.unfinished() + usize::from(self.held.is_some())
    }

    fn failure(&self, error: ClientError) -> Failure {
        self.progress.finish();
        let version = self.plan.options.connect.protocol_version;
        let failure = outcome::failure(error, version, &self.plan.target);
        match self.unfinished() {
            0 => failure,
            count => failure.with_hint(format!(
                "{count} messages were not acknowledged; the broker may have some of them."
            )),
        }
    }

    fn tell_loss(&self, error: &ClientError, wait: Duration) {
        if !self.plan.quiet {
            let version = self.plan.options.connect.protocol_version;
            outcome::tell_loss(error, version, &self.plan.target, wait);
        }
    }

    fn is_done(&self) -> bool {
        self.input_ended && self.held.is_none() && self.driver.unfinished() == 0
    }

    /// Publishes as much as there is, and as there is room for: the rest of the input waits.
    fn publish(&mut self) -> Result<(), PublishError> {
        while self.has_room() {
            let Some(message) = self.held.take().or_else(|| self.next_message()) else {
                return Ok(());
            };
            let outgoing = Outgoing::new(Arc::clone(&message), self.plan.qos);
            match self.driver.publish(outgoing) {
                Ok(_) => self.progress.published += 1,
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {
                    self.held = Some(message);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn has_room(&mut self) -> bool {
        if self.driver.unwritten() >= MAXIMUM_UNWRITTEN {
            self.driver.flush();
        }
        self.driver.unwritten() < MAXIMUM_UNWRITTEN
            && (self.plan.qos == QoS::AtMostOnce || self.driver.has_room())
    }

    fn next_message(&mut self) -> Option<Arc<Message>> {
        if self.input_ended {
            return None;
        }
        let payload = match &self.plan.content {
            Content::Payload(payload) => {
                let payload = payload.clone();
                self.next_repetition()?;
                payload
            }
            Content::Lines => self.next_line()?,
        };
        let message = Message::new(self.plan.topic_name.clone(), payload);
        Some(Arc::new(Message {
            retain: self.plan.retain,
            properties: self.plan.properties.clone(),
            ..message
        }))
    }

    /// With a delay the next one waits for the end of the one before, and then for the delay.
    fn next_repetition(&mut self) -> Option<()> {
        if !self.plan.delay.is_zero() && self.left < self.plan.repeat {
            if self.driver.unfinished() > 0 || self.driver.unwritten() > 0 {
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

    fn next_line(&mut self) -> Option<Bytes> {
        let result = match &mut self.lines {
            Some(lines) => Ok(lines),
            None => Lines::start(std::io::stdin(), self.driver.waker())
                .map(|lines| self.lines.insert(lines)),
        };
        let next = match result {
            Ok(lines) => lines.next(),
            Err(error) => Next::Failed(error),
        };
        match next {
            Next::Line(line) => return Some(line),
            Next::Pending => {}
            Next::End => self.input_ended = true,
            Next::Failed(error) => {
                // What was read before is sent and acknowledged all the same.
                self.input_ended = true;
                self.status = Status::Failed;
                warn(&format!(
                    "Cannot read standard input: {}.",
                    system_text(&error)
                ));
            }
        }
        None
    }
}

/// What an event tells the person; the exit status if it is a failure.
fn tell(event: &Event<'_>, quiet: bool) -> Option<Status> {
    match event {
        Event::Delivered {
            packet_identifier,
            reason_code,
            reason_string,
        } if reason_code.is_error() => {
            if !quiet {
                let mut text = format!("Publish {packet_identifier} failed: {reason_code}.");
                if let Some(reason) = reason_string {
                    text += &format!(" {}", Printable(reason));
                }
                warn(&text);
            }
            return Some(Status::of_reason(*reason_code));
        }
        Event::Connected { unfinished, .. } if !unfinished.is_empty() && !quiet => {
            let count = unfinished.len();
            let mut text = format!("{count} messages without acknowledgement are sent again.");
            if unfinished
                .iter()
                .any(|outgoing| outgoing.qos == QoS::ExactlyOnce)
            {
                text += " The broker has no session to tell repeats by: they may arrive twice.";
            }
            warn(&text);
        }
        _ => {}
    }
    None
}
