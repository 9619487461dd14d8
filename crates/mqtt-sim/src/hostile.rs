//! Hostile peers of the broker: they break the rules of MQTT, or use the limits of the broker to the full. All
//! invariants must hold for the other clients, and the broker must close a silent connection (I17).

use std::time::{Duration, Instant};

use fastrand::Rng;
use mqtt_broker_core::{Broker, ConnectionId, InputProgress};

use crate::Violation;
use crate::wire::PacketReader;

/// A hostile peer, which connects again with a random behaviour after each connection.
pub(crate) struct HostilePeer {
    name: String,
    connection: Option<HostileConnection>,
}

struct HostileConnection {
    id: ConnectionId,
    behaviour: Behaviour,
    /// Bytes that the broker has not handled yet.
    input: Vec<u8>,
    /// The time by which the broker must have closed the connection. `None` if the broker may keep it open.
    deadline: Option<Instant>,
    sent: PacketReader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// Sends nothing, or the start of a CONNECT.
    Silent,
    /// Sends a long packet byte by byte.
    SlowSender,
    /// Sends packets that do not fit the state of the connection, and malformed packets.
    Garbage,
    /// Subscribes to all topics and does not read.
    NonReader,
}

const KEEP_ALIVE: u8 = 5;

impl HostilePeer {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            name: format!("hostile{index}"),
            connection: None,
        }
    }

    /// Forgets the connection, because the broker has died.
    pub(crate) fn lose(&mut self) {
        self.connection = None;
    }

    /// Runs one step of the peer.
    pub(crate) fn step(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        rng: &mut Rng,
    ) -> Result<(), Violation> {
        let Some(mut connection) = self.connection.take() else {
            self.connection = Some(self.connect(broker, now, rng));
            return Ok(());
        };
        if broker.has_ended(connection.id) {
            connection.read(broker, now, usize::MAX)?;
            broker.remove(now, connection.id);
            return Ok(());
        }
        if connection.deadline.is_some_and(|deadline| now > deadline) {
            let what = format!(
                "a peer without a whole packet holds its connection ({:?})",
                connection.behaviour
            );
            return Err(Violation::new("I17", what));
        }
        // Each behaviour would occupy memory or a connection of a broker that trusts its peers.
        match connection.behaviour {
            Behaviour::Silent => {}
            // The broker restarts the keep alive after every 1000 bytes of an incomplete packet. The peer sends fewer
            // bytes, so that its keep alive expires.
            Behaviour::SlowSender if connection.input.len() > 900 => {}
            Behaviour::SlowSender => connection.send(broker, now, b"x"),
            Behaviour::NonReader => {
                let ping = rng.u8(0..50) == 0;
                connection.send(broker, now, if ping { &[0xC0, 0] } else { &[] });
            }
            Behaviour::Garbage => {
                let packet = garbage(rng);
                connection.send(broker, now, &packet);
                connection.read(broker, now, rng.usize(0..200))?;
            }
        }
        if rng.u8(0..100) == 0 {
            broker.remove(now, connection.id); // the peer disappears without DISCONNECT
        } else {
            self.connection = Some(connection);
        }
        Ok(())
    }

    fn connect(&self, broker: &mut Broker, now: Instant, rng: &mut Rng) -> HostileConnection {
        use Behaviour::{Garbage, NonReader, Silent, SlowSender};
        let behaviour = [Silent, SlowSender, Garbage, NonReader][rng.usize(0..4)];
        let id = broker.open(now, self.name.clone(), 0);
        let mut connection = HostileConnection {
            id,
            behaviour,
            input: Vec::new(),
            deadline: None,
            sent: PacketReader::new(4),
        };
        let mut connect = vec![0x10, 12 + self.name.len() as u8, 0, 4];
        connect.extend(b"MQTT\x04\x02");
        connect.extend([0, KEEP_ALIVE, 0, self.name.len() as u8]);
        connect.extend(self.name.as_bytes());
        match behaviour {
            Silent => {
                // The default limits of the broker allow ten seconds until CONNECT is complete.
                connection.deadline = Some(now + Duration::from_secs(10));
                connect.truncate(rng.usize(0..connect.len()));
                connection.send(broker, now, &connect);
            }
            SlowSender => {
                // One and a half times the keep alive [MQTT-3.1.2-22].
                connection.deadline =
                    Some(now + Duration::from_millis(u64::from(KEEP_ALIVE) * 1500));
                connection.send(broker, now, &connect);
                // The start of a PUBLISH of 100,000 bytes.
                connection.send(broker, now, &[0x30, 0xA0, 0x8D, 0x06, 0, 3, b'h', b'/']);
            }
            Garbage | NonReader => {
                connection.send(broker, now, &connect);
                // SUBSCRIBE to `#` with QoS 2.
                connection.send(broker, now, b"\x82\x06\x00\x01\x00\x01#\x02");
            }
        }
        connection
    }
}

impl HostileConnection {
    fn send(&mut self, broker: &mut Broker, now: Instant, bytes: &[u8]) {
        self.input.extend(bytes);
        let mut rest = &self.input[..];
        let mut progress = InputProgress::Yielded;
        while progress == InputProgress::Yielded {
            progress = broker.handle_input(now, self.id, &mut rest);
        }
        self.input = rest.to_vec();
        // The broker cannot notice the silence of a connection that it does not read, so the deadline starts again.
        if progress == InputProgress::Blocked {
            self.deadline = self.deadline.map(|_| now + Duration::from_secs(10));
        }
    }

    fn read(&mut self, broker: &mut Broker, now: Instant, most: usize) -> Result<(), Violation> {
        let output = broker.output(self.id);
        let bytes = output[..output.len().min(most)].to_vec();
        broker.consume_output(now, self.id, bytes.len());
        self.sent.read(&bytes, |_| Ok(()))
    }
}

/// Returns a random packet. Most are well-formed, so that they pass the decoder and test the session: acknowledgements
/// of unknown identifiers, messages with few identifiers and a random DUP flag, PINGREQ, UNSUBSCRIBE, SUBSCRIBE.
fn garbage(rng: &mut Rng) -> Vec<u8> {
    let identifier = rng.u8(0..5);
    match rng.u8(0..12) {
        0..=3 => {
            let first = [0x40, 0x50, 0x62, 0x70][rng.usize(0..4)];
            vec![first, 2, 0, identifier]
        }
        4..=7 => {
            let qos = rng.u8(1..=2);
            let dup = rng.u8(0..2) << 3;
            let mut packet = vec![0x30 | qos << 1 | dup, 8, 0, 3];
            packet.extend(b"h/x");
            packet.extend([0, identifier, b'x']);
            packet
        }
        8 => vec![0xC0, 0],
        9 => vec![0xA2, 5, 0, 1, 0, 1, b'#'],
        10 => vec![0x82, 6, 0, 2, 0, 1, b'#', rng.u8(0..4)],
        _ => vec![rng.u8(..), rng.u8(..), rng.u8(..)],
    }
}
