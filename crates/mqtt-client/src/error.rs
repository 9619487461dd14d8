//! [`ClientError`] is the error of the core and of the event loop of a client.

use std::{fmt, io};

use mqtt_codec::{EncodeError, InvalidTopic, ReasonCode};
use mqtt_session::{CloseReason, PublishError};
use mqtt_transport::reason;

/// Reason why a client has lost its connection or cannot connect.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection has ended.
    Closed(CloseReason),
    /// No address of the server can be reached.
    Connect(io::Error),
    /// A field of CONNECT cannot be encoded.
    Encode(EncodeError),
    /// An error of the operating system that no other variant names.
    Io(io::Error),
    /// The host name of the server has no address.
    Lookup(io::Error),
    /// The message cannot be sent to this server.
    Publish(PublishError),
    /// A layer between the socket and MQTT failed, for example TLS.
    Transport(io::Error),
    /// A topic name or topic filter is invalid.
    Topic(InvalidTopic),
}

impl ClientError {
    /// Returns the Server Reference (MQTT 5.0, 4.11), if the server refers the client to another server.
    pub fn server_reference(&self) -> Option<&str> {
        let Self::Closed(reason) = self else {
            return None;
        };
        let (reason_code, reference) = match reason {
            CloseReason::Refused(connack) => {
                (connack.reason_code, &connack.properties.server_reference)
            }
            CloseReason::Disconnected(disconnect) => (
                disconnect.reason_code,
                &disconnect.properties.server_reference,
            ),
            _ => return None,
        };
        match reason_code {
            ReasonCode::UseAnotherServer | ReasonCode::ServerMoved => reference.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => reason.fmt(f),
            Self::Connect(error) => write!(f, "cannot reach the server: {}", reason(error)),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Lookup(error) => write!(f, "cannot look up the server: {}", reason(error)),
            Self::Publish(error) => error.fmt(f),
            Self::Topic(error) => error.fmt(f),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error)
            | Self::Io(error)
            | Self::Lookup(error)
            | Self::Transport(error) => Some(error),
            Self::Closed(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::Publish(error) => Some(error),
            Self::Topic(error) => Some(error),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<EncodeError> for ClientError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<PublishError> for ClientError {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

impl From<InvalidTopic> for ClientError {
    fn from(error: InvalidTopic) -> Self {
        Self::Topic(error)
    }
}
