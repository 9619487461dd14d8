//! [`Counters`]: counts since the start of the broker.

use std::time::Instant;

use mqtt_codec::TopicFilter;
use mqtt_session::Traffic;

use crate::stats::drops::Drops;
use crate::stats::rates::Rates;
use crate::stats::value::Value;

/// Counts since the start, and how fast they grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The traffic of connections that have ended.
    pub(crate) gone: Traffic,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Messages that clients did not get.
    pub(crate) drops: Drops,
    /// Messages in the queues of all clients, and the memory that they take. A message that waits for several clients
    /// counts for each of them.
    pub(crate) queued: usize,
    pub(crate) queued_bytes: usize,
    /// Bytes that wait for the sockets of all clients.
    pub(crate) unwritten: usize,
    /// Sessions that have ended after their connection.
    pub(crate) expired: u64,
    /// Connections that were opened.
    pub(crate) sockets: u64,
    /// Clients that were accepted.
    pub(crate) connects: u64,
    /// Clients that are connected.
    pub(crate) connected: usize,
    /// The highest number of clients that were connected at the same time.
    pub(crate) maximum_connected: usize,
    pub(crate) subscriptions: i64,
    pub(crate) shared_subscriptions: i64,
    pub(crate) rates: Rates,
    pub(crate) started: Option<Instant>,
    /// The values that were last published to the `$SYS/broker` topics.
    pub(crate) published: Vec<Value>,
}

impl Counters {
    /// Counts an accepted CONNECT.
    pub(crate) fn connected(&mut self) {
        self.connects += 1;
        self.connected += 1;
        self.maximum_connected = self.maximum_connected.max(self.connected);
    }

    /// Replaces the totals of one client's queue, `before`, by `after`. Both are the number of messages and their
    /// bytes.
    pub(crate) fn count_queue(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.queued = (self.queued + after.0).saturating_sub(before.0);
        self.queued_bytes = (self.queued_bytes + after.1).saturating_sub(before.1);
    }

    /// Replaces the number of bytes in the output of one connection, `before`, by `after`.
    pub(crate) fn count_output(&mut self, before: usize, after: usize) {
        self.unwritten = (self.unwritten + after).saturating_sub(before);
    }

    /// Counts subscriptions that were added, or were removed if `count` is negative.
    pub(crate) fn subscribed(&mut self, topic_filter: &TopicFilter, count: i64) {
        self.subscriptions += count;
        if topic_filter.share_name().is_some() {
            self.shared_subscriptions += count;
        }
    }
}
