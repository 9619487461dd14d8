//! [`Options`] are the options of a client.

use std::net::SocketAddr;
use std::time::Duration;

use mqtt_codec::{Connect, ProtocolVersion};
use mqtt_session::Config;
use mqtt_transport::ClientTransport;

use crate::servers::Server;

/// Number of packet identifiers for messages; see [`Config::packet_identifiers`]. Brokers rarely accept more than 20
/// messages in flight. A client that has lost its session state sends PUBREL for all 256 identifiers, which takes one
/// kilobyte.
pub const PACKET_IDENTIFIERS: u16 = 256;

/// Options of a client: servers, credentials and limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// Servers in the order in which the client tries them. If a server cannot be reached or is busy, the client fails
    /// over to the next one. The first server follows the last one. See also [`Server`].
    pub servers: Vec<Server>,
    /// Set to follow Server References (MQTT 5.0, 4.11). The client then sends its credentials and messages to any
    /// server to which a server refers it.
    pub follow_server_references: bool,
    /// Layers between the socket and MQTT, such as TLS.
    pub transport: ClientTransport,
    /// Local addresses to connect from. If the list is empty, the operating system chooses the address. If a port is 0,
    /// the operating system chooses the port.
    pub local_addresses: Vec<SocketAddr>,
    /// Idle time after which the operating system sends TCP keepalive probes. `None` disables the probes. The MQTT keep
    /// alive is independent of them.
    pub tcp_keep_alive: Option<Duration>,
    /// CONNECT packet: version, client identifier, will, credentials, keep alive and properties.
    pub connect: Connect,
    /// Limits of packets and of messages in flight. The limits that a server of MQTT 5.0 must respect are copied into
    /// CONNECT.
    pub limits: Config,
    /// Timeout of an attempt: resolving the host name, connecting, and the handshakes of the layers.
    pub connect_timeout: Duration,
    /// Maximum time for getting the first connection, because a server may start late. An attempt in progress ends at
    /// this time. An attempt that starts at the end of this time may take one second. With zero the client tries each
    /// server once. With [`Reconnect::Always`] it continues without a time limit if it has reached a server and was not
    /// rejected.
    pub wait_for_server: Duration,
    /// Behaviour after the connection was lost.
    pub reconnect: Reconnect,
    /// Function that is called with each warning about a server.
    pub on_warning: Option<fn(&str)>,
    /// Number of connections that may be lost in a row with the same message in flight. After that the client gives up
    /// the message, because the server may close the connection whenever it receives this message. With `None` the
    /// client never gives up a message. See [`crate::EventLoop::take_rejected`].
    pub maximum_losses: Option<u32>,
}

/// Behaviour after the connection was lost. If a server has rejected the client for a permanent reason, such as wrong
/// credentials, the client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// The client ends.
    Never,
    /// The client reconnects for at most this time, with growing waits. An attempt in progress ends at this time. An
    /// attempt that starts at the end of this time may take one second.
    For(Duration),
    /// The client reconnects without a time limit, with growing waits.
    Always,
}

impl Options {
    /// Returns options for MQTT 3.1.1 without credentials. The server assigns the client identifier. At most 20
    /// messages of QoS 1 and 2 are in flight. The timeouts for connecting and for each answer are 30 seconds. The
    /// client reconnects without a time limit.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            servers: vec![Server::network(host, port)],
            follow_server_references: false,
            transport: ClientTransport::default(),
            local_addresses: Vec::new(),
            tcp_keep_alive: None,
            connect: Connect::new(ProtocolVersion::V3_1_1, ""),
            limits: Config {
                packet_identifiers: PACKET_IDENTIFIERS,
                maximum_in_flight: 20,
                receive_maximum: u16::MAX,
                handshake_timeout: Duration::from_secs(30),
                response_timeout: Duration::from_secs(30),
                ..Config::default()
            },
            connect_timeout: Duration::from_secs(30),
            wait_for_server: Duration::ZERO,
            reconnect: Reconnect::Always,
            on_warning: None,
            maximum_losses: None,
        }
    }

    /// Returns the CONNECT packet with the limits of this client.
    pub(crate) fn connect_packet(&self) -> Connect {
        let mut connect = self.connect.clone();
        if connect.protocol_version == ProtocolVersion::V5_0 {
            if self.limits.receive_maximum < u16::MAX {
                connect.properties.receive_maximum =
                    std::num::NonZeroU16::new(self.limits.receive_maximum.max(1));
            }
            if self.limits.topic_alias_maximum > 0 {
                connect.properties.topic_alias_maximum = Some(self.limits.topic_alias_maximum);
            }
            if self.limits.maximum_packet_size < mqtt_codec::MAXIMUM_PACKET_SIZE {
                connect.properties.maximum_packet_size =
                    std::num::NonZeroU32::new(self.limits.maximum_packet_size.max(1));
            }
        }
        connect
    }
}
