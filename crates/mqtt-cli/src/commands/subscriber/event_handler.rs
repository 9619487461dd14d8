//! Handles each event of the connection in rsub and rrr, and publishes the messages that the program itself sends: the
//! request of rrr, and the removals of `--remove-retained`.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use mqtt_client::EventLoop;
use mqtt_client::session::{Connection, Event, OutboundMessage, PublishError};
use mqtt_codec::{Message, PublishRef, QoS, TopicName};

use crate::commands::counts::Received;
use crate::commands::handlers::Jobs;
use crate::commands::silence::Watchdog;
use crate::commands::subscriber::pending_requests::{Answer, PendingRequests};
use crate::commands::verdict::Messages;
use crate::diagnostics::Diagnostics;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::output::ack_queue::AckQueue;
use crate::output::logger;
use crate::output::printer::{Disposition, Printer};
use crate::wording::counted;

use super::barrier::Barrier;
use super::plan::SubscribePlan;
use super::request::Request;

/// The state that events change. It is separate from the event loop, because the event loop is borrowed while it passes
/// an event.
pub(super) struct EventHandler {
    pub(super) plan: SubscribePlan,
    pub(super) printer: Printer,
    pub(super) ack_queue: AckQueue,
    /// The handlers of the messages, with `--exec`.
    pub(super) jobs: Option<Jobs>,
    pub(super) requests: PendingRequests,
    /// The questions of `--snapshot` (see `barrier.rs`).
    pub(super) barrier: Option<Barrier>,
    /// The time of the last message, or of the first SUBACK, for `--idle`.
    pub(super) idle_since: Option<Instant>,
    /// The clocks of `--expect`.
    pub(super) watchdog: Option<Watchdog>,
    /// The topics for which `--remove-retained` still has to publish a removal.
    pub(super) removals: VecDeque<TopicName>,
    /// The result of the run. Set when the work is done, or when an error or a rejection ends the program early.
    pub(super) ending: Option<Result<Status, Failure>>,
    /// Set once the broker has accepted a connection.
    pub(super) was_connected: bool,
}

impl EventHandler {
    /// Handles an event. The event loop lends `connection`, so that a SUBSCRIBE can follow a CONNACK immediately.
    pub(super) fn handle(
        &mut self,
        connection: &mut Connection,
        event: &Event<'_>,
    ) -> ControlFlow<()> {
        match event {
            Event::Connected { connack, .. } => {
                self.was_connected = true;
                self.diagnostics().print_connected();
                if let Some(watchdog) = &mut self.watchdog {
                    watchdog.set_connected();
                }
                let request = self.plan.request.as_mut();
                let inbox = request.and_then(|request| request.open_inbox(connack));
                self.plan.subscriptions.extend(inbox);
                self.subscribe(connection);
            }
            Event::Subscribed(_) if self.is_answer_about_version() => {}
            Event::Subscribed(suback) => {
                // mosquitto_rr does not print this line.
                if self.plan.debug && self.plan.request.is_none() {
                    let codes = suback.reason_codes.iter();
                    let codes: Vec<_> = codes.map(|code| code.value().to_string()).collect();
                    let codes = codes.join(", ");
                    log::debug!("Subscribed (mid: {}): {codes}", suback.packet_identifier);
                }
                let now = Instant::now();
                self.idle_since.get_or_insert(now);
                if let Some(watchdog) = &mut self.watchdog {
                    let subscriptions = &self.plan.subscriptions;
                    watchdog.subscribed(now, subscriptions, &suback.reason_codes);
                }
                let answer = self.requests.subscribed(suback, &self.plan.subscriptions);
                self.handle_answer(answer);
            }
            Event::Unsubscribed(_) if self.is_answer_of_barrier() => {}
            Event::Unsubscribed(unsuback) => {
                let answer = self.requests.unsubscribed(unsuback);
                self.handle_answer(answer);
            }
            // The broker has deviated from the standard without harm. rsub warns, and the connection stays.
            Event::Deviation(deviation) => self.diagnostics().warn(&format!("{deviation}.")),
            // After the end of the work, messages are not acknowledged. A broker with a session delivers them to the
            // next run.
            Event::Message(received) if self.ending.is_none() => {
                self.take(&received.publish());
            }
            event => self.handle_delivered(event),
        }
        ControlFlow::Continue(())
    }

    /// Handles the acknowledgement of a message that this program has published: a request, a removal, a dead letter or
    /// a response. The rejection of a response is reported. Any other rejection ends the program with a failure.
    pub(super) fn handle_delivered(&mut self, event: &Event<'_>) {
        if let Event::Delivered {
            packet_identifier,
            reason_code,
            reason_string,
        } = event
        {
            // The rejection of a response does not end a service.
            let is_response = self.jobs.as_mut().is_some_and(|jobs| {
                let diagnostics = &self.plan.client.diagnostics;
                jobs.handle_delivered(*packet_identifier, *reason_code, diagnostics)
            });
            // After a rejection of the request no response will come.
            if reason_code.is_error() && !is_response {
                let text = format!("Publish {packet_identifier} failed: {reason_code}.");
                let status = Status::of_reason(*reason_code);
                let failure = Failure::new(status, anyhow::anyhow!(text));
                let text = reason_string.as_deref();
                self.ending = Some(Err(failure.with_reason(reason_code.value(), text)));
                if let Some(jobs) = &mut self.jobs {
                    jobs.refuse_dead_letters();
                }
            }
        }
    }

    /// Prepares the next connection, on which the program subscribes again.
    pub(super) fn connection_lost(&mut self) {
        self.requests = PendingRequests::default();
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.set_lost(Instant::now());
        }
        if let Some(request) = &mut self.plan.request {
            request.handle_connection_lost();
        }
        if let Some(jobs) = &mut self.jobs {
            jobs.handle_connection_lost();
        }
    }

    /// Prints the rate of `--message-rate`. The rate starts with the first connection.
    pub(super) fn tick(&mut self, is_connected: bool) {
        // After its start the rate is also printed without a connection; it is 0 then.
        if self.printer.has_rate() && (is_connected || self.printer.deadline().is_some()) {
            self.printer.tick(Instant::now(), &mut self.ack_queue.text);
        }
    }

    /// Writes text and acknowledges messages as far as neither blocks. The lines of `-d` must appear between the
    /// messages in the order of the events. So they are collected before and after each step that can produce some.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(super) fn advance(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        loop {
            logger::take_pending(&mut self.ack_queue.text);
            self.ack_queue.advance(event_loop)?;
            logger::take_pending(&mut self.ack_queue.text); // lines about the acknowledgements
            if !self.ack_queue.can_write() {
                return Ok(());
            }
        }
    }

    /// Adds to a failure the number of received bytes that were not written.
    pub(super) fn with_rest(&self, failure: Failure, rest: usize) -> Failure {
        match rest {
            0 => failure,
            rest => failure.with_hint(format!(
                "{} of received messages could not be written.",
                counted(rest as u64, "byte")
            )),
        }
    }

    /// Handles a message that has arrived.
    fn take(&mut self, publish: &PublishRef<'_>) {
        logger::take_pending(&mut self.ack_queue.text);
        let request = self.plan.request.as_mut();
        // A message that is not a response is not printed. It is acknowledged, so that the broker does not resend it.
        if request.is_some_and(|request| !request.accept(publish)) {
            self.ack_queue.acknowledge_when_written(publish.delivery);
            return;
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.hear(publish, Instant::now(), &self.plan.client.diagnostics);
        }
        if self.plan.idle.is_some() {
            self.idle_since = Some(Instant::now());
        }
        if self.is_only_for_barrier(publish) {
            self.ack_queue.acknowledge_when_written(publish.delivery);
            return;
        }
        match self.printer.print(publish, &mut self.ack_queue.text) {
            // This message ends --retained-only and is not for this run. It is not acknowledged, so that a broker with
            // a session delivers it to the next run.
            Disposition::EndOfRetained => {
                self.ending.get_or_insert(Ok(Status::Success));
                return;
            }
            Disposition::Taken => match &mut self.jobs {
                Some(jobs) => jobs.push(publish),
                None => self.ack_queue.acknowledge_when_written(publish.delivery),
            },
            Disposition::Dropped => match &mut self.jobs {
                Some(jobs) => jobs.push_done(publish.delivery),
                None => self.ack_queue.acknowledge_when_written(publish.delivery),
            },
        }
        self.removals.extend(self.printer.to_remove.drain(..));
        // mosquitto_rr also prints the latency after the response.
        if let Some(line) = self.plan.request.as_ref().and_then(Request::latency) {
            self.ack_queue.text.extend_from_slice(line.as_bytes());
        }
        self.check_count();
    }

    /// Ends the program if it has printed the number of messages of `-C` or `--gather`.
    pub(super) fn check_count(&mut self) {
        if self.has_all() {
            self.finish();
        }
    }

    /// Returns `true` if the number of messages of `-C` or `--gather` was printed.
    pub(super) fn has_all(&self) -> bool {
        let count = self.plan.count;
        count.is_some_and(|count| self.printer.count >= count)
    }

    /// Ends the program after it has received all messages that it waits for, or after its time for responses.
    pub(super) fn finish(&mut self) {
        let received = self.printer.count;
        let request = self.plan.request.as_ref();
        let outcome = request.map_or(Ok(Status::Success), |request| request.outcome(received));
        self.ending.get_or_insert(outcome);
    }

    /// Subscribes on each connection, even if the broker has resumed the session: this run may have other subscription
    /// options than the run that subscribed.
    fn subscribe(&mut self, connection: &mut Connection) {
        if let Err(error) = self.try_subscribe(connection) {
            self.fail(error);
        }
    }

    /// Sends SUBSCRIBE and UNSUBSCRIBE.
    fn try_subscribe(&mut self, connection: &mut Connection) -> Result<(), PublishError> {
        let now = Instant::now();
        // The broker will not answer packets of the last connection.
        self.requests = PendingRequests::default();
        if !self.plan.subscriptions.is_empty() {
            let subscriptions = self.plan.subscriptions.clone();
            let properties = self.plan.subscribe_properties.clone();
            connection.subscribe(now, subscriptions, properties)?;
            self.requests.expect();
        }
        // As in the mosquitto tools, each filter has its own UNSUBSCRIBE.
        for topic_filter in &self.plan.unsubscribe {
            let properties = self.plan.unsubscribe_properties.clone();
            connection.unsubscribe(now, vec![topic_filter.clone()], properties)?;
            self.requests.expect();
        }
        Ok(())
    }

    /// Reports an answer to SUBSCRIBE or UNSUBSCRIBE. With `-E` the last answer ends the program.
    fn handle_answer(&mut self, answer: Answer) {
        for text in &answer.warnings {
            self.diagnostics().warn(text);
        }
        if let Some(failure) = answer.failure {
            let hint = self.plan.request.as_ref().and_then(Request::hint);
            self.ending = Some(Err(failure.with_further_hint(hint)));
        } else if self.plan.only_subscribe && self.requests.are_answered() {
            self.ending.get_or_insert(Ok(Status::Success));
        }
    }

    /// Returns the part of the plan that prints lines about the connection.
    pub(super) fn diagnostics(&mut self) -> &mut Diagnostics {
        &mut self.plan.client.diagnostics
    }

    /// Publishes the removals, and the request when the broker has acknowledged the subscription to its response. A
    /// message for which the window has no room waits for the next call.
    pub(super) fn publish(&mut self, event_loop: &mut EventLoop) {
        // A response that arrives before the subscription exists would be lost.
        let is_subscribed = self.requests.are_answered();
        let must_be_sent = |request: &&mut Request| is_subscribed && request.must_be_sent();
        if let Some(request) = self.plan.request.as_mut().filter(must_be_sent) {
            let outgoing = OutboundMessage::new(Arc::clone(&request.message), request.qos);
            match event_loop.publish(outgoing) {
                Ok(_) => request.handle_sent(Instant::now()),
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {}
                Err(error) => self.fail(error),
            }
        }
        while let Some(topic_name) = self.removals.front() {
            // An empty message with RETAIN 1 removes the retained message of the topic [MQTT-3.3.1-6].
            let message = Message {
                retain: true,
                ..Message::new(topic_name.clone(), "")
            };
            // QoS 1, so that the program ends only after the broker has removed the message.
            match event_loop.publish(OutboundMessage::new(Arc::new(message), QoS::AtLeastOnce)) {
                Ok(_) => drop(self.removals.pop_front()),
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => break,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Returns `true` if standard output or the handlers have no room for a further message.
    pub(super) fn is_full(&self) -> bool {
        self.ack_queue.is_full() || self.jobs.as_ref().is_some_and(Jobs::is_full)
    }

    /// Returns the numbers of messages for the report.
    pub(super) fn messages(&self) -> Messages {
        let (received, expected) = (self.printer.count, self.plan.count);
        match (
            &self.plan.request,
            self.jobs.as_ref().and_then(Jobs::served),
        ) {
            (Some(request), _) => Messages::Responses(request.responses(received)),
            (None, Some(served)) => Messages::Requests(served),
            (None, None) => Messages::Received(Received { received, expected }),
        }
    }

    /// Ends the program because a packet could not be sent.
    pub(super) fn fail(&mut self, error: PublishError) {
        self.ending = Some(Err(self.diagnostics().failure(error.into())));
    }

    /// Returns the number of removals of `--remove-retained` that the broker has not acknowledged. `unfinished` is the
    /// number of published messages without an acknowledgement. Without a request and handlers they are removals.
    pub(super) fn unacknowledged_removals(&self, unfinished: usize) -> usize {
        match (&self.plan.request, &self.jobs) {
            (None, None) => self.removals.len() + unfinished,
            _ => self.removals.len(),
        }
    }

    /// Returns `true` if the program can end. A success waits for the removals, a failure does not.
    pub(super) fn is_complete(&self, unfinished: usize) -> bool {
        let has_removed = self.unacknowledged_removals(unfinished) == 0;
        match &self.ending {
            None => false,
            Some(Ok(_)) => has_removed && !self.waits() && self.are_jobs_finished(),
            Some(Err(_)) => self.are_jobs_finished(),
        }
    }

    /// Returns `true` if the handlers have no work left.
    pub(super) fn are_jobs_finished(&self) -> bool {
        self.jobs.as_ref().is_none_or(Jobs::is_finished)
    }

    /// Runs handlers, and acknowledges the messages of those that have succeeded.
    pub(super) fn advance_jobs(&mut self, event_loop: &mut EventLoop) {
        let Some(jobs) = &mut self.jobs else {
            return;
        };
        // After a failure no further handler is started. Handlers that already run may finish.
        if let Some(Err(_)) = self.ending {
            jobs.stop();
        }
        if let Err(failure) = jobs.advance(event_loop, &self.plan.client.diagnostics) {
            // The first failure is the reason of the end.
            if !matches!(self.ending, Some(Err(_))) {
                self.ending = Some(Err(failure));
                // The messages that wait for the end of a period get their handlers now. Nothing else wakes the loop.
                self.print_waiting();
                self.advance_jobs(event_loop);
            }
        }
    }

    /// Starts no further handler, because a signal has arrived.
    pub(super) fn stop_jobs(&mut self) {
        let Some(jobs) = &mut self.jobs else {
            return;
        };
        // The broker has the acknowledgements of messages that wait for the end of a period, so they are handled now.
        while let Some(waiting) = self.printer.print_waiting(&mut self.ack_queue.text) {
            jobs.push_acknowledged(&waiting.publish(), waiting.arrival);
        }
        jobs.stop();
    }

    /// Ends the handlers that stay. Returns `true` while the caller must wait for them.
    pub(super) fn waits_for_residents(&mut self) -> bool {
        let diagnostics = &self.plan.client.diagnostics;
        let jobs = self.jobs.as_mut();
        jobs.is_some_and(|jobs| jobs.end_residents(diagnostics))
    }

    /// Returns `true` while a handler still runs after a signal, or the broker must still acknowledge responses: the
    /// caller then waits.
    pub(super) fn waits_for_jobs(&mut self) -> bool {
        let Some(jobs) = &mut self.jobs else {
            return false;
        };
        let waits = jobs.is_running()
            || jobs.wait_for_responses()
            || jobs.end_residents(&self.plan.client.diagnostics);
        if waits {
            // Messages that arrive from now on are not acknowledged, so that they stay with the broker.
            self.ending.get_or_insert(Ok(Status::Success));
        }
        waits
    }

    /// Returns `true` if no further message should be read, or the client must not reconnect yet.
    pub(super) fn must_pause(&self, is_connected: bool) -> bool {
        let jobs = self.jobs.as_ref();
        let holds = Jobs::holds_connection;
        self.is_full() || !is_connected && (!self.ack_queue.is_empty() || jobs.is_some_and(holds))
    }
}
