//! Compares the broker's trees of subscriptions and retained messages with plain lists, which `topics::matches`
//! searches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use arbitrary::{Arbitrary, Unstructured};
use mqtt_broker_core::{Broker, ConnectionId, InputProgress, Limits};

use crate::shape::{packet, text};
use crate::topics::matches;

/// A step of the input. The `bool` of `Subscribe` and `Unsubscribe` selects the subscriber; that of `Retain` is `false`
/// for a message that removes the retained message.
#[derive(Debug, Arbitrary)]
enum Step {
    Subscribe(bool, Levels),
    Unsubscribe(bool, Levels),
    Publish(Levels),
    Retain(Levels, bool),
}

/// A topic name or topic filter. There are only seven different levels, so that many filters match.
#[derive(Debug, Arbitrary)]
struct Levels(Vec<u8>);

impl Levels {
    fn text(&self, wildcards: bool) -> String {
        const LEVELS: [&str; 7] = ["a", "b", "", "$x", "ab", "+", "#"];
        let count = if wildcards { 7 } else { 5 };
        let levels = self.0.iter().take(6);
        let levels: Vec<_> = levels
            .map(|level| LEVELS[usize::from(*level) % count])
            .collect();
        levels.join("/")
    }
}

/// Runs the steps that the input encodes.
///
/// # Panics
/// If the broker does not deliver exactly the messages that the lists match.
pub fn subscriptions(input: &[u8]) {
    let Ok(steps) = Vec::<Step>::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let mut run = SubscriptionRun::new();
    for step in &steps {
        run.step(step);
    }
}

struct SubscriptionRun {
    broker: Broker,
    now: Instant,
    /// The connections of two subscribers and a publisher.
    connections: [ConnectionId; 3],
    /// The topic filters of the two subscribers.
    filters: [BTreeSet<String>; 2],
    /// The topics that have a retained message.
    retained: BTreeMap<String, ()>,
}

impl SubscriptionRun {
    fn new() -> Self {
        let now = Instant::now();
        let mut broker = Broker::new(Limits::default(), Box::new(|| 7));
        let connections = [0, 1, 2].map(|_| broker.open(now, "peer".into(), 0));
        let mut run = Self {
            broker,
            now,
            connections,
            filters: Default::default(),
            retained: BTreeMap::new(),
        };
        for (index, id) in connections.into_iter().enumerate() {
            let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
            text(&index.to_string(), &mut body);
            run.send(id, &packet(0x10, &body));
            assert_eq!(run.take(id), [0x20, 2, 0, 0]);
        }
        run
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Subscribe(who, levels) => self.subscribe((*who).into(), &levels.text(true)),
            Step::Unsubscribe(who, levels) => {
                let (who, filter) = (usize::from(*who), levels.text(true));
                if mqtt_codec::TopicFilter::new(&filter).is_ok() {
                    let mut body = vec![0, 1];
                    text(&filter, &mut body);
                    self.send(self.connections[who], &packet(0xA2, &body));
                    self.filters[who].remove(&filter);
                    assert_eq!(self.take(self.connections[who]), [0xB0, 2, 0, 1]);
                }
            }
            Step::Publish(levels) => self.publish(&levels.text(false), 0x30, b"p"),
            Step::Retain(levels, keep) => {
                let topic = levels.text(false);
                if !topic.is_empty() {
                    self.publish(&topic, 0x31, if *keep { b"p" } else { b"" });
                    if *keep {
                        self.retained.insert(topic, ())
                    } else {
                        self.retained.remove(&topic)
                    };
                }
            }
        }
    }

    fn subscribe(&mut self, who: usize, filter: &str) {
        if mqtt_codec::TopicFilter::new(filter).is_err() {
            return;
        }
        let mut body = vec![0, 1];
        text(filter, &mut body);
        body.push(0);
        self.send(self.connections[who], &packet(0x82, &body));
        self.filters[who].insert(filter.to_owned());
        let mut got = self.take(self.connections[who]);
        assert_eq!(got.drain(..5).as_slice(), [0x90, 3, 0, 1, 0]);
        let expected = self.retained.keys().filter(|topic| matches(filter, topic));
        let mut expected: Vec<_> = expected.map(|topic| message(0x31, topic, b"p")).collect();
        // The order of retained messages is not specified, so both lists are sorted.
        expected.sort();
        assert_eq!(split(&got), expected, "retained messages of {filter:?}");
    }

    fn publish(&mut self, topic: &str, first: u8, payload: &[u8]) {
        if topic.is_empty() {
            return;
        }
        self.send(self.connections[2], &message(first, topic, payload));
        for who in 0..2 {
            let wanted = self.filters[who]
                .iter()
                .any(|filter| matches(filter, topic));
            // A subscriber gets one message, even if several of its filters match.
            let expected = wanted.then(|| message(0x30, topic, payload));
            let got = self.take(self.connections[who]);
            assert_eq!(
                got,
                expected.unwrap_or_default(),
                "{topic:?} {:?}",
                self.filters[who]
            );
        }
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let mut rest = bytes;
        while self.broker.handle_input(self.now, id, &mut rest) == InputProgress::Yielded {}
    }

    fn take(&mut self, id: ConnectionId) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.broker.output(id).is_empty() {
            let bytes = self.broker.output(id).to_vec();
            self.broker.consume_output(self.now, id, bytes.len());
            all.extend(bytes);
        }
        all
    }
}

fn message(first: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(topic, &mut body);
    body.extend(payload);
    packet(first, &body)
}

/// Splits a stream into packets and sorts them. Each packet has a Remaining Length of one byte.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let [_, length, ..] = *bytes {
        let (packet, rest) = bytes.split_at(2 + usize::from(length));
        packets.push(packet.to_vec());
        bytes = rest;
    }
    packets.sort();
    packets
}
