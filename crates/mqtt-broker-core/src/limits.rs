//! The limits of the broker and of each listener, as numbers. The code that handles the packets enforces them.
//!
//! The comment of a field names its directive in the configuration file, if the field has one. Most directives have
//! the names of mosquitto's configuration.

use std::time::Duration;

use mqtt_codec::{ProtocolVersion, QoS};

/// Limits of one listener. `None` means no limit, or the limit of the broker in [`Limits`] if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `max_connections`: maximum number of connections. The broker closes further connections immediately.
    pub maximum_connections: Option<usize>,
    /// `max_qos`: the highest QoS that clients may use.
    pub maximum_qos: Option<QoS>,
    /// `max_topic_alias`: maximum number of topic aliases that a client of 5.0 may use.
    pub topic_alias_maximum: Option<u16>,
    /// `max_topic_alias_broker`: maximum number of topic aliases that the broker uses towards a client of 5.0. The
    /// Topic Alias Maximum of the client may lower the number.
    pub topic_aliases: Option<u16>,
    /// `accept_protocol_versions`: the protocol versions that clients may use. `None` means all.
    pub versions: Option<Vec<ProtocolVersion>>,
}

/// Limits of the broker. The defaults of directives that mosquitto has are those of mosquitto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `max_packet_size`: the largest packet in bytes.
    pub maximum_packet_size: u32,
    /// `message_size_limit`: the largest payload in bytes. The broker does not deliver larger messages.
    pub maximum_payload: usize,
    /// `max_inflight_messages`: maximum number of messages of QoS 1 and 2 in flight from a client. CONNACK of 5.0
    /// announces this number as Receive Maximum.
    pub receive_maximum: u16,
    /// `max_inflight_messages`: maximum number of messages of QoS 1 and 2 in flight to a client.
    pub maximum_in_flight: u16,
    /// `max_inflight_bytes`: bytes of messages of QoS 1 and 2 in flight to a client. The broker sends a message as long
    /// as fewer bytes are in flight, so that a message larger than the limit is sent alone.
    pub maximum_in_flight_bytes: usize,
    /// Maximum number of topic aliases that a client of 5.0 may use, if its listener has no limit of its own.
    pub topic_alias_maximum: u16,
    /// Maximum number of topic aliases that the broker uses towards a client of 5.0, if its listener has no limit of
    /// its own.
    pub topic_aliases: u16,
    /// `max_queued_messages`: maximum number of messages in the queue of a client. If the queue is full, the broker
    /// drops the newest message.
    pub maximum_queued: usize,
    /// `max_queued_bytes`: maximum memory in bytes of the messages in the queue of a client.
    pub maximum_queued_bytes: usize,
    /// `max_retained_messages`: maximum number of retained messages.
    pub maximum_retained: usize,
    /// `max_retained_bytes`: maximum memory in bytes of all retained messages.
    pub maximum_retained_bytes: usize,
    /// `max_store_bytes`: maximum size of the store in bytes. Above it the broker accepts nothing that it must store.
    pub maximum_store_bytes: u64,
    /// `memory_limit`: maximum memory of the process in bytes. If it is reached, the broker accepts no messages and no
    /// new clients.
    pub maximum_memory: Option<u64>,
    /// `retain_expiry_interval`: the interval at which the broker removes expired retained messages; zero means never.
    /// Clients do not receive expired messages, whatever this interval is.
    pub retained_sweep: Duration,
    /// `max_keepalive`: the longest keep alive in seconds.
    pub maximum_keep_alive: Option<u16>,
    /// `global_max_connections`: maximum number of connections of all listeners together.
    pub maximum_connections: Option<usize>,
    /// `global_max_clients`: maximum number of clients that are connected or have a session.
    pub maximum_clients: Option<usize>,
    /// `persistent_client_expiration`: the longest time for which a session outlives its connection. A longer Session
    /// Expiry Interval is reduced to this time.
    pub longest_session: Option<Duration>,
    /// `retain_available`: `true` if the broker accepts messages with RETAIN set.
    pub retain_available: bool,
    /// `check_retain_source`: `true` if the broker sends a retained message only while its publisher may still publish
    /// to the topic.
    pub check_retain_source: bool,
    /// `allow_duplicate_messages`: `true` if a client gets a message once for each of its subscriptions that match.
    pub allow_duplicates: bool,
    /// `queue_qos0_messages`: `true` if the broker queues messages of QoS 0 for clients that are not connected.
    pub queue_qos_0: bool,
    /// `upgrade_outgoing_qos`: `true` if the broker sends messages with the QoS of the subscription even if the QoS of
    /// the message is lower.
    pub upgrade_qos: bool,
    /// `sys_interval`: the interval at which the broker publishes the topics below `$SYS`; zero means never.
    pub sys_interval: Duration,
    /// Maximum units of work that one connection may cause in one turn. A unit takes about a microsecond.
    pub work_per_connection: usize,
    /// Maximum units of work in one turn for all connections together that spent their own budget in their last turn.
    pub work_per_turn: usize,
    /// Bytes of unwritten output of one connection at which the broker adds no more messages. The output may exceed
    /// this number by one message.
    pub maximum_unwritten: usize,
    /// The soft limit of uncommitted mutations. If it is reached, the broker throttles the connections that made these
    /// mutations.
    pub commit_backlog: Backlog,
    /// The hard limit of uncommitted mutations. If it is reached, the broker handles no packet that can make mutations.
    pub maximum_commit_backlog: Backlog,
}

/// An amount of mutations that wait for a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of mutations.
    pub mutations: usize,
    /// The bytes of the payloads in these mutations.
    pub bytes: usize,
}

impl Backlog {
    /// Returns `true` if the number of mutations or the number of bytes has reached that of `limit`.
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
            // One connection may take 2 ms of a turn, and all connections that spent this budget in their last turn 8
            // ms. A PINGREQ of another client then waits for some milliseconds only.
            work_per_connection: 2000,
            work_per_turn: 8000,
            maximum_unwritten: 1024 * 1024,
            // The number is large enough that the sync takes a small part of the time of a commit, and small enough
            // that a commit takes well below a second.
            commit_backlog: Backlog {
                mutations: 20_000,
                bytes: 16 * 1024 * 1024,
            },
            // The hard limit is four times the soft limit, so that a few fast publishers do not make the broker
            // throttle the others too.
            maximum_commit_backlog: Backlog {
                mutations: 80_000,
                bytes: 64 * 1024 * 1024,
            },
        }
    }
}
