//! [`Messages`]: the received messages, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::ReasonCode;

use super::error::ConnectError;
use super::inbound::{Handle, InboundMessage};
use super::inbox::Received;
use super::outbox::Request;
use super::shared::Shared;
use super::waiting::deadline_after;

/// The messages from the server, in the order in which they arrived; see [`Client::messages`](crate::Client::messages).
///
/// As an iterator it waits for the next message, and ends when the client has ended and all messages are read.
///
/// A message that nobody reads stays in a bounded queue. While the queue is full, the client reads nothing from the
/// server, so that the server holds further messages back: no message is dropped. Acknowledgements for published
/// messages wait then, too. A connection that is lost meanwhile is read to its end, and the client reconnects. With
/// MQTT 5.0 only messages of QoS 0 can fill the queue, because Receive Maximum limits the others.
///
/// A message of QoS 1 is acknowledged when the next message is asked for: if the program fails before, the server
/// delivers the message again. A message of QoS 2 is acknowledged when it is returned.
/// [`Self::with_manual_acknowledgement`] leaves the acknowledgement to the application.
#[derive(Debug)]
pub struct Messages {
    shared: Arc<Shared>,
    /// The message that is acknowledged when the next one is asked for.
    last: Option<Handle>,
    is_manual: bool,
}

impl Messages {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.inbox.add_reader();
        Self {
            shared,
            last: None,
            is_manual: false,
        }
    }

    /// Leaves the acknowledgement of messages of QoS 1 and 2 to the application, which must call
    /// [`Client::acknowledge`](crate::Client::acknowledge) or [`Client::reject`](crate::Client::reject) for each of
    /// them, in any order and from any thread.
    #[must_use]
    pub fn with_manual_acknowledgement(mut self) -> Self {
        self.is_manual = true;
        self
    }

    /// Waits for the next message at most this long. Returns `None` if no message came.
    ///
    /// # Errors
    /// If the client has ended and all messages are read.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<InboundMessage>, ConnectError> {
        let deadline = Some(deadline_after(timeout));
        self.receive_until(deadline)
    }

    /// Returns the next message if it has arrived already.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn try_receive(&mut self) -> Result<Option<InboundMessage>, ConnectError> {
        self.receive(Duration::ZERO)
    }

    /// Acknowledges the message that was returned last, before the next one is asked for.
    pub fn acknowledge_last(&mut self) {
        if let Some(handle) = self.last.take() {
            acknowledge(&self.shared, handle, ReasonCode::Success);
        }
    }

    fn receive_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<InboundMessage>, ConnectError> {
        self.acknowledge_last();
        let message = match self.shared.inbox.receive(deadline) {
            Received::Message {
                message,
                ends_pause,
            } => {
                if ends_pause {
                    self.shared.outbox.wake_thread();
                }
                *message
            }
            Received::TimedOut => return Ok(None),
            Received::Ended => return Err(self.shared.end_reason()),
        };
        if !self.is_manual {
            self.last = message.handle;
            if message.qos == mqtt_codec::QoS::ExactlyOnce {
                self.acknowledge_last(); // or it would come again if the program failed now
            }
        }
        Ok(Some(message))
    }
}

impl Iterator for Messages {
    type Item = InboundMessage;

    fn next(&mut self) -> Option<InboundMessage> {
        self.receive_until(None).ok().flatten()
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if self.shared.inbox.remove_reader() {
            self.shared.outbox.wake_thread();
        }
    }
}

/// Has the thread of the client acknowledge a message.
pub(super) fn acknowledge(shared: &Shared, handle: Handle, reason_code: ReasonCode) {
    // A client that has ended has nobody to tell; the server delivers the message again.
    let _ = shared
        .outbox
        .request(Request::Acknowledge(handle, reason_code));
}
