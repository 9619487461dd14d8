//! The answers to SUBSCRIBE and UNSUBSCRIBE: how many are missing, and what was refused.

use mqtt_client::session::Printable;
use mqtt_codec::{ReasonCode, Suback, Subscription};

use crate::exit_status::Status;
use crate::failure::Failure;

/// What was asked on this connection.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests {
    asked: usize,
    answered: usize,
}

/// What an answer means.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) warnings: Vec<String>,
    pub(crate) failure: Option<Failure>,
}

impl PendingRequests {
    /// One more was sent.
    pub(crate) fn expect(&mut self) {
        self.asked += 1;
    }

    /// Whether something was asked and all of it is answered.
    pub(crate) fn are_answered(&self) -> bool {
        self.asked > 0 && self.answered == self.asked
    }

    /// SUBACK: a failure if every subscription was refused.
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

    /// UNSUBACK. What could not be unsubscribed is worth a warning.
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
