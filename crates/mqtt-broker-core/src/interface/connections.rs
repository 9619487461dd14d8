//! The methods of [`Broker`] for connections: their input and output, their passwords, and their end.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::ReasonCode;
use mqtt_session::{Config, Connection};

use crate::auth::check_queue::PasswordCheck;
use crate::broker::Broker;
use crate::connection::ConnectionState;
use crate::durability::record;
use crate::flow::work::InputProgress;
use crate::keys::ConnectionId;
use crate::lifecycle::close;
use crate::packets::{input, password, wait};
use crate::routing::sending;

impl Broker {
    /// Adds a connection that the listener with this number has accepted, and returns its key. `peer` is the peer's
    /// address for log lines. The broker closes the connection if CONNECT does not arrive before a timeout.
    pub fn open(&mut self, now: Instant, peer: String, listener: u32) -> ConnectionId {
        let limits = &self.auth.policy(listener).limits;
        let config = Config {
            maximum_packet_size: self.resources.limits.maximum_packet_size,
            receive_maximum: self.resources.limits.receive_maximum,
            maximum_in_flight: self.resources.limits.maximum_in_flight,
            topic_alias_maximum: limits
                .topic_alias_maximum
                .unwrap_or(self.resources.limits.topic_alias_maximum),
            topic_aliases: limits
                .topic_aliases
                .unwrap_or(self.resources.limits.topic_aliases),
            maximum_unwritten: self.resources.limits.maximum_unwritten,
            records_changes: self.durability.mutations.is_some(),
            observer: self.connections.observer.clone(),
            ..Config::default()
        };
        // A connection shares the configuration of the previous connection if both are equal, so that ten thousand idle
        // connections do not allocate ten thousand copies.
        if self.connections.config.as_deref() != Some(&config) {
            self.connections.config = None;
        }
        let config = Arc::clone(
            self.connections
                .config
                .get_or_insert_with(|| Arc::new(config)),
        );
        let protocol = Connection::server(config, now);
        let connection = ConnectionState::new(protocol, peer, listener);
        let id = self.connections.insert(connection);
        self.stats.counters.sockets += 1;
        self.connections.schedule(&mut self.flow.timers, id);
        id
    }

    /// Returns the peer's address, for log lines.
    pub fn peer(&self, id: ConnectionId) -> &str {
        self.connections.peer(id)
    }

    /// Sets the user name of the peer, which the caller has read from the peer's certificate. The caller must call this
    /// before the first `handle_input`, because this name replaces the user name of CONNECT.
    pub fn identify(&mut self, id: ConnectionId, name: String) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.identity = Some(name.into());
        }
    }

    /// Handles the end of the network connection. If the client sent no DISCONNECT before, its will becomes due.
    pub fn handle_close(&mut self, now: Instant, id: ConnectionId) {
        input::handle_close(self, now, id)
    }

    /// Returns the next connection that may have bytes to write or may have ended. Each connection is returned once
    /// after a change.
    pub fn poll_changed(&mut self) -> Option<ConnectionId> {
        let id = self.connections.changed.pop()?;
        if let Some(connection) = self.connections.get_mut(id) {
            // The flag is reset before the caller writes, so that a change during the write is reported again.
            connection.is_changed = false;
            connection.count_output(&mut self.stats.counters);
        }
        Some(id)
    }

    /// Removes the first `count` bytes of the output, which the caller has written to the socket. Then sends queued
    /// messages into the free room, and resumes the connection if it waited for its peer to read.
    pub fn consume_output(&mut self, now: Instant, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.stats.counters.bytes_sent += count as u64;
            connection.protocol.consume_output(now, count);
            if let Some(commit_gate) = &mut connection.commit_gate {
                commit_gate.wrote(count);
            }
            connection.count_output(&mut self.stats.counters);
            // The output has room again, so messages of the queue may follow.
            if let Some(key) = connection.client {
                sending::send_queue(self, now, key);
            }
            if count > 0 {
                record::note_changes(
                    &mut self.connections,
                    &mut self.sessions,
                    &mut self.durability,
                    id,
                );
                wait::note_written(&mut self.connections, &mut self.flow, &self.resources, id);
            }
        }
    }

    /// Returns `true` if the connection has ended or was removed. The caller then writes the rest of the output, if the
    /// socket accepts it, and closes the socket.
    pub fn has_ended(&self, id: ConnectionId) -> bool {
        self.connections.has_ended(id)
    }

    /// Removes a connection whose socket is closed. The connection ends first, if it has not ended yet.
    pub fn remove(&mut self, now: Instant, id: ConnectionId) {
        input::remove(self, now, id)
    }

    /// Ends every connection, because the server shuts down.
    ///
    /// With a store, wills are not published now. The broker publishes them after its next start, unless the clients
    /// resume their sessions before the wills are due. Without a store the sessions end with the broker, so this method
    /// publishes all wills.
    pub fn shut_down(&mut self, now: Instant) {
        close::shut_down(self, now)
    }

    /// Ends the connections of clients that the policies no longer admit, with reason code 0x87 (Not authorized).
    pub fn end_unadmitted(&mut self, now: Instant) {
        close::end_unadmitted(self, now)
    }

    /// Ends a connection. A client of 5.0 gets a DISCONNECT with this reason code, which must be one that a server may
    /// send in DISCONNECT.
    pub fn end_connection(&mut self, now: Instant, id: ConnectionId, reason: ReasonCode) {
        close::end_connection(self, now, id, reason)
    }

    /// Returns the next connection that has waited and may resume. The caller must first call `handle_input` with the
    /// bytes that the last call left, even if none are left. The caller may read from the socket again if that call
    /// returns [`InputProgress::Drained`].
    pub fn poll_resumable(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.flow.throttle.resumable.pop_front()?;
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_resumable = false;
                return Some(id);
            }
        }
    }

    /// Returns the next password to verify. The passwords are chosen round robin by peer address, so that one address
    /// cannot delay the logins of the others. The caller must pass the result to [`Broker::handle_checked`]. Until then
    /// the broker handles no packet of the connection.
    pub fn poll_check(&mut self) -> Option<(ConnectionId, PasswordCheck)> {
        password::poll_check(&mut self.auth, &self.connections)
    }

    /// Handles the result of a password check: accepts the client, or rejects CONNECT with this reason code. Does
    /// nothing if the connection has ended meanwhile.
    pub fn handle_checked(
        &mut self,
        now: Instant,
        id: ConnectionId,
        result: Result<(), ReasonCode>,
    ) {
        input::handle_checked(self, now, id, result)
    }

    /// Returns `true` while the password of this connection waits for its check or is being checked.
    pub fn is_password_pending(&self, id: ConnectionId) -> bool {
        self.connections.is_password_pending(id)
    }

    /// Handles packets from the front of `input`, and advances `input` past them. Stops if no whole packet is left, if
    /// the work budget of this call is spent, or if the connection must wait. The caller must pass the rest of `input`
    /// to the next call again.
    pub fn handle_input(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: &mut &[u8],
    ) -> InputProgress {
        input::handle_input(self, now, id, input)
    }

    /// Returns `true` if output of this connection waits for a commit.
    pub fn awaits_commit(&self, id: ConnectionId) -> bool {
        self.connections.awaits_commit(id)
    }

    /// Returns the bytes that the caller may write to this connection now: the output up to the first byte that waits
    /// for a commit.
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        self.connections.output(id)
    }

    /// Returns all output of this connection, including the bytes that wait for a commit.
    pub fn whole_output(&self, id: ConnectionId) -> &[u8] {
        self.connections.whole_output(id)
    }
}
