//! Tests of the records of clients and of their replays.

use std::sync::Arc;
use std::time::Instant;

use mqtt_broker::{Clock, Store, SyncPolicy};
use mqtt_broker_core::{
    Broker, ClientState, ConnectionId, Expiry, Limits, Mutation, SubscriptionState,
};
use mqtt_codec::*;
use mqtt_session::OutboundMessage;

#[test]
fn removing_a_client_keeps_records_of_identifiers_with_the_same_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let topic_name = TopicName::new("t").unwrap();
    for name in ["a", "a ", "a\u{1}", "ab", "b"] {
        let client: Arc<str> = name.into();
        let state = ClientState {
            user_name: None,
            listener: 0,
            expiry: Expiry::Never,
            session_ends: None,
            is_connected: false,
            will: None,
            will_due: None,
        };
        let queued = |number: u64| Mutation::Queued {
            client: client.clone(),
            number,
            outgoing: OutboundMessage::new(
                Arc::new(Message::new(topic_name.clone(), number.to_string())),
                QoS::ExactlyOnce,
            ),
        };
        let subscription = SubscriptionState {
            options: SubscriptionOptions::new(QoS::AtLeastOnce),
            identifier: None,
        };
        let packet_identifier = PacketIdentifier::FIRST;
        let mutations = [
            Mutation::Client {
                client: client.clone(),
                state,
            },
            Mutation::Subscribed {
                client: client.clone(),
                topic_filter: TopicFilter::new("t").unwrap(),
                state: subscription,
            },
            // A number above 255 checks that the order is that of the numbers, and not of a single byte.
            queued(256),
            queued(2),
            queued(1),
            Mutation::Sent {
                client: client.clone(),
                number: 1,
                packet_identifier,
            },
            Mutation::Released {
                client: client.clone(),
                number: 1,
            },
            Mutation::Held {
                client: client.clone(),
                packet_identifier,
            },
        ];
        store.commit(&mutations, Clock::now()).unwrap();
    }
    let gone = Mutation::ClientRemoved { client: "a".into() };
    store.commit(&[gone], Clock::now()).unwrap();
    let clients = store.load(Clock::now()).unwrap().clients;
    let names: Vec<_> = clients.iter().map(|client| &*client.identifier).collect();
    assert_eq!(names, ["a\u{1}", "a ", "ab", "b"]);
    for client in &clients {
        assert_eq!(client.subscriptions.len(), 1, "{}", client.identifier);
        let parts = client.deliveries.iter().map(|delivery| {
            (
                delivery.number,
                delivery.outgoing.is_some(),
                delivery.sent.is_some(),
            )
        });
        let expected = [(1, false, true), (2, true, false), (256, true, false)];
        assert!(parts.eq(expected), "{:?}", client.deliveries);
        assert_eq!(client.held, [PacketIdentifier::FIRST]);
    }
}

/// A broker core with one connection of a client of 5.0.
struct Client {
    broker: Broker,
    id: ConnectionId,
    now: Instant,
}

impl Client {
    fn send(&mut self, packet: &PacketRef<'_>) {
        let mut bytes = Vec::new();
        packet
            .encode(ProtocolVersion::V5_0, u32::MAX, &mut bytes)
            .unwrap();
        self.broker.handle_input(self.now, self.id, &mut &bytes[..]);
    }

    /// Reads the output of the broker as if all mutations were durable, and acknowledges the messages of QoS 1. Returns
    /// the number of messages.
    fn acknowledge_messages(&mut self, decoder: &mut Decoder) -> usize {
        self.broker.begin_commit();
        self.broker.end_commit();
        let output = self.broker.output(self.id).to_vec();
        self.broker.consume_output(self.now, self.id, output.len());
        let (mut input, mut answers) = (&output[..], Vec::new());
        while let Some(packet) = decoder.decode(&mut input).unwrap() {
            if let PacketRef::Publish(publish) = packet {
                let packet_identifier = publish.delivery.packet_identifier().unwrap();
                answers.push(Ack::new(packet_identifier, ReasonCode::Success));
            }
        }
        assert!(input.is_empty(), "the broker writes whole packets");
        for answer in &answers {
            self.send(&PacketRef::Puback(answer.clone()));
        }
        answers.len()
    }
}

#[test]
fn store_keeps_the_state_of_each_replay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let now = Instant::now();
    let mut broker = Broker::new(Limits::default(), Box::new(|| 7));
    broker.record_mutations();
    let id = broker.open(now, "peer".into(), 0);
    let mut client = Client { broker, id, now };
    let mut connect = Connect::new(ProtocolVersion::V5_0, "sub");
    connect.properties.session_expiry_interval = Some(u32::MAX);
    client.send(&PacketRef::Connect(Box::new(connect)));
    for number in 0..100 {
        let topic_name = TopicName::new(&format!("home/{number}")).unwrap();
        let mut message = Message::new(topic_name, "old");
        message.retain = true;
        let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
        client.send(&PacketRef::Publish(message.publish(delivery)));
    }
    let subscription = |filter: &&str| Subscription {
        topic_filter: TopicFilter::new(filter).unwrap(),
        options: SubscriptionOptions::new(QoS::AtLeastOnce),
    };
    client.send(&PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: ["home/#", "+/7", "home/+", "#"]
            .iter()
            .map(subscription)
            .collect(),
        properties: SubscribeProperties::default(),
    }));
    let clock = Clock::now();
    let mut store = Store::open(&path, SyncPolicy::Always, clock).unwrap();
    store
        .commit(&client.broker.take_mutations(), clock)
        .unwrap();
    let saved = client.broker.save(now);
    assert_eq!(saved.clients[0].retained_replays.len(), 4);
    assert_eq!(store.load(clock).unwrap(), saved);
    let mut decoder = Decoder::client(ProtocolVersion::V5_0, MAXIMUM_PACKET_SIZE);
    let acknowledged = std::iter::from_fn(|| {
        let count = client.acknowledge_messages(&mut decoder);
        (count > 0).then_some(count)
    });
    assert_eq!(acknowledged.sum::<usize>(), 301);
    store
        .commit(&client.broker.take_mutations(), clock)
        .unwrap();
    let saved = client.broker.save(now);
    assert_eq!(saved.clients[0].retained_replays.len(), 0);
    assert_eq!(store.load(clock).unwrap(), saved);
}
