//! A client whose bytes are counted, and messages that it sends.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::Peer;

use crate::ground::{Ground, Meter};
use crate::scenario::Scale;

/// The maximum time of a single read.
const STEP: Duration = Duration::from_millis(200);

/// A client of the attacker.
pub(crate) struct Attacker {
    pub(crate) peer: Peer,
    meter: Meter,
    counted: u64,
}

impl Attacker {
    /// Connects a client of 3.1.1 with a clean session.
    pub(crate) fn connect(ground: &Ground, name: &str) -> Self {
        Self::with(ground, Connect::new(ProtocolVersion::V3_1_1, name))
    }

    /// Connects a client with this CONNECT.
    pub(crate) fn with(ground: &Ground, connect: Connect) -> Self {
        let peer = Peer::try_open(ground.address(), connect);
        Self::new(ground, peer.expect("the broker accepts the attacker"))
    }

    /// Creates an attacker from a connected client.
    pub(crate) fn new(ground: &Ground, peer: Peer) -> Self {
        Self {
            peer,
            meter: ground.meter(),
            counted: 0,
        }
    }

    /// Appends a packet to the packets that [`Attacker::flush`] sends.
    pub(crate) fn push(&mut self, packet: &PacketRef<'_>) {
        self.peer.push(packet);
    }

    /// Sends the appended packets. Returns `false` if the broker does not read them in time.
    pub(crate) fn flush(&mut self) -> bool {
        let is_complete = self.peer.flush();
        self.count();
        is_complete
    }

    /// Sends one packet.
    pub(crate) fn send(&mut self, packet: &PacketRef<'_>) -> bool {
        self.push(packet);
        self.flush()
    }

    /// Reads until a packet is the wanted one. Returns `false` if the time is over or the connection has ended.
    pub(crate) fn read_until(
        &mut self,
        time: Duration,
        mut is_wanted: impl FnMut(&PacketRef<'_>) -> bool,
    ) -> bool {
        let start = Instant::now();
        let mut is_found = false;
        while !is_found && !self.peer.is_closed() && start.elapsed() < time {
            let left = time.saturating_sub(start.elapsed());
            self.peer.set_timeout(left.min(STEP));
            self.peer.read(&mut |packet| is_found |= is_wanted(packet));
        }
        self.count();
        is_found
    }

    /// Sends PINGREQ and waits for PINGRESP. The broker then has handled all packets before.
    pub(crate) fn ping(&mut self, time: Duration) -> bool {
        self.send(&PacketRef::Pingreq)
            && self.read_until(time, |packet| *packet == PacketRef::Pingresp)
    }

    fn count(&mut self) {
        self.meter.add(self.peer.sent() - self.counted);
        self.counted = self.peer.sent();
    }
}

/// In the short form, expects that the bystander completes two round trips while the broker handles the packets of the
/// attacker, all of which have been sent. Returns `true` if the attacker has its answer.
pub(crate) fn outruns_bystander(
    ground: &mut Ground,
    attacker: &mut Attacker,
    is_answer: impl Fn(&PacketRef<'_>) -> bool,
) -> bool {
    if ground.scale != Scale::Quick {
        return false;
    }
    let enough = ground.rounds() + 2;
    while ground.rounds() < enough && !ground.time_left().is_zero() {
        if attacker.read_until(Duration::from_millis(1), &is_answer) {
            let expectation = "the bystander is served before the attacker is done";
            ground.expect(ground.rounds() >= enough, expectation.to_owned());
            return true;
        }
    }
    false
}

/// Returns a CONNECT of 3.1.1 for a session that outlives its connection.
pub(crate) fn durable(name: &str) -> Connect {
    let mut connect = Connect::new(ProtocolVersion::V3_1_1, name);
    connect.clean_start = false;
    connect
}

/// Returns a CONNECT of 5.0 for a session that outlives its connection by this many seconds.
pub(crate) fn durable_5(name: &str, seconds: u32) -> Connect {
    let mut connect = Connect::new(ProtocolVersion::V5_0, name);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(seconds);
    connect
}

/// Creates sessions that outlive their connections, each with a subscription to a filter at QoS 1, and disconnects.
pub(crate) fn leave_sessions(ground: &Ground, count: usize, topic_filter: &str) {
    const THREADS: usize = 8;
    let address = ground.address();
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for number in (first..count).step_by(THREADS) {
                    let connect = durable(&format!("away{number}"));
                    let peer = Peer::try_open(address, connect);
                    let mut peer = peer.expect("the broker accepts the session");
                    peer.subscribe(topic_filter, QoS::AtLeastOnce);
                    peer.push(&disconnect());
                    peer.flush();
                }
            });
        }
    });
}

/// Returns a DISCONNECT without a reason.
pub(crate) fn disconnect() -> PacketRef<'static> {
    PacketRef::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)))
}

/// Returns a message.
pub(crate) fn message(topic_name: &str, size: usize) -> Message {
    let topic_name = TopicName::new(topic_name).expect("a topic name");
    Message::new(topic_name, vec![b'x'; size])
}

/// Returns a retained message.
pub(crate) fn retained(topic_name: &str, size: usize) -> Message {
    let mut message = message(topic_name, size);
    message.retain = true;
    message
}

/// Returns the first delivery of the message with this number at this QoS.
pub(crate) fn delivery(qos: QoS, number: usize) -> Delivery {
    let identifier = u16::try_from(number % 65_535 + 1).unwrap_or(1);
    let identifier = PacketIdentifier::new(identifier).unwrap_or(PacketIdentifier::FIRST);
    Delivery::first(qos, identifier)
}

/// Publishes retained messages of one byte at QoS 1 for these topics and waits until the broker has them.
pub(crate) fn retain_all(ground: &Ground, topics: impl Iterator<Item = String>) {
    let mut publisher = Peer::connect(ground.address(), "retainer");
    let mut open = 0;
    for (number, topic) in topics.enumerate() {
        let message = retained(&topic, 1);
        publisher.push(&PacketRef::Publish(
            message.publish(delivery(QoS::AtLeastOnce, number)),
        ));
        open += 1;
        if open == 20 {
            publisher.flush();
            wait_for_acknowledgements(&mut publisher, &mut open);
        }
    }
    publisher.flush();
    wait_for_acknowledgements(&mut publisher, &mut open);
}

fn wait_for_acknowledgements(publisher: &mut Peer, open: &mut usize) {
    while *open > 0 {
        let goes_on = publisher.read(&mut |packet| {
            *open -= usize::from(matches!(packet, PacketRef::Puback(_)));
        });
        assert!(goes_on, "the broker acknowledges the preparations");
    }
}

/// Publishes messages at QoS 1 to `topic_name` until `count` of them are acknowledged or the time is over. Returns the
/// number of acknowledged messages.
pub(crate) fn publish_acknowledged(
    ground: &Ground,
    attacker: &mut Attacker,
    message: &Message,
    count: usize,
) -> usize {
    const WINDOW: usize = 100;
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < count && !ground.time_left().is_zero() {
        while sent < count && sent - acknowledged < WINDOW {
            let delivery = delivery(QoS::AtLeastOnce, sent);
            attacker.push(&PacketRef::Publish(message.publish(delivery)));
            sent += 1;
        }
        if !attacker.flush() {
            break;
        }
        let found = attacker.read_until(ground.time_left(), |packet| {
            let is_one = matches!(packet, PacketRef::Puback(_));
            acknowledged += usize::from(is_one);
            is_one
        });
        if !found {
            break;
        }
    }
    acknowledged
}

/// Opens a connection and sends these bytes. The caller keeps the connection open.
pub(crate) fn open_with(ground: &Ground, bytes: &[u8]) -> std::io::Result<TcpStream> {
    use std::io::Write;
    let mut stream = TcpStream::connect_timeout(&ground.address(), tests::PEER_TIMEOUT)?;
    stream.set_write_timeout(Some(STEP))?;
    stream.set_read_timeout(Some(tests::PEER_TIMEOUT))?;
    // The broker may read a part of the bytes only.
    let mut rest = bytes;
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(count @ 1..) => rest = &rest[count..],
            _ => break,
        }
    }
    ground.meter().add((bytes.len() - rest.len()) as u64);
    Ok(stream)
}
