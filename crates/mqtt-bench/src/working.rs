//! The cases of mqtt-session and mqtt-broker-core: the cost of one message without sockets.

use std::hint::black_box;
use std::time::Instant;

use mqtt_broker_core::{Broker, ConnectionId, InputProgress, Limits};
use mqtt_codec::*;
use mqtt_session::{Config, Connection, Event};

use crate::{BATCH, Case, wire};

const fn session(name: &'static str, run: fn(usize)) -> Case {
    let by = "mqtt-session";
    Case { name, by, run }
}

const fn broker(name: &'static str, run: fn(usize)) -> Case {
    let by = "mqtt-broker";
    Case { name, by, run }
}

pub const CASES: &[Case] = &[
    session("receive QoS 0", |count| receive(count, QoS::AtMostOnce)),
    session("receive QoS 1", |count| receive(count, QoS::AtLeastOnce)),
    session("receive QoS 2", |count| receive(count, QoS::ExactlyOnce)),
    broker("route QoS 0 to 1", |count| {
        route(count, QoS::AtMostOnce, 1, 0)
    }),
    broker("route QoS 1 to 1", |count| {
        route(count, QoS::AtLeastOnce, 1, 0)
    }),
    broker("route QoS 2 to 1", |count| {
        route(count, QoS::ExactlyOnce, 1, 0)
    }),
    broker("route QoS 0 to 10", |count| {
        route(count, QoS::AtMostOnce, 10, 0)
    }),
    broker("route QoS 1 to 10", |count| {
        route(count, QoS::AtLeastOnce, 10, 0)
    }),
    broker("route beside 100 subscriptions", |count| {
        route(count, QoS::AtMostOnce, 1, 100);
    }),
    broker("route beside 10000 subscriptions", |count| {
        route(count, QoS::AtMostOnce, 1, 10_000);
    }),
    broker("route beside 1000000 subscriptions", |count| {
        route(count, QoS::AtMostOnce, 1, 1_000_000);
    }),
];

const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

fn push(out: &mut Vec<u8>, packet: &PacketRef<'_>) {
    packet.encode(VERSION, u32::MAX, out).expect("it fits");
}

fn identifier(number: usize) -> PacketIdentifier {
    PacketIdentifier::new(number as u16 + 1).expect("a batch is small")
}

fn ack(number: usize) -> Ack {
    Ack::new(identifier(number), ReasonCode::Success)
}

/// Returns a batch of messages to send, and the PUBREL packets that a publisher sends after them with QoS 2.
fn messages(qos: QoS) -> (Vec<u8>, Vec<u8>) {
    let (message, mut batch, mut releases) = (wire::message(false), Vec::new(), Vec::new());
    for number in 0..BATCH {
        let delivery = Delivery::first(qos, identifier(number));
        push(&mut batch, &PacketRef::Publish(message.publish(delivery)));
        if qos == QoS::ExactlyOnce {
            push(&mut releases, &PacketRef::Pubrel(ack(number)));
        }
    }
    (batch, releases)
}

/// Receives messages as a client and acknowledges them.
fn receive(count: usize, qos: QoS) {
    let now = Instant::now();
    let connect = Connect::new(VERSION, "receiver");
    let mut client = Connection::client(&connect, None, Config::default(), now).expect("it fits");
    let accepted = [0x20, 2, 0, 0];
    black_box(client.handle_input(now, &mut &accepted[..]));
    let (batch, releases) = messages(qos);
    for _ in 0..count / BATCH {
        for bytes in [&batch, &releases] {
            let mut input = &bytes[..];
            while let Some(event) = client.handle_input(now, &mut input) {
                let Event::Message(received) = &event else {
                    panic!("{event:?}")
                };
                let publish = black_box(received.publish());
                if let Some(packet_identifier) = publish.delivery.packet_identifier() {
                    client.acknowledge(now, packet_identifier, ReasonCode::Success);
                }
            }
            let count = client.output().len();
            client.consume_output(now, count);
        }
    }
}

/// A broker core without sockets.
struct World {
    broker: Broker,
    now: Instant,
}

impl World {
    fn connect(&mut self, name: &str) -> ConnectionId {
        let id = self.broker.open(self.now, String::new(), 0);
        let mut bytes = Vec::new();
        let connect = Connect::new(VERSION, name);
        push(&mut bytes, &PacketRef::Connect(Box::new(connect)));
        self.send(id, &bytes);
        self.take(id);
        id
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let mut rest = bytes;
        // One call does a limited amount of work (`InputProgress::Yielded`), so the call is repeated.
        while self.broker.handle_input(self.now, id, &mut rest) != InputProgress::Drained {
            self.broker.run_background(self.now);
        }
    }

    /// Writes all output of a connection. Returns the number of bytes.
    fn take(&mut self, id: ConnectionId) -> usize {
        let count = self.broker.output(id).len();
        self.broker.consume_output(self.now, id, count);
        count
    }

    fn subscribe(
        &mut self,
        id: ConnectionId,
        topic_filters: impl Iterator<Item = String>,
        qos: QoS,
    ) {
        let mut bytes = Vec::new();
        for topic_filter in topic_filters {
            let subscription = Subscription {
                topic_filter: TopicFilter::new(&topic_filter).expect("a topic filter"),
                options: SubscriptionOptions::new(qos),
            };
            let subscribe = Subscribe {
                packet_identifier: PacketIdentifier::FIRST,
                subscriptions: vec![subscription],
                properties: SubscribeProperties::default(),
            };
            push(&mut bytes, &PacketRef::Subscribe(subscribe));
        }
        self.send(id, &bytes);
        self.take(id);
    }
}

/// Routes messages of one publisher to `subscribers` subscribers, while other clients have `others` subscriptions to
/// other topics.
fn route(count: usize, qos: QoS, subscribers: usize, others: usize) {
    let limits = Limits {
        // With these limits a whole batch may be in flight in both directions, so that no message is queued.
        maximum_in_flight: BATCH as u16,
        receive_maximum: BATCH as u16,
        ..Limits::default()
    };
    let mut world = World {
        broker: Broker::new(limits, Box::new(|| 1)),
        now: Instant::now(),
    };
    // The subscriptions are spread over several clients, because a session may have at most 100,000.
    for first in (0..others).step_by(10_000) {
        let other = world.connect(&format!("other{first}"));
        let topic_filters =
            (first..others.min(first + 10_000)).map(|n| format!("site/{}/room/{n}", n % 100));
        world.subscribe(other, topic_filters, qos);
    }
    let receivers: Vec<_> = (0..subscribers)
        .map(|number| {
            let id = world.connect(&format!("receiver{number}"));
            world.subscribe(id, std::iter::once("bench/#".to_owned()), qos);
            (id, 0)
        })
        .collect();
    let mut receivers: Vec<(ConnectionId, usize)> = receivers;
    let publisher = world.connect("publisher");
    let (batch, releases) = messages(qos);
    for _ in 0..count / BATCH {
        world.send(publisher, &batch);
        world.send(publisher, &releases);
        world.take(publisher);
        for (id, sent) in &mut receivers {
            assert!(world.take(*id) > 0, "nothing came");
            // The broker assigns packet identifiers in turn, from 1 to 65535. Every message of the batch is
            // acknowledged.
            let mut answers = Vec::new();
            for step in 0..BATCH {
                let number = (*sent + step) % 65535;
                match qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => push(&mut answers, &PacketRef::Puback(ack(number))),
                    QoS::ExactlyOnce => {
                        push(&mut answers, &PacketRef::Pubrec(ack(number)));
                        push(&mut answers, &PacketRef::Pubcomp(ack(number)));
                    }
                }
            }
            *sent += BATCH;
            world.send(*id, &answers);
            world.take(*id);
        }
        // An event loop would also empty the list of changed connections after each turn.
        while world.broker.poll_changed().is_some() {}
    }
}
