//! Finds the end of the retained messages, for `--snapshot`. No packet of MQTT marks this end. So rsub sends a question
//! that the broker answers after it has sent the messages.
//!
//! The question is an UNSUBSCRIBE for a filter that rsub has never subscribed to. The broker answers the packets of a
//! connection in their order, so UNSUBACK comes after the messages that the broker had ready. A broker that sends
//! retained messages in portions, or waits for acknowledgements, answers before it has sent all of them. So rsub asks
//! again until no retained message arrives between a question and its answer. rsub asks only when it has acknowledged
//! every message.

/// The questions of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// The number of questions that were sent.
    sent: u64,
    is_pending: bool,
    /// Set if a retained message has arrived since the last question was sent.
    has_news: bool,
}

/// The next step of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    Ask,
    Finish,
}

impl Barrier {
    /// The filter of the questions. No message has a topic that matches, and the broker has no such subscription.
    pub(super) const TOPIC_FILTER: &str = "$rsub/snapshot";

    /// Records that a retained message has arrived.
    pub(super) fn add_message(&mut self) {
        self.has_news = true;
    }

    /// Records an UNSUBACK. Returns `true` if it answers a question.
    pub(super) fn answer(&mut self) -> bool {
        std::mem::take(&mut self.is_pending)
    }

    /// Returns the next step after everything that arrived was acknowledged.
    pub(super) fn next(&self) -> Step {
        if self.is_pending {
            Step::Wait
        } else if self.sent == 0 || self.has_news {
            Step::Ask
        } else {
            Step::Finish
        }
    }

    /// Records that a question was sent.
    pub(super) fn ask(&mut self) {
        self.sent += 1;
        self.is_pending = true;
        self.has_news = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_ends_after_an_answer_without_new_messages() {
        let mut barrier = Barrier::default();
        assert_eq!(barrier.next(), Step::Ask);
        barrier.ask();
        assert_eq!(barrier.next(), Step::Wait);
        barrier.add_message();
        assert!(barrier.answer());
        assert_eq!(barrier.next(), Step::Ask);
        barrier.ask();
        assert!(barrier.answer());
        assert!(!barrier.answer());
        assert_eq!(barrier.next(), Step::Finish);
    }
}
