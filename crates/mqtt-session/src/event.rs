//! [`Event`]: the facts that a connection reports to its application.

use std::fmt;

use mqtt_codec::{
    Auth, Connack, Connect, PacketIdentifier, PublishRef, ReasonCode, Suback, Subscribe, TopicName,
    Unsubscribe,
};

use crate::delivery::OutboundMessage;
use crate::error::CloseReason;

/// A fact that the application must know or answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// AUTH was received. Answer with [`Connection::authenticate`](crate::Connection::authenticate).
    Auth(Box<Auth>),
    /// The connection has ended. This is the last event. The output may still hold bytes for the peer.
    Closed(CloseReason),
    /// Server: CONNECT was received. Answer with [`Connection::accept`](crate::Connection::accept) or
    /// [`Connection::refuse`](crate::Connection::refuse). No packet is handled before the answer.
    Connect(Box<Connect>),
    /// Client: the server has accepted the connection.
    Connected {
        /// CONNACK.
        connack: Box<Connack>,
        /// Unfinished messages of the earlier session, if the server does not resume it. The application may publish
        /// them as new messages [MQTT-3.2.2-5].
        unfinished: Vec<OutboundMessage>,
    },
    /// Client: the server deviates from the standard without effect on messages. Each kind is reported once per
    /// connection.
    Deviation(Deviation),
    /// The peer has accepted a message of QoS 1 or 2, or has rejected it (0x80 and above).
    Delivered {
        /// Packet identifier of the message, which is free again.
        packet_identifier: PacketIdentifier,
        /// Result.
        reason_code: ReasonCode,
        /// Explanation of the peer.
        reason_string: Option<String>,
    },
    /// A message was received. With QoS 1 and 2 the peer keeps it until
    /// [`Connection::acknowledge`](crate::Connection::acknowledge) is called.
    Message(InboundMessage<'a>),
    /// Server: SUBSCRIBE was received. Answer with [`Connection::suback`](crate::Connection::suback).
    Subscribe(Subscribe),
    /// Client: SUBACK was received. The server may deviate in the number of reason codes.
    Subscribed(Suback),
    /// Server: UNSUBSCRIBE was received. Answer with [`Connection::unsuback`](crate::Connection::unsuback).
    Unsubscribe(Unsubscribe),
    /// Client: UNSUBACK was received.
    Unsubscribed(Suback),
}

/// A deviation of a server from the standard that a client accepts, as the clients of mosquitto do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deviation {
    /// A message of QoS 0 has the DUP flag set [MQTT-3.3.1-2].
    DupWithQoS0,
    /// The number of reason codes in SUBACK or UNSUBACK differs from the number of topic filters in the request.
    NumberOfReasonCodes {
        /// Number of topic filters.
        requested: usize,
        /// Number of reason codes.
        received: usize,
    },
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DupWithQoS0 => {
                f.write_str("the server sent a QoS 0 message with the DUP flag set")
            }
            Self::NumberOfReasonCodes {
                requested,
                received,
            } => write!(
                f,
                "wrong number of reason codes from the server: expected {requested}, received {received}"
            ),
        }
    }
}

/// The result of [`Connection::handle_packet_input`](crate::Connection::handle_packet_input).
#[derive(Debug, Clone, PartialEq)]
pub enum InputStep<'a> {
    /// The input has no whole packet, or the connection handles none now.
    Idle,
    /// A packet was handled, and causes no event.
    Handled,
    /// A packet was handled, and causes this event.
    Event(Event<'a>),
}

impl<'a> From<Option<Event<'a>>> for InputStep<'a> {
    fn from(event: Option<Event<'a>>) -> Self {
        event.map_or(Self::Handled, Self::Event)
    }
}

/// A received message, borrowed from the bytes of its packet.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundMessage<'a> {
    publish: PublishRef<'a>,
    /// Topic name that the topic alias replaces, if the packet has no topic name.
    topic_name: Option<TopicName>,
}

impl<'a> InboundMessage<'a> {
    pub(crate) fn new(publish: PublishRef<'a>, topic_name: Option<TopicName>) -> Self {
        Self {
            publish,
            topic_name,
        }
    }

    /// Returns the packet of the message, always with its topic name. The topic alias is unchanged.
    pub fn publish(&self) -> PublishRef<'_> {
        // Copying the packet costs a few words, and leaves the alias visible for `rsub`.
        let mut publish = self.publish;
        if let Some(topic_name) = &self.topic_name {
            publish.topic_name = topic_name;
        }
        publish
    }
}
