//! The SUBSCRIBE and UNSUBSCRIBE packets of a connection that the broker has to answer, and the meaning of the answers.

use mqtt_client::session::Printable;
use mqtt_codec::{ReasonCode, Suback, Subscription};

use crate::exit_status::Status;
use crate::failure::Failure;

/// The number of packets sent and answered on this connection.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests {
    sent: usize,
    answered: usize,
}

/// The meaning of an answer for a person and for the exit status.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) warnings: Vec<String>,
    pub(crate) failure: Option<Failure>,
}

impl PendingRequests {
    /// Notes that a packet was sent.
    pub(crate) fn expect(&mut self) {
        self.sent += 1;
    }

    /// Returns `true` if a packet was sent and all packets are answered.
    pub(crate) fn are_answered(&self) -> bool {
        self.sent > 0 && self.answered == self.sent
    }

    /// Handles a SUBACK. It is a failure only if the broker has rejected every subscription, as for mosquitto_sub.
    pub(crate) fn subscribed(&mut self, suback: &Suback, subscriptions: &[Subscription]) -> Answer {
        self.answered += 1;
        let refused = |code: &&ReasonCode| code.is_error();
        let all = suback.reason_codes.iter().all(|code| refused(&code));
        if let (Some(code), true) = (suback.reason_codes.last(), all) {
            let mut text = format!("All subscription requests were denied. ({code}");
            if let Some(reason) = &suback.properties.reason_string {
                text += &format!(": {}", Printable(reason));
            }
            let failure = Failure::unmarked(Status::of_reason(*code), text + ")");
            return Answer {
                failure: Some(failure),
                ..Answer::default()
            };
        }
        // The codes have the order of the filters in SUBSCRIBE.
        let each = suback.reason_codes.iter().zip(subscriptions);
        let denied = each.filter(|(code, _)| code.is_error());
        let text = |(code, subscription): (&ReasonCode, &Subscription)| {
            let filter = Printable(&subscription.topic_filter);
            format!("Subscription to '{filter}' was denied: {code}.")
        };
        Answer {
            warnings: denied.map(text).collect(),
            failure: None,
        }
    }

    /// Handles an UNSUBACK. A rejected topic filter is a warning: the messages of the others still come.
    pub(crate) fn unsubscribed(&mut self, unsuback: &Suback) -> Answer {
        self.answered += 1;
        let denied = unsuback.reason_codes.iter().filter(|code| code.is_error());
        Answer {
            warnings: denied
                .map(|code| format!("Unsubscribing was denied: {code}."))
                .collect(),
            failure: None,
        }
    }
}
