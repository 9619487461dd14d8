//! The backlog: unfinished messages of a lost session, which the client publishes as new messages before all others.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::PacketIdentifier;
use mqtt_session::{OutboundMessage, PublishError, Session};

use super::{ClientCore, Rejected};

impl ClientCore {
    /// Sends a message; see [`publish`](mqtt_session::Connection::publish) of the connection.
    ///
    /// # Errors
    /// Returns the errors of the connection. While messages of a lost session wait, the error is `QuotaUsedUp`.
    pub fn publish(
        &mut self,
        now: Instant,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        // The messages in the backlog are older and must be sent first.
        if !self.backlog.is_empty() {
            return Err(PublishError::QuotaUsedUp);
        }
        match &mut self.connection {
            Some(connection) => {
                let (message, qos) = (Arc::clone(&outgoing.message), outgoing.qos);
                let result = connection.publish(now, outgoing);
                if result.is_ok() {
                    self.oversized.published(&message, qos);
                }
                result
            }
            None => Err(PublishError::NotConnected),
        }
    }

    /// Returns the messages that were given up since the last call. The client does not resend these messages. The
    /// caller must call this method after each turn that has handled input or the loss of a connection.
    pub fn take_rejected(&mut self) -> Vec<Rejected> {
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.extend(self.oversized.take_rejected());
        rejected
    }

    /// Returns the messages of a lost session that wait to be published as new messages, oldest first.
    pub fn backlog(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.backlog.iter()
    }

    /// Replaces the session if the next server is not the one that has the session. Packet identifiers of one server
    /// are not valid at another server, which may have an old session of this client. Unfinished messages go to the
    /// backlog.
    pub(super) fn leave_session_of_another_server(&mut self) {
        let is_another = self.server_session.is_of_another(self.server());
        let Some(session) = self.session.as_mut().filter(|_| is_another) else {
            return;
        };
        // With a session without state, the connection sends PUBREL for all packet identifiers. The other server then
        // releases those of an earlier session.
        let left = std::mem::replace(session, Session::without_state());
        let unfinished: Vec<_> = left
            .sent()
            .filter_map(|(_, outgoing)| outgoing.cloned())
            .collect();
        for outgoing in unfinished.into_iter().rev() {
            self.backlog.push_front(outgoing);
        }
    }

    /// Publishes the messages of the backlog, as far as the connection accepts them now.
    pub(super) fn send_backlog(&mut self, now: Instant) {
        while let (Some(connection), Some(outgoing)) = (&mut self.connection, self.backlog.front())
        {
            match connection.publish(now, outgoing.clone()) {
                // The rest of the backlog waits until acknowledgements make room in flight.
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => break,
                Ok(_) => {}
                // The limits of this server are smaller than those of the server that has lost the session, for example
                // its Maximum QoS. Only this message is given up: an error of the whole client would lose the others.
                Err(error) => {
                    self.oversized.given_up(&outgoing.message);
                    let message = Arc::clone(&outgoing.message);
                    self.rejected.push(Rejected::of_server(message, error));
                }
            }
            self.backlog.pop_front();
        }
    }
}
