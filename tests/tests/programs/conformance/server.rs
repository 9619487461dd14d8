//! The server under test: the broker core without sockets and with a virtual time. Tests pass bytes to the server, and
//! compare the bytes that it sends.

use std::time::{Duration, Instant};

use mqtt_broker_core::{Broker, ConnectionId, Limits, ListenerPolicy};

use super::bytes::*;
use super::record::{End, hex, proves, record};

/// A server and its connections.
pub(crate) struct World {
    broker: Broker,
    now: Instant,
    peers: Vec<Connection>,
}

struct Connection {
    id: ConnectionId,
    version: u8,
    /// Bytes of an incomplete packet.
    input: Vec<u8>,
}

/// A connection to the server.
#[derive(Clone, Copy)]
pub(crate) struct Peer(usize);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        // A counter instead of random numbers, so that each run has the same assigned client identifiers.
        let mut random = 6;
        let random = move || {
            random += 1;
            random
        };
        Self {
            broker: Broker::new(limits, Box::new(random)),
            now: Instant::now(),
            peers: Vec::new(),
        }
    }

    /// Creates a server that rejects clients without a user name.
    pub(crate) fn strict() -> Self {
        let mut world = Self::new();
        world.broker.set_policies(vec![ListenerPolicy {
            allow_anonymous: false,
            ..ListenerPolicy::everyone()
        }]);
        world
    }

    /// Opens a connection and sends nothing.
    pub(crate) fn open(&mut self, version: u8) -> Peer {
        let id = self.broker.open(self.now, "peer".into(), 0);
        self.peers.push(Connection {
            id,
            version,
            input: Vec::new(),
        });
        Peer(self.peers.len() - 1)
    }

    /// Opens a connection and sends CONNECT.
    pub(crate) fn try_connect(&mut self, connect: Connect) -> Peer {
        let peer = self.open(connect.version);
        self.send(peer, connect);
        peer
    }

    /// Opens a connection that the server accepts. The bytes after CONNACK stay in the output.
    #[track_caller]
    pub(crate) fn connect(&mut self, connect: Connect) -> Peer {
        let peer = self.try_connect(connect);
        let id = self.peers[peer.0].id;
        let [0x20, length, _, code, ..] = *self.broker.output(id) else {
            panic!("no CONNACK: {}", hex(self.broker.output(id)));
        };
        assert_eq!(code, 0, "refused");
        self.broker
            .consume_output(self.now, id, 2 + usize::from(length));
        peer
    }

    /// Connects a client and subscribes to the filters.
    #[track_caller]
    pub(crate) fn subscriber(&mut self, connect: Connect, filters: &[(&str, u8)]) -> Peer {
        let version = connect.version;
        let peer = self.connect(connect);
        self.send(peer, subscribe(version, 900, filters));
        let codes: Vec<_> = filters.iter().map(|(_, options)| options & 3).collect();
        assert_eq!(hex(&self.take(peer)), hex(&suback(version, 900, &codes)));
        peer
    }

    pub(crate) fn send(&mut self, peer: Peer, bytes: impl Into<Vec<u8>>) {
        let connection = &mut self.peers[peer.0];
        connection.input.extend(bytes.into());
        let mut rest = &connection.input[..];
        self.broker.handle_input(self.now, connection.id, &mut rest);
        connection.input = rest.to_vec();
    }

    /// Returns all bytes that the server has sent to this connection.
    pub(crate) fn take(&mut self, peer: Peer) -> Vec<u8> {
        let id = self.peers[peer.0].id;
        let mut all = Vec::new();
        while !self.broker.output(id).is_empty() {
            let bytes = self.broker.output(id).to_vec();
            self.broker.consume_output(self.now, id, bytes.len());
            all.extend(bytes);
        }
        all
    }

    /// Asserts that the server has sent exactly these packets and that the connection is open.
    #[track_caller]
    pub(crate) fn shows<P: Clone + Into<Vec<u8>>>(
        &mut self,
        peer: Peer,
        statements: &str,
        expected: &[P],
    ) {
        let version = self.peers[peer.0].version;
        let actual = hex(&self.take(peer));
        assert_eq!(
            actual,
            hex(&concat(expected)),
            "MQTT level {version}: {statements}"
        );
        assert!(!self.has_ended(peer), "the connection has ended");
        record(End::Server, version, statements);
    }

    /// Asserts that the server has sent exactly these bytes and has closed the connection.
    #[track_caller]
    pub(crate) fn shows_closed(&mut self, peer: Peer, statements: &str, expected: &[u8]) {
        let version = self.peers[peer.0].version;
        let actual = hex(&self.take(peer));
        assert_eq!(actual, hex(expected), "MQTT level {version}: {statements}");
        assert!(self.has_ended(peer), "the connection is open: {statements}");
        record(End::Server, version, statements);
    }

    /// Asserts another observation about this connection, and records the statements.
    #[track_caller]
    pub(crate) fn proves<T: PartialEq + std::fmt::Debug>(
        &self,
        peer: Peer,
        statements: &str,
        actual: T,
        expected: T,
    ) {
        proves(
            End::Server,
            self.peers[peer.0].version,
            statements,
            actual,
            expected,
        );
    }

    pub(crate) fn has_ended(&self, peer: Peer) -> bool {
        self.broker.has_ended(self.peers[peer.0].id)
    }

    /// Ends the connection without DISCONNECT.
    pub(crate) fn lose(&mut self, peer: Peer) {
        self.broker.remove(self.now, self.peers[peer.0].id);
    }

    /// Advances the time, and handles the timeouts that become due.
    pub(crate) fn wait(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
        }
        self.now = end;
    }
}

/// Returns the bytes of several packets.
pub(crate) fn concat<P: Clone + Into<Vec<u8>>>(packets: &[P]) -> Vec<u8> {
    packets.iter().cloned().flat_map(Into::into).collect()
}
