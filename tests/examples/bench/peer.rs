//! The other end of a connection, as cheap as it can be written here: what is measured is not this.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use mqtt_codec::*;

pub(crate) const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

/// After so long nothing comes any more.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Peer {
    stream: TcpStream,
    decoder: Decoder,
    input: Vec<u8>,
    /// Gathered, and sent in one piece.
    pub(crate) output: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream, decoder: Decoder) -> Self {
        stream.set_nodelay(true).expect("it can be set");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("it can be set");
        Self {
            stream,
            decoder,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// A client that is connected.
    pub(crate) fn connect(address: SocketAddr, name: &str) -> Self {
        Self::open(address, name, true)
    }

    /// The same, perhaps with a session that is there or will be.
    pub(crate) fn open(address: SocketAddr, name: &str, clean_start: bool) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        let mut peer = Self::new(stream, Decoder::client(VERSION, u32::MAX));
        let mut connect = Connect::new(VERSION, name);
        connect.clean_start = clean_start;
        peer.push(&Packet::Connect(Box::new(connect)));
        peer.flush();
        peer.read(&mut |_| {});
        peer
    }

    pub(crate) fn subscribe(&mut self, topic_filter: &str, qos: QoS) {
        self.subscribe_all([topic_filter.to_owned()], qos);
    }

    /// In one packet, with one answer.
    pub(crate) fn subscribe_all(
        &mut self,
        topic_filters: impl IntoIterator<Item = String>,
        qos: QoS,
    ) {
        let subscription = |topic_filter: String| Subscription {
            topic_filter: TopicFilter::new(&topic_filter).expect("a topic filter"),
            options: SubscriptionOptions::new(qos),
        };
        self.push(&Packet::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: topic_filters.into_iter().map(subscription).collect(),
            properties: SubscribeProperties::default(),
        }));
        self.flush();
        self.read(&mut |_| {});
    }

    pub(crate) fn push(&mut self, packet: &Packet<'_>) {
        packet
            .encode(VERSION, u32::MAX, &mut self.output)
            .expect("it fits");
    }

    pub(crate) fn flush(&mut self) {
        if !self.output.is_empty() {
            // Who has gone reads nothing, and is found out when reading.
            let _ = self.stream.write_all(&self.output);
            self.output.clear();
        }
    }

    /// Reads once, acknowledges what comes, and shows it; says whether the connection goes on.
    pub(crate) fn read(&mut self, show: &mut impl FnMut(&Packet<'_>)) -> bool {
        let filled = self.input.len();
        self.input.resize(filled + 256 * 1024, 0);
        let read = self.stream.read(&mut self.input[filled..]);
        let count = match read {
            Ok(count) => count,
            // What has not come by now does not come.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("{error}"),
        };
        self.input.truncate(filled + count);
        let mut rest = &self.input[..];
        let mut answers = Vec::new();
        while let Some(packet) = self.decoder.decode(&mut rest).expect("packets") {
            answer(&packet, &mut answers);
            show(&packet);
        }
        let used = self.input.len() - rest.len();
        self.input.drain(..used);
        self.output.extend(answers);
        self.flush();
        count > 0
    }
}

fn answer(packet: &Packet<'_>, out: &mut Vec<u8>) {
    let ack = |identifier| Ack::new(identifier, ReasonCode::Success);
    let answer = match packet {
        Packet::Connect(_) => {
            out.extend([0x20, 2, 0, 0]);
            return;
        }
        Packet::Subscribe(subscribe) => Packet::Suback(Suback {
            packet_identifier: subscribe.packet_identifier,
            reason_codes: vec![ReasonCode::GrantedQoS2],
            properties: AckProperties::default(),
        }),
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => return,
            Delivery::AtLeastOnce {
                packet_identifier, ..
            } => Packet::Puback(ack(packet_identifier)),
            Delivery::ExactlyOnce {
                packet_identifier, ..
            } => Packet::Pubrec(ack(packet_identifier)),
        },
        Packet::Pubrec(received) => Packet::Pubrel(ack(received.packet_identifier)),
        Packet::Pubrel(released) => Packet::Pubcomp(ack(released.packet_identifier)),
        _ => return,
    };
    answer.encode(VERSION, u32::MAX, out).expect("it fits");
}

/// A broker for one client after the other that acknowledges what it gets, and to a subscription sends so many
/// messages. Gives how many PUBLISH packets came.
pub(crate) fn serve(
    clients: usize,
    blast: Option<(usize, QoS)>,
) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has one");
    let thread = std::thread::spawn(move || {
        let mut published = 0;
        for _ in 0..clients {
            let (stream, _) = listener.accept().expect("a client comes");
            let mut peer = Peer::new(stream, Decoder::server(u32::MAX));
            let has_subscribed = Cell::new(false);
            let mut show = |packet: &Packet<'_>| match packet {
                Packet::Publish(_) => published += 1,
                Packet::Subscribe(_) => has_subscribed.set(true),
                _ => {}
            };
            while !has_subscribed.get() && peer.read(&mut show) {}
            if let Some((count, qos)) = blast {
                send_all(&mut peer, count, qos);
            }
        }
        published
    });
    (address, thread)
}

/// Sends messages: those of QoS 0 as fast as they are taken, the others a batch at a time.
fn send_all(peer: &mut Peer, count: usize, qos: QoS) {
    const BATCH: usize = 1000;
    let message = message(64);
    for first in (0..count).step_by(BATCH) {
        let batch = BATCH.min(count - first);
        for number in 0..batch {
            let identifier = PacketIdentifier::new(number as u16 + 1).expect("not zero");
            peer.push(&Packet::Publish(
                message.publish(Delivery::first(qos, identifier)),
            ));
        }
        peer.flush();
        let finished = Cell::new(0);
        let mut show = |packet: &Packet<'_>| {
            let is_last = matches!(packet, Packet::Puback(_) | Packet::Pubcomp(_));
            finished.set(finished.get() + usize::from(is_last));
        };
        while qos > QoS::AtMostOnce && finished.get() < batch && peer.read(&mut show) {}
    }
    // The client leaves when it has enough.
    while peer.read(&mut |_| {}) {}
}

pub(crate) fn message(size: usize) -> Message {
    let topic_name = TopicName::new("bench/topic/1").expect("a topic name");
    Message::new(topic_name, vec![b'x'; size])
}
