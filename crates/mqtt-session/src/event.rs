//! What a connection tells its application.

use std::fmt;

use mqtt_codec::{
    Auth, Connack, Connect, PacketIdentifier, PublishRef, ReasonCode, Suback, Subscribe, TopicName,
    Unsubscribe,
};

use crate::{CloseReason, OutboundMessage};

/// Something that the application has to know, or to answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A step of an extended authentication; see [`Connection::authenticate`](crate::Connection::authenticate).
    Auth(Box<Auth>),
    /// The connection has ended. The last event; the output may still hold bytes worth writing.
    Closed(CloseReason),
    /// Server: a client asks. Answer with `accept` or `refuse`; nothing else is read before.
    Connect(Box<Connect>),
    /// Client: the server accepted.
    Connected {
        /// What it said.
        connack: Box<Connack>,
        /// Messages that the session before it did not finish, where the server does not go on with
        /// that session: the application's, to be published again as new ones [MQTT-3.2.2-5].
        unfinished: Vec<OutboundMessage>,
    },
    /// Client: the server deviates from the standard in a way that changes nothing. Each kind is reported once in a
    /// connection.
    Deviation(Deviation),
    /// A message of QoS 1 or 2 has arrived at the peer, or was refused by it (0x80 and above).
    Delivered {
        /// The exchange; its identifier is free again.
        packet_identifier: PacketIdentifier,
        /// How it went.
        reason_code: ReasonCode,
        /// What the peer said about it.
        reason_string: Option<String>,
    },
    /// A message came. With QoS 1 and 2 it is the peer's until `acknowledge` is called.
    Message(InboundMessage<'a>),
    /// Server: answer with `suback`.
    Subscribe(Subscribe),
    /// Client: the answer to `subscribe`; as many codes as there were topic filters, unless the server deviates.
    Subscribed(Suback),
    /// Server: answer with `unsuback`.
    Unsubscribe(Unsubscribe),
    /// Client: the answer to `unsubscribe`.
    Unsubscribed(Suback),
}

/// A deviation of a server from the standard that a client accepts, as the mosquitto clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deviation {
    /// A message of QoS 0 has the DUP flag set [MQTT-3.3.1-2].
    DupWithQoS0,
    /// SUBACK or UNSUBACK has another number of reason codes than its request has topic filters.
    NumberOfReasonCodes {
        /// The number of topic filters.
        requested: usize,
        /// The number of reason codes.
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

/// The progress of one [`Connection::handle_packet_input`](crate::Connection::handle_packet_input).
#[derive(Debug, Clone, PartialEq)]
pub enum InputStep<'a> {
    /// There is no whole packet, or the connection takes none now.
    Idle,
    /// A packet was handled that causes no event.
    Handled,
    /// The application has to know, or to answer.
    Event(Event<'a>),
}

impl<'a> From<Option<Event<'a>>> for InputStep<'a> {
    fn from(event: Option<Event<'a>>) -> Self {
        event.map_or(Self::Handled, Self::Event)
    }
}

/// A message that came, borrowed from the bytes it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundMessage<'a> {
    publish: PublishRef<'a>,
    /// What its topic alias stands for, if that is all it has.
    topic_name: Option<TopicName>,
}

impl<'a> InboundMessage<'a> {
    pub(crate) fn new(publish: PublishRef<'a>, topic_name: Option<TopicName>) -> Self {
        Self {
            publish,
            topic_name,
        }
    }

    /// The message, always with its topic name. Its topic alias is the one that it came with.
    pub fn publish(&self) -> PublishRef<'_> {
        let mut publish = self.publish;
        if let Some(topic_name) = &self.topic_name {
            publish.topic_name = topic_name;
        }
        publish
    }
}
