//! [`Limits`]: the limits of the queues between the application and the thread of a client, and its timeouts.

use std::time::Duration;

/// Limits and timeouts of a [`Client`](crate::Client).
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) queued_messages: usize,
    pub(super) queued_bytes: usize,
    pub(super) unread_messages: u16,
    pub(super) unread_bytes: usize,
    pub(super) publish_timeout: Duration,
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
