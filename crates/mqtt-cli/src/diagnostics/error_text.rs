//! The exit status and the text for each end of a connection. Each text begins with mosquitto's words, because scripts
//! may match on them. The words after that say what the user can do.

use std::io;

use mqtt_client::session::{CloseReason, Printable, PublishError};
use mqtt_client::{ClientError, Server};
use mqtt_codec::{Connack, DecodeError, EncodeError, ProtocolVersion, ReasonCode};
use mqtt_transport::{
    HandshakeError, LayerKind, ProxyError, TlsError, TlsSetupError, WebSocketError,
};

use crate::exit_status::{Class, Status};
use crate::wording::system_text;

/// The server of a connection, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) server: String,
    /// The proxy to which the socket connects, if this server is reached through a proxy.
    pub(super) proxy: Option<String>,
}

impl Target {
    /// Creates a target. The proxy is named only for a host with a port. No proxy is used for a Unix socket, or for the
    /// lookup of service records in the DNS.
    pub(super) fn new(server: Option<&Server>, proxy: Option<&String>) -> Self {
        let is_network = matches!(server, Some(Server::Network { .. }));
        Self {
            server: printable_server(server),
            proxy: proxy.filter(|_| is_network).cloned(),
        }
    }
}

/// Returns the name of a server with control characters escaped, because a DNS record or a Server Reference may have
/// named the server.
pub(super) fn printable_server(server: Option<&Server>) -> String {
    let text = |server: &Server| Printable(&server.to_string()).to_string();
    server.map(text).unwrap_or_default()
}

/// Returns the exit status of a program that ends because of an error.
pub(super) fn status(error: &ClientError, version: ProtocolVersion) -> Status {
    match error {
        ClientError::Closed(reason) => match reason {
            CloseReason::Refused(connack) => Status::of_connack(connack, version),
            CloseReason::Decode(DecodeError::ConnackCode(code)) => {
                Status::Refused(*code) // as in the mosquitto tools, an unknown code is the exit status, too
            }
            CloseReason::Decode(_) | CloseReason::Protocol(..) => Status::ProtocolError,
            CloseReason::Disconnected(_) => Status::Disconnected,
            CloseReason::KeepAliveTimeout => Status::KeepAlive,
            _ => Status::ConnectionLost,
        },
        ClientError::Publish(_) => Status::ConnectionLost,
        _ => Status::Failed,
    }
}

/// Returns the class of an error, if it is more specific than the class of the exit status.
pub(super) fn class(error: &ClientError) -> Option<Class> {
    match error {
        ClientError::Lookup(_) => Some(Class::HostNotFound),
        ClientError::Connect(_) => Some(Class::Unavailable),
        // A handshake that takes too long violates no protocol.
        ClientError::Transport(error) if error.kind() == io::ErrorKind::TimedOut => {
            Some(Class::Unavailable)
        }
        ClientError::Transport(_) => Some(Class::Protocol),
        ClientError::Publish(_) => Some(Class::Refused),
        ClientError::Encode(_) | ClientError::Topic(_) => Some(Class::Usage),
        _ => None,
    }
}

/// Returns the reason code and the reason string of a broker that has closed the connection.
pub(super) fn reason(
    error: &ClientError,
    version: ProtocolVersion,
) -> Option<(u8, Option<String>)> {
    let ClientError::Closed(reason) = error else {
        return None;
    };
    match reason {
        CloseReason::Refused(connack) => {
            let text = connack.properties.reason_string.clone();
            Some((connack.code(version), text))
        }
        CloseReason::Decode(DecodeError::ConnackCode(code)) => Some((*code, None)),
        CloseReason::Disconnected(disconnect) => {
            let text = disconnect.properties.reason_string.clone();
            Some((disconnect.reason_code.value(), text))
        }
        _ => None,
    }
}

/// Returns the text of an error.
pub(super) fn error_text(error: &ClientError, version: ProtocolVersion, target: &Target) -> String {
    match error {
        ClientError::Lookup(error) => lookup_error_text(error, target),
        ClientError::Connect(error) => connect_error_text(error, target),
        ClientError::Closed(reason) => close_text(reason, version, &target.server),
        ClientError::Transport(error) => transport_error_text(error, target),
        ClientError::Publish(error) => publish_error_text(error),
        error => format!("{error}."),
    }
}

/// Returns the text for a name that was not found.
fn lookup_error_text(error: &io::Error, target: &Target) -> String {
    let text = system_text(error);
    // The standard library puts the name of the failed function before the reason. The user needs only the reason.
    let text = text.rsplit(": ").next().unwrap_or_default();
    let name = match &target.proxy {
        Some(proxy) => format!("the proxy {proxy}"),
        None => target.server.clone(),
    };
    format!("Unable to connect (Lookup error). Cannot find {name}: {text}.")
}

/// Returns the text for the end of an MQTT connection.
fn close_text(reason: &CloseReason, version: ProtocolVersion, server: &str) -> String {
    match reason {
        CloseReason::Refused(connack) => connect_reject_text(connack, version),
        CloseReason::Decode(DecodeError::ConnackCode(_)) => match version {
            ProtocolVersion::V5_0 => "Connection error: Unknown reason.".to_owned(),
            _ => "Connection error: Connection Refused: unknown reason.".to_owned(),
        },
        CloseReason::ConnectionLost => format!("The connection was lost ({server})."),
        // The text names the option, because the default of 30 s may be too short for a slow link.
        CloseReason::HandshakeTimeout => {
            format!(
                "The connection was lost: no answer from {server} in time (see --connect-timeout)."
            )
        }
        CloseReason::ResponseTimeout(response) => format!(
            "The connection was lost: {server} sent no {response} in time (see --connect-timeout)."
        ),
        CloseReason::KeepAliveTimeout => {
            format!("Keepalive exceeded: {server} did not answer in time.")
        }
        CloseReason::Disconnected(disconnect) => {
            let reason = in_parentheses(disconnect.properties.reason_string.as_deref());
            let code = disconnect.reason_code;
            format!("The server ended the connection: {code}{reason}.")
        }
        reason => format!(
            "A network protocol error occurred when communicating with the broker: {reason}."
        ),
    }
}

/// Returns the text for a socket that could not connect. The text begins with the words of the system, which the
/// mosquitto tools print.
fn connect_error_text(error: &io::Error, target: &Target) -> String {
    let Target { server, proxy } = target;
    let (kind, address) = match proxy {
        Some(proxy) => ("proxy", proxy),
        None => ("broker", server),
    };
    let text = system_text(error);
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{text}. Is there a {kind} on {address}?"),
        io::ErrorKind::PermissionDenied if address.contains('/') => {
            format!("{text}: this user may not connect to the socket {address}.")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{text}: a firewall of this machine forbids connections to {address}.")
        }
        io::ErrorKind::NotFound => format!("{text}: there is no socket {address}."),
        io::ErrorKind::TimedOut => {
            format!("Connection timed out: {address} does not answer (see --connect-timeout).")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{text}: cannot connect to {address} from the local address (see -A).")
        }
        _ => format!("{text}: cannot connect to {address}."),
    }
}

/// Returns the text for a failure of TLS, WebSocket or a proxy.
fn transport_error_text(error: &io::Error, target: &Target) -> String {
    let Target { server, proxy } = target;
    // These layers wrap their errors in an `io::Error`, the error type of the transport. An `io::Error` without an
    // inner error comes from the system.
    let text = match error.get_ref() {
        Some(source) => source.to_string(),
        None => system_text(error),
    };
    match failed_layer(error) {
        Some(LayerKind::Proxy) => {
            let proxy = proxy.as_deref().unwrap_or_default();
            format!(
                "Unable to connect (Proxy error). The proxy {proxy} does not connect to {server}: {text}."
            )
        }
        Some(LayerKind::WebSocket) => format!("Unable to connect (WebSocket). {server}: {text}."),
        Some(_) => format!("Unable to connect (A TLS error occurred). {server}: {text}."),
        None => format!("Unable to connect. {server}: {text}."),
    }
}

/// Returns the layer that an error is about. `None` for an error of the system, and for a server that answers with TLS
/// although this client has TLS off: that is not an error of TLS.
fn failed_layer(error: &io::Error) -> Option<LayerKind> {
    let source = error.get_ref()?;
    if let Some(error) = source.downcast_ref::<HandshakeError>() {
        return Some(error.layer);
    }
    if source.is::<ProxyError>() {
        return Some(LayerKind::Proxy);
    }
    if source.is::<WebSocketError>() {
        return Some(LayerKind::WebSocket);
    }
    let is_tls = match source.downcast_ref::<TlsError>() {
        Some(error) => !matches!(error, TlsError::Expected),
        None => source.is::<TlsSetupError>(),
    };
    is_tls.then_some(LayerKind::Tls)
}

/// Returns the text for a message that was not sent, because the broker has announced that it does not accept such
/// messages.
fn publish_error_text(error: &PublishError) -> String {
    match error {
        PublishError::QoSNotSupported => {
            "Message QoS not supported on broker, try a lower QoS.".to_owned()
        }
        PublishError::Encode(EncodeError::PacketTooLarge(length)) => format!(
            "Message payload is too large. The broker does not accept a packet of {length} bytes."
        ),
        error => format!("{error}."),
    }
}

/// Returns the text for a CONNACK that rejects the connection.
fn connect_reject_text(connack: &Connack, version: ProtocolVersion) -> String {
    let code = connack.reason_code;
    if version != ProtocolVersion::V5_0 {
        // The words of mosquitto for the return codes. The decoder rejects all other codes.
        let text = match connack.code(version) {
            1 => "unacceptable protocol version",
            2 => "identifier rejected",
            3 => "broker unavailable",
            4 => "bad user name or password",
            _ => "not authorised",
        };
        return format!("Connection error: Connection Refused: {text}.");
    }
    // The mosquitto tools print the same advice.
    let advice = match code {
        ReasonCode::UnsupportedProtocolVersion => {
            ". Try connecting to an MQTT v5 broker, or use MQTT v3.x mode"
        }
        _ => "",
    };
    let reason = in_parentheses(connack.properties.reason_string.as_deref());
    format!("Connection error: {code}{advice}{reason}.")
}

/// Returns the reason string of the broker in parentheses, after a space.
fn in_parentheses(reason_string: Option<&str>) -> String {
    let text = |text| format!(" ({})", Printable(text));
    reason_string.map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connection_refused_has_the_hint_that_no_broker_may_be_running() {
        let words = |kind: io::ErrorKind, server: &str| {
            let target = Target {
                server: server.to_owned(),
                proxy: None,
            };
            connect_error_text(&kind.into(), &target)
        };
        for (kind, server, end) in [
            (
                io::ErrorKind::ConnectionRefused,
                "h:1",
                ". Is there a broker on h:1?",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "h:1",
                ": a firewall of this machine forbids connections to h:1.",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "/run/s",
                ": this user may not connect to the socket /run/s.",
            ),
            (
                io::ErrorKind::NotFound,
                "/run/s",
                ": there is no socket /run/s.",
            ),
            (
                io::ErrorKind::TimedOut,
                "h:1",
                "Connection timed out: h:1 does not answer (see --connect-timeout).",
            ),
            (
                io::ErrorKind::HostUnreachable,
                "h:1",
                ": cannot connect to h:1.",
            ),
        ] {
            let text = words(kind, server);
            assert!(text.ends_with(end), "{text}");
        }
    }
}
