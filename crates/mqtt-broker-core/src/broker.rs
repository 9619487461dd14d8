//! [`Broker`]: the interface of the core, and the owners of its state.
//!
//! In each turn the caller calls `handle_input` for each connection with bytes, `run_background`, `take_mutations` and
//! `begin_commit`, and then `output` for each connection that `poll_changed` returns. When the mutations are durable,
//! the caller calls `end_commit`. Most methods only delegate: the work is done in `packets/` (CONNECT, PUBLISH,
//! SUBSCRIBE, the end of a connection) and `routing/` (the way of a message to its subscribers).

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::ReasonCode;
use mqtt_session::{Config, Connection, Observer};

use crate::auth::Auth;
use crate::auth::check_queue::PasswordCheck;
use crate::auth::policy::ListenerPolicy;
use crate::connection::{ConnectionId, ConnectionState, Connections};
use crate::durability::commit_gate::CommitWaiters;
use crate::durability::mutation::Mutation;
use crate::durability::snapshot::Snapshot;
use crate::durability::{Durability, commit_gate, mutation, snapshot};
use crate::flow::work::{InputProgress, WorkBudget};
use crate::flow::{Flow, background, backpressure, throttle};
use crate::limits::{Backlog, Limits};
use crate::log_lines::EVENTS;
use crate::log_lines::limiter::LogLimiter;
use crate::packets::{close, connect, input};
use crate::resources::Resources;
use crate::routing::{fan_out, retain, router, sending};
use crate::sessions::{Sessions, expiry};
use crate::stats::dump::Dump;
use crate::stats::{Stats, Value, dump};
use crate::timers::TimerKey;
use crate::topics::Topics;
use crate::{stats, timers};

/// The broker without its sockets. Each field owns one part of the state. A function takes the fields that it needs as
/// arguments, so that its signature shows what it reads and changes. Only a function that may need all of them takes
/// the broker.
pub struct Broker {
    /// The listener policies, and the passwords that wait to be verified.
    pub(crate) auth: Auth,
    /// The table of connections, and the list of those that have changed.
    pub(crate) connections: Connections,
    /// The clients that are connected or have a session.
    pub(crate) sessions: Sessions,
    /// The subscriptions and the retained messages.
    pub(crate) topics: Topics,
    /// The mutations that the caller must store, and the output that waits for their commit.
    pub(crate) durability: Durability,
    /// The work budget of the current call, the connections that wait, the work of later calls, and the timers.
    pub(crate) flow: Flow,
    /// The limits, and how much memory and storage is left.
    pub(crate) resources: Resources,
    /// The counters, the limiter of log lines, and the dump of subscriptions and retained messages.
    pub(crate) stats: Stats,
}

impl Broker {
    /// Returns a broker without clients, which admits every client. `random` is the source of assigned client
    /// identifiers.
    pub fn new(limits: Limits, random: Box<dyn FnMut() -> u128 + Send>) -> Self {
        Self {
            auth: Auth::default(),
            connections: Connections::default(),
            sessions: Sessions::new(random),
            topics: Topics::default(),
            durability: Durability::default(),
            flow: Flow::default(),
            resources: Resources::new(limits),
            stats: Stats::default(),
        }
    }

    /// Sets the observer, which is called for each packet of the connections that are opened from now on.
    pub fn observe(&mut self, observer: Observer) {
        self.connections.observer = Some(observer);
    }

    /// Replaces the limits. Open connections keep the limits that CONNACK announced to them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.resources.limits = limits;
    }

    /// Sets if the disk of the store is full. While the disk is full, the broker accepts nothing that must be durable.
    pub fn set_full(&mut self, is_full: bool) {
        self.resources.is_full = is_full;
    }

    /// Sets if the store is larger than `max_store_bytes`. While it is larger, the broker accepts no messages, sessions
    /// and subscriptions that must be durable. Clients can resume sessions that are stored, unlike with a full disk:
    /// the store shrinks when these clients receive their messages.
    pub fn set_above_limit(&mut self, is_above_limit: bool) {
        self.resources.is_above_limit = is_above_limit;
    }

    /// Returns the current limits.
    pub fn limits(&self) -> &Limits {
        &self.resources.limits
    }

    /// Returns the value of the last call of [`Broker::set_above_limit`].
    pub fn is_above_limit(&self) -> bool {
        self.resources.is_above_limit
    }

    /// Returns the limiter of log lines. The caller and the broker share it, so that one peer has one limit for both.
    pub fn log_limiter(&mut self) -> &mut LogLimiter {
        &mut self.stats.log_limiter
    }

    /// Returns the soft limit of uncommitted mutations. Above it the broker throttles connections that made some of
    /// them.
    pub fn commit_backlog(&self) -> Backlog {
        self.resources.limits.commit_backlog
    }

    /// Returns the units of work that all connections which exceed their own budget may cause together in one turn.
    pub fn work_per_turn(&self) -> usize {
        self.resources.limits.work_per_turn
    }

    /// Returns the maximum number of connections of a listener, if it has one.
    pub fn maximum_connections(&self, listener: u32) -> Option<usize> {
        self.auth.policy(listener).limits.maximum_connections
    }

    /// Returns the maximum number of connections of all listeners together, if there is one.
    pub fn maximum_connections_of_all(&self) -> Option<usize> {
        self.resources.limits.maximum_connections
    }

    /// Replaces the policies of the listeners. The policy at index `n` is that of the listener with number `n`.
    pub fn set_policies(&mut self, access: Vec<ListenerPolicy>) {
        self.auth.policies.listeners = access;
    }

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
        timers::schedule_connection(&mut self.connections, &mut self.flow, id);
        id
    }

    /// Returns the peer's address, for log lines.
    pub fn peer(&self, id: ConnectionId) -> &str {
        self.connections.peer(id)
    }

    /// Sets the name in the certificate of the peer. The caller must call this before the first `handle_input`, because
    /// CONNECT is checked against the name.
    pub fn identify(&mut self, id: ConnectionId, name: String) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.identity = Some(name.into());
        }
    }

    /// Handles the end of the network connection. If the client sent no DISCONNECT before, its will becomes due.
    pub fn handle_close(&mut self, now: Instant, id: ConnectionId) {
        close::handle_close(self, now, id)
    }

    /// Handles the deadlines that have passed, until the work budget of one connection is spent. If deadlines are left,
    /// `poll_timeout` returns a time that has passed, so that the caller calls again in its next turn.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stats.log_limiter.handle_timeout(now);
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_connection);
        while let Some(key) = self.next_timer(now) {
            self.flow.work.spend(1);
            match key {
                TimerKey::Connection(id) => {
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.scheduled = None;
                        if connection.is_unread() {
                            // The broker has not read all bytes of the peer. The peer has not missed its keep alive.
                            connection.protocol.handle_unread(now);
                        }
                        connection.protocol.handle_timeout(now);
                        input::handle_pending(self, now, id);
                    }
                }
                TimerKey::Retained => retain::sweep_retained(self, now),
                TimerKey::Client(key) => {
                    if let Some(client) = self.sessions.clients.get_mut(key) {
                        client.scheduled = None;
                        expiry::handle_client_timeout(self, now, key);
                    }
                }
            }
        }
        backpressure::end_backpressure(self, now);
    }

    fn next_timer(&mut self, now: Instant) -> Option<TimerKey> {
        match self.flow.work.is_spent() {
            true => None,
            false => self.flow.timers.pop(now),
        }
    }

    /// Returns the time at which the caller must call `handle_timeout`, or `None` if no deadline is pending.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.flow.timers.first(),
            self.stats.log_limiter.poll_timeout(),
            self.flow.throttle.first_backpressure_end(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the next connection that may have bytes to write or may have ended. Each connection is returned once
    /// after a change.
    pub fn poll_changed(&mut self) -> Option<ConnectionId> {
        let id = self.connections.changed.pop()?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.is_changed = false;
            connection.count_output(&mut self.stats.counters);
        }
        Some(id)
    }

    /// Removes the first `count` bytes of the output, which the caller has written to the socket. The room in the
    /// output lets queued messages be sent and a connection resume that waited for its peer to read.
    pub fn consume_output(&mut self, now: Instant, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.stats.counters.bytes_sent += count as u64;
            connection.protocol.consume_output(now, count);
            if let Some(commit_gate) = &mut connection.commit_gate {
                commit_gate.wrote(count);
            }
            connection.count_output(&mut self.stats.counters);
            if let Some(key) = connection.client {
                sending::send_queue(self, now, key);
            }
            if count > 0 {
                mutation::note_changes(
                    &mut self.connections,
                    &mut self.sessions,
                    &mut self.durability,
                    id,
                );
                throttle::note_written(&mut self.connections, &mut self.flow, &self.resources, id);
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
        close::remove(self, now, id)
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

    /// Returns the number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Ends a connection. A client of 5.0 gets a DISCONNECT with this reason code, which must be one that a server may
    /// send in DISCONNECT.
    pub fn end_connection(&mut self, now: Instant, id: ConnectionId, reason: ReasonCode) {
        close::end_connection(self, now, id, reason)
    }

    /// Sets the bytes of memory that the process uses. While this number is not below `memory_limit`, the broker
    /// rejects messages, new clients and new subscriptions. It still delivers messages to the clients that it has.
    pub fn set_memory_used(&mut self, bytes: u64) {
        self.resources.memory_used = bytes;
    }

    /// Returns `true` if the process has reached `memory_limit`.
    pub fn lacks_memory(&self) -> bool {
        self.resources.lacks_memory()
    }

    /// Does the work of one turn that belongs to no connection: deferred wills, large publications, and the
    /// subscriptions of sessions that have ended. The caller must call this once per turn, after the input.
    pub fn run_background(&mut self, now: Instant) {
        backpressure::end_backpressure(self, now);
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_turn);
        background::handle_deferred(self, now);
        fan_out::advance_fan_outs(self, now);
        let fan_outs = self.flow.work.spent();
        // Stale subscriptions have a budget of their own. Otherwise large publications could spend the whole budget in
        // each turn, and the tree would keep subscriptions that match nobody.
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_connection);
        background::remove_subscriptions_of_gone(&mut self.topics, &mut self.flow, &mut self.stats);
        self.flow.work.spend(fan_outs);
    }

    /// Returns `true` if `run_background` has work that it can do now. The caller must not wait for I/O then.
    pub fn has_background_work(&mut self) -> bool {
        !self.flow.background.gone.is_empty()
            || fan_out::has_fan_out_to_advance(&self.durability, &mut self.flow, &self.resources)
            || {
                !self.flow.background.deferred.is_empty()
                    && !background::is_will_deferred(
                        &self.durability,
                        &mut self.flow,
                        &self.resources,
                    )
            }
    }

    /// Sets the number and the payload bytes of the mutations that were taken with [`Broker::take_mutations`] and are
    /// not durable. Only a caller whose commits may end before they are durable needs this method, for example with
    /// `sync interval`. Otherwise the broker counts the mutations from `begin_commit` and `end_commit`.
    pub fn set_backlog(&mut self, backlog: Backlog) {
        throttle::set_backlog(&mut self.connections, &mut self.flow, backlog)
    }

    /// Returns the next connection that has waited and may resume. The caller must first call `handle_input` with the
    /// bytes that the last call left, even if none are left. Then the caller may read from the socket again.
    pub fn poll_resumable(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.flow.throttle.resumable.pop_front()?;
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_resumable = false;
                return Some(id);
            }
        }
    }

    /// Returns `true` if the last call spent its whole work budget.
    pub fn has_spent_budget(&self) -> bool {
        self.flow.work.is_spent()
    }

    /// Returns the units of work that the last call did.
    pub fn work_done(&self) -> usize {
        self.flow.work.spent()
    }

    /// Returns the number and the payload bytes of all mutations that are not durable, taken or not.
    pub fn backlog(&mut self) -> Backlog {
        throttle::backlog(&self.durability, &mut self.flow)
    }

    /// Returns `true` if `take_mutations` returns nothing now, because the mutations of a publication are not complete.
    pub fn holds_mutations(&self) -> bool {
        fan_out::holds_mutations(&self.durability, &self.flow, &self.resources)
    }

    /// Publishes a line of the log to the subscribers of `topic_name`. In the queue of a client that is not connected
    /// the line expires after a short time.
    pub fn publish_log_line(&mut self, now: Instant, topic_name: &str, line: String) {
        router::publish_log_line(self, now, topic_name, line)
    }

    /// Begins to log the subscriptions and the retained messages. Calls of `poll_dump` log the lines. Does nothing if a
    /// dump is in progress.
    pub fn begin_dump(&mut self) {
        if self.stats.dump.is_none() {
            log::info!(target: EVENTS, "Subscription tree:");
            self.stats.dump = Some(Dump::Subscriptions(None, Vec::new()));
        }
    }

    /// Logs the next lines of the dump, a limited number per call. Returns `true` if more lines are left.
    pub fn poll_dump(&mut self) -> bool {
        dump::poll_dump(&self.sessions, &self.topics, &mut self.stats)
    }

    /// Publishes the values below `$SYS/broker` that have changed since the last call.
    pub fn publish_statistics(&mut self, now: Instant) {
        stats::publish_statistics(self, now)
    }

    /// Returns the interval at which the topics below `$SYS` are published, or `None` if `sys_interval` is zero.
    pub fn statistics_interval(&self) -> Option<Duration> {
        let interval = self.resources.limits.sys_interval;
        (!interval.is_zero()).then_some(interval)
    }

    /// Returns each value of the status with its name, always in the same order. The uptime is in seconds. Rates are
    /// per minute, and date from the last call of [`Broker::publish_statistics`].
    pub fn statistics(&mut self, now: Instant) -> Vec<Value> {
        stats::values(self, now)
    }

    /// Returns the identifier of the client with the longest queue, and the number of messages in that queue.
    pub fn longest_queue(&self) -> Option<(&str, usize)> {
        self.sessions.longest_queue()
    }

    /// Returns the next password to verify. The peer addresses take turns. The caller must pass the result to
    /// [`Broker::handle_checked`]. Until then the broker handles no packet of the connection.
    pub fn poll_check(&mut self) -> Option<(ConnectionId, PasswordCheck)> {
        connect::poll_check(&mut self.auth, &self.connections)
    }

    /// Handles the result of a password check: accepts the client, or rejects CONNECT with this reason code. Does
    /// nothing if the connection has ended meanwhile.
    pub fn handle_checked(
        &mut self,
        now: Instant,
        id: ConnectionId,
        result: Result<(), ReasonCode>,
    ) {
        connect::handle_checked(self, now, id, result)
    }

    /// Returns `true` while the password of this connection waits for its check or is being checked.
    pub fn is_waiting(&self, id: ConnectionId) -> bool {
        self.connections.is_waiting(id)
    }

    /// Handles packets from the front of `input`, and advances `input` past them. Stops if no whole packet is left, if
    /// the work budget of the connection is spent, or if the connection must wait. The caller must pass the rest of
    /// `input` to the next call again.
    pub fn handle_input(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: &mut &[u8],
    ) -> InputProgress {
        input::handle_input(self, now, id, input)
    }

    /// Begins the commit of all mutations that `take_mutations` has returned. Output that was queued until now and
    /// depends on them becomes writable with `end_commit`.
    pub fn begin_commit(&mut self) {
        self.flow.throttle.begin_commit();
        // `committing` is not empty if the previous commit failed on a full disk and is tried again.
        let CommitWaiters { committing, next } = &mut self.durability.waiters;
        committing.retain(|id| self.connections.contains_key(*id));
        for id in next.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            let waiting = connection.protocol.output().len();
            let commit_gate = connection.commit_gate.get_or_insert_default();
            if commit_gate.begin_commit(waiting) {
                committing.push(id);
            }
        }
    }

    /// Ends the commit. The caller calls this when the mutations are durable; output that waited for them becomes
    /// writable.
    pub fn end_commit(&mut self) {
        self.flow.throttle.end_commit();
        throttle::resume_after_commit(&mut self.connections, &mut self.flow);
        for id in std::mem::take(&mut self.durability.waiters.committing) {
            let connection = self.connections.get_mut(id);
            if let Some(commit_gate) =
                connection.and_then(|connection| connection.commit_gate.as_mut())
            {
                commit_gate.end_commit();
            }
            self.connections.mark_changed(id);
        }
    }

    /// Ends these connections because their mutations cannot be stored. The broker discards the output that waits for
    /// the commit. A client of 5.0 gets a DISCONNECT with reason code 0x97 (Quota exceeded), which waits for no commit.
    pub fn end_uncommitted(&mut self, now: Instant, ids: &[ConnectionId]) {
        commit_gate::end_uncommitted(self, now, ids)
    }

    /// Returns `true` if output of this connection waits for a commit.
    pub fn awaits_commit(&self, id: ConnectionId) -> bool {
        self.connections.awaits_commit(id)
    }

    /// Returns the connections with output that waits for the commit in progress. Some of them may have ended.
    pub fn awaiting_commit(&self) -> &[ConnectionId] {
        &self.durability.waiters.committing
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

    /// Records mutations from now on, for `take_mutations`. A broker with a store needs this; without this call nothing
    /// is recorded and no output waits for a commit.
    pub fn record_mutations(&mut self) {
        self.durability.mutations.get_or_insert_default();
    }

    /// Returns the mutations since the last call, in the order in which they were made. The caller makes them durable
    /// between `begin_commit` and `end_commit`.
    ///
    /// Returns an empty list while a publication that makes mutations is delivered in slices. If two commits shared its
    /// mutations, a crash between them would deliver messages of QoS 2 twice: the publisher resends the message,
    /// because it was not acknowledged.
    pub fn take_mutations(&mut self) -> Vec<Mutation> {
        if fan_out::holds_mutations(&self.durability, &self.flow, &self.resources) {
            return Vec::new();
        }
        self.flow.release_fan_outs();
        throttle::backlog(&self.durability, &mut self.flow); // counts the mutations that are taken now
        self.flow.throttle.take_counted();
        self.durability
            .mutations
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Restores the stored state into a new broker. Clients that were connected count as disconnected at `now`: their
    /// wills become due, and the Session Expiry Interval of their sessions begins.
    pub fn restore(&mut self, now: Instant, saved: Snapshot) {
        snapshot::restore(self, now, saved)
    }

    /// Returns the state that a store has when all mutations so far are committed. Deadlines that have passed are
    /// replaced by `now`. The simulation compares this state with its store.
    pub fn save(&self, now: Instant) -> Snapshot {
        snapshot::save(&self.connections, &self.sessions, &self.topics, now)
    }

    /// Returns `true` if mutations were made that `take_mutations` has not returned yet.
    pub fn has_mutations(&self) -> bool {
        self.durability.mutation_count() > 0
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("connections", &self.connections.len())
            .field("clients", &self.sessions.clients.len())
            .finish_non_exhaustive()
    }
}
