//! [`SubscribeError`] is the reason why subscribing or unsubscribing failed.

use std::fmt;

use mqtt_codec::{EncodeError, ReasonCode};

use super::connect::ConnectError;

/// Reason why subscribing or unsubscribing failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic filter is invalid.
    InvalidTopicFilter {
        /// The invalid text.
        topic_filter: String,
    },
    /// The request has no topic filter.
    Empty,
    /// The protocol version does not support an option of the subscription.
    Unsupported {
        /// The option.
        feature: &'static str,
    },
    /// The server has rejected the subscription.
    Refused {
        /// Topic filter of the subscription.
        topic_filter: String,
        /// Reason code in SUBACK or UNSUBACK.
        reason_code: ReasonCode,
    },
    /// The server has not answered before the timeout. The request may still take effect.
    TimedOut {
        /// First topic filter of the request.
        topic_filter: String,
    },
    /// The request cannot be encoded, or is larger than the server accepts.
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
