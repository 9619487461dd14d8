//! [`Client`]: publish, subscribe, receive, each a call that returns when it is done.

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

/// Messages that wait to be received. Beyond it those of QoS 0 are dropped.
const MAXIMUM_RECEIVED: usize = 1000;

/// While so many bytes wait for the socket, publishing waits too.
const MAXIMUM_UNWRITTEN: usize = 256 * 1024;

/// How long a good-bye may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client whose calls block. A lost connection is made again as the options say, and the
/// subscriptions with it.
#[derive(Debug)]
pub struct Client {
    event_loop: EventLoop,
    inbox: Inbox,
    subscriptions: Vec<Subscription>,
    has_session: bool,
}

/// What came while a call waited for something else.
#[derive(Debug, Default)]
struct Inbox {
    messages: VecDeque<(Message, Delivery)>,
    /// The message that the program has, and will have dealt with when it asks for the next.
    in_hand: Option<PacketIdentifier>,
    subscribed: Option<(PacketIdentifier, ReasonCode)>,
    refused: Option<ReasonCode>,
}

impl Client {
    /// Connects, and waits until the server accepts.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
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

    /// Publishes a message. Returns when it is on its way: with QoS 1 and 2 it is kept until the
    /// server has it, and this waits while too many are.
    ///
    /// # Errors
    /// If the topic name is not valid, the message cannot be sent to this server, the server refused
    /// an earlier one, or the connection is gone for good.
    pub fn publish(
        &mut self,
        topic_name: &str,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<(), ClientError> {
        self.publish_message(Message::new(TopicName::new(topic_name)?, payload), qos)
    }

    /// The same, for a message with properties, or one that is to be retained.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_message(&mut self, message: Message, qos: QoS) -> Result<(), ClientError> {
        let outgoing = OutboundMessage::new(Arc::new(message), qos);
        loop {
            self.event_loop.flush();
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

    /// Subscribes, and waits for the answer: the granted QoS.
    ///
    /// # Errors
    /// If the topic filter is not valid, the server refuses it, or the connection is gone for good.
    pub fn subscribe(&mut self, topic_filter: &str, qos: QoS) -> Result<QoS, ClientError> {
        let subscription = Subscription {
            topic_filter: TopicFilter::new(topic_filter)?,
            options: SubscriptionOptions::new(qos),
        };
        self.inbox.subscribed = None;
        self.subscriptions.push(subscription.clone());
        if let Some(connection) = self.event_loop.connection() {
            let properties = SubscribeProperties::default();
            match connection.subscribe(Instant::now(), vec![subscription], properties) {
                // It goes out with the others when the connection is there.
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

    /// The next message; `None` if there is none before `timeout` has passed.
    ///
    /// A message of QoS 1 is acknowledged when the next one is asked for: if the program fails with
    /// it the server still has it. One of QoS 2 is acknowledged when it is handed out.
    ///
    /// # Errors
    /// If the connection is gone for good.
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, ClientError> {
        self.acknowledge();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some((message, delivery)) = self.inbox.messages.pop_front() {
                self.inbox.in_hand = delivery.packet_identifier();
                if delivery.qos() == QoS::ExactlyOnce {
                    self.acknowledge(); // or it would come again if the connection broke now
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

    /// Waits until the server has everything that was published, and ends the connection.
    ///
    /// # Errors
    /// If it refuses a message, or the connection is gone for good before.
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
            // The next message may be here already, and the program may take its time with it.
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
                // Whether or not the server knows the session: one may not have been answered.
                // Cannot fail but for the connection, and then it is made again.
                let properties = SubscribeProperties::default();
                let _ = connection.subscribe(Instant::now(), subscriptions.to_vec(), properties);
            }
            // The server holds those of QoS 1 and 2 back when its window is full.
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

    /// With a session, what was not acknowledged comes again; without one it does not, and is given
    /// to the program all the same. Its identifiers mean nothing any more.
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
