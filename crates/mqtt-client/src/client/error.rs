//! The errors of [`Client`](crate::Client), each with the server, the topic or the topic filter that it is about.

use std::sync::Arc;
use std::{fmt, io};

use mqtt_codec::{EncodeError, ReasonCode, TopicName};
use mqtt_session::CloseReason;
#[cfg(feature = "tls")]
use mqtt_transport::TlsError;
use mqtt_transport::reason as words;

use crate::error::ClientError;

/// The reason why a client is not connected.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectError {
    /// An option or the URL is invalid.
    InvalidOption {
        /// The name of the option.
        option: &'static str,
        /// The value, what is wrong with it, and what was expected.
        message: String,
    },
    /// The host name has no address.
    Resolve {
        /// The server, as host and port.
        server: String,
        /// The error of the resolver.
        source: Arc<io::Error>,
    },
    /// No address of the server accepts connections.
    Unreachable {
        /// The server.
        server: String,
        /// The error of the last address.
        source: Arc<io::Error>,
    },
    /// The TLS handshake failed, for example because the certificate is not trusted.
    Tls {
        /// The server.
        server: String,
        /// The error of TLS.
        source: Arc<io::Error>,
    },
    /// The handshake with a proxy or of WebSocket failed, or the connection ended during it.
    Transport {
        /// The server.
        server: String,
        /// The error of the transport.
        source: Arc<io::Error>,
    },
    /// The server rejected the user name or the password.
    Credentials {
        /// The server.
        server: String,
    },
    /// The client is not authorized to connect.
    NotAuthorized {
        /// The server.
        server: String,
    },
    /// The server rejected the connection for another reason.
    Refused {
        /// The server.
        server: String,
        /// The reason code of CONNACK.
        reason_code: ReasonCode,
        /// The explanation of the server.
        reason_string: Option<String>,
    },
    /// The server ended the connection with DISCONNECT.
    Disconnected {
        /// The server.
        server: String,
        /// The reason code of DISCONNECT.
        reason_code: ReasonCode,
        /// The explanation of the server.
        reason_string: Option<String>,
    },
    /// The connection was lost.
    Lost {
        /// The server.
        server: String,
    },
    /// The server did not answer in time.
    Timeout {
        /// The server.
        server: String,
    },
    /// The server violated the protocol.
    Protocol {
        /// The server.
        server: String,
        /// The violation.
        reason: CloseReason,
    },
    /// The system does not let the client run.
    System(Arc<io::Error>),
    /// A field of CONNECT does not fit into the packet.
    Encode(EncodeError),
    /// The application has ended the client.
    Closed,
}

impl ConnectError {
    /// Classifies an error of the event loop.
    pub(super) fn new(server: String, error: ClientError) -> Self {
        match error {
            ClientError::Closed(reason) => Self::of_close(server, reason),
            ClientError::Connect(source) if source.kind() == io::ErrorKind::TimedOut => {
                Self::Timeout { server }
            }
            ClientError::Connect(source) => Self::Unreachable {
                server,
                source: Arc::new(source),
            },
            ClientError::Lookup(source) => Self::Resolve {
                server,
                source: Arc::new(source),
            },
            ClientError::Transport(source) => {
                let is_tls = is_tls_error(&source);
                let source = Arc::new(source);
                if is_tls {
                    Self::Tls { server, source }
                } else {
                    Self::Transport { server, source }
                }
            }
            ClientError::Encode(error) => Self::Encode(error),
            ClientError::Io(error) => Self::System(Arc::new(error)),
            // The event loop has no message and no topic of its own.
            ClientError::Publish(_) | ClientError::Topic(_) => Self::Lost { server },
        }
    }

    fn of_close(server: String, reason: CloseReason) -> Self {
        match reason {
            CloseReason::ConnectionLost => Self::Lost { server },
            CloseReason::HandshakeTimeout
            | CloseReason::KeepAliveTimeout
            | CloseReason::ResponseTimeout(_) => Self::Timeout { server },
            CloseReason::Refused(connack) => match connack.reason_code {
                ReasonCode::BadUserNameOrPassword => Self::Credentials { server },
                ReasonCode::NotAuthorized => Self::NotAuthorized { server },
                reason_code => Self::Refused {
                    server,
                    reason_code,
                    reason_string: connack.properties.reason_string,
                },
            },
            CloseReason::Disconnected(disconnect) => Self::Disconnected {
                server,
                reason_code: disconnect.reason_code,
                reason_string: disconnect.properties.reason_string,
            },
            reason => Self::Protocol { server, reason },
        }
    }
}

#[cfg(feature = "tls")]
fn is_tls_error(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<TlsError>())
}

#[cfg(not(feature = "tls"))]
fn is_tls_error(_: &io::Error) -> bool {
    false
}

/// Writes a reason code, and the explanation of the server if there is one.
fn write_reason(
    f: &mut fmt::Formatter<'_>,
    reason_code: ReasonCode,
    reason_string: Option<&str>,
) -> fmt::Result {
    match reason_string {
        Some(text) => write!(f, "{reason_code} ({text:?})"),
        None => write!(f, "{reason_code}"),
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOption { option, message } => write!(f, "invalid {option}: {message}"),
            Self::Resolve { server, source } => {
                write!(f, "cannot look up {server}: {}", words(source))
            }
            Self::Unreachable { server, source } | Self::Transport { server, source } => {
                write!(f, "cannot connect to {server}: {}", words(source))
            }
            Self::Tls { server, source } => {
                write!(f, "cannot connect to {server} with TLS: {}", words(source))
            }
            Self::Credentials { server } => {
                write!(f, "{server} rejected the user name or the password")
            }
            Self::NotAuthorized { server } => {
                write!(f, "this client is not authorized to connect to {server}")
            }
            Self::Refused {
                server,
                reason_code,
                reason_string,
            } => {
                write!(f, "{server} rejected the connection: ")?;
                write_reason(f, *reason_code, reason_string.as_deref())
            }
            Self::Disconnected {
                server,
                reason_code,
                reason_string,
            } => {
                write!(f, "{server} ended the connection: ")?;
                write_reason(f, *reason_code, reason_string.as_deref())
            }
            Self::Lost { server } => write!(f, "the connection to {server} was lost"),
            Self::Timeout { server } => write!(f, "{server} did not answer in time"),
            Self::Protocol { server, reason } => {
                write!(f, "{server} violated the protocol: {reason}")
            }
            Self::System(error) => error.fmt(f),
            Self::Encode(error) => write!(f, "cannot encode CONNECT: {error}"),
            Self::Closed => f.write_str("the application has ended the client"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { source, .. }
            | Self::Unreachable { source, .. }
            | Self::Tls { source, .. }
            | Self::Transport { source, .. }
            | Self::System(source) => Some(&**source),
            Self::Protocol { reason, .. } => Some(reason),
            Self::Encode(error) => Some(error),
            _ => None,
        }
    }
}

/// The reason why a message was not published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic name is invalid.
    InvalidTopic {
        /// The text that is no topic name.
        topic_name: String,
    },
    /// The protocol version, or the server, does not support a part of the message.
    Unsupported {
        /// The topic name of the message.
        topic_name: TopicName,
        /// The part, such as properties or retained messages.
        feature: &'static str,
    },
    /// The message is larger than the server accepts.
    TooLarge {
        /// The topic name of the message.
        topic_name: TopicName,
    },
    /// The outgoing queue was full until the deadline. The message was not accepted.
    QueueFull {
        /// The topic name of the message.
        topic_name: TopicName,
    },
    /// A message of QoS 0 was not accepted, because there is no connection and nobody would resend it.
    Disconnected {
        /// The topic name of the message.
        topic_name: TopicName,
    },
    /// The connection was lost before a message of QoS 0 was sent.
    Lost {
        /// The topic name of the message.
        topic_name: TopicName,
    },
    /// The server rejected the message.
    Refused {
        /// The topic name of the message.
        topic_name: TopicName,
        /// The reason code of PUBACK, PUBREC or PUBCOMP.
        reason_code: ReasonCode,
        /// The explanation of the server.
        reason_string: Option<String>,
    },
    /// The server has not acknowledged the message before the deadline of the caller. The client still delivers it.
    TimedOut {
        /// The topic name of the message.
        topic_name: TopicName,
    },
    /// The client has ended before the server acknowledged the message.
    Closed {
        /// The topic name of the message.
        topic_name: TopicName,
        /// The reason why the client has ended.
        reason: ConnectError,
    },
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTopic { topic_name } => write!(
                f,
                "invalid topic name {topic_name:?}: must be 1 to 65535 bytes without '+', '#' and NUL"
            ),
            Self::Unsupported {
                topic_name,
                feature,
            } => write!(
                f,
                "cannot publish to '{topic_name}': the protocol version or the server does not support {feature}"
            ),
            Self::TooLarge { topic_name } => write!(
                f,
                "cannot publish to '{topic_name}': the message is larger than the server accepts"
            ),
            Self::QueueFull { topic_name } => write!(
                f,
                "cannot publish to '{topic_name}': the outgoing queue is full"
            ),
            Self::Disconnected { topic_name } => {
                write!(f, "cannot publish to '{topic_name}': not connected")
            }
            Self::Lost { topic_name } => write!(
                f,
                "the message to '{topic_name}' was lost with its connection"
            ),
            Self::Refused {
                topic_name,
                reason_code,
                reason_string,
            } => {
                write!(f, "the server rejected the message to '{topic_name}': ")?;
                write_reason(f, *reason_code, reason_string.as_deref())
            }
            Self::TimedOut { topic_name } => write!(
                f,
                "the message to '{topic_name}' was not acknowledged in time"
            ),
            Self::Closed { topic_name, reason } => {
                write!(
                    f,
                    "the message to '{topic_name}' was not acknowledged: {reason}"
                )
            }
        }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// The reason why a subscription was not made or not removed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic filter is invalid.
    InvalidTopicFilter {
        /// The text that is no topic filter.
        topic_filter: String,
    },
    /// The request has no topic filter.
    Empty,
    /// The protocol version does not support an option of the subscription.
    Unsupported {
        /// The option.
        feature: &'static str,
    },
    /// The server rejected the subscription.
    Refused {
        /// The topic filter.
        topic_filter: String,
        /// The reason code of SUBACK or UNSUBACK.
        reason_code: ReasonCode,
    },
    /// The server has not answered before the deadline. The request may still take effect.
    TimedOut {
        /// The first topic filter of the request.
        topic_filter: String,
    },
    /// The request does not fit into a packet that the server accepts.
    Encode(EncodeError),
    /// The client has ended.
    Closed(ConnectError),
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTopicFilter { topic_filter } => {
                write!(
                    f,
                    "invalid topic filter {topic_filter:?}: '+' must be a whole level, and '#' the last level"
                )
            }
            Self::Empty => f.write_str("a request needs at least one topic filter"),
            Self::Unsupported { feature } => {
                write!(f, "the protocol version does not support {feature}")
            }
            Self::Refused {
                topic_filter,
                reason_code,
            } => write!(f, "the server rejected '{topic_filter}': {reason_code}"),
            Self::TimedOut { topic_filter } => {
                write!(f, "the server did not answer for '{topic_filter}' in time")
            }
            Self::Encode(error) => error.fmt(f),
            Self::Closed(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for SubscribeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Closed(reason) => Some(reason),
            _ => None,
        }
    }
}

/// The reason why a client ended with messages that may not have reached the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The server has not acknowledged all messages before the deadline.
    TimedOut {
        /// The number of messages that the server has not acknowledged.
        unfinished: usize,
    },
    /// The client had ended before.
    Closed {
        /// The number of messages that the server has not acknowledged.
        unfinished: usize,
        /// The reason why the client has ended.
        reason: ConnectError,
    },
    /// Messages failed whose [`PublishToken`](crate::PublishToken)s were dropped, so that nobody was told.
    Undelivered {
        /// The number of these messages.
        count: u64,
        /// The error of the first one.
        first: PublishError,
    },
}

impl fmt::Display for DisconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { unfinished } => write!(
                f,
                "the server has not acknowledged {unfinished} messages in time"
            ),
            Self::Closed { unfinished, reason } => write!(
                f,
                "{reason}; the server has not acknowledged {unfinished} messages"
            ),
            Self::Undelivered { count, first } => {
                write!(f, "{count} messages were not published; the first: {first}")
            }
        }
    }
}

impl std::error::Error for DisconnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TimedOut { .. } => None,
            Self::Closed { reason, .. } => Some(reason),
            Self::Undelivered { first, .. } => Some(first),
        }
    }
}
