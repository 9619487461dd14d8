//! What this end accepts ([`Config`]), and what the peer does ([`PeerLimits`]).

use std::time::Duration;

use crate::Observer;
use mqtt_codec::{ConnackProperties, Connect, QoS, TopicAlias};

/// Limits of this end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The largest packet that is accepted, in bytes. An end of 5.0 has to announce it.
    pub maximum_packet_size: u32,
    /// Maximum number of messages of QoS 1 and 2 in flight from the peer. Applies to peers of 5.0, which know the
    /// number.
    pub receive_maximum: u16,
    /// Maximum number of messages of QoS 1 and 2 in flight to the peer, if the peer allows as many.
    pub maximum_in_flight: u16,
    /// The highest topic alias that is accepted. An end of 5.0 has to announce it.
    pub topic_alias_maximum: u16,
    /// Maximum number of topic aliases in sent messages, if the peer allows as many.
    pub topic_aliases: u16,
    /// The number that the first of them gets; the others follow.
    pub first_topic_alias: TopicAlias,
    /// Client: the number of packet identifiers, from 1 on, that messages get. A client that may lose the state of
    /// its session uses few of them: its next run can then release all of them at the server.
    pub packet_identifiers: u16,
    /// While so many bytes of output wait for the peer, nothing is resent.
    pub maximum_unwritten: usize,
    /// Set if changes of the session are recorded for [`Connection::take_changes`](crate::Connection::take_changes).
    pub records_changes: bool,
    /// Observer of each packet, usually `None`.
    pub observer: Option<Observer>,
    /// Timeout for CONNECT (at a server) or CONNACK (at a client).
    pub handshake_timeout: Duration,
    /// Client: maximum wait for the answer to SUBSCRIBE or UNSUBSCRIBE.
    pub response_timeout: Duration,
}

impl Default for Config {
    /// No limits but the protocol's, ten seconds for the handshake, a minute for other answers, no topic aliases.
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

/// What the peer accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerLimits {
    pub(crate) maximum_packet_size: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_qos: QoS,
    pub(crate) retain_available: bool,
    pub(crate) topic_alias_maximum: u16,
    /// Whether it wants reason strings and user properties with every packet.
    pub(crate) problem_information: bool,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
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
