//! The core of the broker, fed with bytes: what it owes its clients, in virtual time.

use std::time::{Duration, Instant};

use mqtt_broker::{Broker, ConnectionId, Limits};
use mqtt_codec::*;

use ProtocolVersion::{V3_1_1, V5_0};

/// A broker and the time.
struct World {
    broker: Broker,
    now: Instant,
}

/// A client's end: packets in, packets out.
struct Peer {
    id: ConnectionId,
    version: ProtocolVersion,
    decoder: Decoder,
    received: Vec<u8>,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            broker: Broker::new(limits, Box::new(|| 7)),
            now: Instant::now(),
        }
    }

    /// Connects and reads the CONNACK; says whether a session was there.
    fn connect(&mut self, connect: &Connect) -> (Peer, bool) {
        let (peer, connack) = self.try_connect(connect);
        assert_eq!(connack.reason_code, ReasonCode::Success);
        (peer, connack.session_present)
    }

    fn try_connect(&mut self, connect: &Connect) -> (Peer, Connack) {
        let id = self.broker.open(self.now, "peer".into(), 0);
        let version = connect.protocol_version;
        let decoder = Decoder::client(version, MAXIMUM_PACKET_SIZE);
        let mut peer = Peer {
            id,
            version,
            decoder,
            received: Vec::new(),
        };
        peer.send(self, &Packet::Connect(Box::new(connect.clone())));
        let Some(Packet::Connack(connack)) = peer.next(self) else {
            panic!("no CONNACK")
        };
        (peer, *connack)
    }

    /// Time passes, and its timers fire one after the other.
    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
        }
        self.now = end;
    }
}

impl Peer {
    fn send(&self, world: &mut World, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, u32::MAX, &mut bytes).unwrap();
        world
            .broker
            .handle_input(world.now, self.id, &mut &bytes[..]);
    }

    /// The next packet from the broker.
    fn next(&mut self, world: &mut World) -> Option<Packet<'static>> {
        self.take(world);
        let mut input = &self.received[..];
        let packet = self.decoder.decode(&mut input).unwrap()?;
        let packet = match packet {
            // Owned, for the sake of the test.
            Packet::Publish(_) => panic!("messages() is for these"),
            Packet::Connack(connack) => Packet::Connack(connack),
            Packet::Suback(suback) => Packet::Suback(suback),
            Packet::Unsuback(suback) => Packet::Unsuback(suback),
            Packet::Puback(ack) => Packet::Puback(ack),
            Packet::Pubrec(ack) => Packet::Pubrec(ack),
            Packet::Pubrel(ack) => Packet::Pubrel(ack),
            Packet::Pubcomp(ack) => Packet::Pubcomp(ack),
            Packet::Disconnect(disconnect) => Packet::Disconnect(disconnect),
            other => panic!("{other:?}"),
        };
        self.received = input.to_vec();
        Some(packet)
    }

    /// The messages that came, as `topic payload qos flags`, each acknowledged.
    fn messages(&mut self, world: &mut World) -> Vec<String> {
        let mut messages = Vec::new();
        loop {
            self.take(world);
            let bytes = std::mem::take(&mut self.received);
            let mut input = &bytes[..];
            let mut answers = Vec::new();
            while let Some(packet) = self.decoder.decode(&mut input).unwrap() {
                match packet {
                    Packet::Publish(publish) => {
                        messages.push(line(&publish));
                        let ack = |id| Ack::new(id, ReasonCode::Success);
                        match publish.delivery {
                            Delivery::AtMostOnce => {}
                            Delivery::AtLeastOnce {
                                packet_identifier, ..
                            } => {
                                answers.push(Packet::Puback(ack(packet_identifier)));
                            }
                            Delivery::ExactlyOnce {
                                packet_identifier, ..
                            } => {
                                answers.push(Packet::Pubrec(ack(packet_identifier)));
                                answers.push(Packet::Pubcomp(ack(packet_identifier)));
                            }
                        }
                    }
                    Packet::Pubrel(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            self.received = input.to_vec();
            if answers.is_empty() {
                return messages;
            }
            answers.iter().for_each(|answer| self.send(world, answer));
        }
    }

    fn take(&mut self, world: &mut World) {
        let output = world.broker.output(self.id).to_vec();
        world
            .broker
            .consume_output(world.now, self.id, output.len());
        self.received.extend(output);
    }

    fn subscribe(&mut self, world: &mut World, filter: &str, options: SubscriptionOptions) {
        self.subscribe_with(world, filter, options, None);
    }

    fn subscribe_with(
        &mut self,
        world: &mut World,
        filter: &str,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) {
        let topic_filter = TopicFilter::new(filter).unwrap();
        self.send(
            world,
            &Packet::Subscribe(Subscribe {
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
        let Some(Packet::Suback(suback)) = self.next(world) else {
            panic!("no SUBACK")
        };
        assert_eq!(suback.reason_codes, [ReasonCode::granted(options.qos)]);
    }

    fn publish(&mut self, world: &mut World, message: &Message, qos: QoS) {
        let packet_identifier = PacketIdentifier::FIRST;
        let delivery = match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce {
                packet_identifier,
                dup: false,
            },
            QoS::ExactlyOnce => panic!("not needed here"),
        };
        self.send(world, &Packet::Publish(message.publish(delivery)));
        if qos != QoS::AtMostOnce {
            assert!(matches!(self.next(world), Some(Packet::Puback(_))));
        }
    }

    fn leave(&self, world: &mut World, disconnect: Disconnect) {
        self.send(world, &Packet::Disconnect(Box::new(disconnect)));
        world.broker.remove(world.now, self.id);
    }

    /// The socket is gone.
    fn die(&self, world: &mut World) {
        world.broker.remove(world.now, self.id);
    }
}

fn line(publish: &Publish<'_>) -> String {
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

fn connect(version: ProtocolVersion, identifier: &str) -> Connect {
    Connect::new(version, identifier)
}

/// A client of 5.0 whose session lasts so many seconds.
fn lasting(identifier: &str, seconds: u32) -> Connect {
    let mut connect = Connect {
        clean_start: false,
        ..connect(V5_0, identifier)
    };
    connect.properties.session_expiry_interval = Some(seconds);
    connect
}

fn message(topic_name: &str, payload: &'static str) -> Message {
    Message::new(TopicName::new(topic_name).unwrap(), payload)
}

fn retained(topic_name: &str, payload: &'static str) -> Message {
    Message {
        retain: true,
        ..message(topic_name, payload)
    }
}

fn expiring(topic_name: &str, payload: &'static str, seconds: u32) -> Message {
    let properties = MessageProperties {
        message_expiry_interval: Some(seconds),
        ..Default::default()
    };
    Message {
        properties: Some(Box::new(properties)),
        ..message(topic_name, payload)
    }
}

fn qos(value: u8) -> SubscriptionOptions {
    SubscriptionOptions::new(QoS::from_value(value).unwrap())
}

fn normal() -> Disconnect {
    Disconnect::new(ReasonCode::Success)
}

/// [MQTT-3.3.4-2, MQTT-3.3.4-3]
#[test]
fn overlapping_subscriptions_are_one_delivery_with_all_their_identifiers() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    sub.subscribe_with(&mut world, "a/+", qos(0), Some(1));
    sub.subscribe_with(&mut world, "a/#", qos(2), Some(200));
    sub.subscribe(&mut world, "#", qos(1));
    publisher.publish(&mut world, &message("a/b", "x"), QoS::AtLeastOnce);
    let messages = sub.messages(&mut world);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].starts_with("a/b x q1"), "{messages:?}");
    assert!(
        messages[0].contains("#1") && messages[0].contains("#200"),
        "{messages:?}"
    );
}

/// [MQTT-3.8.4-3, MQTT-3.10.4-1]
#[test]
fn a_subscription_is_replaced_by_one_with_the_same_filter_and_ends() {
    let mut world = World::new();
    let (mut client, _) = world.connect(&connect(V3_1_1, "c"));
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    client.subscribe(&mut world, "a", qos(2));
    client.subscribe(&mut world, "a", qos(0));
    publisher.publish(&mut world, &message("a", "x"), QoS::AtLeastOnce);
    assert_eq!(client.messages(&mut world), ["a x q0"]);
    client.send(
        &mut world,
        &Packet::Unsubscribe(Unsubscribe {
            packet_identifier: PacketIdentifier::FIRST,
            topic_filters: vec![
                TopicFilter::new("a").unwrap(),
                TopicFilter::new("b").unwrap(),
            ],
            properties: UnsubscribeProperties::default(),
        }),
    );
    assert!(matches!(client.next(&mut world), Some(Packet::Unsuback(_))));
    publisher.publish(&mut world, &message("a", "x"), QoS::AtLeastOnce);
    assert_eq!(client.messages(&mut world), [""; 0]);
}

/// [MQTT-3.8.3-3]
#[test]
fn no_local_leaves_out_ones_own_messages() {
    let mut world = World::new();
    let (mut one, _) = world.connect(&connect(V5_0, "one"));
    let (mut two, _) = world.connect(&connect(V5_0, "two"));
    one.subscribe(
        &mut world,
        "a",
        SubscriptionOptions {
            no_local: true,
            ..qos(0)
        },
    );
    one.publish(&mut world, &message("a", "own"), QoS::AtMostOnce);
    two.publish(&mut world, &message("a", "other"), QoS::AtMostOnce);
    assert_eq!(one.messages(&mut world), ["a other q0"]);
}

/// [MQTT-3.3.1-9 to MQTT-3.3.1-13]
#[test]
fn retained_messages_follow_the_options_of_the_subscription() {
    let mut world = World::new();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &retained("r", "1"), QoS::AtLeastOnce);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    let handling = |retain_handling| SubscriptionOptions {
        retain_handling,
        ..qos(1)
    };
    sub.subscribe(&mut world, "r", handling(RetainHandling::SendIfNew));
    assert_eq!(sub.messages(&mut world), ["r 1 q1 retained"]);
    sub.subscribe(&mut world, "r", handling(RetainHandling::SendIfNew));
    assert_eq!(sub.messages(&mut world), [""; 0]);
    sub.subscribe(&mut world, "r", handling(RetainHandling::SendAtSubscribe));
    assert_eq!(sub.messages(&mut world), ["r 1 q1 retained"]);
    sub.subscribe(&mut world, "#", handling(RetainHandling::DoNotSend));
    assert_eq!(sub.messages(&mut world), [""; 0]);
    publisher.publish(&mut world, &retained("r", "2"), QoS::AtMostOnce);
    assert_eq!(
        sub.messages(&mut world),
        ["r 2 q0"],
        "it was published just now"
    );
    sub.subscribe(
        &mut world,
        "r",
        SubscriptionOptions {
            retain_as_published: true,
            ..qos(0)
        },
    );
    sub.messages(&mut world);
    publisher.publish(&mut world, &retained("r", "3"), QoS::AtMostOnce);
    assert_eq!(sub.messages(&mut world), ["r 3 q0 retained"]);
}

/// [MQTT-3.3.2-5, MQTT-3.3.2-6]
#[test]
fn a_message_that_waits_expires_and_tells_the_time_that_is_left() {
    let mut world = World::new();
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    sub.leave(&mut world, normal());
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.publish(&mut world, &expiring("a", "short", 5), QoS::AtLeastOnce);
    publisher.publish(&mut world, &expiring("a", "long", 60), QoS::AtLeastOnce);
    let mut kept = expiring("r", "kept", 20);
    kept.retain = true;
    publisher.publish(&mut world, &kept, QoS::AtMostOnce);
    world.wait(10);
    let (mut sub, present) = world.connect(&lasting("sub", u32::MAX));
    assert!(present);
    assert_eq!(sub.messages(&mut world), ["a long q1 50s"]);
    sub.subscribe(&mut world, "r", qos(1));
    assert_eq!(sub.messages(&mut world), ["r kept q0 retained 10s"]);
    world.wait(10);
    sub.subscribe(&mut world, "r", qos(1));
    assert_eq!(sub.messages(&mut world), [""; 0]);
}

/// [MQTT-3.1.2-23, MQTT-3.1.2-4]
#[test]
fn a_session_lives_as_long_as_its_expiry_interval() {
    for (seconds, present) in [(9, true), (10, false), (11, false)] {
        let mut world = World::new();
        world.connect(&lasting("c", 10)).0.die(&mut world);
        world.wait(seconds);
        assert_eq!(
            world.connect(&lasting("c", 10)).1,
            present,
            "after {seconds} s"
        );
    }
    let mut world = World::new();
    world.connect(&lasting("c", u32::MAX)).0.die(&mut world);
    world.wait(1_000_000);
    assert!(world.connect(&lasting("c", 0)).1);
    world.connect(&lasting("c", 0)).0.die(&mut world);
    assert!(
        !world.connect(&lasting("c", 0)).1,
        "0 ends it with the connection"
    );
    let clean = Connect {
        clean_start: true,
        ..lasting("c", 100)
    };
    assert!(
        !world.connect(&clean).1,
        "a clean start ends what was there"
    );
    assert!(world.connect(&lasting("c", 100)).1);
}

#[test]
fn a_client_may_change_the_expiry_interval_when_it_leaves_but_not_from_zero() {
    let with_interval = |seconds| Disconnect {
        properties: DisconnectProperties {
            session_expiry_interval: Some(seconds),
            ..DisconnectProperties::default()
        },
        ..normal()
    };
    for (at_connect, at_end, present) in [(100, 0, false), (100, 200, true), (0, 100, false)] {
        let mut world = World::new();
        let (peer, _) = world.connect(&lasting("c", at_connect));
        peer.leave(&mut world, with_interval(at_end));
        world.wait(150);
        assert_eq!(
            world.connect(&lasting("c", 0)).1,
            present,
            "{at_connect} {at_end}"
        );
    }
}

/// Wire format, section 10: which endings publish a will, and when.
#[test]
fn wills_are_published_as_the_ending_says() {
    #[derive(Debug, Clone, Copy)]
    enum Ending {
        Dies,
        Leaves(ReasonCode),
        TakenOver,
        KeepAlive,
        Malformed,
    }
    use Ending::*;
    let with_will = ReasonCode::DisconnectWithWillMessage;
    // Ending, session expiry, will delay: published at once, and after a minute.
    let table = [
        (V3_1_1, Dies, 0, 0, true, true),
        (V3_1_1, Leaves(ReasonCode::Success), 0, 0, false, false),
        (V3_1_1, TakenOver, 0, 0, true, true),
        (V3_1_1, Malformed, 0, 0, true, true),
        (V5_0, Dies, 0, 0, true, true),
        (V5_0, Dies, 100, 30, false, true),
        (V5_0, Dies, 0, 30, true, true), // the session ends first
        (V5_0, Leaves(ReasonCode::Success), 100, 0, false, false),
        (V5_0, Leaves(with_will), 100, 0, true, true),
        (
            V5_0,
            Leaves(ReasonCode::UnspecifiedError),
            100,
            30,
            false,
            true,
        ),
        (V5_0, TakenOver, 100, 0, true, true),
        (V5_0, TakenOver, 100, 30, false, false), // cancelled: the session goes on
        (V5_0, TakenOver, 0, 30, true, true),     // ended, although a delay was asked for
        (V5_0, KeepAlive, 1000, 0, true, true),
        (V5_0, Malformed, 0, 0, true, true),
    ];
    for (version, ending, expiry, delay, at_once, later) in table {
        let what = format!("{version} {ending:?} {expiry} {delay}");
        let mut world = World::new();
        let (mut witness, _) = world.connect(&Connect {
            keep_alive: 0,
            ..connect(V5_0, "witness")
        });
        witness.subscribe(&mut world, "will", qos(1));
        let mut dying = Connect {
            keep_alive: 10,
            ..connect(version, "dying")
        };
        dying.will = Some(Will {
            will_delay_interval: Some(delay).filter(|_| version == V5_0),
            ..Will::new(message("will", "x"), QoS::AtLeastOnce)
        });
        if version == V5_0 {
            dying.properties.session_expiry_interval = Some(expiry);
            dying.clean_start = false;
        }
        let (peer, _) = world.connect(&dying);
        match ending {
            Dies => peer.die(&mut world),
            Leaves(reason_code) => peer.leave(&mut world, Disconnect::new(reason_code)),
            TakenOver => {
                let next = Connect {
                    will: None,
                    keep_alive: 0,
                    ..dying.clone()
                };
                let (new, _) = world.connect(&next);
                peer.die(&mut world); // the old socket, late
                assert!(!world.broker.has_ended(new.id), "{what}");
            }
            KeepAlive => world.wait(15),
            Malformed => {
                world
                    .broker
                    .handle_input(world.now, peer.id, &mut &[0xC1, 0][..]);
                peer.die(&mut world);
            }
        }
        let published = witness.messages(&mut world);
        assert_eq!(published.len(), usize::from(at_once), "{what}");
        world.wait(60);
        let afterwards = witness.messages(&mut world);
        assert_eq!(
            published.len() + afterwards.len(),
            usize::from(later),
            "{what}"
        );
    }
}

/// [MQTT-3.1.3-9]
#[test]
fn a_delayed_will_is_not_published_if_the_client_comes_back_in_time() {
    let mut world = World::new();
    let (mut witness, _) = world.connect(&Connect {
        keep_alive: 0,
        ..connect(V5_0, "witness")
    });
    witness.subscribe(&mut world, "will", qos(1));
    let mut dying = Connect {
        keep_alive: 0,
        ..lasting("dying", 100)
    };
    dying.will = Some(Will {
        will_delay_interval: Some(30),
        ..Will::new(message("will", "x"), QoS::AtMostOnce)
    });
    world.connect(&dying).0.die(&mut world);
    world.wait(29);
    let (peer, _) = world.connect(&dying);
    world.wait(60);
    assert_eq!(witness.messages(&mut world), [""; 0]);
    peer.die(&mut world);
    world.wait(30);
    assert_eq!(witness.messages(&mut world), ["will x q0"]);
}

#[test]
fn a_queue_drops_the_newest_and_a_window_holds_the_rest_back() {
    let limits = Limits {
        maximum_queued: 3,
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(1));
    sub.leave(&mut world, normal());
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    for payload in ["1", "2", "3", "4", "5"] {
        publisher.publish(&mut world, &message("a", payload), QoS::AtLeastOnce);
    }
    publisher.publish(&mut world, &message("a", "lost"), QoS::AtMostOnce);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.take(&mut world);
    let two_packets = 2 * (2 + 2 + 1 + 2 + 1 + 1);
    assert_eq!(sub.received.len(), two_packets, "the window is two");
    assert_eq!(sub.messages(&mut world), ["a 1 q1", "a 2 q1", "a 3 q1"]);
}

/// [MQTT-4.4.0-1, MQTT-4.6.0-1, MQTT-4.6.0-6]
#[test]
fn what_was_not_acknowledged_comes_again_before_what_waited() {
    let limits = Limits {
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut sub, _) = world.connect(&lasting("sub", u32::MAX));
    sub.subscribe(&mut world, "a", qos(2));
    let (mut publisher, _) = world.connect(&connect(V3_1_1, "pub"));
    for payload in ["1", "2", "3"] {
        publisher.publish(&mut world, &message("a", payload), QoS::AtLeastOnce);
    }
    sub.take(&mut world);
    sub.die(&mut world);
    let (mut sub, present) = world.connect(&lasting("sub", u32::MAX));
    assert!(present);
    assert_eq!(
        sub.messages(&mut world),
        ["a 1 q1 again", "a 2 q1 again", "a 3 q1"]
    );
}

/// [MQTT-4.7.2-1], and topics that are the broker's own
#[test]
fn dollar_topics_are_hidden_from_wildcards_and_not_the_clients() {
    let mut world = World::new();
    let (mut client, _) = world.connect(&connect(V5_0, "c"));
    client.subscribe(&mut world, "#", qos(0));
    client.subscribe(&mut world, "+/x", qos(0));
    client.publish(&mut world, &message("$x/x", "hidden"), QoS::AtMostOnce);
    assert_eq!(client.messages(&mut world), [""; 0]);
    client.subscribe(&mut world, "$SYS/#", qos(0));
    client.subscribe(&mut world, "$x/+", qos(0));
    client.publish(&mut world, &message("$SYS/x", "forged"), QoS::AtMostOnce);
    client.publish(&mut world, &message("$x/x", "seen"), QoS::AtMostOnce);
    assert_eq!(client.messages(&mut world), ["$x/x seen q0"]);
}

/// U5-14: it is no valid DISCONNECT, so the will is published.
#[test]
fn an_expiry_interval_from_nothing_is_a_protocol_error() {
    let mut world = World::new();
    let (mut witness, _) = world.connect(&connect(V5_0, "witness"));
    witness.subscribe(&mut world, "will", qos(0));
    let mut asking = connect(V5_0, "c");
    asking.will = Some(Will::new(message("will", "x"), QoS::AtMostOnce));
    let (mut peer, _) = world.connect(&asking);
    let properties = DisconnectProperties {
        session_expiry_interval: Some(100),
        ..DisconnectProperties::default()
    };
    let disconnect = Disconnect {
        properties,
        ..normal()
    };
    peer.send(&mut world, &Packet::Disconnect(Box::new(disconnect)));
    let Some(Packet::Disconnect(answer)) = peer.next(&mut world) else {
        panic!()
    };
    assert_eq!(answer.reason_code, ReasonCode::ProtocolError);
    assert_eq!(witness.messages(&mut world), ["will x q0"]);
}

#[test]
fn a_will_cannot_reach_the_topics_of_the_broker() {
    let mut world = World::new();
    let (mut witness, _) = world.connect(&connect(V5_0, "witness"));
    witness.subscribe(&mut world, "$SYS/#", qos(0));
    let mut dying = connect(V3_1_1, "c");
    dying.will = Some(Will::new(
        retained("$SYS/broker/version", "forged"),
        QoS::AtMostOnce,
    ));
    world.connect(&dying).0.die(&mut world);
    assert_eq!(witness.messages(&mut world), [""; 0]);
    witness.subscribe(&mut world, "$SYS/#", qos(0));
    assert_eq!(witness.messages(&mut world), [""; 0]);
}

/// [MQTT-4.6.0-5]: the last message of a topic that a client gets is the newest.
#[test]
fn a_live_message_does_not_overtake_the_retained_one_of_its_topic() {
    let limits = Limits {
        maximum_in_flight: 2,
        ..Limits::default()
    };
    let mut world = World::with(limits);
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    for topic_name in ["r/1", "r/2", "r/3"] {
        publisher.publish(&mut world, &retained(topic_name, "."), QoS::AtLeastOnce);
    }
    publisher.publish(&mut world, &retained("r/z", "old"), QoS::AtMostOnce);
    let (mut sub, _) = world.connect(&connect(V5_0, "sub"));
    sub.send(
        &mut world,
        &Packet::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new("r/#").unwrap(),
                options: qos(1),
            }],
            properties: SubscribeProperties::default(),
        }),
    );
    publisher.publish(&mut world, &message("r/z", "new"), QoS::AtMostOnce);
    assert!(matches!(sub.next(&mut world), Some(Packet::Suback(_))));
    let messages = sub.messages(&mut world);
    assert_eq!(messages[3..], ["r/z old q0 retained", "r/z new q0"]);
    publisher.publish(&mut world, &message("r/z", "later"), QoS::AtMostOnce);
    assert_eq!(
        sub.messages(&mut world),
        ["r/z later q0"],
        "nothing waits any more"
    );
}

#[test]
fn topics_that_would_hurt_strict_clients_are_refused() {
    for topic_name in ["a\u{1}", "a\u{FFFF}", "a\u{7F}", &"/".repeat(200)] {
        let mut world = World::new();
        let (mut client, _) = world.connect(&connect(V5_0, "c"));
        client.send(
            &mut world,
            &Packet::Publish(message(topic_name, "x").publish(Delivery::AtMostOnce)),
        );
        let Some(Packet::Disconnect(disconnect)) = client.next(&mut world) else {
            panic!()
        };
        assert_eq!(disconnect.reason_code, ReasonCode::TopicNameInvalid);
    }
}

#[test]
fn what_is_not_offered_is_refused_with_its_code() {
    let mut world = World::new();
    let mut asking = connect(V5_0, "c");
    asking.properties.authentication_method = Some("SCRAM".into());
    let (_, connack) = world.try_connect(&asking);
    assert_eq!(connack.reason_code, ReasonCode::BadAuthenticationMethod);

    let (mut client, _) = world.connect(&connect(V5_0, "c"));
    let subscription = |filter| Subscription {
        topic_filter: TopicFilter::new(filter).unwrap(),
        options: qos(1),
    };
    let deep = "a/".repeat(200);
    client.send(
        &mut world,
        &Packet::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![subscription("a"), subscription(&deep)],
            properties: SubscribeProperties::default(),
        }),
    );
    let Some(Packet::Suback(suback)) = client.next(&mut world) else {
        panic!()
    };
    assert_eq!(
        suback.reason_codes,
        [ReasonCode::GrantedQoS1, ReasonCode::TopicFilterInvalid]
    );
}

/// [MQTT-3.1.3-6 to MQTT-3.1.3-8 of 3.1.1, MQTT-3.2.2-16]
#[test]
fn an_empty_client_identifier_is_replaced_where_that_is_possible() {
    let mut world = World::new();
    let mut connack = |version, clean_start| {
        world
            .try_connect(&Connect {
                clean_start,
                ..connect(version, "")
            })
            .1
    };
    let refused = ReasonCode::ClientIdentifierNotValid;
    assert_eq!(connack(ProtocolVersion::V3_1, true).reason_code, refused);
    assert_eq!(connack(V3_1_1, false).reason_code, refused);
    assert_eq!(connack(V3_1_1, true).reason_code, ReasonCode::Success);
    let assigned = connack(V5_0, false).properties.assigned_client_identifier;
    assert!(assigned.is_some_and(|identifier| identifier.starts_with("auto-")));
}

/// A thousand clients come and go: nothing is left.
#[test]
fn clean_clients_leave_nothing_behind() {
    let mut world = World::new();
    for number in 0..1000 {
        let (mut client, _) = world.connect(&connect(V3_1_1, &format!("c{number}")));
        client.subscribe(&mut world, &format!("a/{number}/#"), qos(1));
        client.die(&mut world);
    }
    assert_eq!(
        format!("{:?}", world.broker),
        "Broker { connections: 0, clients: 0, .. }"
    );
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    publisher.send(
        &mut world,
        &Packet::Publish(message("a/7/x", "x").publish(Delivery::AtLeastOnce {
            packet_identifier: PacketIdentifier::FIRST,
            dup: false,
        })),
    );
    let Some(Packet::Puback(ack)) = publisher.next(&mut world) else {
        panic!()
    };
    assert_eq!(ack.reason_code, ReasonCode::NoMatchingSubscribers);
}

#[test]
fn retained_messages_that_have_expired_are_removed_and_their_record_too() {
    let mut world = World::new();
    world.broker.record_changes();
    let (mut publisher, _) = world.connect(&connect(V5_0, "pub"));
    let expires = Message {
        retain: true,
        ..expiring("r/1", "1", 10)
    };
    publisher.publish(&mut world, &expires, QoS::AtLeastOnce);
    publisher.publish(&mut world, &retained("r/2", "2"), QoS::AtLeastOnce);
    assert_eq!(world.broker.save(world.now).retained.len(), 2);
    world.broker.take_records();
    world.wait(4000);
    let saved = world.broker.save(world.now).retained;
    assert_eq!(saved.len(), 1);
    let records = world.broker.take_records();
    let is_removal = |record: &mqtt_broker::Record| match record {
        mqtt_broker::Record::Retained {
            topic_name,
            retained,
        } => &**topic_name == "r/1" && retained.is_none(),
        _ => false,
    };
    assert!(records.iter().any(is_removal), "{records:?}");
}
