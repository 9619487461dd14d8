//! What the end of a connection means for the exit status, and in words.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use mqtt_client::session::{CloseReason, Printable, PublishError};
use mqtt_client::{ClientError, Server};
use mqtt_codec::{Connack, DecodeError, EncodeError, ProtocolVersion, ReasonCode};
use mqtt_transport::{
    HandshakeError, LayerKind, ProxyError, TlsError, TlsSetupError, WebSocketError,
};

use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::settings::connection::ConnectionSettings;
use crate::output::messages::{note, warn};
use crate::wording::system_text;

/// What a program tells about its connection.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostics {
    version: ProtocolVersion,
    target: Target,
    /// The proxy, if there is one.
    proxy: Option<String>,
    follows_references: bool,
    quiet: bool,
    takeovers: TakeoverCounter,
    reported: Reported,
}

/// The state of the connection, as far as the person knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    /// There has been no connection yet.
    New,
    /// There has been none yet, and a failure was printed.
    Failed,
    Up,
    /// The connection was lost, which was printed.
    Lost,
}

/// How often another client took the session over lately. Once may be this client's own late CONNECT;
/// two clients with one identifier would go on for ever.
#[derive(Debug, Clone, Default)]
struct TakeoverCounter {
    count: u8,
    last: Option<Instant>,
}

/// With so many in a row there is another client.
const MAXIMUM_TAKEOVERS: u8 = 3;

/// A connection that lasted so long ends the row.
const TAKEOVER_INTERVAL: Duration = Duration::from_secs(60);

impl TakeoverCounter {
    /// Whether it is one too many.
    fn note(&mut self, now: Instant) -> bool {
        if self
            .last
            .is_some_and(|last| now - last >= TAKEOVER_INTERVAL)
        {
            self.count = 0;
        }
        self.last = Some(now);
        self.count += 1;
        self.count >= MAXIMUM_TAKEOVERS
    }
}

/// Where a connection goes, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    server: String,
    /// The proxy that the socket connects to, if there is one on the way to this server.
    proxy: Option<String>,
}

impl Diagnostics {
    pub(crate) fn new(connection: &ConnectionSettings, server: Option<&Server>) -> Self {
        let proxy = connection.transport.proxy.as_ref();
        let proxy = proxy.map(|proxy| Server::network(&*proxy.host, proxy.port));
        let proxy = proxy.map(|proxy| printable_server(Some(&proxy)));
        Self {
            version: connection.version(),
            target: Target::new(server, proxy.as_ref()),
            proxy,
            follows_references: connection.follow_redirects,
            quiet: connection.quiet,
            takeovers: TakeoverCounter::default(),
            reported: Reported::New,
        }
    }

    /// Prints that the server has accepted the connection, if a failure was printed before.
    pub(crate) fn print_connected(&mut self) {
        let text = match std::mem::replace(&mut self.reported, Reported::Up) {
            Reported::New | Reported::Up => return,
            Reported::Failed => "Connected",
            Reported::Lost => "Reconnected",
        };
        if !self.quiet {
            note(&format!("{text} to {}.", self.target.server));
        }
    }

    /// The failure that a program ends with because of this.
    pub(crate) fn failure(&self, error: ClientError) -> Failure {
        let status = status(&error, self.version);
        let words = self.words(&error);
        let failure = match error {
            ClientError::Lookup(_)
            | ClientError::Transport(_)
            | ClientError::Closed(
                CloseReason::Refused(_) | CloseReason::Decode(DecodeError::ConnackCode(_)),
            ) => Failure::unmarked(status, words),
            _ => Failure::new(status, anyhow::anyhow!(words)),
        };
        failure.quiet_if(self.quiet)
    }

    /// A connection is gone, and will be made again, perhaps to another server, if this is no failure.
    ///
    /// # Errors
    /// If it is of no use, as another client takes the session over again and again.
    pub(crate) fn report_loss(
        &mut self,
        error: ClientError,
        wait: Duration,
        next: Option<&Server>,
    ) -> Result<(), Failure> {
        if is_takeover(&error) && self.takeovers.note(Instant::now()) {
            let hint = "Another client uses the same client identifier (-i).";
            return Err(self.failure(error).with_hint(hint));
        }
        self.reported = match self.reported {
            Reported::New | Reported::Failed => Reported::Failed,
            Reported::Up | Reported::Lost => Reported::Lost,
        };
        let words = self.words(&error);
        let next = Target::new(next, self.proxy.as_ref());
        let server = &next.server;
        let then = match (next == self.target, wait.as_secs_f64()) {
            (true, seconds) => format!("Trying again in {seconds:.1} s."),
            (false, 0.0) => format!("Trying {server}."),
            (false, seconds) => format!("Trying {server} in {seconds:.1} s."),
        };
        self.warn(&format!("{words} {then}"));
        self.target = next;
        Ok(())
    }

    fn words(&self, error: &ClientError) -> String {
        let words = words(error, self.version, &self.target);
        match error.server_reference() {
            Some(reference) if !self.follows_references => format!(
                "{words} The broker refers to '{}' (use --follow-redirects to connect there).",
                Printable(reference)
            ),
            _ => words,
        }
    }

    /// The server is another one now.
    pub(crate) fn set_server(&mut self, server: Option<&Server>) {
        self.target = Target::new(server, self.proxy.as_ref());
    }

    /// A warning, if they are wanted.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            warn(text);
        }
    }
}

impl Target {
    /// The server with the proxy. A service is looked up from this machine.
    fn new(server: Option<&Server>, proxy: Option<&String>) -> Self {
        let is_network = matches!(server, Some(Server::Network { .. }));
        Self {
            server: printable_server(server),
            proxy: proxy.filter(|_| is_network).cloned(),
        }
    }
}

fn printable_server(server: Option<&Server>) -> String {
    let text = |server: &Server| Printable(&server.to_string()).to_string();
    server.map(text).unwrap_or_default()
}

fn is_takeover(error: &ClientError) -> bool {
    let ClientError::Closed(CloseReason::Disconnected(disconnect)) = error else {
        return false;
    };
    disconnect.reason_code == ReasonCode::SessionTakenOver
}

fn status(error: &ClientError, version: ProtocolVersion) -> Status {
    match error {
        ClientError::Closed(reason) => match reason {
            CloseReason::Refused(connack) => Status::of_connack(connack, version),
            CloseReason::Decode(DecodeError::ConnackCode(code)) => {
                Status::Refused(*code) // mosquitto passes any code on
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

/// The first words of each line are mosquitto's.
fn words(error: &ClientError, version: ProtocolVersion, target: &Target) -> String {
    let Target { server, proxy } = target;
    match error {
        ClientError::Lookup(error) => {
            let text = system_text(error);
            // The standard library names the function that failed before the reason.
            let text = text.rsplit(": ").next().unwrap_or_default();
            let name = match proxy {
                Some(proxy) => format!("the proxy {proxy}"),
                None => server.clone(),
            };
            format!("Unable to connect (Lookup error). Cannot find {name}: {text}.")
        }
        ClientError::Connect(error) => connect_error_text(error, target),
        ClientError::Closed(reason) => match reason {
            CloseReason::Refused(connack) => connect_reject_text(connack, version),
            CloseReason::Decode(DecodeError::ConnackCode(_)) => match version {
                ProtocolVersion::V5_0 => "Connection error: Unknown reason.".to_owned(),
                _ => "Connection error: Connection Refused: unknown reason.".to_owned(),
            },
            CloseReason::ConnectionLost => format!("The connection was lost ({server})."),
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
                let mut text = format!(
                    "The server ended the connection: {}",
                    disconnect.reason_code
                );
                if let Some(reason) = &disconnect.properties.reason_string {
                    text += &format!(" ({})", Printable(reason));
                }
                text + "."
            }
            reason => format!(
                "A network protocol error occurred when communicating with the broker: {reason}."
            ),
        },
        ClientError::Transport(error) => transport(error, target),
        ClientError::Publish(error) => publish_error_text(error),
        error => format!("{error}."),
    }
}

/// Returns the words for a socket that could not be connected. mosquitto's tools print the first of them.
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

/// Returns the words for a failure between the socket and MQTT.
fn transport(error: &io::Error, target: &Target) -> String {
    let Target { server, proxy } = target;
    let proxy = proxy.as_deref().unwrap_or_default();
    let of_proxy = |error: &dyn fmt::Display| {
        format!(
            "Unable to connect (Proxy error). The proxy {proxy} does not connect to {server}: {error}."
        )
    };
    let of_websocket =
        |error: &dyn fmt::Display| format!("Unable to connect (WebSocket). {server}: {error}.");
    let of_tls = |error: &dyn fmt::Display| {
        format!("Unable to connect (A TLS error occurred). {server}: {error}.")
    };
    let Some(source) = error.get_ref() else {
        return format!("Unable to connect. {server}: {}.", system_text(error));
    };
    if let Some(error) = source.downcast_ref::<ProxyError>() {
        return of_proxy(error);
    }
    if let Some(error) = source.downcast_ref::<WebSocketError>() {
        return of_websocket(error);
    }
    if let Some(error) = source.downcast_ref::<HandshakeError>() {
        return match error.layer {
            LayerKind::Proxy => of_proxy(error),
            LayerKind::WebSocket => of_websocket(error),
            _ => of_tls(error),
        };
    }
    // The server speaks TLS and this client does not, so nothing of TLS went wrong.
    if let Some(TlsError::Expected) = source.downcast_ref() {
        return format!("Unable to connect. {server}: {source}.");
    }
    if source.is::<TlsError>() || source.is::<TlsSetupError>() {
        return of_tls(&source);
    }
    format!("Unable to connect. {server}: {source}.")
}

/// A message that is not sent, because the server said that it does not take it.
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

fn connect_reject_text(connack: &Connack, version: ProtocolVersion) -> String {
    let code = connack.reason_code;
    if version != ProtocolVersion::V5_0 {
        let text = match connack.code(version) {
            1 => "unacceptable protocol version",
            2 => "identifier rejected",
            3 => "broker unavailable",
            4 => "bad user name or password",
            _ => "not authorised",
        };
        return format!("Connection error: Connection Refused: {text}.");
    }
    let mut text = format!("Connection error: {code}");
    if code == ReasonCode::UnsupportedProtocolVersion {
        text += ". Try connecting to an MQTT v5 broker, or use MQTT v3.x mode";
    }
    if let Some(reason) = &connack.properties.reason_string {
        text += &format!(" ({})", Printable(reason));
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_connection_asks_whether_there_is_a_broker() {
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
