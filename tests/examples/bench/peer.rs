//! The other end of a connection for client programs: a broker that costs as little as possible.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use mqtt_codec::*;
use tests::Peer;

const VERSION: ProtocolVersion = ProtocolVersion::V3_1_1;

/// Serves `clients` clients one after the other. The broker acknowledges all messages. To a client that subscribes it
/// sends the number of messages in `blast`. The thread returns the number of PUBLISH packets that arrived.
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
            let mut peer = Peer::new(stream, VERSION, Decoder::server(u32::MAX));
            let has_subscribed = Cell::new(false);
            let mut show = |packet: &PacketRef<'_>| match packet {
                PacketRef::Publish(_) => published += 1,
                PacketRef::Subscribe(_) => has_subscribed.set(true),
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

/// Sends messages: with QoS 0 as fast as the client reads, with QoS 1 and 2 one batch at a time.
fn send_all(peer: &mut Peer, count: usize, qos: QoS) {
    const BATCH: usize = 1000;
    let message = message(64);
    for first in (0..count).step_by(BATCH) {
        let batch = BATCH.min(count - first);
        for number in 0..batch {
            let identifier = PacketIdentifier::new(number as u16 + 1).expect("not zero");
            peer.push(&PacketRef::Publish(
                message.publish(Delivery::first(qos, identifier)),
            ));
        }
        peer.flush();
        let finished = Cell::new(0);
        let mut show = |packet: &PacketRef<'_>| {
            let is_last = matches!(packet, PacketRef::Puback(_) | PacketRef::Pubcomp(_));
            finished.set(finished.get() + usize::from(is_last));
        };
        while qos > QoS::AtMostOnce && finished.get() < batch && peer.read(&mut show) {}
    }
    // The client disconnects when it has received enough messages.
    while peer.read(&mut |_| {}) {}
}

pub(crate) fn message(size: usize) -> Message {
    let topic_name = TopicName::new("bench/topic/1").expect("a topic name");
    Message::new(topic_name, vec![b'x'; size])
}
