//! The numbers of messages, responses and requests of a run of rsub or rrr, for each outcome. The report of `--report`
//! has these numbers. The line about a run that did not get or answer all of them has them, too.

use std::fmt;

use serde_json::{Value, json};

use crate::wording::counted;

/// The messages of a run of rsub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) received: u64,
    /// The count of `-C`.
    pub(super) expected: Option<u64>,
}

/// The responses of a run of rrr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Responses {
    pub(super) received: u64,
    /// The number to wait for; `None` if only the time ends the run.
    pub(super) expected: Option<u64>,
    /// Ignored messages that are older than the request.
    pub(super) older: u64,
    /// Ignored messages with other correlation data.
    pub(super) uncorrelated: u64,
    /// Responses that report a failure of the handler.
    pub(super) failed: u64,
}

/// The requests of a run of `rrr --serve`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) received: u64,
    pub(super) answered: u64,
    /// Requests whose handler has failed, or whose response was rejected.
    pub(super) failed: u64,
    /// Requests that name no topic for the response.
    pub(super) without_response_topic: u64,
}

impl Received {
    /// Returns the line for a run that waits for several messages (`-C`) and got fewer.
    pub(super) fn summary(&self) -> Option<String> {
        // For a single message the failure says enough.
        let expected = self.expected.filter(|expected| *expected > 1)?;
        let received = self.received;
        let messages = counted(expected, "message");
        (received < expected).then(|| format!("{received} of {messages} received."))
    }

    pub(super) fn json(&self) -> Value {
        json!({ "received": self.received, "expected": self.expected })
    }
}

impl Responses {
    /// Returns `true` if no response is missing.
    pub(super) fn is_complete(&self) -> bool {
        let expected = self.expected.unwrap_or(1);
        self.received >= expected
    }

    /// Returns the line for a run that did not get all responses. Returns `None` for a single response without ignored
    /// messages: the failure says enough.
    pub(super) fn summary(&self) -> Option<String> {
        let is_telling = self.expected != Some(1) || self.older + self.uncorrelated > 0;
        (is_telling && !self.is_complete()).then(|| format!("{self}."))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "received": self.received,
            "expected": self.expected,
            "ignored_older": self.older,
            "ignored_other_correlation_data": self.uncorrelated,
            "failed": self.failed,
        })
    }
}

impl fmt::Display for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            Some(expected) => write!(f, "{} of {}", self.received, counted(expected, "response"))?,
            None => write!(f, "{}", counted(self.received, "response"))?,
        }
        let ignored = [
            (self.older, "older than the request"),
            (self.uncorrelated, "with other correlation data"),
        ];
        let mut ignored = ignored.into_iter().filter(|(count, _)| *count > 0);
        if let Some((count, kind)) = ignored.next() {
            write!(f, "; ignored {} {kind}", counted(count, "message"))?;
        }
        ignored.try_for_each(|(count, kind)| write!(f, " and {count} {kind}"))
    }
}

impl Served {
    /// Counts a request whose response is finished. `is_failure` is `true` if the response reports a failure or was
    /// rejected.
    pub(super) fn count(&mut self, is_failure: bool) {
        if is_failure {
            self.failed += 1;
        } else {
            self.answered += 1;
        }
    }

    /// Returns the line for a run that did not answer all requests.
    pub(super) fn summary(&self) -> Option<String> {
        (self.answered < self.received).then(|| format!("{self}."))
    }

    fn not_answered(&self) -> u64 {
        let others = self.answered + self.failed + self.without_response_topic;
        self.received.saturating_sub(others)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "received": self.received,
            "answered": self.answered,
            "failed": self.failed,
            "without_response_topic": self.without_response_topic,
            "not_answered": self.not_answered(),
        })
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = counted(self.received, "request");
        write!(f, "{} of {requests} answered", self.answered)?;
        for (count, outcome) in [
            (self.failed, "failed"),
            (self.without_response_topic, "without response topic"),
            (self.not_answered(), "not answered"),
        ] {
            if count > 0 {
                write!(f, ", {count} {outcome}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_name_only_what_did_not_go_through() {
        let responses = |received, expected, older, uncorrelated| Responses {
            received,
            expected,
            older,
            uncorrelated,
            failed: 0,
        };
        for (responses, expected) in [
            (responses(2, Some(3), 0, 0), Some("2 of 3 responses.")),
            (responses(3, Some(3), 1, 1), None),
            (responses(0, Some(1), 0, 0), None),
            (
                responses(0, Some(1), 1, 2),
                Some(
                    "0 of 1 response; ignored 1 message older than the request and 2 with other correlation data.",
                ),
            ),
            (responses(0, None, 0, 0), Some("0 responses.")),
        ] {
            assert_eq!(responses.summary().as_deref(), expected);
        }
        let mut served = Served {
            received: 5,
            answered: 1,
            failed: 1,
            without_response_topic: 1,
        };
        let line = "1 of 5 requests answered, 1 failed, 1 without response topic, 2 not answered.";
        assert_eq!(served.summary().as_deref(), Some(line));
        served.answered = 5;
        assert_eq!(served.summary(), None);
    }
}
