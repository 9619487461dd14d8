//! Tests of retained messages for new subscriptions with random steps, compared with a model.

use std::collections::{BTreeMap, BTreeSet};

use mqtt_broker_core::Limits;
use mqtt_codec::*;
use proptest::prelude::*;

use ProtocolVersion::V5_0;

use crate::world::*;

use super::replays::{restart, subscribe_packet};

/// A step of the test with random steps.
#[derive(Debug, Clone)]
enum Step {
    Retain(usize),
    Clear(usize),
    Live(usize),
    Acknowledge(usize),
    Subscribe,
    Reconnect,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..TOPICS).prop_map(Step::Retain),
        1 => (0..TOPICS).prop_map(Step::Clear),
        2 => (0..TOPICS).prop_map(Step::Live),
        4 => (1..6usize).prop_map(Step::Acknowledge),
        1 => Just(Step::Subscribe),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ]
}

const TOPICS: usize = 12;

/// A broker, a subscriber whose acknowledgements are steps of the test, and the values that are expected.
struct Model {
    world: World,
    sub: Peer,
    publisher: Peer,
    /// The payload of the last retained message of each topic.
    stored: BTreeMap<String, String>,
    /// The payload of the last message that was published to each topic.
    last: BTreeMap<String, String>,
    /// The payload of the last message that the subscriber has received from each topic.
    seen: BTreeMap<String, String>,
    /// The payloads that the subscriber has received since the last SUBSCRIBE.
    received: BTreeSet<String>,
    /// The packet identifiers of messages of QoS 2 for which the subscriber has not received PUBREL.
    held: BTreeSet<u16>,
    /// The acknowledgements that the subscriber has not sent yet.
    to_answer: Vec<PacketRef<'static>>,
    published: usize,
}

impl Model {
    fn new() -> Self {
        let limits = Limits {
            maximum_in_flight: 3,
            upgrade_qos: true, // every message is sent with QoS 2
            ..Limits::default()
        };
        let mut world = World::with(limits);
        world.broker.record_mutations();
        let (publisher, _) = world.connect(&connect(V5_0, "pub"));
        let (sub, _) = world.connect(&lasting("sub", u32::MAX));
        Self {
            world,
            sub,
            publisher,
            stored: BTreeMap::new(),
            last: BTreeMap::new(),
            seen: BTreeMap::new(),
            received: BTreeSet::new(),
            held: BTreeSet::new(),
            to_answer: Vec::new(),
            published: 0,
        }
    }

    fn publish(&mut self, topic: usize, retain: bool, is_clear: bool) {
        self.published += 1;
        let topic = format!("{}/{topic}", topic % 3);
        let payload = if is_clear {
            String::new()
        } else {
            format!("m{}", self.published)
        };
        let mut message = Message::new(TopicName::new(&topic).unwrap(), payload.clone());
        message.retain = retain;
        self.publisher
            .publish(&mut self.world, &message, QoS::AtLeastOnce);
        if retain {
            self.stored.insert(topic.clone(), payload.clone());
        }
        self.last.insert(topic, payload);
    }

    /// Decodes the packets that the broker has sent, and prepares their acknowledgements.
    fn receive(&mut self) {
        self.sub.take(&mut self.world);
        let bytes = std::mem::take(&mut self.sub.received);
        let mut input = &bytes[..];
        while let Some(packet) = self.sub.decoder.decode(&mut input).unwrap() {
            match packet {
                PacketRef::Publish(publish) => {
                    let identifier = publish.delivery.packet_identifier();
                    let payload = String::from_utf8_lossy(publish.payload).into_owned();
                    let topic = publish.topic_name.to_owned();
                    let is_new = match publish.delivery {
                        Delivery::ExactlyOnce {
                            packet_identifier, ..
                        } => self.held.insert(packet_identifier.get()),
                        _ => true,
                    };
                    if is_new {
                        let is_first = payload.is_empty() || self.received.insert(payload.clone());
                        assert!(is_first, "{topic} {payload} came twice");
                        self.seen.insert(topic, payload);
                    }
                    if let Some(identifier) = identifier {
                        let ack = Ack::new(identifier, ReasonCode::Success);
                        self.to_answer.push(match publish.delivery {
                            Delivery::ExactlyOnce { .. } => PacketRef::Pubrec(ack),
                            _ => PacketRef::Puback(ack),
                        });
                    }
                }
                PacketRef::Pubrel(ack) => {
                    self.held.remove(&ack.packet_identifier.get());
                    self.to_answer.push(PacketRef::Pubcomp(Ack::new(
                        ack.packet_identifier,
                        ReasonCode::Success,
                    )));
                }
                PacketRef::Suback(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.sub.received = input.to_vec();
    }

    /// Sends up to `count` of the prepared acknowledgements, and returns their number.
    fn acknowledge(&mut self, count: usize) -> usize {
        self.receive();
        let count = count.min(self.to_answer.len());
        for answer in self.to_answer.drain(..count).collect::<Vec<_>>() {
            self.sub.send(&mut self.world, &answer);
        }
        count
    }

    fn connect(&mut self) {
        self.to_answer.clear();
        let (sub, present) = self.world.connect(&lasting("sub", u32::MAX));
        assert!(present);
        self.sub = sub;
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Retain(topic) => self.publish(*topic, true, false),
            Step::Clear(topic) => self.publish(*topic, true, true),
            Step::Live(topic) => self.publish(*topic, false, false),
            Step::Acknowledge(count) => {
                self.acknowledge(*count);
            }
            // The replay before must be finished, so that no retained message is sent for both subscriptions.
            Step::Subscribe => {
                self.drain();
                self.received.clear();
                self.sub
                    .send(&mut self.world, &subscribe_packet(&["#"], qos(2)));
            }
            Step::Reconnect => {
                self.sub.die(&mut self.world);
                self.connect();
            }
            Step::Restart => {
                restart(&mut self.world);
                (self.publisher, _) = self.world.connect(&connect(V5_0, "pub"));
                self.connect();
            }
        }
    }

    /// Receives and acknowledges messages until the broker sends no more.
    fn drain(&mut self) {
        while self.acknowledge(usize::MAX) > 0 {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The last message that the subscriber receives from each topic is the last one that was published, and no message
    /// of QoS 2 is received twice.
    #[test]
    fn each_topic_ends_with_its_newest_state(
        before in prop::collection::vec((0..TOPICS).prop_map(Step::Retain), 0..20),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut model = Model::new();
        before.iter().for_each(|step| model.apply(step));
        model.apply(&Step::Subscribe);
        steps.iter().for_each(|step| model.apply(step));
        model.drain();
        // A repeated SUBSCRIBE sends the retained messages again. So the last message of a topic is its retained
        // message or a later live message.
        for (topic, payload) in &model.last {
            let stored = model.stored.get(topic);
            let seen = model.seen.get(topic);
            prop_assert!(
                seen == Some(payload) || seen == stored,
                "{topic}: {seen:?} instead of {payload}"
            );
        }
        let subscribes = steps.iter().filter(|step| matches!(step, Step::Subscribe)).count();
        if subscribes == 0 {
            prop_assert_eq!(&model.seen, &model.last);
        }
    }
}
