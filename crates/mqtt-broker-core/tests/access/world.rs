//! A broker core with listener policies, and clients that send it packets.

use std::sync::Arc;
use std::time::Instant;

use mqtt_broker_core::{Broker, ConnectionId, Limits, ListenerPolicy, Snapshot};
use mqtt_codec::{
    Connack, Connect, Decoder, Delivery, MAXIMUM_PACKET_SIZE, Message, PacketIdentifier, PacketRef,
    ProtocolVersion, QoS, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions,
    TopicFilter, TopicName,
};

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) now: Instant,
}

pub(crate) struct Peer {
    pub(crate) id: ConnectionId,
    pub(crate) decoder: Decoder,
    pub(crate) received: Vec<u8>,
}

impl World {
    pub(crate) fn new(limits: Limits, access: Vec<ListenerPolicy>) -> Self {
        let mut broker = Broker::new(limits, Box::new(|| 7));
        broker.set_policies(access);
        broker.record_mutations();
        let now = Instant::now();
        Self { broker, now }
    }

    pub(crate) fn open(&mut self, listener: u32, connect: &Connect) -> Peer {
        let peer = Peer {
            id: self.broker.open(self.now, "peer".into(), listener),
            decoder: Decoder::client(connect.protocol_version, MAXIMUM_PACKET_SIZE),
            received: Vec::new(),
        };
        self.send(&peer, &PacketRef::Connect(Box::new(connect.clone())));
        peer
    }

    pub(crate) fn connect(&mut self, listener: u32, connect: &Connect) -> (Peer, Connack) {
        let mut peer = self.open(listener, connect);
        match self.next(&mut peer, |packet| match packet {
            PacketRef::Connack(connack) => Some(*connack),
            _ => None,
        }) {
            Some(connack) => (peer, connack),
            None => panic!("no CONNACK"),
        }
    }

    pub(crate) fn send(&mut self, peer: &Peer, packet: &PacketRef<'_>) {
        let mut bytes = Vec::new();
        packet
            .encode(ProtocolVersion::V5_0, u32::MAX, &mut bytes)
            .unwrap();
        self.broker.handle_input(self.now, peer.id, &mut &bytes[..]);
    }

    /// Returns the result of `pick` for the first packet for which it returns `Some`. Packets before it are discarded.
    pub(crate) fn next<T>(
        &mut self,
        peer: &mut Peer,
        pick: impl Fn(PacketRef<'_>) -> Option<T>,
    ) -> Option<T> {
        // This test has no store, so each commit ends immediately.
        self.broker.begin_commit();
        self.broker.end_commit();
        let output = self.broker.output(peer.id).to_vec();
        self.broker.consume_output(self.now, peer.id, output.len());
        peer.received.extend(output);
        let bytes = std::mem::take(&mut peer.received);
        let mut rest = &bytes[..];
        let mut found = None;
        while found.is_none() {
            match peer.decoder.decode(&mut rest).unwrap() {
                Some(packet) => found = pick(packet),
                None => break,
            }
        }
        peer.received = rest.to_vec();
        found
    }

    pub(crate) fn topic_received(&mut self, peer: &mut Peer) -> Option<String> {
        self.next(peer, |packet| match packet {
            PacketRef::Publish(publish) => Some(publish.topic_name.to_owned()),
            _ => None,
        })
    }

    pub(crate) fn publish(&mut self, peer: &Peer, topic: &str, retain: bool) {
        let mut message = Message::new(TopicName::new(topic).unwrap(), "x");
        message.retain = retain;
        let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
        self.send(peer, &PacketRef::Publish(message.publish(delivery)));
    }

    pub(crate) fn subscribe(&mut self, peer: &Peer, filter: &str) {
        let subscribe = Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            properties: SubscribeProperties::default(),
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new(filter).unwrap(),
                options: SubscriptionOptions::new(QoS::AtLeastOnce),
            }],
        };
        self.send(peer, &PacketRef::Subscribe(subscribe));
    }

    pub(crate) fn close(&mut self, peer: &Peer) {
        self.broker.remove(self.now, peer.id);
    }

    pub(crate) fn restarted(self, access: Vec<ListenerPolicy>) -> Self {
        let saved: Snapshot = self.broker.save(self.now);
        let mut next = Self::new(Limits::default(), access);
        next.now = self.now;
        next.broker.restore(self.now, saved);
        next
    }
}

pub(crate) fn connect(identifier: &str, expiry: u32) -> Connect {
    let mut connect = Connect::new(ProtocolVersion::V5_0, identifier);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(expiry);
    connect
}

/// Returns the policy of a listener whose password file has these users.
pub(crate) fn with_users(names: &[&str]) -> ListenerPolicy {
    let users = names.iter().map(|name| (*name).to_owned()).collect();
    ListenerPolicy {
        users: Some(Arc::new(users)),
        ..ListenerPolicy::everyone()
    }
}

pub(crate) fn mounted() -> ListenerPolicy {
    ListenerPolicy {
        mount_point: Some("m/".into()),
        ..ListenerPolicy::everyone()
    }
}
