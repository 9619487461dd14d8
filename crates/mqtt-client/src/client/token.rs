//! [`PublishToken`] represents a published message until its result is known.

use std::sync::Arc;
use std::time::Duration;

use mqtt_codec::TopicName;

use super::error::PublishError;
use super::outbox::PublishSlot;
use super::shared::Shared;
use super::waiting::deadline_after;

/// A message that a client has accepted. Its token can wait for the acknowledgement; see
/// [`Client::publish`](crate::Client::publish).
#[derive(Debug, Clone)]
pub struct PublishToken {
    pub(super) shared: Arc<Shared>,
    topic_name: TopicName,
    pub(super) slot: PublishSlot,
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
    /// QoS 0 has no acknowledgement; the method waits until the operating system has accepted its bytes.
    ///
    /// # Errors
    /// Returns an error if the server has rejected the message, if the message was lost, or if the client has ended.
    /// Returns [`PublishError::TimedOut`] if the timeout passes first. The client still delivers the message in this
    /// case.
    pub fn wait(&self, timeout: Duration) -> Result<(), PublishError> {
        let deadline = deadline_after(timeout);
        match self.shared.completions.wait(&self.slot, deadline) {
            Some(result) => result.clone(),
            None => Err(PublishError::TimedOut {
                topic_name: self.topic_name.clone(),
            }),
        }
    }

    /// Returns the result, or `None` if it is not known yet.
    pub fn result(&self) -> Option<Result<(), PublishError>> {
        self.slot.result().cloned()
    }

    /// Returns the topic name of the message.
    pub fn topic_name(&self) -> &TopicName {
        &self.topic_name
    }
}
