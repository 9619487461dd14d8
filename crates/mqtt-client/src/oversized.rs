//! [`Oversized`]: messages that are larger than the server accepts, where the server has not announced its maximum.
//!
//! A server ends the connection because of such a message, in 5.0 with reason code 0x95 and before 5.0 without a
//! reason. The message would be resent on each connection, and nothing after it would get through. So it is given up:
//! immediately after 0x95, and otherwise, if [`crate::Options::maximum_losses`] says so, when the connection was lost
//! several times in a row with nothing acknowledged. On a bad network that may be another message than one that is too
//! large, so a program that asks for it has to report the message.
//! The largest message in flight is the one to give up: if any of them is too large, this one is.

use std::sync::Arc;

use mqtt_codec::{Message, QoS, ReasonCode};
use mqtt_session::{CloseReason, OutboundMessage, Session};

use crate::error::ClientError;

/// The messages that may be too large for the server.
#[derive(Debug, Default)]
pub(crate) struct Oversized {
    /// The size of the largest messages that were published, and their number.
    largest: usize,
    count: usize,
    /// The largest message in flight when the connection was lost, and the number of losses.
    suspect: Option<(Arc<Message>, u32)>,
    /// Set once this connection has sent a message.
    has_sent: bool,
    /// Messages that were given up and not reported yet.
    rejected: Vec<Arc<Message>>,
}

impl Oversized {
    /// Records that a message was sent for the first time.
    pub(crate) fn published(&mut self, message: &Message, qos: QoS) {
        self.has_sent = true;
        let size = message.payload.len();
        if qos == QoS::AtMostOnce || size < self.largest {
            return;
        }
        if size > self.largest {
            (self.largest, self.count) = (size, 0);
        }
        self.count += 1;
    }

    /// Records that the server has acknowledged a message. The size of a message is then not the reason for the lost
    /// connections.
    pub(crate) fn delivered(&mut self) {
        self.suspect = None;
    }

    /// Handles the loss of a connection that the server had accepted. Gives up the message that is the reason, if there
    /// is one. Returns `true` if the next connection may make more progress.
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
        let is_told = match reason {
            CloseReason::Disconnected(disconnect) => {
                disconnect.reason_code == ReasonCode::PacketTooLarge
            }
            CloseReason::ConnectionLost => false,
            _ => return false,
        };
        let Some(message) = self.largest_in_flight(session, is_told) else {
            return is_told && has_sent;
        };
        let losses = match self.suspect.take() {
            Some((suspect, losses)) if Arc::ptr_eq(&suspect, &message) => losses + 1,
            _ => 1,
        };
        if !is_told && maximum_losses.is_none_or(|maximum| losses < maximum) {
            self.suspect = Some((message, losses));
            return false;
        }
        session.withdraw(false, |outgoing| !Arc::ptr_eq(&outgoing.message, &message));
        self.measure(session);
        self.rejected.push(message);
        true
    }

    /// Takes the messages that were given up since the last call.
    pub(crate) fn take_rejected(&mut self) -> Vec<Arc<Message>> {
        std::mem::take(&mut self.rejected)
    }

    /// Returns the oldest of the largest messages that the last connection has sent, unless the server has accepted one
    /// of its size.
    fn largest_in_flight(&self, session: &Session, is_told: bool) -> Option<Arc<Message>> {
        let in_flight = session
            .sent_by_last_connection()
            .map(|outgoing| &outgoing.message);
        let size = |message: &&Arc<Message>| message.payload.len();
        // `max_by_key` returns the last one of several.
        let mut in_flight: Vec<_> = in_flight.collect();
        in_flight.reverse();
        let largest = in_flight.iter().copied().max_by_key(size)?;
        let has_its_size =
            |message: &&OutboundMessage| message.message.payload.len() == self.largest;
        let messages = session.sent().filter_map(|(_, outgoing)| outgoing);
        let unfinished = messages.filter(has_its_size).count();
        let none_was_accepted = largest.payload.len() == self.largest && unfinished == self.count;
        (is_told || none_was_accepted).then(|| Arc::clone(largest))
    }

    /// Finds the largest message again, after one was given up.
    fn measure(&mut self, session: &Session) {
        (self.largest, self.count) = (0, 0);
        for (_, outgoing) in session.sent() {
            if let Some(outgoing) = outgoing {
                self.published(&outgoing.message, outgoing.qos);
            }
        }
        self.has_sent = false;
    }
}
