//! [`Messages`] returns the received messages one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::ReasonCode;

use super::error::ConnectError;
use super::inbound::{Handle, InboundMessage};
use super::inbox::{Ended, Received};
use super::shared::Shared;
use super::waiting::deadline_after;

/// Messages from the server, in the order in which they arrived; see [`Client::messages`](crate::Client::messages).
///
/// The iterator blocks until the next message arrives. It ends when the client has ended and all messages have been
/// read.
///
/// Messages that the application has not read stay in a bounded queue. While the queue is full, the client does not
/// read from the server, and the server must keep further messages. No message is dropped. Acknowledgements for
/// published messages are delayed in the meantime. If the server closes the connection, the client reads its remaining
/// bytes and reconnects. With MQTT 5.0 the Receive Maximum of the client keeps the server from filling the queue with
/// messages of QoS 1 and 2 alone.
///
/// Messages that arrive before the first `Messages` exists wait in the same queue. If the queue is full and no
/// `Messages` is created for ten seconds, the client discards further messages and counts them
/// ([`Statistics::discarded`](crate::Statistics::discarded)), so that an application that only publishes is not
/// blocked.
///
/// A message of QoS 1 is acknowledged when the application requests the next message. If the program fails before this,
/// the server delivers the message again. A message of QoS 2 is acknowledged when it is returned.
/// [`Self::with_manual_acknowledgement`] leaves the acknowledgement to the application.
#[derive(Debug)]
pub struct Messages {
    shared: Arc<Shared>,
    /// Message that is acknowledged when the application requests the next one.
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

    /// Leaves the acknowledgement of messages of QoS 1 and 2 to the application. The application must call
    /// [`Client::acknowledge`](crate::Client::acknowledge) or [`Client::reject`](crate::Client::reject) for each of
    /// them. Any order and any thread is allowed.
    #[must_use]
    pub fn with_manual_acknowledgement(mut self) -> Self {
        self.is_manual = true;
        self
    }

    #[cfg(feature = "async")]
    pub(super) fn set_manual(&mut self) {
        self.is_manual = true;
    }

    #[cfg(feature = "async")]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits for the next message for at most `timeout`. Returns `None` if no message arrives.
    ///
    /// # Errors
    /// Returns an error if the client has ended and all messages have been read.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<InboundMessage>, ConnectError> {
        let deadline = Some(deadline_after(timeout));
        self.receive_until(deadline)
    }

    /// Returns the next message, or `None` if no message has arrived.
    ///
    /// # Errors
    /// Returns an error under the same condition as [`Self::receive`].
    pub fn try_receive(&mut self) -> Result<Option<InboundMessage>, ConnectError> {
        self.receive(Duration::ZERO)
    }

    /// Acknowledges the message that was returned last, without a request for the next one.
    pub fn acknowledge_last(&mut self) {
        if let Some(handle) = self.last.take() {
            acknowledge(&self.shared, handle, ReasonCode::Success);
        }
    }

    fn receive_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<InboundMessage>, ConnectError> {
        // The application has handled the last message when it requests the next one.
        self.acknowledge_last();
        let received = self.shared.inbox.receive(deadline);
        let Some(received) = received.map_err(|Ended| self.shared.end_reason())? else {
            return Ok(None);
        };
        let Received {
            message,
            ends_pause,
        } = received;
        if ends_pause {
            self.shared.outbox.wake_thread();
        }
        if !self.is_manual {
            self.last = message.handle;
            if message.qos == mqtt_codec::QoS::ExactlyOnce {
                self.acknowledge_last(); // Otherwise the server would resend it after a crash.
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

/// Makes the thread of the client acknowledge a message.
pub(super) fn acknowledge(shared: &Shared, handle: Handle, reason_code: ReasonCode) {
    shared.outbox.acknowledge(handle, reason_code);
}
