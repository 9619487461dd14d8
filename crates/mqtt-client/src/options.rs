//! The options of a client.

use std::net::SocketAddr;
use std::time::Duration;

use mqtt_codec::{Connect, ProtocolVersion};
use mqtt_session::Config;
use mqtt_transport::ClientTransport;

use crate::servers::Server;

/// The number of packet identifiers that messages get; see [`Config::packet_identifiers`]. Brokers rarely accept
/// more than 20 messages at a time, and the PUBRELs for all of them are one kilobyte.
pub const PACKET_IDENTIFIERS: u16 = 256;

/// The options of a client: servers, credentials, limits.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, in the order in which the client tries them. The client fails over to the next one if a server cannot
    /// be reached or is busy, and begins again after the last one; see also [`Server`].
    pub servers: Vec<Server>,
    /// Set if the client follows Server References (MQTT 5.0, 4.11): CONNECT with its credentials, and messages, then
    /// go to any server that a server names.
    pub follow_server_references: bool,
    /// The layers between the socket and MQTT, such as TLS.
    pub transport: ClientTransport,
    /// The local addresses to connect from. The system chooses the address if the list is empty, and the port if it is 0.
    pub local_addresses: Vec<SocketAddr>,
    /// The idle time after which the system sends TCP keepalive probes; `None` turns them off. The keep alive of MQTT
    /// works without them.
    pub tcp_keep_alive: Option<Duration>,
    /// The CONNECT packet: version, client identifier, will, credentials, keep alive, properties.
    pub connect: Connect,
    /// The limits of packets and of messages in flight. Limits that a server of 5.0 must know are copied into CONNECT.
    pub limits: Config,
    /// Timeout for looking up the name and reaching an address together.
    pub connect_timeout: Duration,
    /// Time for which the client tries to get its first connection, since a server may start late. An attempt in
    /// progress ends with this time, and one that starts at its end may take a second. Zero is a single attempt.
    pub wait_for_server: Duration,
    /// The behaviour after a connection was lost.
    pub reconnect: Reconnect,
    /// A function that is called with each warning about a server.
    pub on_warning: Option<fn(&str)>,
    /// The number of connections lost in a row with the same message in flight after which the client gives the message
    /// up, because the server may close the connection when it receives the message; `None` never gives up. See [`crate::EventLoop::take_rejected`].
    pub maximum_losses: Option<u32>,
}

/// The behaviour after a connection was lost. The client does not ask a server again that has rejected it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// The client gives up.
    Never,
    /// The client tries again for this long, with growing waits. An attempt in progress ends with this time, and one that
    /// starts at its end may take a second.
    For(Duration),
    /// The client tries again without end, with growing waits.
    Always,
}

impl Options {
    /// Creates options for MQTT 3.1.1 without credentials. The server chooses the client identifier. At most 20 messages
    /// of QoS 1 and 2 are in flight, the timeouts of the network and of each answer are 30 s, and the client reconnects.
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

    /// Returns the CONNECT packet with the limits.
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
