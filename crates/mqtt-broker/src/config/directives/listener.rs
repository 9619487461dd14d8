//! The directives of a listener: its address, its protocol, and the limits of its clients.

use mqtt_broker_core::IdentitySource;
use mqtt_codec::{ProtocolVersion, QoS};

use super::definition::{Definition, text, word};
use crate::config::line::Line;
use crate::config::model::ListenerConfig;
use crate::config::settings::Settings;

/// A directive of a listener.
#[derive(Debug)]
pub(crate) enum ListenerDirective {
    Listener {
        port: u16,
        host: Option<String>,
    },
    Port(u16),
    BindAddress(String),
    OnlyIpv4(bool),
    WebSocket(bool),
    Origin(String),
    MountPoint(String),
    Versions(Vec<ProtocolVersion>),
    /// The part of the certificate that is the user name, and `true` to turn this on.
    Identity(IdentitySource, bool),
    UserNameIsIdentifier(bool),
    MaximumConnections(Option<usize>),
    MaximumQos(QoS),
    TopicAliasMaximum(u16),
    TopicAliases(u16),
}

use ListenerDirective as D;

pub(crate) const LISTENERS: &[Definition<D>] = &[
    word("listener", |l| {
        let host = l.second().filter(|word| !word.starts_with('#'));
        Ok(D::Listener {
            port: l.number_16(0)?,
            host: host.and_then(named_host),
        })
    }),
    word("port", |l| l.number_16(0).map(D::Port)),
    word("bind_address", |l| Ok(D::BindAddress(l.value().to_owned()))),
    word("socket_domain", |l| match l.value() {
        "ipv4" => Ok(D::OnlyIpv4(true)),
        "ipv6" => Ok(D::OnlyIpv4(false)),
        _ => Err(l.wrong("ipv4 or ipv6")),
    }),
    word("protocol", |l| match l.value() {
        "mqtt" => Ok(D::WebSocket(false)),
        "websockets" => Ok(D::WebSocket(true)),
        _ => Err(l.wrong("mqtt or websockets")),
    }),
    word("websockets_origin", |l| Ok(D::Origin(l.value().to_owned()))),
    text("mount_point", |l| {
        if l.rest.contains(['+', '#', '\0']) {
            let value = l.rest;
            return Err(format!(
                "Invalid 'mount_point' value ({value}): must not contain '+' or '#'."
            ));
        }
        Ok(D::MountPoint(l.rest.to_owned()))
    }),
    word("accept_protocol_versions", |l| versions(l).map(D::Versions)),
    word("use_identity_as_username", |l| {
        Ok(D::Identity(IdentitySource::CommonName, l.boolean()?))
    }),
    word("use_subject_as_username", |l| {
        Ok(D::Identity(IdentitySource::Subject, l.boolean()?))
    }),
    word("use_username_as_clientid", |l| {
        l.boolean().map(D::UserNameIsIdentifier)
    }),
    word("max_connections", |l| {
        l.limit_or_minus_one().map(D::MaximumConnections)
    }),
    word("max_qos", maximum_qos),
    // Older versions of mosquitto have this name for `max_qos`.
    word("maximum_qos", maximum_qos),
    word("max_topic_alias", |l| {
        l.number_16(0).map(D::TopicAliasMaximum)
    }),
    word("max_topic_alias_broker", |l| {
        l.number_16(0).map(D::TopicAliases)
    }),
];

impl ListenerDirective {
    /// Applies the directive to the listener to which it belongs.
    pub(crate) fn apply(self, settings: &mut Settings) {
        match self {
            Self::Listener { port, host } => settings.add_listener(ListenerConfig {
                port,
                host,
                ..ListenerConfig::default()
            }),
            Self::Port(port) => settings.set_port(port),
            // `bind_address` belongs to the default listener, even below a `listener`.
            Self::BindAddress(host) => settings.default_listener.host = Some(host),
            Self::OnlyIpv4(only_ipv4) => settings.listener().only_ipv4 = Some(only_ipv4),
            Self::WebSocket(websocket) => settings.listener().websocket = websocket,
            Self::Origin(origin) => settings.listener().origins.push(origin),
            Self::MountPoint(topic) => settings.listener().mount_point = Some(topic),
            Self::Identity(source, is_on) => {
                turn_identity(&mut settings.listener().identity, source, is_on);
            }
            Self::UserNameIsIdentifier(is_on) => {
                settings.listener().user_name_is_identifier = is_on;
            }
            Self::Versions(versions) => settings.listener_limits().versions = Some(versions),
            Self::MaximumConnections(maximum) => {
                settings.listener_limits().maximum_connections = maximum;
            }
            Self::MaximumQos(qos) => settings.listener_limits().maximum_qos = Some(qos),
            Self::TopicAliasMaximum(maximum) => {
                settings.listener_limits().topic_alias_maximum = Some(maximum);
            }
            Self::TopicAliases(count) => settings.listener_limits().topic_aliases = Some(count),
        }
    }
}

/// Turns a part of the certificate on or off as source of the user name. If both parts are turned on, only the common
/// name is kept. Turning off a part that is not in use has no effect.
fn turn_identity(identity: &mut Option<IdentitySource>, source: IdentitySource, is_on: bool) {
    match (is_on, *identity) {
        (true, Some(IdentitySource::CommonName)) => {}
        (true, _) => *identity = Some(source),
        (false, on) if on == Some(source) => *identity = None,
        (false, _) => {}
    }
}

/// Returns the host of a `listener` directive, or `None` for `*`, which stands for all addresses of this machine.
fn named_host(word: &str) -> Option<String> {
    (word != "*").then(|| word.to_owned())
}

fn versions(l: &Line<'_>) -> Result<Vec<ProtocolVersion>, String> {
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
    Ok(versions)
}

fn maximum_qos(l: &Line<'_>) -> Result<ListenerDirective, String> {
    let qos = l.value().parse().ok().and_then(QoS::from_value);
    qos.map(D::MaximumQos).ok_or_else(|| l.wrong("0, 1 or 2"))
}
