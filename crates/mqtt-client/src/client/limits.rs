//! [`Limits`] contains the limits of the queues between the application and the thread of a client, and the timeouts of
//! the application's calls.

use std::time::Duration;

/// Limits and timeouts of a [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Maximum number of messages in the outgoing queue.
    pub(super) queued_messages: usize,
    /// Maximum number of bytes in the outgoing queue: topic names and payloads.
    pub(super) queued_bytes: usize,
    /// Maximum number of received messages that the application has not read. This is also the Receive Maximum.
    /// The queue has room for one message more, so that messages of QoS 1 and 2 alone cannot fill it.
    pub(super) unread_messages: u16,
    /// Maximum number of bytes in received messages that the application has not read.
    pub(super) unread_bytes: usize,
    /// Maximum time for which publishing waits for room in the outgoing queue.
    pub(super) publish_timeout: Duration,
    /// Maximum time for which subscribing and unsubscribing wait for the answer of the server.
    pub(super) request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued_messages: 1000,
            queued_bytes: 16 * 1024 * 1024,
            unread_messages: 1000,
            unread_bytes: 64 * 1024 * 1024,
            publish_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
        }
    }
}
