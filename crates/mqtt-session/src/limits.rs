//! Limits of this end ([`Config`]) and of the peer ([`PeerLimits`]).

use std::time::Duration;

use mqtt_codec::{ConnackProperties, Connect, QoS, TopicAlias};

use crate::observer::Observer;

/// Limits and timeouts of this end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Maximum size in bytes of a received packet. The application must announce this limit to a peer of MQTT 5.0.
    pub maximum_packet_size: u32,
    /// Maximum number of messages of QoS 1 and 2 in flight from the peer. The application must announce this limit.
    /// MQTT 3.1 and 3.1.1 cannot announce it, so the limit does not apply to peers of these versions.
    pub receive_maximum: u16,
    /// Maximum number of messages of QoS 1 and 2 in flight to the peer. The Receive Maximum of the peer may be lower.
    pub maximum_in_flight: u16,
    /// Highest topic alias in received messages. The application must announce this limit to a peer of MQTT 5.0.
    pub topic_alias_maximum: u16,
    /// Maximum number of topic aliases in sent messages. The Topic Alias Maximum of the peer may be lower.
    pub topic_aliases: u16,
    /// Lowest topic alias in sent messages.
    pub first_topic_alias: TopicAlias,
    /// Client: highest packet identifier of messages. A client that may lose the state of its session should use few
    /// identifiers, because its next run must release all of them at the server before it publishes.
    pub packet_identifiers: u16,
    /// Maximum number of unwritten output bytes at which the connection still resends a message of an earlier
    /// connection.
    pub maximum_unwritten: usize,
    /// Set to record the changes of the session for [`Connection::take_changes`](crate::Connection::take_changes).
    pub records_changes: bool,
    /// Function that is called with each packet, usually `None`.
    pub observer: Option<Observer>,
    /// Timeout of the handshake: for CONNECT and its answer at a server, for CONNACK at a client.
    pub handshake_timeout: Duration,
    /// Client: timeout for the answer to SUBSCRIBE or UNSUBSCRIBE.
    pub response_timeout: Duration,
}

impl Default for Config {
    /// Returns the limits of the protocol, ten seconds for the handshake, one minute for other answers, and no topic
    /// aliases.
    fn default() -> Self {
        Self {
            maximum_packet_size: mqtt_codec::MAXIMUM_PACKET_SIZE,
            receive_maximum: u16::MAX,
            maximum_in_flight: u16::MAX,
            topic_alias_maximum: 0,
            topic_aliases: 0,
            first_topic_alias: TopicAlias::FIRST,
            packet_identifiers: u16::MAX,
            maximum_unwritten: usize::MAX,
            records_changes: false,
            observer: None,
            handshake_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(60),
        }
    }
}

/// Limits that the peer has announced in CONNECT or CONNACK. The units are those of [`Config`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerLimits {
    pub(crate) maximum_packet_size: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_qos: QoS,
    pub(crate) retain_available: bool,
    pub(crate) topic_alias_maximum: u16,
    /// Set to `false` if the peer accepts no reason strings and user properties in acknowledgements (Request Problem
    /// Information).
    pub(crate) problem_information: bool,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            // If CONNECT or CONNACK has no value, the limit of the protocol applies.
            maximum_packet_size: u32::MAX,
            receive_maximum: u16::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: 0,
            problem_information: true,
        }
    }
}

impl PeerLimits {
    /// Returns the limits in the CONNECT of a client.
    pub(crate) fn of_client(connect: &Connect) -> Self {
        Self {
            maximum_packet_size: connect
                .properties
                .maximum_packet_size
                .map_or(u32::MAX, Into::into),
            receive_maximum: connect
                .properties
                .receive_maximum
                .map_or(u16::MAX, Into::into),
            topic_alias_maximum: connect.properties.topic_alias_maximum.unwrap_or(0),
            problem_information: connect
                .properties
                .request_problem_information
                .unwrap_or(true),
            ..Self::default()
        }
    }

    /// Returns the limits in the CONNACK of a server.
    pub(crate) fn of_server(connack: &ConnackProperties) -> Self {
        Self {
            maximum_packet_size: connack.maximum_packet_size.map_or(u32::MAX, Into::into),
            receive_maximum: connack.receive_maximum.map_or(u16::MAX, Into::into),
            maximum_qos: connack.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: connack.retain_available.unwrap_or(true),
            topic_alias_maximum: connack.topic_alias_maximum.unwrap_or(0),
            problem_information: true,
        }
    }
}
