//! [`Broker`]: connections, their events, and their end.
//!
//! Bytes come in by `input.rs`, CONNECT is in `connect.rs`, SUBSCRIBE in `subscribe.rs`, a message's way in
//! `publish.rs`, `router.rs` and `delivery.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Disconnect, PacketType, ReasonCode, Role};
use mqtt_session::{CloseReason, Config, Connection, Event, Excerpt, Observer};

use slotmap::SlotMap;

use crate::auth::check_queue::{CheckQueue, PeerGroup};
use crate::auth::policy::ListenerPolicies;
use crate::connection::{ConnectionId, ConnectionState};
use crate::durability::commit_gate::CommitWaiters;
use crate::durability::mutation::Mutation;
use crate::flow::background::Background;
use crate::flow::throttle::Throttle;
use crate::flow::work::WorkBudget;
use crate::log_lines::limiter::{LogEvent, LogLimiter};
use crate::log_lines::words::{ENDED_BY_BROKER, Ending};
use crate::routing::fan_out::FanOuts;
use crate::sessions::client::{Client, ClientKey, Expiry, Stored};
use crate::stats::Statistics;
use crate::stats::dump::Dump;
use crate::timers::Timers;
use crate::topics::retained::RetainedMessages;
use crate::topics::subscriptions::{Subscriber, Subscribers};
use crate::topics::tree::TopicTree;
use crate::{Backlog, CONNECTIONS, InputProgress, Limits, ListenerPolicy};

/// The broker without its sockets.
pub struct Broker {
    pub(crate) limits: Limits,
    /// The rules of the listeners.
    pub(crate) policies: ListenerPolicies,
    /// Passwords that are to be checked.
    pub(crate) checks: CheckQueue,
    /// Who is shown each packet.
    observer: Option<Observer>,
    /// The limits of the newest connection.
    config: Option<Arc<Config>>,
    pub(crate) connections: SlotMap<ConnectionId, ConnectionState>,
    pub(crate) clients: SlotMap<ClientKey, Client>,
    pub(crate) by_identifier: BTreeMap<Arc<str>, ClientKey>,
    /// Whether there is no room to make more changes durable.
    pub(crate) is_full: bool,
    /// Set while the store is larger than it may be.
    pub(crate) is_above_limit: bool,
    /// Bytes of memory that the process uses, as they were measured last.
    pub(crate) memory_used: u64,
    /// What has changed and is not durable yet, if that is wanted.
    pub(crate) mutations: Option<Vec<Mutation>>,
    /// Connections whose output waits for a commit.
    pub(crate) commit_waiters: CommitWaiters,
    pub(crate) subscriptions: TopicTree<Subscribers>,
    pub(crate) retained: RetainedMessages,
    pub(crate) timers: Timers<TimerKey>,
    /// The client with the longest queue of those that were filled by what was handled last.
    pub(crate) congested: Option<(usize, ClientKey)>,
    /// Connections that may have bytes to write, or have ended.
    pub(crate) changed: Vec<ConnectionId>,
    pub(crate) random: Box<dyn FnMut() -> u128 + Send>,
    /// Used again by each message.
    pub(crate) matched: Vec<Subscriber>,
    pub(crate) statistics: Statistics,
    pub(crate) log_limiter: LogLimiter,
    /// The progress of the dump of subscriptions and retained messages, if an administrator has asked for one.
    pub(crate) dump: Option<Dump>,
    /// The work of this call.
    pub(crate) work: WorkBudget,
    pub(crate) throttle: Throttle,
    pub(crate) fan_outs: FanOuts,
    pub(crate) background: Background,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    Connection(ConnectionId),
    Client(ClientKey),
    /// Retained messages that have expired are removed.
    Retained,
}

impl Broker {
    /// A broker without clients, which lets everyone in. `random` is used for the identifiers it chooses.
    pub fn new(limits: Limits, random: Box<dyn FnMut() -> u128 + Send>) -> Self {
        Self {
            limits,
            policies: ListenerPolicies::default(),
            checks: CheckQueue::default(),
            observer: None,
            config: None,
            connections: SlotMap::with_key(),
            clients: SlotMap::with_key(),
            by_identifier: BTreeMap::new(),
            commit_waiters: CommitWaiters::default(),
            is_full: false,
            is_above_limit: false,
            memory_used: 0,
            mutations: None,
            subscriptions: TopicTree::default(),
            retained: RetainedMessages::default(),
            timers: Timers::new(),
            congested: None,
            changed: Vec::new(),
            random,
            matched: Vec::new(),
            statistics: Statistics::default(),
            log_limiter: LogLimiter::default(),
            dump: None,
            work: WorkBudget::new(usize::MAX),
            throttle: Throttle::default(),
            fan_outs: FanOuts::default(),
            background: Background::default(),
        }
    }

    /// From now on each packet of new connections is shown to this observer.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// From now on these limits hold. Connections that are open keep those that they were told.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Sets if the store is full. While it is, the broker accepts nothing that must be durable.
    pub fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Sets if the store is larger than it may be. Until it is smaller, no messages, sessions and subscriptions are
    /// accepted that would have to be durable. Unlike with a full disk, sessions that are stored can be resumed, as
    /// the store shrinks when their messages are fetched.
    pub fn set_above_limit(&mut self, is_above_limit: bool) {
        self.is_above_limit = is_above_limit;
    }

    /// Returns the limits that hold now.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns `true` if the store is larger than it may be, as `set_above_limit` was told last.
    pub fn is_above_limit(&self) -> bool {
        self.is_above_limit
    }

    /// Returns the limiter of log lines, which counts the lines of the caller together with those of the broker.
    pub fn log_limiter(&mut self) -> &mut LogLimiter {
        &mut self.log_limiter
    }

    /// Returns `true` if nothing more is accepted that would have to be durable.
    pub(crate) fn lacks_storage(&self) -> bool {
        self.is_full || self.is_above_limit
    }

    /// The uncommitted mutations above which connections that make them are throttled.
    pub fn commit_backlog(&self) -> Backlog {
        self.limits.commit_backlog
    }

    /// The units of work that heavy connections may cause together in one turn.
    pub fn work_per_turn(&self) -> usize {
        self.limits.work_per_turn
    }

    /// How many connections a listener takes at a time, if that is limited.
    pub fn maximum_connections(&self, listener: u32) -> Option<usize> {
        self.policy(listener).limits.maximum_connections
    }

    /// How many all of them take.
    pub fn maximum_connections_of_all(&self) -> Option<usize> {
        self.limits.maximum_connections
    }

    /// From now on these are the rules of the listeners, in their order.
    pub fn set_policies(&mut self, access: Vec<ListenerPolicy>) {
        self.policies.listeners = access;
    }

    /// The rules of a listener.
    pub(crate) fn policy(&self, listener: u32) -> &ListenerPolicy {
        self.policies.of(listener)
    }

    /// A peer has connected, to the listener of this number. Its CONNECT has to come in time.
    pub fn open(&mut self, now: Instant, peer: String, listener: u32) -> ConnectionId {
        let limits = &self.policy(listener).limits;
        let config = Config {
            maximum_packet_size: self.limits.maximum_packet_size,
            receive_maximum: self.limits.receive_maximum,
            maximum_in_flight: self.limits.maximum_in_flight,
            topic_alias_maximum: limits
                .topic_alias_maximum
                .unwrap_or(self.limits.topic_alias_maximum),
            topic_aliases: limits.topic_aliases.unwrap_or(self.limits.topic_aliases),
            maximum_unwritten: self.limits.maximum_unwritten,
            records_changes: self.mutations.is_some(),
            observer: self.observer.clone(),
            ..Config::default()
        };
        // Connections of a listener share it, until it is another one.
        if self.config.as_deref() != Some(&config) {
            self.config = None;
        }
        let config = Arc::clone(self.config.get_or_insert_with(|| Arc::new(config)));
        let id = self.connections.insert(ConnectionState {
            protocol: Connection::server(config, now),
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
        });
        self.statistics.sockets += 1;
        self.schedule_connection(id);
        id
    }

    /// Who is at the other end, for people.
    pub fn peer(&self, id: ConnectionId) -> &str {
        self.connections
            .get(id)
            .map_or("", |connection| &connection.peer)
    }

    /// The peer has shown a certificate with this name. Before its first bytes.
    pub fn identify(&mut self, id: ConnectionId, name: String) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.identity = Some(name.into());
        }
    }

    /// The socket is gone, without DISCONNECT.
    pub fn handle_close(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.protocol.handle_close();
            self.work = WorkBudget::new(self.limits.work_per_connection);
            self.handle_pending(now, id);
        }
    }

    /// Time has passed. Many deadlines at once are handled in several calls: `poll_timeout` is due immediately then.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.log_limiter.handle_timeout(now);
        self.work = WorkBudget::new(self.limits.work_per_connection);
        while let Some(key) = self.next_timer(now) {
            self.work.spend(1);
            match key {
                TimerKey::Connection(id) => {
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.scheduled = None;
                        if connection.is_unread() {
                            // Its bytes wait for the broker: it has no keep alive to miss.
                            connection.protocol.handle_unread(now);
                        }
                        connection.protocol.handle_timeout(now);
                        self.handle_pending(now, id);
                    }
                }
                TimerKey::Retained => self.sweep_retained(now),
                TimerKey::Client(key) => {
                    if let Some(client) = self.clients.get_mut(key) {
                        client.scheduled = None;
                        self.handle_client_timeout(now, key);
                    }
                }
            }
        }
        self.end_backpressure(now);
    }

    fn next_timer(&mut self, now: Instant) -> Option<TimerKey> {
        match self.work.is_spent() {
            true => None,
            false => self.timers.pop(now),
        }
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.timers.first(),
            self.log_limiter.poll_timeout(),
            self.throttle.first_backpressure_end(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The next connection that may have bytes to write, or has ended.
    pub fn poll_changed(&mut self) -> Option<ConnectionId> {
        let id = self.changed.pop()?;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.is_changed = false;
            connection.count_output(&mut self.statistics);
        }
        Some(id)
    }

    /// The first `count` bytes of its output were written.
    pub fn consume_output(&mut self, now: Instant, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.statistics.bytes_sent += count as u64;
            connection.protocol.consume_output(now, count);
            if let Some(commit_gate) = &mut connection.commit_gate {
                commit_gate.wrote(count);
            }
            connection.count_output(&mut self.statistics);
            if let Some(key) = connection.client {
                self.send_queue(now, key);
            }
            if count > 0 {
                self.note_changes(id);
                self.note_written(id);
            }
        }
    }

    /// Returns `true` if the connection has ended. The caller closes the socket when the output is written, or cannot
    /// be.
    pub fn has_ended(&self, id: ConnectionId) -> bool {
        self.connections
            .get(id)
            .is_none_or(|connection| connection.protocol.has_ended())
    }

    /// The socket is closed, and nobody will ask for this connection again.
    pub fn remove(&mut self, now: Instant, id: ConnectionId) {
        self.handle_close(now, id);
        if let Some(connection) = self.connections.remove(id) {
            self.timers
                .cancel(TimerKey::Connection(id), connection.scheduled);
            self.statistics.gone += connection.protocol.traffic();
            self.statistics.count_output(connection.counted_output, 0);
        }
    }

    /// Ends every connection: the server shuts down.
    ///
    /// Wills that are stored are published after the next start, if their clients do not come back. Without a store
    /// all wills are published now: the sessions end with the broker.
    pub fn shut_down(&mut self, now: Instant) {
        self.log_limiter.finish();
        if self.mutations.is_none() {
            self.publish_all_wills(now);
        }
        let ids: Vec<_> = self.connections.keys().collect();
        for id in ids {
            if let Some(connection) = self.connections.get_mut(id) {
                connection
                    .protocol
                    .disconnect(now, Disconnect::new(ReasonCode::ServerShuttingDown));
                self.mark_changed(id);
            }
        }
    }

    fn publish_all_wills(&mut self, now: Instant) {
        let keys: Vec<_> = self.by_identifier.values().copied().collect();
        for key in keys {
            let client = self.clients.get_mut(key);
            if let Some(will) = client.and_then(|client| client.will.take()) {
                self.publish_will(now, key, &will);
            }
        }
    }

    /// Ends the connections of clients that would not be let in any more.
    pub fn end_unadmitted(&mut self, now: Instant) {
        let is_out = |connection: &ConnectionState| {
            let client = connection.client.and_then(|key| self.clients.get(key));
            client.is_some_and(|client| !self.policy(connection.listener).knows(&client.principal))
        };
        let connections = self.connections.iter();
        let out: Vec<_> = connections
            .filter(|(_, connection)| is_out(connection))
            .map(|(id, _)| id)
            .collect();
        for id in out {
            self.end_connection(now, id, ReasonCode::NotAuthorized);
        }
    }

    /// Returns the number of connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn handle_event(&mut self, now: Instant, id: ConnectionId, event: Event<'_>) {
        let client = self
            .connections
            .get(id)
            .and_then(|connection| connection.client);
        match (event, client) {
            (Event::Connect(connect), _) => self.handle_connect(now, id, *connect),
            (Event::Closed(reason), _) => self.handle_closed(now, id, &reason),
            (Event::Message(received), Some(key)) => {
                self.handle_message(now, id, key, &received.publish());
            }
            (Event::Delivered { .. }, Some(key)) => {
                self.send_queue(now, key);
            }
            (Event::Subscribe(subscribe), Some(key)) => {
                self.handle_subscribe(now, id, key, subscribe);
            }
            (Event::Unsubscribe(unsubscribe), Some(key)) => {
                self.handle_unsubscribe(now, id, key, unsubscribe);
            }
            _ => {} // events of a client's end
        }
    }

    /// Ends a connection for a reason of the broker's.
    pub fn end_connection(&mut self, now: Instant, id: ConnectionId, reason: ReasonCode) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        debug_assert!(reason.is_allowed(PacketType::Disconnect, Role::Server));
        connection.protocol.disconnect(now, Disconnect::new(reason));
        self.mark_changed(id);
        self.handle_closed(now, id, &CloseReason::Protocol(reason, ENDED_BY_BROKER));
    }

    /// The connection has ended, whoever ended it: what becomes of session and will.
    pub(crate) fn handle_closed(&mut self, now: Instant, id: ConnectionId, reason: &CloseReason) {
        self.note_changes(id);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.waiting.take().is_some() {
            // No hash is made for a connection that is gone. The answer of one in progress finds nothing.
            self.checks.remove(PeerGroup::of(&connection.peer), id);
        }
        connection.task = None;
        if std::mem::take(&mut connection.is_publishing) {
            self.forget_unbegun(id);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(key) = connection.client.take() else {
            if self
                .log_limiter
                .admits_from(now, LogEvent::Disconnected, &connection.peer)
            {
                log::info!(target: CONNECTIONS, "Client <unknown> [{}] disconnected{}.", connection.peer, Ending(reason));
            }
            return;
        };
        self.statistics.connected -= 1;
        let session = connection.protocol.take_session();
        let peer = &connection.peer;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if self
            .log_limiter
            .admits_from(now, LogEvent::Disconnected, peer)
        {
            let name = Excerpt(&client.identifier);
            log::info!(target: CONNECTIONS, "Client {name} [{peer}] disconnected{}.", Ending(reason));
        }
        client.connection = None;
        client.session = Some(Box::new(session));
        if let CloseReason::Disconnected(disconnect) = reason {
            if disconnect.reason_code == ReasonCode::Success {
                client.will = None; // [MQTT-3.14.4-3]
            }
            match disconnect.properties.session_expiry_interval {
                // MQTT 5.0, 3.14.2.2.2: a session that ends with its connection cannot be kept.
                Some(seconds) if client.expiry != Expiry::WithConnection => {
                    let longest = self.limits.longest_session;
                    client.expiry = Expiry::of_interval(seconds).at_most(longest);
                }
                _ => {}
            }
        }
        self.client_is_gone(now, key);
    }

    /// Starts the times of will and session, or ends them at once.
    pub(crate) fn client_is_gone(&mut self, now: Instant, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        client.session_ends = match client.expiry {
            Expiry::WithConnection => Some(now),
            Expiry::After(time) => Some(now + time),
            Expiry::Never => None,
        };
        client.will_due = client.will.as_ref().map(|will| {
            let delay = will.will_delay_interval.unwrap_or(0);
            now + std::time::Duration::from_secs(delay.into())
        });
        self.note_client(key);
        self.handle_client_timeout(now, key);
    }

    /// Publishes the will and ends the session, if their time has come; else waits for it. A will that makes mutations waits
    /// while the store is behind.
    pub(crate) fn handle_client_timeout(&mut self, now: Instant, key: ClientKey) {
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        let client = self.clients.get(key);
        let has_will_to_publish = client.is_some_and(|client| {
            client.will_due.is_some() && (is_due(client.will_due) || is_due(client.session_ends))
        });
        if !(has_will_to_publish && self.defer(key)) {
            self.end_times(now, key);
        }
    }

    /// As `handle_client_timeout`, for a caller that cannot wait.
    pub(crate) fn end_times(&mut self, now: Instant, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        let is_due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        let session_has_ended = is_due(client.session_ends);
        let has_expired = client.expiry != Expiry::WithConnection;
        if is_due(client.will_due) || session_has_ended && client.will_due.is_some() {
            client.will_due = None;
            if let Some(will) = client.will.take() {
                self.publish_will(now, key, &will); // [MQTT-3.1.2-8, MQTT-3.1.3-9]
                self.note_client(key);
            }
        }
        if session_has_ended {
            self.statistics.expired += u64::from(has_expired);
            self.remove_client(now, key);
            return;
        }
        let mut resumes = false;
        if let Some(client) = self.clients.get_mut(key) {
            resumes = client.resumes.take().is_some();
            let deadline = client.deadline();
            self.timers
                .schedule(TimerKey::Client(key), deadline, &mut client.scheduled);
        }
        if resumes {
            self.send_queue(now, key);
        }
    }

    /// Ends a session: its subscriptions and waiting messages are gone, but for those of shared subscriptions.
    fn remove_client(&mut self, now: Instant, key: ClientKey) {
        if let Some(mut client) = self.clients.remove(key) {
            self.timers.cancel(TimerKey::Client(key), client.scheduled);
            self.by_identifier.remove(&client.identifier);
            self.statistics.count_queue(client.queue.totals(), (0, 0));
            self.remove_subscriptions(key, &mut client);
            if client.stored > Stored::Nothing {
                self.note_gone(Arc::clone(&client.identifier));
            }
            self.redistribute(now, client);
        }
    }

    pub(crate) fn mark_changed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.mark_changed(id, &mut self.changed);
        }
    }

    pub(crate) fn schedule_connection(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            let deadline = connection.protocol.poll_timeout();
            self.timers.schedule(
                TimerKey::Connection(id),
                deadline,
                &mut connection.scheduled,
            );
        }
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("connections", &self.connections.len())
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}
