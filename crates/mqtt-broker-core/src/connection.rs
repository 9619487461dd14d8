//! [`Connections`]: the table of connections. An entry has the protocol state machine of one connection
//! (`mqtt_session::Connection`) and the state that the broker adds to it: the client, the commit gate, the timer, and
//! the reasons for which the connection waits.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Connect, PacketIdentifier, ProtocolVersion, ReasonCode, Suback};
use mqtt_session::{Config, Connection, Observer};
use slotmap::SlotMap;

use crate::durability::commit_gate::CommitGate;
use crate::flow::work::InputProgress;
use crate::keys::{ClientKey, ConnectionId, TimerKey};
use crate::log_lines::targets::EVENTS;
use crate::stats::counters::Counters;
use crate::task::Task;
use crate::timers::Timers;

/// The state of one connection.
pub(crate) struct ConnectionState {
    /// The protocol state machine.
    pub(crate) protocol: Connection,
    /// The client, from the accepted CONNECT to the end of the connection.
    pub(crate) client: Option<ClientKey>,
    /// The peer's address, for log lines.
    pub(crate) peer: Box<str>,
    /// The number of the listener that has accepted the connection.
    pub(crate) listener: u32,
    /// The user name in the client's certificate, if the listener takes the user name from there.
    pub(crate) identity: Option<Box<str>>,
    /// Set if CONNECT has the bridge bit of mosquitto in its protocol version.
    pub(crate) is_bridge: bool,
    /// The CONNECT packet, while its password waits for its check or is being checked.
    pub(crate) pending_connect: Option<Box<Connect>>,
    /// Limits the output that may be written. `None` until output of this connection has waited for a commit. Most
    /// connections never need a gate and take no memory for it.
    pub(crate) commit_gate: Option<Box<CommitGate>>,
    /// The time of the timer entry of this connection.
    pub(crate) scheduled: Option<Instant>,
    /// Set while the connection is in `Connections::changed`.
    pub(crate) is_changed: bool,
    /// The bytes of this connection's output that are included in the counters.
    pub(crate) counted_output: usize,
    /// The progress of the last call of `handle_input`.
    pub(crate) progress: InputProgress,
    /// The rest of the last packet, if the broker has not handled the packet completely.
    pub(crate) task: Option<Box<Task>>,
    /// Set while a publication of this connection is delivered in slices.
    pub(crate) is_publishing: bool,
    /// The end of the pause that began when this connection filled more than half of the queue of a live subscriber
    /// (`backpressure.rs`).
    pub(crate) throttled_until: Option<Instant>,
    /// The number of the commit that contains the newest mutations of this connection.
    pub(crate) mutated_in: u64,
    /// Set while the connection is in `Throttle::awaiting_commit`.
    pub(crate) awaits_commit_room: bool,
    /// Set while the connection waits for its peer to read some of the output.
    pub(crate) awaits_output_room: bool,
    /// The number of control packets that were handled while the output was full. Reset when the peer reads.
    pub(crate) unanswered: u16,
    /// Set while the connection is in `Throttle::resumable`.
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
            pending_connect: None,
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

    /// Adds the connection to `changed`, unless it is in that list already. `id` is the key of this connection.
    #[inline]
    pub(crate) fn mark_changed(&mut self, id: ConnectionId, changed: &mut Vec<ConnectionId>) {
        // The flag keeps the list free of duplicates without a search.
        if !std::mem::replace(&mut self.is_changed, true) {
            changed.push(id);
        }
    }

    /// Updates the counter of output bytes that wait to be written.
    pub(crate) fn count_output(&mut self, statistics: &mut Counters) {
        let bytes = self.protocol.output().len();
        statistics.count_output(std::mem::replace(&mut self.counted_output, bytes), bytes);
    }

    /// Returns `true` if the broker may not have handled all bytes that the peer has sent. Then the keep alive must not
    /// end the connection, because an unread packet may be its PINGREQ.
    pub(crate) fn is_unread(&self) -> bool {
        self.progress != InputProgress::Drained
    }
}

/// The table of connections, and the list of those that have changed.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) table: SlotMap<ConnectionId, ConnectionState>,
    /// Connections that may have bytes to write or may have ended.
    pub(crate) changed: Vec<ConnectionId>,
    /// The function that is called for each packet of a connection.
    pub(crate) observer: Option<Observer>,
    /// The configuration of the newest connection. The next connection shares it if its own is equal.
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

    /// Returns a connection that must be in the table, because only [`Broker::remove`](crate::Broker::remove) removes
    /// connections. If the connection is missing, this function logs an error, and panics in debug builds.
    #[inline]
    pub(crate) fn known(&self, id: ConnectionId) -> Option<&ConnectionState> {
        let connection = self.table.get(id);
        if connection.is_none() {
            report_missing();
        }
        connection
    }

    /// Returns a connection that must be in the table, like [`Connections::known`].
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

    /// Returns the peer's address, for log lines.
    pub(crate) fn peer(&self, id: ConnectionId) -> &str {
        self.get(id).map_or("", |connection| &connection.peer)
    }

    /// Returns `true` if the connection has ended or was removed.
    pub(crate) fn has_ended(&self, id: ConnectionId) -> bool {
        self.get(id)
            .is_none_or(|connection| connection.protocol.has_ended())
    }

    pub(crate) fn mark_changed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.table.get_mut(id) {
            connection.mark_changed(id, &mut self.changed);
        }
    }

    /// Returns `true` while the password of this connection waits for its check or is being checked.
    pub(crate) fn is_password_pending(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        connection.is_some_and(|connection| connection.pending_connect.is_some())
    }

    /// Keeps the rest of a packet, which `handle_input` continues in a later turn.
    pub(crate) fn defer_packet(&mut self, id: ConnectionId, task: Task) {
        if let Some(connection) = self.get_mut(id) {
            connection.task = Some(Box::new(task));
        }
    }

    /// Returns `true` if an acknowledgement to this client can have a reason code, which was added in MQTT 5.0.
    pub(crate) fn supports_reason_codes(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        connection.is_some_and(|connection| connection.protocol.version() == ProtocolVersion::V5_0)
    }

    /// Returns `true` for a bridge of 3.x. Its subscriptions need the options No Local and Retain As Published, which a
    /// SUBSCRIBE of 3.x does not have. Without No Local a message would loop between the two brokers. Without Retain As
    /// Published the other broker would not retain the message.
    pub(crate) fn is_bridge_without_options(&self, id: ConnectionId) -> bool {
        let connection = self.get(id);
        connection.is_some_and(|connection| {
            connection.is_bridge && connection.protocol.version() != ProtocolVersion::V5_0
        })
    }

    /// Answers SUBSCRIBE with SUBACK.
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

    /// Returns the output of this connection up to the first byte that waits for a commit.
    pub(crate) fn output(&self, id: ConnectionId) -> &[u8] {
        let Some(connection) = self.get(id) else {
            return &[];
        };
        let output = connection.protocol.output();
        // Most connections never have a gate.
        match &connection.commit_gate {
            None => output,
            Some(commit_gate) => {
                let writable = commit_gate.writable(output.len());
                output.get(..writable).unwrap_or(output)
            }
        }
    }

    /// Returns all output of this connection, including the bytes that wait for a commit.
    pub(crate) fn whole_output(&self, id: ConnectionId) -> &[u8] {
        let connection = self.get(id);
        connection.map_or(&[], |connection| connection.protocol.output())
    }

    /// Schedules the next deadline of the connection.
    pub(crate) fn schedule(&mut self, timers: &mut Timers<TimerKey>, id: ConnectionId) {
        if let Some(connection) = self.table.get_mut(id) {
            let deadline = connection.protocol.poll_timeout();
            timers.schedule(
                TimerKey::Connection(id),
                deadline,
                &mut connection.scheduled,
            );
        }
    }
}

#[cold]
fn report_missing() {
    log::error!(target: EVENTS, "internal error: a connection is not in the table");
    debug_assert!(false, "a connection is not in the table");
}
