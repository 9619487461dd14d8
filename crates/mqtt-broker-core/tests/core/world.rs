//! [`World`]: a broker in virtual time, without a store. [`Peer`]: a client that encodes and decodes packets.

use std::time::{Duration, Instant};

use mqtt_broker_core::{Broker, ConnectionId, Limits};
use mqtt_codec::*;

use ProtocolVersion::V5_0;

/// A broker and the virtual time.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) now: Instant,
    limits: Limits,
}

/// The client's end of a connection.
pub(crate) struct Peer {
    pub(crate) id: ConnectionId,
    pub(crate) version: ProtocolVersion,
    pub(crate) decoder: Decoder,
    /// Bytes from the broker that were not decoded yet.
    pub(crate) received: Vec<u8>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self {
            broker: Broker::new(limits.clone(), Box::new(|| 7)),
            now: Instant::now(),
            limits,
        }
    }

    /// Drops the broker with its connections, and returns a new broker with the stored state of the old one.
    pub(crate) fn restarted(self) -> Self {
        let saved = self.broker.save(self.now);
        let mut next = Self {
            now: self.now,
            ..Self::with(self.limits)
        };
        next.broker.record_mutations();
        next.broker.restore(self.now, saved);
        next
    }

    /// Returns the limits with which the broker was made.
    pub(crate) fn broker_limits(&self) -> Limits {
        self.limits.clone()
    }

    /// Connects and reads CONNACK, which must have reason code 0x00. Also returns Session Present.
    pub(crate) fn connect(&mut self, connect: &Connect) -> (Peer, bool) {
        let (peer, connack) = self.try_connect(connect);
        assert_eq!(connack.reason_code, ReasonCode::Success);
        (peer, connack.session_present)
    }

    pub(crate) fn try_connect(&mut self, connect: &Connect) -> (Peer, Connack) {
        self.try_connect_to(0, connect)
    }

    pub(crate) fn try_connect_to(&mut self, listener: u32, connect: &Connect) -> (Peer, Connack) {
        let id = self.broker.open(self.now, "peer".into(), listener);
        let version = connect.protocol_version;
        let decoder = Decoder::client(version, MAXIMUM_PACKET_SIZE);
        let mut peer = Peer {
            id,
            version,
            decoder,
            received: Vec::new(),
        };
        peer.send(self, &PacketRef::Connect(Box::new(connect.clone())));
        let Some(PacketRef::Connack(connack)) = peer.next(self) else {
            panic!("no CONNACK")
        };
        (peer, *connack)
    }

    /// Advances the time by `seconds`, and calls `handle_timeout` at each deadline on the way.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
        }
        self.now = end;
    }
}

impl Peer {
    pub(crate) fn send(&self, world: &mut World, packet: &PacketRef<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, u32::MAX, &mut bytes).unwrap();
        world
            .broker
            .handle_input(world.now, self.id, &mut &bytes[..]);
    }

    /// Returns the next packet from the broker, which must not be a PUBLISH.
    pub(crate) fn next(&mut self, world: &mut World) -> Option<PacketRef<'static>> {
        self.take(world);
        let mut input = &self.received[..];
        let packet = self.decoder.decode(&mut input).unwrap()?;
        let packet = match packet {
            // Each variant is rebuilt, because the owned packets do not borrow from `received`.
            PacketRef::Publish(_) => panic!("messages() is for these"),
            PacketRef::Connack(connack) => PacketRef::Connack(connack),
            PacketRef::Suback(suback) => PacketRef::Suback(suback),
            PacketRef::Unsuback(suback) => PacketRef::Unsuback(suback),
            PacketRef::Puback(ack) => PacketRef::Puback(ack),
            PacketRef::Pubrec(ack) => PacketRef::Pubrec(ack),
            PacketRef::Pubrel(ack) => PacketRef::Pubrel(ack),
            PacketRef::Pubcomp(ack) => PacketRef::Pubcomp(ack),
            PacketRef::Disconnect(disconnect) => PacketRef::Disconnect(disconnect),
            other => panic!("{other:?}"),
        };
        self.received = input.to_vec();
        Some(packet)
    }

    /// Receives and acknowledges messages until no more are sent. Returns each one as a text, see `line`.
    pub(crate) fn messages(&mut self, world: &mut World) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            self.take(world);
            let before = messages.len();
            messages.extend(self.decode_messages(world));
            if messages.len() == before && world.broker.output(self.id).is_empty() {
                return messages;
            }
        }
    }

    /// Decodes and acknowledges the messages in `received`. Returns each one as a text, see `line`.
    pub(crate) fn decode_messages(&mut self, world: &mut World) -> Vec<String> {
        let mut messages = Vec::new();
        let bytes = std::mem::take(&mut self.received);
        let mut input = &bytes[..];
        let mut answers = Vec::new();
        while let Some(packet) = self.decoder.decode(&mut input).unwrap() {
            match packet {
                PacketRef::Publish(publish) => {
                    messages.push(line(&publish));
                    let ack = |id| Ack::new(id, ReasonCode::Success);
                    match publish.delivery {
                        Delivery::AtMostOnce => {}
                        Delivery::AtLeastOnce {
                            packet_identifier, ..
                        } => {
                            answers.push(PacketRef::Puback(ack(packet_identifier)));
                        }
                        Delivery::ExactlyOnce {
                            packet_identifier, ..
                        } => {
                            answers.push(PacketRef::Pubrec(ack(packet_identifier)));
                            answers.push(PacketRef::Pubcomp(ack(packet_identifier)));
                        }
                    }
                }
                PacketRef::Pubrel(_) => {}
                other => panic!("{other:?}"),
            }
        }
        self.received = input.to_vec();
        answers.iter().for_each(|answer| self.send(world, answer));
        messages
    }

    /// Moves the output of the broker to `received`.
    pub(crate) fn take(&mut self, world: &mut World) {
        // These tests have no store, so each commit ends immediately.
        world.broker.begin_commit();
        world.broker.end_commit();
        let output = world.broker.output(self.id).to_vec();
        world
            .broker
            .consume_output(world.now, self.id, output.len());
        self.received.extend(output);
    }

    pub(crate) fn subscribe(
        &mut self,
        world: &mut World,
        filter: &str,
        options: SubscriptionOptions,
    ) {
        self.subscribe_with(world, filter, options, None);
    }

    pub(crate) fn subscribe_with(
        &mut self,
        world: &mut World,
        filter: &str,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) {
        let topic_filter = TopicFilter::new(filter).unwrap();
        self.send(
            world,
            &PacketRef::Subscribe(Subscribe {
                packet_identifier: PacketIdentifier::FIRST,
                subscriptions: vec![Subscription {
                    topic_filter,
                    options,
                }],
                properties: SubscribeProperties {
                    subscription_identifier: identifier.and_then(SubscriptionIdentifier::new),
                    ..SubscribeProperties::default()
                },
            }),
        );
        let Some(PacketRef::Suback(suback)) = self.next(world) else {
            panic!("no SUBACK")
        };
        assert_eq!(suback.reason_codes, [ReasonCode::granted(options.qos)]);
    }

    pub(crate) fn publish(&mut self, world: &mut World, message: &Message, qos: QoS) {
        let packet_identifier = PacketIdentifier::FIRST;
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce {
                packet_identifier,
                dup: false,
            },
            QoS::ExactlyOnce => Delivery::first(qos, packet_identifier),
        };
        self.send(world, &PacketRef::Publish(message.publish(delivery)));
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => assert!(matches!(self.next(world), Some(PacketRef::Puback(_)))),
            QoS::ExactlyOnce => {
                assert!(matches!(self.next(world), Some(PacketRef::Pubrec(_))));
                let ack = Ack::new(packet_identifier, ReasonCode::Success);
                self.send(world, &PacketRef::Pubrel(ack));
                assert!(matches!(self.next(world), Some(PacketRef::Pubcomp(_))));
            }
        }
    }

    /// Sends DISCONNECT and closes the connection.
    pub(crate) fn leave(&self, world: &mut World, disconnect: Disconnect) {
        self.send(world, &PacketRef::Disconnect(Box::new(disconnect)));
        world.broker.remove(world.now, self.id);
    }

    /// Closes the connection without DISCONNECT.
    pub(crate) fn die(&self, world: &mut World) {
        world.broker.remove(world.now, self.id);
    }
}

/// Returns a message as `TOPIC PAYLOAD qN`, followed by `retained` for RETAIN, `again` for DUP, `#N` for each
/// subscription identifier, and `Ns` for the Message Expiry Interval.
pub(crate) fn line(publish: &PublishRef<'_>) -> String {
    let payload = String::from_utf8_lossy(publish.payload);
    let mut line = format!(
        "{} {payload} q{}",
        publish.topic_name,
        publish.delivery.qos()
    );
    if publish.retain {
        line += " retained";
    }
    if publish.delivery.dup() {
        line += " again";
    }
    for identifier in publish.properties.subscription_identifiers.iter() {
        line += &format!(" #{}", identifier.get());
    }
    if let Some(seconds) = publish.properties.message_expiry_interval {
        line += &format!(" {seconds}s");
    }
    line
}

pub(crate) fn connect(version: ProtocolVersion, identifier: &str) -> Connect {
    Connect::new(version, identifier)
}

/// Returns a CONNECT of 5.0 with Clean Start 0 and this Session Expiry Interval.
pub(crate) fn lasting(identifier: &str, seconds: u32) -> Connect {
    let mut connect = Connect {
        clean_start: false,
        ..connect(V5_0, identifier)
    };
    connect.properties.session_expiry_interval = Some(seconds);
    connect
}

pub(crate) fn message(topic_name: &str, payload: &'static str) -> Message {
    Message::new(TopicName::new(topic_name).unwrap(), payload)
}

pub(crate) fn retained(topic_name: &str, payload: &'static str) -> Message {
    Message {
        retain: true,
        ..message(topic_name, payload)
    }
}

pub(crate) fn expiring(topic_name: &str, payload: &'static str, seconds: u32) -> Message {
    let properties = MessageProperties::new([Property::MessageExpiryInterval(seconds)]);
    Message {
        properties: Some(Box::new(properties.unwrap())),
        ..message(topic_name, payload)
    }
}

pub(crate) fn qos(value: u8) -> SubscriptionOptions {
    SubscriptionOptions::new(QoS::from_value(value).unwrap())
}

pub(crate) fn normal() -> Disconnect {
    Disconnect::new(ReasonCode::Success)
}
