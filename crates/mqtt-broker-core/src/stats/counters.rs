//! [`Counters`]: the counts since the start of the broker, and current totals. Each module updates the counters of the
//! events that it handles. No function here looks at all clients or messages, so that a broker with a million sessions
//! can publish its values often.

use std::time::Instant;

use mqtt_codec::TopicFilter;
use mqtt_session::Traffic;

use crate::stats::drops::Drops;
use crate::stats::rates::Rates;
use crate::stats::value::Value;

/// The counts since the start of the broker, the current totals, and the rates at which counts grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The traffic of connections that were removed.
    pub(crate) ended_traffic: Traffic,
    /// The number of bytes that the broker has received from all connections.
    pub(crate) bytes_received: u64,
    /// The number of bytes that were written to the sockets of all connections.
    pub(crate) bytes_sent: u64,
    /// The number of messages that were dropped for a client, by reason.
    pub(crate) drops: Drops,
    /// The number of messages in the queues of all clients. A message in several queues counts for each of them.
    pub(crate) queued: usize,
    /// The memory of the messages in the queues of all clients, in bytes.
    pub(crate) queued_bytes: usize,
    /// The number of output bytes that wait for the sockets of all clients.
    pub(crate) unwritten: usize,
    /// The number of sessions that have expired after the end of their connection.
    pub(crate) expired: u64,
    /// The number of connections that were opened.
    pub(crate) sockets: u64,
    /// The number of CONNECT packets that were accepted.
    pub(crate) connects: u64,
    /// The number of clients that are connected.
    pub(crate) connected: usize,
    /// The highest number of clients that were connected at the same time.
    pub(crate) maximum_connected: usize,
    /// The number of subscriptions, shared ones included.
    pub(crate) subscriptions: i64,
    /// The number of shared subscriptions.
    pub(crate) shared_subscriptions: i64,
    /// The rates at which some counts grow.
    pub(crate) rates: Rates,
    /// The time at which the statistics were first requested, from which the uptime counts.
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
        // The addition comes first, so that the total cannot become negative in between.
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
