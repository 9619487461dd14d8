//! The responses of `rrr --serve`. The output of a handler is the response to the request that the handler got.
//!
//! A request is acknowledged after its response: a response of QoS 0 must be sent, and one of QoS 1 or 2 must be
//! acknowledged by the broker. So a request whose response was lost comes again if the broker has a session.
//!
//! A request that cannot be answered must not end the service, because anybody who may send requests could stop it
//! then. Its failure is reported, and the request is acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::{OutboundMessage, Printable, PublishError};
use mqtt_client::{EventLoop, Rejected};
use mqtt_codec::{
    Message, PacketIdentifier, Property, ProtocolVersion, QoS, ReasonCode, TopicName,
};

use super::job::{Job, Received, State};
use super::{Jobs, MAXIMUM_BYTES};
use crate::commands::counts::Served;
use crate::diagnostics::Diagnostics;

/// The name of the user property with the reason why the handler has failed. Such a response has no payload.
pub(in crate::commands) const FAILURE_PROPERTY: &str = "handler-failure";

/// The time after a signal in which the broker must acknowledge the last responses.
const GRACE: Duration = Duration::from_secs(5);

/// The settings of responses.
#[derive(Debug, Clone)]
pub(in crate::commands) struct ResponseSettings {
    pub(in crate::commands) version: ProtocolVersion,
    /// The topic of responses to requests that name none.
    pub(in crate::commands) default_topic: Option<TopicName>,
}

impl ResponseSettings {
    /// Returns the topic of the response to a request. A text with a wildcard is no topic name.
    pub(super) fn topic(&self, request: &Received) -> Option<TopicName> {
        let response_topic = |property| match property {
            Property::ResponseTopic(name) => Some(name),
            _ => None,
        };
        let named = request.properties.iter().find_map(response_topic);
        match named {
            Some(name) => TopicName::new(name).ok(),
            None => self.default_topic.clone(),
        }
    }

    /// Returns the state of a job whose handler has ended: with its output, or with the reason of its failure.
    pub(super) fn respond(
        &self,
        job: &Job,
        result: Result<Vec<u8>, &str>,
        served: &mut Served,
    ) -> State {
        // MQTT before 5.0 has no properties. An empty response could be a success there, so a failure has no response.
        let has_response = result.is_ok() || self.version == ProtocolVersion::V5_0;
        match job.response_topic.clone().filter(|_| has_response) {
            Some(topic_name) => State::Responding(Response::new(job, topic_name, result)),
            None => {
                served.failed += 1;
                State::Done
            }
        }
    }
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct Response {
    message: Arc<Message>,
    qos: QoS,
    /// Set if the response reports a failure.
    is_failure: bool,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Ready,
    /// The response was sent with this packet identifier. After the loss of a connection the session may send it with
    /// another one, which is not known here.
    Sent(Option<PacketIdentifier>),
}

impl Response {
    /// Returns the response to the request of a job, with its QoS and its correlation data.
    fn new(job: &Job, topic_name: TopicName, result: Result<Vec<u8>, &str>) -> Self {
        let request = &job.message;
        let mut message = Message::new(topic_name, result.clone().unwrap_or_default());
        let properties = message.properties.insert(Box::default());
        let correlation_data =
            |property: &Property<'_>| matches!(property, Property::CorrelationData(_));
        // Neither property can be rejected: the first one was valid in the request, and the second one is short.
        if let Some(property) = request.properties.iter().find(correlation_data) {
            let _ = properties.push(property);
        }
        if let Err(reason) = result {
            let _ = properties.push(Property::User(FAILURE_PROPERTY, reason));
        }
        Self {
            message: Arc::new(message),
            qos: QoS::from_value(request.qos).unwrap_or(QoS::AtMostOnce),
            is_failure: result.is_err(),
            progress: Progress::Ready,
        }
    }

    /// Publishes the response if it was not published yet. Returns `true` if the broker needs to send no further
    /// acknowledgement. `are_acknowledged` is set if the broker has acknowledged all publications.
    fn advance(
        &mut self,
        event_loop: &mut EventLoop,
        are_acknowledged: bool,
    ) -> Result<bool, PublishError> {
        match self.progress {
            // The session that had the response was lost, or it has resent the response under another identifier.
            Progress::Sent(None) => Ok(are_acknowledged),
            Progress::Sent(Some(_)) => Ok(false),
            Progress::Ready => {
                let outbound = OutboundMessage::new(Arc::clone(&self.message), self.qos);
                let identifier = event_loop.publish(outbound)?;
                self.progress = Progress::Sent(identifier);
                Ok(identifier.is_none()) // QoS 0 has no acknowledgement
            }
        }
    }
}

impl Jobs {
    /// Ends the jobs of requests to which nobody could receive a response.
    pub(super) fn skip_unanswerable(&mut self, diagnostics: &Diagnostics) {
        if self.settings.responses.is_none() {
            return;
        }
        for job in &mut self.queue {
            if job.is_active() && job.response_topic.is_none() {
                warn_of_failure(job, "it names no response topic", diagnostics);
                self.served.without_response_topic += 1;
                job.state = State::Done;
            }
        }
    }

    /// Publishes the responses that are ready. A job is done when its response is acknowledged.
    pub(super) fn publish_responses(
        &mut self,
        event_loop: &mut EventLoop,
        diagnostics: &Diagnostics,
    ) {
        let Some(settings) = &self.settings.responses else {
            return;
        };
        let are_acknowledged = event_loop.unfinished() == 0;
        for job in &mut self.queue {
            // If the broker does not accept a response, the second turn of this loop sends the failure.
            while let State::Responding(response) = &mut job.state {
                let is_failure = response.is_failure;
                match response.advance(event_loop, are_acknowledged) {
                    Ok(false) => break,
                    Ok(true) => {
                        self.served.count(is_failure);
                        job.state = State::Done;
                    }
                    Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => return,
                    Err(error) => {
                        let reason = format!("the broker does not accept the response: {error}");
                        warn_of_failure(job, &reason, diagnostics);
                        job.state = if is_failure {
                            self.served.failed += 1;
                            State::Done
                        } else {
                            settings.respond(job, Err(&reason), &mut self.served)
                        };
                    }
                }
            }
        }
    }

    /// Handles the acknowledgement of a message that this program has published. Returns `true` if it was a response.
    pub(in crate::commands) fn handle_delivered(
        &mut self,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
        diagnostics: &Diagnostics,
    ) -> bool {
        let sent = Progress::Sent(Some(packet_identifier));
        for job in &mut self.queue {
            let State::Responding(response) = &job.state else {
                continue;
            };
            if response.progress == sent {
                self.served
                    .count(response.is_failure || reason_code.is_error());
                if reason_code.is_error() {
                    let reason = format!("the broker has rejected the response: {reason_code}");
                    warn_of_failure(job, &reason, diagnostics);
                }
                job.state = State::Done;
                return true;
            }
        }
        false
    }

    /// Records that a connection was lost, after which the packet identifiers of responses may change.
    pub(in crate::commands) fn handle_connection_lost(&mut self) {
        for job in &mut self.queue {
            if let State::Responding(Response {
                progress: Progress::Sent(identifier),
                ..
            }) = &mut job.state
            {
                *identifier = None;
            }
        }
    }

    /// Ends the jobs whose responses the client has given up, and removes these responses from the list.
    pub(super) fn drop_responses(
        &mut self,
        rejected: &mut Vec<Rejected>,
        diagnostics: &Diagnostics,
    ) {
        for job in &mut self.queue {
            let State::Responding(response) = &job.state else {
                continue;
            };
            let message = Arc::clone(&response.message);
            let count = rejected.len();
            rejected.retain(|rejected| !Arc::ptr_eq(&rejected.message, &message));
            if rejected.len() < count {
                warn_of_failure(job, "the broker does not accept the response", diagnostics);
                self.served.failed += 1;
                job.state = State::Done;
            }
        }
    }

    /// Returns `true` if the responses that wait for the broker are so large that no further handler should start.
    pub(super) fn has_many_responses(&self) -> bool {
        let length = |job: &Job| match &job.state {
            State::Responding(response) => response.message.payload.len(),
            _ => 0,
        };
        self.settings.responses.is_some()
            && self.queue.iter().map(length).sum::<usize>() >= MAXIMUM_BYTES
    }

    /// Returns `true` after `stop` while the broker must still acknowledge responses, for at most [`GRACE`].
    pub(in crate::commands) fn wait_for_responses(&mut self) -> bool {
        let is_responding = |job: &Job| matches!(job.state, State::Responding(_));
        if self.is_running() || !self.queue.iter().any(is_responding) {
            return false;
        }
        let now = Instant::now();
        now < *self.response_deadline.get_or_insert(now + GRACE)
    }

    /// Returns the number of requests for each outcome, or `None` without `--serve`.
    pub(in crate::commands) fn served(&self) -> Option<Served> {
        self.settings.responses.as_ref().map(|_| self.served)
    }
}

fn warn_of_failure(job: &Job, reason: &str, diagnostics: &Diagnostics) {
    let topic = Printable(&job.message.topic_name);
    diagnostics.warn(&format!(
        "Cannot answer a request of topic '{topic}': {reason}."
    ));
}
