//! The settings of `rrr --serve`: the topic of a response, and the response to a request whose handler has ended.

use mqtt_codec::{Property, ProtocolVersion, TopicName};

use super::job::{Job, Received, Response, State};
use crate::commands::counts::Served;

/// The settings of responses.
#[derive(Debug, Clone)]
pub(in crate::commands) struct ResponseSettings {
    pub(in crate::commands) version: ProtocolVersion,
    /// The topic of responses to requests that name none.
    pub(in crate::commands) default_topic: Option<TopicName>,
}

impl ResponseSettings {
    /// Returns the topic of the response to a request. Returns `None` if the request and `-e` name no topic, or if the
    /// response topic of the request has a wildcard.
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

    /// Returns the next state of a job whose handler has ended. `result` is the output of the handler, or the reason of
    /// its failure.
    pub(super) fn respond(
        &self,
        job: &Job,
        result: Result<Vec<u8>, &str>,
        served: &mut Served,
    ) -> State {
        // MQTT before 5.0 has no properties. A client could take an empty response for a success, so a failure has no
        // response.
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
