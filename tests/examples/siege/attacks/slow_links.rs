//! Slow links: subscribers and publishers connect through a proxy with a limited rate.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::{Peer, SlowLink};

use super::attacker::{Attacker, delivery, durable};
use crate::ground::Ground;
use crate::scenario::{NO_LIMIT, SETTLE, Scale, Scenario, Site};

/// Number of published messages.
const MESSAGES: usize = 4;

/// Number of pings of the subscriber that pauses.
const PINGS: usize = 9;

/// The sizes of a slow link.
struct LinkSpeed {
    /// Bytes per second.
    rate: u32,
    /// Bytes of a message.
    size: usize,
    /// Seconds.
    keep_alive: u16,
}

pub(crate) fn scenarios() -> [Scenario; 5] {
    let scenario = |name, title, attack| Scenario {
        name,
        title,
        settings: with_large_packets,
        limit: NO_LIMIT,
        settle: SETTLE,
        is_quick: false,
        attack,
    };
    [
        scenario(
            "C18a",
            "a subscriber at QoS 0 on a link that needs 12 s for four messages of 2 MB, keep alive 2 s",
            |ground| subscribe_slowly(ground, QoS::AtMostOnce),
        ),
        scenario("C18b", "the same at QoS 1", |ground| {
            subscribe_slowly(ground, QoS::AtLeastOnce);
        }),
        scenario("C18c", "the same at QoS 2", |ground| {
            subscribe_slowly(ground, QoS::ExactlyOnce);
        }),
        scenario(
            "C18d",
            "a publisher on a link that needs 12 s for one message of 8 MB, keep alive 2 s",
            publish_slowly,
        ),
        scenario(
            "C18e",
            "a subscriber that reads nothing for 9 s and pings, keep alive 2 s, 80 MB at QoS 0",
            pause,
        ),
    ]
}

/// Returns the settings with a Maximum Packet Size above the largest message of the long form.
fn with_large_packets(_: &Site<'_>) -> Option<String> {
    Some("max_packet_size 20000000\n".to_owned())
}

impl LinkSpeed {
    fn of(scale: Scale) -> Self {
        match scale {
            Scale::Long => Self {
                rate: 64 * 1024,
                size: 4_000_000,
                keep_alive: 10,
            },
            Scale::Quick | Scale::Full => Self {
                rate: 640 * 1024,
                size: 2_000_000,
                keep_alive: 2,
            },
        }
    }

    /// Returns the interval of pings.
    fn ping_interval(&self) -> Duration {
        Duration::from_secs(self.keep_alive.into()) / 2
    }

    /// Returns a message that starts with its number.
    fn message(&self, number: usize) -> Message {
        let topic_name = TopicName::new("large").expect("a topic name");
        let mut payload = vec![b'x'; self.size];
        if let Some(first) = payload.first_mut() {
            *first = u8::try_from(number).unwrap_or(u8::MAX);
        }
        Message::new(topic_name, payload)
    }
}

/// A subscriber that reconnects when its connection is lost, and the messages that it has received.
struct Subscriber {
    connect: Connect,
    connections: usize,
    copies: usize,
    numbers: BTreeSet<u8>,
}

fn subscribe_slowly(ground: &mut Ground, qos: QoS) {
    let link = LinkSpeed::of(ground.scale);
    let slow = SlowLink::start(ground.address(), link.rate);
    let mut connect = durable("slow");
    connect.keep_alive = link.keep_alive;
    let mut subscriber = Subscriber {
        connect,
        connections: 1,
        copies: 0,
        numbers: BTreeSet::new(),
    };
    let mut peer = Peer::try_open(slow.address, subscriber.connect.clone())
        .expect("the broker accepts the subscriber");
    peer.subscribe("large", qos);
    ground.begin();
    let mut publisher = Attacker::connect(ground, "publisher");
    for number in 0..MESSAGES {
        let message = link.message(number);
        publisher.send(&PacketRef::Publish(message.publish(delivery(qos, number))));
    }
    // The exchange of QoS 2 needs the PUBREL, which the publisher sends when it reads the PUBREC.
    let mut open = MESSAGES;
    let is_published = qos == QoS::AtMostOnce
        || publisher.read_until(Duration::from_secs(5), |packet| {
            let is_last = matches!(packet, PacketRef::Puback(_) | PacketRef::Pubcomp(_));
            open -= usize::from(is_last);
            open == 0
        });
    ground.expect(is_published, "the publisher is served".to_owned());
    let mut peer = Some(peer);
    while subscriber.numbers.len() < MESSAGES && !ground.time_left().is_zero() {
        match peer.take() {
            Some(mut open) => {
                subscriber.read(ground, &mut open, &link);
                if !open.is_closed() {
                    break;
                }
            }
            None => {
                subscriber.connections += 1;
                peer = Peer::try_open(slow.address, subscriber.connect.clone()).ok();
            }
        }
    }
    let received = subscriber.numbers.len();
    ground.fact(format!(
        "{received} of {MESSAGES} delivered in {} copies over {} connections",
        subscriber.copies, subscriber.connections
    ));
    ground.expect(
        received == MESSAGES && subscriber.connections == 1,
        "all messages are delivered over one connection".to_owned(),
    );
}

impl Subscriber {
    /// Reads and sends pings until all messages have arrived, the connection is lost, or the time is over.
    fn read(&mut self, ground: &Ground, peer: &mut Peer, link: &LinkSpeed) {
        peer.set_timeout(Duration::from_millis(100));
        let mut pinged = Instant::now();
        while self.numbers.len() < MESSAGES && !peer.is_closed() && !ground.time_left().is_zero() {
            if pinged.elapsed() > link.ping_interval() {
                pinged = Instant::now();
                peer.push(&PacketRef::Pingreq);
                peer.flush();
            }
            peer.read(&mut |packet| {
                if let PacketRef::Publish(publish) = packet {
                    self.copies += 1;
                    self.numbers.extend(publish.payload.first());
                }
            });
        }
    }
}

fn publish_slowly(ground: &mut Ground) {
    let link = LinkSpeed::of(ground.scale);
    let slow = SlowLink::start(ground.address(), link.rate);
    let mut connect = durable("uplink");
    connect.keep_alive = link.keep_alive;
    let peer = Peer::try_open(slow.address, connect).expect("the broker accepts the publisher");
    let mut publisher = Attacker::new(ground, peer);
    ground.begin();
    let message = super::attacker::message("large", MESSAGES * link.size);
    publisher.send(&PacketRef::Publish(
        message.publish(delivery(QoS::AtLeastOnce, 1)),
    ));
    let is_acknowledged = publisher.read_until(ground.time_left(), |packet| {
        matches!(packet, PacketRef::Puback(_))
    });
    let result = if is_acknowledged { "1" } else { "0" };
    ground.fact(format!("{result} of 1 acknowledged"));
    ground.expect(is_acknowledged, "the message is acknowledged".to_owned());
}

fn pause(ground: &mut Ground) {
    let link = LinkSpeed::of(Scale::Full);
    let mut connect = Connect::new(ProtocolVersion::V3_1_1, "paused");
    connect.keep_alive = link.keep_alive;
    let mut reader =
        Peer::try_open(ground.address(), connect).expect("the broker accepts the subscriber");
    reader.subscribe("large", QoS::AtMostOnce);
    ground.begin();
    let mut publisher = Attacker::connect(ground, "publisher");
    let message = link.message(0);
    for _ in 0..40 {
        publisher.send(&PacketRef::Publish(message.publish(Delivery::AtMostOnce)));
    }
    let is_handled = publisher.ping(ground.time_left());
    // The subscriber does not read and only sends pings.
    for _ in 0..PINGS {
        thread::sleep(link.ping_interval());
        reader.push(&PacketRef::Pingreq);
        reader.flush();
    }
    let mut reader = Attacker::new(ground, reader);
    let (mut received, mut pings) = (0, 0);
    let is_served = reader.read_until(ground.time_left(), |packet| {
        received += usize::from(matches!(packet, PacketRef::Publish(_)));
        pings += usize::from(*packet == PacketRef::Pingresp);
        pings == PINGS
    });
    ground.fact(format!(
        "connection {}, {received} of 40 messages, {pings} of {PINGS} pings answered",
        if is_served { "kept" } else { "lost" }
    ));
    ground.expect(is_handled, "the publisher is served".to_owned());
    ground.expect(is_served, "the connection is kept".to_owned());
}
