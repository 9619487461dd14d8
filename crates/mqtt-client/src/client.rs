//! A client whose calls block until they are done.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_codec::{
    Delivery, Disconnect, Message, PacketIdentifier, QoS, ReasonCode, SubscribeProperties,
    Subscription, SubscriptionOptions, TopicFilter, TopicName,
};
use mqtt_session::{CloseReason, Connection, Event, OutboundMessage, PublishError, Session};

use crate::error::ClientError;
use crate::event_loop::{EventLoop, Wakeup};
use crate::options::Options;

/// The maximum number of messages that wait for [`Client::receive`]. Further messages of QoS 0 are dropped.
const MAXIMUM_RECEIVED: usize = 1000;

/// The number of bytes waiting for the socket at which publishing blocks.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// The timeout for the end of the connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client whose calls block. It reconnects as the options say, and then subscribes again.
#[derive(Debug)]
pub struct Client {
    event_loop: EventLoop,
    inbox: Inbox,
    subscriptions: Vec<Subscription>,
    has_session: bool,
}

/// Events that arrived while a call waited for another one.
#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<(Message, Delivery)>,
    /// The message that the program has received and not finished: it is acknowledged when the program asks for the next.
    in_hand: Option<PacketIdentifier>,
    subscribed: Option<(PacketIdentifier, ReasonCode)>,
    refused: Option<ReasonCode>,
}

impl Client {
    /// Connects and waits until the server has accepted the connection.
    ///
    /// # Errors
    /// If the server cannot be reached or rejects the connection.
    pub fn connect(options: Options) -> Result<Self, ClientError> {
        let has_session = !options.connect.clean_start;
        let event_loop = EventLoop::new(options, has_session.then(Session::without_state))?;
        let mut client = Self {
            event_loop,
            inbox: Inbox::default(),
            subscriptions: Vec::new(),
            has_session,
        };
        while !client.event_loop.is_connected() {
            client.poll(None)?;
        }
        Ok(client)
    }

    /// Publishes a message. Returns when the message was given to the socket. A message of QoS 1 or 2 is kept until the
    /// server has acknowledged it; this call blocks while too many are in flight.
    ///
    /// # Errors
    /// If the topic name is invalid, the message cannot be sent to this server, the server rejected an earlier message, or
    /// the client does not reconnect.
    pub fn publish(
        &mut self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<(), ClientError> {
        self.publish_message(Message::new(TopicName::new(topic_name)?, payload), qos)
    }

    /// Publishes a message that has properties or is retained.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_message(&mut self, message: Message, qos: QoS) -> Result<(), ClientError> {
        let outgoing = OutboundMessage::new(Arc::new(message), qos);
        loop {
            self.event_loop.flush();
            // A socket that accepts nothing must not fill the memory with messages of QoS 0, which have no other limit.
            if self.event_loop.unwritten() >= MAXIMUM_UNWRITTEN {
                self.poll(None)?;
                continue;
            }
            match self.event_loop.publish(outgoing.clone()) {
                Ok(_) => {
                    self.event_loop.flush();
                    return self.check_refused();
                }
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => {
                    self.poll(None)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Subscribes and waits for the answer. Returns the granted QoS.
    ///
    /// # Errors
    /// If the topic filter is invalid, the server rejects it, or the client does not reconnect.
    pub fn subscribe(&mut self, topic_filter: &str, qos: QoS) -> Result<QoS, ClientError> {
        let subscription = Subscription {
            topic_filter: TopicFilter::new(topic_filter)?,
            options: SubscriptionOptions::new(qos),
        };
        // An answer to a SUBSCRIBE after a reconnect must not be taken for the answer to this one.
        self.inbox.subscribed = None;
        self.subscriptions.push(subscription.clone());
        if let Some(connection) = self.event_loop.connection() {
            let properties = SubscribeProperties::default();
            match connection.subscribe(Instant::now(), vec![subscription], properties) {
                // Without a connection it is sent with the other subscriptions after the next CONNACK.
                Ok(_) | Err(PublishError::NotConnected) => {}
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            if let Some((_, reason_code)) = self.inbox.subscribed.take() {
                return QoS::from_value(reason_code.value()).ok_or_else(|| {
                    let what = "the server refused the subscription";
                    ClientError::Closed(CloseReason::Protocol(reason_code, what))
                });
            }
            self.poll(None)?;
        }
    }

    /// Returns the next message; `None` if none arrives before `timeout`.
    ///
    /// A message of QoS 1 is acknowledged when the program asks for the next one: if the program fails before, the server
    /// sends the message again. A message of QoS 2 is acknowledged when it is returned.
    ///
    /// # Errors
    /// If the client does not reconnect.
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, ClientError> {
        self.acknowledge();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some((message, delivery)) = self.inbox.messages.pop_front() {
                self.inbox.in_hand = delivery.packet_identifier();
                if delivery.qos() == QoS::ExactlyOnce {
                    self.acknowledge(); // otherwise a lost connection would deliver it a second time
                }
                return Ok(Some(message));
            }
            if let Wakeup::Deadline = self.poll(deadline)? {
                if self.inbox.messages.is_empty() {
                    return Ok(None);
                }
            }
        }
    }

    /// Waits until the server has acknowledged all messages, and ends the connection.
    ///
    /// # Errors
    /// If the server rejects a message, or the client does not reconnect before.
    pub fn disconnect(mut self) -> Result<(), ClientError> {
        self.acknowledge();
        while self.event_loop.unfinished() > 0 {
            self.poll(None)?;
        }
        self.check_refused()?;
        self.event_loop
            .disconnect(Disconnect::new(ReasonCode::Success), DISCONNECT_TIMEOUT)
    }

    fn acknowledge(&mut self) {
        if let (Some(packet_identifier), Some(connection)) =
            (self.inbox.in_hand.take(), self.event_loop.connection())
        {
            connection.acknowledge(Instant::now(), packet_identifier, ReasonCode::Success);
            // The next message may be in the inbox, so that no turn would write the acknowledgement while the program
            // works on the message.
            self.event_loop.flush();
        }
    }

    fn check_refused(&mut self) -> Result<(), ClientError> {
        match self.inbox.refused.take() {
            None => Ok(()),
            Some(reason_code) => {
                let what = "the server refused a message";
                Err(ClientError::Closed(CloseReason::Protocol(
                    reason_code,
                    what,
                )))
            }
        }
    }

    fn poll(&mut self, deadline: Option<Instant>) -> Result<Wakeup, ClientError> {
        let (inbox, subscriptions) = (&mut self.inbox, &self.subscriptions);
        let wakeup = self.event_loop.poll(deadline, |connection, event| {
            inbox.handle(connection, event, subscriptions)
        })?;
        if let Wakeup::Disconnected(..) = wakeup {
            self.inbox.connection_lost(self.has_session);
            if !self.event_loop.take_rejected().is_empty() {
                self.inbox.refused = Some(ReasonCode::PacketTooLarge);
            }
        }
        Ok(wakeup)
    }
}

impl Inbox {
    fn handle(
        &mut self,
        connection: &mut Connection,
        event: Event<'_>,
        subscriptions: &[Subscription],
    ) -> ControlFlow<()> {
        match event {
            Event::Connected { .. } if !subscriptions.is_empty() => {
                // Also if the server has the session: a SUBSCRIBE before the loss may not have arrived. This fails only
                // if the connection is lost, and the next one subscribes again.
                let properties = SubscribeProperties::default();
                let _ = connection.subscribe(Instant::now(), subscriptions.to_vec(), properties);
            }
            // The receive maximum limits messages of QoS 1 and 2.
            Event::Message(received)
                if received.publish().delivery == Delivery::AtMostOnce
                    && self.messages.len() >= MAXIMUM_RECEIVED => {}
            Event::Message(received) => {
                let publish = received.publish();
                if let Ok(message) = publish.to_message() {
                    self.messages.push_back((message, publish.delivery));
                }
            }
            Event::Delivered { reason_code, .. } if reason_code.is_error() => {
                self.refused = Some(reason_code);
            }
            Event::Subscribed(suback) => {
                let code = suback.reason_codes.last().copied();
                self.subscribed = code.map(|code| (suback.packet_identifier, code));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Handles the loss of the connection. With a session the server resends unacknowledged messages, so they are removed
    /// here. Without one they are kept for the program, and their packet identifiers have no meaning any more.
    fn connection_lost(&mut self, has_session: bool) {
        self.in_hand = None;
        if has_session {
            self.messages
                .retain(|(_, delivery)| *delivery == Delivery::AtMostOnce);
        }
        for (_, delivery) in &mut self.messages {
            *delivery = Delivery::AtMostOnce;
        }
    }
}
