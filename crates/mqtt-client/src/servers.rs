//! [`Servers`] chooses the server for the next connection. Hosts that the user has configured, servers of a service
//! record and Server References of MQTT 5.0 form one ring, so that this decision is in one place.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use mqtt_codec::ReasonCode;
use mqtt_session::CloseReason;

use crate::error::ClientError;

/// Address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A port on a host.
    Network {
        /// Host name or address.
        host: String,
        /// Port number.
        port: u16,
    },
    /// Unix socket at this path.
    Unix(PathBuf),
    /// Servers in the service records of a domain (RFC 2782). The client looks them up when the turn comes to this
    /// entry of [`Options::servers`](crate::Options::servers), and again after all of them have failed.
    Service {
        /// Service with its domain: `_mqtt._tcp.example.org`.
        name: String,
        /// Name server. With `None` the client uses the name servers of the operating system.
        name_server: Option<SocketAddr>,
    },
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
            Self::Service { name, .. } => write!(f, "the service {name}"),
        }
    }
}

impl Server {
    /// Returns the server at a port on a host.
    pub fn network(host: impl Into<String>, port: u16) -> Self {
        Self::Network {
            host: host.into(),
            port,
        }
    }

    /// Parses one item of a Server Reference (MQTT 5.0, 4.11): `host`, `host:port` or `[address]:port`.
    fn of_reference(item: &str, default_port: u16) -> Option<Self> {
        let (host, port) = mqtt_transport::split_host_and_port(item)?;
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => default_port,
        };
        // Some servers send URLs. Resolving such an item would only fail, and this failure would replace the error that
        // contains the reference.
        let is_odd = |c: char| c.is_control() || matches!(c, '/' | '@');
        let is_host = !host.is_empty() && !host.contains(is_odd);
        is_host.then(|| Self::network(host, port))
    }
}

/// Maximum number of Server References that are followed in a row. Two servers may refer to each other.
const MAXIMUM_REFERENCES: u32 = 8;

/// Maximum number of servers in one Server Reference that are tried.
const MAXIMUM_REFERRED: usize = 8;

/// Maximum number of servers of one service that are tried.
const MAXIMUM_FOUND: usize = 32;

/// Ring of servers in the order in which they are tried. The first one is the current server.
#[derive(Debug)]
pub(crate) struct Servers {
    /// Servers that the user has configured. Servers of a reference or a service are only in `ring`.
    named: Vec<Server>,
    ring: VecDeque<Server>,
    /// Number of servers in a row that have failed. Counting starts again after a connection, a wait, and a followed
    /// reference.
    failed: usize,
    /// Number of Server References that were followed in a row.
    references: u32,
    /// Set if the client follows Server References. Its credentials and messages then go to servers that the user has
    /// not configured.
    follows_references: bool,
}

impl Servers {
    pub(crate) fn new(servers: Vec<Server>, follows_references: bool) -> Self {
        Self {
            ring: servers.clone().into(),
            named: servers,
            failed: 0,
            references: 0,
            follows_references,
        }
    }

    /// Returns the server to which the client connects next.
    pub(crate) fn current(&self) -> Option<&Server> {
        self.ring.front()
    }

    /// Records that the current server has accepted the connection.
    pub(crate) fn accepted(&mut self) {
        self.failed = 0;
    }

    /// Records that the current server has delivered or acknowledged a message. An accepted connection is not enough,
    /// because servers that refer to each other may accept connections too.
    pub(crate) fn made_progress(&mut self) {
        self.references = 0;
    }

    /// Replaces the current entry, which is a service, by the servers that were found for it.
    pub(crate) fn found(&mut self, found: impl IntoIterator<Item = Server>) {
        // The entry of the service itself returns to the ring in `forget_found`.
        self.ring.pop_front();
        let others = std::mem::take(&mut self.ring);
        self.ring.extend(found.into_iter().take(MAXIMUM_FOUND));
        self.ring.extend(others);
    }

    /// Handles the failure of the current server. If the client may connect to another server without a wait, makes
    /// that server the current one and returns `true`.
    pub(crate) fn move_on(&mut self, error: &ClientError, was_accepted: bool) -> bool {
        if self.follow(error) {
            let are_too_many = self.references > MAXIMUM_REFERENCES;
            if are_too_many {
                self.references = 0; // After a wait the client may follow references again.
            }
            return !are_too_many;
        }
        // After the loss of a connection the client first returns to the server that has its session.
        let may_move = is_sent_away(error) || !was_accepted && is_of_this_server(error);
        if !may_move {
            return false;
        }
        // Each server is tried once before the client waits.
        self.failed += 1;
        // The failed server moves to the end of the ring.
        self.ring.rotate_left(usize::from(self.ring.len() > 1));
        let has_another = self.failed < self.ring.len();
        if !has_another {
            self.failed = 0;
            self.forget_found();
        }
        has_another
    }

    /// If the user has configured a service, restores the configured ring, without the servers of services and
    /// references. After the wait the service is looked up again, because its servers may have moved.
    fn forget_found(&mut self) {
        let is_service = |server: &Server| matches!(server, Server::Service { .. });
        if self.named.iter().any(is_service) {
            self.ring = self.named.clone().into();
        }
    }

    /// Returns the Server Reference in the error, if the client follows references.
    pub(crate) fn reference<'a>(&self, error: &'a ClientError) -> Option<&'a str> {
        error.server_reference().filter(|_| self.follows_references)
    }

    /// Inserts the servers of a Server Reference before the others. Returns `false` if the error has no usable
    /// reference.
    fn follow(&mut self, error: &ClientError) -> bool {
        let Some(reference) = self.reference(error) else {
            return false;
        };
        // A reference without a port means the port of the current server.
        let default_port = match self.current() {
            Some(Server::Network { port, .. }) => *port,
            _ => 1883,
        };
        let items = reference.split_whitespace().take(MAXIMUM_REFERRED);
        let referred: Vec<_> = items
            .filter_map(|item| Server::of_reference(item, default_port))
            // The current server has just rejected the client.
            .filter(|server| Some(server) != self.current())
            .collect();
        if referred.is_empty() {
            return false;
        }
        self.references += 1;
        // The client tries each server of the new ring before it waits.
        self.failed = 0;
        // Servers of earlier references or services are removed, so that the ring does not grow.
        let others = self
            .named
            .iter()
            .filter(|server| !referred.contains(server));
        self.ring = referred.iter().chain(others).cloned().collect();
        true
    }
}

/// Returns `true` if the server is the cause of the error. Another server, or this one later, may then accept the
/// client.
pub(crate) fn is_about_server(error: &ClientError) -> bool {
    is_of_this_server(error) || is_sent_away(error)
}

/// Returns `true` if the server has sent DISCONNECT with the request to use another server.
fn is_sent_away(error: &ClientError) -> bool {
    let ClientError::Closed(CloseReason::Disconnected(disconnect)) = error else {
        return false;
    };
    matches!(
        disconnect.reason_code,
        ReasonCode::UseAnotherServer | ReasonCode::ServerMoved
    )
}

/// Returns `true` if another server may accept the client. Errors that the client causes, such as wrong credentials, do
/// not trigger failover, because all servers would reject the client.
fn is_of_this_server(error: &ClientError) -> bool {
    match error {
        ClientError::Connect(_) | ClientError::Lookup(_) | ClientError::Transport(_) => true,
        ClientError::Closed(CloseReason::Refused(connack)) => matches!(
            connack.reason_code,
            ReasonCode::ServerUnavailable
                | ReasonCode::ServerBusy
                | ReasonCode::QuotaExceeded
                | ReasonCode::UseAnotherServer
                | ReasonCode::ServerMoved
                | ReasonCode::ConnectionRateExceeded
        ),
        ClientError::Closed(CloseReason::ConnectionLost | CloseReason::HandshakeTimeout) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{Connack, ConnackProperties, Disconnect};

    fn lost() -> ClientError {
        ClientError::Closed(CloseReason::ConnectionLost)
    }

    fn refused(reason_code: ReasonCode, reference: Option<&str>) -> ClientError {
        let connack = Connack {
            session_present: false,
            reason_code,
            properties: ConnackProperties {
                server_reference: reference.map(Into::into),
                ..ConnackProperties::default()
            },
        };
        ClientError::Closed(CloseReason::Refused(Box::new(connack)))
    }

    fn servers(names: &[&str]) -> Servers {
        let servers = names.iter().map(|name| Server::network(*name, 1));
        Servers::new(servers.collect(), true)
    }

    fn current(servers: &Servers) -> String {
        servers.current().unwrap().to_string()
    }

    #[test]
    fn each_server_is_tried_once_before_a_delay() {
        let mut servers = servers(&["a", "b", "c"]);
        for (more, next) in [(true, "b:1"), (true, "c:1"), (false, "a:1"), (true, "b:1")] {
            assert_eq!(servers.move_on(&lost(), false), more);
            assert_eq!(current(&servers), next);
        }
        servers.accepted();
        assert!(!servers.move_on(&lost(), true)); // This server has the session.
        assert_eq!(current(&servers), "b:1");
        assert!(servers.move_on(&lost(), false));
        assert!(servers.move_on(&refused(ReasonCode::ServerBusy, None), false));
        assert_eq!(current(&servers), "a:1");
    }

    #[test]
    fn servers_of_a_service_replace_it_until_the_next_delay() {
        let service = |name: &str| Server::Service {
            name: name.into(),
            name_server: None,
        };
        let found = |host| [Server::network(host, 1), Server::network(host, 2)];
        let mut servers = Servers::new(vec![service("s"), service("t")], false);
        servers.found(found("a"));
        for next in ["a:2", "the service t"] {
            assert!(servers.move_on(&lost(), false));
            assert_eq!(current(&servers), next);
        }
        servers.found(found("b"));
        assert!(servers.move_on(&lost(), false));
        assert!(!servers.move_on(&lost(), false));
        assert_eq!(current(&servers), "the service s");
        servers.found((0..100).map(|port| Server::network("c", port)));
        assert_eq!(servers.ring.len(), MAXIMUM_FOUND + 1);
    }

    #[test]
    fn client_rejected_without_a_reference_tries_the_next_server() {
        let away = Disconnect::new(ReasonCode::ServerMoved);
        let away = ClientError::Closed(CloseReason::Disconnected(Box::new(away)));
        let mut servers = servers(&["a", "b"]);
        servers.accepted();
        assert!(servers.move_on(&away, true));
        assert_eq!(current(&servers), "b:1");
    }

    #[test]
    fn rejection_about_the_client_ends_attempts_at_every_server() {
        let mut servers = servers(&["a", "b"]);
        assert!(!servers.move_on(&refused(ReasonCode::NotAuthorized, None), false));
        assert_eq!(current(&servers), "a:1");
    }

    #[test]
    fn a_reference_is_not_followed_unless_the_user_allows_it() {
        let moved = refused(ReasonCode::ServerMoved, Some("elsewhere"));
        let mut servers = Servers::new(vec![Server::network("a", 1)], false);
        assert!(!servers.move_on(&moved, false));
        assert_eq!(current(&servers), "a:1");
        // The client may fail over to a server that the user has configured.
        let mut servers = Servers::new(
            vec![Server::network("a", 1), Server::network("b", 1)],
            false,
        );
        assert!(servers.move_on(&moved, false));
        assert_eq!(current(&servers), "b:1");
    }

    #[test]
    fn references_are_followed_up_to_a_limit() {
        let mut servers = servers(&["a"]);
        let moved = refused(
            ReasonCode::ServerMoved,
            Some("b [::1]:7 http://no c:x :3 d:9"),
        );
        assert!(servers.move_on(&moved, false));
        let ring: Vec<_> = servers.ring.iter().map(ToString::to_string).collect();
        assert_eq!(ring, ["b:1", "[::1]:7", "d:9", "a:1"]);
        // A reference has no effect with other reason codes, and the current server in a reference is skipped.
        let busy = refused(ReasonCode::NotAuthorized, Some("e"));
        assert!(!servers.move_on(&busy, false));
        let own = refused(ReasonCode::UseAnotherServer, Some("b:1"));
        assert!(servers.move_on(&own, false));
        assert_eq!(current(&servers), "[::1]:7");
        let mut followed = 1;
        let mut disconnect = Disconnect::new(ReasonCode::UseAnotherServer);
        loop {
            disconnect.properties.server_reference = Some(format!("x{followed}"));
            let error =
                ClientError::Closed(CloseReason::Disconnected(Box::new(disconnect.clone())));
            servers.accepted(); // An accepted connection is not progress.
            if !servers.move_on(&error, true) {
                break;
            }
            followed += 1;
        }
        assert_eq!(followed, MAXIMUM_REFERENCES);
        assert_eq!(servers.ring.len(), 2); // The last reference and the configured server.
        servers.made_progress();
        disconnect.properties.server_reference = Some("y".into());
        let error = ClientError::Closed(CloseReason::Disconnected(Box::new(disconnect)));
        assert!(servers.move_on(&error, true));
    }
}
