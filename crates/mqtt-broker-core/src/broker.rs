//! [`Broker`]: the interface of the core, and the owners of its state.
//!
//! In each turn the caller calls `handle_input` for each connection with bytes, `run_background`, `take_mutations` and
//! `begin_commit`, and then `output` for each connection that `poll_changed` names. The work behind it is in `packets/`
//! (CONNECT, PUBLISH, SUBSCRIBE, the end of a connection) and `routing/` (the way of a message to its subscribers).

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

/// The broker without its sockets: eight owners of state. A function that needs several of them takes each one, so
/// that its signature shows what it reads and changes; only what may need all takes the broker.
pub struct Broker {
    /// The listener policies, and the passwords that wait to be verified.
    pub(crate) auth: Auth,
    /// The connections.
    pub(crate) connections: Connections,
    /// The clients, connected or not.
    pub(crate) sessions: Sessions,
    /// The subscriptions and the retained messages.
    pub(crate) topics: Topics,
    /// The changes that have to survive a crash.
    pub(crate) durability: Durability,
    /// The work of a call, the connections that wait, the work of later calls, and the timers.
    pub(crate) flow: Flow,
    /// The limits, and how much memory and storage is left.
    pub(crate) resources: Resources,
    /// The counters, the log lines, and the dump.
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

    /// Sets the observer that is called for each packet of later connections.
    pub fn observe(&mut self, observer: Observer) {
        self.connections.observer = Some(observer);
    }

    /// Replaces the limits. Open connections keep the limits that were announced to them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.resources.limits = limits;
    }

    /// Sets if the store is full. While the store is full, the broker accepts nothing that must be durable.
    pub fn set_full(&mut self, is_full: bool) {
        self.resources.is_full = is_full;
    }

    /// Sets if the store is larger than it may be. Until it is smaller, no messages, sessions and subscriptions are
    /// accepted that would have to be durable. Unlike with a full disk, sessions that are stored can be resumed, as
    /// the store shrinks when their messages are fetched.
    pub fn set_above_limit(&mut self, is_above_limit: bool) {
        self.resources.is_above_limit = is_above_limit;
    }

    /// Returns the limits that hold now.
    pub fn limits(&self) -> &Limits {
        &self.resources.limits
    }

    /// Returns `true` if the store is larger than it may be, as `set_above_limit` was told last.
    pub fn is_above_limit(&self) -> bool {
        self.resources.is_above_limit
    }

    /// Returns the limiter of log lines, which counts the lines of the caller together with those of the broker.
    pub fn log_limiter(&mut self) -> &mut LogLimiter {
        &mut self.stats.log_limiter
    }

    /// Returns the uncommitted mutations above which connections that make them are throttled.
    pub fn commit_backlog(&self) -> Backlog {
        self.resources.limits.commit_backlog
    }

    /// Returns the units of work that heavy connections may cause together in one turn.
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

    /// Replaces the policies of the listeners, which are in the order of their numbers.
    pub fn set_policies(&mut self, access: Vec<ListenerPolicy>) {
        self.auth.policies.listeners = access;
    }

    /// Adds a connection that the listener of this number has accepted. Its CONNECT must arrive before a timeout.
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
        // Connections share the configuration of the previous one if it is equal: ten thousand of them have one.
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

    /// Sets the name in the certificate of the peer. The caller must do this before the first bytes are handled.
    pub fn identify(&mut self, id: ConnectionId, name: String) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.identity = Some(name.into());
        }
    }

    /// Handles the end of the socket without DISCONNECT.
    pub fn handle_close(&mut self, now: Instant, id: ConnectionId) {
        close::handle_close(self, now, id)
    }

    /// Handles the deadlines that have passed. If there are many, several calls handle them: `poll_timeout` is due
    /// immediately then.
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
                            // Its bytes wait for the broker, so the peer has not missed its keep alive.
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

    /// Returns the time at which `handle_timeout` must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.flow.timers.first(),
            self.stats.log_limiter.poll_timeout(),
            self.flow.throttle.first_backpressure_end(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Returns the next connection that may have bytes to write, or has ended.
    pub fn poll_changed(&mut self) -> Option<ConnectionId> {
        let id = self.connections.changed.pop()?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.is_changed = false;
            connection.count_output(&mut self.stats.counters);
        }
        Some(id)
    }

    /// Removes the first `count` bytes of the output, which were written to the socket.
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

    /// Returns `true` if the connection has ended. The caller closes the socket when the output is written, or cannot
    /// be.
    pub fn has_ended(&self, id: ConnectionId) -> bool {
        self.connections.has_ended(id)
    }

    /// Removes a connection whose socket is closed.
    pub fn remove(&mut self, now: Instant, id: ConnectionId) {
        close::remove(self, now, id)
    }

    /// Ends every connection, because the server shuts down.
    ///
    /// Wills that are stored are published after the next start, if their clients do not come back. Without a store
    /// all wills are published now: the sessions end with the broker.
    pub fn shut_down(&mut self, now: Instant) {
        close::shut_down(self, now)
    }

    /// Ends the connections of clients that the policies do not admit any more.
    pub fn end_unadmitted(&mut self, now: Instant) {
        close::end_unadmitted(self, now)
    }

    /// Returns the number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Ends a connection with this reason code.
    pub fn end_connection(&mut self, now: Instant, id: ConnectionId, reason: ReasonCode) {
        close::end_connection(self, now, id, reason)
    }

    /// Sets the bytes of memory that the process uses. While they are not below the limit, the broker accepts no
    /// messages, new clients and new subscriptions, and keeps serving the clients that it has.
    pub fn set_memory_used(&mut self, bytes: u64) {
        self.resources.memory_used = bytes;
    }

    /// Returns `true` if nothing more is accepted that takes memory.
    pub fn lacks_memory(&self) -> bool {
        self.resources.lacks_memory()
    }

    /// Does the work of one turn that belongs to no connection.
    pub fn run_background(&mut self, now: Instant) {
        backpressure::end_backpressure(self, now);
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_turn);
        background::handle_deferred(self, now);
        fan_out::advance_fan_outs(self, now);
        let fan_outs = self.flow.work.spent();
        self.flow.work = WorkBudget::new(self.resources.limits.work_per_connection);
        background::remove_subscriptions_of_gone(&mut self.topics, &mut self.flow, &mut self.stats);
        self.flow.work.spend(fan_outs);
    }

    /// Returns `true` if `run_background` has something to do now.
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

    /// Sets the number and the bytes of the mutations that were taken with [`Broker::take_mutations`] and are not
    /// durable. Only a caller whose commits may end before they are durable needs this method. The broker counts the
    /// mutations of other commits itself.
    pub fn set_backlog(&mut self, backlog: Backlog) {
        throttle::set_backlog(&mut self.connections, &mut self.flow, backlog)
    }

    /// Returns the next connection that has waited and may resume. Its bytes, if any were left, must be handled again,
    /// and then more may be read.
    pub fn poll_resumable(&mut self) -> Option<ConnectionId> {
        loop {
            let id = self.flow.throttle.resumable.pop_front()?;
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_resumable = false;
                return Some(id);
            }
        }
    }

    /// Returns `true` if the last call did as much work as one connection may cause in one turn.
    pub fn has_spent_budget(&self) -> bool {
        self.flow.work.is_spent()
    }

    /// Returns the units of work that the last call did.
    pub fn work_done(&self) -> usize {
        self.flow.work.spent()
    }

    /// Returns all mutations that are not durable.
    pub fn backlog(&mut self) -> Backlog {
        throttle::backlog(&self.durability, &mut self.flow)
    }

    /// Returns `true` if the mutations must not be taken now: they contain a part of a publication.
    pub fn holds_mutations(&self) -> bool {
        fan_out::holds_mutations(&self.durability, &self.flow, &self.resources)
    }

    /// Publishes a line of the log to its subscribers. The line expires soon in the queue of a client that is not
    /// connected.
    pub fn publish_log_line(&mut self, now: Instant, topic_name: &str, line: String) {
        router::publish_log_line(self, now, topic_name, line)
    }

    /// Begins to log the subscriptions and the retained messages; `poll_dump` continues.
    pub fn begin_dump(&mut self) {
        if self.stats.dump.is_none() {
            log::info!(target: EVENTS, "Subscription tree:");
            self.stats.dump = Some(Dump::Subscriptions(None, Vec::new()));
        }
    }

    /// Logs some of the lines; returns `true` if there are more.
    pub fn poll_dump(&mut self) -> bool {
        dump::poll_dump(&self.sessions, &self.topics, &mut self.stats)
    }

    /// Publishes the values below `$SYS/broker` that have changed.
    pub fn publish_statistics(&mut self, now: Instant) {
        stats::publish_statistics(self, now)
    }

    /// Returns the interval at which the topics below `$SYS` are published; `None` if they are not.
    pub fn statistics_interval(&self) -> Option<Duration> {
        let interval = self.resources.limits.sys_interval;
        (!interval.is_zero()).then_some(interval)
    }

    /// Returns each value of the status with its name, always in the same order. The uptime is in seconds. Rates are
    /// per minute, of the time when the topics were last updated.
    pub fn statistics(&mut self, now: Instant) -> Vec<Value> {
        stats::values(self, now)
    }

    /// Returns the client with the longest queue, and the number of messages in it.
    pub fn longest_queue(&self) -> Option<(&str, usize)> {
        self.sessions.longest_queue()
    }

    /// Returns the next password to verify: the addresses of the peers take turns. The result goes to
    /// [`Broker::handle_checked`]. Until then no packet of the connection is handled.
    pub fn poll_check(&mut self) -> Option<(ConnectionId, PasswordCheck)> {
        connect::poll_check(&mut self.auth, &self.connections)
    }

    /// Handles the result of a password that was verified: accepts the client, or rejects it with this reason code.
    pub fn handle_checked(
        &mut self,
        now: Instant,
        id: ConnectionId,
        result: Result<(), ReasonCode>,
    ) {
        connect::handle_checked(self, now, id, result)
    }

    /// Returns `true` while the password of this connection is verified.
    pub fn is_waiting(&self, id: ConnectionId) -> bool {
        self.connections.is_waiting(id)
    }

    /// Handles whole packets from the front of `input` until no whole packet is left, until the work that one
    /// connection may cause in one turn is done, or until the connection has to wait. The rest of `input` comes again.
    pub fn handle_input(
        &mut self,
        now: Instant,
        id: ConnectionId,
        input: &mut &[u8],
    ) -> InputProgress {
        input::handle_input(self, now, id, input)
    }

    /// Begins the commit of everything that `take_mutations` has returned.
    pub fn begin_commit(&mut self) {
        self.flow.throttle.begin_commit();
        // Some connections still wait if a commit that has failed is tried again.
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

    /// Ends the commit: its mutations are durable, and output that waited for them may be written.
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

    /// Ends these connections because their mutations cannot be stored. Output that waits for the commit is discarded
    /// and replaced by a DISCONNECT with the reason, which does not wait.
    pub fn end_uncommitted(&mut self, now: Instant, ids: &[ConnectionId]) {
        commit_gate::end_uncommitted(self, now, ids)
    }

    /// Returns `true` if output of this connection waits for a commit.
    pub fn awaits_commit(&self, id: ConnectionId) -> bool {
        self.connections.awaits_commit(id)
    }

    /// Returns the connections with output that waits for the commit in progress. Some may have ended.
    pub fn awaiting_commit(&self) -> &[ConnectionId] {
        &self.durability.waiters.committing
    }

    /// Returns the bytes to write to this connection next: those that wait for no commit.
    pub fn output(&self, id: ConnectionId) -> &[u8] {
        self.connections.output(id)
    }

    /// Returns all bytes to write to this connection, with those that wait for a commit.
    pub fn whole_output(&self, id: ConnectionId) -> &[u8] {
        self.connections.whole_output(id)
    }

    /// Records mutations from now on, for `take_mutations`.
    pub fn record_mutations(&mut self) {
        self.durability.mutations.get_or_insert_default();
    }

    /// Returns the changes since the last call. The caller makes them durable between `begin_commit` and
    /// `end_commit`.
    ///
    /// Returns none while a publication is delivered in slices: a crash between two commits of its mutations would
    /// deliver messages of QoS 2 twice, since the publisher resends messages that were not acknowledged.
    pub fn take_mutations(&mut self) -> Vec<Mutation> {
        if fan_out::holds_mutations(&self.durability, &self.flow, &self.resources) {
            return Vec::new();
        }
        self.flow.release_fan_outs();
        throttle::backlog(&self.durability, &mut self.flow); // counts them
        self.flow.throttle.take_counted();
        self.durability
            .mutations
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Restores the stored state. Clients that were connected count as disconnected now: their wills become due, and
    /// their sessions begin to expire.
    pub fn restore(&mut self, now: Instant, saved: Snapshot) {
        snapshot::restore(self, now, saved)
    }

    /// Returns the sum of all mutations so far, which the store has when they are committed. Times that have passed are
    /// `now`.
    pub fn save(&self, now: Instant) -> Snapshot {
        snapshot::save(&self.connections, &self.sessions, &self.topics, now)
    }

    /// Returns `true` if there are changes that `take_mutations` has not returned yet.
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
