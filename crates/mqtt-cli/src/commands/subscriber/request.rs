//! The request of rrr and its responses: which messages are responses, how many are expected and for how long, and the
//! counts of both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::Printable;
use mqtt_codec::{
    Connack, Delivery, Message, Property, PublishRef, QoS, Subscription, SubscriptionOptions,
    TopicName,
};

use crate::commands::counts::Responses;
use crate::commands::deadline;
use crate::commands::handlers::FAILURE_PROPERTY;

use crate::exit_status::{Class, Status};
use crate::failure::Failure;

use super::inbox::Inbox;

/// The request of rrr.
#[derive(Debug)]
pub(in crate::commands) struct Request {
    pub(in crate::commands) message: Arc<Message>,
    pub(in crate::commands) qos: QoS,
    pub(in crate::commands) respond_to: RespondTo,
    /// Set if messages arrive with the RETAIN flag of their publisher.
    pub(in crate::commands) retains_as_published: bool,
    pub(in crate::commands) shows_latency: bool,
    /// Set for a request that mosquitto_rr cannot make. rrr then also reports failures that mosquitto_rr does not
    /// notice.
    pub(in crate::commands) is_strict: bool,
    /// The number of responses to wait for.
    pub(in crate::commands) count: Option<u64>,
    /// The time in which responses are gathered, from the first request on.
    pub(in crate::commands) time: Option<Duration>,
    progress: Progress,
}

/// The topic of the responses.
#[derive(Debug)]
pub(in crate::commands) enum RespondTo {
    Topic(TopicName),
    /// The topic is chosen when the broker has accepted the connection.
    Inbox(Inbox, SubscriptionOptions),
}

/// The state of a request.
#[derive(Debug, Default)]
struct Progress {
    /// The time at which the request was sent; `None` if it must be sent.
    sent: Option<Instant>,
    /// The end of the time for responses.
    end: Option<Instant>,
    /// Set if rrr has chosen the response topic.
    has_inbox: bool,
    /// The number of ignored messages that are older than the request.
    older: u64,
    /// The number of messages with other correlation data.
    uncorrelated: u64,
    /// The number of responses of `rrr --serve` that report a failure of the handler.
    failed: u64,
    /// The reason of the last failure.
    failure: String,
}

impl Request {
    pub(in crate::commands) fn new(message: Message, qos: QoS, respond_to: RespondTo) -> Self {
        Self {
            message: Arc::new(message),
            qos,
            respond_to,
            retains_as_published: false,
            shows_latency: false,
            is_strict: false,
            count: Some(1),
            time: None,
            progress: Progress::default(),
        }
    }

    /// Chooses the topic of the inbox. Returns the subscription to it, or `None` if the topic was chosen before.
    ///
    /// The topic stays the same for all connections of a run: a request that was sent before names it.
    pub(super) fn open_inbox(&mut self, connack: &Connack) -> Option<Subscription> {
        let RespondTo::Inbox(inbox, options) = &self.respond_to else {
            return None;
        };
        let options = *options;
        let (topic_name, topic_filter) = inbox.topic(connack)?;
        let message = Arc::make_mut(&mut self.message);
        let properties = message.properties.get_or_insert_default();
        // The plan has checked that no option sets a response topic, so this does not fail.
        let added = properties.push(Property::ResponseTopic(&topic_name));
        debug_assert!(added.is_ok(), "the request has a response topic");
        self.respond_to = RespondTo::Topic(topic_name);
        self.progress.has_inbox = true;
        Some(Subscription {
            topic_filter,
            options,
        })
    }

    /// Returns the hint for a broker that has rejected the subscription to an inbox.
    pub(super) fn hint(&self) -> Option<String> {
        match &self.respond_to {
            RespondTo::Topic(topic_name) if self.progress.has_inbox => Some(format!(
                "rrr has chosen the response topic '{}'. Give another one with -e.",
                Printable(topic_name)
            )),
            _ => None,
        }
    }

    /// Returns `true` if the request must be sent.
    pub(super) fn must_be_sent(&self) -> bool {
        self.progress.sent.is_none()
    }

    /// Records that the request was sent.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.progress.sent = Some(now);
        let end = self.time.map(|time| now + time);
        // A request that is sent again after a reconnect does not extend the time.
        self.progress.end = self.progress.end.or(end);
    }

    /// Records the loss of the connection. A request of QoS 0 may be lost with it and is sent again. The session
    /// resends a request of QoS 1 or 2.
    pub(super) fn handle_connection_lost(&mut self) {
        if self.qos == QoS::AtMostOnce {
            self.progress.sent = None;
        }
    }

    /// Returns `true` if a message is a response. Counts it otherwise.
    pub(super) fn accept(&mut self, publish: &PublishRef<'_>) -> bool {
        let RespondTo::Topic(topic_name) = &self.respond_to else {
            return false;
        };
        // A session may have further subscriptions. Their messages are not counted.
        if *publish.topic_name != **topic_name {
            return false;
        }
        let is_early = self.progress.sent.is_none();
        // The broker sends a retained message with RETAIN 1 because of the new subscription [MQTT-3.3.1-8]. A response
        // that is published with RETAIN arrives with RETAIN 0 [MQTT-3.3.1-12], unless the subscription has Retain As
        // Published. A request that is not strict takes an early message for the response, as mosquitto_rr does.
        let is_older = publish.retain && (is_early || !self.retains_as_published);
        if is_older || is_early && self.is_strict {
            self.progress.older += 1;
            return false;
        }
        if !self.is_correlated(publish) {
            self.progress.uncorrelated += 1;
            return false;
        }
        self.note_failure(publish);
        true
    }

    /// Returns `false` if a message has other correlation data than the request. Like mosquitto_rr, rrr accepts a
    /// response without correlation data: simple services do not copy it.
    fn is_correlated(&self, publish: &PublishRef<'_>) -> bool {
        let request = self.message.publish(Delivery::AtMostOnce);
        let asked = request.properties.correlation_data();
        let answered = publish.properties.correlation_data();
        asked.is_none() || answered.is_none() || asked == answered
    }

    /// Records the failure that a response of `rrr --serve` reports.
    fn note_failure(&mut self, publish: &PublishRef<'_>) {
        let reason = |property| match property {
            Property::User(FAILURE_PROPERTY, reason) => Some(reason),
            _ => None,
        };
        if let Some(reason) = publish.properties.iter().find_map(reason) {
            self.progress.failed += 1;
            self.progress.failure = reason.to_owned();
        }
    }

    /// Returns the line of `--latency`, or `None` without this option.
    pub(super) fn latency(&self) -> Option<String> {
        let sent = self.progress.sent.filter(|_| self.shows_latency)?;
        Some(format!("Latency: {}\n", latency(sent.elapsed())))
    }

    /// Returns the time at which `--gather-for` ends the run.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.progress.end
    }

    /// Returns the result of a run that got all responses, or whose time for them is over.
    pub(super) fn outcome(&self, received: u64) -> Result<Status, Failure> {
        let Progress {
            failed, failure, ..
        } = &self.progress;
        if !self.responses(received).is_complete() {
            return Err(deadline::failure());
        }
        if !self.is_strict || *failed == 0 {
            return Ok(Status::Success);
        }
        let text = match received {
            1 => format!("The service reports a failure: {failure}."),
            received => format!("{failed} of {received} responses report a failure: {failure}."),
        };
        Err(Failure::failed(text).with_class(Class::Temporary))
    }

    /// Returns the counts for the report.
    pub(super) fn responses(&self, received: u64) -> Responses {
        Responses {
            received,
            expected: self.count,
            older: self.progress.older,
            uncorrelated: self.progress.uncorrelated,
            failed: self.progress.failed,
        }
    }
}

/// Formats a latency as mosquitto_rr does.
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
    fn latency_is_printed_in_the_form_of_mosquitto_rr() {
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
