//! [`Broker`]: the state of the core. The methods that a turn needs are in `interface/`, and the settings are here.
//!
//! In each turn the caller calls `handle_input` for each connection with bytes, `run_background`, `take_mutations` and
//! `begin_commit`, and then `output` for each connection that `poll_changed` returns. When the mutations are durable,
//! the caller calls `end_commit`. Most methods only delegate: `packets/` handles the packets of clients, `routing/`
//! brings messages to their subscribers, and `lifecycle/` ends connections and sessions.

use std::time::Duration;

use mqtt_session::Observer;

use crate::auth::policy::ListenerPolicy;
use crate::auth::state::Auth;
use crate::connection::Connections;
use crate::durability::state::Durability;
use crate::flow::state::Flow;
use crate::limits::{Backlog, Limits};
use crate::log_lines::limiter::LogLimiter;
use crate::resources::Resources;
use crate::sessions::state::Sessions;
use crate::stats::state::Stats;
use crate::topics::state::Topics;

/// The broker without its sockets. Each field owns one part of the state. A function takes the fields that it needs as
/// arguments, so that its signature shows what it reads and changes. Only a function that may need all of them takes
/// the broker.
pub struct Broker {
    /// The listener policies, and the passwords that wait for their check.
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

    /// Informs the broker that the disk of the store is full, or has room again. While the disk is full, the broker
    /// accepts nothing that must be durable.
    pub fn set_store_full(&mut self, is_full: bool) {
        self.resources.is_store_full = is_full;
    }

    /// Informs the broker that the store is larger than `max_store_bytes`, or is below it again. While the store is
    /// larger, the broker accepts no messages, sessions and subscriptions that must be durable. Clients can resume
    /// sessions that are stored, unlike with a full disk: the store shrinks when these clients receive their messages.
    pub fn set_store_above_limit(&mut self, is_store_above_limit: bool) {
        self.resources.is_store_above_limit = is_store_above_limit;
    }

    /// Returns the current limits.
    pub fn limits(&self) -> &Limits {
        &self.resources.limits
    }

    /// Returns the value of the last call of [`Broker::set_store_above_limit`].
    pub fn is_store_above_limit(&self) -> bool {
        self.resources.is_store_above_limit
    }

    /// Returns the limiter of log lines. The caller and the broker share it, so that one peer has one limit for both.
    pub fn log_limiter(&mut self) -> &mut LogLimiter {
        &mut self.stats.log_limiter
    }

    /// Returns the soft limit of uncommitted mutations. If it is reached, the broker throttles the connections that
    /// made these mutations.
    pub fn commit_backlog(&self) -> Backlog {
        self.resources.limits.commit_backlog
    }

    /// Returns the maximum units of work in one turn for all connections together that spent their own budget in their
    /// last turn.
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

    /// Returns the number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Sets the bytes of memory that the process uses. While this number is not below `memory_limit`, the broker
    /// rejects messages, new clients and new subscriptions. It still delivers queued messages to existing clients.
    pub fn set_memory_used(&mut self, bytes: u64) {
        self.resources.memory_used = bytes;
    }

    /// Returns `true` if the process has reached `memory_limit`.
    pub fn is_memory_exhausted(&self) -> bool {
        self.resources.is_memory_exhausted()
    }

    /// Returns `true` if the last call spent its whole work budget.
    pub fn has_spent_budget(&self) -> bool {
        self.flow.work.is_spent()
    }

    /// Returns the units of work that the last call did.
    pub fn work_done(&self) -> usize {
        self.flow.work.spent()
    }

    /// Returns the interval at which the topics below `$SYS` are published, or `None` if `sys_interval` is zero.
    pub fn statistics_interval(&self) -> Option<Duration> {
        let interval = self.resources.limits.sys_interval;
        (!interval.is_zero()).then_some(interval)
    }

    /// Returns the identifier of the client with the longest queue, and the number of messages in that queue.
    pub fn longest_queue(&self) -> Option<(&str, usize)> {
        self.sessions.longest_queue()
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
