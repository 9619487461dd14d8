//! Makes the values that the broker publishes below `$SYS/broker` and that `rbroker status` prints. Only values that
//! have changed are published.

use std::time::Instant;

use mqtt_session::Traffic;

use crate::broker::Broker;
use crate::connection::Connections;
use crate::routing::own_messages;
use crate::stats::state::Stats;
use crate::stats::value::{self, Value};
use crate::topics::names::SYSTEM;

/// Publishes the values below `$SYS/broker` that have changed since the last call.
pub(crate) fn publish_statistics(broker: &mut Broker, now: Instant) {
    let traffic = traffic(&broker.connections, &broker.stats);
    let counters = &mut broker.stats.counters;
    // The counts have the order of the names in `rates.rs`.
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
    // The order of the values does not change, so the last published value has the same index.
    for (index, value) in values.iter().enumerate() {
        if before.get(index) == Some(value) {
            continue;
        }
        let topic_name = format!("{SYSTEM}broker/{}", value.name);
        match value.name.as_str() {
            // mosquitto's `$SYS/broker/uptime` has the unit in its text, and programs parse it.
            "uptime" => {
                own_messages::publish_own(
                    broker,
                    now,
                    &topic_name,
                    &format!("{} seconds", value.text),
                );
            }
            _ => own_messages::publish_own(broker, now, &topic_name, &value.text),
        }
    }
    broker.stats.counters.published = values;
}

/// Returns each value of the status with its name, always in the same order.
pub(crate) fn values(broker: &mut Broker, now: Instant) -> Vec<Value> {
    let started = *broker.stats.counters.started.get_or_insert(now);
    let (counters, traffic) = (
        &broker.stats.counters,
        traffic(&broker.connections, &broker.stats),
    );
    let total = broker.sessions.clients.len();
    // The two numbers are counted in different places, so the subtraction must not underflow if they disagree.
    let away = total - counters.connected.min(total);
    let (messages, bytes) = (
        counters.queued + broker.topics.retained.len(),
        counters.queued_bytes + broker.topics.retained.bytes(),
    );
    let version = format!("rbroker version {}", env!("CARGO_PKG_VERSION"));
    let mut values = vec![
        value::value("version", version),
        value::value("uptime", (now - started).as_secs()),
        value::value("clients/total", total),
        value::value("clients/connected", counters.connected),
        value::value("clients/active", counters.connected),
        value::value("clients/disconnected", away),
        value::value("clients/inactive", away),
        value::value("clients/maximum", counters.maximum_connected),
        value::value("clients/expired", counters.expired),
        value::value("subscriptions/count", counters.subscriptions),
        value::value("shared_subscriptions/count", counters.shared_subscriptions),
        value::value("retained messages/count", broker.topics.retained.len()),
        value::value("retained messages/bytes", broker.topics.retained.bytes()),
        value::value("queued messages/count", counters.queued),
        value::value("queued messages/bytes", counters.queued_bytes),
        value::value("store/messages/count", messages),
        value::value("store/messages/bytes", bytes),
        value::value("messages/stored", messages),
        value::value("messages/received", traffic.received.packets),
        value::value("messages/sent", traffic.sent.packets),
        value::value("publish/messages/received", traffic.received.messages),
        value::value("publish/messages/sent", traffic.sent.messages),
        value::value("publish/messages/dropped", counters.drops.sum()),
        value::value("publish/bytes/received", traffic.received.payload_bytes),
        value::value("publish/bytes/sent", traffic.sent.payload_bytes),
        value::value("bytes/received", counters.bytes_received),
        value::value("bytes/sent", counters.bytes_sent),
        value::value("connections/socket/count", counters.sockets),
        value::value("packet/out/bytes", counters.unwritten),
    ];
    let drops = counters.drops.by_reason();
    values.extend(
        drops.map(|(reason, count)| {
            value::value(&format!("publish/messages/dropped/{reason}"), count)
        }),
    );
    values.extend(counters.rates.values());
    if let Some(limit) = broker.resources.limits.maximum_memory {
        values.push(value::value("memory/bytes", broker.resources.memory_used));
        values.push(value::value("memory/limit", limit));
    }
    values
}

/// Returns the traffic of all connections, removed or not. A connection counts its own packets, so that no packet costs
/// an access to shared counters.
fn traffic(connections: &Connections, stats: &Stats) -> Traffic {
    let mut traffic = stats.counters.ended_traffic;
    for connection in connections.values() {
        traffic += connection.protocol.traffic();
    }
    traffic
}
