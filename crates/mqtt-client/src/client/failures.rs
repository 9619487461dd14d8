//! [`Failures`]: the results of published messages, counted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use mqtt_codec::TopicName;

use super::error::PublishError;
use super::outbox::PublishSlot;
use super::statistics::Counters;
use super::waiting::lock;

/// Messages that were not published.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) counters: Counters,
    /// The number of failed messages whose tokens were dropped, and the first error.
    pub(super) unreported: Mutex<Option<(u64, PublishError)>>,
}

impl Failures {
    pub(super) fn succeed(&self, slot: &PublishSlot) {
        self.counters.delivered.fetch_add(1, Ordering::Relaxed);
        slot.complete(Ok(()));
    }

    pub(super) fn lose(&self, slot: &PublishSlot, topic_name: TopicName) {
        self.counters.lost.fetch_add(1, Ordering::Relaxed);
        self.report(slot, PublishError::Lost { topic_name });
    }

    pub(super) fn fail(&self, slot: &PublishSlot, error: PublishError) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        self.report(slot, error);
    }

    /// Sets the error, and keeps it for [`Client::disconnect`](crate::Client::disconnect) if nobody holds the token.
    fn report(&self, slot: &PublishSlot, error: PublishError) {
        if Arc::strong_count(slot) == 1 {
            let mut unreported = lock(&self.unreported);
            let (count, _) = unreported.get_or_insert_with(|| (0, error.clone()));
            *count += 1;
        }
        slot.complete(Err(error));
    }
}
