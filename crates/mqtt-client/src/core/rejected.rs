//! [`Rejected`] is a message that the client has given up.

use std::sync::Arc;

use mqtt_codec::Message;
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
}

impl Rejected {
    /// Returns a message that exceeds a limit in CONNACK.
    pub(super) fn of_server(message: Arc<Message>, error: PublishError) -> Self {
        Self {
            message,
            error: Some(error),
        }
    }

    /// Returns a message after which the server has closed the connection.
    pub(super) fn of_lost_connections(message: Arc<Message>) -> Self {
        Self {
            message,
            error: None,
        }
    }
}
