//! mosquitto's configuration language: one `name value` for each line, `#` at its start makes it a comment. What the lines add up to is here; the lines themselves are in `directives.rs`, how
//! files are read in `reader.rs`, and what mosquitto has and this broker has not in `refused.rs`.
//!
//! What cannot be done is refused with its place, not passed over: a line that has no effect could be the
//! one that protects something.

mod closest_name;
mod directives;
mod reader;
mod refused;
#[cfg(test)]
mod tests;

pub use closest_name::closest_name;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use mqtt_codec::{ProtocolVersion, QoS};
use mqtt_transport::TlsServerOptions;

use crate::{IdentitySource, SyncPolicy};

/// The configuration of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; empty if the configuration does not say.
    pub listeners: Vec<ListenerSettings>,
    /// Security of all listeners that have no settings of their own.
    pub security: SecuritySettings,
    /// `per_listener_settings`: lines about security belong to the listener above them.
    pub per_listener: bool,
    /// Limits of all listeners.
    pub limits: Limits,
    /// Limits of listeners that do not say otherwise.
    pub listener_limits: ListenerLimits,
    /// `persistence`: whether sessions and retained messages survive the broker.
    pub persistence: bool,
    /// `persistence_location`: the folder of the store; the current one if not said.
    pub persistence_location: PathBuf,
    /// `persistence_file`: the name of mosquitto's file, from which the name of the store is made.
    pub persistence_file: Option<PathBuf>,
    /// `sync`: when what is stored is on the disk for sure.
    pub sync: SyncPolicy,
    /// Where the log goes, and what is in it.
    pub log: LogSettings,
    /// `pid_file`: the file that the number of the process is written to.
    pub pid_file: Option<PathBuf>,
    /// `control_socket`: where `rbroker status` asks.
    pub control_socket: ControlSocket,
    /// `user`: who the broker becomes if root has started it.
    pub user: Option<String>,
    /// Warnings about lines that do not prevent the start, one text for each line.
    pub warnings: Vec<String>,
}

/// Where a broker is asked how it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// Where the system keeps sockets of this user, under a name with the port.
    #[default]
    Default,
    /// At this path.
    At(PathBuf),
    /// Nowhere.
    None,
}

/// Users, permissions and client identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecuritySettings {
    /// `allow_anonymous`: whether clients without a user name may come in; no one said if `None`.
    pub allow_anonymous: Option<bool>,
    /// `password_file`.
    pub password_file: Option<PathBuf>,
    /// `acl_file`.
    pub acl_file: Option<PathBuf>,
    /// `auto_id_prefix`: the start of identifiers that the broker chooses.
    pub auto_id_prefix: Option<String>,
    /// `allow_zero_length_clientid`: whether it chooses any.
    pub allow_empty_identifier: Option<bool>,
}

/// A `listener` line, and those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerSettings {
    /// 0 takes a free port.
    pub port: u16,
    /// A name or an address; every address of this machine if `None`. With port 0 a path is the one of
    /// a Unix socket.
    pub host: Option<String>,
    /// `socket_domain`: only IPv4 (`Some(true)`) or only IPv6.
    pub only_ipv4: Option<bool>,
    /// `certfile`, `keyfile` and what belongs to them: TLS.
    pub tls: Option<TlsServerOptions>,
    /// `use_identity_as_username`, `use_subject_as_username`.
    pub identity: Option<IdentitySource>,
    /// `use_username_as_clientid`: the client identifier is the user name.
    pub user_name_is_identifier: bool,
    /// `protocol websockets`.
    pub websocket: bool,
    /// `websockets_origin`: where pages that connect may come from; anywhere if there are none.
    pub origins: Vec<String>,
    /// `mount_point`: what stands before the topics of its clients.
    pub mount_point: Option<String>,
    /// `listener_allow_anonymous` and the like; with `per_listener_settings` all about security.
    pub security: SecuritySettings,
    /// Limits of its clients.
    pub limits: ListenerLimits,
}

/// Limits that each listener may have for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `max_connections`: so many at a time; more are closed at once.
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
    /// `max_inflight_messages`, as clients of 5.0 are told: messages of QoS 1 and 2 that a client
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
    /// Uncommitted records above which connections that made some of them are throttled.
    pub commit_backlog: Backlog,
    /// Uncommitted records above which nothing is handled that can make more.
    pub maximum_commit_backlog: Backlog,
}

/// An amount of records that wait for a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Their number.
    pub records: usize,
    /// The bytes of their payloads.
    pub bytes: usize,
}

impl Backlog {
    /// Returns `true` if one of the two numbers has reached that of `limit`.
    pub(crate) fn reaches(self, limit: Self) -> bool {
        self.records >= limit.records || self.bytes >= limit.bytes
    }
}

/// Contents and destinations of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `log_dest`, each of them.
    pub destinations: Vec<LogDestination>,
    /// `log_type`, each of them; errors, warnings, notices and information if none was named.
    pub types: Option<LogTypes>,
    /// `log_timestamp`: whether lines begin with the time.
    pub timestamp: bool,
    /// `log_timestamp_format`, for `strftime`; mosquitto's seconds since 1970 are `%s`.
    pub timestamp_format: Option<String>,
    /// `log_facility`: local0 to local7 of syslog; daemon if `None`.
    pub facility: Option<u8>,
    /// `connection_messages`: whether connects and disconnects are logged.
    pub connections: bool,
}

/// Where lines of the log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogDestination {
    /// To this file.
    File(PathBuf),
    /// Nowhere.
    None,
    /// To standard error.
    StandardError,
    /// To standard output.
    StandardOutput,
    /// To the system's log.
    Syslog,
    /// To subscribers of topics below `$SYS/broker/log`.
    Topic,
}

/// Kinds of lines, by the level of `log` that they have here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTypes {
    /// `error`.
    pub error: bool,
    /// `warning`.
    pub warning: bool,
    /// `notice` and `information`.
    pub information: bool,
    /// `debug`, `subscribe`, `unsubscribe`, `websockets`.
    pub debug: bool,
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
                records: 20_000,
                bytes: 16 * 1024 * 1024,
            },
            maximum_commit_backlog: Backlog {
                records: 80_000,
                bytes: 64 * 1024 * 1024,
            },
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            destinations: Vec::new(),
            types: None,
            timestamp: true,
            timestamp_format: None,
            facility: None,
            connections: true,
        }
    }
}

/// An error in a configuration file.
#[derive(Debug)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// A line is wrong: the file, the number of the line, and what it is.
    Line(PathBuf, usize, String),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, _) => write!(f, "Unable to open config file '{}'", path.display()),
            Self::Line(path, number, what) => {
                write!(f, "{what} Error found at {}:{number}.", path.display())
            }
        }
    }
}

impl std::error::Error for SettingsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            Self::Line(..) => None,
        }
    }
}

impl Settings {
    /// Those of a configuration without a line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the path of the store, if there is to be one.
    ///
    /// The name is never that of `persistence_file` itself: after a change from mosquitto, its file is there.
    pub fn store(&self) -> Option<PathBuf> {
        let name = match self.persistence_file.as_deref() {
            None => STORE.into(),
            Some(name) if name == Path::new(FILE_OF_MOSQUITTO) => STORE.into(),
            Some(name) => {
                let mut name = name.as_os_str().to_owned();
                name.push(".rbroker");
                name
            }
        };
        let file = || self.persistence_location.join(name);
        self.persistence.then(file)
    }

    /// Returns the security settings of a listener, with those of all listeners where it has none.
    pub fn security_of(&self, listener: Option<&ListenerSettings>) -> SecuritySettings {
        let Some(own) = listener.map(|listener| &listener.security) else {
            return self.security.clone();
        };
        // Then what stands above the first listener is for the one of `port` alone.
        let all = match self.per_listener {
            true => &SecuritySettings::default(),
            false => &self.security,
        };
        own.clone().or(all)
    }

    /// The limits of a listener's clients.
    pub fn limits_of(&self, listener: Option<&ListenerSettings>) -> ListenerLimits {
        let all = &self.listener_limits;
        let Some(own) = listener.map(|listener| &listener.limits) else {
            return all.clone();
        };
        ListenerLimits {
            maximum_connections: own.maximum_connections.or(all.maximum_connections),
            maximum_qos: own.maximum_qos.or(all.maximum_qos),
            topic_alias_maximum: own.topic_alias_maximum.or(all.topic_alias_maximum),
            topic_aliases: own.topic_aliases.or(all.topic_aliases),
            versions: own.versions.clone().or_else(|| all.versions.clone()),
        }
    }
}

impl SecuritySettings {
    /// What is said here, and where nothing is, what is said there.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            allow_anonymous: self.allow_anonymous.or(other.allow_anonymous),
            password_file: self.password_file.or_else(|| other.password_file.clone()),
            acl_file: self.acl_file.or_else(|| other.acl_file.clone()),
            auto_id_prefix: self.auto_id_prefix.or_else(|| other.auto_id_prefix.clone()),
            allow_empty_identifier: self.allow_empty_identifier.or(other.allow_empty_identifier),
        }
    }
}

impl ListenerSettings {
    /// Whether both lines name the same place to listen at.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (self.port, &self.host, self.only_ipv4) == (other.port, &other.host, other.only_ipv4)
    }

    /// Returns the path, if it is a Unix socket: port 0 with anything but an address of this machine.
    pub fn unix_path(&self) -> Option<&Path> {
        let is_path = |host: &&str| *host != "localhost" && self.address().is_none();
        let host = self.host.as_deref().filter(is_path);
        host.filter(|_| self.port == 0).map(Path::new)
    }

    /// The address, if the host is none, or is one already.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.as_deref()?.parse().ok()
    }
}

/// The name of the store without a line `persistence_file`.
const STORE: &str = "rbroker.db";

/// The default of `persistence_file`, which many files repeat.
const FILE_OF_MOSQUITTO: &str = "mosquitto.db";
