//! Measures brokers with publishers and subscribers in threads, all on one topic. A publisher has at most 20
//! unacknowledged messages. It also waits for the subscribers if they are more than `Load::credit` messages behind.

use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::{Broker, Kind, PEER_TIMEOUT, Peer};

use crate::Row;
use crate::measure::{Sample, cpu_of, memory_of};
use crate::peer::message;

pub(crate) const SETTINGS: &str = "sys_interval 0\nmax_connections -1";

const WINDOW: usize = 20;

/// A workload: the numbers of publishers and subscribers, and the messages.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
    pub(crate) qos: QoS,
    /// The number of messages of each publisher.
    pub(crate) messages: usize,
    pub(crate) size: usize,
    /// The number of messages by which the subscribers may be behind the publishers.
    pub(crate) credit: usize,
    /// The time between two messages. `None` means as fast as possible.
    pub(crate) interval: Option<Duration>,
    /// Set if the sessions of the subscribers outlive their connections.
    pub(crate) is_durable: bool,
}

pub(crate) const LOAD: Load = Load {
    publishers: 1,
    subscribers: 1,
    qos: QoS::AtMostOnce,
    messages: 100_000,
    size: 64,
    credit: 500,
    interval: None,
    is_durable: false,
};

pub(crate) fn rows() -> Vec<Row> {
    let (q0, q1, q2) = (QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce);
    let loads = [
        (1, 1, q0, 100_000),
        (1, 1, q1, 50_000),
        (1, 1, q2, 25_000),
        (1, 10, q0, 20_000),
        (1, 10, q1, 10_000),
        (10, 1, q0, 10_000),
        (10, 1, q1, 5000),
    ];
    let mut rows: Vec<_> = loads
        .map(|(publishers, subscribers, qos, messages)| {
            let load = Load {
                publishers,
                subscribers,
                qos,
                messages,
                ..LOAD
            };
            let name = format!("{publishers} to {subscribers}, QoS {}", qos as u8);
            let deliveries = publishers * subscribers * messages;
            let ours = Broker::start_silent(Kind::Rbroker, SETTINGS);
            let theirs = Broker::start_silent(Kind::Mosquitto, SETTINGS);
            Row::measure(
                &name,
                deliveries,
                || load.run(&ours).0,
                || load.run(&theirs).0,
            )
        })
        .into();
    rows.extend([(q1, 20), (q2, 20), (q1, 1000), (q2, 1000)].map(durable));
    rows
}

/// Measures rbroker with a store and with a session that outlives its connection. It is compared with mosquitto without
/// a store and without such a session. `window` is the maximum number of messages in flight to the subscriber; further
/// messages wait in its queue.
fn durable((qos, window): (QoS, usize)) -> Row {
    let load = Load {
        publishers: 100,
        qos,
        messages: 200,
        credit: usize::MAX,
        ..LOAD
    };
    let durable_load = Load {
        is_durable: true,
        ..load
    };
    let folder = tempfile::tempdir().expect("there is room");
    let store = folder.path().display();
    let settings =
        format!("{SETTINGS}\nmax_queued_messages 100000\nmax_inflight_messages {window}");
    let durable = format!("{settings}\npersistence true\npersistence_location {store}/");
    let ours = Broker::start_silent(Kind::Rbroker, &durable);
    let theirs = Broker::start_silent(Kind::Mosquitto, &settings);
    let name = format!(
        "100 to 1, QoS {}, window {window}, only ours durable",
        qos as u8
    );
    let messages = load.publishers * load.messages;
    Row::measure(
        &name,
        messages,
        || durable_load.run(&ours).0,
        || load.run(&theirs).0,
    )
}

/// Measures the delay of messages at 2000 messages per second. Returns the table.
pub(crate) fn latency() -> String {
    let mut text = "| 2000 messages a second | p50 | p99 | p50, mosquitto | p99, mosquitto |\n| --- | ---: | ---: | ---: | ---: |\n".to_owned();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let interval = Some(Duration::from_micros(500));
        let load = Load {
            qos,
            messages: 6000,
            interval,
            ..LOAD
        };
        let measured = [Kind::Rbroker, Kind::Mosquitto].map(|kind| {
            let broker = Broker::start_silent(kind, SETTINGS);
            let (_, mut times) = load.run(&broker);
            times.sort_unstable();
            [times.len() / 2, times.len() * 99 / 100].map(|at| times.get(at).copied().unwrap_or(0))
        });
        let [[p50, p99], [their_p50, their_p99]] = measured;
        let qos = qos as u8;
        let _ = writeln!(
            text,
            "| QoS {qos} | {p50} us | {p99} us | {their_p50} us | {their_p99} us |"
        );
    }
    text
}

impl Load {
    /// Runs the workload. Returns the time, CPU time and memory of the broker, and the delay of each message in
    /// microseconds.
    pub(crate) fn run(self, broker: &Broker) -> (Sample, Vec<u64>) {
        let process = broker.running.id();
        let received = Arc::new(Received::default());
        let expected = self.publishers * self.messages;
        let address = broker.address();
        let epoch = Instant::now();
        let subscribers: Vec<_> = (0..self.subscribers)
            .map(|number| {
                let name = format!("subscriber{number}");
                let mut peer = Peer::open(address, &name, !self.is_durable);
                peer.subscribe("bench/#", self.qos);
                let received = Arc::clone(&received);
                thread::spawn(move || take(&mut peer, expected, &received, epoch))
            })
            .collect();
        let publishers: Vec<_> = (0..self.publishers)
            .map(|number| Peer::connect(address, &format!("publisher{number}")))
            .collect();
        let (before, start) = (cpu_of(process), Instant::now());
        let publishers: Vec<_> = publishers
            .into_iter()
            .map(|mut peer| {
                let received = Arc::clone(&received);
                thread::spawn(move || self.publish(&mut peer, &received, epoch))
            })
            .collect();
        publishers
            .into_iter()
            .for_each(|thread| thread.join().expect("it publishes"));
        let mut times = Vec::new();
        for thread in subscribers {
            times.extend(thread.join().expect("it receives"));
        }
        let sample = Sample {
            wall: start.elapsed().as_secs_f64(),
            cpu: cpu_of(process) - before,
            memory: memory_of(process),
            is_complete: times.len() == expected * self.subscribers,
        };
        (sample, times)
    }

    /// Publishes until all messages are acknowledged, or no more progress is made.
    fn publish(self, peer: &mut Peer, received: &Received, epoch: Instant) {
        let mut message = message(self.size);
        let mut payload = message.payload.to_vec();
        let (mut sent, mut acknowledged) = (0, 0);
        let start = Instant::now();
        while acknowledged < self.messages {
            let window = match self.qos {
                QoS::AtMostOnce => usize::MAX,
                _ => WINDOW,
            };
            while sent < self.messages && sent - acknowledged < window {
                // The publishers share the credit: each assumes that the others have sent as many messages.
                let enough =
                    (sent * self.publishers).saturating_sub(self.credit) * self.subscribers;
                if !received.has(enough) {
                    peer.flush();
                    if !received.wait_for(enough) {
                        return;
                    }
                }
                if let Some(interval) = self.interval {
                    while start.elapsed() < interval * sent as u32 {
                        std::hint::spin_loop();
                    }
                }
                let now = epoch.elapsed().as_nanos() as u64;
                payload[..8].copy_from_slice(&now.to_be_bytes());
                message.payload = payload.clone().into();
                let identifier =
                    PacketIdentifier::new((sent % WINDOW) as u16 + 1).expect("not zero");
                let delivery = Delivery::first(self.qos, identifier);
                peer.push(&PacketRef::Publish(message.publish(delivery)));
                sent += 1;
                if peer.output.len() >= 16 * 1024 || self.interval.is_some() {
                    peer.flush();
                }
            }
            peer.flush();
            if self.qos == QoS::AtMostOnce {
                return;
            }
            let goes_on = peer.read(&mut |packet| {
                let is_last = matches!(packet, PacketRef::Puback(_) | PacketRef::Pubcomp(_));
                acknowledged += usize::from(is_last);
            });
            if !goes_on {
                return;
            }
        }
    }
}

/// The number of messages that all subscribers together have received.
#[derive(Default)]
struct Received {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Received {
    fn add(&self, count: usize) {
        *self.count.lock().expect("nobody panics") += count;
        self.changed.notify_all();
    }

    fn has(&self, count: usize) -> bool {
        *self.count.lock().expect("nobody panics") >= count
    }

    /// Waits until this number of messages was received. Returns `false` after the timeout.
    fn wait_for(&self, wanted: usize) -> bool {
        let count = self.count.lock().expect("nobody panics");
        let waited = self
            .changed
            .wait_timeout_while(count, PEER_TIMEOUT, |count| *count < wanted);
        !waited.expect("nobody panics").1.timed_out()
    }
}

/// Receives messages until all have arrived, or none arrives any more. Returns the delay of each message.
fn take(peer: &mut Peer, expected: usize, received: &Received, epoch: Instant) -> Vec<u64> {
    let mut times = Vec::with_capacity(expected);
    while times.len() < expected {
        let before = times.len();
        let goes_on = peer.read(&mut |packet| {
            if let PacketRef::Publish(publish) = packet {
                let sent = publish
                    .payload
                    .first_chunk()
                    .map_or(0, |bytes| u64::from_be_bytes(*bytes));
                let now = epoch.elapsed().as_nanos() as u64;
                times.push(now.saturating_sub(sent) / 1000);
            }
        });
        received.add(times.len() - before);
        if !goes_on {
            break;
        }
    }
    times
}
