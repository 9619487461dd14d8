//! [`PublishError`] is the reason why a message was not published.

use std::fmt;

use mqtt_codec::{ReasonCode, TopicName};

use super::connect::ConnectError;
use super::reason::write_reason;

/// Reason why a message was not published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic name is invalid.
    InvalidTopic {
        /// The invalid text.
        topic_name: String,
    },
    /// The protocol version or the server does not support a part of the message.
    Unsupported {
        /// Topic name of the message.
        topic_name: TopicName,
        /// The part, such as properties or retained messages.
        feature: &'static str,
    },
    /// The message is larger than the server accepts.
    TooLarge {
        /// Topic name of the message.
        topic_name: TopicName,
    },
    /// The outgoing queue was full until the deadline. The message was not accepted.
    QueueFull {
        /// Topic name of the message.
        topic_name: TopicName,
    },
    /// A message of QoS 0 was not accepted, because the client is not connected and does not resend such messages.
    Disconnected {
        /// Topic name of the message.
        topic_name: TopicName,
    },
    /// The connection was lost before a message of QoS 0 was sent.
    Lost {
        /// Topic name of the message.
        topic_name: TopicName,
    },
    /// The server has rejected the message.
    Refused {
        /// Topic name of the message.
        topic_name: TopicName,
        /// Reason code in PUBACK, PUBREC or PUBCOMP.
        reason_code: ReasonCode,
        /// Explanation of the server.
        reason_string: Option<String>,
    },
    /// The server has not acknowledged the message before the timeout of the caller. The client still delivers the
    /// message.
    TimedOut {
        /// Topic name of the message.
        topic_name: TopicName,
    },
    /// The client has ended before the server acknowledged the message.
    Closed {
        /// Topic name of the message.
        topic_name: TopicName,
        /// Reason why the client has ended.
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
