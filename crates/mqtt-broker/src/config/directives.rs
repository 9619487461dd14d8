//! The table of directives: the name of each directive, and the function that applies its value to the configuration.

use std::time::Duration;

use mqtt_broker_core::{IdentitySource, ListenerLimits};
use mqtt_codec::{ProtocolVersion, QoS};
use mqtt_transport::TlsVersion;

use crate::config::model::{
    ControlSocket, ListenerConfig, LogDestination, LogTypes, SecurityConfig,
};
use crate::config::parser::Parser;
use crate::store::sync_policy::SyncPolicy;

/// A line with a directive.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// The first word.
    pub(super) name: &'a str,
    /// Everything after the name. A path or a text may have spaces.
    pub(super) rest: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Self {
            name,
            rest: rest.trim(),
        }
    }

    /// Returns the first word after the name.
    fn value(&self) -> &'a str {
        self.rest.split_whitespace().next().unwrap_or_default()
    }

    /// Returns the second word after the name.
    fn second(&self) -> Option<&'a str> {
        self.rest.split_whitespace().nth(1)
    }

    /// Returns the error for an invalid value.
    fn wrong(&self, expected: &str) -> String {
        let (name, value) = (self.name, self.value());
        format!("Invalid '{name}' value ({value}): expected {expected}.")
    }

    fn boolean(&self) -> Result<bool, String> {
        match self.value() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            // mosquitto rejects capital letters too.
            value if ["true", "false"].contains(&&*value.to_lowercase()) => {
                Err(self.wrong("true or false in lower case"))
            }
            _ => Err(self.wrong("true, false, 1 or 0")),
        }
    }

    /// Returns the value as a number from `least` to `most`.
    fn number(&self, least: u32, most: u32) -> Result<u32, String> {
        let number = self.value().parse().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.wrong(&format!("{least} to {most}")))
    }

    /// Returns the value as a number from `least` to 65535.
    fn number_16(&self, least: u16) -> Result<u16, String> {
        let number = self.number(least.into(), u16::MAX.into())?;
        Ok(u16::try_from(number).unwrap_or(u16::MAX))
    }

    /// Returns the value as a limit. 0 and negative numbers mean no limit.
    fn limit(&self) -> Result<usize, String> {
        if self.is_negative() {
            return Ok(usize::MAX);
        }
        Ok(match self.number(0, u32::MAX)? {
            0 => usize::MAX,
            limit => limit as usize,
        })
    }

    /// Returns `true` if the value is a negative number, with which many files turn a limit off.
    fn is_negative(&self) -> bool {
        self.value().parse().is_ok_and(|number: i64| number < 0)
    }

    /// Returns the value as a limit, or `None` for -1, which means no limit.
    fn limit_or_minus_one(&self) -> Result<Option<usize>, String> {
        match self.value() {
            "-1" => Ok(None),
            _ => self.number(0, u32::MAX).map(|limit| Some(limit as usize)),
        }
    }

    /// Returns the value as a time, such as `14d`. The units are seconds, hours, days, weeks, months of 30 days and
    /// years of 365 days.
    fn long_time(&self) -> Result<Duration, String> {
        let wrong = || self.wrong("a number and one of s, h, d, w, m (months) and y");
        let value = self.value();
        let unit = value.chars().last().ok_or_else(wrong)?;
        let seconds: u64 = match unit {
            's' => 1,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            'm' => 30 * 86_400,
            'y' => 365 * 86_400,
            _ => return Err(wrong()),
        };
        let count = value.strip_suffix(unit).unwrap_or_default();
        // The count is limited to 32 bits, so that its product with the seconds of a year fits into 64 bits.
        let count: u32 = count.parse().map_err(|_| wrong())?;
        Ok(Duration::from_secs(seconds * u64::from(count)))
    }
}

/// A directive that rbroker supports.
pub(super) struct Directive {
    pub(super) name: &'static str,
    /// Applies the value to the configuration.
    pub(super) apply: Apply,
    /// Set if the value is everything after the name, because it is a path or a text that may have spaces.
    pub(super) has_text: bool,
}

type Apply = fn(&mut Parser, &Line<'_>) -> Result<(), String>;

/// Returns a directive whose value is one word.
const fn line(name: &'static str, apply: Apply) -> Directive {
    Directive {
        name,
        apply,
        has_text: false,
    }
}

/// Returns a directive whose value may have spaces.
const fn text(name: &'static str, apply: Apply) -> Directive {
    Directive {
        name,
        apply,
        has_text: true,
    }
}

impl Parser {
    /// Returns the security settings to which the line belongs: those of the listener above it with
    /// `per_listener_settings`, otherwise those of all listeners.
    fn security(&mut self) -> &mut SecurityConfig {
        let config = &mut self.config;
        match config.listeners.last_mut() {
            Some(listener) if config.per_listener && self.is_below_listener => {
                &mut listener.security
            }
            // With `per_listener_settings` these settings belong to the default listener. `open_default_listener` moves
            // them there after the last line.
            _ => &mut config.security,
        }
    }

    /// Returns the limits to which the line belongs: those of the listener above it, or those of all listeners.
    fn listener_limits(&mut self) -> &mut ListenerLimits {
        match self.is_below_listener || self.has_port {
            true => &mut self.listener().limits,
            false => &mut self.config.listener_limits,
        }
    }

    /// Returns the log types. The first `log_type` directive replaces the default.
    fn log_types(&mut self) -> &mut LogTypes {
        self.config.log.types.get_or_insert(NO_LOG_TYPES)
    }
}

/// All directives that rbroker supports. In the functions, `r` is the parser and `l` is the line.
pub(super) static DIRECTIVES: &[Directive] = &[
    // Listeners.
    line("listener", |r, l| {
        let host = l.second().filter(|word| !word.starts_with('#'));
        let listener = ListenerConfig {
            port: l.number_16(0)?,
            host: host.and_then(named_host),
            ..ListenerConfig::default()
        };
        r.config.listeners.push(listener);
        r.is_below_listener = true;
        Ok(())
    }),
    line("port", |r, l| {
        r.default_listener.port = l.number_16(0)?;
        r.has_port = true;
        r.is_below_listener = false;
        Ok(())
    }),
    line("bind_address", |r, l| {
        r.default_listener.host = Some(l.value().to_owned());
        Ok(())
    }),
    line("socket_domain", |r, l| {
        r.listener().only_ipv4 = Some(match l.value() {
            "ipv4" => true,
            "ipv6" => false,
            _ => return Err(l.wrong("ipv4 or ipv6")),
        });
        Ok(())
    }),
    line("protocol", |r, l| {
        r.listener().websocket = match l.value() {
            "mqtt" => false,
            "websockets" => true,
            _ => return Err(l.wrong("mqtt or websockets")),
        };
        Ok(())
    }),
    line("websockets_origin", |r, l| {
        r.listener().origins.push(l.value().to_owned());
        Ok(())
    }),
    // Ignored: the header of a WebSocket request may always have 8 kB, which is more than browsers and proxies send.
    line("websockets_headers_size", |_, l| {
        l.number(0, 65535).map(drop)
    }),
    line("packet_buffer_size", |_, l| l.number(0, u32::MAX).map(drop)),
    line("websockets_log_level", |_, l| {
        l.number(0, u32::MAX).map(drop)
    }),
    text("mount_point", |r, l| {
        if l.rest.contains(['+', '#', '\0']) {
            let value = l.rest;
            return Err(format!(
                "Invalid 'mount_point' value ({value}): must not contain '+' or '#'."
            ));
        }
        r.listener().mount_point = Some(l.rest.to_owned());
        Ok(())
    }),
    line("accept_protocol_versions", |r, l| {
        let version = |word: &str| match word.trim() {
            "3" => Ok(ProtocolVersion::V3_1),
            "4" => Ok(ProtocolVersion::V3_1_1),
            "5" => Ok(ProtocolVersion::V5_0),
            _ => Err(l.wrong("a list of 3, 4 and 5")),
        };
        let words = l.rest.split(',').filter(|word| !word.trim().is_empty());
        let versions: Vec<_> = words.map(version).collect::<Result<_, _>>()?;
        if versions.is_empty() {
            return Err(l.wrong("a list of 3, 4 and 5"));
        }
        r.listener_limits().versions = Some(versions);
        Ok(())
    }),
    // TLS.
    text("certfile", |r, l| {
        r.tls().certificate = l.rest.into();
        Ok(())
    }),
    text("keyfile", |r, l| {
        r.tls().key = l.rest.into();
        Ok(())
    }),
    text("cafile", |r, l| {
        r.tls().ca_file = Some(l.rest.into());
        Ok(())
    }),
    text("capath", |r, l| {
        r.tls().ca_path = Some(l.rest.into());
        Ok(())
    }),
    text("crlfile", |r, l| {
        r.tls().revoked = Some(l.rest.into());
        Ok(())
    }),
    line("require_certificate", |r, l| {
        r.tls().require_certificate = l.boolean()?;
        Ok(())
    }),
    line("ciphers", |r, l| {
        r.tls().ciphers = Some(l.value().to_owned());
        Ok(())
    }),
    line("tls_version", |r, l| {
        let version = TlsVersion::parse(l.value());
        let wrong = || l.wrong("tlsv1.1, tlsv1.2 or tlsv1.3");
        r.tls().version = Some(version.ok_or_else(wrong)?);
        Ok(())
    }),
    text("dhparamfile", |r, l| {
        r.tls().dh_parameters = Some(l.rest.into());
        Ok(())
    }),
    line("use_identity_as_username", |r, l| {
        identity(r, l, IdentitySource::CommonName)
    }),
    line("use_subject_as_username", |r, l| {
        identity(r, l, IdentitySource::Subject)
    }),
    // Authentication and permissions.
    line("per_listener_settings", |r, l| {
        let per_listener = l.boolean()?;
        if r.config.security != SecurityConfig::default() && per_listener {
            return Err(
                "'per_listener_settings' must stand above all directives about security."
                    .to_owned(),
            );
        }
        r.config.per_listener = per_listener;
        Ok(())
    }),
    line("allow_anonymous", |r, l| {
        r.security().allow_anonymous = Some(l.boolean()?);
        Ok(())
    }),
    line("listener_allow_anonymous", |r, l| {
        r.listener().security.allow_anonymous = Some(l.boolean()?);
        Ok(())
    }),
    text("password_file", |r, l| {
        r.security().password_file = Some(l.rest.into());
        Ok(())
    }),
    text("acl_file", |r, l| {
        r.security().acl_file = Some(l.rest.into());
        Ok(())
    }),
    line("allow_zero_length_clientid", |r, l| {
        r.security().allow_empty_identifier = Some(l.boolean()?);
        Ok(())
    }),
    text("auto_id_prefix", |r, l| {
        r.security().auto_id_prefix = Some(l.rest.to_owned());
        Ok(())
    }),
    text("listener_auto_id_prefix", |r, l| {
        r.listener().security.auto_id_prefix = Some(l.rest.to_owned());
        Ok(())
    }),
    line("use_username_as_clientid", |r, l| {
        r.listener().user_name_is_identifier = l.boolean()?;
        Ok(())
    }),
    // Limits.
    line("max_connections", |r, l| {
        r.listener_limits().maximum_connections = l.limit_or_minus_one()?;
        Ok(())
    }),
    line("max_qos", maximum_qos),
    line("maximum_qos", maximum_qos),
    line("max_topic_alias", |r, l| {
        r.listener_limits().topic_alias_maximum = Some(l.number_16(0)?);
        Ok(())
    }),
    line("max_topic_alias_broker", |r, l| {
        r.listener_limits().topic_aliases = Some(l.number_16(0)?);
        Ok(())
    }),
    line("global_max_connections", |r, l| {
        r.config.limits.maximum_connections = l.limit_or_minus_one()?;
        Ok(())
    }),
    line("global_max_clients", |r, l| {
        r.config.limits.maximum_clients = l.limit_or_minus_one()?;
        Ok(())
    }),
    line("max_inflight_messages", |r, l| {
        let limit = match l.is_negative() {
            true => u16::MAX,
            false => match l.number_16(0)? {
                0 => u16::MAX,
                limit => limit,
            },
        };
        r.config.limits.receive_maximum = limit;
        r.config.limits.maximum_in_flight = limit;
        Ok(())
    }),
    line("max_inflight_bytes", |r, l| {
        r.config.limits.maximum_in_flight_bytes = l.limit()?;
        Ok(())
    }),
    line("max_queued_messages", |r, l| {
        r.config.limits.maximum_queued = l.limit()?;
        Ok(())
    }),
    line("max_queued_bytes", |r, l| {
        r.config.limits.maximum_queued_bytes = l.limit()?;
        Ok(())
    }),
    line("max_retained_messages", |r, l| {
        r.config.limits.maximum_retained = l.limit()?;
        Ok(())
    }),
    line("max_retained_bytes", |r, l| {
        r.config.limits.maximum_retained_bytes = l.limit()?;
        Ok(())
    }),
    line("max_store_bytes", |r, l| {
        // Even an almost empty store may have a few megabytes, and must be below the limit.
        const LEAST: u64 = 16 * 1024 * 1024;
        let wrong = || l.wrong(&format!("0 (no limit), or at least {LEAST}"));
        r.config.limits.maximum_store_bytes = match l.value().parse().map_err(|_| wrong())? {
            0 => u64::MAX,
            limit if limit < LEAST => return Err(wrong()),
            limit => limit,
        };
        Ok(())
    }),
    line("memory_limit", |r, l| {
        let wrong = || l.wrong("0 (no limit), or a number of bytes");
        let limit: u64 = l.value().parse().map_err(|_| wrong())?;
        r.config.limits.maximum_memory = (limit > 0).then_some(limit);
        Ok(())
    }),
    line("max_packet_size", |r, l| {
        let largest = mqtt_codec::MAXIMUM_PACKET_SIZE;
        r.config.limits.maximum_packet_size = match l.value() {
            "0" => largest,
            // A higher limit has the same effect as the largest packet size of MQTT.
            _ => l.number(20, u32::MAX)?.min(largest),
        };
        Ok(())
    }),
    line("message_size_limit", |r, l| {
        r.config.limits.maximum_payload = l.limit()?;
        Ok(())
    }),
    line("max_keepalive", |r, l| {
        let longest = l.number_16(0)?;
        r.config.limits.maximum_keep_alive = Some(longest).filter(|longest| *longest > 0);
        Ok(())
    }),
    line("persistent_client_expiration", |r, l| {
        r.config.limits.longest_session = Some(l.long_time()?);
        Ok(())
    }),
    // Messages.
    line("retain_available", |r, l| {
        r.config.limits.retain_available = l.boolean()?;
        Ok(())
    }),
    line("check_retain_source", |r, l| {
        r.config.limits.check_retain_source = l.boolean()?;
        Ok(())
    }),
    // The interval only affects memory, because expired retained messages are never sent.
    line("retain_expiry_interval", |r, l| {
        let minutes = l.number(0, 1_000_000)?;
        r.config.limits.retained_sweep = Duration::from_secs(60 * u64::from(minutes));
        Ok(())
    }),
    line("allow_duplicate_messages", |r, l| {
        r.config.limits.allow_duplicates = l.boolean()?;
        Ok(())
    }),
    line("queue_qos0_messages", |r, l| {
        r.config.limits.queue_qos_0 = l.boolean()?;
        Ok(())
    }),
    line("upgrade_outgoing_qos", |r, l| {
        r.config.limits.upgrade_qos = l.boolean()?;
        Ok(())
    }),
    line("sys_interval", |r, l| {
        let seconds = l.number(0, 65535)?;
        r.config.limits.sys_interval = Duration::from_secs(seconds.into());
        Ok(())
    }),
    // Ignored: TCP_NODELAY is always set, and the packets of a turn are sent in one write.
    line("set_tcp_nodelay", |_, l| l.boolean().map(drop)),
    // Persistence.
    line("persistence", |r, l| {
        r.config.persistence = l.boolean()?;
        Ok(())
    }),
    text("persistence_location", |r, l| {
        r.config.persistence_location = l.rest.into();
        Ok(())
    }),
    text("persistence_file", |r, l| {
        r.config.persistence_file = Some(l.rest.into());
        Ok(())
    }),
    // Ignored: each turn is committed immediately, and not only at an interval.
    line("autosave_interval", |_, l| l.number(0, u32::MAX).map(drop)),
    line("autosave_on_changes", |_, l| l.boolean().map(drop)),
    line("sync", |r, l| {
        r.config.sync = match (l.value(), l.second()) {
            ("always", None) => SyncPolicy::Always,
            ("never", None) => SyncPolicy::Never,
            ("interval", Some(seconds)) => {
                let seconds: Option<f64> = seconds.trim_end_matches('s').parse().ok();
                let interval = seconds
                    .filter(|seconds| (0.001..=86_400.0).contains(seconds))
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                SyncPolicy::Interval(interval.ok_or_else(|| l.wrong(SYNC))?)
            }
            _ => return Err(l.wrong(SYNC)),
        };
        Ok(())
    }),
    // The process and its log.
    text("pid_file", |r, l| {
        r.config.pid_file = Some(l.rest.into());
        Ok(())
    }),
    text("control_socket", |r, l| {
        r.config.control_socket = match l.rest {
            "none" => ControlSocket::None,
            "" => return Err(l.wrong("a path, or none")),
            path => ControlSocket::At(path.into()),
        };
        Ok(())
    }),
    line("user", |r, l| {
        r.config.user = Some(l.value().to_owned());
        Ok(())
    }),
    text("include_dir", |r, l| {
        r.include = Some(l.rest.into());
        Ok(())
    }),
    text("log_dest", |r, l| {
        let destination = match (l.value(), l.rest.split_once(char::is_whitespace)) {
            ("file", Some((_, path))) => LogDestination::File(path.trim().into()),
            ("none", _) => LogDestination::None,
            ("stderr", _) => LogDestination::StandardError,
            ("stdout", _) => LogDestination::StandardOutput,
            ("syslog", _) => LogDestination::Syslog,
            ("topic", _) => LogDestination::Topic,
            _ => return Err(l.wrong("stderr, stdout, syslog, topic, none or file with a path")),
        };
        // `log_dest none` removes the destinations above it.
        if destination == LogDestination::None {
            r.config.log.destinations.clear();
        }
        r.config.log.destinations.push(destination);
        Ok(())
    }),
    line("log_type", |r, l| {
        let types = r.log_types();
        match l.value() {
            "error" => types.error = true,
            "warning" => types.warning = true,
            "notice" | "information" => types.information = true,
            "debug" | "subscribe" | "unsubscribe" | "websockets" | "internal" => types.debug = true,
            // `log_type none` removes the types above it.
            "none" => *types = NO_LOG_TYPES,
            "all" => {
                *types = LogTypes {
                    error: true,
                    warning: true,
                    information: true,
                    debug: true,
                }
            }
            _ => return Err(l.wrong("error, warning, notice, information, debug, none or all")),
        }
        Ok(())
    }),
    line("log_timestamp", |r, l| {
        r.config.log.timestamp = l.boolean()?;
        Ok(())
    }),
    text("log_timestamp_format", |r, l| {
        r.config.log.timestamp_format = Some(l.rest.to_owned());
        Ok(())
    }),
    line("log_facility", |r, l| {
        r.config.log.facility = Some(u8::try_from(l.number(0, 7)?).unwrap_or(0));
        Ok(())
    }),
    line("retry_interval", obsolete),
    line("store_clean_interval", obsolete),
    line("connection_messages", |r, l| {
        r.config.log.connections = l.boolean()?;
        Ok(())
    }),
];

const SYNC: &str = "always, never, or interval and seconds";

/// The log types before the first `log_type`.
const NO_LOG_TYPES: LogTypes = LogTypes {
    error: false,
    warning: false,
    information: false,
    debug: false,
};

/// Returns the host of a `listener` directive, or `None` for `*`, which stands for all addresses of this machine.
fn named_host(word: &str) -> Option<String> {
    (word != "*").then(|| word.to_owned())
}

/// Adds a warning for a directive of older versions of mosquitto, which has no effect.
fn obsolete(r: &mut Parser, l: &Line<'_>) -> Result<(), String> {
    r.warn(&format!("The {} option is no longer available.", l.name));
    Ok(())
}

/// Applies `use_identity_as_username` and `use_subject_as_username`. If both are on, the common name is used. Turning
/// one of them off does not affect the other.
fn identity(r: &mut Parser, l: &Line<'_>, source: IdentitySource) -> Result<(), String> {
    let is_on = l.boolean()?;
    let identity = &mut r.listener().identity;
    match (is_on, *identity) {
        (true, Some(IdentitySource::CommonName)) => {}
        (true, _) => *identity = Some(source),
        (false, on) if on == Some(source) => *identity = None,
        (false, _) => {}
    }
    Ok(())
}

/// Applies `max_qos`, which older versions of mosquitto call `maximum_qos`.
fn maximum_qos(r: &mut Parser, l: &Line<'_>) -> Result<(), String> {
    let qos = l.value().parse().ok().and_then(QoS::from_value);
    r.listener_limits().maximum_qos = Some(qos.ok_or_else(|| l.wrong("0, 1 or 2"))?);
    Ok(())
}
