//! [`DisconnectError`] is the reason why a client ended although some messages may not have reached the server.

use std::fmt;

use super::connect::ConnectError;
use super::publish::PublishError;

/// Reason why a client ended although some messages may not have reached the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The server has not acknowledged all messages before the timeout.
    TimedOut {
        /// Number of messages that the server has not acknowledged, or 0 if the number is unknown.
        unfinished: usize,
    },
    /// The client had already ended.
    Closed {
        /// Number of messages that the server has not acknowledged.
        unfinished: usize,
        /// Reason why the client has ended.
        reason: ConnectError,
    },
    /// Messages failed. No caller has received the errors, because the [`PublishToken`](crate::PublishToken)s were
    /// dropped.
    Undelivered {
        /// Number of these messages.
        count: u64,
        /// Error of the first of them.
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
