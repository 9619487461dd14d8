//! [`Connections`]: the connections, and what the core knows of each beside the state machine of its protocol.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Connect, PacketIdentifier, ProtocolVersion, ReasonCode, Suback};
use mqtt_session::{Config, Connection, Observer};
use slotmap::{SlotMap, new_key_type};

use crate::durability::commit_gate::CommitGate;
use crate::flow::work::InputProgress;
use crate::log_lines::EVENTS;
use crate::packets::input::Task;
use crate::sessions::client::ClientKey;
use crate::stats::Counters;

new_key_type! {
    /// The key of a connection. Keys are never reused, so a late event of an old connection finds nothing.
    pub struct ConnectionId;
}

/// The state of one connection.
pub(crate) struct ConnectionState {
    /// The state machine of the protocol.
    pub(crate) protocol: Connection,
    pub(crate) client: Option<ClientKey>,
    /// The peer's address, for log lines.
    pub(crate) peer: Box<str>,
    /// The number of the listener that has accepted the connection.
    pub(crate) listener: u32,
    /// The user name in the client's certificate.
    pub(crate) identity: Option<Box<str>>,
    /// Set for a bridge of 3.x, which CONNECT marks as such.
    pub(crate) is_bridge: bool,
    /// The CONNECT packet, while its password is verified.
    pub(crate) waiting: Option<Box<Connect>>,
    /// The part of the output that may be written, once some of it has waited for a commit.
    pub(crate) commit_gate: Option<Box<CommitGate>>,
    pub(crate) scheduled: Option<Instant>,
    pub(crate) is_changed: bool,
    /// The bytes of the output as the counters have them.
    pub(crate) counted_output: usize,
    /// The progress of the last call of `handle_input`.
    pub(crate) progress: InputProgress,
    /// The rest of the last packet, if it was not handled completely.
    pub(crate) task: Option<Box<Task>>,
    /// Set while a publication of this connection is delivered in slices.
    pub(crate) is_publishing: bool,
    /// The end of the wait for a subscriber whose queue this connection has filled.
    pub(crate) throttled_until: Option<Instant>,
    /// The number of the commit that contains the newest mutations of this connection.
    pub(crate) mutated_in: u64,
    /// Set while the connection is in the list of those that wait for a commit.
    pub(crate) awaits_commit_room: bool,
    /// Set while the connection waits for its peer to read.
    pub(crate) awaits_output_room: bool,
    /// The number of control packets that were handled while the output was full, since the peer has last read.
    pub(crate) unanswered: u16,
    /// Set while the connection is in the list of those that may resume.
    pub(crate) is_resumable: bool,
}

impl ConnectionState {
    pub(crate) fn new(protocol: Connection, peer: String, listener: u32) -> Self {
        Self {
            protocol,
            client: None,
            peer: peer.into(),
            listener,
            identity: None,
            is_bridge: false,
            waiting: None,
            commit_gate: None,
            scheduled: None,
            is_changed: false,
            counted_output: 0,
            progress: InputProgress::Drained,
            task: None,
            is_publishing: false,
            throttled_until: None,
            mutated_in: 0,
            awaits_commit_room: false,
            awaits_output_room: false,
            unanswered: 0,
            is_resumable: false,
        }
    }

    /// Adds the connection, whose key is `id`, to those that have changed.
    #[inline]
    pub(crate) fn mark_changed(&mut self, id: ConnectionId, changed: &mut Vec<ConnectionId>) {
        if !std::mem::replace(&mut self.is_changed, true) {
            changed.push(id);
        }
    }

    /// Updates the counter of waiting output.
    pub(crate) fn count_output(&mut self, statistics: &mut Counters) {
        let bytes = self.protocol.output().len();
        statistics.count_output(std::mem::replace(&mut self.counted_output, bytes), bytes);
    }
}

/// All connections.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) table: SlotMap<ConnectionId, ConnectionState>,
    /// Connections that may have bytes to write, or have ended.
    pub(crate) changed: Vec<ConnectionId>,
    /// The function that is shown each packet.
    pub(crate) observer: Option<Observer>,
    /// The limits of the newest connection, which connections of its listener share.
    pub(crate) config: Option<Arc<Config>>,
}

impl Connections {
    #[inline]
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&ConnectionState> {
        self.table.get(id)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut ConnectionState> {
        self.table.get_mut(id)
    }

    /// Returns a connection that must be in the table: only [`Broker::remove`](crate::Broker::remove) takes connections
    /// out. A miss is a bug, which is logged and fails in debug builds.
    #[inline]
    pub(crate) fn known(&self, id: ConnectionId) -> Option<&ConnectionState> {
        let connection = self.table.get(id);
        if connection.is_none() {
            report_missing();
        }
        connection
    }

    /// Returns a connection that must be in the table, as `known`.
    #[inline]
    pub(crate) fn known_mut(&mut self, id: ConnectionId) -> Option<&mut ConnectionState> {
        let connection = self.table.get_mut(id);
        if connection.is_none() {
            report_missing();
        }
        connection
    }

    pub(crate) fn insert(&mut self, connection: ConnectionState) -> ConnectionId {
        self.table.insert(connection)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<ConnectionState> {
        self.table.remove(id)
    }

    pub(crate) fn contains_key(&self, id: ConnectionId) -> bool {
        self.table.contains_key(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &ConnectionState)> {
        self.table.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = ConnectionId> {
        self.table.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &ConnectionState> {
        self.table.values()
    }
}

impl Connections {
    /// Returns the peer's address, for log lines.
    pub(crate) fn peer(&self, id: ConnectionId) -> &str {
        self.get(id).map_or("", |connection| &connection.peer)
    }

    /// Returns `true` if the connection has ended. The caller closes the socket when the output is written, or cannot
    /// be.
    pub(crate) fn has_ended(&self, id: ConnectionId) -> bool {
        self.get(id)
            .is_none_or(|connection| connection.protocol.has_ended())
    }

    pub(crate) fn mark_changed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.get_mut(id) {
            connection.mark_changed(id, &mut self.changed);
        }
    }

    /// Returns `true` while the password of this connection is verified.
    pub(crate) fn is_waiting(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        connection.is_some_and(|connection| connection.waiting.is_some())
    }

    /// Keeps the rest of a packet for the connection's next turns.
    pub(crate) fn put_off(&mut self, id: ConnectionId, task: Task) {
        if let Some(connection) = self.get_mut(id) {
            connection.task = Some(Box::new(task));
        }
    }

    /// Returns `true` if an acknowledgement to this client can carry an error: only in 5.0.
    pub(crate) fn can_be_told(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        connection.is_some_and(|connection| connection.protocol.version() == ProtocolVersion::V5_0)
    }

    /// Returns `true` for a bridge of 3.x. It must not get its own messages back, which would go round between the two
    /// brokers, and it needs RETAIN as published, so that its broker retains what was retained here.
    pub(crate) fn is_bridge_without_options(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        connection.is_some_and(|connection| {
            connection.is_bridge && connection.protocol.version() != ProtocolVersion::V5_0
        })
    }

    pub(crate) fn answer(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet_identifier: PacketIdentifier,
        reason_codes: Vec<ReasonCode>,
    ) {
        if let Some(connection) = self.get_mut(id) {
            connection
                .protocol
                .suback(now, Suback::new(packet_identifier, reason_codes));
        }
    }

    /// Returns `true` if output of this connection waits for a commit.
    pub(crate) fn awaits_commit(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        let commit_gate = connection.and_then(|connection| connection.commit_gate.as_ref());
        commit_gate.is_some_and(|commit_gate| !commit_gate.is_durable())
    }

    /// Returns the bytes to write next: those that wait for no commit.
    pub(crate) fn output(&self, id: ConnectionId) -> &[u8] {
        let Some(connection) = self.get(id) else {
            return &[];
        };
        let output = connection.protocol.output();
        match &connection.commit_gate {
            None => output,
            Some(commit_gate) => {
                let writable = commit_gate.writable(output.len());
                output.get(..writable).unwrap_or(output)
            }
        }
    }

    /// Returns all bytes to write, with those that wait for a commit.
    pub(crate) fn whole_output(&self, id: ConnectionId) -> &[u8] {
        let connection = self.get(id);
        connection.map_or(&[], |connection| connection.protocol.output())
    }
}

#[cold]
fn report_missing() {
    log::error!(target: EVENTS, "internal error: a connection is not in the table");
    debug_assert!(false, "a connection is not in the table");
}
