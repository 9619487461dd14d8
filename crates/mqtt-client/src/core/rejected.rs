//! [`Rejected`] is a message that the client has given up.

use std::sync::Arc;

use mqtt_codec::{EncodeError, Message};
use mqtt_session::PublishError;

/// A message that the client has given up, because the server does not accept it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rejected {
    /// The message.
    pub message: Arc<Message>,
    /// The reason, if the server has announced a limit that the message exceeds. `None` if the server closes the
    /// connection when it receives the message; the message is then probably too large.
    pub error: Option<PublishError>,
    /// Set if the server has announced that it does not accept this size, in CONNACK or in DISCONNECT. Otherwise the
    /// size is a guess: a server may also close the connection of a client that may not publish to a topic.
    pub is_too_large: bool,
}

impl Rejected {
    /// Returns a message that exceeds a limit in CONNACK.
    pub(super) fn of_server(message: Arc<Message>, error: PublishError) -> Self {
        Self {
            message,
            error: Some(error),
            is_too_large: matches!(error, PublishError::Encode(EncodeError::PacketTooLarge(_))),
        }
    }

    /// Returns a message after which the server has closed the connection.
    pub(crate) fn of_lost_connections(message: Arc<Message>, is_too_large: bool) -> Self {
        Self {
            message,
            error: None,
            is_too_large,
        }
    }
}
