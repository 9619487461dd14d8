//! [`Event`] is what a connection reports to its application: received packets that the application must handle, and
//! the end of the connection. The connection itself handles all other packets, such as PINGREQ and PUBREL.

use std::fmt;

use mqtt_codec::{
    Auth, Connack, Connect, PacketIdentifier, PublishRef, ReasonCode, Suback, Subscribe, TopicName,
    Unsubscribe,
};

use crate::delivery::OutboundMessage;
use crate::error::CloseReason;

/// A received packet or a change of the connection that the application must handle.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// AUTH was received. The answer is [`Connection::authenticate`](crate::Connection::authenticate).
    Auth(Box<Auth>),
    /// The connection has ended. This event is the last one. The output may still contain bytes for the peer.
    Closed(CloseReason),
    /// Server: CONNECT was received. The answer is [`Connection::accept`](crate::Connection::accept) or
    /// [`Connection::refuse`](crate::Connection::refuse). The connection handles no packet before the answer.
    Connect(Box<Connect>),
    /// Client: the server has accepted the connection.
    Connected {
        /// CONNACK.
        connack: Box<Connack>,
        /// Unfinished messages of the earlier session, if the server does not resume that session. The application may
        /// publish them as new messages [MQTT-3.2.2-5].
        unfinished: Vec<OutboundMessage>,
    },
    /// Client: the server deviates from the standard in a way that does no harm to messages. Each kind of deviation is
    /// reported once per connection.
    Deviation(Deviation),
    /// The peer has accepted a message of QoS 1 or 2, or has rejected the message (reason code 0x80 and above).
    Delivered {
        /// Packet identifier of the message. The identifier is free again.
        packet_identifier: PacketIdentifier,
        /// Reason code of the peer.
        reason_code: ReasonCode,
        /// Explanation of the reason code from the peer.
        reason_string: Option<String>,
    },
    /// A message was received. The sender of a message of QoS 1 or 2 stores the message until the application calls
    /// [`Connection::acknowledge`](crate::Connection::acknowledge).
    Message(InboundMessage<'a>),
    /// Server: SUBSCRIBE was received. The answer is [`Connection::suback`](crate::Connection::suback).
    Subscribe(Subscribe),
    /// Client: SUBACK was received. A deviating server may send another number of reason codes than the request had
    /// topic filters; [`Deviation::NumberOfReasonCodes`] reports the difference.
    Subscribed(Suback),
    /// Server: UNSUBSCRIBE was received. The answer is [`Connection::unsuback`](crate::Connection::unsuback).
    Unsubscribe(Unsubscribe),
    /// Client: UNSUBACK was received.
    Unsubscribed(Suback),
}

/// Deviation of a server from the standard that this client accepts. The mosquitto clients accept it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deviation {
    /// A message of QoS 0 has the DUP flag set, which [MQTT-3.3.1-2] forbids.
    DupWithQoS0,
    /// SUBACK or UNSUBACK has another number of reason codes than the request had topic filters.
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

/// Result of [`Connection::handle_packet_input`](crate::Connection::handle_packet_input).
#[derive(Debug, Clone, PartialEq)]
pub enum InputStep<'a> {
    /// The connection has handled no packet: the input has no whole packet, or the connection must wait or has ended.
    Idle,
    /// A packet was handled. The application has nothing to do.
    Handled,
    /// A packet was handled and causes this event.
    Event(Event<'a>),
}

impl<'a> From<Option<Event<'a>>> for InputStep<'a> {
    fn from(event: Option<Event<'a>>) -> Self {
        event.map_or(Self::Handled, Self::Event)
    }
}

/// A received message that borrows from the bytes of its packet.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundMessage<'a> {
    publish: PublishRef<'a>,
    /// Topic name that the topic alias replaces. `None` if the packet itself has a topic name.
    topic_name: Option<TopicName>,
}

impl<'a> InboundMessage<'a> {
    pub(crate) fn new(publish: PublishRef<'a>, topic_name: Option<TopicName>) -> Self {
        Self {
            publish,
            topic_name,
        }
    }

    /// Returns the PUBLISH of the message, always with the topic name. The topic alias is unchanged.
    pub fn publish(&self) -> PublishRef<'_> {
        // A copy of `PublishRef` costs a few words. The topic alias stays, because `rsub` can print it.
        let mut publish = self.publish;
        if let Some(topic_name) = &self.topic_name {
            publish.topic_name = topic_name;
        }
        publish
    }
}
