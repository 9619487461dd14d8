//! What is done with each event of the connection, and what the program itself sends.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::EventLoop;
use mqtt_client::session::{Connection, Event, OutboundMessage, PublishError};
use mqtt_codec::{Delivery, Message, PublishRef, QoS, TopicName};

use crate::commands::subscriber::pending_requests::{Answer, PendingRequests};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::output::ack_queue::AckQueue;
use crate::output::logger;
use crate::output::printer::{Disposition, Printer};
use crate::wording::counted;

use super::plan::{Request, SubscribePlan};

/// What is done with each event; apart from the event loop, which hands them over.
pub(super) struct EventHandler {
    pub(super) plan: SubscribePlan,
    pub(super) printer: Printer,
    pub(super) ack_queue: AckQueue,
    pub(super) requests: PendingRequests,
    /// Empty retained messages that remove others.
    pub(super) removals: VecDeque<TopicName>,
    pub(super) request_sent: Option<Instant>,
    /// All that was asked for is there, or something ends it early.
    pub(super) ending: Option<Result<Status, Failure>>,
    pub(super) was_connected: bool,
}

impl EventHandler {
    pub(super) fn handle(
        &mut self,
        connection: &mut Connection,
        event: &Event<'_>,
    ) -> ControlFlow<()> {
        match event {
            Event::Connected { .. } => {
                self.was_connected = true;
                self.plan.client.diagnostics.print_connected();
                self.subscribe(connection);
            }
            Event::Subscribed(suback) => {
                // mosquitto_rr does not say so.
                if self.plan.debug && self.plan.request.is_none() {
                    let codes = suback.reason_codes.iter();
                    let codes: Vec<_> = codes.map(|code| code.value().to_string()).collect();
                    let codes = codes.join(", ");
                    log::debug!("Subscribed (mid: {}): {codes}", suback.packet_identifier);
                }
                let answer = self.requests.subscribed(suback, &self.plan.subscriptions);
                self.handle_answer(answer);
            }
            Event::Unsubscribed(unsuback) => {
                let answer = self.requests.unsubscribed(unsuback);
                self.handle_answer(answer);
            }
            Event::Deviation(deviation) => {
                self.plan.client.diagnostics.warn(&format!("{deviation}."))
            }
            // Whatever comes behind the end is left to the broker.
            Event::Message(received) if self.ending.is_none() => {
                self.take(&received.publish());
            }
            event => self.handle_delivered(event),
        }
        ControlFlow::Continue(())
    }

    /// A request, or a removal, that was refused is a failure.
    pub(super) fn handle_delivered(&mut self, event: &Event<'_>) {
        if let Event::Delivered {
            packet_identifier,
            reason_code,
            ..
        } = event
        {
            if reason_code.is_error() {
                let text = format!("Publish {packet_identifier} failed: {reason_code}.");
                let status = Status::of_reason(*reason_code);
                self.ending = Some(Err(Failure::new(status, anyhow::anyhow!(text))));
            }
        }
    }

    /// What is not acknowledged yet is asked again with the next connection. A request of QoS 0 may be
    /// lost with its connection.
    pub(super) fn connection_lost(&mut self) {
        self.requests = PendingRequests::default();
        let is_lost = |request: &Request| request.qos == QoS::AtMostOnce;
        if self.plan.request.as_ref().is_some_and(is_lost) {
            self.request_sent = None;
        }
    }

    /// The rate, from the first connection on.
    pub(super) fn tick(&mut self, is_connected: bool) {
        if self.printer.has_rate() && (is_connected || self.printer.deadline().is_some()) {
            self.printer.tick(Instant::now(), &mut self.ack_queue.text);
        }
    }

    /// Lines of `-d` stand before what comes after them.
    pub(super) fn advance(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        loop {
            logger::take_pending(&mut self.ack_queue.text);
            self.ack_queue.advance(event_loop)?;
            logger::take_pending(&mut self.ack_queue.text); // of the acknowledgements
            if !self.ack_queue.can_write() {
                return Ok(());
            }
        }
    }

    /// The failure, with what was received and not written.
    pub(super) fn with_rest(&self, failure: Failure, rest: usize) -> Failure {
        match rest {
            0 => failure,
            rest => failure.with_hint(format!(
                "{} of received messages could not be written.",
                counted(rest as u64, "byte")
            )),
        }
    }

    fn take(&mut self, publish: &PublishRef<'_>) {
        logger::take_pending(&mut self.ack_queue.text);
        let request = self.plan.request.as_ref();
        let is_old = || self.is_old(publish);
        if request.is_some_and(|request| is_old() || !request.is_answered_by(publish)) {
            self.ack_queue.acknowledge_when_written(publish.delivery);
            return;
        }
        match self.printer.print(publish, &mut self.ack_queue.text) {
            Disposition::EndOfRetained => {
                self.ending.get_or_insert(Ok(Status::Success));
                return;
            }
            Disposition::Taken | Disposition::Dropped => {}
        }
        self.ack_queue.acknowledge_when_written(publish.delivery);
        self.removals.extend(self.printer.to_remove.drain(..));
        if let (Some(request), Some(sent)) = (&self.plan.request, self.request_sent) {
            if request.shows_latency {
                let line = format!("Latency: {}\n", latency(sent.elapsed()));
                self.ack_queue.text.extend_from_slice(line.as_bytes());
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

    /// Returns `true` for a retained message that was there before the request: the broker sends it with RETAIN because
    /// of the subscription. A response that is published with RETAIN comes without it, unless the subscription asks
    /// for RETAIN as published.
    fn is_old(&self, publish: &PublishRef<'_>) -> bool {
        publish.retain && (self.request_sent.is_none() || !self.plan.retains_as_published())
    }

    /// With each connection, whether or not the server knows the session: the options may differ.
    fn subscribe(&mut self, connection: &mut Connection) {
        if let Err(error) = self.try_subscribe(connection) {
            self.fail(error);
        }
    }

    fn try_subscribe(&mut self, connection: &mut Connection) -> Result<(), PublishError> {
        let now = Instant::now();
        self.requests = PendingRequests::default();
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

    fn handle_answer(&mut self, answer: Answer) {
        answer
            .warnings
            .iter()
            .for_each(|text| self.plan.client.diagnostics.warn(text));
        if let Some(failure) = answer.failure {
            self.ending = Some(Err(failure));
        } else if self.plan.only_subscribe && self.requests.are_answered() {
            self.ending.get_or_insert(Ok(Status::Success));
        }
    }

    /// What this program sends: the request, once its answer can arrive, and removals.
    pub(super) fn publish(&mut self, event_loop: &mut EventLoop) {
        let can_ask = self.requests.are_answered() && self.request_sent.is_none();
        if let (Some(request), true) = (&self.plan.request, can_ask) {
            let outgoing = OutboundMessage::new(Arc::clone(&request.message), request.qos);
            match event_loop.publish(outgoing) {
                Ok(_) => self.request_sent = Some(Instant::now()),
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {}
                Err(error) => self.fail(error),
            }
        }
        while let Some(topic_name) = self.removals.front() {
            let message = Message {
                retain: true,
                ..Message::new(topic_name.clone(), "")
            };
            match event_loop.publish(OutboundMessage::new(Arc::new(message), QoS::AtLeastOnce)) {
                Ok(_) => drop(self.removals.pop_front()),
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => break,
                Err(error) => return self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: PublishError) {
        self.ending = Some(Err(self.plan.client.diagnostics.failure(error.into())));
    }

    /// Whether there is nothing left to do: a failure leaves nothing.
    pub(super) fn is_complete(&self) -> bool {
        match &self.ending {
            None => false,
            Some(Ok(_)) => self.removals.is_empty(),
            Some(Err(_)) => true,
        }
    }

    /// The first of the program's own times.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let times = [self.plan.deadline, self.printer.deadline()];
        times.into_iter().flatten().min()
    }

    pub(super) fn is_too_late(&self) -> bool {
        let deadline = self.plan.deadline;
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

impl Request {
    /// Whether this is the answer: at the topic that was named, and not to somebody else's question.
    fn is_answered_by(&self, publish: &PublishRef<'_>) -> bool {
        let request = self.message.publish(Delivery::AtMostOnce);
        let asked = request.properties.correlation_data();
        let answered = publish.properties.correlation_data();
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
