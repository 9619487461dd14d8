//! Tests of a server with a disk whose sync blocks as long as the test requires. Clients whose output depends on the
//! store must wait, and all others must be served.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use mqtt_broker_core::{Backlog, Limits, Snapshot};
use mqtt_codec::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::commit_queue::CommitQueue;
use super::event_loop::Server;
use crate::{BrokerConfig, Clock, Store, SyncPolicy};

const PATIENCE: Duration = Duration::from_secs(30);

/// A disk in memory whose sync can be held up.
#[derive(Debug, Clone)]
struct SlowDisk(Arc<(InMemoryBackend, Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_held_up: bool,
    is_waiting: bool,
}

impl SlowDisk {
    fn new() -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new((InMemoryBackend::new(), state, changed)))
    }

    fn hold_up(&self, is_held_up: bool) {
        self.0.1.lock().unwrap().is_held_up = is_held_up;
        self.0.2.notify_all();
    }

    fn wait_for_sync(&self) {
        let state = self.0.1.lock().unwrap();
        let (state, _) = self
            .0
            .2
            .wait_timeout_while(state, PATIENCE, |state| !state.is_waiting)
            .unwrap();
        assert!(state.is_waiting, "nothing is being synced");
    }
}

impl StorageBackend for SlowDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.0.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.0.0.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.0.set_len(len)
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        let mut state = self.0.1.lock().unwrap();
        while state.is_held_up {
            state.is_waiting = true;
            self.0.2.notify_all();
            state = self.0.2.wait(state).unwrap();
        }
        state.is_waiting = false;
        self.0.0.sync_data(eventual)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.0.write(offset, data)
    }
}

/// Starts a server whose store is on this disk. Returns its address. The server runs until the process ends.
fn serve(disk: SlowDisk) -> SocketAddr {
    serve_with(disk, Limits::default())
}

fn serve_with(disk: SlowDisk, limits: Limits) -> SocketAddr {
    let (tell, address) = mpsc::channel();
    thread::spawn(move || {
        let config = BrokerConfig {
            limits,
            ..BrokerConfig::default()
        };
        // This configuration has no store, so `open` opens none. The store on the slow disk is added after it.
        let mut server = Server::bind(config, &[0]).unwrap();
        server.open().unwrap();
        let store = Store::with_backend(disk, Clock::now()).unwrap();
        server.broker.record_mutations();
        server
            .broker
            .restore(std::time::Instant::now(), Snapshot::default());
        let waker = Arc::clone(&server.commits.waker);
        let backlog = server.broker.commit_backlog();
        let commit_queue =
            CommitQueue::new(store, Path::new("none"), SyncPolicy::Always, backlog, waker);
        server.commits.queue = Some(commit_queue.unwrap());
        tell.send(server.addresses().next().unwrap()).unwrap();
        server.run().unwrap();
    });
    address.recv_timeout(PATIENCE).unwrap()
}

struct Peer {
    stream: TcpStream,
    decoder: Decoder,
    received: Vec<u8>,
}

impl Peer {
    fn connect(address: SocketAddr, identifier: &str, clean_start: bool) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let decoder = Decoder::client(ProtocolVersion::V3_1_1, u32::MAX);
        let mut peer = Self {
            stream,
            decoder,
            received: Vec::new(),
        };
        let mut connect = Connect::new(ProtocolVersion::V3_1_1, identifier);
        connect.clean_start = clean_start;
        peer.send(&[PacketRef::Connect(Box::new(connect))]);
        assert_eq!(peer.next(), PacketType::Connack);
        peer
    }

    fn send(&mut self, packets: &[PacketRef<'_>]) {
        let mut bytes = Vec::new();
        for packet in packets {
            packet
                .encode(ProtocolVersion::V3_1_1, u32::MAX, &mut bytes)
                .unwrap();
        }
        self.stream.write_all(&bytes).unwrap();
    }

    /// Waits for the next packet, and returns its type.
    fn next(&mut self) -> PacketType {
        loop {
            let mut input = &self.received[..];
            if let Some(packet) = self.decoder.decode(&mut input).unwrap() {
                let packet_type = packet.packet_type();
                let used = self.received.len() - input.len();
                self.received.drain(..used);
                return packet_type;
            }
            let mut bytes = [0; 1000];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the connection has ended");
            self.received.extend(&bytes[..count]);
        }
    }

    fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        // `peek` leaves the bytes in the socket, so that a later `next` still receives them.
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.received.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn subscribe(&mut self, topic_filter: &str) {
        self.send(&[PacketRef::Subscribe(Subscribe {
            packet_identifier: PacketIdentifier::FIRST,
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new(topic_filter).unwrap(),
                options: SubscriptionOptions::new(QoS::AtLeastOnce),
            }],
            properties: SubscribeProperties::default(),
        })]);
        assert_eq!(self.next(), PacketType::Suback);
    }
}

fn message(topic_name: &str) -> Message {
    Message::new(TopicName::new(topic_name).unwrap(), "payload")
}

const ONCE_ACKNOWLEDGED: Delivery = Delivery::AtLeastOnce {
    packet_identifier: PacketIdentifier::FIRST,
    dup: false,
};

#[test]
fn on_a_slow_disk_acknowledgements_wait_and_other_clients_are_served() {
    let disk = SlowDisk::new();
    let address = serve(disk.clone());
    let mut keeper = Peer::connect(address, "keeper", false);
    keeper.subscribe("kept");
    let mut publisher = Peer::connect(address, "publisher", true);
    let mut bystander = Peer::connect(address, "bystander", true);
    bystander.subscribe("passing");

    disk.hold_up(true);
    let (kept, passing) = (message("kept"), message("passing"));
    publisher.send(&[PacketRef::Publish(kept.publish(ONCE_ACKNOWLEDGED))]);
    disk.wait_for_sync();
    // A client without uncommitted mutations is served, and so is a client that subscribes without a stored session.
    bystander.send(&[PacketRef::Publish(passing.publish(ONCE_ACKNOWLEDGED))]);
    assert_eq!(bystander.next(), PacketType::Publish);
    assert_eq!(bystander.next(), PacketType::Puback);
    let mut newcomer = Peer::connect(address, "newcomer", true);
    newcomer.subscribe("kept");
    // The second message belongs to the next commit. Before that commit only the newcomer, whose session is not stored,
    // receives it.
    publisher.send(&[
        PacketRef::Pingreq,
        PacketRef::Publish(kept.publish(Delivery::AtMostOnce)),
    ]);
    assert_eq!(newcomer.next(), PacketType::Publish);
    assert!(publisher.has_nothing(), "acknowledged before it is durable");
    assert!(keeper.has_nothing(), "delivered before it is durable");

    disk.hold_up(false);
    assert_eq!(publisher.next(), PacketType::Puback);
    assert_eq!(publisher.next(), PacketType::Pingresp);
    assert_eq!(keeper.next(), PacketType::Publish);
    assert_eq!(keeper.next(), PacketType::Publish);
}

/// Returns limits with a small commit backlog and small work budgets.
fn small_limits() -> Limits {
    let mutations = |mutations| Backlog {
        mutations,
        bytes: usize::MAX,
    };
    Limits {
        commit_backlog: mutations(200),
        maximum_commit_backlog: mutations(400),
        work_per_connection: 100,
        work_per_turn: 400,
        maximum_packet_size: 10_000_000,
        ..Limits::default()
    }
}

/// The size of a flood in bytes, which is more than the buffers of two sockets take.
const FLOOD: usize = 30_000_000;

impl Peer {
    /// Sends bytes until the socket accepts no more for 300 ms. Returns the number of bytes that were sent.
    fn flood(&mut self, bytes: &[u8]) -> usize {
        let patience = Duration::from_millis(300);
        self.stream.set_write_timeout(Some(patience)).unwrap();
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    fn ping(&mut self) {
        self.send(&[PacketRef::Pingreq]);
        assert_eq!(self.next(), PacketType::Pingresp);
    }
}

fn encode(packets: &[PacketRef<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet
            .encode(ProtocolVersion::V3_1_1, u32::MAX, &mut bytes)
            .unwrap();
    }
    bytes
}

/// Messages of QoS 0 have no acknowledgement, but their mutations wait for the disk as well.
#[test]
fn retained_messages_of_qos_0_are_not_read_faster_than_the_disk_stores_them() {
    let disk = SlowDisk::new();
    let address = serve_with(disk.clone(), small_limits());
    let mut bystander = Peer::connect(address, "bystander", true);
    let mut publisher = Peer::connect(address, "publisher", true);
    let topic_name = TopicName::new("kept").unwrap();
    let message = Message {
        retain: true,
        ..Message::new(topic_name, vec![b'x'; 1000])
    };
    let packet = encode(&[PacketRef::Publish(message.publish(Delivery::AtMostOnce))]);
    let packets = packet.repeat(FLOOD / packet.len());
    disk.hold_up(true);
    let sent = publisher.flood(&packets);
    // At its backlog limit the broker stops reading from the publisher. The buffers of the sockets fill up, and the
    // publisher cannot send the rest. The bystander makes no mutations, so it is still served.
    assert!(sent < packets.len(), "the broker read everything");
    (0..100).for_each(|_| bystander.ping());

    disk.hold_up(false);
    // Sends the rest of the message that was cut off, so that the stream has whole packets again.
    let rest = packet.len() - sent % packet.len();
    publisher
        .stream
        .write_all(&packets[sent..sent + rest])
        .unwrap();
    publisher.ping();
    bystander.ping();
}

/// If a SUBSCRIBE makes more mutations than may wait, it is handled in several commits, and answered after the last
/// one.
#[test]
fn large_subscribe_is_continued_commit_by_commit() {
    let disk = SlowDisk::new();
    let address = serve_with(disk.clone(), small_limits());
    let mut bystander = Peer::connect(address, "bystander", true);
    let mut subscriber = Peer::connect(address, "subscriber", false);
    let subscription = |number| Subscription {
        topic_filter: TopicFilter::new(&format!("filter/{number}")).unwrap(),
        options: SubscriptionOptions::new(QoS::AtLeastOnce),
    };
    disk.hold_up(true);
    // Each of the 3000 subscriptions is a mutation, and at most 400 mutations may wait.
    subscriber.send(&[PacketRef::Subscribe(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        subscriptions: (0..3000).map(subscription).collect(),
        properties: SubscribeProperties::default(),
    })]);
    disk.wait_for_sync();
    (0..100).for_each(|_| bystander.ping());
    assert!(subscriber.has_nothing());
    disk.hold_up(false);
    assert_eq!(subscriber.next(), PacketType::Suback);
}

/// If each message makes a mutation for each of many sessions, the publisher waits for a commit between its messages.
#[test]
fn publisher_to_many_sessions_waits_for_the_disk() {
    let disk = SlowDisk::new();
    let address = serve_with(disk.clone(), small_limits());
    for number in 0..300 {
        let mut sleeper = Peer::connect(address, &format!("sleeper{number}"), false);
        sleeper.subscribe("kept");
    }
    let mut bystander = Peer::connect(address, "bystander", true);
    let mut publisher = Peer::connect(address, "publisher", true);
    let kept = message("kept");
    let delivery = |number| Delivery::AtLeastOnce {
        packet_identifier: PacketIdentifier::new(number).unwrap(),
        dup: false,
    };
    disk.hold_up(true);
    // Each message makes 300 mutations, one for each sleeper, which is more than the soft limit of 200.
    let packets: Vec<_> = (1..=20)
        .map(|number| PacketRef::Publish(kept.publish(delivery(number))))
        .collect();
    publisher.send(&packets);
    disk.wait_for_sync();
    (0..100).for_each(|_| bystander.ping());
    assert!(publisher.has_nothing(), "acknowledged before it is durable");
    disk.hold_up(false);
    for _ in &packets {
        assert_eq!(publisher.next(), PacketType::Puback);
    }
    bystander.ping();
}
