//! Interface of the client for asynchronous programs: the same thread and the same queues, with futures instead of
//! calls that block.
//!
//! The futures use only `std`, and the streams implement `Stream` of `futures-core`. Therefore both run in tokio, smol
//! and every other runtime, and this crate depends on none of them. If the connection were a task of the runtime, the
//! client would save one thread. But the client would then need another event loop, timers and TLS for each runtime,
//! and a slow task of the application would delay PINGREQ.

mod streams;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_codec::{Message, QoS, ReasonCode, SubscribeProperties, Subscription};

pub use self::streams::{EventStream, MessageStream};
use super::error::{ConnectError, DisconnectError, PublishError, SubscribeError};
use super::handle::Client;
use super::inbound::InboundMessage;
use super::outbox::{Request, SubscribeSlot};
use super::shared::Shared;
use super::statistics::Statistics;
use super::token::PublishToken;
use super::waiting::deadline_after;
use super::wakers::Completed;

/// Connection to a broker, for asynchronous programs; see
/// [`ClientBuilder::connect_async`](crate::ClientBuilder::connect_async).
///
/// This is [`Client`] with futures. They run in any runtime, and no method blocks. A thread of the library
/// maintains the connection, so a slow task delays neither PINGREQ nor acknowledgements.
///
/// # Timeouts
///
/// The futures wait without a limit, and the timeouts of the builder do not apply to them: use the timer of the
/// runtime, such as `tokio::time::timeout`.
///
/// # Cancel safety
///
/// Each future may be dropped at any time, for example by `tokio::select!`:
///
/// - A message is either published completely or not at all. A call of [`Self::publish`] that was dropped before it
///   returned a token has not published its message.
/// - A dropped wait for an acknowledgement does not stop the delivery of the message.
/// - A dropped [`Self::subscribe`] or [`Self::unsubscribe`] may still take effect, because the packet may already be on
///   its way.
/// - No received message and no event is lost. A future removes a message or an event from its queue only when it
///   returns it.
/// - A [`Self::disconnect`] that is dropped after it was polled once still ends the client.
///
/// When the last clone is dropped, the connection ends as described for [`Client`], but the drop does not block until
/// then. Call [`Self::disconnect`] to be sure that all messages have arrived.
#[derive(Debug, Clone)]
pub struct AsyncClient {
    client: Client,
}

impl AsyncClient {
    /// Waits until the server accepts the first connection.
    pub(super) async fn connect(client: Client) -> Result<Self, ConnectError> {
        let shared = Arc::clone(client.shared());
        // If this future is dropped before the server has accepted the client, it drops the client. The caller has
        // disabled `waits_when_dropped`, so this drop does not block.
        let client = Self { client };
        let reached = || shared.reached();
        shared.status_wakers.wait_for(None, reached).await?;
        Ok(client)
    }

    /// Publishes a message. Returns when the message is in the outgoing queue. The queue is bounded: while it is full,
    /// this method waits.
    ///
    /// # Errors
    /// Returns the errors of [`Client::publish`](crate::Client::publish), except [`PublishError::QueueFull`].
    pub async fn publish(
        &self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        let message = Client::message(topic_name, payload)?;
        self.publish_message(message, qos).await
    }

    /// Publishes a message that may have properties or be retained; see [`Self::publish`].
    ///
    /// # Errors
    /// Returns the errors of [`Client::publish_message`](crate::Client::publish_message), except
    /// [`PublishError::QueueFull`].
    pub async fn publish_message(
        &self,
        message: Message,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        let (publication, token) = self.client.publication(message, qos)?;
        let outbox = &self.shared().outbox;
        let mut publication = Some(publication);
        let publish = || outbox.poll_publish(&mut publication);
        outbox.wakers.wait_for(None, publish).await?;
        Ok(token)
    }

    /// Publishes a message and waits until the server has acknowledged it; see [`PublishToken::acknowledged`].
    ///
    /// # Errors
    /// Returns the errors of [`Self::publish`] and of [`PublishToken::acknowledged`].
    pub async fn publish_and_wait(
        &self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<(), PublishError> {
        let token = self.publish(topic_name, payload, qos).await?;
        token.acknowledged().await
    }

    /// Subscribes to a topic filter, and returns the QoS that the server has granted.
    ///
    /// # Errors
    /// Returns the errors of [`Client::subscribe`](crate::Client::subscribe), except [`SubscribeError::TimedOut`].
    pub async fn subscribe(&self, topic_filter: &str, qos: QoS) -> Result<QoS, SubscribeError> {
        let subscription = Client::subscription(topic_filter, qos)?;
        let granted = self.subscribe_all(vec![subscription], SubscribeProperties::default());
        let first = granted.await?.into_iter().next();
        first.unwrap_or(Err(SubscribeError::Empty))
    }

    /// Subscribes to several topic filters with options in one request.
    ///
    /// # Errors
    /// Returns the errors of [`Client::subscribe_all`](crate::Client::subscribe_all), except
    /// [`SubscribeError::TimedOut`].
    pub async fn subscribe_all(
        &self,
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
    ) -> Result<Vec<Result<QoS, SubscribeError>>, SubscribeError> {
        let (request, slot, filters) = self.client.subscribe_request(subscriptions, properties)?;
        let reason_codes = self.request(request, slot).await?;
        Ok(Client::granted(filters, reason_codes))
    }

    /// Removes a subscription. Waits until the server has answered.
    ///
    /// # Errors
    /// Returns the errors of [`Self::subscribe`].
    pub async fn unsubscribe(&self, topic_filter: &str) -> Result<(), SubscribeError> {
        let (request, slot) = Client::unsubscribe_request(topic_filter)?;
        let reason_codes = self.request(request, slot).await?;
        Client::unsubscribed(topic_filter, &reason_codes)
    }

    async fn request(
        &self,
        request: Request,
        slot: SubscribeSlot,
    ) -> Result<Vec<ReasonCode>, SubscribeError> {
        let shared = self.shared();
        let sent = shared.outbox.request(request);
        sent.map_err(SubscribeError::Closed)?;
        let completed: Arc<dyn Completed> = Arc::<_>::clone(&slot) as _;
        let wakers = &shared.completions.wakers;
        wakers
            .wait_for(Some(completed), || slot.result().cloned())
            .await
    }

    /// Returns a stream of the received messages. If several streams exist, each message goes to one of them.
    pub fn messages(&self) -> MessageStream {
        MessageStream::new(self.client.messages())
    }

    /// Acknowledges a message; see [`Client::acknowledge`](crate::Client::acknowledge).
    pub fn acknowledge(&self, message: &InboundMessage) {
        self.client.acknowledge(message);
    }

    /// Rejects a message; see [`Client::reject`](crate::Client::reject).
    pub fn reject(&self, message: &InboundMessage, reason_code: ReasonCode) {
        self.client.reject(message, reason_code);
    }

    /// Returns a stream of the events of the connection. If several streams exist, each event goes to one of them.
    pub fn events(&self) -> EventStream {
        EventStream::new(Arc::clone(self.shared()))
    }

    /// Returns `true` while a connection exists that the server has accepted.
    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Returns the counters of the client.
    pub fn statistics(&self) -> Statistics {
        self.client.statistics()
    }

    /// Waits until the server has acknowledged all messages, and ends the connection; see
    /// [`Client::disconnect`](crate::Client::disconnect). The thread of the client enforces the timeout, so this future
    /// needs no timer.
    ///
    /// # Errors
    /// Returns the errors of [`Client::disconnect`](crate::Client::disconnect).
    pub async fn disconnect(&self, timeout: Duration) -> Result<(), DisconnectError> {
        let shared = self.shared();
        let was_ended = shared.has_ended();
        shared.outbox.close(deadline_after(timeout));
        let ended = shared.status_wakers.wait_for(None, || shared.ending());
        self.client.disconnected(ended.await, was_ended)
    }

    fn shared(&self) -> &Arc<Shared> {
        self.client.shared()
    }
}

impl PublishToken {
    /// Waits until the server has acknowledged the message. This is [`Self::wait`] without a timeout, as a future. A
    /// message of QoS 0 has no acknowledgement; the future then waits until the operating system has accepted its
    /// bytes.
    ///
    /// # Errors
    /// Returns the errors of [`Self::wait`], except [`PublishError::TimedOut`].
    pub async fn acknowledged(&self) -> Result<(), PublishError> {
        let request: Arc<dyn Completed> = Arc::<_>::clone(&self.slot) as _;
        let wakers = &self.shared.completions.wakers;
        wakers.wait_for(Some(request), || self.result()).await
    }
}
