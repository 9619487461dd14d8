//! Finds the end of the retained messages, for `--snapshot`. No packet of MQTT marks this end. So rsub sends a question
//! that the broker answers after it has sent the messages.
//!
//! The question is an UNSUBSCRIBE for a filter that rsub has never subscribed to. The broker answers the packets of a
//! connection in their order, so UNSUBACK comes after the messages that the broker had ready. A broker that sends
//! retained messages in portions, or waits for acknowledgements, answers before it has sent all of them. So rsub asks
//! again until no retained message arrives between a question and its answer. rsub asks only when it has acknowledged
//! every message.
//!
//! Tests prove that this is exact for rbroker and mosquitto 2.0, and rsub trusts every mosquitto 2. Other brokers, such
//! as aedes, answer further packets while they still read the retained messages from a store. Their answer proves
//! nothing. So rsub also subscribes to the version of the broker, which is a retained message. If the broker is neither
//! rbroker nor mosquitto 2, the snapshot ends only when no retained message has come for some time after the answer.

use std::time::Instant;

use mqtt_codec::{QoS, Subscription, SubscriptionOptions, TopicFilter};

/// The questions of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// The number of questions that were sent.
    sent: u64,
    is_pending: bool,
    /// Set until the broker answers the subscription to its version.
    awaits_suback: bool,
    /// Set if a retained message has arrived since the last question was sent.
    has_news: bool,
    /// Set if the answers of this broker prove that it has sent the messages.
    is_proven: bool,
    /// The time of the last retained message or answer.
    last: Option<Instant>,
}

/// The next step of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    Ask,
    /// Finish if no retained message comes for some time after this instant.
    FinishAfterSilence(Instant),
    Finish,
}

impl Barrier {
    /// The filter of the questions. No message has a topic that matches, and the broker has no such subscription.
    pub(super) const TOPIC_FILTER: &str = "$rsub/snapshot";

    /// The topic of the version of a broker.
    pub(super) const VERSION: &str = "$SYS/broker/version";

    /// The beginnings of the versions of brokers whose answers prove the end.
    const PROVEN: [&[u8]; 2] = [b"mosquitto version 2.", b"rbroker version "];

    /// Records that a retained message has arrived.
    pub(super) fn add_message(&mut self, now: Instant) {
        self.has_news = true;
        self.last = Some(now);
    }

    /// Records the payload of the version.
    pub(super) fn set_version(&mut self, version: &[u8]) {
        self.is_proven = Self::PROVEN.iter().any(|name| version.starts_with(name));
    }

    /// Records an UNSUBACK. Returns `true` if it answers a question.
    pub(super) fn answer(&mut self, now: Instant) -> bool {
        self.last = Some(now);
        std::mem::take(&mut self.is_pending)
    }

    /// Records a SUBACK. Returns `true` if it is about the version. A rejection is not an error. The broker then counts
    /// as unknown.
    pub(super) fn answer_subscription(&mut self) -> bool {
        std::mem::take(&mut self.awaits_suback)
    }

    /// Returns the next step after everything that arrived was acknowledged.
    pub(super) fn next(&self) -> Step {
        match self.last {
            _ if self.is_pending || self.awaits_suback => Step::Wait,
            _ if self.sent == 0 || self.has_news => Step::Ask,
            Some(last) if !self.is_proven => Step::FinishAfterSilence(last),
            _ => Step::Finish,
        }
    }

    /// Records that a question was sent.
    pub(super) fn ask(&mut self) {
        self.sent += 1;
        self.is_pending = true;
        self.has_news = false;
    }

    /// Returns the subscription to the version. It must be sent before the first question. Returns `None` if it was
    /// sent before, or if a subscription of the user matches the topic of the version.
    pub(super) fn version_subscription(&mut self, own: &[Subscription]) -> Option<Subscription> {
        if self.sent > 0 || Self::is_version_wanted(own) {
            return None;
        }
        let topic_filter = TopicFilter::new(Self::VERSION).ok()?;
        self.awaits_suback = true;
        Some(Subscription {
            topic_filter,
            options: SubscriptionOptions::new(QoS::AtMostOnce),
        })
    }

    /// Returns `true` if the user has subscribed to the version, which is then printed.
    pub(super) fn is_version_wanted(own: &[Subscription]) -> bool {
        let mut filters = own.iter().map(|subscription| &subscription.topic_filter);
        filters.any(|filter| filter.matches(Self::VERSION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_ends_after_an_answer_without_new_messages() {
        let now = Instant::now();
        let mut barrier = Barrier::default();
        assert_eq!(barrier.next(), Step::Ask);
        assert!(barrier.version_subscription(&[]).is_some());
        barrier.ask();
        assert!(barrier.version_subscription(&[]).is_none());
        assert_eq!(barrier.next(), Step::Wait);
        barrier.set_version(b"mosquitto version 2.0.11");
        barrier.add_message(now);
        assert!(barrier.answer_subscription());
        assert_eq!(barrier.next(), Step::Wait);
        assert!(barrier.answer(now));
        assert_eq!(barrier.next(), Step::Ask);
        barrier.ask();
        assert!(barrier.answer(now));
        assert!(!barrier.answer(now));
        assert!(!barrier.answer_subscription());
        assert_eq!(barrier.next(), Step::Finish);
    }

    #[test]
    fn snapshot_of_an_unknown_broker_ends_after_silence() {
        let now = Instant::now();
        for version in ["", "mosquitto version 1.6.9", "another version 2.0"] {
            let mut barrier = Barrier::default();
            barrier.set_version(version.as_bytes());
            barrier.ask();
            assert!(barrier.answer(now));
            assert_eq!(barrier.next(), Step::FinishAfterSilence(now), "{version}");
        }
    }
}
