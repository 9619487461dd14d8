//! What is done with each event of the connection, and what the program itself sends.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::{Connection, Event, Outgoing, PublishError};
use mqtt_client::{ClientError, Driver};
use mqtt_codec::{Message, Publish, QoS, TopicName};

use crate::exit::{Failure, Status, warn};
use crate::outbox::Outbox;
use crate::outcome;
use crate::printer::{Fate, Printer};
use crate::requests::{Requests, Told};

use super::{Plan, Request};

/// What is done with each event; apart from the driver, which hands them over.
pub(super) struct State {
    pub(super) plan: Plan,
    pub(super) printer: Printer,
    pub(super) outbox: Outbox,
    pub(super) requests: Requests,
    /// Empty retained messages that remove others.
    pub(super) removals: VecDeque<TopicName>,
    pub(super) request_sent: Option<Instant>,
    /// All that was asked for is there, or something ends it early.
    pub(super) ending: Option<Result<Status, Failure>>,
}

impl State {
    pub(super) fn handle(
        &mut self,
        connection: &mut Connection,
        event: &Event<'_>,
    ) -> ControlFlow<()> {
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
    pub(super) fn publish(&mut self, driver: &mut Driver) -> Result<(), Failure> {
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

    pub(super) fn is_complete(&self) -> bool {
        self.ending.is_some() && self.removals.is_empty()
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

    pub(super) fn failure(&self, error: ClientError) -> Failure {
        let version = self.plan.options.connect.protocol_version;
        outcome::failure(error, version, &self.plan.target)
    }

    pub(super) fn tell_loss(&self, error: &ClientError, wait: Duration) {
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
