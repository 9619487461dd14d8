//! mosquitto's configuration language: one `name value` for each line, `#` at its start makes it a comment. What the lines add up to is here; the lines themselves are in `directives.rs`, how
//! files are read in `parser.rs`, and what mosquitto has and this broker has not in `unsupported.rs`.
//!
//! An unsupported line is an error that names its place, not a warning: a line without effect could be the one that
//! protects something.

mod closest_name;
mod directives;
#[cfg(test)]
mod error_tests;
mod parser;
mod places;
#[cfg(test)]
mod tests;
mod unsupported;

pub use closest_name::closest_name;
pub use places::Places;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use mqtt_broker_core::{IdentitySource, Limits, ListenerLimits};
use mqtt_transport::{TlsServerOptions, reason};

use crate::SyncPolicy;

/// The configuration of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    /// The listeners; empty if the configuration has none.
    pub listeners: Vec<ListenerConfig>,
    /// Security of all listeners that have no settings of their own.
    pub security: SecurityConfig,
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
    /// The destinations and the content of the log.
    pub log: LogConfig,
    /// `pid_file`: the file that the number of the process is written to.
    pub pid_file: Option<PathBuf>,
    /// `control_socket`: where `rbroker status` asks.
    pub control_socket: ControlSocket,
    /// `user`: who the broker becomes if root has started it.
    pub user: Option<String>,
    /// Warnings about lines that do not prevent the start, one text for each line.
    pub warnings: Vec<String>,
    /// The lines of the directives, for errors that are found later.
    pub places: Places,
}

/// The socket that answers `rbroker status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// In the system's folder for sockets of this user, under a name with the port.
    #[default]
    Default,
    /// At this path.
    At(PathBuf),
    /// Nowhere.
    None,
}

/// Users, permissions and client identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityConfig {
    /// `allow_anonymous`: `true` if clients without a user name may connect; `None` if not configured.
    pub allow_anonymous: Option<bool>,
    /// `password_file`.
    pub password_file: Option<PathBuf>,
    /// `acl_file`.
    pub acl_file: Option<PathBuf>,
    /// `auto_id_prefix`: the start of identifiers that the broker chooses.
    pub auto_id_prefix: Option<String>,
    /// `allow_zero_length_clientid`: `true` if the broker assigns identifiers.
    pub allow_empty_identifier: Option<bool>,
}

/// A `listener` line, and those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerConfig {
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
    pub security: SecurityConfig,
    /// Limits of its clients.
    pub limits: ListenerLimits,
}

/// Contents and destinations of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
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

/// A destination of log lines.
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

impl Default for LogConfig {
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
pub enum ConfigError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// A line is wrong: the file, the number of the line, and what it is.
    Line(PathBuf, usize, String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => {
                let (path, reason) = (path.display(), reason(error));
                write!(f, "Unable to open config file '{path}': {reason}.")
            }
            Self::Line(path, number, what) => {
                write!(f, "{what} Error found at {}:{number}.", path.display())
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl BrokerConfig {
    /// Returns the configuration of an empty file.
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
    pub fn security_of(&self, listener: Option<&ListenerConfig>) -> SecurityConfig {
        let Some(own) = listener.map(|listener| &listener.security) else {
            return self.security.clone();
        };
        // Then what stands above the first listener is for the one of `port` alone.
        let all = match self.per_listener {
            true => &SecurityConfig::default(),
            false => &self.security,
        };
        own.clone().or(all)
    }

    /// Returns the limits of a listener's clients.
    pub fn limits_of(&self, listener: Option<&ListenerConfig>) -> ListenerLimits {
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

impl SecurityConfig {
    /// Returns these settings, with those of `other` where they are not set.
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

impl ListenerConfig {
    /// Returns `true` if both listeners have the same host, port and address family.
    pub(crate) fn is_same_place(&self, other: &Self) -> bool {
        (self.port, &self.host, self.only_ipv4) == (other.port, &other.host, other.only_ipv4)
    }

    /// Returns the path, if it is a Unix socket: port 0 with anything but an address of this machine.
    pub fn unix_path(&self) -> Option<&Path> {
        let is_path = |host: &&str| *host != "localhost" && self.address().is_none();
        let host = self.host.as_deref().filter(is_path);
        host.filter(|_| self.port == 0).map(Path::new)
    }

    /// Returns the address, if the host is an address and not a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.as_deref()?.parse().ok()
    }
}

/// The name of the store without a line `persistence_file`.
const STORE: &str = "rbroker.db";

/// The default of `persistence_file`, which many files repeat.
const FILE_OF_MOSQUITTO: &str = "mosquitto.db";
