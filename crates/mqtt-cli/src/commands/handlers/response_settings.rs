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
