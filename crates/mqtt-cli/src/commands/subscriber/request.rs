//! The request of rrr, and the messages that are responses to it.

use std::sync::Arc;
use std::time::Duration;

use mqtt_codec::{Delivery, Message, PublishRef, QoS, TopicName};

/// The request of rrr.
#[derive(Debug)]
pub(in crate::commands) struct Request {
    pub(in crate::commands) message: Arc<Message>,
    pub(in crate::commands) qos: QoS,
    pub(in crate::commands) response_topic: TopicName,
    pub(in crate::commands) shows_latency: bool,
}

impl Request {
    /// Returns `true` if a message is the response: it has the response topic and does not have the correlation data of
    /// another request. Like mosquitto_rr, rrr accepts a response without correlation data.
    pub(super) fn is_answered_by(&self, publish: &PublishRef<'_>) -> bool {
        let request = self.message.publish(Delivery::AtMostOnce);
        let asked = request.properties.correlation_data();
        let answered = publish.properties.correlation_data();
        *publish.topic_name == *self.response_topic
            && (asked.is_none() || answered.is_none() || asked == answered)
    }
}

/// Formats a latency as mosquitto_rr does.
pub(super) fn latency(time: Duration) -> String {
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
