//! Counts the SUBSCRIBE and UNSUBSCRIBE packets that the broker has to answer, and turns the answers into warnings and
//! failures.

use mqtt_client::session::Printable;
use mqtt_codec::{ReasonCode, Suback, Subscription};

use crate::exit_status::Status;
use crate::failure::Failure;

/// The number of packets sent and answered on the present connection.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests {
    sent: usize,
    answered: usize,
}

/// The warnings to print for an answer, and the failure that ends the program.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) warnings: Vec<String>,
    pub(crate) failure: Option<Failure>,
}

impl PendingRequests {
    /// Records that a packet was sent.
    pub(crate) fn expect(&mut self) {
        self.sent += 1;
    }

    /// Returns `true` if a packet was sent and all packets are answered.
    pub(crate) fn are_answered(&self) -> bool {
        self.sent > 0 && self.answered == self.sent
    }

    /// Handles a SUBACK. As in mosquitto_sub, the program fails only if the broker has rejected every subscription.
    pub(crate) fn subscribed(&mut self, suback: &Suback, subscriptions: &[Subscription]) -> Answer {
        self.answered += 1;
        let refused = |code: &&ReasonCode| code.is_error();
        let all = suback.reason_codes.iter().all(|code| refused(&code));
        if let (Some(code), true) = (suback.reason_codes.last(), all) {
            let mut text = format!("All subscription requests were denied. ({code}");
            if let Some(reason) = &suback.properties.reason_string {
                text += &format!(": {}", Printable(reason));
            }
            let failure = Failure::unmarked(Status::of_reason(*code), text + ")")
                .with_reason(code.value(), suback.properties.reason_string.as_deref());
            return Answer {
                failure: Some(failure),
                ..Answer::default()
            };
        }
        // SUBACK has one reason code for each filter of SUBSCRIBE, in the same order.
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

    /// Handles an UNSUBACK. A rejected topic filter is a warning only, because messages of the subscriptions still
    /// arrive.
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
