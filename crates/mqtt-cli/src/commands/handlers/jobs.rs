//! The queue of messages and their handlers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use jiff::Timestamp;
use mio::Waker;
use mqtt_client::EventLoop;
use mqtt_client::session::{OutboundMessage, Printable, PublishError};
use mqtt_codec::{Delivery, PublishRef, QoS};

use crate::commands::counts::Served;
use crate::diagnostics::Diagnostics;
use crate::exit_status::Class;
use crate::failure::Failure;

use super::job::{Job, State};
use super::options::HandlerSettings;
use super::reports::{Report, Reports};
use super::residents::Residents;

/// Maximum number of messages in the queue, and of the bytes of their topics, properties and payloads. If the queue is
/// full, rsub stops reading from the broker. These limits are needed for messages of QoS 0, because the Receive Maximum
/// bounds only messages of QoS 1 and 2.
const MAXIMUM_JOBS: usize = 1000;
pub(super) const MAXIMUM_BYTES: usize = 16 * 1024 * 1024;

/// Factor by which the limits are larger for all messages than for those whose handlers run or have to run.
const WITH_OTHERS: usize = 8;

/// Maximum number of reports of the threads of handlers. If the queue is full, a thread waits, so that a handler that
/// writes lines without end does not fill the memory.
const MAXIMUM_REPORTS: usize = 64;

/// The messages that are not acknowledged yet, in the order of their arrival.
#[derive(Debug)]
pub(in crate::commands) struct Jobs {
    pub(super) settings: HandlerSettings,
    pub(super) queue: VecDeque<Job>,
    bytes: usize,
    last_number: u64,
    pub(super) running: usize,
    /// Set by `stop`. No further handler is started then.
    pub(super) is_stopped: bool,
    /// The numbers of requests for each outcome, for `rrr --serve`.
    pub(super) served: Served,
    /// The time at which the wait for the last responses ends. Set after `stop`.
    pub(super) response_deadline: Option<Instant>,
    /// The handlers that stay, with `--stdio`.
    pub(super) residents: Residents,
    pub(super) received_reports: Receiver<Report>,
    pub(super) reports: Reports,
}

impl Jobs {
    pub(in crate::commands) fn new(settings: HandlerSettings, waker: Arc<Waker>) -> Self {
        let (sender, received_reports) = sync_channel(MAXIMUM_REPORTS);
        Self {
            settings,
            queue: VecDeque::new(),
            bytes: 0,
            last_number: 0,
            running: 0,
            is_stopped: false,
            served: Served::default(),
            response_deadline: None,
            residents: Residents::default(),
            received_reports,
            reports: Reports::new(sender, waker),
        }
    }

    /// Adds a message.
    pub(in crate::commands) fn push(&mut self, publish: &PublishRef<'_>) {
        self.last_number += 1;
        let mut job = Job::new(self.last_number, publish);
        self.bytes += job.message.length();
        if let Some(responses) = &self.settings.responses {
            self.served.received += 1;
            job.response_topic = responses.topic(&job.message);
        }
        self.queue.push_back(job);
    }

    /// Adds a message without a handler, which is acknowledged after the messages before it.
    pub(in crate::commands) fn push_done(&mut self, delivery: Delivery) {
        self.queue.push_back(Job::done(delivery));
    }

    /// Adds a message that rsub acknowledged when the message arrived. The handler of this message also runs after
    /// `stop`, because the broker would not deliver the message again.
    pub(in crate::commands) fn push_acknowledged(
        &mut self,
        publish: &PublishRef<'_>,
        arrival: Timestamp,
    ) {
        self.push(publish);
        if let Some(job) = self.queue.back_mut() {
            job.message.time = arrival;
            job.delivery = None;
            job.is_acknowledged = true;
        }
    }

    /// Makes `advance` start no further handler. Handlers that already run may finish.
    pub(in crate::commands) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Kills the handlers that run.
    pub(in crate::commands) fn kill(&mut self) {
        for job in &mut self.queue {
            if let State::Running(running) = &mut job.state {
                running.kill();
            }
        }
        self.residents.kill();
    }

    /// Ends the handlers that stay, after all messages are handled. Returns `true` while the caller must wait for them.
    pub(in crate::commands) fn end_residents(&mut self, diagnostics: &Diagnostics) -> bool {
        self.residents.end(self.settings.timeout, diagnostics)
    }

    /// Makes as much progress as is possible without waiting: collects the handlers that have ended, kills those that take
    /// too long, starts others, publishes dead letters, and acknowledges messages.
    ///
    /// # Errors
    /// If a message could not be handled and there is no topic for dead letters, or a handler cannot be started.
    pub(in crate::commands) fn advance(
        &mut self,
        event_loop: &mut EventLoop,
        diagnostics: &Diagnostics,
    ) -> Result<(), Failure> {
        let now = Instant::now();
        let mut result = self.collect(now, diagnostics);
        self.kill_overdue(now);
        if result.is_err() {
            self.stop();
        }
        let started = self.start(now, diagnostics);
        result = result.and(started);
        let mut given_up = event_loop.take_rejected();
        self.drop_responses(&mut given_up, diagnostics);
        if let Some(rejected) = given_up.first() {
            self.refuse_dead_letters();
            let failure = unaccepted_dead_letter(&rejected.message.topic_name, "");
            result = result.and(Err(failure));
        }
        if let Err(failure) = self.publish_dead_letters(event_loop) {
            self.refuse_dead_letters();
            result = result.and(Err(failure));
        }
        self.publish_responses(event_loop, diagnostics);
        self.acknowledge(event_loop);
        result
    }

    /// Leaves all messages with published dead letters unacknowledged, because the broker has rejected one of the dead
    /// letters. After the loss of a session the packet identifier no longer shows which dead letter was rejected. The
    /// caller ends the program, and the broker delivers these messages again.
    pub(in crate::commands) fn refuse_dead_letters(&mut self) {
        for job in &mut self.queue {
            if matches!(job.state, State::Published) {
                job.state = State::Refused;
            }
        }
        self.stop();
    }

    fn kill_overdue(&mut self, now: Instant) {
        for job in &mut self.queue {
            if let State::Running(running) = &mut job.state {
                if running.deadline.is_some_and(|deadline| now >= deadline) {
                    running.has_timed_out = true;
                    running.deadline = None;
                    running.kill();
                    self.residents.kill_overdue(job.number);
                }
            }
        }
    }

    /// Publishes messages whose handlers failed to the topic for dead letters. A message is done when the broker has
    /// acknowledged its dead letter. The dead letters of all messages are acknowledged when the event loop has no
    /// unfinished publication.
    ///
    /// # Errors
    /// If a dead letter exceeds a limit of the broker. Its message stays unacknowledged.
    fn publish_dead_letters(&mut self, event_loop: &mut EventLoop) -> Result<(), Failure> {
        let Some(topic_name) = &self.settings.dead_letter else {
            return Ok(());
        };
        let are_acknowledged = event_loop.unfinished() == 0;
        let mut outcome = Ok(());
        for job in &mut self.queue {
            match &job.state {
                State::Published if are_acknowledged => job.state = State::Done,
                State::Failed(reason) if event_loop.is_connected() => {
                    let qos = QoS::AtLeastOnce; // the acknowledgement is needed, and a duplicate does no harm
                    let mut publish = |has_properties| {
                        let message = job.dead_letter(topic_name, reason, has_properties);
                        event_loop.publish(OutboundMessage::new(Arc::new(message), qos))
                    };
                    let result = publish(true).or_else(|error| match error {
                        PublishError::QuotaUsedUp | PublishError::NotConnected => Err(error),
                        // The properties may make the message too large for the broker.
                        _ => publish(false),
                    });
                    match result {
                        Ok(_) => job.state = State::Published,
                        // The dead letter waits for an acknowledgement or a connection. Without one, the message stays
                        // unacknowledged until `-W` or a signal ends rsub.
                        Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => break,
                        // No later attempt can succeed on this connection, and the message must not be lost. The others
                        // have the same end, so that none of them keeps the program from ending.
                        Err(error) => {
                            job.state = State::Refused;
                            let failure = unaccepted_dead_letter(topic_name, &format!(": {error}"));
                            outcome = outcome.and(Err(failure));
                        }
                    }
                }
                _ => {}
            }
        }
        outcome
    }

    /// Acknowledges the messages that are done, up to the first one that is not.
    fn acknowledge(&mut self, event_loop: &mut EventLoop) {
        // Without a connection no acknowledgement is sent, but the session must know the messages that are done before
        // the client reconnects. The other deliveries end with their connection: the broker resends these messages, or
        // gives their packet identifiers to other messages.
        if !event_loop.is_connected() && !self.holds_connection() {
            for job in &mut self.queue {
                let delivery = job.delivery.take();
                if let (Some(delivery), State::Done) = (delivery, &job.state) {
                    event_loop.acknowledge(delivery);
                }
            }
        }
        // A message without an acknowledgement does not wait for the messages before it.
        let bytes = &mut self.bytes;
        self.queue.retain(|job| {
            let is_unanswered = job
                .delivery
                .is_none_or(|delivery| delivery.qos() == QoS::AtMostOnce);
            let leaves = is_unanswered && matches!(job.state, State::Done);
            if leaves {
                *bytes -= job.message.length();
            }
            !leaves
        });
        while self
            .queue
            .front()
            .is_some_and(|job| matches!(job.state, State::Done))
        {
            let Some(job) = self.queue.pop_front() else {
                return;
            };
            self.bytes -= job.message.length();
            if let Some(delivery) = job.delivery {
                event_loop.acknowledge(delivery);
            }
        }
    }

    /// Returns the time at which `advance` must be called.
    pub(in crate::commands) fn deadline(&self) -> Option<Instant> {
        let time = |job: &Job| match &job.state {
            State::Running(running) => running.deadline,
            // A job whose time has come waits only for a free handler or for its topic. It has no deadline, because it
            // starts when another handler ends.
            State::Waiting(time) if *time > Instant::now() => {
                (!self.is_stopped || job.is_acknowledged).then_some(*time)
            }
            _ => None,
        };
        let times = self.queue.iter().filter_map(time);
        let ends = [self.response_deadline, self.residents.deadline()];
        times.chain(ends.into_iter().flatten()).min()
    }

    /// Returns `true` while a handler runs or has to run. Meanwhile the client must not reconnect, so that the session
    /// knows the messages that are done (see `acknowledge`).
    pub(in crate::commands) fn holds_connection(&self) -> bool {
        // While many responses wait for the broker, no handler starts, and the responses need a connection.
        let will_start = !self.is_stopped && !self.has_many_responses();
        self.running > 0 || will_start && self.queue.iter().any(Job::is_active)
    }

    /// Returns `true` if no work is left. That is the case if the queue is empty or, after `stop`, if no handler runs
    /// and every dead letter is published and acknowledged.
    pub(in crate::commands) fn is_finished(&self) -> bool {
        let is_pending = |job: &Job| {
            matches!(
                job.state,
                State::Published | State::Failed(_) | State::Responding(_)
            )
        };
        if self.is_stopped {
            !self.is_running() && !self.queue.iter().any(is_pending)
        } else {
            self.queue.is_empty()
        }
    }

    /// Returns `true` while a handler runs, or must still run after `stop`.
    pub(in crate::commands) fn is_running(&self) -> bool {
        let must_run = |job: &Job| job.is_acknowledged && matches!(job.state, State::Waiting(_));
        self.running > 0 || self.queue.iter().any(must_run)
    }

    /// Returns `true` if no further message should be read. Messages that wait for the broker, and those after them, count
    /// only for the larger limit, because the acknowledgement of the broker must be read.
    pub(in crate::commands) fn is_full(&self) -> bool {
        let active = self.queue.iter().filter(|job| job.is_active());
        let (count, bytes) = active.fold((0, 0), |(count, bytes), job| {
            (count + 1, bytes + job.message.length())
        });
        count >= MAXIMUM_JOBS
            || bytes >= MAXIMUM_BYTES
            || self.queue.len() >= MAXIMUM_JOBS * WITH_OTHERS
            || self.bytes >= MAXIMUM_BYTES * WITH_OTHERS
    }
}

/// Returns the failure of a run whose dead letter the broker does not accept. `why` is empty or starts with a colon.
fn unaccepted_dead_letter(topic_name: &str, why: &str) -> Failure {
    let topic = Printable(topic_name);
    let text = format!("The broker does not accept the dead letter for '{topic}'{why}.");
    Failure::failed(text).with_class(Class::Refused)
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};
    use mqtt_codec::{Message, MessageProperties, Property, ProtocolVersion, TopicName};

    use super::*;
    use crate::commands::handlers::job::Response;
    use crate::commands::handlers::response_settings::ResponseSettings;

    fn jobs(settings: HandlerSettings) -> Jobs {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        Jobs::new(settings, waker)
    }

    /// Returns the number of messages of QoS 0 that the queue takes.
    fn capacity(message: &Message) -> usize {
        let mut jobs = jobs(HandlerSettings::default());
        while !jobs.is_full() {
            jobs.push(&message.publish(Delivery::AtMostOnce));
        }
        jobs.queue.len()
    }

    #[test]
    fn queue_is_bounded_by_the_bytes_of_topics_properties_and_payloads() {
        let long = "x".repeat(60_000);
        let short = TopicName::new("t").unwrap();
        let expected = MAXIMUM_BYTES.div_ceil(long.len());
        let by_topic = Message::new(TopicName::new(&long).unwrap(), "");
        let by_payload = Message::new(short.clone(), long.clone());
        let properties = MessageProperties::new([Property::User("", &long)]).unwrap();
        let by_properties = Message {
            properties: Some(Box::new(properties)),
            ..Message::new(short.clone(), "")
        };
        for message in [by_topic, by_payload, by_properties] {
            assert_eq!(capacity(&message), expected);
        }
        assert_eq!(capacity(&Message::new(short, "")), MAXIMUM_JOBS);
    }

    #[test]
    fn a_service_reconnects_if_its_responses_fill_the_memory() {
        let topic_name = TopicName::new("t").unwrap();
        let responses = ResponseSettings {
            version: ProtocolVersion::V5_0,
            default_topic: Some(topic_name.clone()),
        };
        let mut settings = HandlerSettings::default();
        settings.responses = Some(responses);
        let mut jobs = jobs(settings);
        let request = Message::new(topic_name.clone(), "");
        jobs.push(&request.publish(Delivery::AtMostOnce));
        assert!(jobs.holds_connection(), "the handler can start");
        jobs.push(&request.publish(Delivery::AtMostOnce));
        let job = &mut jobs.queue[0];
        let response = Response::new(job, topic_name, Ok(vec![0; MAXIMUM_BYTES]));
        job.state = State::Responding(response);
        assert!(!jobs.holds_connection(), "no handler starts before");
    }
}
