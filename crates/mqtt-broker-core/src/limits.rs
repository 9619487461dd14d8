//! The limits of the broker and of each listener. The names of directives are those of mosquitto's configuration.

use std::time::Duration;

use mqtt_codec::{ProtocolVersion, QoS};

/// Limits that each listener may have for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `max_connections`: maximum number of connections. Further ones are closed immediately.
    pub maximum_connections: Option<usize>,
    /// `max_qos`: the highest QoS that clients may use.
    pub maximum_qos: Option<QoS>,
    /// `max_topic_alias`: topic aliases that a client of 5.0 may use.
    pub topic_alias_maximum: Option<u16>,
    /// `max_topic_alias_broker`: topic aliases used towards a client of 5.0, if it takes as many.
    pub topic_aliases: Option<u16>,
    /// `accept_protocol_versions`: all if `None`.
    pub versions: Option<Vec<ProtocolVersion>>,
}

/// Limits of the broker, by default mosquitto's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `max_packet_size`: the largest packet in bytes.
    pub maximum_packet_size: u32,
    /// `message_size_limit`: the largest payload in bytes; larger messages are not passed on.
    pub maximum_payload: usize,
    /// `max_inflight_messages`, as CONNACK announces it in 5.0: messages of QoS 1 and 2 that a client
    /// may send at a time.
    pub receive_maximum: u16,
    /// `max_inflight_messages`: messages of QoS 1 and 2 that are sent to a client at a time.
    pub maximum_in_flight: u16,
    /// `max_inflight_bytes`: bytes of such messages; one message always goes.
    pub maximum_in_flight_bytes: usize,
    /// Topic aliases that a client of 5.0 may use, where its listener does not say otherwise.
    pub topic_alias_maximum: u16,
    /// Topic aliases used towards a client of 5.0, if it takes as many.
    pub topic_aliases: u16,
    /// `max_queued_messages`: messages of QoS 1 and 2 that wait for a client. The newest are dropped.
    pub maximum_queued: usize,
    /// `max_queued_bytes`: the memory that such messages take.
    pub maximum_queued_bytes: usize,
    /// `max_retained_messages`: topics that may have a retained message.
    pub maximum_retained: usize,
    /// `max_retained_bytes`: the memory that they take.
    pub maximum_retained_bytes: usize,
    /// `max_store_bytes`: the size of the store in bytes from which nothing more is taken that would be stored.
    pub maximum_store_bytes: u64,
    /// `memory_limit`: the bytes of memory from which no messages and new clients are accepted.
    pub maximum_memory: Option<u64>,
    /// `retain_expiry_interval`: how often retained messages that have expired are looked for; never if
    /// zero. No one gets them in any case.
    pub retained_sweep: Duration,
    /// `max_keepalive`: the longest keep alive in seconds.
    pub maximum_keep_alive: Option<u16>,
    /// `global_max_connections`: connections at a time.
    pub maximum_connections: Option<usize>,
    /// `global_max_clients`: clients that are connected or have a session.
    pub maximum_clients: Option<usize>,
    /// `persistent_client_expiration`: how long a session without end is kept without a connection.
    pub longest_session: Option<Duration>,
    /// `retain_available`: whether messages are retained.
    pub retain_available: bool,
    /// `check_retain_source`: whether a retained message is only sent on while its publisher may publish
    /// to its topic.
    pub check_retain_source: bool,
    /// `allow_duplicate_messages`: whether overlapping subscriptions of a client get a message each.
    pub allow_duplicates: bool,
    /// `queue_qos0_messages`: whether messages of QoS 0 wait for clients that are away.
    pub queue_qos_0: bool,
    /// `upgrade_outgoing_qos`: whether messages are sent with the QoS of the subscription, also if that
    /// is higher than theirs.
    pub upgrade_qos: bool,
    /// `sys_interval`: how often the topics below `$SYS` are renewed; never if zero.
    pub sys_interval: Duration,
    /// Units of work that one connection may cause in one turn.
    pub work_per_connection: usize,
    /// Units of work in one turn for all connections that spend their own budget.
    pub work_per_turn: usize,
    /// Bytes of output that may wait for a peer. One message more may be added to less than that.
    pub maximum_unwritten: usize,
    /// Uncommitted mutations above which connections that made some of them are throttled.
    pub commit_backlog: Backlog,
    /// Uncommitted mutations above which nothing is handled that can make more.
    pub maximum_commit_backlog: Backlog,
}

/// An amount of mutations that wait for a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Their number.
    pub mutations: usize,
    /// The bytes of their payloads.
    pub bytes: usize,
}

impl Backlog {
    /// Returns `true` if one of the two numbers has reached that of `limit`.
    pub fn reaches(self, limit: Self) -> bool {
        self.mutations >= limit.mutations || self.bytes >= limit.bytes
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maximum_packet_size: 2_000_000,
            maximum_payload: usize::MAX,
            receive_maximum: 20,
            maximum_in_flight: 20,
            maximum_in_flight_bytes: usize::MAX,
            topic_alias_maximum: 10,
            topic_aliases: 10,
            maximum_queued: 1000,
            maximum_queued_bytes: usize::MAX,
            maximum_retained: 1_000_000,
            maximum_retained_bytes: 256 * 1024 * 1024,
            maximum_store_bytes: u64::MAX,
            maximum_memory: None,
            retained_sweep: Duration::from_secs(60 * 60),
            maximum_keep_alive: None,
            maximum_connections: None,
            maximum_clients: None,
            longest_session: None,
            retain_available: true,
            check_retain_source: true,
            allow_duplicates: false,
            queue_qos_0: false,
            upgrade_qos: false,
            sys_interval: Duration::from_secs(10),
            work_per_connection: 2000,
            work_per_turn: 8000,
            maximum_unwritten: 1024 * 1024,
            // Enough for one commit to be worth its sync, and few enough that it takes well below a second.
            commit_backlog: Backlog {
                mutations: 20_000,
                bytes: 16 * 1024 * 1024,
            },
            maximum_commit_backlog: Backlog {
                mutations: 80_000,
                bytes: 64 * 1024 * 1024,
            },
        }
    }
}
