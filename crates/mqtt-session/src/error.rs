//! Errors of a connection. The peer or the network causes a [`CloseReason`]. The caller causes a [`PublishError`].

use std::fmt;

use mqtt_codec::{Connack, DecodeError, Disconnect, EncodeError, PacketType, ReasonCode};

/// Reason why a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The socket was closed without DISCONNECT.
    ConnectionLost,
    /// The peer sent bytes that are not a packet, or a packet that the peer must not send now.
    Decode(DecodeError),
    /// The peer sent DISCONNECT.
    Disconnected(Box<Disconnect>),
    /// The handshake was not complete at its deadline.
    HandshakeTimeout,
    /// The peer was silent for longer than the keep alive allows.
    KeepAliveTimeout,
    /// The server did not answer SUBSCRIBE or UNSUBSCRIBE in time. The field is the type of the missing answer.
    ResponseTimeout(PacketType),
    /// The peer violated the protocol. The fields are the reason code for the peer and a description for logs.
    Protocol(ReasonCode, &'static str),
    /// The server rejected the connection.
    Refused(Box<Connack>),
}

impl CloseReason {
    /// Returns the reason code of the DISCONNECT for the peer. Returns `None` if the peer must not receive DISCONNECT,
    /// or if the peer has ended the connection itself.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::ConnectionLost
            | Self::Disconnected(_)
            | Self::HandshakeTimeout
            | Self::Refused(_) => None,
            Self::Decode(error) => Some(error.reason_code()),
            Self::KeepAliveTimeout => Some(ReasonCode::KeepAliveTimeout),
            Self::ResponseTimeout(_) => Some(ReasonCode::UnspecifiedError),
            Self::Protocol(code, _) => Some(*code),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Decode(error) => error.fmt(f),
            Self::Disconnected(disconnect) => {
                write!(f, "disconnected by the peer: {}", disconnect.reason_code)
            }
            Self::HandshakeTimeout => f.write_str("the connection was not accepted in time"),
            Self::KeepAliveTimeout => f.write_str("keep alive timeout"),
            Self::Protocol(_, violation) => write!(f, "protocol error: {violation}"),
            Self::Refused(connack) => write!(f, "connection refused: {}", connack.reason_code),
            Self::ResponseTimeout(packet_type) => {
                write!(f, "{packet_type} did not arrive in time")
            }
        }
    }
}

impl std::error::Error for CloseReason {}

/// Reason why a packet was not sent. The session does not store the message or the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The packet cannot be encoded, or is larger than the peer accepts.
    Encode(EncodeError),
    /// A shared subscription has No Local set, which is a Protocol Error [MQTT-3.8.3-4].
    NoLocalShared,
    /// The connection is not accepted yet, has ended, or does not allow this packet now.
    NotConnected,
    /// The QoS of the message is above the Maximum QoS of the server.
    QoSNotSupported,
    /// The maximum number of messages is in flight, or no packet identifier is free. The caller can try again after
    /// [`Event::Delivered`](crate::Event::Delivered).
    QuotaUsedUp,
    /// The server does not support retained messages.
    RetainNotSupported,
}

impl From<EncodeError> for PublishError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::NoLocalShared => f.write_str("No Local is not allowed in a shared subscription"),
            Self::NotConnected => f.write_str("not connected"),
            Self::QoSNotSupported => {
                f.write_str("the server does not support the QoS of this message")
            }
            Self::QuotaUsedUp => f.write_str("the maximum number of messages is in flight"),
            Self::RetainNotSupported => {
                f.write_str("the server does not support retained messages")
            }
        }
    }
}

impl std::error::Error for PublishError {}
