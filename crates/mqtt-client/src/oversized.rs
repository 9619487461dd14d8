//! [`Oversized`] finds messages that are larger than the server accepts, if the server has not announced a maximum.
//!
//! A server closes the connection because of such a message: in MQTT 5.0 with reason code 0x95 (packet too large), and
//! before MQTT 5.0 without a reason. The client would resend the message on each connection, and no later message would
//! be delivered. Therefore the client gives up the message. After 0x95 the client does so immediately. Without a reason
//! code it does so after [`crate::Options::maximum_losses`] connections in a row were lost without an acknowledgement,
//! if this option is set. On a bad network the message may not be the cause of the losses, so a program that sets the
//! option must report the message to its user.
//!
//! The client gives up the largest message in flight. If any message in flight is too large, the largest one is too
//! large.

use std::sync::Arc;

use mqtt_codec::{Message, QoS, ReasonCode};
use mqtt_session::{CloseReason, OutboundMessage, Session};

use crate::core::rejected::Rejected;
use crate::error::ClientError;

/// Messages that may be too large for the server.
#[derive(Debug, Default)]
pub(crate) struct Oversized {
    /// Payload size of the largest messages that were published, in bytes.
    largest: usize,
    /// Number of published messages with the size `largest`.
    count: usize,
    /// Largest message in flight when the connection was lost, and the number of losses in a row with this message.
    suspect: Option<(Arc<Message>, u32)>,
    /// Set when this connection has sent a message.
    has_sent: bool,
    /// Messages that were given up and have not been reported.
    rejected: Vec<Rejected>,
}

impl Oversized {
    /// Records that a message was sent for the first time.
    pub(crate) fn published(&mut self, message: &Message, qos: QoS) {
        self.has_sent = true;
        let size = message.payload.len();
        // A message of QoS 0 is not resent, so it cannot block later messages.
        if qos == QoS::AtMostOnce || size < self.largest {
            return;
        }
        if size > self.largest {
            (self.largest, self.count) = (size, 0);
        }
        self.count += 1;
    }

    /// Records that a published message was given up for another reason than the loss of connections.
    pub(crate) fn given_up(&mut self, message: &Message) {
        // A message that is neither in flight nor acknowledged must not count, or the last comparison in
        // `largest_in_flight` would take it for an acknowledged one.
        if message.payload.len() == self.largest {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// Records that the server has acknowledged a message. Message sizes are then not the reason for earlier losses.
    pub(crate) fn delivered(&mut self) {
        self.suspect = None;
    }

    /// Handles the loss of a connection that the server had accepted. Gives up a message if it is the reason of the
    /// loss. Returns `true` if the next connection may make more progress.
    pub(crate) fn connection_lost(
        &mut self,
        session: &mut Session,
        error: &ClientError,
        maximum_losses: Option<u32>,
    ) -> bool {
        let has_sent = std::mem::take(&mut self.has_sent);
        let ClientError::Closed(reason) = error else {
            return false;
        };
        // Set if the server itself has named the size of a packet as the reason.
        let is_told = match reason {
            CloseReason::Disconnected(disconnect) => {
                disconnect.reason_code == ReasonCode::PacketTooLarge
            }
            CloseReason::ConnectionLost => false,
            // Other reasons, such as a keep alive timeout, do not depend on the size of a message.
            _ => return false,
        };
        let Some(message) = self.largest_in_flight(session, is_told) else {
            // The message may have been of QoS 0. It is not resent, so the next connection may make progress.
            return is_told && has_sent;
        };
        let losses = match self.suspect.take() {
            // The losses count only as long as the same message is the largest one.
            Some((suspect, losses)) if Arc::ptr_eq(&suspect, &message) => losses + 1,
            _ => 1,
        };
        if !is_told && maximum_losses.is_none_or(|maximum| losses < maximum) {
            self.suspect = Some((message, losses));
            return false;
        }
        // The session withdraws exactly this message and keeps all others.
        session.withdraw(false, |outgoing| !Arc::ptr_eq(&outgoing.message, &message));
        self.measure(session);
        self.rejected
            .push(Rejected::of_lost_connections(message, is_told));
        true
    }

    /// Returns the messages that were given up since the last call.
    pub(crate) fn take_rejected(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.rejected)
    }

    /// Returns the largest message that the last connection has sent, or the oldest one of several. Without the reason
    /// code 0x95, returns `None` if the server has acknowledged a message of the same size.
    fn largest_in_flight(&self, session: &Session, is_told: bool) -> Option<Arc<Message>> {
        let in_flight = session
            .sent_by_last_connection()
            .map(|outgoing| &outgoing.message);
        let size = |message: &&Arc<Message>| message.payload.len();
        // `max_by_key` returns the last of several maxima. In the reversed list this is the oldest message.
        let mut in_flight: Vec<_> = in_flight.collect();
        in_flight.reverse();
        let largest = in_flight.iter().copied().max_by_key(size)?;
        let has_its_size =
            |message: &&OutboundMessage| message.message.payload.len() == self.largest;
        let messages = session.sent().filter_map(|(_, outgoing)| outgoing);
        let unfinished = messages.filter(has_its_size).count();
        // If all messages of this size are unfinished, the server has acknowledged none of them.
        let none_was_accepted = largest.payload.len() == self.largest && unfinished == self.count;
        (is_told || none_was_accepted).then(|| Arc::clone(largest))
    }

    /// Measures the remaining messages again after one was given up.
    fn measure(&mut self, session: &Session) {
        (self.largest, self.count) = (0, 0);
        for (_, outgoing) in session.sent() {
            if let Some(outgoing) = outgoing {
                self.published(&outgoing.message, outgoing.qos);
            }
        }
        // `published` has set the flag, but no connection has sent a message here.
        self.has_sent = false;
    }
}
