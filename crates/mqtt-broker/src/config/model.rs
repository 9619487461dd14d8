//! [`BrokerConfig`]: the settings that result from all lines of a configuration.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mqtt_broker_core::{IdentitySource, Limits, ListenerLimits};
use mqtt_transport::TlsServerOptions;

use crate::config::places::Places;
use crate::store::sync_policy::SyncPolicy;

/// The configuration of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    /// The listeners. Empty if the configuration has none.
    pub listeners: Vec<ListenerConfig>,
    /// The security settings outside of all listeners. They apply where a listener has no setting of its own.
    pub security: SecurityConfig,
    /// `per_listener_settings`: `true` if directives about security belong to the listener above them.
    pub per_listener: bool,
    /// The limits of the broker.
    pub limits: Limits,
    /// The limits outside of all listeners. They apply where a listener has no limit of its own.
    pub listener_limits: ListenerLimits,
    /// `persistence`: `true` if sessions and retained messages survive a restart of the broker.
    pub persistence: bool,
    /// `persistence_location`: the folder of the store. Empty for the current folder.
    pub persistence_location: PathBuf,
    /// `persistence_file`: the name of mosquitto's file, from which the name of the store is derived.
    pub persistence_file: Option<PathBuf>,
    /// `sync`: the policy that decides when commits are synced to the disk.
    pub sync: SyncPolicy,
    /// The destinations and the content of the log.
    pub log: LogConfig,
    /// `pid_file`: the file to which the broker writes its process identifier.
    pub pid_file: Option<PathBuf>,
    /// `control_socket`: the socket that answers `rbroker status`.
    pub control_socket: ControlSocket,
    /// `user`: the user as which the broker runs if root has started it.
    pub user: Option<String>,
    /// Warnings about directives that do not prevent the start, one text for each directive.
    pub warnings: Vec<String>,
    /// The places of the directives, for errors that are found after the files were read.
    pub places: Places,
}

/// The place of the socket that answers `rbroker status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// The socket is in the system's folder for sockets of this user, and its name contains the port.
    #[default]
    Default,
    /// The socket has this path.
    At(PathBuf),
    /// The broker has no such socket.
    None,
}

/// The settings of users, permissions and client identifiers. `None` means that the directive is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityConfig {
    /// `allow_anonymous`: `true` if clients without a user name may connect.
    pub allow_anonymous: Option<bool>,
    /// `password_file`: the path of the password file.
    pub password_file: Option<PathBuf>,
    /// `acl_file`: the path of the ACL file.
    pub acl_file: Option<PathBuf>,
    /// `auto_id_prefix`: the prefix of the client identifiers that the broker assigns.
    pub auto_id_prefix: Option<String>,
    /// `allow_zero_length_clientid`: `true` if the broker assigns an identifier to a client that has none.
    pub allow_empty_identifier: Option<bool>,
}

/// The configuration of one listener: a `listener` directive, and the directives below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The TCP port. 0 lets the system choose a free port, or selects a Unix socket if `host` is a path.
    pub port: u16,
    /// A host name or an address, or the path of a Unix socket if `port` is 0. `None` for all addresses of this
    /// machine.
    pub host: Option<String>,
    /// `socket_domain`: `Some(true)` for IPv4 only, `Some(false)` for IPv6 only.
    pub only_ipv4: Option<bool>,
    /// `certfile`, `keyfile` and the other directives of TLS. `None` without TLS.
    pub tls: Option<TlsServerOptions>,
    /// `use_identity_as_username`, `use_subject_as_username`: the part of the client's certificate that is its user
    /// name.
    pub identity: Option<IdentitySource>,
    /// `use_username_as_clientid`: `true` if the user name becomes the client identifier.
    pub user_name_is_identifier: bool,
    /// `protocol websockets`: `true` if clients connect by WebSocket.
    pub websocket: bool,
    /// `websockets_origin`: the origins of web pages that may connect. Empty for any origin.
    pub origins: Vec<String>,
    /// `mount_point`: the prefix that the broker adds to all topics of the clients.
    pub mount_point: Option<String>,
    /// The security settings of this listener: `listener_allow_anonymous` and `listener_auto_id_prefix`, and with
    /// `per_listener_settings` all directives about security below it.
    pub security: SecurityConfig,
    /// The limits of the clients of this listener.
    pub limits: ListenerLimits,
}

/// The destinations and the content of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `log_dest`: the destinations, in the order of the directives.
    pub destinations: Vec<LogDestination>,
    /// `log_type`: the kinds of lines that are logged. `None` for the default, which is everything except `debug`.
    pub types: Option<LogTypes>,
    /// `log_timestamp`: `true` if lines begin with the time.
    pub timestamp: bool,
    /// `log_timestamp_format`: the format for `strftime`. `None` for the default.
    pub timestamp_format: Option<String>,
    /// `log_facility`: a number from 0 to 7 for the facilities local0 to local7 of syslog. `None` for the facility
    /// daemon.
    pub facility: Option<u8>,
    /// `connection_messages`: `true` if connects and disconnects are logged.
    pub connections: bool,
}

/// A destination of log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogDestination {
    /// A file, to which lines are appended.
    File(PathBuf),
    /// No destination: nothing is logged.
    None,
    /// Standard error.
    StandardError,
    /// Standard output.
    StandardOutput,
    /// The syslog of the system.
    Syslog,
    /// Messages to the topics below `$SYS/broker/log`.
    Topic,
}

/// The kinds of lines that are logged. Types of mosquitto that have the same level in rbroker are one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTypes {
    /// `error`.
    pub error: bool,
    /// `warning`.
    pub warning: bool,
    /// `notice` and `information`.
    pub information: bool,
    /// `debug`, `subscribe`, `unsubscribe`, `websockets`, `internal`.
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

impl BrokerConfig {
    /// Returns the configuration of an empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the path of the store, or `None` without `persistence true`.
    ///
    /// The name of the store is never that of `persistence_file`, because after a change from mosquitto to rbroker the
    /// file of mosquitto has that name.
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

    /// Returns the security settings of a listener. Settings that the listener does not have are those of all
    /// listeners, unless `per_listener_settings` is set.
    pub fn security_of(&self, listener: Option<&ListenerConfig>) -> SecurityConfig {
        let Some(own) = listener.map(|listener| &listener.security) else {
            return self.security.clone();
        };
        // With `per_listener_settings`, the directives above the first listener belong to the default listener only.
        let all = if self.per_listener {
            &SecurityConfig::default()
        } else {
            &self.security
        };
        own.clone().or(all)
    }

    /// Returns the limits of a listener. Limits that the listener does not have are those of all listeners.
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
    /// Returns these settings, completed with those of `other`.
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

    /// Returns the path if the listener is a Unix socket: port 0, and a host that is neither an address nor
    /// `localhost`.
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

/// The name of the store without `persistence_file`.
const STORE: &str = "rbroker.db";

/// The default of `persistence_file` in mosquitto. Many configurations set this value, which is treated like no value.
const FILE_OF_MOSQUITTO: &str = "mosquitto.db";
