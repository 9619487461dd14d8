//! [`MessageStream`] and [`EventStream`] return received messages and events of the connection to asynchronous
//! programs.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_core::Stream;

use crate::client::error::ConnectError;
use crate::client::event_queue::ClientEvent;
use crate::client::inbound::InboundMessage;
use crate::client::messages::Messages;
use crate::client::shared::Shared;
use crate::client::wakers::Key;

/// Messages from the server, in the order in which they arrived; see
/// [`AsyncClient::messages`](crate::AsyncClient::messages).
///
/// The rules of [`Messages`] about the queue and about acknowledgements apply here, too. A message of QoS 1 is
/// acknowledged when the stream is polled for the next one.
#[derive(Debug)]
pub struct MessageStream {
    messages: Messages,
    key: Key,
}

impl MessageStream {
    pub(super) fn new(messages: Messages) -> Self {
        Self {
            messages,
            key: None,
        }
    }

    /// Leaves the acknowledgement to the application; see
    /// [`Messages::with_manual_acknowledgement`](crate::Messages::with_manual_acknowledgement).
    #[must_use]
    pub fn with_manual_acknowledgement(mut self) -> Self {
        self.messages.set_manual();
        self
    }

    /// Waits for the next message. This future may be dropped without the loss of a message.
    ///
    /// # Errors
    /// Returns an error if the client has ended and all messages have been read.
    pub async fn receive(&mut self) -> Result<InboundMessage, ConnectError> {
        poll_fn(|context| self.poll_receive(context.waker())).await
    }

    /// Acknowledges the message that was returned last, without a request for the next one.
    pub fn acknowledge_last(&mut self) {
        self.messages.acknowledge_last();
    }

    fn poll_receive(&mut self, waker: &Waker) -> Poll<Result<InboundMessage, ConnectError>> {
        if let Some(result) = self.messages.try_receive().transpose() {
            return Poll::Ready(result);
        }
        let wakers = &self.messages.shared().inbox.wakers;
        wakers.add(&mut self.key, waker, None);
        // A message may have arrived before the waker was added.
        let result = self.messages.try_receive().transpose();
        result.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Stream for MessageStream {
    type Item = InboundMessage;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<InboundMessage>> {
        self.poll_receive(context.waker()).map(Result::ok)
    }
}

impl Drop for MessageStream {
    fn drop(&mut self) {
        self.messages.shared().inbox.wakers.remove(self.key);
    }
}

/// Events of a client; see [`AsyncClient::events`](crate::AsyncClient::events). The stream ends when the client has
/// ended. A program need not read the events: the client keeps the latest 256.
#[derive(Debug)]
pub struct EventStream {
    shared: Arc<Shared>,
    key: Key,
}

impl EventStream {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, key: None }
    }

    /// Waits for the next event. Returns `None` when the client has ended. This future may be dropped without the loss
    /// of an event.
    pub async fn receive(&mut self) -> Option<ClientEvent> {
        poll_fn(|context| self.poll_receive(context.waker())).await
    }

    fn poll_receive(&mut self, waker: &Waker) -> Poll<Option<ClientEvent>> {
        let events = &self.shared.events;
        // `has_ended` must be read before the queue. If it is set, the queue already contains all events, so an empty
        // queue means the end.
        let check = || match (events.has_ended(), events.receive(Some(Instant::now()))) {
            (_, Some(event)) => Poll::Ready(Some(event)),
            (true, None) => Poll::Ready(None),
            (false, None) => Poll::Pending,
        };
        if let Poll::Ready(event) = check() {
            return Poll::Ready(event);
        }
        events.wakers.add(&mut self.key, waker, None);
        check()
    }
}

impl Stream for EventStream {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.poll_receive(context.waker())
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.shared.events.wakers.remove(self.key);
    }
}
