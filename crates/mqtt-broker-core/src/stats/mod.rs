//! What the broker counts, for people: the topics below `$SYS/broker`, and what `rbroker status` shows.
//! Each value has one name, which is the topic too; what a name means is decided here.

pub(crate) mod drops;
pub(crate) mod dump;

use std::time::{Duration, Instant};

use mqtt_codec::TopicFilter;
use mqtt_session::Traffic;

use crate::broker::Broker;
use crate::stats::drops::Drops;

/// What the broker's own topics begin with. Clients cannot write to them.
pub(crate) const SYSTEM: &str = "$SYS/";

/// Counts since the start, and how fast they grow.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// What went through connections that are gone.
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
    /// The highest number of them.
    maximum_connected: usize,
    subscriptions: i64,
    shared_subscriptions: i64,
    rates: Rates,
    started: Option<Instant>,
    /// The values that the topics have.
    published: Vec<Value>,
}

impl Statistics {
    /// A client was accepted.
    pub(crate) fn connected(&mut self) {
        self.connects += 1;
        self.connected += 1;
        self.maximum_connected = self.maximum_connected.max(self.connected);
    }

    /// The queue of a client had these totals (messages and bytes), and has those now.
    pub(crate) fn count_queue(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.queued = (self.queued + after.0).saturating_sub(before.0);
        self.queued_bytes = (self.queued_bytes + after.1).saturating_sub(before.1);
    }

    /// The output of a connection had a number of bytes, and has another one now.
    pub(crate) fn count_output(&mut self, before: usize, after: usize) {
        self.unwritten = (self.unwritten + after).saturating_sub(before);
    }

    /// There are more or fewer subscriptions.
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
    /// A number, but for `version` and `uptime`.
    pub text: String,
}

fn value(name: &str, text: impl ToString) -> Value {
    Value {
        name: name.to_owned(),
        text: text.to_string(),
    }
}

/// What grows, by the name of its rate.
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

/// Over how long a rate is an average.
const WINDOWS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// e to the power of `-time`, to five digits; `f64::exp` would be the only use of the mathematical library.
fn decay(time: f64) -> f64 {
    const STEPS: i32 = 1 << 20;
    (1.0 + time / f64::from(STEPS)).powi(-STEPS)
}

/// How fast counts grow, for each minute.
#[derive(Debug, Default)]
struct Rates {
    counts: [u64; GROWING.len()],
    taken: Option<Instant>,
    averages: [[f64; WINDOWS.len()]; GROWING.len()],
}

impl Rates {
    /// What came since the last time counts as much as its time is a part of the window.
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

impl Broker {
    /// Renews the topics below `$SYS/broker` whose values have changed.
    pub fn publish_statistics(&mut self, now: Instant) {
        let traffic = self.traffic();
        let statistics = &mut self.statistics;
        let counts = [
            traffic.received.packets,
            traffic.sent.packets,
            statistics.drops.sum(),
            traffic.received.messages,
            traffic.sent.messages,
            statistics.bytes_received,
            statistics.bytes_sent,
            statistics.sockets,
            statistics.connects,
        ];
        statistics.rates.take(now, counts);
        let values = self.statistics(now);
        let before = std::mem::take(&mut self.statistics.published);
        for (index, value) in values.iter().enumerate() {
            if before.get(index) == Some(value) {
                continue;
            }
            let topic_name = format!("{SYSTEM}broker/{}", value.name);
            match value.name.as_str() {
                "uptime" => {
                    self.publish_own(now, &topic_name, &format!("{} seconds", value.text));
                }
                _ => self.publish_own(now, &topic_name, &value.text),
            }
        }
        self.statistics.published = values;
    }

    /// How often the topics are renewed; `None`: never.
    pub fn statistics_interval(&self) -> Option<Duration> {
        let interval = self.limits.sys_interval;
        (!interval.is_zero()).then_some(interval)
    }

    /// Returns each value of the status with its name, always in the same order. The uptime is in seconds. Rates are
    /// per minute, of the time when the topics were last updated.
    pub fn statistics(&mut self, now: Instant) -> Vec<Value> {
        let started = *self.statistics.started.get_or_insert(now);
        let (statistics, traffic) = (&self.statistics, self.traffic());
        let total = self.clients.len();
        let away = total - statistics.connected.min(total);
        let (messages, bytes) = (
            statistics.queued + self.retained.len(),
            statistics.queued_bytes + self.retained.bytes(),
        );
        let version = format!("rbroker version {}", env!("CARGO_PKG_VERSION"));
        let mut values = vec![
            value("version", version),
            value("uptime", (now - started).as_secs()),
            value("clients/total", total),
            value("clients/connected", statistics.connected),
            value("clients/active", statistics.connected),
            value("clients/disconnected", away),
            value("clients/inactive", away),
            value("clients/maximum", statistics.maximum_connected),
            value("clients/expired", statistics.expired),
            value("subscriptions/count", statistics.subscriptions),
            value(
                "shared_subscriptions/count",
                statistics.shared_subscriptions,
            ),
            value("retained messages/count", self.retained.len()),
            value("retained messages/bytes", self.retained.bytes()),
            value("queued messages/count", statistics.queued),
            value("queued messages/bytes", statistics.queued_bytes),
            value("store/messages/count", messages),
            value("store/messages/bytes", bytes),
            value("messages/stored", messages),
            value("messages/received", traffic.received.packets),
            value("messages/sent", traffic.sent.packets),
            value("publish/messages/received", traffic.received.messages),
            value("publish/messages/sent", traffic.sent.messages),
            value("publish/messages/dropped", statistics.drops.sum()),
            value("publish/bytes/received", traffic.received.payload_bytes),
            value("publish/bytes/sent", traffic.sent.payload_bytes),
            value("bytes/received", statistics.bytes_received),
            value("bytes/sent", statistics.bytes_sent),
            value("connections/socket/count", statistics.sockets),
            value("packet/out/bytes", statistics.unwritten),
        ];
        let drops = statistics.drops.by_reason();
        values
            .extend(drops.map(|(reason, count)| {
                value(&format!("publish/messages/dropped/{reason}"), count)
            }));
        values.extend(statistics.rates.values());
        if let Some(limit) = self.limits.maximum_memory {
            values.push(value("memory/bytes", self.memory_used));
            values.push(value("memory/limit", limit));
        }
        values
    }

    /// The client for which the most messages wait, and how many.
    pub fn longest_queue(&self) -> Option<(&str, usize)> {
        let queues = self.clients.values();
        let queues = queues.map(|client| (&*client.identifier, client.queue.len()));
        queues
            .filter(|(_, count)| *count > 0)
            .max_by_key(|(_, count)| *count)
    }

    fn traffic(&self) -> Traffic {
        let mut traffic = self.statistics.gone;
        for connection in self.connections.values() {
            traffic += connection.protocol.traffic();
        }
        traffic
    }
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
