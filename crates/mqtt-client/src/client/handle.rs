//! [`Client`]: the interface of a connection that a separate thread keeps up.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_codec::{
    Message, ProtocolVersion, QoS, ReasonCode, SubscribeProperties, Subscription,
    SubscriptionOptions, TopicFilter, TopicName, UnsubscribeProperties,
};
use mqtt_session::{OutboundMessage, Session};

use super::completion::Slot;
use super::driver::Driver;
use super::error::{ConnectError, DisconnectError, PublishError, SubscribeError};
use super::events::Events;
use super::inbound::InboundMessage;
use super::inbox::Inbox;
use super::limits::Limits;
use super::messages::{self, Messages};
use super::outbox::{Outbox, Publication, Request, SubscribeSlot};
use super::shared::{Ending, Shared};
use super::statistics::Statistics;
use super::token::PublishToken;
use super::waiting::{deadline_after, lock};
use crate::event_loop::EventLoop;
use crate::options::Options;

/// Time that the drop of the last [`Client`] gives to unfinished messages.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to a broker that can be used from any thread.
///
/// A thread of its own keeps the connection up: it answers pings, reads messages, and reconnects, whatever the caller
/// does. Clones share the connection. When the last clone is dropped, the client gives unfinished messages two seconds
/// and ends the connection; [`Self::disconnect`] tells whether they have arrived.
///
/// Messages of QoS 1 and 2 that [`Self::publish`] has accepted survive lost connections: the client resends them until
/// the server has acknowledged them, as long as the program runs. A message of QoS 0 is never resent: while there is no
/// connection, publishing one is an error.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<ClientHandle>,
}

/// Ends the thread with the last clone of the client.
#[derive(Debug)]
struct ClientHandle {
    shared: Arc<Shared>,
    version: ProtocolVersion,
    limits: Limits,
}

impl Client {
    /// Connects with these options, and waits until the server accepts.
    ///
    /// # Errors
    /// If the server cannot be reached or rejects the client.
    pub fn connect(options: Options) -> Result<Self, ConnectError> {
        Self::connect_with(options, Limits::default())
    }

    pub(super) fn connect_with(mut options: Options, limits: Limits) -> Result<Self, ConnectError> {
        let version = options.connect.protocol_version;
        let own = &mut options.limits.receive_maximum;
        // With this limit, messages of QoS 1 and 2 cannot fill the queue, so acknowledgements are always read.
        *own = NonZeroU16::new(*own)
            .map_or(limits.unread_messages, |own| {
                own.get().min(limits.unread_messages)
            })
            .max(1);
        // Nothing shorter lets the attempts end by themselves, with a reason that says more.
        let timeout = (options.connect_timeout + options.limits.handshake_timeout)
            .max(options.wait_for_server)
            .saturating_add(Duration::from_secs(1));
        let has_session = !options.connect.clean_start;
        let event_loop = EventLoop::new(options, has_session.then(Session::without_state))
            .map_err(|error| ConnectError::new(String::new(), error))?;
        let outbox = Outbox::new(
            event_loop.waker(),
            limits.queued_messages,
            limits.queued_bytes,
        );
        let inbox = Inbox::new(limits.unread_messages.into(), limits.unread_bytes);
        let shared = Arc::new(Shared::new(outbox, inbox));
        let driver = Driver::new(event_loop, Arc::clone(&shared));
        let thread = thread::Builder::new().name("mqtt-client".into());
        let spawned = thread.spawn(move || driver.run());
        spawned.map_err(|error| ConnectError::System(Arc::new(error)))?;
        let client = Self {
            handle: Arc::new(ClientHandle {
                shared,
                version,
                limits,
            }),
        };
        client
            .shared()
            .wait_until_reached(deadline_after(timeout))?;
        Ok(client)
    }

    /// Publishes a message: returns when the message is in the outgoing queue, which is bounded. While the queue is
    /// full, this waits up to the publish timeout.
    ///
    /// The token says whether the message has arrived. It need not be kept: a message of QoS 1 or 2 is resent until the
    /// server acknowledges it, and [`Self::disconnect`] reports failures that nobody was told.
    ///
    /// # Errors
    /// If the topic name is invalid, the queue stays full, a message of QoS 0 cannot be sent because there is no
    /// connection, or the client has ended.
    pub fn publish(
        &self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        let topic = TopicName::new(topic_name).map_err(|_| PublishError::InvalidTopic {
            topic_name: topic_name.to_owned(),
        })?;
        self.publish_message(Message::new(topic, payload), qos)
    }

    /// Publishes a message that may have properties or be retained; see [`Self::publish`].
    ///
    /// # Errors
    /// As [`Self::publish`]; also if the message has properties, which protocol versions before 5.0 cannot carry.
    pub fn publish_message(
        &self,
        message: Message,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        let deadline = deadline_after(self.handle.limits.publish_timeout);
        self.enqueue(message, qos, Some(deadline))
    }

    /// Publishes a message as [`Self::publish_message`] does, but does not wait.
    ///
    /// # Errors
    /// As [`Self::publish_message`]; [`PublishError::QueueFull`] if the queue is full now.
    pub fn try_publish_message(
        &self,
        message: Message,
        qos: QoS,
    ) -> Result<PublishToken, PublishError> {
        self.enqueue(message, qos, None)
    }

    /// Publishes a message and waits until the server has acknowledged it. A message of QoS 0 has no acknowledgement:
    /// this waits until it is sent.
    ///
    /// # Errors
    /// As [`Self::publish`] and [`PublishToken::wait`].
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
        let topic_name = message.topic_name.clone();
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
        self.shared().outbox.publish(publication, deadline)?;
        Ok(PublishToken::new(
            Arc::clone(self.shared()),
            topic_name,
            slot,
        ))
    }

    /// Subscribes to a topic filter, and returns the quality of service that the server has granted. The client
    /// subscribes again by itself if the server loses the session.
    ///
    /// # Errors
    /// If the topic filter is invalid, the server rejects it or does not answer in time, or the client has ended.
    pub fn subscribe(&self, topic_filter: &str, qos: QoS) -> Result<QoS, SubscribeError> {
        let subscription = Subscription {
            topic_filter: valid_filter(topic_filter)?,
            options: SubscriptionOptions::new(qos),
        };
        let granted = self.subscribe_all(vec![subscription], SubscribeProperties::default())?;
        granted
            .into_iter()
            .next()
            .unwrap_or(Err(SubscribeError::Empty))
    }

    /// Subscribes to several topic filters, with options, in one request. Returns for each of them the quality of
    /// service that the server has granted, or its refusal.
    ///
    /// # Errors
    /// If the request fails as a whole: the protocol version cannot carry an option, the server does not answer in
    /// time, or the client has ended.
    pub fn subscribe_all(
        &self,
        subscriptions: Vec<Subscription>,
        properties: SubscribeProperties,
    ) -> Result<Vec<Result<QoS, SubscribeError>>, SubscribeError> {
        let has_options = |subscription: &Subscription| {
            subscription.options != SubscriptionOptions::new(subscription.options.qos)
        };
        if self.handle.version != ProtocolVersion::V5_0 {
            if subscriptions.iter().any(has_options) {
                let feature = "options of subscriptions";
                return Err(SubscribeError::Unsupported { feature });
            }
            if properties != SubscribeProperties::default() {
                let feature = "properties";
                return Err(SubscribeError::Unsupported { feature });
            }
        }
        let filters = subscriptions.iter().map(|one| one.topic_filter.to_string());
        let filters: Vec<_> = filters.collect();
        let slot = Slot::new();
        let request = Request::Subscribe {
            subscriptions,
            properties,
            slot: Arc::clone(&slot),
        };
        let reason_codes = self.request(request, &slot, &filters)?;
        let granted = filters.into_iter().zip(reason_codes);
        let result = |(topic_filter, reason_code): (String, ReasonCode)| {
            QoS::from_value(reason_code.value()).ok_or(SubscribeError::Refused {
                topic_filter,
                reason_code,
            })
        };
        Ok(granted.map(result).collect())
    }

    /// Removes a subscription, and waits until the server has done so.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn unsubscribe(&self, topic_filter: &str) -> Result<(), SubscribeError> {
        let slot = Slot::new();
        let request = Request::Unsubscribe {
            topic_filters: vec![valid_filter(topic_filter)?],
            properties: UnsubscribeProperties::default(),
            slot: Arc::clone(&slot),
        };
        let topic_filter = topic_filter.to_owned();
        let reason_codes = self.request(request, &slot, std::slice::from_ref(&topic_filter))?;
        match reason_codes.first() {
            Some(&reason_code) if reason_code.is_error() => Err(SubscribeError::Refused {
                topic_filter,
                reason_code,
            }),
            _ => Ok(()),
        }
    }

    fn request(
        &self,
        request: Request,
        slot: &SubscribeSlot,
        topic_filters: &[String],
    ) -> Result<Vec<ReasonCode>, SubscribeError> {
        let Some(first) = topic_filters.first() else {
            return Err(SubscribeError::Empty);
        };
        let deadline = deadline_after(self.handle.limits.request_timeout);
        let shared = self.shared();
        shared
            .outbox
            .request(request)
            .map_err(SubscribeError::Closed)?;
        match shared.completions.wait(slot, deadline) {
            Some(result) => result.clone(),
            None => Err(SubscribeError::TimedOut {
                topic_filter: first.clone(),
            }),
        }
    }

    /// Returns the received messages. If this is called more than once, each message goes to one of the readers.
    pub fn messages(&self) -> Messages {
        Messages::new(Arc::clone(self.shared()))
    }

    /// Acknowledges a message of [`Messages::with_manual_acknowledgement`]. If its connection was lost since, the
    /// acknowledgement answers the message when the server resends it.
    pub fn acknowledge(&self, message: &InboundMessage) {
        self.answer(message, ReasonCode::Success);
    }

    /// Rejects a message of [`Messages::with_manual_acknowledgement`] with a reason code of 0x80 or above. Protocol
    /// versions before 5.0 cannot reject: the message is acknowledged.
    pub fn reject(&self, message: &InboundMessage, reason_code: ReasonCode) {
        self.answer(message, reason_code);
    }

    fn answer(&self, message: &InboundMessage, reason_code: ReasonCode) {
        if let Some(handle) = message.handle {
            messages::acknowledge(self.shared(), handle, reason_code);
        }
    }

    /// Returns the events of the connection. If this is called more than once, each event goes to one of the readers.
    pub fn events(&self) -> Events {
        Events::new(Arc::clone(self.shared()))
    }

    /// Returns `true` if the server has accepted the connection and it is not lost.
    pub fn is_connected(&self) -> bool {
        self.shared().outbox.is_connected()
    }

    /// Returns the counters of the client.
    pub fn statistics(&self) -> Statistics {
        self.shared().failures.counters.statistics()
    }

    /// Waits until the server has acknowledged all messages, and ends the connection. All clones of the client are
    /// ended, too.
    ///
    /// # Errors
    /// If the server has not acknowledged all messages in time, or messages failed whose tokens were dropped.
    pub fn disconnect(&self, timeout: Duration) -> Result<(), DisconnectError> {
        let shared = self.shared();
        let was_ended = shared.has_ended();
        let deadline = deadline_after(timeout);
        shared.outbox.close(deadline);
        // DISCONNECT has a separate timeout.
        let ending = shared.wait_until_ended(deadline + Duration::from_secs(5));
        let Some(Ending { reason, unfinished }) = ending else {
            let unfinished = 0;
            return Err(DisconnectError::TimedOut { unfinished });
        };
        if let Some((count, first)) = lock(&shared.failures.unreported).take() {
            if unfinished == 0 {
                return Err(DisconnectError::Undelivered { count, first });
            }
        }
        match reason {
            ConnectError::Closed if unfinished == 0 => Ok(()),
            ConnectError::Closed if !was_ended => Err(DisconnectError::TimedOut { unfinished }),
            reason => Err(DisconnectError::Closed { unfinished, reason }),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Drop for ClientHandle {
    fn drop(&mut self) {
        // A program that fails does not wait for its messages.
        let timeout = if thread::panicking() {
            Duration::ZERO
        } else {
            DROP_TIMEOUT
        };
        let deadline = Instant::now() + timeout;
        self.shared.outbox.close(deadline);
        if !timeout.is_zero() {
            let _ = self.shared.wait_until_ended(deadline + DROP_TIMEOUT);
        }
    }
}

fn valid_filter(topic_filter: &str) -> Result<TopicFilter, SubscribeError> {
    TopicFilter::new(topic_filter).map_err(|_| SubscribeError::InvalidTopicFilter {
        topic_filter: topic_filter.to_owned(),
    })
}
