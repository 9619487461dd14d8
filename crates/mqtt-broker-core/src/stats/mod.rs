//! The statistics of the broker: the topics below `$SYS/broker`, and the values that `rbroker status` shows. Each value
//! has one name, which is also its topic.

pub(crate) mod drops;
pub(crate) mod dump;

use std::time::{Duration, Instant};

use mqtt_codec::{Connect, TopicFilter};
use mqtt_session::{Excerpt, Traffic};

use crate::broker::Broker;
use crate::connection::Connections;
use crate::log_lines::EVENTS;
use crate::log_lines::limiter::{LogEvent, LogLimiter};
use crate::log_lines::words::Name;
use crate::routing::router;
use crate::stats::drops::Drops;
use crate::stats::dump::Dump;
use crate::topics::names::SYSTEM;

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
    queued: usize,
    queued_bytes: usize,
    /// Bytes that wait for the sockets of all clients.
    unwritten: usize,
    /// Sessions that have ended after their connection.
    pub(crate) expired: u64,
    /// Connections that were opened.
    pub(crate) sockets: u64,
    /// Clients that were accepted.
    connects: u64,
    /// Clients that are connected.
    pub(crate) connected: usize,
    /// The highest number of clients that were connected at the same time.
    maximum_connected: usize,
    subscriptions: i64,
    shared_subscriptions: i64,
    rates: Rates,
    started: Option<Instant>,
    /// The values that were last published to the `$SYS/broker` topics.
    published: Vec<Value>,
}

impl Counters {
    /// Counts a client that was accepted.
    pub(crate) fn connected(&mut self) {
        self.connects += 1;
        self.connected += 1;
        self.maximum_connected = self.maximum_connected.max(self.connected);
    }

    /// Replaces the totals (messages and bytes) of one client's queue.
    pub(crate) fn count_queue(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.queued = (self.queued + after.0).saturating_sub(before.0);
        self.queued_bytes = (self.queued_bytes + after.1).saturating_sub(before.1);
    }

    /// Replaces the number of bytes in the output of one connection.
    pub(crate) fn count_output(&mut self, before: usize, after: usize) {
        self.unwritten = (self.unwritten + after).saturating_sub(before);
    }

    /// Counts subscriptions that were made, or removed with a negative `count`.
    pub(crate) fn subscribed(&mut self, topic_filter: &TopicFilter, count: i64) {
        self.subscriptions += count;
        if topic_filter.share_name().is_some() {
            self.shared_subscriptions += count;
        }
    }
}

/// A value and its name, which is the topic below `$SYS/broker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Levels, with slashes between them.
    pub name: String,
    /// A number, except for `version`. `uptime` is in seconds.
    pub text: String,
}

fn value(name: &str, text: impl ToString) -> Value {
    Value {
        name: name.to_owned(),
        text: text.to_string(),
    }
}

/// The names of the counters that have a rate.
const GROWING: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

/// The times over which a rate is averaged.
const WINDOWS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// e to the power of `-time`, to five digits; `f64::exp` would be the only use of the mathematical library.
fn decay(time: f64) -> f64 {
    const STEPS: i32 = 1 << 20;
    (1.0 + time / f64::from(STEPS)).powi(-STEPS)
}

/// The growth of counters per minute.
#[derive(Debug, Default)]
struct Rates {
    counts: [u64; GROWING.len()],
    taken: Option<Instant>,
    averages: [[f64; WINDOWS.len()]; GROWING.len()],
}

impl Rates {
    /// Updates the averages. Each is an exponentially weighted moving average, so a rate that lasted longer relative to
    /// the window weighs more.
    fn take(&mut self, now: Instant, counts: [u64; GROWING.len()]) {
        let before = self.taken.replace(now);
        let since = before.map_or(Duration::ZERO, |before| now - before);
        let seconds = since.as_secs_f64();
        let growth = counts
            .iter()
            .zip(std::mem::replace(&mut self.counts, counts));
        for (averages, (count, before)) in self.averages.iter_mut().zip(growth) {
            if seconds == 0.0 {
                continue;
            }
            let rate = count.saturating_sub(before) as f64 * 60.0 / seconds;
            for (average, (_, window)) in averages.iter_mut().zip(WINDOWS) {
                *average = rate + (*average - rate) * decay(seconds / window);
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = Value> {
        GROWING
            .iter()
            .zip(self.averages)
            .flat_map(|(name, averages)| {
                WINDOWS
                    .iter()
                    .zip(averages)
                    .map(move |((window, _), average)| Value {
                        name: format!("load/{name}/{window}"),
                        text: format!("{average:.2}"),
                    })
            })
    }
}

/// The counters, the limiter of log lines, and the progress of a dump.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    pub(crate) log_limiter: LogLimiter,
    /// The progress of the dump of subscriptions and retained messages, if an administrator has asked for one.
    pub(crate) dump: Option<Dump>,
}

impl Stats {
    pub(crate) fn log_denied_will(&mut self, now: Instant, connect: &Connect, topic_name: &str) {
        let name = &connect.client_identifier;
        if self.log_limiter.admits(now, LogEvent::WillDenied, name) {
            let (name, topic_name) = (Name(name), Excerpt(topic_name));
            log::info!(target: EVENTS, "Denied will of {name} ('{topic_name}')");
        }
    }
}

/// Does the work of [`Broker::publish_statistics`].
pub(crate) fn publish_statistics(broker: &mut Broker, now: Instant) {
    let traffic = traffic(&broker.connections, &broker.stats);
    let counters = &mut broker.stats.counters;
    let counts = [
        traffic.received.packets,
        traffic.sent.packets,
        counters.drops.sum(),
        traffic.received.messages,
        traffic.sent.messages,
        counters.bytes_received,
        counters.bytes_sent,
        counters.sockets,
        counters.connects,
    ];
    counters.rates.take(now, counts);
    let values = values(broker, now);
    let before = std::mem::take(&mut broker.stats.counters.published);
    for (index, value) in values.iter().enumerate() {
        if before.get(index) == Some(value) {
            continue;
        }
        let topic_name = format!("{SYSTEM}broker/{}", value.name);
        match value.name.as_str() {
            "uptime" => {
                router::publish_own(broker, now, &topic_name, &format!("{} seconds", value.text));
            }
            _ => router::publish_own(broker, now, &topic_name, &value.text),
        }
    }
    broker.stats.counters.published = values;
}

/// Does the work of [`Broker::statistics`].
pub(crate) fn values(broker: &mut Broker, now: Instant) -> Vec<Value> {
    let started = *broker.stats.counters.started.get_or_insert(now);
    let (counters, traffic) = (
        &broker.stats.counters,
        traffic(&broker.connections, &broker.stats),
    );
    let total = broker.sessions.clients.len();
    let away = total - counters.connected.min(total);
    let (messages, bytes) = (
        counters.queued + broker.topics.retained.len(),
        counters.queued_bytes + broker.topics.retained.bytes(),
    );
    let version = format!("rbroker version {}", env!("CARGO_PKG_VERSION"));
    let mut values = vec![
        value("version", version),
        value("uptime", (now - started).as_secs()),
        value("clients/total", total),
        value("clients/connected", counters.connected),
        value("clients/active", counters.connected),
        value("clients/disconnected", away),
        value("clients/inactive", away),
        value("clients/maximum", counters.maximum_connected),
        value("clients/expired", counters.expired),
        value("subscriptions/count", counters.subscriptions),
        value("shared_subscriptions/count", counters.shared_subscriptions),
        value("retained messages/count", broker.topics.retained.len()),
        value("retained messages/bytes", broker.topics.retained.bytes()),
        value("queued messages/count", counters.queued),
        value("queued messages/bytes", counters.queued_bytes),
        value("store/messages/count", messages),
        value("store/messages/bytes", bytes),
        value("messages/stored", messages),
        value("messages/received", traffic.received.packets),
        value("messages/sent", traffic.sent.packets),
        value("publish/messages/received", traffic.received.messages),
        value("publish/messages/sent", traffic.sent.messages),
        value("publish/messages/dropped", counters.drops.sum()),
        value("publish/bytes/received", traffic.received.payload_bytes),
        value("publish/bytes/sent", traffic.sent.payload_bytes),
        value("bytes/received", counters.bytes_received),
        value("bytes/sent", counters.bytes_sent),
        value("connections/socket/count", counters.sockets),
        value("packet/out/bytes", counters.unwritten),
    ];
    let drops = counters.drops.by_reason();
    values.extend(
        drops.map(|(reason, count)| value(&format!("publish/messages/dropped/{reason}"), count)),
    );
    values.extend(counters.rates.values());
    if let Some(limit) = broker.resources.limits.maximum_memory {
        values.push(value("memory/bytes", broker.resources.memory_used));
        values.push(value("memory/limit", limit));
    }
    values
}

fn traffic(connections: &Connections, stats: &Stats) -> Traffic {
    let mut traffic = stats.counters.gone;
    for connection in connections.values() {
        traffic += connection.protocol.traffic();
    }
    traffic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_averages_over_their_window() {
        let start = Instant::now();
        let mut rates = Rates::default();
        // 10 each second, for long; then nothing for a minute.
        for second in 0..=3600 {
            rates.take(
                start + Duration::from_secs(second),
                [second * 10; GROWING.len()],
            );
        }
        let first = |rates: &Rates| rates.values().next().unwrap();
        assert_eq!(
            first(&rates),
            value("load/messages/received/1min", "600.00")
        );
        rates.take(start + Duration::from_secs(3660), [36000; GROWING.len()]);
        assert_eq!(first(&rates).text, "220.73"); // 600 / e
    }
}
