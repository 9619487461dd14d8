//! Runs the broker core with several peers that send arbitrary packets. The broker must send permitted packets only,
//! and must not keep any state of disconnected peers.

use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use mqtt_broker_core::{Broker, ConnectionId, InputProgress, Limits};
use mqtt_sim::wire::PacketReader;

use crate::shape::{ConnectShape, Shape};

/// A step of the input. `connection` selects one of the open connections.
#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Open {
        version: u8,
        connect: ConnectShape,
    },
    /// Opens a connection whose first bytes are arbitrary.
    OpenWith(Shape<'a>),
    Send {
        connection: u8,
        shape: Shape<'a>,
        cut: Option<u8>,
    },
    Write {
        connection: u8,
        bytes: u8,
    },
    Close {
        connection: u8,
    },
    Wait {
        seconds: u16,
    },
}

/// Runs the steps that the input encodes.
///
/// # Panics
/// If the broker sends a packet that is not permitted, or keeps state that never goes away.
pub fn broker(input: &[u8]) {
    let Ok(steps) = Vec::<Step<'_>>::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let now = Instant::now();
    let limits = Limits {
        maximum_queued: 10,
        maximum_in_flight: 3,
        ..Limits::default()
    };
    let mut run = BrokerRun {
        broker: Broker::new(limits, Box::new(|| 7)),
        now,
        peers: Vec::new(),
    };
    for step in &steps {
        run.step(step);
    }
    run.end();
}

struct BrokerRun {
    broker: Broker,
    now: Instant,
    peers: Vec<Peer>,
}

struct Peer {
    id: ConnectionId,
    version: u8,
    /// Bytes that the broker has not handled yet, because their packet is incomplete.
    input: Vec<u8>,
    /// The reader that checks the broker's packets. `None` if the peer's version is not known.
    wire: Option<PacketReader>,
    written: u64,
}

impl BrokerRun {
    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Open { version, connect } => {
                let version = 3 + version % 3;
                self.open(version, Some(PacketReader::new(version)));
                let shape = Shape::Connect(connect.clone());
                self.send(self.peers.len() - 1, &shape.bytes(version));
            }
            Step::OpenWith(shape) => {
                self.open(5, None);
                self.send(self.peers.len() - 1, &shape.bytes(5));
            }
            Step::Send {
                connection,
                shape,
                cut,
            } => {
                if let Some(index) = self.index(*connection) {
                    let mut bytes = shape.bytes(self.peers[index].version);
                    if let Some(cut) = cut {
                        bytes.truncate(usize::from(*cut));
                    }
                    self.send(index, &bytes);
                }
            }
            Step::Write { connection, bytes } => {
                if let Some(index) = self.index(*connection) {
                    self.write(index, (*bytes).into());
                }
            }
            Step::Close { connection } => {
                if let Some(index) = self.index(*connection) {
                    let peer = self.peers.remove(index);
                    self.broker.remove(self.now, peer.id);
                }
            }
            Step::Wait { seconds } => self.wait((*seconds).into()),
        }
    }

    fn index(&self, connection: u8) -> Option<usize> {
        usize::from(connection).checked_rem(self.peers.len())
    }

    fn open(&mut self, version: u8, wire: Option<PacketReader>) {
        let id = self.broker.open(self.now, "peer".into(), 0);
        self.peers.push(Peer {
            id,
            version,
            input: Vec::new(),
            wire,
            written: 0,
        });
    }

    fn send(&mut self, index: usize, bytes: &[u8]) {
        let peer = &mut self.peers[index];
        peer.input.extend(bytes);
        let mut rest = &peer.input[..];
        while self.broker.handle_input(self.now, peer.id, &mut rest) == InputProgress::Yielded {}
        peer.input = rest.to_vec();
    }

    fn write(&mut self, index: usize, count: usize) {
        let peer = &mut self.peers[index];
        let output = self.broker.output(peer.id);
        let count = count.min(output.len());
        let bytes = output[..count].to_vec();
        self.broker.consume_output(self.now, peer.id, count);
        peer.written += count as u64;
        if let Some(wire) = &mut peer.wire {
            wire.read(&bytes, |_| Ok(()))
                .unwrap_or_else(|violation| panic!("{violation}"));
        }
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        let mut steps = 0;
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
            // Each timeout must make progress: a deadline that stays due would let the event loop spin.
            steps += 1;
            assert!(steps < 10_000, "timers that do not end");
        }
        self.now = end;
    }

    fn end(mut self) {
        while !self.peers.is_empty() {
            while !self.broker.output(self.peers[0].id).is_empty() {
                self.write(0, usize::MAX);
            }
            let peer = self.peers.remove(0);
            self.broker.remove(self.now, peer.id);
        }
        // After the longest possible interval all sessions and all messages with an expiry have expired.
        self.wait(u64::from(u32::MAX) + 1);
        assert_eq!(self.broker.connection_count(), 0);
        assert_eq!(self.broker.poll_timeout(), None, "a deadline of nobody");
    }
}
