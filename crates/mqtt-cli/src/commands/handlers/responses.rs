//! The responses of `rrr --serve`. The output of a handler is the response to the request that the handler got.
//!
//! A request is acknowledged after its response: a response of QoS 0 must be sent, and one of QoS 1 or 2 must be
//! acknowledged by the broker. So a request whose response was lost comes again if the broker has a session.
//!
//! A request that cannot be answered must not end the service, because otherwise every client that may send requests
//! could stop the service. The failure of the request is reported, and the request is acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::{Printable, PublishError};
use mqtt_client::{EventLoop, Rejected};
use mqtt_codec::{PacketIdentifier, ReasonCode};

use super::job::{Job, Progress, Response, State};
use super::jobs::{Jobs, MAXIMUM_BYTES};
use crate::commands::counts::Served;
use crate::diagnostics::Diagnostics;

/// The time after a signal in which the broker must acknowledge the last responses.
const GRACE: Duration = Duration::from_secs(5);

impl Jobs {
    /// Ends the jobs of requests without a response topic.
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
            // If the broker does not accept a response, the second pass of this loop publishes the failure.
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
        let is_response = self.settings.responses.is_some();
        if is_response && reason_code.is_error() {
            // After a reconnect the packet identifier does not tell to which request the response belongs. The job ends
            // when no response is unfinished.
            diagnostics.warn(&format!(
                "The broker has rejected a response: {reason_code}."
            ));
        }
        // `--serve` publishes nothing but responses.
        is_response
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
            State::Responding(response) => response.length(),
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
