//! [`Failures`] sets the results of published messages and counts them.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use mqtt_codec::TopicName;

use super::error::PublishError;
use super::outbox::PublishSlot;
use super::statistics::Counters;
use super::waiting::lock;

/// Results of published messages.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) counters: Counters,
    /// Number of failed messages whose tokens were dropped, and the first error.
    pub(super) unreported: Mutex<Option<(u64, PublishError)>>,
}

impl Failures {
    /// Records that a message has been delivered.
    pub(super) fn succeed(&self, slot: &PublishSlot) {
        self.counters.delivered.fetch_add(1, Ordering::Relaxed);
        slot.complete(Ok(()));
    }

    /// Records that a message of QoS 0 was lost with its connection.
    pub(super) fn lose(&self, slot: &PublishSlot, topic_name: TopicName) {
        self.counters.lost.fetch_add(1, Ordering::Relaxed);
        self.report(slot, PublishError::Lost { topic_name });
    }

    /// Records that a message could not be published.
    pub(super) fn fail(&self, slot: &PublishSlot, error: PublishError) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.report(slot, error);
    }

    /// Sets the error. If the token of the message was dropped, also stores the error for
    /// [`Client::disconnect`](crate::Client::disconnect).
    fn report(&self, slot: &PublishSlot, error: PublishError) {
        // The token has the second reference, so the count is 1 if the token was dropped.
        if Arc::strong_count(slot) == 1 {
            let mut unreported = lock(&self.unreported);
            let (count, _) = unreported.get_or_insert_with(|| (0, error.clone()));
            *count += 1;
        }
        slot.complete(Err(error));
    }
}
