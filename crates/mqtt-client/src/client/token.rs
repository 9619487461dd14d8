//! [`PublishToken`]: the fate of one message.

use std::sync::Arc;
use std::time::Duration;

use mqtt_codec::TopicName;

use super::error::PublishError;
use super::outbox::PublishSlot;
use super::shared::Shared;
use super::waiting::deadline_after;

/// A message that a client has accepted, to wait for its acknowledgement; see
/// [`Client::publish`](crate::Client::publish).
#[derive(Debug, Clone)]
pub struct PublishToken {
    shared: Arc<Shared>,
    topic_name: TopicName,
    slot: PublishSlot,
}

impl PublishToken {
    pub(super) fn new(shared: Arc<Shared>, topic_name: TopicName, slot: PublishSlot) -> Self {
        Self {
            shared,
            topic_name,
            slot,
        }
    }

    /// Waits until the server has acknowledged the message: with PUBACK for QoS 1, with PUBCOMP for QoS 2. A message of
    /// QoS 0 is never acknowledged: this waits until the system has taken its bytes.
    ///
    /// # Errors
    /// If the server rejected the message, the message was lost, or the client has ended;
    /// [`PublishError::TimedOut`] if the timeout passes first. The client still delivers the message then.
    pub fn wait(&self, timeout: Duration) -> Result<(), PublishError> {
        let deadline = deadline_after(timeout);
        match self.shared.completions.wait(&self.slot, deadline) {
            Some(result) => result.clone(),
            None => Err(PublishError::TimedOut {
                topic_name: self.topic_name.clone(),
            }),
        }
    }

    /// Returns the result if there is one already.
    pub fn result(&self) -> Option<Result<(), PublishError>> {
        self.slot.result().cloned()
    }

    /// Returns the topic name of the message.
    pub fn topic_name(&self) -> &TopicName {
        &self.topic_name
    }
}
