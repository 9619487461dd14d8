//! What the peer did ([`CloseReason`]) and what the caller did ([`PublishError`]).

use std::fmt;

use mqtt_codec::{Connack, DecodeError, Disconnect, EncodeError, PacketType, ReasonCode};

/// Why a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The socket is gone, without DISCONNECT.
    ConnectionLost,
    /// The peer sent bytes that are no packet, or not one that may come now.
    Decode(DecodeError),
    /// The peer sent DISCONNECT.
    Disconnected(Box<Disconnect>),
    /// CONNECT or CONNACK did not come in time.
    HandshakeTimeout,
    /// Nothing came from the peer for too long.
    KeepAliveTimeout,
    /// The server did not answer a SUBSCRIBE or UNSUBSCRIBE in time; the type of the missing packet.
    ResponseTimeout(PacketType),
    /// The peer sent a packet that breaks a rule; what it broke, and the code that says so.
    Protocol(ReasonCode, &'static str),
    /// The server did not accept the connection.
    Refused(Box<Connack>),
}

impl CloseReason {
    /// The code for a DISCONNECT that tells the peer; `None` if there is nobody to tell or nothing
    /// to be told.
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
            Self::HandshakeTimeout => f.write_str("no answer to the connection request in time"),
            Self::KeepAliveTimeout => f.write_str("keep alive timeout"),
            Self::Protocol(_, what) => write!(f, "protocol error: {what}"),
            Self::Refused(connack) => write!(f, "connection refused: {}", connack.reason_code),
            Self::ResponseTimeout(packet_type) => {
                write!(f, "{packet_type} did not arrive in time")
            }
        }
    }
}

impl std::error::Error for CloseReason {}

/// Why a packet was not sent. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The packet cannot be written, or is larger than the peer accepts.
    Encode(EncodeError),
    /// No Local was asked for with a shared subscription, which is a protocol error [MQTT-3.8.3-4].
    NoLocalShared,
    /// There is no connection now, or it is not accepted yet.
    NotConnected,
    /// The server does not accept messages of this QoS.
    QoSNotSupported,
    /// As many messages are under way as the peer, or our own limit, allows. Try again after
    /// [`Event::Delivered`](crate::Event::Delivered).
    QuotaUsedUp,
    /// The server keeps no retained messages.
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
            Self::QoSNotSupported => f.write_str("the server does not support this QoS"),
            Self::QuotaUsedUp => f.write_str("too many messages are unacknowledged"),
            Self::RetainNotSupported => {
                f.write_str("the server does not support retained messages")
            }
        }
    }
}

impl std::error::Error for PublishError {}
