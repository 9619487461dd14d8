//! mosquitto's configuration language: one `name value` for each line, `#` in the first column
//! starts a comment.
//!
//! What it says and this broker does not do yet is refused with its place, not passed over: a line
//! that has no effect could be the one that protects something.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use mqtt_session::Printable;
use mqtt_transport::{TlsServerOptions, TlsVersion};

use crate::IdentitySource;

/// What a broker is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens; empty if the configuration does not say.
    pub listeners: Vec<ListenerSettings>,
    /// Whether clients without a user name may come in; no one said if `None`.
    pub allow_anonymous: Option<bool>,
    /// Limits.
    pub limits: Limits,
    /// `persistence`: whether sessions and retained messages survive the broker.
    pub persistence: bool,
    /// `persistence_location`: the folder of the store; the current one if not said.
    pub persistence_location: PathBuf,
}

/// A `listener` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// 0 takes a free port.
    pub port: u16,
    /// A name or an address; every address of this machine if `None`. With port 0 a path is the one of
    /// a Unix socket.
    pub host: Option<String>,
    /// `certfile`, `keyfile` and what belongs to them: TLS.
    pub tls: Option<TlsServerOptions>,
    /// `use_identity_as_username`, `use_subject_as_username`.
    pub identity: Option<IdentitySource>,
    /// `protocol websockets`.
    pub websocket: bool,
    /// `websockets_origin`: where pages that connect may come from; anywhere if there are none.
    pub origins: Vec<String>,
}

/// Limits of the broker, by default mosquitto's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `max_packet_size`: the largest packet in bytes.
    pub maximum_packet_size: u32,
    /// `max_inflight_messages`, as clients of 5.0 are told: messages of QoS 1 and 2 that a client
    /// may send at a time.
    pub receive_maximum: u16,
    /// `max_inflight_messages`: messages of QoS 1 and 2 that are sent to a client at a time.
    pub maximum_in_flight: u16,
    /// `max_topic_alias`: topic aliases that a client of 5.0 may use.
    pub topic_alias_maximum: u16,
    /// `max_topic_alias_broker`: topic aliases used towards a client of 5.0, if it takes as many.
    pub topic_aliases: u16,
    /// `max_queued_messages`: messages of QoS 1 and 2 that wait for a client. The newest are dropped.
    pub maximum_queued: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maximum_packet_size: 2_000_000,
            receive_maximum: 20,
            maximum_in_flight: 20,
            topic_alias_maximum: 10,
            topic_aliases: 10,
            maximum_queued: 1000,
        }
    }
}

/// What is wrong with a configuration file.
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
        Self {
            listeners: Vec::new(),
            allow_anonymous: None,
            limits: Limits::default(),
            persistence: false,
            persistence_location: PathBuf::new(),
        }
    }

    /// The file of the store, if there is to be one.
    pub fn store(&self) -> Option<PathBuf> {
        let file = || self.persistence_location.join(STORE);
        self.persistence.then(file)
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// If it cannot be read, or a line of it is wrong.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let bytes =
            std::fs::read(path).map_err(|error| SettingsError::Read(path.to_owned(), error))?;
        Self::parse(path, &bytes)
    }

    /// Understands the bytes of a configuration file; `path` is its name in errors.
    ///
    /// # Errors
    /// If a line is wrong.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, SettingsError> {
        let mut settings = Self::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what: String| {
                let what = Printable(&what).to_string();
                SettingsError::Line(path.to_owned(), index + 1, what)
            };
            let line = std::str::from_utf8(line)
                .map_err(|_| error("The line is not valid UTF-8.".to_owned()))?;
            settings.line(line).map_err(error)?;
        }
        let end = bytes.split(|&byte| byte == b'\n').count();
        let error = |what| SettingsError::Line(path.to_owned(), end, what);
        settings.check().map_err(error)?;
        Ok(settings)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let value = words
            .next()
            .ok_or_else(|| format!("Empty '{name}' value in configuration."))?;
        match name {
            "listener" => {
                let port = number(name, value, 0, u16::MAX.into())? as u16;
                self.listeners.push(ListenerSettings {
                    port,
                    host: words.next().map(Into::into),
                    tls: None,
                    identity: None,
                    websocket: false,
                    origins: Vec::new(),
                });
            }
            "protocol" => {
                self.listener(name)?.websocket = match value {
                    "mqtt" => false,
                    "websockets" => true,
                    _ => {
                        return Err(format!(
                            "Invalid '{name}' value ({value}): it is mqtt or websockets."
                        ));
                    }
                }
            }
            "websockets_origin" => self.listener(name)?.origins.push(value.to_owned()),
            "certfile" => self.tls(name)?.certificate = rest_of(line, name).into(),
            "keyfile" => self.tls(name)?.key = rest_of(line, name).into(),
            "cafile" => self.tls(name)?.ca_file = Some(rest_of(line, name).into()),
            "capath" => self.tls(name)?.ca_path = Some(rest_of(line, name).into()),
            "crlfile" => self.tls(name)?.revoked = Some(rest_of(line, name).into()),
            "require_certificate" => self.tls(name)?.require_certificate = boolean(name, value)?,
            "use_identity_as_username" => {
                let source = boolean(name, value)?.then_some(IdentitySource::CommonName);
                self.listener(name)?.identity = source;
            }
            "use_subject_as_username" => {
                let source = boolean(name, value)?.then_some(IdentitySource::Subject);
                self.listener(name)?.identity = source;
            }
            "ciphers" => self.tls(name)?.ciphers = Some(value.to_owned()),
            "tls_version" => {
                let version = TlsVersion::parse(value);
                let wrong =
                    || format!("Invalid '{name}' value ({value}): it is tlsv1.2 or tlsv1.3.");
                self.tls(name)?.version = Some(version.ok_or_else(wrong)?);
            }
            "allow_anonymous" => self.allow_anonymous = Some(boolean(name, value)?),
            "max_queued_messages" => {
                let limit = number(name, value, 0, u32::MAX)?;
                self.limits.maximum_queued = if limit == 0 {
                    usize::MAX
                } else {
                    limit as usize
                };
            }
            "max_inflight_messages" => {
                let limit = number(name, value, 0, u16::MAX.into())? as u16;
                let limit = if limit == 0 { u16::MAX } else { limit };
                self.limits.receive_maximum = limit;
                self.limits.maximum_in_flight = limit;
            }
            "max_topic_alias" => {
                let limit = number(name, value, 0, u16::MAX.into())? as u16;
                self.limits.topic_alias_maximum = limit;
            }
            "max_topic_alias_broker" => {
                self.limits.topic_aliases = number(name, value, 0, u16::MAX.into())? as u16;
            }
            "max_packet_size" => {
                let largest = mqtt_codec::MAXIMUM_PACKET_SIZE;
                self.limits.maximum_packet_size = number(name, value, 20, largest)?;
            }
            "persistence" => self.persistence = boolean(name, value)?,
            "persistence_location" => {
                self.persistence_location = rest_of(line, name).into();
            }
            _ if MOSQUITTOS.contains(&name) => {
                return Err(format!("'{name}' is not supported by this broker."));
            }
            _ => return Err(format!("Unknown configuration variable '{name}'.")),
        }
        Ok(())
    }
}

impl Settings {
    /// What the listener above is told about TLS.
    fn tls(&mut self, name: &str) -> Result<&mut TlsServerOptions, String> {
        Ok(self.listener(name)?.tls.get_or_insert_default())
    }

    /// The listener above.
    fn listener(&mut self, name: &str) -> Result<&mut ListenerSettings, String> {
        let listener = self.listeners.last_mut();
        listener.ok_or_else(|| format!("'{name}' needs a 'listener' line above."))
    }

    /// What can only be seen at the end of the file.
    fn check(&self) -> Result<(), String> {
        let tls = self
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let is_half = |tls: &TlsServerOptions| {
            tls.certificate.as_os_str().is_empty() || tls.key.as_os_str().is_empty()
        };
        if tls.into_iter().any(is_half) {
            return Err("A listener with TLS needs both 'certfile' and 'keyfile'.".to_owned());
        }
        let is_nameless = |listener: &ListenerSettings| {
            let asks = |tls: &TlsServerOptions| tls.ca_file.is_some() || tls.ca_path.is_some();
            listener.identity.is_some() && !listener.tls.as_ref().is_some_and(asks)
        };
        match self.listeners.iter().any(is_nameless) {
            true => Err("A user name from a certificate needs 'cafile' or 'capath'.".to_owned()),
            false => Ok(()),
        }
    }
}

/// A path may have spaces: it is the rest of the line.
fn rest_of<'a>(line: &'a str, name: &str) -> &'a str {
    line.trim().strip_prefix(name).unwrap_or_default().trim()
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl ListenerSettings {
    /// The path, if it is a Unix socket.
    pub fn unix_path(&self) -> Option<&Path> {
        let host = self.host.as_deref().filter(|host| host.contains('/'));
        host.filter(|_| self.port == 0).map(Path::new)
    }

    /// The address, if the host is none, or is one already.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.as_deref()?.parse().ok()
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("Invalid '{name}' value ({value}).")),
    }
}

fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("Invalid '{name}' value ({value}): it is {least} to {most}."))
}

/// The name of the store: not the one of mosquitto's, which may be in the same folder.
const STORE: &str = "rbroker.db";

/// Names that are mosquitto's and that this broker does not know.
const MOSQUITTOS: &[&str] = &[
    "accept_protocol_versions",
    "acl_file",
    "allow_duplicate_messages",
    "allow_zero_length_clientid",
    "auto_id_prefix",
    "autosave_interval",
    "autosave_on_changes",
    "bind_address",
    "bind_interface",
    "check_retain_source",
    "ciphers_tls1.3",
    "connection",
    "connection_messages",
    "dhparamfile",
    "enable_control_api",
    "enable_proxy_protocol",
    "global_max_clients",
    "global_max_connections",
    "global_plugin",
    "http_dir",
    "include_dir",
    "listener_allow_anonymous",
    "listener_auto_id_prefix",
    "log_dest",
    "log_facility",
    "log_timestamp",
    "log_timestamp_format",
    "log_type",
    "max_connections",
    "max_inflight_bytes",
    "max_keepalive",
    "max_qos",
    "max_queued_bytes",
    "memory_limit",
    "message_size_limit",
    "mount_point",
    "password_file",
    "per_listener_settings",
    "persistence_file",
    "persistent_client_expiration",
    "pid_file",
    "plugin",
    "port",
    "psk_file",
    "psk_hint",
    "queue_qos0_messages",
    "retain_available",
    "retain_expiry_interval",
    "set_tcp_nodelay",
    "socket_domain",
    "sys_interval",
    "tls_engine",
    "tls_engine_kpass_sha1",
    "tls_keyform",
    "upgrade_outgoing_qos",
    "use_username_as_clientid",
    "user",
    "websockets_headers_size",
    "websockets_log_level",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::new();
        text.lines().try_for_each(|line| settings.line(line))?;
        Ok(settings)
    }

    #[test]
    fn listeners_and_limits_are_read() {
        let settings = parse(
            "# a comment\n\nlistener 1883\n  listener   0  127.0.0.1 \nallow_anonymous true\n\
             max_queued_messages 0\nmax_inflight_messages 7\nmax_packet_size 100\npersistence false\n\
             max_topic_alias 5\nmax_topic_alias_broker 0",
        )
        .unwrap();
        assert_eq!(
            settings.listeners[0],
            ListenerSettings {
                port: 1883,
                host: None,
                tls: None,
                identity: None,
                websocket: false,
                origins: Vec::new(),
            }
        );
        assert_eq!(
            settings.listeners[1].address(),
            Some(IpAddr::from([127, 0, 0, 1]))
        );
        assert_eq!(settings.allow_anonymous, Some(true));
        let limits = Limits {
            maximum_packet_size: 100,
            receive_maximum: 7,
            maximum_in_flight: 7,
            topic_alias_maximum: 5,
            topic_aliases: 0,
            maximum_queued: usize::MAX,
        };
        assert_eq!(settings.limits, limits);
        assert_eq!(settings.store(), None);
        let settings = parse("persistence true\npersistence_location /var/lib/rbroker/").unwrap();
        let store = settings.store();
        assert_eq!(
            store.as_deref(),
            Some(Path::new("/var/lib/rbroker/rbroker.db"))
        );
    }

    #[test]
    fn wrong_lines_are_told_with_what_is_wrong() {
        let table = [
            (
                "allow_anonymous maybe",
                "Invalid 'allow_anonymous' value (maybe).",
            ),
            (
                "listener 65536",
                "Invalid 'listener' value (65536): it is 0 to 65535.",
            ),
            ("listener", "Empty 'listener' value in configuration."),
            ("lisener 1883", "Unknown configuration variable 'lisener'."),
            (
                "password_file p",
                "'password_file' is not supported by this broker.",
            ),
            (
                "max_packet_size 19",
                "Invalid 'max_packet_size' value (19): it is 20 to 268435460.",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).unwrap_err(), expected);
        }
    }
}
