//! [`Client`] is the interface to a connection that a separate thread maintains.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_codec::{Message, ProtocolVersion, QoS, ReasonCode, TopicName};
use mqtt_session::{OutboundMessage, Session};

use super::completion::Slot;
use super::driver::{self, Driver};
use super::error::{ConnectError, DisconnectError, PublishError};
use super::events::Events;
use super::inbound::InboundMessage;
use super::inbox::Inbox;
use super::limits::Limits;
use super::messages::{self, Messages};
use super::outbox::{Outbox, Publication};
use super::shared::{DriverHandover, Ending, Shared};
use super::statistics::Statistics;
use super::token::PublishToken;
use super::waiting::{deadline_after, lock};
use crate::event_loop::EventLoop;
use crate::options::Options;

/// Time for finishing messages when the last [`Client`] is dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// Connection to a broker. Any thread can use it.
///
/// A thread of the library maintains the connection: it sends PINGREQ packets, reads messages and reconnects. While
/// messages arrive quickly, the thread that waits for them does this instead. Clones
/// share the connection. When the last clone is dropped, the client waits up to two seconds for acknowledgements and
/// then ends the connection. [`Self::disconnect`] reports whether all messages have arrived.
///
/// Messages of QoS 1 and 2 that [`Self::publish`] has accepted survive lost connections: the client resends them until
/// the server has acknowledged them or the program ends. A message of QoS 0 is never resent. Publishing a message of
/// QoS 0 without a connection is an error.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) handle: Arc<ClientHandle>,
}

/// Wakes the owner of the driver: the thread of a client, or the reader that has borrowed it.
struct DriverWaker {
    event_loop: Arc<mio::Waker>,
    handover: Arc<DriverHandover>,
}

impl Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // An idle driver does not wait in the event loop.
        if self.handover.recall() {
            return;
        }
        // Waking fails only if the operating system has no memory. The thread then sees the change at its next
        // deadline.
        let _ = self.event_loop.wake();
    }
}

/// Part that all clones share. The thread ends when this part is dropped.
#[derive(Debug)]
pub(super) struct ClientHandle {
    shared: Arc<Shared>,
    pub(super) version: ProtocolVersion,
    pub(super) limits: Limits,
    /// Set if the drop waits for acknowledgements. Asynchronous programs must not block.
    waits_when_dropped: bool,
}

impl Client {
    /// Connects with these options. Waits until the server accepts the connection.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached or rejects the client.
    pub fn connect(options: Options) -> Result<Self, ConnectError> {
        Self::connect_with(options, Limits::default())
    }

    pub(super) fn connect_with(options: Options, limits: Limits) -> Result<Self, ConnectError> {
        // If the wait were shorter, it could end before the attempts, and the reason of their failure would be lost.
        let timeout = (options.connect_timeout + options.limits.handshake_timeout)
            .max(options.wait_for_server)
            .saturating_add(Duration::from_secs(1));
        // `client` exists before this wait, so that a failure drops it and thereby ends the thread.
        let client = Self::start(options, limits, true)?;
        client
            .shared()
            .wait_until_reached(deadline_after(timeout))?;
        Ok(client)
    }

    /// Starts the thread, which connects.
    pub(super) fn start(
        mut options: Options,
        limits: Limits,
        waits_when_dropped: bool,
    ) -> Result<Self, ConnectError> {
        let version = options.connect.protocol_version;
        let own = &mut options.limits.receive_maximum;
        // The Receive Maximum keeps the server from sending more messages of QoS 1 and 2 than the queue has room for. A
        // client with a full queue reads nothing, not even acknowledgements.
        *own = NonZeroU16::new(*own)
            .map_or(limits.unread_messages, |own| {
                own.get().min(limits.unread_messages)
            })
            .max(1);
        let has_session = !options.connect.clean_start;
        // The session at the server may still hold packet identifiers of an earlier run of this program.
        let event_loop = EventLoop::new(options, has_session.then(Session::without_state))
            .map_err(|error| ConnectError::new(String::new(), error))?;
        let handover = Arc::new(DriverHandover::new());
        let waker = DriverWaker {
            event_loop: event_loop.waker(),
            handover: Arc::clone(&handover),
        };
        let outbox = Outbox::new(
            Waker::from(Arc::new(waker)),
            limits.queued_messages,
            limits.queued_bytes,
        );
        // The client stops reading when the queue has no room left, so the queue has room for one message more than the
        // Receive Maximum. Otherwise unread messages of QoS 1 and 2 alone would delay acknowledgements of published
        // messages.
        let unread_messages = usize::from(limits.unread_messages) + 1;
        let inbox = Inbox::new(unread_messages, limits.unread_bytes);
        let shared = Arc::new(Shared::new(outbox, inbox, handover));
        let driver = Box::new(Driver::new(event_loop, Arc::clone(&shared)));
        let thread = thread::Builder::new().name("mqtt-client".into());
        let spawned = thread.spawn({
            let shared = Arc::clone(&shared);
            move || driver::run(driver, &shared)
        });
        spawned.map_err(|error| ConnectError::System(Arc::new(error)))?;
        Ok(Self {
            handle: Arc::new(ClientHandle {
                shared,
                version,
                limits,
                waits_when_dropped,
            }),
        })
    }

    /// Publishes a message. Returns when the message is in the outgoing queue. The queue is bounded: while it is full,
    /// this method waits for at most the publish timeout.
    ///
    /// The token returns the result of the message. A program may drop the token. A message of QoS 1 or 2 is resent
    /// until the server acknowledges it, and [`Self::disconnect`] reports failures of messages whose tokens were
    /// dropped.
    ///
    /// # Errors
    /// Returns an error if the topic name is invalid, if the queue stays full, if a message of QoS 0 cannot be sent
    /// because the client is not connected, or if the client has ended.
    pub fn publish(
        &self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        self.publish_message(Self::message(topic_name, payload)?, qos)
    }

    pub(super) fn message(
        topic_name: &str,
        payload: impl Into<Bytes>,
    ) -> Result<Message, PublishError> {
        let topic = TopicName::new(topic_name).map_err(|_| PublishError::InvalidTopic {
            topic_name: topic_name.to_owned(),
        })?;
        Ok(Message::new(topic, payload))
    }

    /// Publishes a message that may have properties or be retained; see [`Self::publish`].
    ///
    /// # Errors
    /// Returns the errors of [`Self::publish`]. Returns an error too if the message has properties and the protocol
    /// version is MQTT 3.1 or 3.1.1.
    pub fn publish_message(
        &self,
        message: Message,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        let deadline = deadline_after(self.handle.limits.publish_timeout);
        self.enqueue(message, qos, Some(deadline))
    }

    /// Publishes a message like [`Self::publish_message`], but does not wait.
    ///
    /// # Errors
    /// Returns the errors of [`Self::publish_message`], and [`PublishError::QueueFull`] if the queue is full.
    pub fn try_publish_message(
        &self,
        message: Message,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        self.enqueue(message, qos, None)
    }

    /// Publishes a message and waits until the server has acknowledged it. A message of QoS 0 has no acknowledgement;
    /// the method then waits until the message is sent.
    ///
    /// # Errors
    /// Returns the errors of [`Self::publish`] and of [`PublishToken::wait`].
    pub fn publish_and_wait(
        &self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
        timeout: Duration,
    ) -> Result<(), PublishError> {
        let deadline = deadline_after(timeout);
        let token = self.publish(topic_name, payload, qos)?;
        token.wait(deadline.saturating_duration_since(Instant::now()))
    }

    fn enqueue(
        &self,
        message: Message,
        qos: QoS,
        deadline: Option<Instant>,
    ) -> Result<PublishToken, PublishError> {
        let (publication, token) = self.publication(message, qos)?;
        self.shared().outbox.publish(publication, deadline)?;
        Ok(token)
    }

    /// Returns a message for the outgoing queue, and its token.
    pub(super) fn publication(
        &self,
        message: Message,
        qos: QoS,
    ) -> Result<(Publication, PublishToken), PublishError> {
        let topic_name = message.topic_name.clone();
        // MQTT 3.1 and 3.1.1 cannot transmit properties. The caller gets an error instead of a message without them.
        if message.properties.is_some() && self.handle.version != ProtocolVersion::V5_0 {
            return Err(PublishError::Unsupported {
                topic_name,
                feature: "properties",
            });
        }
        let slot = Slot::new();
        let publication = Publication {
            outgoing: OutboundMessage::new(Arc::new(message), qos),
            slot: Arc::clone(&slot),
        };
        let token = PublishToken::new(Arc::clone(self.shared()), topic_name, slot);
        Ok((publication, token))
    }

    /// Returns an iterator over the received messages. If several iterators exist, each message goes to one of them.
    pub fn messages(&self) -> Messages {
        Messages::new(Arc::clone(self.shared()))
    }

    /// Acknowledges a message of [`Messages::with_manual_acknowledgement`]. If the connection was lost in the meantime,
    /// the acknowledgement is sent when the server resends the message.
    pub fn acknowledge(&self, message: &InboundMessage) {
        self.answer(message, ReasonCode::Success);
    }

    /// Rejects a message of [`Messages::with_manual_acknowledgement`] with a reason code of 0x80 or above. MQTT 3.1 and
    /// 3.1.1 cannot reject a message; the message is then acknowledged.
    pub fn reject(&self, message: &InboundMessage, reason_code: ReasonCode) {
        self.answer(message, reason_code);
    }

    fn answer(&self, message: &InboundMessage, reason_code: ReasonCode) {
        if let Some(handle) = message.handle {
            messages::acknowledge(self.shared(), handle, reason_code);
        }
    }

    /// Returns an iterator over the events of the connection. If several iterators exist, each event goes to one of
    /// them.
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(self.shared()))
    }

    /// Returns `true` while a connection exists that the server has accepted.
    pub fn is_connected(&self) -> bool {
        self.shared().outbox.is_connected()
    }

    /// Returns the counters of the client.
    pub fn statistics(&self) -> Statistics {
        self.shared().failures.counters.statistics()
    }

    /// Waits until the server has acknowledged all messages, and ends the connection. This ends all clones of the
    /// client.
    ///
    /// # Errors
    /// Returns an error if the server has not acknowledged all messages before the timeout. Returns an error too if a
    /// message failed whose token was dropped.
    pub fn disconnect(&self, timeout: Duration) -> Result<(), DisconnectError> {
        let shared = self.shared();
        let was_ended = shared.has_ended();
        let deadline = deadline_after(timeout);
        shared.outbox.close(deadline);
        // The timeout above is for the acknowledgements. Writing DISCONNECT may take five seconds more.
        let ending = shared.wait_until_ended(deadline + Duration::from_secs(5));
        let Some(ending) = ending else {
            // The thread has not ended, so the number of unfinished messages is not known.
            let unfinished = 0;
            return Err(DisconnectError::TimedOut { unfinished });
        };
        self.disconnected(ending, was_ended)
    }

    /// Returns the result of [`Self::disconnect`].
    pub(super) fn disconnected(
        &self,
        ending: Ending,
        was_ended: bool,
    ) -> Result<(), DisconnectError> {
        let Ending { reason, unfinished } = ending;
        let shared = self.shared();
        if let Some((count, first)) = lock(&shared.failures.unreported).take() {
            // Unacknowledged messages are reported below in preference to failures of earlier messages.
            if unfinished == 0 {
                return Err(DisconnectError::Undelivered { count, first });
            }
        }
        match reason {
            ConnectError::Closed if unfinished == 0 => Ok(()),
            // This call has ended the client, so messages are unfinished because of its timeout.
            ConnectError::Closed if !was_ended => Err(DisconnectError::TimedOut { unfinished }),
            reason => Err(DisconnectError::Closed { unfinished, reason }),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        // A program that panics does not wait for its messages.
        let timeout = if thread::panicking() {
            Duration::ZERO
        } else {
            DROP_TIMEOUT
        };
        let deadline = Instant::now() + timeout;
        self.shared.outbox.close(deadline);
        if !timeout.is_zero() && self.waits_when_dropped {
            // After the deadline the thread still needs time to write DISCONNECT.
            let _ = self.shared.wait_until_ended(deadline + DROP_TIMEOUT);
        }
    }
}
