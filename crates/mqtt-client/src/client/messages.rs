//! [`Messages`] returns the received messages one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::ReasonCode;

use super::error::ConnectError;
use super::handover::GRACE;
use super::inbound::{Handle, InboundMessage};
use super::inbox::{Ended, Received};
use super::shared::{Drive, Shared};
use super::waiting::deadline_after;

/// Number of quick waits after which a reader requests the driver. A reader that waits rarely gains nothing from the
/// driver, and each loan wakes the thread twice.
const QUICK_WAITS: u32 = 16;

/// Number of acknowledgements that an application collects, at most, while the driver is idle. A larger batch makes the
/// server wait; a smaller one costs more system calls.
const ACKNOWLEDGEMENTS: usize = 32;

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
    pace: Pace,
}

impl Messages {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.inbox.add_reader();
        Self {
            shared,
            last: None,
            is_manual: false,
            pace: Pace::default(),
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
        let received = match self.shared.inbox.take() {
            Ok(None) => self.wait(deadline),
            received => received,
        };
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

    /// Waits for the next message: runs the driver if this reader may borrow it, or waits until its owner has added a
    /// message.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<Option<Received>, Ended> {
        let shared = Arc::clone(&self.shared);
        if let Some(driver) = self.borrow_driver(deadline) {
            if let Some(received) = run_driver(&shared, driver, deadline) {
                return received.map(Some);
            }
        }
        shared.inbox.receive(deadline)
    }

    fn borrow_driver(&mut self, deadline: Option<Instant>) -> Option<Box<dyn Drive>> {
        // If this reader had the driver while it handles a message, the other readers would wait.
        if !self.shared.inbox.has_one_reader() {
            return None;
        }
        let handover = &self.shared.handover;
        if let Some(driver) = handover.borrow() {
            return Some(driver);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) || !self.pace.record_wait(now) {
            return None;
        }
        handover.request(|| self.shared.outbox.wake_for_request(), deadline)
    }
}

/// Runs the driver in the thread of a reader until a message has arrived, and releases the driver. Returns `None` at the
/// deadline, and if the reader must wait without the driver.
fn run_driver(
    shared: &Shared,
    mut driver: Box<dyn Drive>,
    deadline: Option<Instant>,
) -> Option<Result<Received, Ended>> {
    let mut is_late = false;
    loop {
        // This comes before the first turn, too: the last owner of the driver may have added a message, and the turn
        // would wait for another one.
        let received = shared.inbox.take().transpose();
        if received.is_some() || is_late {
            shared.release(driver);
            return received;
        }
        driver = run_turn(shared, driver, deadline)?;
        is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
    }
}

/// Runs one turn in the thread of a caller. Returns `None` if the client is closing or has ended. If it is closing, the
/// thread of the client sends DISCONNECT, because that may take longer than the caller may wait.
fn run_turn(
    shared: &Shared,
    mut driver: Box<dyn Drive>,
    deadline: Option<Instant>,
) -> Option<Box<dyn Drive>> {
    if shared.outbox.closing().is_some() {
        shared.release(driver);
        return None;
    }
    match driver.turn(deadline, None) {
        Ok(()) => Some(driver),
        Err(ending) => {
            driver.end(ending);
            None
        }
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

/// Frequency with which a reader waits for messages.
#[derive(Debug, Default)]
struct Pace {
    last_wait: Option<Instant>,
    /// Number of waits in succession that each followed the last one within [`GRACE`].
    quick_waits: u32,
}

impl Pace {
    /// Records a wait at `now`. Returns `true` once for each [`QUICK_WAITS`] quick waits.
    fn record_wait(&mut self, now: Instant) -> bool {
        let last = self.last_wait.replace(now);
        let is_quick = last.is_some_and(|last| now.saturating_duration_since(last) < GRACE);
        self.quick_waits = if is_quick { self.quick_waits + 1 } else { 0 };
        let is_fast = self.quick_waits >= QUICK_WAITS;
        if is_fast {
            self.quick_waits = 0;
        }
        is_fast
    }
}

/// Makes the driver acknowledge a message.
pub(super) fn acknowledge(shared: &Shared, handle: Handle, reason_code: ReasonCode) {
    let unsent = shared.outbox.acknowledge(handle, reason_code);
    if unsent >= ACKNOWLEDGEMENTS {
        if let Some(driver) = shared.handover.borrow() {
            if let Some(driver) = run_turn(shared, driver, Some(Instant::now())) {
                shared.release(driver);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::task::Waker;

    use mqtt_codec::{MessageProperties, QoS, TopicName};

    use super::*;
    use crate::client::driver::Driver;
    use crate::client::handover::Handover;
    use crate::client::inbox::Inbox;
    use crate::client::outbox::Outbox;
    use crate::event_loop::EventLoop;
    use crate::options::Options;

    #[test]
    fn a_reader_with_the_driver_does_not_wait_while_a_message_is_in_the_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let outbox = Outbox::new(Waker::noop().clone(), 10, usize::MAX);
        let inbox = Inbox::new(10, usize::MAX);
        let shared = Arc::new(Shared::new(outbox, inbox, Arc::new(Handover::new())));
        let event_loop = EventLoop::new(Options::new("127.0.0.1", port), None).unwrap();
        let driver = Box::new(Driver::new(event_loop, Arc::clone(&shared)));
        shared.inbox.add(&mut vec![InboundMessage {
            topic_name: TopicName::new("a").unwrap(),
            payload: "x".into(),
            qos: QoS::AtMostOnce,
            retain: false,
            duplicate: false,
            properties: MessageProperties::default(),
            subscription_identifiers: Vec::new(),
            handle: None,
        }]);
        let received = run_driver(&shared, driver, None).unwrap().unwrap();
        assert_eq!(received.message.text(), Some("x"));
        // A turn would have connected.
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
        assert!(shared.handover.borrow().is_some());
    }
}
